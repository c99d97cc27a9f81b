//! Values of D-Bus as text, as they stand in annotations: `uint64 5`, `['a', 'b']`, `true`. See GLib's "GVariant Text Format".

use steps::dbus::Value;

/// The value; an error says what is wrong with it.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut parser = Parser { rest: text.trim(), depth: 0 };
    let value = parser.value(None)?;
    match parser.skip() {
        "" => Ok(value),
        rest => Err(format!("unexpected {rest:?}")),
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

/// Types that stand before a value in words.
const WORDS: [(&str, &str); 12] = [
    ("boolean", "b"),
    ("byte", "y"),
    ("int16", "n"),
    ("uint16", "q"),
    ("int32", "i"),
    ("uint32", "u"),
    ("int64", "x"),
    ("uint64", "t"),
    ("double", "d"),
    ("string", "s"),
    ("objectpath", "o"),
    ("signature", "g"),
];

impl<'a> Parser<'a> {
    fn skip(&mut self) -> &'a str {
        self.rest = self.rest.trim_start();
        self.rest
    }

    fn eat(&mut self, token: &str) -> bool {
        match self.skip().strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn word(&mut self, part: impl Fn(char) -> bool) -> &'a str {
        let text = self.skip();
        let end = text.find(|c| !part(c)).unwrap_or(text.len());
        self.rest = &text[end..];
        &text[..end]
    }

    /// A value; of the type `wanted`, where that is known.
    fn value(&mut self, wanted: Option<&str>) -> Result<Value, String> {
        self.depth += 1;
        if self.depth > 32 {
            return Err("too deep".to_owned());
        }
        let value = self.any(wanted);
        self.depth -= 1;
        value
    }

    fn any(&mut self, wanted: Option<&str>) -> Result<Value, String> {
        match self.skip().chars().next() {
            None => Err("a value is missing".to_owned()),
            Some('@') => {
                self.eat("@");
                let signature = self.word(|c| c.is_ascii_alphanumeric() || "(){}".contains(c));
                self.value(Some(signature))
            }
            Some('\'' | '"') => self.string().and_then(|text| match wanted {
                None | Some("s") => Ok(Value::Str(text)),
                Some("o") => Ok(Value::Path(text)),
                Some("g") => Ok(Value::Signature(text)),
                Some(other) => Err(format!("{text:?} is not of type {other}")),
            }),
            Some('[') => self.array(wanted),
            Some('{') => self.dictionary(),
            Some('(') => self.tuple(wanted),
            Some('<') => {
                self.eat("<");
                let inner = self.value(None)?;
                if self.eat(">") { Ok(inner.variant()) } else { Err("'>' is missing".to_owned()) }
            }
            Some('b') if matches!(self.rest.as_bytes().get(1), Some(b'\'' | b'"')) => {
                self.eat("b");
                let text = self.string()?;
                Ok(Value::bytes(&[text.as_bytes(), b"\0"].concat()))
            }
            Some(_) => self.scalar(wanted),
        }
    }

    fn scalar(&mut self, wanted: Option<&str>) -> Result<Value, String> {
        let word = self.word(|c| c.is_ascii_alphanumeric() || "+-._".contains(c));
        if let Some((_, signature)) = WORDS.iter().find(|(name, _)| *name == word) {
            return self.value(Some(signature));
        }
        let wrong =
            || format!("{word:?} is no value{}", wanted.map(|w| format!(" of type {w}")).unwrap_or_default());
        if matches!((word, wanted), ("true" | "false", None | Some("b"))) {
            return Ok(Value::Bool(word == "true"));
        }
        let float = || word.parse::<f64>().map(Value::F64).map_err(|_| wrong());
        let integer = integer(word);
        let to = |signature: &str, n: i128| -> Option<Value> {
            Some(match signature {
                "y" => Value::Byte(n.try_into().ok()?),
                "n" => Value::I16(n.try_into().ok()?),
                "q" => Value::U16(n.try_into().ok()?),
                "i" => Value::I32(n.try_into().ok()?),
                "u" => Value::U32(n.try_into().ok()?),
                "x" => Value::I64(n.try_into().ok()?),
                "t" => Value::U64(n.try_into().ok()?),
                _ => return None,
            })
        };
        match (wanted, integer) {
            (Some("d"), _) => float(),
            (None, None)
                if word.contains(['.', 'e'])
                    && word.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) =>
            {
                float()
            }
            (wanted, Some(n)) => to(wanted.unwrap_or("i"), n).ok_or_else(wrong),
            _ => Err(wrong()),
        }
    }

    fn string(&mut self) -> Result<String, String> {
        let mut chars = self.skip().char_indices();
        let quote = chars.next().map(|(_, c)| c);
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            if Some(c) == quote {
                self.rest = &self.rest[at + c.len_utf8()..];
                return Ok(text);
            }
            text.push(match c {
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some('r') => '\r',
                    Some(c @ ('\\' | '\'' | '"')) => c,
                    other => return Err(format!("{other:?} cannot be escaped")),
                },
                c => c,
            });
        }
        Err("the end of a string is missing".to_owned())
    }

    /// Values with commas between them, up to `close`.
    fn list(
        &mut self,
        close: &str,
        mut one: impl FnMut(&mut Self) -> Result<Value, String>,
    ) -> Result<Vec<Value>, String> {
        let mut values = Vec::new();
        while !self.eat(close) {
            if !values.is_empty() && !self.eat(",") {
                return Err(format!("',' or {close:?} is missing"));
            }
            // A tuple of one ends in a comma.
            if !values.is_empty() && self.eat(close) {
                break;
            }
            values.push(one(self)?);
        }
        Ok(values)
    }

    fn array(&mut self, wanted: Option<&str>) -> Result<Value, String> {
        self.eat("[");
        let mut element = wanted.and_then(|w| w.strip_prefix('a')).map(str::to_owned);
        let values = self.list("]", |parser| {
            let value = parser.value(element.as_deref())?;
            element.get_or_insert_with(|| value.signature());
            Ok(value)
        })?;
        let element = element.ok_or("the type of an empty array must be said, as in '@as []'")?;
        if values.iter().any(|v| v.signature() != element) {
            return Err("the elements of an array are of different types".to_owned());
        }
        Ok(Value::Array(element, values))
    }

    fn tuple(&mut self, wanted: Option<&str>) -> Result<Value, String> {
        self.eat("(");
        let fields = self.list(")", |parser| parser.value(None))?;
        let tuple = Value::Struct(fields);
        match wanted {
            Some(wanted) if wanted != tuple.signature() => Err(format!("not of type {wanted}")),
            _ => Ok(tuple),
        }
    }

    fn dictionary(&mut self) -> Result<Value, String> {
        self.eat("{");
        let entries = self.list("}", |parser| {
            let key = parser.value(None)?;
            if !parser.eat(":") {
                return Err("':' is missing".to_owned());
            }
            Ok(Value::Entry(Box::new(key), Box::new(parser.value(None)?)))
        })?;
        let element = entries.first().map(Value::signature).ok_or("an empty dictionary has no type")?;
        if entries.iter().any(|e| e.signature() != element) {
            return Err("the entries of a dictionary are of different types".to_owned());
        }
        Ok(Value::Array(element, entries))
    }
}

