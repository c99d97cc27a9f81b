//! Civil time where the machine stands (localtime(3)), and the unit in which /proc counts.

use std::ffi::CStr;

/// A moment on the clock on the wall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Local {
    pub year: i32,
    /// 1–12.
    pub month: u8,
    pub day: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    /// Seconds east of UTC.
    pub offset: i32,
    /// `CET`, `UTC`.
    pub zone: String,
}

/// `seconds` after 1970-01-01 00:00 UTC, by `TZ` or /etc/localtime; `None` where the year does not fit.
pub fn local(seconds: i64) -> Option<Local> {
    // SAFETY: tm is plain data of integers and one pointer, for which zero is a value.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live, properly aligned values; localtime_r keeps neither.
    let done = unsafe { libc::localtime_r(&seconds, &mut tm) };
    if done.is_null() {
        return None;
    }
    let zone = if tm.tm_zone.is_null() {
        String::new()
    } else {
        // SAFETY: tm_zone is a NUL-terminated string in the C library's static storage, copied at once.
        unsafe { CStr::from_ptr(tm.tm_zone) }.to_string_lossy().into_owned()
    };
    Some(Local {
        year: tm.tm_year + 1900,
        month: (tm.tm_mon + 1) as u8,
        day: tm.tm_mday as u8,
        hour: tm.tm_hour as u8,
        minute: tm.tm_min as u8,
        second: tm.tm_sec as u8,
        offset: tm.tm_gmtoff as i32,
        zone,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_and_offset_agree() {
        let moment = local(1_709_164_800).unwrap();
        assert_eq!((moment.year, moment.month), (2024, 2));
        let of_day = i32::from(moment.hour) * 3600 + i32::from(moment.minute) * 60 + i32::from(moment.second);
        assert_eq!((of_day - moment.offset).rem_euclid(86_400), 0);
        assert!(!moment.zone.is_empty());
    }
}
