//! The tags of a repository, page by page.

use super::http::Call;
use super::{Client, Listener, sessions};
use crate::error::{Error, Result, invalid};
use crate::reference::Reference;
use serde::Deserialize;

/// Longest page that is read, in bytes, and tags that are taken.
const MAX: u64 = 8 << 20;
const MOST: usize = 100_000;

/// All tags of the repository that `reference` names, sorted.
pub fn tags(client: &Client, reference: &Reference, listener: &Listener) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Page {
        tags: Option<Vec<String>>,
    }
    let mut failure = None;
    'places: for session in sessions(client, reference, false, listener)? {
        let mut url = session.url("tags/list")?;
        let mut all: Vec<String> = Vec::new();
        loop {
            let mut answer = match session.send(&Call::get(url.clone()), "the tags") {
                Ok(answer) if answer.status == 200 => answer,
                Ok(answer) => {
                    failure =
                        Some(session.refusal(answer, &format!("repository {}", session.endpoint.repository)));
                    continue 'places;
                }
                Err(e) => {
                    failure = Some(e);
                    continue 'places;
                }
            };
            let next = answer.header("link").and_then(next).and_then(|link| answer.url.join(&link));
            let bytes = answer.read("the list of tags", MAX)?;
            let page: Page = serde_json::from_slice(&bytes).map_err(|_| {
                Error::Invalid(format!("{} answered something else than tags", session.endpoint.host))
            })?;
            for tag in page.tags.unwrap_or_default() {
                let named = Reference::parse(&format!("{}:{tag}", reference.repository()));
                if named.is_ok_and(|named| named.tag.as_deref() == Some(&*tag) && named.digest.is_none()) {
                    all.push(tag);
                }
            }
            if all.len() > MOST {
                return invalid(format!("more than {MOST} tags"));
            }
            match next {
                // The next page is on the same server, and another one.
                Some(next) if next.same_origin(&url) && next != url => url = next,
                _ => break,
            }
        }
        all.sort();
        all.dedup();
        return Ok(all);
    }
    Err(failure.unwrap_or_else(|| Error::Invalid("there is no place to ask".into())))
}

/// `</v2/x/tags/list?n=100&last=b>; rel="next"`
fn next(link: &str) -> Option<String> {
    let (address, rest) = link.trim().strip_prefix('<')?.split_once('>')?;
    rest.replace(' ', "").contains("rel=\"next\"").then(|| address.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        assert_eq!(next("</v2/x/tags/list?last=b&n=2>; rel=\"next\"").unwrap(), "/v2/x/tags/list?last=b&n=2");
        assert_eq!(next("</x>; rel=\"prev\""), None);
        assert_eq!(next("x"), None);
    }
}
