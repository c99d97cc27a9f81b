//! Platforms: `linux/amd64`, `linux/arm/v7`, and which manifest of an index serves one.

use crate::config::machine_architecture;
use crate::error::{Error, Result, invalid};
use crate::layer::tar::show;
use crate::manifest::Descriptor;
use serde::{Deserialize, Serialize};

/// As an index has it (image-spec, image-index.md). Empty means not given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Platform {
    pub architecture: String,
    pub os: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// The one that this machine's processor and kernel are.
    pub fn machine() -> Platform {
        let architecture = machine_architecture();
        let variant = match architecture {
            "arm" => "v7",
            "arm64" => "v8",
            _ => "",
        };
        Platform { architecture: architecture.into(), os: "linux".into(), variant: variant.into() }
    }

    /// What a config says. Old ones name no system.
    pub fn of(os: &str, architecture: &str, variant: &str) -> Platform {
        let os = if os.is_empty() { "linux" } else { os };
        Platform { architecture: architecture.into(), os: os.into(), variant: variant.into() }
    }

    /// `os/architecture[/variant]`, or an architecture alone, by their usual names.
    pub fn parse(text: &str) -> Result<Platform> {
        let bad = |cause: &str| {
            Err(Error::Invalid(format!("invalid platform '{}': {cause}", show(text.as_bytes()))))
        };
        let word = |w: &&str| {
            !w.is_empty() && w.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(word) {
            return bad("it must be os/architecture[/variant], like linux/arm64");
        }
        let lower: Vec<String> = parts.iter().map(|p| p.to_ascii_lowercase()).collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        let (os, architecture, variant) = match lower.as_slice() {
            [one] if matches!(*one, "linux" | "windows" | "darwin" | "freebsd") => {
                (*one, machine_architecture(), "")
            }
            [one] => ("linux", *one, ""),
            [os, architecture] => (*os, *architecture, ""),
            [os, architecture, variant] => (*os, *architecture, *variant),
            _ => return bad("it has too many parts"),
        };
        let (architecture, usual) = match architecture {
            "x86_64" | "x86-64" => ("amd64", ""),
            "aarch64" => ("arm64", "v8"),
            "arm64" => ("arm64", "v8"),
            "armhf" => ("arm", "v7"),
            "armel" => ("arm", "v6"),
            "arm" => ("arm", "v7"),
            "i386" | "i486" | "i586" | "i686" => ("386", ""),
            other => (other, ""),
        };
        let variant = match (architecture, variant) {
            ("arm" | "arm64", "8") => "v8",
            ("arm", "7") => "v7",
            ("arm", "6") => "v6",
            ("arm", "5") => "v5",
            (_, "") => usual,
            (_, given) => given,
        };
        Ok(Platform { architecture: architecture.into(), os: os.into(), variant: variant.into() })
    }

    /// True where an image for `other` runs on this platform.
    pub fn accepts(&self, other: &Platform) -> bool {
        self.rank(other).is_some()
    }

    /// How well an image for `other` serves: 0 is best.
    fn rank(&self, other: &Platform) -> Option<usize> {
        if self.os != other.os {
            return None;
        }
        let mut wanted = vec![(self.architecture.as_str(), self.variant.as_str())];
        match (self.architecture.as_str(), self.variant.as_str()) {
            ("arm64", "v8") => wanted.push(("arm64", "")),
            ("arm", "v7") => wanted.extend([("arm", ""), ("arm", "v6"), ("arm", "v5")]),
            ("arm", "v6") => wanted.push(("arm", "v5")),
            ("amd64", "") => wanted.push(("amd64", "v1")),
            ("amd64", level) => {
                let lower = ["v4", "v3", "v2", "v1", ""].into_iter().skip_while(|l| *l != level).skip(1);
                wanted.extend(lower.map(|l| ("amd64", l)));
            }
            _ => {}
        }
        wanted.iter().position(|w| *w == (other.architecture.as_str(), other.variant.as_str()))
    }
}

impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        // A variant that every image of the architecture has says nothing.
        match (self.architecture.as_str(), self.variant.as_str()) {
            (_, "") | ("arm64", "v8") => Ok(()),
            (_, variant) => write!(f, "/{variant}"),
        }
    }
}

