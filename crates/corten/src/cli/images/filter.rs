//! `-f`: which images are listed, or pruned. Labels are all needed, of references one.

use super::super::Failure;
use super::super::args::go_bool;
use super::created;
use image::{Image, Reference, Summary};

/// What was typed, looked up. Times are seconds after 1970.
#[derive(Debug, Default)]
pub struct Filters {
    labels: Vec<String>,
    without_labels: Vec<String>,
    references: Vec<String>,
    pub dangling: Option<bool>,
    before: Option<i64>,
    since: Option<i64>,
    until: Option<i64>,
}

/// Where filters are typed: not all keys make sense everywhere.
pub const LIST: &[&str] = &["before", "dangling", "label", "reference", "since", "until"];
pub const PRUNE: &[&str] = &["dangling", "label", "label!", "until"];

impl Filters {
    pub fn parse(words: &[String], keys: &[&str], all: &[Summary]) -> Result<Filters, Failure> {
        let mut filters = Filters::default();
        for word in words {
            let bad = |cause: &str| {
                Failure::flag(format!("invalid argument \"{word}\" for \"-f, --filter\" flag: {cause}"))
            };
            let (key, value) =
                word.split_once('=').ok_or_else(|| bad("bad format of filter (expected name=value)"))?;
            let key = key.trim().to_lowercase();
            let value = value.trim();
            if !keys.contains(&key.as_str()) {
                return Err(Failure::new(format!("invalid filter '{key}'")));
            }
            let moment = || {
                let reference = Reference::parse(value).ok().map(Reference::tagged);
                let id = value.strip_prefix("sha256:").unwrap_or(value);
                let found = all
                    .iter()
                    .find(|s| reference.as_ref().is_some_and(|r| s.tags.contains(r)))
                    .or_else(|| all.iter().find(|s| s.image.id.starts_with(id)));
                found
                    .map(|s| created(&s.image))
                    .ok_or_else(|| Failure::new(format!("No such image: {value}")))
            };
            match key.as_str() {
                "label" => filters.labels.push(value.to_owned()),
                "label!" => filters.without_labels.push(value.to_owned()),
                "reference" => filters.references.push(value.to_owned()),
                "dangling" => filters.dangling = Some(go_bool(value).map_err(|e| bad(&e))?),
                "before" => filters.before = moment()?,
                "since" => filters.since = moment()?,
                _ => {
                    let time = crate::resolve::parse_moment(value).map_err(Failure::new)?;
                    filters.until = Some((time.0 / 1_000_000_000) as i64);
                }
            }
        }
        Ok(filters)
    }

    /// All but names.
    pub fn accepts(&self, image: &Image) -> bool {
        let at = created(image).unwrap_or(0);
        let labelled = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => image.config.labels.get(key).is_some_and(|v| v == value),
            None => image.config.labels.contains_key(wanted),
        };
        self.before.is_none_or(|t| at < t)
            && self.since.is_none_or(|t| at > t)
            && self.until.is_none_or(|t| at < t)
            && self.labels.iter().all(labelled)
            && !self.without_labels.iter().any(labelled)
    }

    pub fn is_called(&self, name: Option<&Reference>) -> bool {
        self.references.is_empty() || self.references.iter().any(|pattern| is_called(name, pattern))
    }
}

/// `nginx`, `nginx:1`, `*/nginx*`.
pub fn is_called(name: Option<&Reference>, pattern: &str) -> bool {
    let Some(name) = name else { return false };
    let (repository, tag) = match pattern.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, Some(tag)),
        _ => (pattern, None),
    };
    let full = name.repository();
    let repository_fits = glob(repository, &name.familiar_repository())
        || glob(repository, &full)
        || glob(&format!("docker.io/{repository}"), &full);
    repository_fits && tag.is_none_or(|tag| name.tag.as_deref().is_some_and(|t| glob(tag, t)))
}

/// `*` is any letters but `/`, `?` is one.
fn glob(pattern: &str, text: &str) -> bool {
    let (mut p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    p.dedup_by(|a, b| *a == '*' && *b == '*');
    // Which beginnings of the text the pattern so far can be.
    let mut fits = vec![false; t.len() + 1];
    fits[0] = true;
    for c in p {
        let mut next = vec![false; t.len() + 1];
        for i in 0..=t.len() {
            next[i] = match c {
                '*' => fits[i] || (i > 0 && next[i - 1] && t[i - 1] != '/'),
                '?' => i > 0 && fits[i - 1] && t[i - 1] != '/',
                c => i > 0 && fits[i - 1] && t[i - 1] == c,
            };
        }
        fits = next;
    }
    fits[t.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        assert!(
            glob("nginx", "nginx") && glob("ng*", "nginx") && glob("*", "nginx") && glob("n?inx", "nginx")
        );
        assert!(
            !glob("*", "peers/nginx") && glob("*/nginx", "peers/nginx") && !glob("", "x") && glob("", "")
        );
    }
}
