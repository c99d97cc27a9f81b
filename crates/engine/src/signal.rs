//! Signals by name and number, as signal(7) lists them.

/// `SIGTERM`, `term`, `15`, `RTMIN+3`.
pub fn number(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Some(at) = NAMES.iter().position(|known| *known == name) {
        return Some(at as i32 + 1);
    }
    match name {
        "IOT" => Some(6),
        "CLD" => Some(17),
        "POLL" => Some(29),
        "RTMIN" => Some(RTMIN),
        "RTMAX" => Some(RTMAX),
        _ => {
            let (base, sign, offset) = match (name.strip_prefix("RTMIN+"), name.strip_prefix("RTMAX-")) {
                (Some(offset), _) => (RTMIN, 1, offset),
                (_, Some(offset)) => (RTMAX, -1, offset),
                _ => return None,
            };
            let number = base + sign * i32::from(offset.parse::<u8>().ok()?);
            (RTMIN..=RTMAX).contains(&number).then_some(number)
        }
    }
}

/// `TERM` for 15.
pub fn name(number: i32) -> Option<&'static str> {
    NAMES.get(usize::try_from(number).ok()?.checked_sub(1)?).copied()
}

/// By number, 1 to 31.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];
/// What the C library leaves to programs.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        for (text, expected) in
            [("KILL", 9), ("SIGTERM", 15), ("sighup", 1), ("64", 64), ("RTMIN+3", 37), ("SIGRTMAX-1", 63)]
        {
            assert_eq!(number(text), Some(expected), "{text}");
        }
        for text in ["", "0", "65", "-9", "SIG", "NOPE", "RTMIN+31", "RTMAX-", "9 "] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
