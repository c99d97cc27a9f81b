//! Units of systemd's that hold a container's control groups. See org.freedesktop.systemd1(5).

use crate::dbus::{Bus, BusError, Method, Value};
use crate::shell::quote;
use crate::{Failure, Live, Outcome, Picture, Shell, Step, Text};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// Of a unit; names and types are those of org.freedesktop.systemd1(5).
pub type Property = (String, Value);

/// systemd, of the machine or of this user.
#[derive(Debug)]
pub struct Manager(Bus);

const NAME: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";

impl Manager {
    /// By the bus, or where there is none (dbus is not installed, or not up yet) directly.
    pub fn connect(user: bool) -> Result<Manager, BusError> {
        let (bus, private) = addresses(user);
        Bus::connect(&bus).or_else(|e| Bus::direct(&private).map_err(|_| e)).map(Manager)
    }

    fn call(&mut self, member: &str, arguments: &[Value]) -> Result<Vec<Value>, BusError> {
        self.0.call(Method { destination: NAME, path: PATH, interface: MANAGER, member }, arguments)
    }

    /// Of the manager itself: `Version`, `ControlGroup`.
    pub fn property(&mut self, name: &str) -> Result<String, BusError> {
        let interface = "org.freedesktop.DBus.Properties";
        let get = Method { destination: NAME, path: PATH, interface, member: "Get" };
        let answer = self.0.call(get, &[MANAGER.into(), name.into()])?;
        Ok(answer.first().and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// Starts a unit that is made of these properties, and waits until it is there. One of that name that has failed before
    /// is forgotten first.
    pub fn start(&mut self, unit: &str, properties: &[Property]) -> Result<(), BusError> {
        self.listen()?;
        let aux = Value::Array("(sa(sv))".to_owned(), Vec::new());
        let arguments = [unit.into(), "replace".into(), array(properties), aux];
        let job = match self.call("StartTransientUnit", &arguments) {
            Err(BusError::Refused { name, .. }) if name.ends_with(".UnitExists") => {
                self.forget(unit);
                self.call("StartTransientUnit", &arguments)?
            }
            other => other?,
        };
        match self.wait(&job)?.as_str() {
            "done" => Ok(()),
            result => {
                self.forget(unit);
                Err(BusError::Refused { name: result.to_owned(), message: format!("{unit} does not start") })
            }
        }
    }

    /// Stops a unit, waits until it is gone, and lets its failure be forgotten. One that is not there is stopped.
    pub fn stop(&mut self, unit: &str) -> Result<(), BusError> {
        self.listen()?;
        match self.call("StopUnit", &[unit.into(), "replace".into()]) {
            Ok(job) => drop(self.wait(&job)?),
            Err(BusError::Refused { name, .. }) if name.ends_with(".NoSuchUnit") => {}
            Err(e) => return Err(e),
        }
        self.forget(unit);
        Ok(())
    }

    /// Changes properties of a unit that runs, until it ends.
    pub fn set(&mut self, unit: &str, properties: &[Property]) -> Result<(), BusError> {
        let arguments = [unit.into(), Value::Bool(true), array(properties)];
        self.call("SetUnitProperties", &arguments).map(drop)
    }

    /// Moves processes into a unit, for whoever may not move them there.
    pub fn attach(&mut self, unit: &str, below: &str, pids: &[u32]) -> Result<(), BusError> {
        let pids = Value::Array("u".to_owned(), pids.iter().copied().map(Value::U32).collect());
        self.call("AttachProcessesToUnit", &[unit.into(), below.into(), pids]).map(drop)
    }

    fn forget(&mut self, unit: &str) {
        let _ = self.call("ResetFailedUnit", &[unit.into()]);
    }

    /// To signals of ended jobs. Without a bus they come unasked.
    fn listen(&mut self) -> Result<(), BusError> {
        let rule = format!("type='signal',interface='{MANAGER}',member='JobRemoved',path='{PATH}'");
        let dbus = "org.freedesktop.DBus";
        let add =
            Method { destination: dbus, path: "/org/freedesktop/DBus", interface: dbus, member: "AddMatch" };
        let _ = self.0.call(add, &[rule.as_str().into()]);
        self.call("Subscribe", &[]).map(drop).or_else(|e| match e {
            BusError::Refused { .. } => Ok(()),
            BusError::Io(_) => Err(e),
        })
    }

    /// The result of a job: `done`, or why not.
    fn wait(&mut self, job: &[Value]) -> Result<String, BusError> {
        let job = job.first().and_then(Value::as_str).unwrap_or_default();
        loop {
            let signal = self.0.signal()?;
            if let ("JobRemoved", [_, path, _, result]) = (signal.member.as_str(), &signal.body[..])
                && path.as_str() == Some(job)
            {
                return Ok(result.as_str().unwrap_or_default().to_owned());
            }
        }
    }
}

/// Of the bus, and of systemd itself.
fn addresses(user: bool) -> (String, String) {
    let variable = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
    if !user {
        let bus = variable("DBUS_SYSTEM_BUS_ADDRESS");
        return (
            bus.unwrap_or_else(|| "unix:path=/run/dbus/system_bus_socket".to_owned()),
            "unix:path=/run/systemd/private".to_owned(),
        );
    }
    let run = variable("XDG_RUNTIME_DIR")
        .unwrap_or_else(|| format!("/run/user/{}", rustix::process::geteuid().as_raw()));
    let bus = variable("DBUS_SESSION_BUS_ADDRESS");
    (bus.unwrap_or_else(|| format!("unix:path={run}/bus")), format!("unix:path={run}/systemd/private"))
}

fn array(properties: &[Property]) -> Value {
    let one = |(name, value): &Property| Value::Struct(vec![name.as_str().into(), value.clone().variant()]);
    Value::Array("(sv)".to_owned(), properties.iter().map(one).collect())
}

/// systemd's answer as the kernel's: what it said is the note. (Notes are few: a process fails once.)
fn failure(e: &BusError) -> Failure {
    let errno = match e {
        BusError::Io(e) => Errno::from_io_error(e).unwrap_or(Errno::IO),
        BusError::Refused { name, .. } => match name.rsplit('.').next().unwrap_or_default() {
            "AccessDenied" | "InteractiveAuthorizationRequired" => Errno::ACCESS,
            "UnitExists" => Errno::EXIST,
            "NoSuchUnit" => Errno::NOENT,
            "InvalidArgs" | "PropertyReadOnly" => Errno::INVAL,
            _ => Errno::IO,
        },
    };
    Failure::new(errno, Box::leak(e.to_string().into_boxed_str()))
}

/// The words of busctl(1) that call the manager.
fn busctl(user: bool, member: &str, arguments: &[Value]) -> String {
    let signature: String = arguments.iter().map(Value::signature).collect();
    let mut words = vec![signature];
    arguments.iter().for_each(|a| a.words(&mut words));
    let words: Vec<String> = words.iter().map(|w| quote(w)).collect();
    let user = if user { " --user" } else { "" };
    format!("busctl{user} call {NAME} {PATH} {MANAGER} {member} {}", words.join(" "))
}

/// A unit around the container's first process, with a control group that systemd makes, limits and leaves to us.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartUnit {
    /// `corten-1234.scope`
    pub unit: Text,
    /// Of this user's systemd, not of the machine's.
    pub user: bool,
    /// But its processes.
    pub properties: Vec<Property>,
}

impl StartUnit {
    pub fn perform(&self, live: &Live) -> Outcome {
        let pid = Value::U32(live.pid.get().cast_unsigned());
        let mut properties = self.properties.clone();
        properties.push(("PIDs".to_owned(), Value::Array("u".to_owned(), vec![pid])));
        Manager::connect(self.user)
            .and_then(|mut manager| manager.start(self.unit.as_str(), &properties))
            .map_err(|e| failure(&e))
    }

