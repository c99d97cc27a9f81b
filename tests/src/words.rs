//! A command line as one string, split into words as a shell would, so that tests read like what a person types.

/// Splits at blanks; single and double quotes keep blanks, a backslash outside single quotes keeps the next character.
/// Nothing is expanded.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            (_, Some(q)) if c == q => quote = None,
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(chars.next()),
            (_, Some(_)) => word.get_or_insert_default().push(c),
            ('\'' | '"', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (_, None) if c.is_whitespace() => words.extend(word.take()),
            (_, None) => word.get_or_insert_default().push(c),
        }
    }
    assert!(quote.is_none(), "a quote is not closed: {line}");
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::words;

    #[test]
    fn splits_like_a_shell() {
        assert_eq!(words("run  --rm 'a b' \"c 'd'\" e\\ f ''"), ["run", "--rm", "a b", "c 'd'", "e f", ""]);
        assert_eq!(words(r#"sh -c "echo \"x\" \$y""#), ["sh", "-c", r#"echo "x" $y"#]);
        assert_eq!(words(""), Vec::<String>::new());
    }
}
