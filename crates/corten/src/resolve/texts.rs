//! Values that are text: sizes, environment, labels, signals, addresses.

use super::Result;
use crate::cli::{ContainerArgs, io_words};
use engine::Settings;
use image::RunConfig;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Docker's sentence about a flag's value.
pub fn bad_flag(flag: &str, value: &str, cause: &str) -> String {
    format!("invalid argument \"{value}\" for \"{flag}\" flag: {cause}")
}

/// `512m`, `1.5GiB`, `10 kb`, plain bytes. `base` is 1024 for memory and 1000 for files.
pub fn parse_size(text: &str, base: u64) -> Result<u64> {
    let Some(end) = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ') else {
        return Err(format!("invalid size: '{text}'"));
    };
    let number = text[..=end].trim_end_matches(' ');
    let suffix = text[end + 1..].to_lowercase();
    let bad_suffix = || format!("invalid suffix: '{suffix}'");
    if !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(format!("invalid size: '{text}'"));
    }
    let number: f64 = number.parse().map_err(|_| format!("invalid size: '{text}'"))?;
    let (letter, rest) = suffix.split_at(suffix.chars().next().map_or(0, char::len_utf8));
    let power = match letter {
        "" | "b" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(bad_suffix()),
    };
    if !(rest.is_empty() || (power > 0 && matches!(rest, "b" | "ib"))) {
        return Err(bad_suffix());
    }
    let bytes = number * (base as f64).powi(power);
    if bytes.is_finite() && bytes <= i64::MAX as f64 {
        Ok(bytes as u64)
    } else {
        Err(format!("invalid size: '{text}'"))
    }
}

/// A flag whose value is a number of bytes.
pub fn size_flag(flag: &str, value: Option<&str>) -> Result<Option<u64>> {
    value.map(|text| parse_size(text, 1024).map_err(|cause| bad_flag(flag, text, &cause))).transpose()
}

/// A whole number. It may have a sign.
pub fn integer(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// `--rootfs`, `-v`: the path as seen from where the command was typed.
pub fn absolute(path: &str) -> Result<String> {
    let absolute =
        std::path::absolute(path).map_err(|e| format!("invalid path '{path}': {}", io_words(&e)))?;
    absolute.into_os_string().into_string().map_err(|_| format!("the path of '{path}' is not valid UTF-8"))
}

/// The configuration's, the image's, then the files', then the flags': a later one of the same name takes the place of an earlier one.
pub fn environment(args: &ContainerArgs, config: &RunConfig, settings: &Settings) -> Result<Vec<String>> {
    let mut env = args.usual_env.clone();
    if !config.env.iter().chain(&env).any(|line| line.starts_with("PATH=")) {
        env.push(format!("PATH={DEFAULT_PATH}"));
    }
    if !settings.hostname.is_empty() {
        env.push(format!("HOSTNAME={}", settings.hostname));
    }
    if settings.tty && !env.iter().any(|line| line.starts_with("TERM=")) {
        env.push("TERM=xterm".to_owned());
    }
    let mut set = |line: String| {
        let name = line.split('=').next().unwrap_or_default();
        match env.iter_mut().find(|old| old.split('=').next() == Some(name)) {
            Some(old) => *old = line,
            None => env.push(line),
        }
    };
    config.env.iter().cloned().for_each(&mut set);
    let host = |name: &str| std::env::var(name).ok();
    for path in &args.env_file {
        read_key_values(path, &host)?.into_iter().for_each(&mut set);
    }
    for word in &args.env {
        match word.split_once('=') {
            Some(("", _)) => {
                return Err(bad_flag("-e, --env", word, &format!("invalid environment variable: {word}")));
            }
            Some(_) => set(word.clone()),
            None if word.is_empty() => {
                return Err(bad_flag("-e, --env", word, "invalid environment variable: "));
            }
            // A name alone copies ours; what we don't have is taken away.
            None => match host(word) {
                Some(value) => set(format!("{word}={value}")),
                None => set(word.clone()),
            },
        }
    }
    env.retain(|line| line.contains('='));
    Ok(env)
}

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Docker's files of `NAME=value` lines: comments begin with `#`, nothing is quoted, a name alone is looked up.
pub fn read_key_values(path: &str, lookup: &dyn Fn(&str) -> Option<String>) -> Result<Vec<String>> {
    let text = std::fs::read(path).map_err(|e| format!("open {path}: {}", io_words(&e)))?;
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text);
    let mut lines = Vec::new();
    for (number, line) in text.split(|b| *b == b'\n').enumerate() {
        let line = std::str::from_utf8(line)
            .map_err(|_| format!("invalid env file ({path}): invalid utf8 bytes at line {}", number + 1))?;
        let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (name, value) = match line.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (line, None),
        };
        if name.contains(char::is_whitespace) {
            return Err(format!("invalid env file ({path}): variable '{name}' contains whitespaces"));
        }
        if name.is_empty() {
            return Err(format!("invalid env file ({path}): no variable name on line '{line}'"));
        }
        match value {
            Some(value) => lines.push(format!("{name}={value}")),
            None => lines.extend(lookup(name).map(|value| format!("{name}={value}"))),
        }
    }
    Ok(lines)
}

