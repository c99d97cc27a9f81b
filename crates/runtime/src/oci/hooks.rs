//! `hooks`: programs of the caller's at six points of a container's life.

use super::{Config, ConfigError};
use kernel::process::Strings;
use oci_spec::runtime::{Hook, Hooks};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use steps::RunHook;

/// What a hook, and `state`, are told. See runtime.md of the specification, "State".
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    pub oci_version: String,
    pub id: String,
    /// `creating`, `created`, `running`, `stopped`.
    pub status: String,
    /// Not with `stopped`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub pid: i32,
    pub bundle: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

fn is_zero(pid: &i32) -> bool {
    *pid == 0
}

/// The points, in the order of a life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    Prestart,
    CreateRuntime,
    CreateContainer,
    StartContainer,
    Poststart,
    Poststop,
}

impl Point {
    pub const ALL: [Point; 6] = [
        Point::Prestart,
        Point::CreateRuntime,
        Point::CreateContainer,
        Point::StartContainer,
        Point::Poststart,
        Point::Poststop,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Point::Prestart => "prestart",
            Point::CreateRuntime => "createRuntime",
            Point::CreateContainer => "createContainer",
            Point::StartContainer => "startContainer",
            Point::Poststart => "poststart",
            Point::Poststop => "poststop",
        }
    }

    fn of(self, hooks: &Hooks) -> &[Hook] {
        // Deprecated, and still what many hooks are.
        #[allow(deprecated)]
        let all = match self {
            Point::Prestart => hooks.prestart(),
            Point::CreateRuntime => hooks.create_runtime(),
            Point::CreateContainer => hooks.create_container(),
            Point::StartContainer => hooks.start_container(),
            Point::Poststart => hooks.poststart(),
            Point::Poststop => hooks.poststop(),
        };
        all.as_deref().unwrap_or_default()
    }

    fn status(self) -> &'static str {
        match self {
            Point::CreateRuntime | Point::CreateContainer => "creating",
            // Once it was called between create and start, and its programs may ask for that.
            Point::Prestart | Point::StartContainer => "created",
            Point::Poststart => "running",
            Point::Poststop => "stopped",
        }
    }

    /// Whether it runs in the container's namespaces.
    fn is_inside(self) -> bool {
        matches!(self, Point::CreateContainer | Point::StartContainer)
    }
}

/// Paths are absolute, and times are some.
pub fn check(hooks: Option<&Hooks>) -> Config<()> {
    let Some(hooks) = hooks else { return Ok(()) };
    for point in Point::ALL {
        for (index, hook) in point.of(hooks).iter().enumerate() {
            let field = |name: &str| format!("hooks.{}[{index}].{name}", point.name());
            if !hook.path().is_absolute() {
                let why = format!("'{}' is not an absolute path", hook.path().display());
                return Err(ConfigError::new(field("path"), why));
            }
            if hook.timeout().is_some_and(|seconds| seconds <= 0) {
                return Err(ConfigError::new(field("timeout"), "must be more than 0"));
            }
        }
    }
    Ok(())
}

/// The hooks of one point as steps. `namespaces` are the container's.
pub fn steps(hooks: Option<&Hooks>, point: Point, told: &Told, namespaces: u64) -> Vec<RunHook> {
    let all = hooks.map(|hooks| point.of(hooks)).unwrap_or_default();
    let told = Told { status: point.status().to_owned(), pid: 0, ..told.clone() };
    let mut state = serde_json::to_value(told).unwrap_or_default();
    if point != Point::Poststop {
        // Known when it runs.
        state["pid"] = 0.into();
    }
    all.iter()
        .map(|hook| {
            let path = hook.path().display().to_string();
            let argv = hook.args().clone().filter(|a| !a.is_empty()).unwrap_or_else(|| vec![path.clone()]);
            RunHook {
                kind: point.name().into(),
                path: path.into(),
                argv: Strings::new(&argv),
                env: Strings::new(hook.env().iter().flatten()),
                timeout: hook.timeout().and_then(|s| u64::try_from(s).ok()),
                namespaces: if point.is_inside() { namespaces } else { 0 },
                state: state.to_string(),
            }
        })
        .collect()
}
