//! HTTP with registries: an agent an origin, redirects that take no credentials along, retries with back-off.

use super::dns::Names;
use super::tls::Tls;
use super::url::{Url, is_loopback};
use crate::error::{Error, Result, invalid, words};
use std::collections::HashMap;
use std::io::Read;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use ureq::unversioned::transport::DefaultConnector;
use ureq::{Agent, Proxy, http};

/// Redirects in a row that are followed.
const HOPS: usize = 5;
/// How often a request is tried.
pub const TRIES: u32 = 5;
/// The first pause; each further one is twice as long.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause that a server may ask for.
const LONGEST: Duration = Duration::from_secs(120);
/// Until a connection is there, TLS and all.
const CONNECT: Duration = Duration::from_secs(15);
/// Until a byte comes, or goes.
const IDLE: Duration = Duration::from_secs(60);
/// The same while a registry looks at what it was sent.
const DIGEST: Duration = Duration::from_secs(600);
/// Longest error document that is read, in bytes.
const MAX_ERROR: u64 = 64 << 10;

/// A request. It can be sent more than once.
#[derive(Debug, Clone)]
pub struct Call<'a> {
    pub method: http::Method,
    pub url: Url,
    /// Names in lower case.
    pub headers: Vec<(&'static str, String)>,
    /// The Authorization header: goes to the origin of `url`, and nowhere else (CVE-2020-15157).
    pub authorization: Option<String>,
    pub body: Option<&'a [u8]>,
}

impl<'a> Call<'a> {
    pub fn new(method: http::Method, url: Url) -> Call<'a> {
        Call { method, url, headers: Vec::new(), authorization: None, body: None }
    }

    pub fn get(url: Url) -> Call<'a> {
        Call::new(http::Method::GET, url)
    }

    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Call<'a> {
        self.headers.push((name, value.into()));
        self
    }

    pub fn body(mut self, kind: &str, bytes: &'a [u8]) -> Call<'a> {
        self.body = Some(bytes);
        self.header("content-type", kind)
    }
}

/// What was answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    body: ureq::Body,
    /// Where it was answered.
    pub url: Url,
    /// By another origin than was asked.
    pub moved: bool,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The whole body, if it is not longer than `max` bytes. `name` is for the message.
    pub fn read(&mut self, name: &str, max: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.body.as_reader().take(max + 1).read_to_end(&mut bytes);
        read.map_err(|e| Error::Invalid(format!("{name} cannot be read: {}", said(e).cause)))?;
        if bytes.len() as u64 > max {
            return invalid(format!("{name} is longer than {max} bytes"));
        }
        Ok(bytes)
    }

    /// The body as it comes.
    pub fn into_reader(self) -> impl Read {
        self.body.into_reader()
    }

    /// Code and message of the registry's error, as one line.
    pub fn failure(&mut self) -> ApiError {
        let bytes = self.read("the error", MAX_ERROR).unwrap_or_default();
        ApiError::parse(self.status, &bytes)
    }
}

/// distribution-spec, "Error Codes".
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiError {
    pub status: u16,
    /// `MANIFEST_UNKNOWN`, `DENIED`, `TOOMANYREQUESTS`; empty where the answer has none.
    pub code: String,
    pub message: String,
}

impl ApiError {
    fn parse(status: u16, bytes: &[u8]) -> ApiError {
        #[derive(serde::Deserialize)]
        struct Document {
            #[serde(default)]
            errors: Vec<Item>,
            #[serde(default)]
            details: String,
        }
        #[derive(serde::Deserialize)]
        struct Item {
            #[serde(default)]
            code: String,
            #[serde(default)]
            message: String,
        }
        let line = |text: &str| -> String {
            let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect();
            text.trim().to_owned()
        };
        let document: Document =
            serde_json::from_slice(bytes).unwrap_or(Document { errors: Vec::new(), details: String::new() });
        match document.errors.first() {
            Some(item) => ApiError { status, code: line(&item.code), message: line(&item.message) },
            None => ApiError { status, code: String::new(), message: line(&document.details) },
        }
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let code = self.code.to_ascii_lowercase().replace('_', " ");
        match (code.is_empty(), self.message.is_empty()) {
            (true, true) => {
                let status = http::StatusCode::from_u16(self.status).ok();
                let reason = status.and_then(|s| s.canonical_reason()).unwrap_or_default().to_lowercase();
                write!(f, "{} {reason}", self.status)
            }
            (true, false) => f.write_str(&self.message),
            (false, true) => f.write_str(&code),
            (false, false) => write!(f, "{code}: {}", self.message),
        }
    }
}

