//! Messages of D-Bus as bytes. See the D-Bus specification, "Message Protocol".

use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// A value with its type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    Byte(u8),
    Bool(bool),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    F64(f64),
    Str(String),
    /// Of an object.
    Path(String),
    Signature(String),
    Variant(Box<Value>),
    /// The signature of an element, and the elements.
    Array(String, Vec<Value>),
    Struct(Vec<Value>),
    /// Of an array that is a dictionary.
    Entry(Box<Value>, Box<Value>),
}

impl From<&str> for Value {
    fn from(s: &str) -> Value {
        Value::Str(s.to_owned())
    }
}

impl Value {
    pub fn variant(self) -> Value {
        Value::Variant(Box::new(self))
    }

    /// Bytes in an array.
    pub fn bytes(bytes: &[u8]) -> Value {
        Value::Array("y".to_owned(), bytes.iter().copied().map(Value::Byte).collect())
    }

    /// Its type, in the notation of D-Bus: `a(sv)`.
    pub fn signature(&self) -> String {
        let all = |values: &[Value]| values.iter().map(Value::signature).collect::<String>();
        match self {
            Value::Byte(_) => "y".to_owned(),
            Value::Bool(_) => "b".to_owned(),
            Value::I16(_) => "n".to_owned(),
            Value::U16(_) => "q".to_owned(),
            Value::I32(_) => "i".to_owned(),
            Value::U32(_) => "u".to_owned(),
            Value::I64(_) => "x".to_owned(),
            Value::U64(_) => "t".to_owned(),
            Value::F64(_) => "d".to_owned(),
            Value::Str(_) => "s".to_owned(),
            Value::Path(_) => "o".to_owned(),
            Value::Signature(_) => "g".to_owned(),
            Value::Variant(_) => "v".to_owned(),
            Value::Array(element, _) => format!("a{element}"),
            Value::Struct(fields) => format!("({})", all(fields)),
            Value::Entry(key, value) => format!("{{{}{}}}", key.signature(), value.signature()),
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(s) | Value::Path(s) | Value::Signature(s) => Some(s),
            Value::Variant(inner) => inner.as_str(),
            _ => None,
        }
    }

    /// As arguments of busctl(1), after the signature.
    pub fn words(&self, out: &mut Vec<String>) {
        let mut text = String::new();
        let _ = match self {
            Value::Byte(n) => write!(text, "{n}"),
            Value::Bool(b) => write!(text, "{b}"),
            Value::I16(n) => write!(text, "{n}"),
            Value::U16(n) => write!(text, "{n}"),
            Value::I32(n) => write!(text, "{n}"),
            Value::U32(n) => write!(text, "{n}"),
            Value::I64(n) => write!(text, "{n}"),
            Value::U64(n) => write!(text, "{n}"),
            Value::F64(n) => write!(text, "{n}"),
            Value::Str(s) | Value::Path(s) | Value::Signature(s) => write!(text, "{s}"),
            Value::Variant(inner) => {
                out.push(inner.signature());
                return inner.words(out);
            }
            Value::Array(_, elements) => {
                out.push(elements.len().to_string());
                return elements.iter().for_each(|e| e.words(out));
            }
            Value::Struct(fields) => return fields.iter().for_each(|f| f.words(out)),
            Value::Entry(key, value) => {
                key.words(out);
                return value.words(out);
            }
        };
        out.push(text);
    }
}

/// What a type is aligned to.
fn alignment(signature: &str) -> usize {
    match signature.as_bytes().first() {
        Some(b'y' | b'g' | b'v') => 1,
        Some(b'n' | b'q') => 2,
        Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
        _ => 4,
    }
}