/// Decimal, or with `0x` or `0` before it.
fn integer(word: &str) -> Option<i128> {
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, word.strip_prefix('+').unwrap_or(word)),
    };
    let (digits, radix) = match digits.strip_prefix("0x") {
        Some(hex) => (hex, 16),
        None if digits.len() > 1 && digits.starts_with('0') => (&digits[1..], 8),
        None => (digits, 10),
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    i128::from_str_radix(digits, radix).ok().map(|n| sign * n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_as_they_stand_in_annotations() {
        let said = |text: &str| match parse(text) {
            Ok(value) => {
                let mut words = vec![value.signature()];
                value.words(&mut words);
                words.join(" ")
            }
            Err(e) => format!("no: {e}"),
        };
        let texts = [
            "uint64 123456789",
            "456",
            "byte 0xff",
            "int16 -010",
            "234.789",
            "double 2",
            "false",
            "'inactive-or-failed'",
            "\"it's\\n\"",
            "['a.service', 'b.service']",
            "@as []",
            "[uint32 1, 2]",
            "('a', uint64 5)",
            "<'v'>",
            "{'k': <1>, 'l': <true>}",
            "b'x'",
            "[byte 1, 'x']",
            "byte 256",
            "uint64 -1",
            "invalid-value",
            "",
            "5 6",
            "'open",
            "[]",
            "[1 2]",
        ];
        let all: Vec<String> = texts.iter().map(|t| format!("{t} -> {}", said(t))).collect();
        insta::assert_snapshot!(all.join("\n"), @r#"
        uint64 123456789 -> t 123456789
        456 -> i 456
        byte 0xff -> y 255
        int16 -010 -> n -8
        234.789 -> d 234.789
        double 2 -> d 2
        false -> b false
        'inactive-or-failed' -> s inactive-or-failed
        "it's\n" -> s it's

        ['a.service', 'b.service'] -> as 2 a.service b.service
        @as [] -> as 0
        [uint32 1, 2] -> au 2 1 2
        ('a', uint64 5) -> (st) a 5
        <'v'> -> v s v
        {'k': <1>, 'l': <true>} -> a{sv} 2 k i 1 l b true
        b'x' -> ay 2 120 0
        [byte 1, 'x'] -> no: "x" is not of type y
        byte 256 -> no: "256" is no value of type y
        uint64 -1 -> no: "-1" is no value of type t
        invalid-value -> no: "invalid-value" is no value
         -> no: a value is missing
        5 6 -> no: unexpected "6"
        'open -> no: the end of a string is missing
        [] -> no: the type of an empty array must be said, as in '@as []'
        [1 2] -> no: ',' or "]" is missing
        "#);
        assert!(parse(&"[".repeat(1000)).is_err());
    }
}