/// No answer at all.
#[derive(Debug)]
pub struct Trouble {
    pub cause: String,
    /// Another try may do better.
    again: bool,
    /// It was reached, but speaks something else than HTTP.
    pub broken: bool,
}

impl Trouble {
    fn new(cause: impl Into<String>, again: bool) -> Trouble {
        Trouble { cause: cause.into(), again, broken: false }
    }
}

#[derive(Debug)]
pub struct Http {
    pub tls: Tls,
    idle: Duration,
    agents: Mutex<HashMap<(bool, String, bool), Agent>>,
    stop: AtomicBool,
}

impl Http {
    /// `idle`: how long nothing may come before it is tried again.
    pub fn new(tls: Tls, idle: Option<Duration>) -> Http {
        Http { tls, idle: idle.unwrap_or(IDLE), agents: Mutex::default(), stop: AtomicBool::new(false) }
    }

    /// Breaks off what is under way, in all threads.
    pub fn shut_down(&self) {
        self.stop.store(true, Ordering::Relaxed);
        let agents: Vec<Agent> = self.lock().drain().map(|(_, agent)| agent).collect();
        agents.into_iter().for_each(Agent::shutdown);
    }

    /// After [`Self::shut_down`]: begin again.
    pub fn reopen(&self) {
        self.stop.store(false, Ordering::Relaxed);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(bool, String, bool), Agent>> {
        self.agents.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Send, follow redirects, and try again where that may help. `waiting` hears of each pause.
    pub fn send(
        &self,
        call: &Call,
        insecure: bool,
        tries: u32,
        waiting: &dyn Fn(Duration, &str),
    ) -> Result<Answer> {
        let mut pause = PAUSE;
        for left in (0..tries).rev() {
            let (cause, asked) = match self.follow(call, insecure) {
                Ok(answer) if left > 0 && is_passing(answer.status) => {
                    let asked = answer.header("retry-after").and_then(|v| v.trim().parse().ok());
                    let asked = asked.map(Duration::from_secs);
                    // To wait for hours is the user's decision.
                    if asked.is_some_and(|asked| asked > LONGEST) {
                        return Ok(answer);
                    }
                    let mut answer = answer;
                    (answer.failure().to_string(), asked)
                }
                Ok(answer) => return Ok(answer),
                Err(trouble) if left > 0 && trouble.again => (trouble.cause, None),
                Err(trouble) => return invalid(format!("{}: {}", call.url.authority, trouble.cause)),
            };
            let wait = asked.unwrap_or(pause);
            waiting(wait, &cause);
            self.sleep(wait)?;
            pause *= 2;
        }
        invalid(format!("{}: it was not tried", call.url.authority))
    }

    pub fn sleep(&self, wait: Duration) -> Result<()> {
        let end = std::time::Instant::now() + wait;
        while let Some(rest) = end.checked_duration_since(std::time::Instant::now()) {
            self.check_stop()?;
            std::thread::sleep(rest.min(Duration::from_millis(50)));
        }
        self.check_stop()
    }

    fn check_stop(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { invalid("interrupted") } else { Ok(()) }
    }

    /// Once, with redirects.
    pub fn follow(&self, call: &Call, insecure: bool) -> std::result::Result<Answer, Trouble> {
        let fatal = |cause: String| Trouble::new(cause, false);
        let mut call = call.clone();
        let mut moved = false;
        for _ in 0..=HOPS {
            let answer = self.once(&call, insecure && !moved)?;
            let safe = matches!(call.method, http::Method::GET | http::Method::HEAD);
            if !safe || !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
                return Ok(Answer { moved, ..answer });
            }
            let to = answer.header("location").and_then(|location| call.url.join(location));
            let Some(to) = to else { return Err(fatal("it redirects to nowhere".into())) };
            if call.url.secure && !to.secure {
                return Err(fatal(format!("it redirects to plain HTTP: {}", to.shown())));
            }
            if !to.same_origin(&call.url) {
                // Storage behind a registry has no business with our credentials.
                moved = true;
                call.authorization = None;
            }
            call.url = to;
        }
        Err(fatal(format!("more than {HOPS} redirects")))
    }

    fn once(&self, call: &Call, insecure: bool) -> std::result::Result<Answer, Trouble> {
        let fatal = |cause: String| Trouble::new(cause, false);
        let agent = self.agent(&call.url, insecure).map_err(|e| fatal(e.to_string()))?;
        let mut request = http::Request::builder().method(call.method.clone()).uri(call.url.to_string());
        for (name, value) in &call.headers {
            request = request.header(*name, value);
        }
        if let Some(authorization) = &call.authorization {
            request = request.header("authorization", authorization);
        }
        let bad = |e: http::Error| fatal(format!("'{}' cannot be asked for: {e}", call.url.shown()));
        let sent = match call.body {
            Some(bytes) => {
                let request = request.body(bytes).map_err(bad)?;
                agent.run(agent.configure_request(request).timeout_per_read(Some(DIGEST)).build())
            }
            None if matches!(call.method, http::Method::POST | http::Method::PUT | http::Method::PATCH) => {
                agent.run(request.body(&[][..]).map_err(bad)?)
            }
            None => agent.run(request.body(()).map_err(bad)?),
        };
        let (parts, body) = sent.map_err(trouble)?.into_parts();
        let (status, headers) = (parts.status.as_u16(), parts.headers);
        Ok(Answer { status, headers, body, url: call.url.clone(), moved: false })
    }

    /// The agent of an origin: its connections and its trust.
    fn agent(&self, url: &Url, insecure: bool) -> Result<Agent> {
        let key = (url.secure, url.authority.clone(), insecure);
        if let Some(agent) = self.lock().get(&key) {
            return Ok(agent.clone());
        }
        self.check_stop()?;
        let mut config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("corten/", env!("CARGO_PKG_VERSION")))
            .timeout_connect(Some(CONNECT))
            .timeout_per_read(Some(self.idle))
            .timeout_per_write(Some(self.idle))
            .max_idle_connections_per_host(8)
            .proxy(proxy(url)?);
        if url.secure {
            config = config.tls_config(self.tls.config(&url.authority, insecure)?);
        }
        let agent = Agent::with_parts(config.build(), DefaultConnector::new(), Names);
        self.lock().insert(key, agent.clone());
        Ok(agent)
    }
}

