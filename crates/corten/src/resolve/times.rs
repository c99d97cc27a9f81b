//! Moments as they are typed: RFC 3339 and its beginnings, seconds after 1970, or how long ago.

use super::Result;
use engine::Time;

const NANOS: u64 = 1_000_000_000;

/// `2026-11-24T08:15:00.5Z`, `2026-11-24`, `1763972100.25`, `42m`, `1h30m`.
pub fn parse_moment(text: &str) -> Result<Time> {
    if let Some(time) = parse_time(text) {
        return Ok(time);
    }
    if let Some(nanos) = parse_decimal(text) {
        return Ok(Time(nanos));
    }
    match parse_duration(text) {
        Some(ago) => Ok(Time(Time::now().0.saturating_sub(ago))),
        None => Err(format!("failed to parse value as time or duration: \"{text}\"")),
    }
}

/// Digits and perhaps a fraction, in billionths.
fn parse_decimal(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) || part.len() > 9 {
        return None;
    }
    let part: u64 = format!("{part:0<9}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(NANOS)?.checked_add(part)
}

/// Go's durations, in nanoseconds.
pub(super) fn parse_duration(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut total: u64 = 0;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..end].parse().ok()?;
        let units =
            [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12)];
        let (unit, nanos) = units.iter().find(|(unit, _)| rest[end..].starts_with(unit))?;
        total = total.checked_add((value * nanos) as u64)?;
        rest = &rest[end + unit.len()..];
    }
    Some(total)
}

/// RFC 3339, or its beginning; without a zone, the time is that of this machine.
pub fn parse_time(text: &str) -> Option<Time> {
    let (date, clock) = text.split_once(['T', ' ']).unwrap_or((text, ""));
    let mut parts = date.split('-');
    let mut number = |length: usize| -> Option<i64> {
        let part = parts.next()?;
        (part.len() == length && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok())?
    };
    let (year, month, day) = (number(4)?, number(2)?, number(2)?);
    if parts.next().is_some() || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (clock, zone) = match clock.find(['Z', '+', '-']) {
        Some(at) => (&clock[..at], Some(zone(&clock[at..])?)),
        None => (clock, None),
    };
    let (seconds, nanos) = clock_of(clock)?;
    let local = days(year, month, day) * 86_400 + seconds;
    let offset = zone.unwrap_or_else(|| kernel::clock::local(local).map_or(0, |t| i64::from(t.offset)));
    let seconds = u64::try_from(local - offset).ok()?;
    seconds.checked_mul(NANOS)?.checked_add(nanos).map(Time)
}

/// `08`, `08:15`, `08:15:30.5` as seconds of the day and nanoseconds.
fn clock_of(clock: &str) -> Option<(i64, u64)> {
    if clock.is_empty() {
        return Some((0, 0));
    }
    let mut parts = clock.split(':');
    let two = |part: &str, limit: i64| -> Option<i64> {
        let value =
            (part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit())).then(|| part.parse().ok())??;
        (value <= limit).then_some(value)
    };
    let hour = two(parts.next()?, 23)?;
    let minute = parts.next().map_or(Some(0), |part| two(part, 59))?;
    let (second, nanos) = match parts.next() {
        None => (0, 0),
        Some(part) => {
            let (whole, _) = part.split_once('.').unwrap_or((part, ""));
            (two(whole, 60)?, parse_decimal(part)? % NANOS)
        }
    };
    parts.next().is_none().then_some((hour * 3600 + minute * 60 + second, nanos))
}

/// `Z`, `+01:00`, in seconds east.
fn zone(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (seconds, _) = clock_of(text.get(1..)?)?;
    Some(sign * seconds)
}

/// Days from 1970-01-01, after Howard Hinnant's "chrono-compatible low-level date algorithms".
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let yoe = year.rem_euclid(400);
    let doy = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_builders_and_of_people() {
        let seconds = |text: &str| parse_time(text).map(|t| t.0 as f64 / 1e9);
        assert_eq!(seconds("1970-01-01T00:00:00Z"), Some(0.0));
        assert_eq!(seconds("2024-02-29T00:00:00.5Z"), Some(1_709_164_800.5));
        assert_eq!(seconds("2024-02-29T01:00:00+01:00"), Some(1_709_164_800.0));
        for bad in [
            "",
            "2024",
            "2024-13-01",
            "2024-01-01T25:00:00Z",
            "2024-01-01T00:00:00+1",
            "0001-01-01T00:00:00Z",
        ] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
        assert_eq!(parse_moment("1763972100.25").unwrap().0, 1_763_972_100_250_000_000);
        let ago = Time::now().0 - parse_moment("1h30m").unwrap().0;
        assert!(ago.abs_diff(5400 * NANOS) < NANOS);
        assert!(parse_moment("yesterday").is_err());
    }

    proptest::proptest! {
        #[test]
        fn no_moment_panics(text in "\\PC{0,30}", time in "[0-9TZ:.+ -]{0,30}") {
            let _ = parse_moment(&text);
            let _ = parse_moment(&time);
        }
    }
}
