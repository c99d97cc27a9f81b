//! Words of a Dockerfile's instruction: quotes, backslashes, and variables of the environment.

use crate::error::{Result, invalid};

/// Split at blanks. Double quotes keep blanks, single quotes keep everything, a backslash keeps one character; `$NAME`, `${NAME}`,
/// `${NAME:-word}` and `${NAME:+word}` are looked up in `env`.
pub fn split(text: &str, env: &[String]) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (c, Some(open)) if c == open => quote = None,
            (c, Some('\'')) => word.get_or_insert_default().push(c),
            ('\\', quoted) => {
                let next = chars.next();
                let word = word.get_or_insert_default();
                // In double quotes a backslash means something before a few characters only.
                if quoted.is_some() && !matches!(next, Some('"' | '$' | '\\')) {
                    word.push('\\');
                }
                word.extend(next);
            }
            ('$', _) => {
                let value = variable(&mut chars, env)?;
                word.get_or_insert_default().push_str(&value);
            }
            (c, Some(_)) => word.get_or_insert_default().push(c),
            (c @ ('\'' | '"'), None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return invalid("a quote is not closed");
    }
    words.extend(word);
    Ok(words)
}

/// What stands behind a `$`.
fn variable(chars: &mut std::iter::Peekable<std::str::Chars>, env: &[String]) -> Result<String> {
    let part = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
    let look_up = |name: &str| {
        let found = env.iter().find_map(|e| e.split_once('=').filter(|(key, _)| *key == name));
        found.map(|(_, value)| value.to_string())
    };
    if chars.peek() != Some(&'{') {
        let mut name = String::new();
        while let Some(c) = chars.next_if(part) {
            name.push(c);
        }
        return Ok(if name.is_empty() { "$".into() } else { look_up(&name).unwrap_or_default() });
    }
    let mut inner = String::new();
    chars.next();
    loop {
        match chars.next() {
            Some('}') => break,
            Some(c) => inner.push(c),
            None => return invalid("a brace is not closed"),
        }
    }
    let end = inner.find(|c: char| !part(&c)).unwrap_or(inner.len());
    let (name, modifier) = inner.split_at(end);
    let value = look_up(name).filter(|v| !v.is_empty());
    match (modifier.get(..2), modifier.get(2..)) {
        _ if modifier.is_empty() && !name.is_empty() => Ok(look_up(name).unwrap_or_default()),
        (Some(":-"), Some(word)) => Ok(value.unwrap_or_else(|| word.to_string())),
        (Some(":+"), Some(word)) => Ok(value.map_or_else(String::new, |_| word.to_string())),
        _ => invalid(format!("unsupported modifier in ${{{inner}}}")),
    }
}

/// `A=1 B="x y"`, or the old form `A the rest`.
pub fn assignments(text: &str, env: &[String]) -> Result<Vec<(String, String)>> {
    let first = text.split_whitespace().next().unwrap_or_default();
    if !first.contains('=') && !first.starts_with(['"', '\'']) {
        let Some((name, value)) = text.split_once(char::is_whitespace) else {
            return invalid("ENV must have two arguments");
        };
        // Blanks are kept here, quotes and variables are still what they are.
        let value = split(&format!("\"{}\"", value.trim().replace('"', "\\\"")), env)?.concat();
        return Ok(vec![(name.into(), value)]);
    }
    let mut pairs = Vec::new();
    for word in split(text, env)? {
        match word.split_once('=') {
            Some((name, value)) if !name.is_empty() => pairs.push((name.into(), value.into())),
            _ => return invalid(format!("'{}' is not of the form NAME=VALUE", word.escape_debug())),
        }
    }
    Ok(pairs)
}

/// `["a", "b"]`; None for anything else.
pub fn strings(text: &str) -> Option<Vec<String>> {
    text.starts_with('[').then(|| serde_json::from_str(text).ok())?
}
