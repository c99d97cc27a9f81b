//! What was probably meant by a word that nothing is called by.

use std::fmt;

/// What was probably meant; stands behind what was typed: ` (did you mean 'web'?)`, or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Near(Option<String>);

impl Near {
    /// To `typed`, of what there is.
    pub fn of<W: AsRef<str>>(typed: &str, known: impl IntoIterator<Item = W>) -> Near {
        Near(nearest(typed, known))
    }
}

impl fmt::Display for Near {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(word) => write!(f, " (did you mean '{word}'?)"),
            None => Ok(()),
        }
    }
}

/// The one of `known` that is closest to what was typed, if any is close: one letter in three is wrong, two at most.
pub fn nearest<W: AsRef<str>>(typed: &str, known: impl IntoIterator<Item = W>) -> Option<String> {
    let near = known.into_iter().min_by_key(|word| distance(typed, word.as_ref()))?;
    let is_close = distance(typed, near.as_ref()) <= (typed.len() / 3).min(2);
    is_close.then(|| near.as_ref().to_owned())
}

/// How many letters must be changed, added, taken away or swapped with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            row.push(least);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapped_and_missing_letters() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(nearest("ngnix", ["web", "nginx"]).as_deref(), Some("nginx"));
        assert_eq!(nearest("db", ["web", "nginx"]), None);
        assert_eq!(nearest("db", [""; 0]), None);
        assert_eq!(Near::of("wbe", ["web"]).to_string(), " (did you mean 'web'?)");
        assert_eq!(Near::of("db", ["web"]).to_string(), "");
    }
}
