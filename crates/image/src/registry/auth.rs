//! Proving who we are: challenges (RFC 9110, section 11), basic authentication, and tokens (distribution's token specification).

use super::config::Endpoint;
use super::credentials::Secret;
use super::http::{Call, Http};
use super::url::{Url, encode, is_loopback};
use crate::error::{Error, Result, invalid};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use std::time::{Duration, Instant};
use ureq::http::{HeaderMap, Method};

/// Longest answer of a token server, in bytes.
const MAX: u64 = 1 << 20;
/// How long a token is good that doesn't say (the specification's number), and how long before its end it is taken for old.
const LIFE: u64 = 60;
const MARGIN: u64 = 10;
const CLIENT: &str = "corten";

/// One challenge: its scheme in lower case, and its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    pub scheme: String,
    parameters: Vec<(String, String)>,
}

impl Challenge {
    fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// All that an answer challenges us to.
pub fn challenges(headers: &HeaderMap) -> Vec<Challenge> {
    let values = headers.get_all("www-authenticate").iter();
    values.filter_map(|v| v.to_str().ok()).flat_map(parse).collect()
}

/// `Bearer realm="https://…",service="x", Basic realm="y"`.
fn parse(text: &str) -> Vec<Challenge> {
    let mut found: Vec<Challenge> = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        if end == 0 {
            return found;
        }
        let (word, after) = rest.split_at(end);
        let after = after.trim_start_matches([' ', '\t']);
        let Some(value) = after.strip_prefix('=').filter(|_| !found.is_empty()) else {
            found.push(Challenge { scheme: word.to_ascii_lowercase(), parameters: Vec::new() });
            rest = after;
            continue;
        };
        let (value, after) = value_of(value.trim_start_matches([' ', '\t']));
        if let Some(challenge) = found.last_mut() {
            challenge.parameters.push((word.to_ascii_lowercase(), value));
        }
        rest = after;
    }
}

