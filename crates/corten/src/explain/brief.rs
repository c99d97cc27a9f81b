//! Long ids, which nobody reads, become variables of the shell: `$ID` for the container's, `$LAYER1` for the first layer's.

use std::collections::HashMap;

/// Sixty-four hexadecimal digits: the id of a container or a layer.
const LENGTH: usize = 64;

/// The text with names for its ids, and the assignments that give these their values. The container's id is the one that is there
/// most often: what it is made of has it in its path.
pub fn shorten(text: &str) -> (Vec<String>, String) {
    let mut names = Names { known: known(text), used: Vec::new() };
    let lines: Vec<String> = text.lines().map(|line| names.in_line(line)).collect();
    let assignments = names.used.iter().map(|(name, id)| format!("{name}={id}")).collect();
    (assignments, lines.join("\n") + "\n")
}

fn known(text: &str) -> HashMap<&str, String> {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for (_, id) in pieces(text).into_iter().filter(|(is_id, _)| *is_id) {
        match counts.iter_mut().find(|(known, _)| *known == id) {
            Some((_, count)) => *count += 1,
            None => counts.push((id, 1)),
        }
    }
    let container = counts.iter().max_by_key(|(_, count)| *count).map(|(id, _)| *id);
    let others = counts.iter().map(|(id, _)| *id).filter(|id| Some(*id) != container);
    let layers = others.enumerate().map(|(index, id)| (id, format!("LAYER{}", index + 1)));
    layers.chain(container.map(|id| (id, "ID".to_owned()))).collect()
}

struct Names<'a> {
    known: HashMap<&'a str, String>,
    used: Vec<(String, String)>,
}

impl Names<'_> {
    /// Single quotes keep a shell from looking: in them, an id stays. Only commands are indented; what says why is no shell's.
    fn in_line(&mut self, line: &str) -> String {
        let command = line.starts_with("     ");
        let mut quoted = false;
        let mut out = String::with_capacity(line.len());
        for (is_id, piece) in pieces(line) {
            let name = if is_id && !quoted { self.known.get(piece) } else { None };
            match name {
                Some(name) => {
                    out.extend(["$", name]);
                    if !self.used.iter().any(|(used, _)| used == name) {
                        self.used.push((name.clone(), piece.to_owned()));
                    }
                }
                None => out.push_str(piece),
            }
            quoted ^= command && piece.matches('\'').count() % 2 == 1;
        }
        out
    }
}

/// The text cut before and after each id.
fn pieces(text: &str) -> Vec<(bool, &str)> {
    let mut all = Vec::new();
    let (mut start, mut at) = (0, 0);
    let hex = |c: char| !matches!(c, '0'..='9' | 'a'..='f');
    while at < text.len() {
        let run = text[at..].find(hex).unwrap_or(text.len() - at);
        if run == LENGTH {
            all.extend([(false, &text[start..at]), (true, &text[at..at + run])]);
            start = at + run;
        }
        at += run;
        at += text[at..].chars().next().map_or(0, char::len_utf8);
    }
    all.push((false, &text[start..]));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_become_names_but_in_single_quotes() {
        let (a, b) = ("a".repeat(64), "0".repeat(64));
        let text = format!(
            "   1 the container's {a}\n     mkdir /x/{a}/y '/z/{a}' /l/{b}/d 'it' {a}\n     echo {a}0 é\n"
        );
        let (assignments, short) = shorten(&text);
        assert_eq!(assignments, [format!("ID={a}"), format!("LAYER1={b}")]);
        let expected = format!(
            "   1 the container's $ID\n     mkdir /x/$ID/y '/z/{a}' /l/$LAYER1/d 'it' $ID\n     echo {a}0 é\n"
        );
        assert_eq!(short, expected);
    }

    #[test]
    fn nothing_to_name() {
        assert_eq!(shorten("a\n"), (vec![], "a\n".to_owned()));
    }
}
