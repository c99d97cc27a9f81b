//! Text of a program as the inside of a JSON string, byte for byte as Docker writes it.

/// Appends `text` up to and with its first newline to `out`; returns how much of it that was.
pub fn line(text: &[u8], out: &mut Vec<u8>) -> usize {
    let mut at = 0;
    loop {
        let plain = plain(&text[at..]);
        out.extend_from_slice(&text[at..at + plain]);
        at += plain;
        match text.get(at) {
            None => return at,
            Some(b'\n') => {
                out.extend_from_slice(b"\\n");
                return at + 1;
            }
            Some(b'\r') => out.extend_from_slice(b"\\r"),
            Some(byte @ (b'"' | b'\\')) => out.extend_from_slice(&[b'\\', *byte]),
            Some(byte) if byte.is_ascii() => {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                let (high, low) = (HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]);
                out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            }
            Some(_) => {
                let rest = &text[at..];
                let run = &rest[..rest.iter().position(u8::is_ascii).unwrap_or(rest.len())];
                unicode(run, out);
                at += run.len();
                continue;
            }
        }
        at += 1;
    }
}

/// How many bytes at the end of `text` begin a character of UTF-8 that is not complete.
pub fn incomplete_end(text: &[u8]) -> usize {
    for back in 1..=text.len().min(3) {
        let byte = text[text.len() - back];
        if byte & 0xc0 == 0x80 {
            continue;
        }
        let length = match byte {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        return if length > back { back } else { 0 };
    }
    0
}

/// A run without ASCII. Bytes that are no UTF-8 become U+FFFD each; the line separators of JavaScript are escaped.
fn unicode(run: &[u8], out: &mut Vec<u8>) {
    for chunk in run.utf8_chunks() {
        let valid = chunk.valid().as_bytes();
        if valid.windows(3).any(|w| matches!(w, [0xe2, 0x80, 0xa8 | 0xa9])) {
            for character in chunk.valid().chars() {
                match character {
                    '\u{2028}' => out.extend_from_slice(b"\\u2028"),
                    '\u{2029}' => out.extend_from_slice(b"\\u2029"),
                    other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
                }
            }
        } else {
            out.extend_from_slice(valid);
        }
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
}

/// How many bytes from the start stand for themselves. Sixteen at a time, which the compiler turns into vectors.
fn plain(text: &[u8]) -> usize {
    let mut length = 0;
    for chunk in text.as_chunks::<16>().0 {
        if chunk.iter().fold(false, |any, byte| any | special(*byte)) {
            break;
        }
        length += 16;
    }
    length + text[length..].iter().take_while(|byte| !special(**byte)).count()
}

fn special(byte: u8) -> bool {
    !(0x20..0x80).contains(&byte)
        | (byte == b'"')
        | (byte == b'\\')
        | (byte == b'<')
        | (byte == b'>')
        | (byte == b'&')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn line_separators_and_controls_are_escaped() {
        let mut out = Vec::new();
        let text = "a\u{2028}é\u{7f}\u{1b}[0m & more than sixteen plain bytes\r\nrest".as_bytes();
        assert_eq!(line(text, &mut out), text.len() - 4);
        let expected = "a\\u2028é\u{7f}\\u001b[0m \\u0026 more than sixteen plain bytes\\r\\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn any_text_is_read_back_by_any_json_parser(text in ".*") {
            let mut out = b"\"".to_vec();
            let used = line(text.as_bytes(), &mut out);
            out.push(b'"');
            let back: String = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(back, &text[..used]);
        }

        #[test]
        fn any_bytes_become_a_json_string(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut out = b"\"".to_vec();
            let used = line(&bytes, &mut out);
            out.push(b'"');
            prop_assert!(used == bytes.len() || bytes[used - 1] == b'\n');
            prop_assert!(serde_json::from_slice::<String>(&out).is_ok());
        }
    }
}
