//! SHA-256 digests as images use them: `sha256:<64 hex>`, and chain ids.

use crate::error::{Result, invalid};
use sha2::{Digest as _, Sha256};

/// A SHA-256 digest as 64 lower-case hexadecimal digits, checked. Safe as a file name (CVE-2024-3727).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String);

impl Digest {
    /// Parse `sha256:<hex>`; other algorithms are refused.
    pub fn parse(text: &str) -> Result<Digest> {
        match text.strip_prefix("sha256:") {
            Some(hex) if is_hex64(hex) => Ok(Digest(hex.to_string())),
            _ => invalid(format!("'{}' is not a sha256 digest", text.escape_debug())),
        }
    }

    pub fn of(bytes: &[u8]) -> Digest {
        Digest::finish(Sha256::new_with_prefix(bytes))
    }

    pub fn finish(hasher: Sha256) -> Digest {
        let mut hex = String::with_capacity(64);
        for byte in hasher.finalize() {
            for nibble in [byte >> 4, byte & 15] {
                hex.push(char::from(b"0123456789abcdef"[nibble as usize]));
            }
        }
        Digest(hex)
    }

    pub fn hex(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "sha256:{}", self.0)
    }
}

/// The chain id of a layer on top of `parent`: it names the layer together with everything below it
/// (image-spec, config.md, "Layer ChainID").
pub fn chain_id(parent: Option<&Digest>, diff_id: &Digest) -> Digest {
    match parent {
        None => diff_id.clone(),
        Some(parent) => Digest::of(format!("{parent} {diff_id}").as_bytes()),
    }
}

/// 64 lower-case hexadecimal digits.
pub fn is_hex64(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_digest() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), empty);
        assert_eq!(Digest::parse(empty).unwrap(), Digest::of(b""));
    }

    #[test]
    fn cve_2024_3727_digest_is_never_a_path() {
        for bad in [
            "sha256:../../etc/passwd",
            "sha256:",
            "sha512:00",
            "",
            "sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
        ] {
            assert!(Digest::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn chain_of_one_is_the_diff_id() {
        let a = Digest::of(b"a");
        assert_eq!(chain_id(None, &a), a);
        let b = Digest::of(b"b");
        assert_eq!(
            chain_id(Some(&a), &b),
            Digest::of(format!("sha256:{} sha256:{}", a.hex(), b.hex()).as_bytes())
        );
    }
}
