//! The small grammars of tar headers: PAX records, octal and base-256 numbers, decimal times.

/// What PAX records of one member say.
#[derive(Debug, Default)]
pub struct Pax {
    pub path: Option<Vec<u8>>,
    pub link: Option<Vec<u8>>,
    pub uid: Option<u64>,
    pub gid: Option<u64>,
    pub size: Option<u64>,
    pub mtime: Option<(i64, u32)>,
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Sparse format 1.0: the real name.
    pub sparse_name: Option<Vec<u8>>,
    pub sparse_size: Option<u64>,
    /// Sparse formats 0.0 and 0.1.
    pub extents: Vec<(u64, u64)>,
    sparse_major: u64,
    any: bool,
}

impl Pax {
    /// Parse `length key=value\n` records. Values may hold any byte.
    pub fn parse(mut bytes: &[u8]) -> Result<Pax, String> {
        let mut pax = Pax { any: true, ..Pax::default() };
        let mut open_extent = None;
        let mut plain_name = None;
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes).ok_or("bad PAX record")?;
            bytes = rest;
            let int = || decimal(value).ok_or_else(|| format!("bad PAX value of '{}'", key.escape_ascii()));
            match key {
                b"path" => pax.path = Some(value.to_vec()),
                b"linkpath" => pax.link = Some(value.to_vec()),
                b"uid" => pax.uid = Some(int()?),
                b"gid" => pax.gid = Some(int()?),
                b"size" => pax.size = Some(int()?),
                b"mtime" => pax.mtime = Some(time(value).ok_or("bad PAX time")?),
                b"GNU.sparse.major" => pax.sparse_major = int()?,
                b"GNU.sparse.name" => plain_name = Some(value.to_vec()),
                b"GNU.sparse.realsize" | b"GNU.sparse.size" => pax.sparse_size = Some(int()?),
                b"GNU.sparse.offset" => open_extent = Some(int()?),
                b"GNU.sparse.numbytes" => match open_extent.take() {
                    Some(offset) => pax.extents.push((offset, int()?)),
                    None => return Err("bad sparse map".into()),
                },
                b"GNU.sparse.map" => {
                    let numbers: Option<Vec<u64>> = value.split(|b| *b == b',').map(decimal).collect();
                    let numbers = numbers.filter(|n| n.len() % 2 == 0).ok_or("bad sparse map")?;
                    pax.extents = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
                }
                _ => {
                    if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                        pax.xattrs.push((name.to_vec(), value.to_vec()));
                    }
                }
            }
        }
        match plain_name {
            Some(name) if pax.sparse_major == 1 => pax.sparse_name = Some(name),
            // Formats 0.x put a made-up name into `path`.
            Some(name) => pax.path = Some(name),
            None => {}
        }
        Ok(pax)
    }

    pub fn is_empty(&self) -> bool {
        !self.any
    }
}

/// Split off one record: its key, its value and what follows.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(10).position(|b| *b == b' ')?;
    let length = usize::try_from(decimal(&bytes[..space])?).ok()?;
    let body = bytes.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|b| *b == b'=')?;
    Some((&body[..equals], &body[equals + 1..], &bytes[length..]))
}

fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Decimal seconds with a fraction, perhaps negative: `-1.25` is 1.25 s before 1970.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |b| *b == b'.');
    let seconds = i64::try_from(decimal(parts.next()?)?).ok()?;
    let mut nanoseconds = 0;
    if let Some(fraction) = parts.next() {
        if !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        for at in 0..9 {
            nanoseconds = nanoseconds * 10 + u32::from(fraction.get(at).map_or(0, |b| b - b'0'));
        }
    }
    Some(match (negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

/// A numeric field of a header: octal text, blank (0), or GNU's base-256 with sign.
pub fn number(field: &[u8]) -> Option<i128> {
    if field.first()? & 0x80 != 0 {
        // Twelve bytes at most, so nothing can overflow.
        let negative = field[0] & 0x40 != 0;
        let mut value: i128 = if negative { -1 } else { 0 };
        for (at, byte) in field.iter().enumerate() {
            let byte = if at == 0 && !negative { byte & 0x7f } else { *byte };
            value = (value << 8) | i128::from(byte);
        }
        return Some(value);
    }
    let text = field.split(|b| *b == 0).find(|part| !part.is_empty()).unwrap_or_default();
    let text = std::str::from_utf8(text).ok()?.trim_matches(' ');
    if text.is_empty() {
        return Some(0);
    }
    // from_str_radix would take a sign.
    if !text.bytes().all(|b| (b'0'..=b'7').contains(&b)) {
        return None;
    }
    i128::from_str_radix(text, 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number(b"0000644\0"), Some(0o644));
        assert_eq!(number(b"    644 "), Some(0o644));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Some(0));
        assert_eq!(number(b"        "), Some(0));
        assert_eq!(number(b"\x80\0\0\0\0\0\x01\0"), Some(256));
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xfe"), Some(-2));
        assert_eq!(number(b"+000644\0"), None);
        assert_eq!(number(b"0000648\0"), None);
        assert_eq!(number(b""), None);
    }

    #[test]
    fn times() {
        assert_eq!(time(b"1.5"), Some((1, 500_000_000)));
        assert_eq!(time(b"1700000000.123456789123"), Some((1_700_000_000, 123_456_789)));
        assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time(b"-3"), Some((-3, 0)));
        assert_eq!(time(b"x"), None);
        assert_eq!(time(b"1.x"), None);
    }

    #[test]
    fn records_hold_any_byte() {
        let pax = Pax::parse(b"12 path=a\nb\n30 SCHILY.xattr.user.x=1\n2\0=3\n").unwrap();
        assert_eq!(pax.path.unwrap(), b"a\nb");
        assert_eq!(pax.xattrs, [(b"user.x".to_vec(), b"1\n2\0=3".to_vec())]);
    }

    #[test]
    fn bad_records() {
        for bad in [
            &b"x"[..],
            b"8 path=a\n",
            b"999999 path=a\n",
            b"5 a=b",
            b"6 a=b",
            b"7 path\n",
            b"0 a=b\n",
            b"-1 a=b\n",
            b"10 uid=x1\n",
        ] {
            assert!(Pax::parse(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
