//! Registries, by the distribution specification: finding, proving who we are, pulling, pushing. What is here speaks to the network; what a
//! layer becomes is decided elsewhere, by processes that can't.

mod auth;
pub mod config;
pub mod credentials;
mod dns;
mod documents;
mod download;
mod helper;
mod http;
mod login;
mod look;
mod partial;
mod pull;
mod push;
mod search;
mod tags;
mod tls;
mod upload;
mod url;

pub use config::{Config, Endpoint};
pub use credentials::{Credentials, Secret};
pub use login::{LoggedIn, login, logout, server};
pub use look::{Seen, look};
pub use pull::{Pulled, pull};
pub use push::{Pushed, push};
pub use search::{Hit, search};
pub use tags::tags;

use crate::error::{Error, Result};
use crate::reference::Reference;
use auth::Authorization;
use http::{Answer, Call, Http};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tls::Tls;
use url::Url;

/// What happens meanwhile, for whoever shows it. It is told from several threads.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'a> {
    /// `latest: Pulling from library/busybox`
    Pulling { tag: &'a str, repository: &'a str },
    /// `The push refers to repository [docker.io/library/busybox]`
    Pushing { repository: &'a str },
    /// Something of one layer; its short name.
    Layer { layer: &'a str, state: State },
    /// A pause before another try.
    Waiting { what: &'a str, cause: &'a str, seconds: u64 },
    /// Another process pulls the same image.
    Other,
}

/// Where a layer is. Sizes are bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum State {
    Waiting,
    Exists,
    Downloading {
        done: u64,
        total: u64,
    },
    Downloaded,
    Extracting {
        done: u64,
        total: u64,
    },
    Pulled,
    Retrying {
        seconds: u64,
    },
    /// To be pushed.
    Compressing,
    Pushing {
        done: u64,
        total: u64,
    },
    Pushed,
    /// The registry has it in another repository.
    Mounted,
    /// The registry has it in this repository.
    There,
}

pub type Listener<'a> = dyn Fn(&Event) + Sync + 'a;

/// Layers that are downloaded at once; Docker's number.
const PARALLEL: usize = 3;

/// One user of registries: connections, tokens and settings.
#[derive(Debug)]
pub struct Client {
    pub config: Config,
    pub credentials: Credentials,
    http: Http,
    /// By host and scope.
    tokens: Mutex<HashMap<(String, String), Authorization>>,
    /// Which hosts speak TLS, of those that need not.
    secure: Mutex<HashMap<String, bool>>,
}

impl Client {
    /// With the machine's and the user's settings.
    pub fn new() -> Result<Client> {
        Ok(Client::with(Config::read()?, Credentials::usual()))
    }

    pub fn with(config: Config, credentials: Credentials) -> Client {
        let http = Http::new(Tls::new(config.cert_dirs.clone()), config.timeout.map(Duration::from_secs));
        Client { config, credentials, http, tokens: Mutex::default(), secure: Mutex::default() }
    }

    fn session<'a>(&'a self, endpoint: Endpoint, actions: &str, listener: &'a Listener<'a>) -> Session<'a> {
        let scopes = vec![format!("repository:{}:{actions}", endpoint.repository)];
        Session { client: self, endpoint, scopes, listener }
    }

    /// `https://host` or `http://host`. Where plain HTTP is allowed it is found out which one is spoken there, without credentials.
    fn base(&self, endpoint: &Endpoint) -> Result<Url> {
        let host = endpoint.host.to_ascii_lowercase();
        let url = |secure| Url { secure, authority: host.clone(), path: "/".into() };
        if !endpoint.may_be_plain() || self.http.tls.knows(&host) {
            return Ok(url(true));
        }
        if let Some(secure) = locked(&self.secure).get(&host) {
            return Ok(url(*secure));
        }
        let ask = |secure| {
            let call = Call::get(Url { path: "/v2/".into(), ..url(secure) });
            self.http.follow(&call, endpoint.insecure)
        };
        let secure = if endpoint.insecure && !url::is_loopback(&host) {
            // TLS if there is any: an attacker shall have to break it off, not only to wait.
            ask(true).is_ok()
        } else {
            // A server that speaks TLS answers plain HTTP by an error, or not at all.
            match ask(false) {
                Ok(answer) => answer.status == 400,
                Err(trouble) => trouble.broken,
            }
        };
        locked(&self.secure).insert(host.clone(), secure);
        Ok(url(secure))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One repository at one place, for one purpose.
struct Session<'a> {
    client: &'a Client,
    endpoint: Endpoint,
    /// What we ask tokens for.
    scopes: Vec<String>,
    listener: &'a Listener<'a>,
}

