//! Documents and what becomes of them.

use super::*;
use kernel::caps::Cap;
use serde_json::{Value, json};

fn facts() -> Facts {
    Facts { grantable: CapSet::ALL, known: CapSet::ALL, has_module: |_| true }
}

const PLACE: Place<'_> = Place { id: "web", first: true, user_namespace: false, no_new_keyring: false };

/// A process that runs `true`, with more said by `more`.
fn with(more: Value) -> Value {
    let mut process = json!({"cwd": "/", "args": ["true"], "user": {"uid": 0, "gid": 0}});
    for (name, value) in more.as_object().unwrap() {
        process[name.as_str()] = value.clone();
    }
    process
}

fn convert(process: Value, linux: Value) -> std::result::Result<Converted, String> {
    let config = json!({"ociVersion": "1.3.0", "process": process, "linux": linux}).to_string();
    // The place in a text that nobody wrote is of no interest.
    let config = crate::oci::parse(&config)
        .map_err(|e| e.to_string().split(" at line").next().unwrap_or_default().to_owned())?;
    let part = config.linux.unwrap_or_default().part();
    super::process(&config.process.unwrap(), &part, &PLACE, &facts()).map_err(|e| e.to_string())
}

fn converted(more: Value) -> Converted {
    convert(with(more), json!({})).unwrap()
}

#[test]
fn what_is_not_said_has_a_default() {
    let c = converted(json!({}));
    assert_eq!(c.process.argv, ["true"]);
    assert!(c.process.home && c.process.affinity == Affinity::All(BitSet::all()));
    let given = &c.process.credentials;
    assert_eq!((given.umask, given.bounding, given.permitted), (Some(0o022), CapSet::EMPTY, CapSet::EMPTY));
    let keyring = given.keyring.as_ref().unwrap();
    assert_eq!((keyring.name.as_str(), keyring.label.is_none()), ("_ses.web", true));
    assert!(c.warnings.is_empty() && c.listener.is_none() && c.oom_score_adj.is_none());
    // Go writes null for what is empty.
    let nulls =
        json!({"env": null, "rlimits": null, "capabilities": {"bounding": null}, "consoleSize": null});
    assert!(converted(nulls).process.env.is_empty());
}

#[test]
fn all_of_it() {
    let more = json!({
        "terminal": true,
        "consoleSize": {"height": 25, "width": 80},
        "user": {"uid": 1, "gid": 2, "umask": 63, "additionalGids": [5, 6]},
        "env": ["A=1", "HOME=", "A=2", "B=x=y"],
        "cwd": "/root",
        "capabilities": {
            "bounding": ["CAP_KILL", "CAP_CHOWN"],
            "permitted": ["CAP_KILL", "CAP_CHOWN"],
            "effective": ["CAP_KILL"],
            "inheritable": ["CAP_CHOWN"],
            "ambient": ["CAP_CHOWN"]
        },
        "rlimits": [
            {"type": "RLIMIT_NOFILE", "soft": 5, "hard": 18446744073709551615u64},
            {"type": "RLIMIT_AS", "soft": 1, "hard": 2}
        ],
        "noNewPrivileges": true,
        "apparmorProfile": "acme",
        "selinuxLabel": "a:b:c:s0",
        "oomScoreAdj": -5,
        "scheduler": {"policy": "SCHED_FIFO", "priority": 7, "flags": ["SCHED_FLAG_RESET_ON_FORK"]},
        "ioPriority": {"class": "IOPRIO_CLASS_IDLE", "priority": 4},
        "execCPUAffinity": {"initial": "0", "final": "0-1"}
    });
    let linux = json!({
        "personality": {"domain": "LINUX32", "flags": ["X"]},
        "memoryPolicy": {"mode": "MPOL_BIND", "nodes": "0-1", "flags": ["MPOL_F_STATIC_NODES"]}
    });
    let c = convert(with(more), linux).unwrap();
    let p = &c.process;
    assert_eq!(p.env, ["A=2", "B=x=y"]);
    assert_eq!((p.terminal, p.terminal_size, p.cwd.as_str()), (true, Some((25, 80)), "/root"));
    let g = &p.credentials;
    assert_eq!((g.uid, g.gid, g.umask, g.groups.as_slice()), (1, 2, Some(0o77), [5, 6].as_slice()));
    assert_eq!(g.bounding.to_string(), "CAP_CHOWN CAP_KILL");
    assert_eq!((g.effective.to_string(), g.ambient.to_string()), ("CAP_KILL".into(), "CAP_CHOWN".into()));
    let limits: Vec<_> = g.limits.iter().map(|l| (l.resource, l.soft, l.hard)).collect();
    assert_eq!(limits, [(7, Some(5), None), (9, Some(1), Some(2))]);
    assert_eq!((g.personality, g.memory_policy.as_ref().unwrap().mode), (Some(8), 2 | 1 << 15));
    assert_eq!(
        p.scheduler.unwrap(),
        kernel::schedule::Scheduler { policy: 1, flags: 1, priority: 7, ..Default::default() }
    );
    assert_eq!(p.io_priority, Some(steps::IoPriority { class: 3, level: 4 }));
    // Of further processes only.
    assert_eq!((c.first_cpus, c.oom_score_adj), (None, Some(-5)));
    assert_eq!(
        g.commands(Default::default())[..2],
        ["$(command -v setarch) linux32", "$(command -v numactl) --membind=0-1"]
    );
    assert_eq!(g.labels.len(), 2);
    assert_eq!(g.keyring.as_ref().unwrap().label.as_ref().unwrap().as_str(), "a:b:c:s0");
    assert_eq!(c.warnings.len(), 1, "{:?}", c.warnings);
}

