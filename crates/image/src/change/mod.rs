//! Instructions of a Dockerfile that change how an image runs: what `commit -c` and `import -c` take.

mod words;

use crate::config::{Empty, Healthcheck, RunConfig};
use crate::error::{Error, Result, invalid};
use words::{assignments, split, strings};

/// Apply instructions, one a line of text each, in order.
pub fn apply(config: &mut RunConfig, lines: &[String]) -> Result<()> {
    let mut command_set = false;
    for line in lines {
        let line = line.trim();
        let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let instruction = word.to_ascii_uppercase();
        let rest = rest.trim();
        if rest.is_empty() && !matches!(instruction.as_str(), "CMD" | "ENTRYPOINT") {
            return bad(line, &format!("{instruction} requires an argument"));
        }
        one(config, &instruction, rest, command_set).map_err(|cause| wrong(line, &cause.to_string()))?;
        command_set |= instruction == "CMD";
    }
    Ok(())
}

fn wrong(line: &str, cause: &str) -> Error {
    Error::Invalid(format!("change '{}': {cause}", line.escape_debug()))
}

fn bad<T>(line: &str, cause: &str) -> Result<T> {
    Err(wrong(line, cause))
}

fn one(config: &mut RunConfig, instruction: &str, rest: &str, command_set: bool) -> Result<()> {
    match instruction {
        "CMD" => config.cmd = command(config, rest),
        "ENTRYPOINT" => {
            config.entrypoint = command(config, rest);
            // What the base had as its arguments is none of a new program's.
            if !command_set {
                config.cmd.clear();
            }
        }
        "ENV" => {
            for (name, value) in assignments(rest, &config.env)? {
                set_env(&mut config.env, &name, &value);
            }
        }
        "LABEL" => config.labels.extend(assignments(rest, &config.env)?),
        "EXPOSE" => {
            for word in split(rest, &config.env)? {
                for port in ports(&word)? {
                    config.exposed_ports.insert(port, Empty {});
                }
            }
        }
        "VOLUME" => {
            for path in strings(rest).map_or_else(|| split(rest, &config.env), Ok)? {
                if path.trim().is_empty() {
                    return invalid("VOLUME specified can not be an empty string");
                }
                config.volumes.insert(path, Empty {});
            }
        }
        "WORKDIR" => {
            let path = only(split(rest, &config.env)?, "WORKDIR")?;
            config.working_dir = below(&config.working_dir, &path);
        }
        "USER" => config.user = only(split(rest, &config.env)?, "USER")?,
        "STOPSIGNAL" => config.stop_signal = only(split(rest, &config.env)?, "STOPSIGNAL")?,
        "ONBUILD" => config.on_build.push(rest.into()),
        "SHELL" => match strings(rest) {
            Some(words) if !words.is_empty() => config.shell = words,
            _ => return invalid("SHELL requires the arguments to be in JSON form"),
        },
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(rest)?),
        "ADD" | "ARG" | "COPY" | "FROM" | "MAINTAINER" | "RUN" => {
            return invalid(format!("{instruction} is not a valid change command"));
        }
        _ => return invalid(format!("unknown instruction: {instruction}")),
    }
    Ok(())
}

/// `["a","b"]`, or a line for the shell.
fn command(config: &RunConfig, rest: &str) -> Vec<String> {
    if rest.is_empty() {
        return Vec::new();
    }
    strings(rest).unwrap_or_else(|| {
        let shell =
            if config.shell.is_empty() { vec!["/bin/sh".into(), "-c".into()] } else { config.shell.clone() };
        shell.into_iter().chain([rest.to_string()]).collect()
    })
}

fn set_env(env: &mut Vec<String>, name: &str, value: &str) {
    let line = format!("{name}={value}");
    match env.iter_mut().find(|e| e.split('=').next() == Some(name)) {
        Some(old) => *old = line,
        None => env.push(line),
    }
}

fn only(mut words: Vec<String>, instruction: &str) -> Result<String> {
    match words.pop() {
        Some(word) if words.is_empty() && !word.is_empty() => Ok(word),
        _ => invalid(format!("{instruction} requires exactly one argument")),
    }
}

