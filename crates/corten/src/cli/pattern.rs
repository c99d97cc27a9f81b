//! `-f name=…` is a regular expression, which a part of the name has to match, as Docker has it.

use regex::Regex;

/// The values of the key `name`. Errors name the first that is none.
pub fn all(words: Option<&Vec<String>>) -> Result<Vec<Regex>, String> {
    let compiled = |word: &String| {
        // The last line of what the crate says is the cause; those before it draw the place.
        Regex::new(word).map_err(|e| {
            let text = e.to_string();
            let cause = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("invalid filter 'name={word}': {cause}")
        })
    };
    words.into_iter().flatten().map(compiled).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_expression_is_named_in_one_line() {
        assert_eq!(
            all(Some(&vec!["a".to_owned(), "b(".to_owned()])).unwrap_err(),
            "invalid filter 'name=b(': unclosed group"
        );
    }
}
