//! Times and sizes in words, Docker's words.

use std::time::Duration;

/// `About a minute`, `3 weeks` (units.HumanDuration).
pub fn duration(d: Duration) -> String {
    let seconds = d.as_secs();
    let minutes = seconds / 60;
    // Hours are rounded, all else is cut.
    let hours = (d.as_secs_f64() / 3600.0 + 0.5) as u64;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 7 * 2 => format!("{} days", hours / 24),
        () if hours < 24 * 30 * 2 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", seconds / 3600 / 24 / 365),
    }
}

/// `151MB`: decimal, three digits (units.HumanSizeWithPrecision).
pub fn size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{}{}", three_digits(value), units[unit])
}

/// `151.3MB`: with four digits (units.HumanSize).
pub fn size_of_four(bytes: u64) -> String {
    four_digits(bytes, 1000.0, ["B", "kB", "MB", "GB", "TB", "PB", "EB"])
}

/// `1.5MiB`: binary, four digits (units.BytesSize).
pub fn memory(bytes: u64) -> String {
    four_digits(bytes, 1024.0, ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
}

fn four_digits(bytes: u64, base: f64, units: [&str; 7]) -> String {
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= base && unit + 1 < units.len() {
        value /= base;
        unit += 1;
    }
    let places = match value {
        v if v >= 999.95 => 0,
        v if v >= 99.995 => 1,
        v if v >= 9.9995 => 2,
        _ => 3,
    };
    let text = format!("{value:.places$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text}{}", units[unit])
}

/// C's `%.3g` of a number from 0 to 1000.
fn three_digits(value: f64) -> String {
    let places = match value {
        v if v >= 99.95 => 0,
        v if v >= 9.995 => 1,
        _ => 2,
    };
    let text = format!("{value:.places$}");
    if text.len() > 3 && !text.contains('.') {
        // Go changes to exponents where rounding needs a fourth digit.
        return "1e+03".to_owned();
    }
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// At most `width` letters, the last of which is `…` where some were cut.
pub fn ellipsis(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let cut: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{cut}…")
}

/// Go's strconv.Quote: in double quotes, and nothing in it that a terminal would obey.
pub fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\x0b' => out.push_str("\\v"),
            c if (c as u32) < 0x20 || c == '\x7f' => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `2026-11-24 08:15:00 +0000 UTC`, as Go prints a time; nanoseconds are left out.
pub fn date(seconds: i64) -> String {
    let Some(t) = kernel::clock::local(seconds) else { return String::new() };
    let (sign, offset) = if t.offset < 0 { ('-', -t.offset) } else { ('+', t.offset) };
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}:{:02} {sign}{:02}{:02} {}",
        t.year,
        t.month,
        t.day,
        t.hour,
        t.minute,
        t.second,
        offset / 3600,
        offset / 60 % 60,
        t.zone
    )
}

/// `2026-11-24T08:15:00Z`, or with the zone's offset, as Go's time.RFC3339 has it.
pub fn rfc3339(seconds: i64) -> String {
    let Some(t) = kernel::clock::local(seconds) else { return String::new() };
    let zone = match t.offset {
        0 => "Z".to_owned(),
        offset => {
            let (sign, offset) = if offset < 0 { ('-', -offset) } else { ('+', offset) };
            format!("{sign}{:02}:{:02}", offset / 3600, offset / 60 % 60)
        }
    };
    let (day, clock) = ((t.year, t.month, t.day), (t.hour, t.minute, t.second));
    format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{zone}", day.0, day.1, day.2, clock.0, clock.1, clock.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_in_binary_units() {
        for (bytes, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1 << 20, "1MiB"),
            (1_572_864, "1.5MiB"),
            (10_485_760, "10MiB"),
            (7_654_321_987, "7.129GiB"),
        ] {
            assert_eq!(memory(bytes), text);
        }
    }

    #[test]
    fn durations_are_said_as_docker_says_them() {
        let minute = 60;
        let hour = 60 * minute;
        let day = 24 * hour;
        let table = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (minute, "About a minute"),
            (2 * minute - 1, "About a minute"),
            (2 * minute, "2 minutes"),
            (59 * minute + 59, "59 minutes"),
            (hour, "About an hour"),
            (hour + 29 * minute, "About an hour"),
            (hour + 30 * minute, "2 hours"),
            (47 * hour, "47 hours"),
            (2 * day, "2 days"),
            (13 * day, "13 days"),
            (14 * day, "2 weeks"),
            (59 * day, "8 weeks"),
            (60 * day, "2 months"),
            (729 * day, "24 months"),
            (730 * day, "2 years"),
        ];
        for (seconds, words) in table {
            assert_eq!(duration(Duration::from_secs(seconds)), words, "{seconds}");
        }
    }

    #[test]
    fn sizes_have_three_digits() {
        let table = [
            (0, "0B"),
            (999, "999B"),
            (1000, "1kB"),
            (1_234, "1.23kB"),
            (12_345, "12.3kB"),
            (150_900_000, "151MB"),
            (999_600, "1e+03kB"),
            (2_500_000_000, "2.5GB"),
            (10_000_000, "10MB"),
            (u64::MAX, "18.4EB"),
        ];
        for (bytes, words) in table {
            assert_eq!(size(bytes), words, "{bytes}");
        }
    }

    #[test]
    fn quoting_leaves_nothing_for_the_terminal() {
        assert_eq!(quote("a \"b\" \x1b[2J\n…\u{85}"), r#""a \"b\" \x1b[2J\n…\u0085""#);
        assert_eq!(ellipsis("nginx -g 'daemon off;'", 20), "nginx -g 'daemon of…");
        assert_eq!(ellipsis("short", 5), "short");
    }
}
