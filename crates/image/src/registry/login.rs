//! Logging in: asking a registry whether it knows us, and keeping what it knows us by.

use super::auth::{challenges, meet, token};
use super::config::Endpoint;
use super::credentials::Secret;
use super::http::{Call, TRIES};
use super::{Client, Listener};
use crate::error::{Error, Result, invalid};
use std::time::Duration;

/// Where the credentials are now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedIn {
    /// A file, or the name of a helper.
    pub place: String,
    /// It is a file, and they lie there as they are.
    pub unencrypted: bool,
}

/// The registry that a user means by `name`: Docker Hub without one. Docker's forms with a scheme or `/v1/` are understood.
pub fn server(name: Option<&str>) -> Result<String> {
    let Some(name) = name.filter(|n| !n.is_empty()) else { return Ok("docker.io".into()) };
    let bare = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    let host = bare.split('/').next().unwrap_or_default();
    match crate::Reference::parse(&format!("{host}/x")) {
        Ok(_) if matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io") => {
            Ok("docker.io".into())
        }
        Ok(_) if !host.is_empty() => Ok(host.to_owned()),
        _ => invalid(format!("'{}' is not the name of a registry", name.escape_debug())),
    }
}

/// Ask `host` whether it knows `secret`, and keep it if so.
pub fn login(client: &Client, host: &str, secret: &Secret, listener: &Listener) -> Result<LoggedIn> {
    let secret = check(client, host, secret, listener)?;
    let (place, unencrypted) = client.credentials.store(host, &secret)?;
    Ok(LoggedIn { place, unencrypted })
}

/// Forget what is kept for a host. False if there was nothing.
pub fn logout(client: &Client, host: &str) -> Result<bool> {
    client.credentials.erase(host)
}

/// What to keep: the secret, or a refresh token in its place.
fn check(client: &Client, host: &str, secret: &Secret, listener: &Listener) -> Result<Secret> {
    let endpoint = Endpoint {
        host: if host == "docker.io" { "registry-1.docker.io".into() } else { host.into() },
        repository: String::new(),
        insecure: client.config.is_insecure(host),
        mirror: false,
    };
    let waiting = |pause: Duration, cause: &str| {
        listener(&super::Event::Waiting { what: host, cause, seconds: pause.as_secs() });
    };
    let url = super::url::Url { path: "/v2/".into(), ..client.base(&endpoint)? };
    let mut call = Call::get(url);
    let mut answer = client.http.send(&call, endpoint.insecure, TRIES, &waiting)?;
    if answer.is_success() {
        // It knows everybody.
        return Ok(secret.clone());
    }
    let refused = |cause: String| Error::Unauthorized { host: host.into(), cause };
    if answer.status != 401 || answer.moved {
        return Err(refused(answer.failure().to_string()));
    }
    let challenges = challenges(&answer.headers);
    let mut kept = secret.clone();
    let bearer =
        challenges.iter().find(|c| c.scheme == "bearer").filter(|_| !matches!(secret, Secret::Bearer(_)));
    let authorization = match bearer {
        Some(challenge) => {
            let (authorization, refresh) =
                token(&client.http, &endpoint, challenge, &[], Some(secret), true, &waiting)?;
            kept = refresh.map_or(kept, Secret::Refresh);
            Some(authorization)
        }
        None => meet(&client.http, &endpoint, &challenges, &[], Some(secret), &waiting)?,
    };
    let Some(authorization) = authorization else {
        return Err(refused("it asks for credentials of another kind".into()));
    };
    call.authorization = Some(authorization.header);
    let mut answer = client.http.send(&call, endpoint.insecure, TRIES, &waiting)?;
    if !answer.is_success() {
        return Err(refused(answer.failure().to_string()));
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_registries() {
        let table = [
            (None, "docker.io"),
            (Some(""), "docker.io"),
            (Some("https://index.docker.io/v1/"), "docker.io"),
            (Some("registry-1.docker.io"), "docker.io"),
            (Some("localhost:5000"), "localhost:5000"),
            (Some("https://reg.example.org/v2/"), "reg.example.org"),
        ];
        for (typed, host) in table {
            assert_eq!(server(typed).unwrap(), host);
        }
        for bad in ["a b", "https://", "/x", "user@host"] {
            assert!(server(Some(bad)).is_err(), "{bad}");
        }
    }
}
