//! `corten login` and `corten logout`

use super::args::Shape;
use super::{Context, Failure, Outcome, parse, print, say};
use clap::Args;
use image::registry::{self, Client, Secret};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr};
use std::io::{IsTerminal, Read};
use steps::{Shell, quote};

const LOGIN: Shape = Shape {
    usage: "[OPTIONS] [SERVER]",
    about: "Let a registry know who you are, and remember it. Without SERVER: docker.io",
    words: (0, 1),
};
const LOGOUT: Shape = Shape { usage: "[SERVER]", about: "Forget who you are to a registry", words: (0, 1) };

/// Longest password that is read, in bytes.
const MAX: u64 = 64 << 10;

#[derive(Debug, Args)]
struct LoginArgs {
    /// The password or token; others can see it in the list of processes
    #[arg(short, long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    password_stdin: bool,
    /// The user's name
    #[arg(short, long, value_name = "NAME")]
    username: Option<String>,
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

#[derive(Debug, Args)]
struct LogoutArgs {
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: LoginArgs = match parse(context, &LOGIN, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let host = registry::server(args.words.first().map(String::as_str))?;
    if args.password.is_some() && args.password_stdin {
        return Err(Failure::new("--password and --password-stdin are mutually exclusive"));
    }
    if args.password_stdin && args.username.as_deref().unwrap_or_default().is_empty() {
        return Err(Failure::new("must provide --username with --password-stdin"));
    }
    let acts = || login_by_hand(&host, args.username.as_deref());
    if let Some(outcome) = args.explain.instead(&format!("corten login {host}"), acts) {
        return outcome;
    }
    let client = Client::new()?;
    let password = match (args.password, args.password_stdin) {
        (Some(password), _) => {
            say("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
            Some(password)
        }
        (None, true) => Some(piped()?),
        (None, false) => None,
    };
    let known = args.username.is_none() && password.is_none();
    let secret = match known.then(|| client.credentials.find(&host, "")).transpose()?.flatten() {
        // As Docker does: what is known is tried before anybody is asked.
        Some(secret) => {
            print("Authenticating with existing credentials...\n")?;
            secret
        }
        None => asked(args.username, password)?,
    };
    let login = registry::login(&client, &host, &secret, &|_| {})?;
    if login.unencrypted {
        say(&format!("WARNING! Your credentials are stored unencrypted in '{}'.", login.place));
    }
    print("Login Succeeded\n")?;
    Ok(0)
}

pub fn logout(context: &Context, words: Vec<String>) -> Outcome {
    let args: LogoutArgs = match parse(context, &LOGOUT, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let host = registry::server(args.words.first().map(String::as_str))?;
    if let Some(outcome) = args.explain.instead(&format!("corten logout {host}"), || logout_by_hand(&host)) {
        return outcome;
    }
    let client = Client::new()?;
    if registry::logout(&client, &host)? {
        print(&format!("Removing login credentials for {host}\n"))?;
    } else {
        print(&format!("Not logged in to {host}\n"))?;
    }
    Ok(0)
}

/// Where they are kept, and the host's name there.
fn kept(host: &str) -> Result<(Vec<String>, String), Failure> {
    let files = Client::new()?.credentials.files;
    let files = files.iter().map(|file| quote(&file.display().to_string())).collect();
    Ok((files, if host == "docker.io" { "https://index.docker.io/v1/" } else { host }.to_owned()))
}

fn login_by_hand(host: &str, user: Option<&str>) -> Result<Vec<Shell>, Failure> {
    let (files, name) = kept(host)?;
    let server = if host == "docker.io" { "registry-1.docker.io" } else { host };
    let user = quote(user.unwrap_or("USER"));
    let file = files.first().cloned().unwrap_or_default();
    let entry = quote(&format!(".auths[\"{name}\"].auth = $auth"));
    Ok(vec![
        Shell::exact("read -rsp 'Password: ' PASSWORD", "what nobody else may see", "bash(1)"),
        Shell::exact(
            format!(
                "curl -sSf -u {user}:\"$PASSWORD\" {} >/dev/null",
                quote(&format!("https://{server}/v2/"))
            ),
            "the registry says whether it knows you",
            "curl(1)",
        )
        .near("where the registry names a place that gives tokens, it is asked there"),
        Shell::lines(
            vec![
                format!("AUTH=$(printf %s {user}:\"$PASSWORD\" | base64 -w 0)"),
                format!("[ -e {file} ] || install -D -m 0600 <(echo '{{}}') {file}"),
                format!("jq --arg auth \"$AUTH\" {entry} {file} >{file}.new && mv {file}.new {file}"),
            ],
            "kept for the next time: not encrypted, for you alone to read",
            "containers-auth.json(5)",
        )
        .near("a credential helper gets it instead, where that file names one"),
    ])
}

fn logout_by_hand(host: &str) -> Result<Vec<Shell>, Failure> {
    let (files, name) = kept(host)?;
    let gone = quote(&format!("del(.auths[\"{name}\"])"));
    let line = |file: &String| {
        format!("[ ! -e {file} ] || {{ jq {gone} {file} >{file}.new && mv {file}.new {file}; }}")
    };
    let lines = files.iter().map(line).collect();
    Ok(vec![
        Shell::lines(lines, "it is forgotten, in each file that may know it", "containers-auth.json(5)")
            .near("a credential helper is told to, where a file names one"),
    ])
}

/// Control-C.
const INTERRUPT: u8 = 3;
/// Longest line of a terminal, in bytes.
const LINE: usize = 4096;

/// All of standard input, without the end of its line.
fn piped() -> Result<String, Failure> {
    let mut text = String::new();
    let read = std::io::stdin().take(MAX).read_to_string(&mut text);
    read.map_err(|e| Failure::new(format!("cannot read the password: {}", super::io_words(&e))))?;
    Ok(text.strip_suffix('\n').map(|t| t.strip_suffix('\r').unwrap_or(t)).unwrap_or(&text).to_owned())
}

/// What wasn't given is asked for, of somebody who is there.
fn asked(user: Option<String>, password: Option<String>) -> Result<Secret, Failure> {
    if (user.is_none() || password.is_none()) && !std::io::stdin().is_terminal() {
        return Err(Failure::new("cannot perform an interactive login from a non TTY device"));
    }
    let user = match user {
        Some(user) => user,
        None => line("Username: ", true)?,
    };
    if user.is_empty() {
        return Err(Failure::new("username is required"));
    }
    let password = match password {
        Some(password) => password,
        None => line("Password: ", false)?,
    };
    if password.is_empty() {
        return Err(Failure::new("password is required"));
    }
    Ok(Secret::Password { user, password })
}

/// One line of the terminal, perhaps without showing it. Control-C ends the command, but not before the terminal is as it was.
fn line(prompt: &str, shown: bool) -> Result<String, Failure> {
    let failed = |e: rustix::io::Errno| {
        Failure::new(format!("cannot read from the terminal: {}", super::io_words(&e.into())))
    };
    let stdin = std::io::stdin();
    print(prompt)?;
    let before = tcgetattr(&stdin).map_err(failed)?;
    if !shown {
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        silent.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
        tcsetattr(&stdin, OptionalActions::Flush, &silent).map_err(failed)?;
    }
    let mut bytes = [0; LINE];
    let read = rustix::io::retry_on_intr(|| rustix::io::read(&stdin, &mut bytes));
    if !shown {
        let _ = tcsetattr(&stdin, OptionalActions::Now, &before);
        print("\n")?;
    }
    let bytes = &bytes[..read.map_err(failed)?];
    if !shown && bytes.ends_with(&[INTERRUPT]) {
        return Err(Failure { code: 130, ..Failure::new("") });
    }
    let text = std::str::from_utf8(bytes).map_err(|_| Failure::new("what was typed is not UTF-8"))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_owned())
}