/// `80`, `80/udp`, `8000-8002/tcp`.
fn ports(word: &str) -> Result<Vec<String>> {
    let bad = || invalid(format!("invalid containerPort: {}", word.escape_debug()));
    let (range, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return bad();
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    match (first.parse::<u16>(), last.parse::<u16>()) {
        (Ok(first), Ok(last)) if first <= last => {
            Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
        }
        _ => bad(),
    }
}

/// `path`, from `base` if it is relative.
fn below(base: &str, path: &str) -> String {
    let whole = if path.starts_with('/') { path.to_string() } else { format!("/{base}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

fn healthcheck(rest: &str) -> Result<Healthcheck> {
    let mut check = Healthcheck::default();
    let mut rest = rest;
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, after) = flag.split_once(char::is_whitespace).unwrap_or((flag, ""));
        let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
        let time = || duration(value).ok_or_else(|| Error::Invalid(format!("invalid duration \"{value}\"")));
        match name {
            "interval" => check.interval = time()?,
            "timeout" => check.timeout = time()?,
            "start-period" => check.start_period = time()?,
            "start-interval" => check.start_interval = time()?,
            "retries" => {
                check.retries =
                    value.parse().map_err(|_| Error::Invalid(format!("invalid retries \"{value}\"")))?;
            }
            _ => return invalid(format!("unknown flag: --{name}")),
        }
        rest = after.trim_start();
    }
    let (kind, line) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let line = line.trim();
    check.test = match (kind.to_ascii_uppercase().as_str(), line) {
        ("NONE", "") => vec!["NONE".into()],
        ("CMD", line) if !line.is_empty() => match strings(line) {
            Some(words) => ["CMD".to_string()].into_iter().chain(words).collect(),
            None => vec!["CMD-SHELL".into(), line.into()],
        },
        _ => return invalid("HEALTHCHECK wants NONE, or CMD and a command"),
    };
    Ok(check)
}

/// Go's durations in nanoseconds: `1m30s`, `1.5h`, `300ms`.
fn duration(text: &str) -> Option<i64> {
    let mut rest = text;
    let mut sum = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        sum += number
            * match &rest[..letters] {
                "ns" => 1.0,
                "us" | "µs" => 1e3,
                "ms" => 1e6,
                "s" => 1e9,
                "m" => 60e9,
                "h" => 3600e9,
                _ => return None,
            };
        rest = &rest[letters..];
    }
    (!text.is_empty() && sum < 9e18).then_some(sum as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(lines: &[&str]) -> RunConfig {
        let mut config = RunConfig {
            entrypoint: vec!["/old".into()],
            cmd: vec!["old".into()],
            env: vec!["PATH=/bin".into(), "A=1".into()],
            working_dir: "/srv".into(),
            ..RunConfig::default()
        };
        let lines: Vec<String> = lines.iter().map(|l| (*l).to_string()).collect();
        apply(&mut config, &lines).unwrap();
        config
    }

    #[test]
    fn programs() {
        assert_eq!(changed(&["CMD [\"a\", \"b c\"]"]).cmd, ["a", "b c"]);
        assert_eq!(changed(&["cmd echo $HOME && true"]).cmd, ["/bin/sh", "-c", "echo $HOME && true"]);
        assert_eq!(changed(&["SHELL [\"/bin/bash\",\"-lc\"]", "CMD x"]).cmd, ["/bin/bash", "-lc", "x"]);
        assert_eq!(changed(&["CMD"]).cmd, [""; 0]);
        let c = changed(&["ENTRYPOINT [\"/new\"]"]);
        assert_eq!((c.entrypoint, c.cmd), (vec!["/new".to_string()], vec![]));
        let c = changed(&["CMD [\"mine\"]", "ENTRYPOINT [\"/new\"]"]);
        assert_eq!((c.entrypoint, c.cmd), (vec!["/new".to_string()], vec!["mine".to_string()]));
    }

    #[test]
    fn environment_and_labels() {
        let c = changed(&["ENV A=2 B=\"x y\" C=$A/${PATH}", "ENV D the rest of it", "ENV E='$A' F=\\$A"]);
        let env = ["PATH=/bin", "A=2", "B=x y", "C=1//bin", "D=the rest of it", "E=$A", "F=$A"];
        assert_eq!(c.env, env);
        let c = changed(&["LABEL a=b \"c d\"=\"e f\"", "LABEL a=z empty="]);
        let labels: Vec<(&str, &str)> = c.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(labels, [("a", "z"), ("c d", "e f"), ("empty", "")]);
    }

    #[test]
    fn the_others() {
        let c = changed(&[
            "EXPOSE 80 53/udp 8000-8001/TCP",
            "VOLUME /a /b",
            "VOLUME [\"/c d\"]",
            "WORKDIR app",
            "WORKDIR ../x/./y",
            "USER 5:6",
            "STOPSIGNAL SIGQUIT",
            "ONBUILD RUN true",
            "HEALTHCHECK --interval=1m30s --retries=3 CMD curl -f http://localhost/ || exit 1",
        ]);
        let ports: Vec<&str> = c.exposed_ports.keys().map(String::as_str).collect();
        assert_eq!(ports, ["53/udp", "80/tcp", "8000/tcp", "8001/tcp"]);
        assert_eq!(c.volumes.keys().collect::<Vec<_>>(), ["/a", "/b", "/c d"]);
        assert_eq!(
            (c.working_dir.as_str(), c.user.as_str(), c.stop_signal.as_str()),
            ("/srv/x/y", "5:6", "SIGQUIT")
        );
        assert_eq!(c.on_build, ["RUN true"]);
        let health = c.healthcheck.unwrap();
        assert_eq!(health.test, ["CMD-SHELL", "curl -f http://localhost/ || exit 1"]);
        assert_eq!((health.interval, health.retries), (90_000_000_000, 3));
    }

    #[test]
    fn what_is_no_change() {
        let table = [
            ("RUN true", "change 'RUN true': RUN is not a valid change command"),
            ("FOO bar", "change 'FOO bar': unknown instruction: FOO"),
            ("ENV", "change 'ENV': ENV requires an argument"),
            ("ENV A", "change 'ENV A': ENV must have two arguments"),
            ("EXPOSE 70000", "change 'EXPOSE 70000': invalid containerPort: 70000"),
            ("EXPOSE 80/icmp", "change 'EXPOSE 80/icmp': invalid containerPort: 80/icmp"),
            ("USER a b", "change 'USER a b': USER requires exactly one argument"),
            ("LABEL \"a", "change 'LABEL \\\"a': a quote is not closed"),
            (
                "HEALTHCHECK --interval=x CMD y",
                "change 'HEALTHCHECK --interval=x CMD y': invalid duration \"x\"",
            ),
            ("HEALTHCHECK CURL", "change 'HEALTHCHECK CURL': HEALTHCHECK wants NONE, or CMD and a command"),
        ];
        for (line, message) in table {
            let error = apply(&mut RunConfig::default(), &[line.to_string()]).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
    }
}
