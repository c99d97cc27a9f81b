//! `corten man`: manual pages, made from what each command says that it takes. See groff_man(7).

use super::args::{Definition, Shape, describe};
use super::{COMMANDS, Command, Context, Failure, GROUPS, Outcome, examples, help, options_help, parse};
use clap::Args;
use std::fmt::Write;
use std::path::Path;

const SHAPE: Shape = Shape {
    usage: "[OPTIONS] DIR",
    about: "Write the manual pages of all commands into a directory, for man -M or /usr/local/share/man/man1",
    words: (1, 1),
};

#[derive(Debug, Args)]
struct ManArgs {
    #[command(flatten)]
    explain: crate::explain::ExplainArg,
    words: Vec<String>,
}

pub fn main(context: &Context, words: Vec<String>) -> Outcome {
    let args: ManArgs = match parse(context, &SHAPE, words) {
        Ok(args) => args,
        Err(outcome) => return outcome,
    };
    let dir = Path::new(args.words.first().map_or(".", String::as_str));
    let acts = || {
        let word = steps::quote(&dir.display().to_string());
        let made = steps::Shell::exact(format!("mkdir -p {word}"), "where the pages go", "mkdir(1)");
        let page = |(name, _): (String, String)| {
            steps::Shell::comment(format!("{word}/{name}.1 is written: what '--help' says"), "groff_man(7)")
        };
        Ok(std::iter::once(made).chain(pages().into_iter().map(page)).collect())
    };
    if let Some(outcome) = args.explain.instead("corten man", acts) {
        return outcome;
    }
    let failed = |path: &Path, e: std::io::Error| {
        Failure::new(format!("cannot write '{}': {}", path.display(), super::io_words(&e)))
    };
    std::fs::create_dir_all(dir).map_err(|e| failed(dir, e))?;
    for (name, text) in pages() {
        let path = dir.join(format!("{name}.1"));
        std::fs::write(&path, text).map_err(|e| failed(&path, e))?;
    }
    Ok(0)
}

/// Name and text of each page.
pub fn pages() -> Vec<(String, String)> {
    let mut pages = vec![("corten".to_owned(), overview())];
    for command in COMMANDS {
        pages.extend(page(command.name, command));
    }
    for (group, about, commands) in GROUPS {
        pages.push((format!("corten-{group}"), family(group, about, commands)));
        for command in *commands {
            pages.extend(page(&format!("{group} {}", command.name), command));
        }
    }
    pages
}

fn page(name: &str, command: &Command) -> Option<(String, String)> {
    let definition = describe(name, command.run)?;
    let file = format!("corten-{}", name.replace(' ', "-"));
    Some((file.clone(), text(&file, name, command.about, &definition)))
}

fn text(file: &str, name: &str, about: &str, definition: &Definition) -> String {
    let mut text = head(file, about);
    text.push_str(".SH SYNOPSIS\n");
    for (number, usage) in definition.usage.lines().enumerate() {
        let usage = usage.trim();
        let usage = usage.strip_prefix(&format!("corten {name}")).unwrap_or(usage).trim();
        let _ =
            write!(text, "{}.B corten {name}\n{}\n", if number > 0 { ".br\n" } else { "" }, escaped(usage));
    }
    text.push_str(".SH DESCRIPTION\n");
    for (number, line) in definition.about.lines().enumerate() {
        let _ = writeln!(
            text,
            "{}{}.",
            if number > 0 { ".PP\n" } else { "" },
            escaped(line.trim_end_matches('.'))
        );
    }
    for (title, flags) in options_help::groups(name, &definition.flags) {
        let _ = writeln!(text, ".SH {}", title.to_uppercase());
        for flag in flags {
            let _ = writeln!(text, ".TP\n\\fB{}\\fR", escaped(options_help::spelled(flag).trim_start()));
            let _ = writeln!(text, "{}.", escaped(&options_help::told(flag)));
        }
    }
    let examples = examples::of(name);
    if !examples.is_empty() {
        text.push_str(".SH EXAMPLES\n");
        for (line, what) in examples {
            let _ = writeln!(text, ".TP\n\\fB{}\\fR\n{}", escaped(line), escaped(what));
        }
    }
    text.push_str(".SH SEE ALSO\n.BR corten (1)\n");
    text
}

fn overview() -> String {
    let mut text = head("corten", "run containers, and say how");
    text.push_str(".SH SYNOPSIS\n.B corten\n[\\-\\-root DIR] [\\-\\-state DIR] COMMAND\n");
    for (title, commands) in help::sections() {
        let _ = writeln!(text, ".SH {}", title.to_uppercase());
        for command in commands {
            let _ = writeln!(
                text,
                ".TP\n.BR corten\\-{} (1)\n{}.",
                escaped(command.name),
                escaped(command.about)
            );
        }
    }
    text.push_str(".SH FAMILIES OF COMMANDS\n");
    for (name, about, _) in GROUPS {
        let _ = writeln!(text, ".TP\n.BR corten\\-{} (1)\n{}.", escaped(name), escaped(about));
    }
    text.push_str(".SH ENVIRONMENT\n");
    for (name, what) in help::VARIABLES {
        let _ = writeln!(text, ".TP\n.B {name}\n{}.", escaped(what));
    }
    text
}

fn family(group: &str, about: &str, commands: &[Command]) -> String {
    let mut text = head(&format!("corten-{group}"), about);
    let _ = write!(text, ".SH SYNOPSIS\n.B corten {group}\nCOMMAND\n.SH COMMANDS\n");
    for command in commands {
        let (name, about) = (escaped(command.name), escaped(command.about));
        let _ = writeln!(text, ".TP\n.BR corten\\-{group}\\-{name} (1)\n{about}.");
    }
    text.push_str(".SH SEE ALSO\n.BR corten (1)\n");
    text
}

fn head(file: &str, about: &str) -> String {
    let mut small = about.to_owned();
    if let Some(first) = small.get_mut(..1) {
        first.make_ascii_lowercase();
    }
    let (name, version) = (escaped(file), env!("CARGO_PKG_VERSION"));
    format!(
        ".TH {} 1 \"\" \"corten {version}\"\n.SH NAME\n{name} \\- {}\n",
        name.to_uppercase(),
        escaped(&small)
    )
}

/// As roff takes it: dashes that can be copied, and nothing that begins a request.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('…', "...").replace('–', "\\(en");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let pages = pages();
        for command in COMMANDS {
            assert!(
                pages.iter().any(|(name, _)| *name == format!("corten-{}", command.name)),
                "{}",
                command.name
            );
        }
        for (group, _, commands) in GROUPS {
            for command in *commands {
                let file = format!("corten-{group}-{}", command.name);
                assert!(pages.iter().any(|(name, _)| *name == file), "{file}");
            }
        }
    }

    #[test]
    fn a_page_says_what_the_help_says() {
        let pages = pages();
        let page = |wanted: &str| &pages.iter().find(|(name, _)| name == wanted).unwrap().1;
        let create = page("corten-volume-create");
        assert!(create.starts_with(".TH CORTEN\\-VOLUME\\-CREATE 1"), "{create}");
        assert!(create.contains("\\fB\\-\\-uid NUMBER\\fR\n"), "{create}");
        assert!(page("corten-run").contains(".SH NETWORK\n"));
        let requests = [".TH", ".SH", ".TP", ".PP", ".B", ".BR", ".br"];
        for (name, text) in &pages {
            assert!(text.is_ascii(), "{name}");
            for line in text.lines().filter(|line| line.starts_with(['.', '\''])) {
                assert!(requests.contains(&line.split(' ').next().unwrap()), "{name}: {line}");
            }
        }
    }
}
