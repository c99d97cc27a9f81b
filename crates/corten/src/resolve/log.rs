//! `--log-driver` and `--log-opt`.

use super::{Result, texts};
use crate::cli::ContainerArgs;
use engine::LogOptions;

/// Docker's, when the log has a process of its own.
const BUFFER: u64 = 1 << 20;

pub fn options(args: &ContainerArgs) -> Result<LogOptions> {
    let driver = args.log_driver.as_deref().filter(|driver| !driver.is_empty()).unwrap_or("json-file");
    let mut log = LogOptions { driver: driver.to_owned(), ..LogOptions::default() };
    match driver {
        "json-file" => {}
        // As Docker's.
        "local" | "journald" => (log.max_size, log.max_files, log.compress) = (20_000_000, 5, true),
        "none" if args.log_opt.is_empty() => {}
        "none" => return Err("invalid logging opts for driver none".to_owned()),
        driver => {
            return Err(format!(
                "logging driver '{driver}' is not supported: use json-file, local, journald or none"
            ));
        }
    }
    let (mut non_blocking, mut buffer) = (false, None);
    for option in &args.log_opt {
        let (key, value) = option.split_once('=').unwrap_or((option, ""));
        let bad = |cause: &str| texts::bad_flag("--log-opt", option, cause);
        let size = || texts::parse_size(value, 1000).map_err(|e| bad(&e));
        match key {
            "max-size" if value == "-1" => log.max_size = 0,
            "max-size" => log.max_size = size()?,
            "max-file" => {
                let number = value.parse().ok().filter(|n| *n > 0);
                log.max_files = number.ok_or_else(|| bad("max-file must be a number from 1"))?;
            }
            "compress" => {
                log.compress = crate::cli::args::go_bool(value).map_err(|e| bad(&e))?;
            }
            "mode" => match value {
                "blocking" => non_blocking = false,
                "non-blocking" => non_blocking = true,
                _ => return Err(format!("logger: logging mode not supported: {value}")),
            },
            "max-buffer-size" => {
                let bytes = texts::parse_size(value, 1024).map_err(|e| bad(&e))?;
                buffer = Some(bytes);
            }
            "tag" | "labels" | "env" => {}
            // They only choose what is added to each entry.
            "labels-regex" | "env-regex" => {
                return Err(format!(
                    "--log-opt {key} is not supported: name them by {}",
                    key.trim_end_matches("-regex")
                ));
            }
            _ => return Err(format!("unknown log opt '{key}' for {driver} log driver")),
        }
        log.options.insert(key.to_owned(), value.to_owned());
    }
    let asked = log.options.contains_key("compress") && log.compress;
    if asked && (log.max_files < 2 || log.max_size == 0) {
        return Err("compress cannot be true when max-file is less than 2 or max-size is not set".to_owned());
    }
    match (non_blocking, buffer) {
        (false, Some(_)) => {
            Err("logger: max-buffer-size option is only supported with 'mode=non-blocking'".to_owned())
        }
        (false, None) => Ok(log),
        (true, bytes) => {
            log.max_buffer = bytes.unwrap_or(BUFFER).max(1);
            Ok(log)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::test_parse;

    fn resolved(line: &str) -> Result<LogOptions> {
        let words = format!("{line} busybox").split(' ').map(str::to_owned).collect();
        options(&test_parse(words).map_err(|failure| failure.message)?)
    }

    #[test]
    fn drivers_and_their_options() {
        let log = resolved("--log-opt max-size=10k --log-opt max-file=2 --log-opt compress=true").unwrap();
        assert_eq!((log.max_size, log.max_files, log.compress, log.max_buffer), (10_000, 2, true, 0));
        let log = resolved("--log-driver local --log-opt mode=non-blocking").unwrap();
        assert_eq!(
            (log.max_size, log.max_files, log.compress, log.max_buffer),
            (20_000_000, 5, true, 1 << 20)
        );
        let log =
            resolved("--log-opt mode=non-blocking --log-opt max-buffer-size=4m --log-opt tag=x").unwrap();
        assert_eq!((log.max_buffer, log.options["tag"].as_str()), (4 << 20, "x"));
    }

    #[test]
    fn mistakes() {
        let error = |line: &str| resolved(line).unwrap_err();
        assert!(error("--log-opt colour=red").contains("unknown log opt 'colour' for json-file log driver"));
        assert!(error("--log-opt mode=sideways").contains("sideways"));
        assert!(error("--log-opt max-buffer-size=1m").contains("mode=non-blocking"));
        assert!(error("--log-opt compress=true --log-opt max-file=1").contains("compress cannot be true"));
        assert!(error("--log-opt compress=maybe").contains("compress=maybe"));
        assert!(error("--log-driver none --log-opt max-file=1").contains("none"));
    }
}