impl Session<'_> {
    /// `https://host/v2/<repository>/<rest>`
    fn url(&self, rest: &str) -> Result<Url> {
        let base = self.client.base(&self.endpoint)?;
        Ok(Url { path: format!("/v2/{}/{rest}", self.endpoint.repository), ..base })
    }

    /// Send, and meet a challenge; try again where that may help. `what` names the object where a pause is told of. Any status is an answer
    /// but 401.
    fn send(&self, call: &Call, what: &str) -> Result<Answer> {
        let waiting = |pause: Duration, cause: &str| {
            (self.listener)(&Event::Waiting { what, cause, seconds: pause.as_secs() });
        };
        // A mirror that is away is passed by.
        let tries = if self.endpoint.mirror { 2 } else { http::TRIES };
        self.authorized(call, &|call| self.client.http.send(call, self.endpoint.insecure, tries, &waiting))
    }

    /// The same once; why it broke off, where it did: for what can't be sent again without a look at what has arrived.
    fn send_once(&self, call: &Call) -> Result<std::result::Result<Answer, String>> {
        let cause = std::cell::RefCell::new(None);
        let sent = self.authorized(call, &|call| {
            self.client.http.follow(call, self.endpoint.insecure).map_err(|trouble| {
                *cause.borrow_mut() = Some(trouble.cause.clone());
                Error::Invalid(trouble.cause)
            })
        });
        match (sent, cause.into_inner()) {
            (Err(_), Some(cause)) => Ok(Err(cause)),
            (sent, _) => sent.map(Ok),
        }
    }

    fn authorized(&self, call: &Call, send: &dyn Fn(&Call) -> Result<Answer>) -> Result<Answer> {
        let quiet = |_: Duration, _: &str| {};
        let key = (self.endpoint.host.clone(), self.scopes.join(" "));
        let mut call = call.clone();
        // Where an upload goes may be somebody else's.
        if !call.url.same_origin(&self.client.base(&self.endpoint)?) {
            return send(&call);
        }
        let known = locked(&self.client.tokens).get(&key).filter(|a| a.is_fresh()).map(|a| a.header.clone());
        call.authorization = known;
        let mut met = false;
        loop {
            let mut answer = send(&call)?;
            // Only the registry itself may ask who we are, never a host that it leads to (CVE-2020-15157).
            if answer.status != 401 || answer.moved {
                return Ok(answer);
            }
            let challenges = auth::challenges(&answer.headers);
            let secret = self.client.credentials.find(&self.endpoint.host, &self.endpoint.repository)?;
            let authorization = if met {
                None
            } else {
                let (http, endpoint) = (&self.client.http, &self.endpoint);
                auth::meet(http, endpoint, &challenges, &self.scopes, secret.as_ref(), &quiet)?
            };
            let Some(authorization) = authorization else {
                return Err(self.denied(answer.failure().to_string()));
            };
            met = true;
            call.authorization = Some(authorization.header.clone());
            locked(&self.client.tokens).insert(key.clone(), authorization);
        }
    }

    fn denied(&self, cause: String) -> Error {
        let host = &self.endpoint.host;
        let cause = format!("{cause}: there is no such repository, or 'corten login {host}' is needed");
        Error::Unauthorized { host: host.clone(), cause }
    }

    /// Why an answer is not what was wanted.
    fn refusal(&self, mut answer: Answer, what: &str) -> Error {
        let host = self.endpoint.host.clone();
        let later = answer.header("retry-after").map(|v| format!("; try again in {} seconds", v.trim()));
        let failure = answer.failure();
        let cause = failure.to_string();
        match (failure.status, failure.code.as_str()) {
            (401 | 403, _) | (_, "DENIED" | "UNAUTHORIZED") => self.denied(cause),
            (404, _) => Error::NotThere { host, what: what.into(), cause },
            (429, _) => Error::Invalid(format!(
                "the rate limit of {host} is reached ({cause}){}: 'corten login' may give you a higher one",
                later.unwrap_or_default()
            )),
            _ => Error::Invalid(format!("{host} fails for {what}: {cause}")),
        }
    }
}

/// Where a name is, in the order in which the places are asked; each answered by the first that can.
fn sessions<'a>(
    client: &'a Client,
    reference: &Reference,
    push: bool,
    listener: &'a Listener<'a>,
) -> Result<Vec<Session<'a>>> {
    let actions = if push { "pull,push" } else { "pull" };
    let endpoints = client.config.endpoints(reference, push)?;
    Ok(endpoints.into_iter().map(|endpoint| client.session(endpoint, actions, listener)).collect())
}

/// The first 12 digits, as Docker shows layers.
fn short(hex: &str) -> &str {
    hex.get(..12).unwrap_or(hex)
}
