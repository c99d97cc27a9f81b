//! Health checks: what the image says and what was typed, put together as Docker does.

use super::times::parse_duration;
use super::{Result, texts};
use crate::cli::ContainerArgs;
use engine::{OnUnhealthy, Settings};
use image::{Healthcheck, RunConfig};

/// Fills in the check, and what is done when it fails.
pub fn check(settings: &mut Settings, args: &ContainerArgs, config: &RunConfig) -> Result<()> {
    let typed = typed(args)?;
    let given = typed != Healthcheck::default();
    if args.no_healthcheck && given {
        return Err("--no-healthcheck conflicts with --health-* options".to_owned());
    }
    settings.healthcheck = match &config.healthcheck {
        _ if args.no_healthcheck => {
            Some(Healthcheck { test: vec!["NONE".to_owned()], ..Healthcheck::default() })
        }
        None => given.then_some(typed),
        Some(image) => Some(merged(typed, image)),
    };
    settings.shell = config.shell.clone();
    settings.on_unhealthy = on_unhealthy(args.on_unhealthy.as_deref().unwrap_or_default())?;
    if settings.on_unhealthy == OnUnhealthy::None {
        return Ok(());
    }
    let word = settings.on_unhealthy.word();
    if !settings.is_checked() {
        return Err(format!("--on-unhealthy {word} needs a health check, such as --health-cmd COMMAND"));
    }
    if settings.on_unhealthy == OnUnhealthy::Restart && args.rm {
        return Err("conflicting options: cannot specify both --on-unhealthy restart and --rm".to_owned());
    }
    Ok(())
}

fn on_unhealthy(word: &str) -> Result<OnUnhealthy> {
    let all = [OnUnhealthy::None, OnUnhealthy::Restart, OnUnhealthy::Stop, OnUnhealthy::Kill];
    match all.into_iter().find(|action| action.word() == word) {
        Some(action) => Ok(action),
        None if word.is_empty() => Ok(OnUnhealthy::None),
        None => Err(texts::bad_flag("--on-unhealthy", word, "use none, restart, stop or kill")),
    }
}

fn typed(args: &ContainerArgs) -> Result<Healthcheck> {
    const MILLISECOND: i64 = 1_000_000;
    let time = |flag: &str, what: &str, text: &Option<String>| -> Result<i64> {
        let Some(text) = text else { return Ok(0) };
        let bad = || texts::bad_flag(flag, text, &format!("time: invalid duration \"{text}\""));
        let (minus, digits) = text.strip_prefix('-').map_or((false, text.as_str()), |rest| (true, rest));
        let nanos = match digits {
            "0" => 0,
            digits => parse_duration(digits).and_then(|n| i64::try_from(n).ok()).ok_or_else(bad)?,
        };
        if minus && nanos > 0 {
            return Err(format!("{flag} cannot be negative"));
        }
        if nanos > 0 && nanos < MILLISECOND {
            return Err(format!("{what} in Healthcheck cannot be less than 1ms"));
        }
        Ok(nanos)
    };
    let retries = args.health_retries.unwrap_or(0);
    if retries < 0 {
        return Err("--health-retries cannot be negative".to_owned());
    }
    let command = args.health_cmd.iter().filter(|command| !command.is_empty());
    Ok(Healthcheck {
        test: command.flat_map(|command| ["CMD-SHELL".to_owned(), command.clone()]).collect(),
        interval: time("--health-interval", "Interval", &args.health_interval)?,
        timeout: time("--health-timeout", "Timeout", &args.health_timeout)?,
        start_period: time("--health-start-period", "StartPeriod", &args.health_start_period)?,
        start_interval: time("--health-start-interval", "StartInterval", &args.health_start_interval)?,
        retries,
    })
}

/// What was typed, and the image's where nothing was.
fn merged(typed: Healthcheck, image: &Healthcheck) -> Healthcheck {
    let number = |typed: i64, image: i64| if typed == 0 { image } else { typed };
    Healthcheck {
        test: if typed.test.is_empty() { image.test.clone() } else { typed.test },
        interval: number(typed.interval, image.interval),
        timeout: number(typed.timeout, image.timeout),
        start_period: number(typed.start_period, image.start_period),
        start_interval: number(typed.start_interval, image.start_interval),
        retries: number(typed.retries, image.retries),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::test_parse;

    fn resolved(line: &str, image: Option<Healthcheck>) -> Result<Settings> {
        let words = format!("{line} busybox").split(' ').map(str::to_owned).collect();
        let args = test_parse(words).map_err(|failure| failure.message)?;
        let mut settings = Settings::default();
        check(&mut settings, &args, &RunConfig { healthcheck: image, ..RunConfig::default() })?;
        Ok(settings)
    }

    fn of_image() -> Option<Healthcheck> {
        let test = vec!["CMD".to_owned(), "probe".to_owned()];
        Some(Healthcheck { test, interval: 7, retries: 9, ..Healthcheck::default() })
    }

    #[test]
    fn flags_go_over_the_image() {
        let settings = resolved("--health-interval 1m30s --health-timeout=500ms", of_image()).unwrap();
        let check = settings.healthcheck.unwrap();
        assert_eq!(check.test, ["CMD", "probe"]);
        assert_eq!((check.interval, check.timeout, check.retries), (90_000_000_000, 500_000_000, 9));
        let settings = resolved("--health-cmd true", of_image()).unwrap();
        assert_eq!(settings.healthcheck.unwrap().test, ["CMD-SHELL", "true"]);
        let settings = resolved("--no-healthcheck", of_image()).unwrap();
        assert!(!settings.is_checked());
        assert_eq!(settings.healthcheck.unwrap().test, ["NONE"]);
        assert_eq!(resolved("", None).unwrap().healthcheck, None);
        assert_eq!(resolved("--on-unhealthy kill", of_image()).unwrap().on_unhealthy, OnUnhealthy::Kill);
    }

    #[test]
    fn mistakes() {
        let error = |line: &str| resolved(line, None).unwrap_err();
        assert_eq!(
            error("--health-interval 5 --health-cmd x"),
            "invalid argument \"5\" for \"--health-interval\" flag: time: invalid duration \"5\""
        );
        assert_eq!(error("--health-timeout -1s"), "--health-timeout cannot be negative");
        assert_eq!(error("--health-timeout 1us"), "Timeout in Healthcheck cannot be less than 1ms");
        assert_eq!(error("--health-retries -1"), "--health-retries cannot be negative");
        assert!(error("--no-healthcheck --health-cmd x").contains("conflicts with --health-*"));
        assert!(error("--on-unhealthy stop").contains("needs a health check"));
        assert!(error("--on-unhealthy pray").contains("none, restart, stop or kill"));
        assert!(error("--on-unhealthy restart --health-cmd x --rm").contains("--rm"));
    }
}