/// A token or a quoted string, and what follows.
fn value_of(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([' ', '\t', ',']).unwrap_or(text.len());
        return (text[..end].into(), &text[end..]);
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return (value, &quoted[at + 1..]),
            '\\' => value.extend(chars.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

/// What goes into the Authorization header, and until when.
#[derive(Clone)]
pub struct Authorization {
    pub header: String,
    until: Option<Instant>,
}

impl Authorization {
    pub fn is_fresh(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

impl std::fmt::Debug for Authorization {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authorization")
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

/// Meet a challenge of the registry at `endpoint`. None: there is nothing that we could answer.
pub fn meet(
    http: &Http,
    endpoint: &Endpoint,
    challenges: &[Challenge],
    scopes: &[String],
    secret: Option<&Secret>,
    waiting: &dyn Fn(Duration, &str),
) -> Result<Option<Authorization>> {
    if let Some(Secret::Bearer(token)) = secret {
        return Ok(Some(Authorization { header: format!("Bearer {token}"), until: None }));
    }
    if let Some(challenge) = challenges.iter().find(|c| c.scheme == "bearer") {
        return token(http, endpoint, challenge, scopes, secret, false, waiting).map(|(a, _)| Some(a));
    }
    match (challenges.iter().any(|c| c.scheme == "basic"), secret) {
        (true, Some(Secret::Password { user, password })) => {
            Ok(Some(Authorization { header: basic(user, password), until: None }))
        }
        _ => Ok(None),
    }
}

/// What a token server answers.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    refresh_token: String,
    expires_in: Option<u64>,
}

/// A token for these scopes; with `offline`, a refresh token too, where the server gives one.
pub fn token(
    http: &Http,
    endpoint: &Endpoint,
    challenge: &Challenge,
    scopes: &[String],
    secret: Option<&Secret>,
    offline: bool,
    waiting: &dyn Fn(Duration, &str),
) -> Result<(Authorization, Option<String>)> {
    let host = &endpoint.host;
    let realm = challenge.get("realm").unwrap_or_default();
    let Some(realm) = Url::parse(realm) else {
        return invalid(format!(
            "{host} names no token server that can be asked: '{}'",
            realm.escape_debug()
        ));
    };
    // A password never travels in the clear, unless that was asked for.
    let near = is_loopback(&endpoint.host) && is_loopback(&realm.authority);
    if !(realm.secure || endpoint.insecure || near) {
        return invalid(format!("{host} names a token server without TLS: {}", realm.shown()));
    }
    let insecure = endpoint.insecure && realm.host() == super::url::host(host);
    let service = challenge.get("service").unwrap_or_default();
    // The registry knows best what its request takes.
    let asked = challenge.get("scope").map(str::to_owned);
    let mut wanted: Vec<String> = scopes.to_vec();
    wanted.extend(asked.filter(|scope| !scopes.contains(scope)));
    let send = |call: &Call| http.send(call, insecure, 3, waiting);
    let form;
    let mut answer = None;
    if let Some(Secret::Refresh(token)) = secret {
        form = format!(
            "grant_type=refresh_token&service={}&client_id={CLIENT}&scope={}&refresh_token={}",
            encode(service),
            encode(&wanted.join(" ")),
            encode(token)
        );
        let call = Call::new(Method::POST, realm.clone());
        answer = Some(send(&call.body("application/x-www-form-urlencoded", form.as_bytes()))?);
    }
    let mut answer = match answer {
        Some(answer) => answer,
        None => {
            let mut url = realm.clone();
            if !service.is_empty() {
                url = url.with("service", service);
            }
            for scope in &wanted {
                url = url.with("scope", scope);
            }
            let mut call = Call::get(url);
            if let Some(Secret::Password { user, password }) = secret {
                call.url = call.url.with("account", user);
                call.authorization = Some(basic(user, password));
            }
            if offline {
                call.url = call.url.with("offline_token", "true").with("client_id", CLIENT);
            }
            send(&call)?
        }
    };
    if !answer.is_success() {
        let failure = answer.failure();
        return Err(Error::Unauthorized { host: host.clone(), cause: failure.to_string() });
    }
    let bytes = answer.read("the answer of the token server", MAX)?;
    let answer: Answer = serde_json::from_slice(&bytes).map_err(|_| {
        Error::Invalid(format!("the token server of {host} answered something else than a token"))
    })?;
    let token = if answer.token.is_empty() { answer.access_token } else { answer.token };
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return invalid(format!("the token server of {host} gave no token"));
    }
    let life = answer.expires_in.unwrap_or(LIFE).max(LIFE) - MARGIN;
    let until = Instant::now().checked_add(Duration::from_secs(life.min(24 * 3600)));
    let refresh = Some(answer.refresh_token).filter(|token| !token.is_empty());
    Ok((Authorization { header: format!("Bearer {token}"), until }, refresh))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_of_all_kinds() {
        let one = parse(
            r#"Bearer realm="https://auth.example.org/token",service="registry.example.org",scope="repository:a/b:pull,push""#,
        );
        assert_eq!(one.len(), 1);
        assert_eq!(one[0].scheme, "bearer");
        assert_eq!(one[0].get("realm"), Some("https://auth.example.org/token"));
        assert_eq!(one[0].get("scope"), Some("repository:a/b:pull,push"));
        let two = parse(r#"Basic realm="a \"b\", c" , BEARER realm=https://x/,service = y"#);
        assert_eq!(two.iter().map(|c| c.scheme.as_str()).collect::<Vec<_>>(), ["basic", "bearer"]);
        assert_eq!(two[0].get("realm"), Some("a \"b\", c"));
        assert_eq!((two[1].get("realm"), two[1].get("service")), (Some("https://x/"), Some("y")));
        assert_eq!(parse("Negotiate"), [Challenge { scheme: "negotiate".into(), parameters: vec![] }]);
        for odd in ["", ",", "=", "a=b", "Bearer realm=\"", "Bearer =x", "Bearer realm", "\"", "é=\"\\"] {
            let _ = parse(odd);
        }
    }
}