#[test]
fn a_further_process_has_processors_of_its_own() {
    let place = Place { first: false, no_new_keyring: true, ..PLACE };
    let of = |given: Value| {
        let document =
            Document::parse(with(json!({ "execCPUAffinity": given })).to_string().as_bytes()).unwrap();
        let c = super::process(&document, &LinuxPart::default(), &place, &facts()).unwrap();
        assert!(c.process.credentials.keyring.is_none());
        (c.first_cpus.map(|s| s.to_string()), c.process.affinity)
    };
    assert_eq!(of(Value::Null), (None, Affinity::All(BitSet::all())));
    assert_eq!(of(json!({"initial": "1"})), (Some("1".into()), Affinity::Inherited));
    assert_eq!(of(json!({"final": "0-2"})), (None, Affinity::Set(BitSet(vec![7]))));
}

#[test]
fn capabilities_that_cannot_be_given_are_named() {
    let document = Document::parse(
        with(json!({"capabilities": {
            "bounding": ["CAP_KILL", "CAP_FLY", "KILL", "cap_chown", "CAP_SYS_ADMIN", "CAP_CHECKPOINT_RESTORE"],
            "permitted": ["CAP_KILL"],
            "effective": ["CAP_KILL", "CAP_NET_RAW"],
            "inheritable": ["CAP_NET_RAW"],
            "ambient": ["CAP_KILL"]
        }}))
        .to_string()
        .as_bytes(),
    )
    .unwrap();
    let facts = Facts {
        grantable: CapSet::of(&[Cap::Kill, Cap::NetRaw]),
        known: CapSet::ALL - Cap::CheckpointRestore.into(),
        has_module: |_| false,
    };
    let c = super::process(&document, &LinuxPart::default(), &PLACE, &facts).unwrap();
    let g = &c.process.credentials;
    let kill = CapSet::from(Cap::Kill);
    assert_eq!(
        (g.bounding, g.permitted, g.effective, g.inheritable, g.ambient),
        (kill, kill, kill, CapSet::EMPTY, CapSet::EMPTY)
    );
    assert_eq!(
        c.warnings,
        [
            "ignoring unknown or unavailable capabilities: [CAP_CHECKPOINT_RESTORE CAP_FLY KILL cap_chown]",
            "ignoring capabilities that cannot be given: CAP_KILL CAP_NET_RAW CAP_SYS_ADMIN"
        ]
    );
}

#[test]
fn labels_fail_closed() {
    let facts = Facts { has_module: |_| false, ..facts() };
    let of = |more: Value| {
        let document = Document::parse(with(more).to_string().as_bytes()).unwrap();
        let converted = super::process(&document, &LinuxPart::default(), &PLACE, &facts);
        converted.map(|c| c.process.credentials.labels).map_err(|e| e.to_string())
    };
    assert_eq!(
        of(json!({"apparmorProfile": "acme"})).unwrap_err(),
        "config.json: process.apparmorProfile: 'acme' is asked for, but AppArmor does not run on this machine"
    );
    assert_eq!(
        of(json!({"selinuxLabel": "a:b"})).unwrap_err(),
        "config.json: process.selinuxLabel: 'a:b' is asked for, but SELinux does not run on this machine"
    );
    assert_eq!(of(json!({"apparmorProfile": "unconfined", "selinuxLabel": ""})), Ok(Vec::new()));
}