/// Appends `value` to a message whose body or header begins at the first byte of `out`.
pub(super) fn put(out: &mut Vec<u8>, value: &Value) {
    let pad = |out: &mut Vec<u8>, to: usize| out.resize(out.len().next_multiple_of(to), 0);
    let string = |out: &mut Vec<u8>, s: &str| {
        out.extend((s.len() as u32).to_ne_bytes());
        out.extend(s.as_bytes());
        out.push(0);
    };
    pad(out, alignment(&value.signature()));
    match value {
        Value::Byte(n) => out.push(*n),
        Value::Bool(b) => out.extend(u32::from(*b).to_ne_bytes()),
        Value::I16(n) => out.extend(n.to_ne_bytes()),
        Value::U16(n) => out.extend(n.to_ne_bytes()),
        Value::I32(n) => out.extend(n.to_ne_bytes()),
        Value::U32(n) => out.extend(n.to_ne_bytes()),
        Value::I64(n) => out.extend(n.to_ne_bytes()),
        Value::U64(n) => out.extend(n.to_ne_bytes()),
        Value::F64(n) => out.extend(n.to_ne_bytes()),
        Value::Str(s) | Value::Path(s) => string(out, s),
        Value::Signature(s) => {
            out.push(s.len() as u8);
            out.extend(s.as_bytes());
            out.push(0);
        }
        Value::Variant(inner) => {
            put(out, &Value::Signature(inner.signature()));
            put(out, inner);
        }
        Value::Array(element, elements) => {
            let length_at = out.len();
            out.extend([0; 4]);
            pad(out, alignment(element));
            let start = out.len();
            elements.iter().for_each(|e| put(out, e));
            let length = (out.len() - start) as u32;
            out[length_at..length_at + 4].copy_from_slice(&length.to_ne_bytes());
        }
        Value::Struct(fields) => fields.iter().for_each(|f| put(out, f)),
        Value::Entry(key, of) => {
            put(out, key);
            put(out, of);
        }
    }
}

/// Reads values; `None` where the bytes are none.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
    /// How many variants and arrays more may be in each other.
    pub depth: usize,
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0, depth: 32 }
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.pad(N)?;
        let bytes = self.bytes.get(self.at..self.at.checked_add(N)?)?.try_into().ok()?;
        self.at += N;
        Some(bytes)
    }

    pub fn pad(&mut self, to: usize) -> Option<()> {
        self.at = self.at.checked_next_multiple_of(to)?;
        (self.at <= self.bytes.len()).then_some(())
    }

    fn string(&mut self, length: usize) -> Option<String> {
        let end = self.at.checked_add(length)?;
        let text = std::str::from_utf8(self.bytes.get(self.at..end)?).ok()?;
        // The zero byte.
        self.bytes.get(end).filter(|b| **b == 0)?;
        self.at = end + 1;
        Some(text.to_owned())
    }

    /// The values of a signature, one after the other.
    pub fn all(&mut self, mut signature: &str) -> Option<Vec<Value>> {
        let mut values = Vec::new();
        while !signature.is_empty() {
            let (one, rest) = signature.split_at(first(signature)?);
            values.push(self.value(one)?);
            signature = rest;
        }
        Some(values)
    }

    pub fn value(&mut self, signature: &str) -> Option<Value> {
        Some(match signature.as_bytes().first()? {
            b'y' => Value::Byte(u8::from_ne_bytes(self.take()?)),
            b'b' => Value::Bool(u32::from_ne_bytes(self.take()?) != 0),
            b'n' => Value::I16(i16::from_ne_bytes(self.take()?)),
            b'q' => Value::U16(u16::from_ne_bytes(self.take()?)),
            b'i' => Value::I32(i32::from_ne_bytes(self.take()?)),
            b'u' | b'h' => Value::U32(u32::from_ne_bytes(self.take()?)),
            b'x' => Value::I64(i64::from_ne_bytes(self.take()?)),
            b't' => Value::U64(u64::from_ne_bytes(self.take()?)),
            b'd' => Value::F64(f64::from_ne_bytes(self.take()?)),
            kind @ (b's' | b'o') => {
                let length = u32::from_ne_bytes(self.take()?) as usize;
                let text = self.string(length)?;
                if *kind == b's' { Value::Str(text) } else { Value::Path(text) }
            }
            b'g' => {
                let length = usize::from(u8::from_ne_bytes(self.take()?));
                Value::Signature(self.string(length)?)
            }
            _ => {
                self.depth = self.depth.checked_sub(1)?;
                let value = self.container(signature)?;
                self.depth += 1;
                value
            }
        })
    }

    fn container(&mut self, signature: &str) -> Option<Value> {
        match signature.as_bytes().first()? {
            b'v' => {
                let Value::Signature(inner) = self.value("g")? else { return None };
                (first(&inner)? == inner.len()).then(|| self.value(&inner)).flatten().map(Value::variant)
            }
            b'a' => {
                let element = &signature[1..];
                let length = u32::from_ne_bytes(self.take()?) as usize;
                self.pad(alignment(element))?;
                let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len())?;
                let mut elements = Vec::new();
                while self.at < end {
                    elements.push(self.value(element)?);
                }
                (self.at == end).then(|| Value::Array(element.to_owned(), elements))
            }
            b'(' => {
                self.pad(8)?;
                self.all(&signature[1..signature.len() - 1]).map(Value::Struct)
            }
            b'{' => {
                self.pad(8)?;
                let mut both = self.all(&signature[1..signature.len() - 1])?.into_iter();
                Some(Value::Entry(Box::new(both.next()?), Box::new(both.next()?)))
            }
            _ => None,
        }
    }
}

