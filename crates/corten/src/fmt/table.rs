//! Columns as Go's text/tabwriter makes them, because people's eyes and awk scripts know them.

/// Lines of cells that end with tabs become columns. Cells are at least `least` wide with `padding` spaces behind them.
/// The last cell of a line belongs to no column.
pub fn align(text: &str, least: usize, padding: usize) -> String {
    let mut lines: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
    // Text that ends with a newline has no line behind it.
    let ended = lines.last().is_some_and(|line| line.len() == 1 && line[0].is_empty());
    if ended {
        lines.pop();
    }
    let mut writer = Writer { lines: &lines, least, padding, widths: Vec::new(), out: String::new() };
    writer.block(0, lines.len());
    if !ended {
        writer.out.pop();
    }
    writer.out
}

/// Docker's choice: at least ten, three behind.
pub fn columns(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for row in rows {
        text.push_str(&row.join("\t"));
        text.push('\n');
    }
    align(&text, 10, 3)
}

struct Writer<'a> {
    lines: &'a [Vec<&'a str>],
    least: usize,
    padding: usize,
    widths: Vec<usize>,
    out: String,
}

impl Writer<'_> {
    /// Lines `from..to` share the columns so far. A further column is a run of lines that have a cell in it.
    fn block(&mut self, mut from: usize, to: usize) {
        let column = self.widths.len();
        let mut line = from;
        while line < to {
            if column + 1 >= self.lines[line].len() {
                line += 1;
                continue;
            }
            self.write(from, line);
            from = line;
            let mut width = self.least;
            while line < to && column + 1 < self.lines[line].len() {
                width = width.max(self.lines[line][column].chars().count() + self.padding);
                line += 1;
            }
            self.widths.push(width);
            self.block(from, line);
            self.widths.pop();
            from = line;
        }
        self.write(from, to);
    }

    fn write(&mut self, from: usize, to: usize) {
        for line in &self.lines[from..to] {
            for (i, cell) in line.iter().enumerate() {
                self.out.push_str(cell);
                if let Some(width) = self.widths.get(i).filter(|_| i + 1 < line.len()) {
                    let used = cell.chars().count();
                    self.out.extend(std::iter::repeat_n(' ', width.saturating_sub(used)));
                }
            }
            self.out.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_three() {
        let text = align("A\tBBBBBBBBBBBB\tC\nlonger than ten\tx\ty\n", 10, 3);
        insta::assert_snapshot!(text, @r"
        A                 BBBBBBBBBBBB   C
        longer than ten   x              y
        ");
        assert_eq!(align("a\tb\n", 10, 3), "a         b\n");
        assert_eq!(align("a\t\n", 10, 3), "a         \n");
    }

    #[test]
    fn a_line_without_cells_parts_the_columns() {
        assert_eq!(align("a\tb\nplain\nlonglonglong\tb\n", 1, 1), "a b\nplain\nlonglonglong b\n");
        assert_eq!(align("", 10, 3), "");
        assert_eq!(align("x", 10, 3), "x");
        assert_eq!(align("\n", 10, 3), "\n");
    }

    #[test]
    fn letters_are_counted_not_bytes() {
        assert_eq!(align("é…\tx\nabc\ty\n", 1, 1), "é…  x\nabc y\n");
    }

    proptest::proptest! {
        #[test]
        fn any_text_comes_out_whole(text in "[a\t\né ]{0,40}") {
            let out = align(&text, 3, 1);
            let letters = |s: &str| s.chars().filter(|c| !" \t".contains(*c)).collect::<String>();
            proptest::prop_assert_eq!(letters(&out), letters(&text));
        }
    }
}
