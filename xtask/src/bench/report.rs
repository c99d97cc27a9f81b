//! The tables: printed as they are measured, and put into docs/benchmarks.md between their markers.

use super::measure::Figure;
use crate::shell;
use std::fmt::Write as _;
use std::fs;

/// One section of the benchmark.
#[derive(Debug)]
pub struct Section {
    pub name: &'static str,
    pub title: &'static str,
    /// What the numbers are of: `ms`, `s`, `KB`.
    pub unit: &'static str,
    pub figures: Vec<Figure>,
    pub goals: Vec<Goal>,
}

/// A figure that the project wants to reach.
#[derive(Debug)]
pub struct Goal {
    pub text: String,
    /// Measured and wanted, in the same unit; at most is good.
    pub is: f64,
    pub most: f64,
}

impl Section {
    /// The figure of this contender.
    pub fn of(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }

    /// Adds a goal as a ratio: `ours` is to be at most `most` times `theirs`. Nothing where a contender is missing.
    pub fn ratio(&mut self, text: &str, ours: Option<f64>, theirs: Option<f64>, most: f64) {
        if let (Some(ours), Some(theirs)) = (ours, theirs) {
            self.goals.push(Goal { text: text.into(), is: ours / theirs, most });
        }
    }

    /// As Markdown.
    pub fn table(&self) -> String {
        let mut text = format!(
            "| {} | median, {u} | p10, {u} | CPU, ms | × corten |\n|---|---:|---:|---:|---:|\n",
            self.title,
            u = self.unit
        );
        let ours = self.of("corten").map(|figure| figure.median);
        for figure in &self.figures {
            let cpu = figure.cpu.map_or("–".into(), number);
            let ratio = ours.map_or("–".into(), |ours| format!("{:.2}", figure.median / ours));
            let _ = writeln!(
                text,
                "| {} | {} | {} | {cpu} | {ratio} |",
                figure.name,
                number(figure.median),
                number(figure.p10)
            );
        }
        for goal in &self.goals {
            let met = if goal.is <= goal.most { "reached" } else { "**not reached**" };
            let _ =
                write!(text, "\n* {}: {} (goal {}): {met}", goal.text, number(goal.is), number(goal.most));
        }
        text.push('\n');
        text
    }
}

/// Replaces what stands between this section's markers in docs/benchmarks.md.
pub fn keep(name: &str, table: &str) -> anyhow::Result<()> {
    let path = shell::root().join("docs/benchmarks.md");
    let text = fs::read_to_string(&path)?;
    fs::write(&path, replaced(&text, name, table)?)?;
    Ok(())
}

/// The text with everything between the markers of this name replaced.
pub fn replaced(text: &str, name: &str, by: &str) -> anyhow::Result<String> {
    let (start, end) = (format!("<!-- bench {name} -->\n"), format!("<!-- end {name} -->"));
    let found = text.find(&start).zip(text.find(&end));
    let (from, to) = found.ok_or_else(|| anyhow::anyhow!("docs/benchmarks.md has no markers for {name}"))?;
    Ok(format!("{}{by}{}", &text[..from + start.len()], &text[to..]))
}

fn number(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_ratios_and_goals() {
        let figure = |name: &str, median, cpu| Figure { name: name.into(), median, p10: median, cpu };
        let figures = vec![figure("corten", 10.0, Some(5.0)), figure("crun", 40.0, None)];
        let mut section = Section { name: "x", title: "run", unit: "ms", figures, goals: vec![] };
        section.ratio("wall against crun", Some(10.0), Some(40.0), 0.3);
        section.ratio("missing", Some(10.0), None, 0.3);
        let table = section.table();
        assert!(table.contains("| crun | 40.0 | 40.0 | – | 4.00 |"), "{table}");
        assert!(table.contains("* wall against crun: 0.25 (goal 0.30): reached"), "{table}");
    }

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let text = "a\n<!-- bench x -->\nold\n<!-- end x -->\nb\n";
        assert_eq!(replaced(text, "x", "new\n").unwrap(), "a\n<!-- bench x -->\nnew\n<!-- end x -->\nb\n");
        assert!(replaced(text, "y", "new").is_err());
    }
}
