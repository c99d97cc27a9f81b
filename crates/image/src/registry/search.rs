//! Searching a registry by Docker's first protocol, which Docker Hub and a few others still speak; the distribution specification has none.

use super::config::Endpoint;
use super::http::{Call, TRIES};
use super::url::Url;
use super::{Client, Event, Listener};
use crate::error::{Error, Result, invalid};
use serde::Deserialize;

/// Longest answer that is read, in bytes.
const MAX: u64 = 4 << 20;

/// One repository that was found.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Hit {
    pub name: String,
    pub description: String,
    pub star_count: u64,
    pub is_official: bool,
    pub is_automated: bool,
}

/// At most `limit` repositories for `term`, which may begin with a registry's name: `registry.example.org/nginx`.
pub fn search(client: &Client, term: &str, limit: usize, listener: &Listener) -> Result<Vec<Hit>> {
    #[derive(Deserialize)]
    struct Answer {
        #[serde(default)]
        results: Vec<Hit>,
    }
    let is_host = |first: &str| first == "localhost" || first.contains(['.', ':']);
    let (host, term) = match term.split_once('/') {
        Some((first, rest)) if is_host(first) => (super::server(Some(first))?, rest),
        _ => ("docker.io".to_owned(), term),
    };
    if term.is_empty() {
        return invalid("there is nothing to search for");
    }
    let endpoint = Endpoint {
        host: if host == "docker.io" { "index.docker.io".into() } else { host.clone() },
        repository: String::new(),
        insecure: client.config.is_insecure(&host),
        mirror: false,
    };
    let url = Url { path: "/v1/search".into(), ..client.base(&endpoint)? };
    let call = Call::get(url.with("q", term).with("n", &limit.to_string()));
    let waiting = |pause: std::time::Duration, cause: &str| {
        listener(&Event::Waiting { what: "search", cause, seconds: pause.as_secs() });
    };
    let mut answer = client.http.send(&call, endpoint.insecure, TRIES, &waiting)?;
    if answer.status == 404 {
        return invalid(format!("{host} cannot be searched"));
    }
    if answer.status != 200 {
        let cause = answer.failure();
        return invalid(format!("{host} does not search: {cause}"));
    }
    let bytes = answer.read("the answer", MAX)?;
    let answer: Answer = serde_json::from_slice(&bytes)
        .map_err(|_| Error::Invalid(format!("{host} answered something else than what it found")))?;
    Ok(answer.results.into_iter().take(limit).collect())
}
