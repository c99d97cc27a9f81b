//! A picture of times: a dot a start, and a line through the medians of those around it.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 340.0;
/// Around the plot: left, right, top, bottom.
const MARGIN: [f64; 4] = [56.0, 16.0, 40.0, 44.0];

/// How many starts a median is of.
const WINDOW: usize = 50;

const STYLE: &str = "text{font:12px ui-monospace,Menlo,Consolas,monospace;fill:#1c2733}.h{font-weight:700;font-size:14px}\
.s{fill:#5b6b7b}.back{fill:#fff}.grid{stroke:#e3eaf1}.axis{stroke:#9fb1c2}.dot{fill:#2f6fb2;fill-opacity:.25}\
.line{stroke:#1c4f86;stroke-width:2;fill:none}.goal{stroke:#c0392b;stroke-dasharray:6 4}";

/// Milliseconds of each start, the number that ran already being its place in the list. `flat`: times the first median is the goal.
pub fn svg(starts: &[f64], flat: f64) -> String {
    let medians = medians(starts);
    let first = medians.first().map_or(0.0, |(_, median)| *median);
    let mut sorted = starts.to_vec();
    sorted.sort_by(f64::total_cmp);
    let high = sorted.get(sorted.len() * 98 / 100).copied().unwrap_or(1.0);
    let step =
        [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0].into_iter().find(|step| high / step <= 8.0).unwrap_or(200.0);
    let top = ((high.max(first * flat) / step).floor() + 1.0) * step;
    let [left, right, above, below] = MARGIN;
    let x = |n: f64| left + n / starts.len().max(1) as f64 * (WIDTH - left - right);
    let y = |time: f64| HEIGHT - below - (time / top).min(1.0) * (HEIGHT - above - below);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">\
         <title>time of a start over the number of running containers</title><style>{STYLE}</style>\
         <rect class=\"back\" width=\"{WIDTH}\" height=\"{HEIGHT}\"/>\
         <text class=\"h\" x=\"{left}\" y=\"20\">run -d with the default network, milliseconds</text>\n"
    );
    let mut time = 0.0;
    while time <= top {
        let at = y(time);
        let class = if time == 0.0 { "axis" } else { "grid" };
        let end = WIDTH - right;
        let _ = writeln!(
            out,
            "<path class=\"{class}\" d=\"M{left} {at:.1}H{end}\"/><text class=\"s\" x=\"{:.0}\" y=\"{:.1}\" text-anchor=\"end\">{time}</text>",
            left - 8.0,
            at + 4.0
        );
        time += step;
    }
    for tenth in 0..=10 {
        let n = starts.len() as f64 * f64::from(tenth) / 10.0;
        let (at, low) = (x(n), HEIGHT - below + 18.0);
        let _ = writeln!(
            out,
            "<text class=\"s\" x=\"{at:.1}\" y=\"{low:.1}\" text-anchor=\"middle\">{n:.0}</text>"
        );
    }
    let _ = writeln!(
        out,
        "<text class=\"s\" x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"middle\">containers that run already</text>",
        WIDTH / 2.0,
        HEIGHT - 8.0
    );
    for (n, time) in starts.iter().enumerate().filter(|(_, time)| **time <= top) {
        let _ =
            write!(out, "<circle class=\"dot\" cx=\"{:.1}\" cy=\"{:.1}\" r=\"1.6\"/>", x(n as f64), y(*time));
    }
    let goal = y(first * flat);
    let _ = write!(
        out,
        "\n<path class=\"goal\" d=\"M{left} {goal:.1}H{}\"/><text class=\"s\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{flat} × the first</text>\n<path class=\"line\" d=\"",
        WIDTH - right,
        WIDTH - right - 4.0,
        goal - 5.0
    );
    for (at, (n, time)) in medians.iter().enumerate() {
        let _ = write!(out, "{}{:.1} {:.1}", if at == 0 { "M" } else { "L" }, x(*n), y(*time));
    }
    out.push_str("\"/>\n</svg>\n");
    out
}

/// The medians of windows that overlap by half, each at its middle.
fn medians(starts: &[f64]) -> Vec<(f64, f64)> {
    let window = WINDOW.min(starts.len());
    if window == 0 {
        return Vec::new();
    }
    let places = (0..=starts.len() - window).step_by((window / 2).max(1));
    places
        .map(|from| {
            let mut part = starts[from..from + window].to_vec();
            part.sort_by(f64::total_cmp);
            (from as f64 + window as f64 / 2.0, part[window / 2])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dot_a_start_and_a_line_through_medians() {
        let starts: Vec<f64> = (0..200).map(|n| 10.0 + f64::from(n % 3)).collect();
        let picture = svg(&starts, 1.25);
        assert_eq!(picture.matches("<circle").count(), 200);
        assert_eq!(medians(&starts).first(), Some(&(25.0, 11.0)));
        assert!(medians(&[]).is_empty() && svg(&[], 1.25).ends_with("</svg>\n"));
    }
}
