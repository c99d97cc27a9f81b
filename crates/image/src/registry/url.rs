//! Addresses of web resources, as far as registries need them: http or https, a host, and what follows.

/// `http[s]://authority/path?query`. No user, no fragment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Url {
    /// https.
    pub secure: bool,
    /// `host[:port]`, in lower case.
    pub authority: String,
    /// With the query; begins with a slash.
    pub path: String,
}

/// Longest address that is taken from a server, in bytes.
const MAX: usize = 16 << 10;

impl Url {
    /// None where it is no such address, or has a user in it.
    pub fn parse(text: &str) -> Option<Url> {
        let (scheme, rest) = text.split_once("://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let path = path.split('#').next().unwrap_or_default();
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']');
        if authority.is_empty() || !authority.bytes().all(plain) || text.len() > MAX {
            return None;
        }
        if !path.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        Some(Url { secure, authority: authority.to_ascii_lowercase(), path })
    }

    /// Where a `Location` that was answered here leads.
    pub fn join(&self, location: &str) -> Option<Url> {
        if location.contains("://") && !location.starts_with(['/', '?']) {
            return Url::parse(location);
        }
        let scheme = if self.secure { "https:" } else { "http:" };
        if location.starts_with("//") {
            return Url::parse(&format!("{scheme}{location}"));
        }
        let here = self.path.split('?').next().unwrap_or_default();
        let path = match location.as_bytes().first() {
            None => return None,
            Some(b'/') => location.to_owned(),
            Some(b'?') => format!("{here}{location}"),
            Some(_) => format!("{}/{location}", here.rsplit_once('/').map_or("", |(dir, _)| dir)),
        };
        Url::parse(&format!("{scheme}//{}{path}", self.authority))
    }

    /// The same with one more parameter.
    pub fn with(mut self, name: &str, value: &str) -> Url {
        let separator = if self.path.contains('?') { '&' } else { '?' };
        self.path = format!("{}{separator}{name}={}", self.path, encode(value));
        self
    }

    /// Scheme, host and port are the same: what may see the same credentials.
    pub fn same_origin(&self, other: &Url) -> bool {
        self.secure == other.secure && self.port() == other.port() && self.host() == other.host()
    }

    pub fn host(&self) -> &str {
        host(&self.authority)
    }

    fn port(&self) -> &str {
        let rest = &self.authority[self.authority.rfind(']').unwrap_or(0)..];
        match rest.rsplit_once(':') {
            Some((_, port)) => port,
            None if self.secure => "443",
            None => "80",
        }
    }

    /// The address without the query, which may hold a signature.
    pub fn shown(&self) -> String {
        let path = self.path.split('?').next().unwrap_or_default();
        format!("{}://{}{path}", if self.secure { "https" } else { "http" }, self.authority)
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}{}", if self.secure { "https" } else { "http" }, self.authority, self.path)
    }
}

/// The host of `host[:port]`, without brackets.
pub fn host(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    }
}

/// This machine: 127.0.0.0/8, ::1, localhost.
pub fn is_loopback(authority: &str) -> bool {
    let host = host(authority);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Percent-encoded for a query.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b':' | b'/' | b',') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let url = Url::parse("HTTPS://Reg.Example.org:5000/v2/x?a=b#c").unwrap();
        assert_eq!(url.to_string(), "https://reg.example.org:5000/v2/x?a=b");
        assert_eq!((url.host(), url.port()), ("reg.example.org", "5000"));
        assert_eq!(url.shown(), "https://reg.example.org:5000/v2/x");
        assert_eq!(Url::parse("http://[::1]:5000").unwrap().host(), "::1");
        assert_eq!(Url::parse("http://[::1]?x=1").unwrap().to_string(), "http://[::1]/?x=1");
        for bad in ["", "x", "ftp://x/", "https://", "https://user:pass@x/", "https://x/a b", "http://x\n/"] {
            assert_eq!(Url::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn locations() {
        let url = Url::parse("https://a.org:5000/v2/x/blobs/uploads/?y=1").unwrap();
        let to = |location: &str| url.join(location).map(|u| u.to_string());
        assert_eq!(to("/v2/y?s=1").unwrap(), "https://a.org:5000/v2/y?s=1");
        assert_eq!(to("?z=2").unwrap(), "https://a.org:5000/v2/x/blobs/uploads/?z=2");
        assert_eq!(to("id").unwrap(), "https://a.org:5000/v2/x/blobs/uploads/id");
        assert_eq!(to("//b.org/x").unwrap(), "https://b.org/x");
        assert_eq!(to("http://b.org/x").unwrap(), "http://b.org/x");
        assert_eq!(to("/x?to=http://b.org/").unwrap(), "https://a.org:5000/x?to=http://b.org/");
        assert_eq!(to("file:///etc/passwd"), None);
        assert_eq!(to(""), None);
    }

    #[test]
    fn origins() {
        let url = |text| Url::parse(text).unwrap();
        assert!(url("https://a.org/x").same_origin(&url("https://A.org:443/y")));
        assert!(!url("https://a.org/").same_origin(&url("https://a.org:444/")));
        assert!(!url("https://a.org/").same_origin(&url("http://a.org/")));
        assert!(!url("https://a.org/").same_origin(&url("https://b.a.org/")));
        assert!(is_loopback("127.3.2.1:5000") && is_loopback("[::1]:5000") && is_loopback("localhost"));
        assert!(
            !is_loopback("localhost.example.org")
                && !is_loopback("10.0.0.1")
                && !is_loopback("127.0.0.1.nip.io")
        );
    }

    #[test]
    fn parameters() {
        let url = Url::parse("https://a.org/token").unwrap();
        let url = url.with("service", "a b&c").with("scope", "repository:x/y:pull,push");
        assert_eq!(url.path, "/token?service=a%20b%26c&scope=repository:x/y:pull,push");
    }
}
