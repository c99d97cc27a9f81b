//! A bundle's `config.json`: every text is a plan or one line that names a field.
#![no_main]

use libfuzzer_sys::fuzz_target;
use runtime::oci::{Bundle, Options, parse, spec};
use runtime::{Cgroups, Hierarchy, Host, plan};

fuzz_target!(|text: &str| {
    let config = match parse(text) {
        Ok(config) => config,
        Err(error) => return one_line(&error.to_string()),
    };
    let bundle = Bundle { dir: "/".into(), config, text: text.to_owned() };
    let options = Options {
        id: "fuzzed".into(),
        empty_file: "/f".into(),
        empty_dir: "/d".into(),
        ..Options::default()
    };
    match spec(&bundle, &options) {
        Err(error) => one_line(&error.to_string()),
        Ok(understood) => {
            for host in hosts() {
                let plan = plan(&understood.spec, &host);
                assert!(!steps::script(&plan).is_empty());
            }
        }
    }
});

fn one_line(error: &str) {
    assert!(!error.is_empty() && !error.contains('\n'), "not one line: {error:?}");
}

fn hosts() -> [Host; 2] {
    let v2 = Host {
        cgroups: Cgroups::V2 { mount: "/sys/fs/cgroup".into() },
        controllers: ["cpu", "cpuset", "io", "memory", "pids", "hugetlb"].map(String::from).into(),
        cpuset: Default::default(),
        cpus: 2,
        rootless: false,
    };
    let hierarchy = |controller| Hierarchy {
        controllers: vec![controller],
        mount: format!("/sys/fs/cgroup/{controller}"),
    };
    let hierarchies =
        ["memory", "cpu", "cpuset", "pids", "devices", "freezer", "blkio"].map(hierarchy).into();
    let v1 = Host {
        cgroups: Cgroups::V1 { hierarchies },
        controllers: Vec::new(),
        cpuset: ("0-1".into(), "0".into()),
        ..v2.clone()
    };
    [v2, v1]
}