/// How long the first type of a signature is.
fn first(signature: &str) -> Option<usize> {
    let bytes = signature.as_bytes();
    let mut at = 0;
    while *bytes.get(at)? == b'a' {
        at += 1;
    }
    let (open, close) = match bytes[at] {
        b'(' => (b'(', b')'),
        b'{' => (b'{', b'}'),
        b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g' | b'v' | b'h' => {
            return Some(at + 1);
        }
        _ => return None,
    };
    let mut depth = 0;
    for (i, b) in bytes[at..].iter().enumerate() {
        depth += i32::from(*b == open) - i32::from(*b == close);
        if depth == 0 {
            // An empty structure is none.
            return (i > 1).then_some(at + i + 1);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Value {
        let entry = |k: &str, v: Value| Value::Entry(Box::new(k.into()), Box::new(v.variant()));
        Value::Struct(vec![
            Value::Byte(1),
            Value::Bool(true),
            Value::I16(-2),
            Value::U16(3),
            Value::I32(-4),
            Value::U32(5),
            Value::I64(-6),
            Value::U64(u64::MAX),
            Value::F64(0.5),
            "text".into(),
            Value::Path("/a".to_owned()),
            Value::Signature("a(sv)".to_owned()),
            Value::bytes(&[1, 2, 3]),
            Value::Array("(ss)".to_owned(), vec![Value::Struct(vec!["a".into(), "b".into()])]),
            Value::Array("{sv}".to_owned(), vec![entry("k", Value::U64(7)), entry("l", "x".into())]),
            Value::Array("t".to_owned(), Vec::new()),
        ])
    }

    #[test]
    fn what_is_put_is_read() {
        let value = everything();
        let mut bytes = vec![9];
        put(&mut bytes, &value);
        let mut reader = Reader { at: 1, ..Reader::new(&bytes) };
        assert_eq!(reader.value(&value.signature()).unwrap(), value);
        assert_eq!(reader.at, bytes.len());
        assert_eq!(value.signature(), "(ybnqiuxtdsogaya(ss)a{sv}at)");
    }

    #[test]
    fn broken_bytes_are_no_value() {
        let value = everything().variant();
        let mut bytes = Vec::new();
        put(&mut bytes, &value);
        for end in 0..bytes.len() {
            assert_eq!(Reader::new(&bytes[..end]).value("v"), None, "{end}");
        }
        for at in 0..bytes.len() {
            let mut bent = bytes.clone();
            bent[at] = 0xff;
            let _ = Reader::new(&bent).value("v");
        }
        let deep: Vec<u8> = [1, b'v', 0].repeat(100);
        assert_eq!(Reader::new(&deep).value("v"), None);
        for signature in ["", "a", "(", "()", "(s", "z", "a{s"] {
            assert_eq!(Reader::new(&bytes).all(signature).filter(|v| !v.is_empty()), None, "{signature}");
        }
    }

    #[test]
    fn words_of_busctl() {
        let mut words = vec!["a(sv)".to_owned()];
        let property = |name: &str, value: Value| Value::Struct(vec![name.into(), value.variant()]);
        let pids = Value::Array("u".to_owned(), vec![Value::U32(7), Value::U32(8)]);
        Value::Array(
            "(sv)".to_owned(),
            vec![property("Delegate", Value::Bool(true)), property("PIDs", pids)],
        )
        .words(&mut words);
        assert_eq!(words.join(" "), "a(sv) 2 Delegate b true PIDs au 2 7 8");
    }
}