/// Busy, broken for a moment, or asked too often.
fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 429 | 500 | 502 | 503 | 504)
}

fn trouble(error: ureq::Error) -> Trouble {
    let fatal = |cause: String| Trouble::new(cause, false);
    let again = |cause: String| Trouble::new(cause, true);
    match error {
        ureq::Error::Io(e) => said(e),
        ureq::Error::Rustls(e) => tls_trouble(&e),
        ureq::Error::Timeout(_) => again("timed out".into()),
        ureq::Error::HostNotFound => fatal("no such host".into()),
        ureq::Error::ConnectProxyFailed(cause) => again(format!("the proxy refuses: {cause}")),
        ureq::Error::Protocol(e) => Trouble { broken: true, ..again(format!("it speaks no HTTP: {e}")) },
        other => fatal(other.to_string()),
    }
}

/// What an io error means; ureq and rustls hide theirs in one.
pub fn said(error: std::io::Error) -> Trouble {
    if let Some(inner) = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
        return tls_trouble(inner);
    }
    if error.get_ref().is_some_and(|e| e.is::<ureq::Error>()) {
        return trouble(ureq::Error::from(error));
    }
    let cause = match error.kind() {
        std::io::ErrorKind::UnexpectedEof => "the connection ended too early".into(),
        std::io::ErrorKind::TimedOut | std::io::ErrorKind::WouldBlock => "timed out".into(),
        _ => words(&error),
    };
    // Nobody listens there: a registry that is about to start is rare, a wrong port is not.
    let refused = error.kind() == std::io::ErrorKind::ConnectionRefused;
    // Without a way there is none in a second either.
    let away =
        matches!(error.kind(), std::io::ErrorKind::NetworkUnreachable | std::io::ErrorKind::HostUnreachable);
    let broken =
        matches!(error.kind(), std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::ConnectionReset);
    Trouble { cause, again: !refused && !away, broken }
}