    pub fn shell(&self) -> Shell {
        let mut properties = self.properties.clone();
        properties
            .push(("PIDs".to_owned(), Value::Array("u".to_owned(), vec![Value::Str("$PID".to_owned())])));
        let aux = Value::Array("(sa(sv))".to_owned(), Vec::new());
        let arguments = [self.unit.as_str().into(), "replace".into(), array(&properties), aux];
        // The only word that the shell is to replace.
        let line = busctl(self.user, "StartTransientUnit", &arguments).replace("'$PID'", "$PID");
        Shell::exact(line, "systemd makes its control group", "org.freedesktop.systemd1(5)")
            .near("busctl does not wait until the unit is there")
    }

    pub fn undo(&self) -> Option<Step> {
        Some(StopUnit { unit: self.unit.clone(), user: self.user }.into())
    }

    pub fn draw(&self, picture: &mut Picture) {
        picture.add("cgroup", self.unit.as_str(), "unit of systemd");
    }
}

/// The end of such a unit, and of all processes that are left in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StopUnit {
    pub unit: Text,
    pub user: bool,
}

impl StopUnit {
    pub fn perform(&self, _: &Live) -> Outcome {
        Manager::connect(self.user)
            .and_then(|mut manager| manager.stop(self.unit.as_str()))
            .map_err(|e| failure(&e))
    }

    pub fn shell(&self) -> Shell {
        let unit = quote(self.unit.as_str());
        let user = if self.user { " --user" } else { "" };
        Shell::lines(
            vec![
                format!("systemctl{user} stop {unit}"),
                format!("systemctl{user} reset-failed {unit} 2>/dev/null || :"),
            ],
            "systemd removes its control group",
            "systemctl(1)",
        )
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn said_as_commands() {
        let properties = vec![
            ("Delegate".to_owned(), Value::Bool(true)),
            ("Slice".to_owned(), "a b.slice".into()),
            ("TasksMax".to_owned(), Value::U64(5)),
        ];
        let start = StartUnit { unit: "x-1.scope".into(), user: true, properties };
        let stop = start.undo().unwrap().shell();
        insta::assert_snapshot!([start.shell().lines, stop.lines].concat().join("\n"), @r"
        busctl --user call org.freedesktop.systemd1 /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StartTransientUnit 'ssa(sv)a(sa(sv))' x-1.scope replace 4 Delegate b true Slice s 'a b.slice' TasksMax t 5 PIDs au 1 $PID 0
        systemctl --user stop x-1.scope
        systemctl --user reset-failed x-1.scope 2>/dev/null || :
        ");
    }

    #[test]
    fn without_systemd_there_is_a_reason() {
        let refused =
            BusError::Refused { name: "a.UnitExists".to_owned(), message: "unit is there".to_owned() };
        assert_eq!(failure(&refused), Failure { errno: Errno::EXIST, note: "unit is there (a.UnitExists)" });
        let bus = Bus::connect("unix:path=/nowhere/bus").unwrap_err();
        assert_eq!(
            failure(&bus).note,
            "D-Bus: unix:path=/nowhere/bus: No such file or directory (os error 2)"
        );
    }
}
