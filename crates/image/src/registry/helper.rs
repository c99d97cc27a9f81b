//! Credential helpers: `docker-credential-NAME`, a program of the user's that keeps passwords in a keyring. They are the one exception to the rule that
//! no command of the engine runs another program: the user's own configuration names it, nothing of an image or a registry has a say,
//! and there is no other way to such a keyring.

use super::credentials::Secret;
use crate::error::{Result, invalid, io, words};
use serde::{Deserialize, Serialize};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

/// Longest answer that is read, in bytes.
const MAX: u64 = 1 << 20;
/// The user name that stands for a token (docker-credential-helpers' protocol).
const TOKEN: &str = "<token>";

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Entry {
    #[serde(rename = "ServerURL")]
    server_url: String,
    username: String,
    secret: String,
}

/// What the helper knows of a server; None if nothing.
pub fn get(helper: &str, server: &str) -> Result<Option<Secret>> {
    let (ok, answer) = run(helper, "get", server.as_bytes())?;
    let text = String::from_utf8_lossy(&answer);
    if !ok {
        // What Docker's helpers say where they have nothing.
        if text.contains("credentials not found") {
            return Ok(None);
        }
        let line: String =
            text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(200).collect();
        return invalid(format!("credential helper '{helper}' failed: {line}"));
    }
    let Ok(entry) = serde_json::from_slice::<Entry>(&answer) else {
        return invalid(format!("credential helper '{helper}' answered something else than credentials"));
    };
    Ok(match entry {
        Entry { secret, .. } if secret.is_empty() => None,
        Entry { username, secret, .. } if username == TOKEN => Some(Secret::Refresh(secret)),
        Entry { username, secret, .. } => Some(Secret::Password { user: username, password: secret }),
    })
}

pub fn store(helper: &str, server: &str, secret: &Secret) -> Result<()> {
    let (username, secret) = match secret {
        Secret::Password { user, password } => (user.clone(), password.clone()),
        Secret::Refresh(token) | Secret::Bearer(token) => (TOKEN.into(), token.clone()),
    };
    let entry = Entry { server_url: server.into(), username, secret };
    let input = serde_json::to_vec(&entry).unwrap_or_default();
    succeed(helper, "store", &input)
}

pub fn erase(helper: &str, server: &str) -> Result<()> {
    succeed(helper, "erase", server.as_bytes())
}

fn succeed(helper: &str, action: &str, input: &[u8]) -> Result<()> {
    match run(helper, action, input)? {
        (true, _) => Ok(()),
        (false, _) => invalid(format!("credential helper '{helper}' cannot {action} the credentials")),
    }
}

/// True where it succeeded, and what it printed.
fn run(helper: &str, action: &str, input: &[u8]) -> Result<(bool, Vec<u8>)> {
    // Looked for in PATH, and nowhere else.
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if helper.is_empty() || !helper.bytes().all(fine) {
        return invalid(format!("'{}' is not the name of a credential helper", helper.escape_debug()));
    }
    let what = format!("run credential helper 'docker-credential-{helper}'");
    let child = Command::new(format!("docker-credential-{helper}"))
        .arg(action)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.map_err(io(&*what))?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that doesn't read is no reason to fail.
        let _ = stdin.write_all(input);
    }
    let mut answer = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let read = stdout.take(MAX).read_to_end(&mut answer);
        read.map_err(|e| crate::Error::Invalid(format!("cannot {what}: {}", words(&e))))?;
    }
    let status = child.wait().map_err(io(&*what))?;
    Ok((status.success(), answer))
}