/// The image's, then the files', then the flags'.
pub fn labels(args: &ContainerArgs, config: &RunConfig) -> Result<BTreeMap<String, String>> {
    let mut labels = config.labels.clone();
    let mut set = |line: &str| {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        labels.insert(key.to_owned(), value.to_owned());
    };
    for path in &args.label_file {
        read_key_values(path, &|_| Some(String::new()))?.iter().for_each(|line| set(line));
    }
    for word in &args.label {
        if word.is_empty() || word.starts_with('=') {
            return Err(bad_flag("-l, --label", word, &format!("invalid label '{word}': empty name")));
        }
        set(word);
    }
    Ok(labels)
}

/// `--annotation key=value`
pub fn annotations(words: &[String]) -> Result<BTreeMap<String, String>> {
    let pair = |word: &String| match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(bad_flag("--annotation", word, "it must be key=value")),
    };
    words.iter().map(pair).collect()
}

pub fn name_servers(words: &[String]) -> Result<Vec<String>> {
    for word in words {
        if word.trim().parse::<IpAddr>().is_err() {
            return Err(bad_flag("--dns", word, &format!("IP address is not correctly formatted: {word}")));
        }
    }
    Ok(words.iter().map(|word| word.trim().to_owned()).collect())
}

pub fn extra_hosts(words: &[String]) -> Result<Vec<String>> {
    for word in words {
        network::hosts::parse_extra(word).map_err(|e| bad_flag("--add-host", word, &e.to_string()))?;
    }
    Ok(words.to_vec())
}

pub fn workdir(typed: Option<&str>, config: &RunConfig) -> Result<String> {
    let dir = typed.filter(|dir| !dir.is_empty()).unwrap_or(&config.working_dir);
    if dir.is_empty() {
        return Ok("/".to_owned());
    }
    if !dir.starts_with('/') {
        return Err(format!("the working directory '{dir}' is invalid, it needs to be an absolute path"));
    }
    Ok(engine::clean_path(dir))
}

pub fn stop_signal(typed: Option<&str>, config: &RunConfig) -> Result<String> {
    let signal = typed.unwrap_or(&config.stop_signal);
    if !signal.is_empty() && engine::signal::number(signal).is_none() {
        return Err(format!("invalid signal: {signal}"));
    }
    Ok(signal.to_owned())
}

/// `-e` and `--env-file` of `exec`.
pub fn exec_environment(files: &[String], words: &[String]) -> Result<Vec<String>> {
    let host = |name: &str| std::env::var(name).ok();
    let mut env = Vec::new();
    for path in files {
        env.extend(read_key_values(path, &host)?);
    }
    for word in words {
        match word.split_once('=') {
            Some(("", _)) => {
                return Err(bad_flag("-e, --env", word, &format!("invalid environment variable: {word}")));
            }
            Some(_) => env.push(word.clone()),
            None => env.extend(host(word).map(|value| format!("{word}={value}"))),
        }
    }
    Ok(env)
}