/// The manifest of an index that serves `platform` best.
pub fn choose(mut manifests: Vec<Descriptor>, platform: &Platform) -> Result<Descriptor> {
    if manifests.len() == 1 && manifests[0].platform.is_none() {
        return Ok(manifests.remove(0));
    }
    let ranked = manifests.iter().enumerate().filter_map(|(at, d)| {
        let rank = platform.rank(d.platform.as_ref()?)?;
        Some((rank, at))
    });
    let best = ranked.min().map(|(_, at)| at);
    // Without any platform there is nothing to choose by.
    let only = || {
        let mut plain = manifests.iter().enumerate().filter(|(_, d)| d.platform.is_none());
        plain.next().filter(|_| plain.next().is_none()).map(|(at, _)| at)
    };
    match best.or_else(only) {
        Some(at) => Ok(manifests.swap_remove(at)),
        None => {
            // Attestations stand beside the images, as of no platform.
            let have = manifests.iter().filter_map(|d| d.platform.as_ref()).filter(|p| p.os != "unknown");
            let have: Vec<String> = have.map(|p| show(p.to_string().as_bytes())).collect();
            let have = if have.is_empty() { "none".into() } else { have.join(", ") };
            invalid(format!("no image for {platform}; there are: {have}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_platforms() {
        let table = [
            ("linux/amd64", "linux/amd64"),
            ("amd64", "linux/amd64"),
            ("x86_64", "linux/amd64"),
            ("linux/x86_64", "linux/amd64"),
            ("linux/arm64", "linux/arm64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("aarch64", "linux/arm64"),
            ("linux/arm", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
            ("Linux/ARM/7", "linux/arm/v7"),
            ("linux/amd64/v3", "linux/amd64/v3"),
            ("windows/amd64", "windows/amd64"),
            ("linux/riscv64", "linux/riscv64"),
        ];
        for (typed, shown) in table {
            assert_eq!(Platform::parse(typed).unwrap().to_string(), shown, "{typed}");
        }
        for bad in ["", "/", "linux/", "a/b/c/d", "linux/a b", "linux/\n"] {
            assert!(Platform::parse(bad).is_err(), "{bad}");
        }
    }

    fn index(platforms: &[&str]) -> Vec<Descriptor> {
        let descriptor = |text: &&str| Descriptor {
            digest: (*text).into(),
            platform: (!text.is_empty()).then(|| {
                let mut parts = text.split('/').map(String::from);
                let mut next = || parts.next().unwrap_or_default();
                Platform { os: next(), architecture: next(), variant: next() }
            }),
            ..Descriptor::default()
        };
        platforms.iter().map(descriptor).collect()
    }

    #[test]
    fn the_best_of_an_index() {
        let pick = |have: &[&str], want: &str| {
            choose(index(have), &Platform::parse(want).unwrap()).map(|d| d.digest).map_err(|e| e.to_string())
        };
        let all = ["unknown/unknown", "linux/arm/v5", "linux/arm/v7", "linux/arm64/v8", "linux/amd64"];
        assert_eq!(pick(&all, "linux/amd64").unwrap(), "linux/amd64");
        assert_eq!(pick(&all, "linux/arm64").unwrap(), "linux/arm64/v8");
        assert_eq!(pick(&all, "linux/arm").unwrap(), "linux/arm/v7");
        assert_eq!(pick(&all, "linux/arm/v6").unwrap(), "linux/arm/v5");
        assert_eq!(pick(&["linux/arm64"], "linux/arm64").unwrap(), "linux/arm64");
        assert_eq!(pick(&["linux/amd64", "linux/amd64/v3"], "linux/amd64/v4").unwrap(), "linux/amd64/v3");
        assert_eq!(pick(&[""], "linux/amd64").unwrap(), "");
        assert_eq!(
            pick(&all, "linux/s390x").unwrap_err(),
            "no image for linux/s390x; there are: linux/arm/v5, linux/arm/v7, linux/arm64, linux/amd64"
        );
        assert_eq!(pick(&[], "linux/amd64").unwrap_err(), "no image for linux/amd64; there are: none");
    }
}