fn tls_trouble(error: &rustls::Error) -> Trouble {
    use rustls::Error as E;
    let cause = match error {
        E::InvalidCertificate(e) => format!("its certificate is not trusted: {e}"),
        E::AlertReceived(alert) => format!("it refuses TLS: {alert:?}"),
        other => format!("TLS: {other}"),
    };
    Trouble { cause, again: false, broken: false }
}

/// HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, in capitals or not. This machine is never reached through a proxy.
fn proxy(url: &Url) -> Result<Option<Proxy>> {
    let set = |name: &str| {
        let value = std::env::var(name).or_else(|_| std::env::var(name.to_ascii_lowercase()));
        value.ok().filter(|v| !v.is_empty())
    };
    let address = set(if url.secure { "HTTPS_PROXY" } else { "HTTP_PROXY" }).or_else(|| set("ALL_PROXY"));
    let Some(address) = address else { return Ok(None) };
    if is_loopback(&url.authority) || is_direct(&set("NO_PROXY").unwrap_or_default(), &url.authority) {
        return Ok(None);
    }
    let proxy =
        Proxy::new(&address).map_err(|_| Error::Invalid("the proxy's address cannot be used".into()))?;
    Ok(Some(proxy))
}

/// NO_PROXY as Go reads it: `*`, a host with all below it, `.domain`, an address, each perhaps with a port.
fn is_direct(list: &str, authority: &str) -> bool {
    let (host, whole) = (super::url::host(authority), authority);
    list.split(',').map(str::trim).filter(|e| !e.is_empty()).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        let domain = entry.trim_start_matches('*').trim_start_matches('.');
        entry == "*"
            || whole == domain
            || host == domain
            || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_registries_are_one_line() {
        let says = |text: &str| ApiError::parse(404, text.as_bytes()).to_string();
        assert_eq!(
            says(
                r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"Tag":"x"}}]}"#
            ),
            "manifest unknown: manifest unknown"
        );
        assert_eq!(
            says(r#"{"errors":[{"code":"DENIED","message":"no\nway\u001b[0m"}]}"#),
            "denied: no way [0m"
        );
        assert_eq!(says("<html>"), "404 not found");
        assert_eq!(says(r#"{"errors":[]}"#), "404 not found");
        assert_eq!(says(r#"{"details":"incorrect username or password"}"#), "incorrect username or password");
    }

    #[test]
    fn what_goes_past_the_proxy() {
        assert!(is_direct("*", "a.org"));
        assert!(is_direct("x, A.org", "a.org:5000"));
        assert!(is_direct("a.org", "b.a.org"));
        assert!(is_direct(".a.org", "b.a.org"));
        assert!(is_direct("10.0.0.1", "10.0.0.1:5000"));
        assert!(is_direct("a.org:5000", "a.org:5000"));
        assert!(!is_direct("a.org", "ba.org"));
        assert!(!is_direct("", "a.org"));
    }
}