/// Each with what it says.
#[test]
fn errors_name_the_field() {
    let wrong = [
        (json!({"args": []}), "args: is empty"),
        (json!({"args": ["a\0b"]}), "args[0]: contains a zero byte"),
        (json!({"args": "true"}), "args: invalid type: string \"true\", expected a sequence"),
        (json!({"args": [1]}), "args[0]: invalid type: integer `1`, expected a string"),
        (json!({"cwd": ""}), "cwd: is missing"),
        (json!({"cwd": "tmp"}), "cwd: 'tmp' is not an absolute path"),
        (json!({"env": ["A=1", "B"]}), "env[1]: 'B' has no '='"),
        (json!({"env": ["=1"]}), "env[0]: '=1' has no name"),
        (json!({"user": {"uid": -1}}), "user.uid: invalid value: integer `-1`, expected u32"),
        (
            json!({"user": {"uid": 4294967296u64}}),
            "user.uid: invalid value: integer `4294967296`, expected u32",
        ),
        (json!({"user": {"uid": 4294967295u64}}), "user.uid: 4294967295 is too large"),
        (json!({"user": {"gid": "x"}}), "user.gid: invalid type: string \"x\", expected u32"),
        (
            json!({"user": {"additionalGids": [1, 4294967295u64]}}),
            "user.additionalGids[1]: 4294967295 is too large",
        ),
        (json!({"user": {"umask": 512}}), "user.umask: 0o1000 is more than 0o777"),
        (
            json!({"terminal": true, "consoleSize": {"height": 70000}}),
            "consoleSize.height: 70000 is too large",
        ),
        (
            json!({"rlimits": [{"type": "RLIMIT_X", "soft": 1, "hard": 1}]}),
            "rlimits[0].type: unknown limit 'RLIMIT_X'",
        ),
        (
            json!({"rlimits": [{"type": "RLIMIT_CPU", "soft": 2, "hard": 1}]}),
            "rlimits[0]: soft 2 is more than hard 1",
        ),
        (json!({"rlimits": [{"type": "RLIMIT_CPU", "soft": 1}]}), "rlimits[0]: missing field `hard`"),
        (
            json!({"rlimits": [{"type": "RLIMIT_CPU", "soft": 1, "hard": 1}, {"type": "RLIMIT_CPU", "soft": 1, "hard": 1}]}),
            "rlimits[1].type: RLIMIT_CPU is given twice",
        ),
        (json!({"oomScoreAdj": 1001}), "oomScoreAdj: 1001 is not between -1000 and 1000"),
        (json!({"scheduler": {"policy": "X"}}), "scheduler.policy: unknown policy 'X'"),
        (
            json!({"scheduler": {"policy": "SCHED_OTHER", "nice": 20}}),
            "scheduler.nice: 20 is not between -20 and 19",
        ),
        (
            json!({"scheduler": {"policy": "SCHED_IDLE", "priority": 1}}),
            "scheduler.priority: SCHED_IDLE has none",
        ),
        (json!({"scheduler": {"policy": "SCHED_RR", "priority": -1}}), "scheduler.priority: -1 is negative"),
        (json!({"scheduler": {"policy": "SCHED_RR", "period": 1}}), "scheduler.period: SCHED_RR has none"),
        (
            json!({"scheduler": {"policy": "SCHED_RR", "flags": ["X"]}}),
            "scheduler.flags[0]: unknown flag 'X'",
        ),
        (json!({"ioPriority": {"class": "X"}}), "ioPriority.class: unknown class 'X'"),
        (
            json!({"ioPriority": {"class": "IOPRIO_CLASS_RT", "priority": 8}}),
            "ioPriority.priority: 8 is not between 0 and 7",
        ),
        (json!({"execCPUAffinity": {"initial": "x"}}), "execCPUAffinity.initial: 'x' is not a list of CPUs"),
        (json!({"execCPUAffinity": {"final": ","}}), "execCPUAffinity.final: ',' is not a list of CPUs"),
    ];
    for (more, expected) in wrong {
        let error = convert(with(more.clone()), json!({})).map(drop).expect_err(&more.to_string());
        assert_eq!(error, format!("config.json: process.{expected}"), "{more}");
    }
    let wrong = [
        (json!({"personality": {"domain": "X"}}), "personality.domain: unknown domain 'X'"),
        (json!({"memoryPolicy": {"mode": "X"}}), "memoryPolicy.mode: unknown mode 'X'"),
        (json!({"memoryPolicy": {"mode": "MPOL_BIND"}}), "memoryPolicy.nodes: MPOL_BIND needs nodes"),
        (
            json!({"memoryPolicy": {"mode": "MPOL_LOCAL", "nodes": "0"}}),
            "memoryPolicy.nodes: MPOL_LOCAL has no nodes",
        ),
        (
            json!({"memoryPolicy": {"mode": "MPOL_BIND", "nodes": "x"}}),
            "memoryPolicy.nodes: 'x' is not a list of nodes",
        ),
        (
            json!({"memoryPolicy": {"mode": "MPOL_DEFAULT", "flags": ["X"]}}),
            "memoryPolicy.flags[0]: unknown flag 'X'",
        ),
        (
            json!({"seccomp": {"defaultAction": 1}}),
            "seccomp.defaultAction: invalid type: integer `1`, expected a string",
        ),
    ];
    for (linux, expected) in wrong {
        let error = convert(with(json!({})), linux.clone()).map(drop).expect_err(&linux.to_string());
        assert_eq!(error, format!("config.json: linux.{expected}"), "{linux}");
    }
}
