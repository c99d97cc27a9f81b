//! `system df` is what `du` says, and pruning frees what it says.

use e2e::{Sandbox, images::image};

/// `1.234MB` in bytes: a range, for only four digits are told.
fn bytes(text: &str) -> std::ops::RangeInclusive<u64> {
    let at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or_else(|| panic!("{text:?} is no size"));
    let power = ["B", "kB", "MB", "GB"].iter().position(|unit| *unit == &text[at..]).expect("a unit");
    let value: f64 = text[..at].parse().expect("a number");
    let exact = value * 1000f64.powi(i32::try_from(power).expect("few"));
    (exact * 0.999) as u64..=(exact * 1.001) as u64
}

/// What `du` says of paths below the data root.
fn du(s: &Sandbox, paths: &str) -> u64 {
    let script = format!("cd {} && du -scB1 {paths} | tail -n 1 | cut -f 1", s.scope.root.display());
    s.host(&script).ok().parse().expect("a number")
}

fn row(s: &Sandbox, kind: &str) -> Vec<String> {
    let format = "{{.Type}}|{{.TotalCount}}|{{.Active}}|{{.Size}}|{{.Reclaimable}}";
    let table = s.corten(&format!("system df --format '{format}'")).ok().to_string();
    let line = table.lines().find(|l| l.starts_with(kind)).unwrap_or_else(|| panic!("{kind} in {table}"));
    line.split('|').map(str::to_owned).collect()
}

const STORE: &str = "blobs layers images tags $(ls -d partial tmp 2>/dev/null)";

#[track_caller]
fn same(s: &Sandbox) {
    s.host("sync").ok();
    for (kind, paths) in [("Images", STORE), ("Containers", "containers/*"), ("Local Volumes", "volumes/*")] {
        let (said, real) =
            (row(s, kind), du(s, &format!("$(ls -d {paths} 2>/dev/null || echo --files0-from=/dev/null)")));
        assert!(bytes(&said[3]).contains(&real), "{kind}: {said:?}, du says {real}");
    }
}

#[test]
fn df_is_what_du_says() {
    let s = Sandbox::with(&["busybox"]);
    s.corten(&format!("load -q -i {}", image("several.tar").display())).ok();
    s.corten(&format!("load -q -i {}", image("busybox-zstd.oci.tar").display())).ok();
    same(&s);
    s.corten("run -d --name live --network none -v big:/v busybox sh -c 'head -c 3000000 /dev/urandom >/v/x; head -c 1000000 /dev/urandom >/y; echo done; sleep 1000'").ok();
    s.corten("run --name dead --network none -v small:/v busybox sh -c 'echo x >/v/x; ln /bin/busybox /hard; truncate -s 1G /holes'").ok();
    s.corten("volume create unused").ok();
    e2e::wait_until("the files", 20, || s.corten("logs live").stdout.contains("done"));
    same(&s);
    assert_eq!(row(&s, "Images")[1..3], ["2", "1"]);
    assert_eq!(row(&s, "Containers")[1..3], ["2", "1"]);
    assert_eq!(row(&s, "Local Volumes")[1..3], ["3", "2"]);
    assert_eq!(row(&s, "Build Cache")[1..], ["0", "0", "0B", "0B"]);
    let table = s.corten("system df").ok().to_string();
    assert!(
        table.starts_with(
            "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\nImages          2         1         "
        ),
        "{table}"
    );
    let verbose = s.corten("system df -v").ok().to_string();
    for part in [
        "Images space usage:\n\nREPOSITORY   TAG       IMAGE ID",
        "Containers space usage:\n\nCONTAINER ID   IMAGE",
        "Local Volumes space usage:\n\nVOLUME NAME   LINKS     SIZE\nbig           1         3.0",
        "Build cache usage: 0B\n",
    ] {
        assert!(verbose.contains(part), "{part} in {verbose}");
    }
    assert!(s.corten("system df --format json").ok().lines().count() == 4);
    assert_eq!(
        s.corten("system df -v --format '{{range .Volumes}}{{.Name}} {{end}}'").ok(),
        "big small unused "
    );
    s.corten("rm -f live dead").ok();
    s.corten("volume rm big small unused").ok();
    s.end();
}

#[test]
fn prune_frees_what_it_says() {
    let s = Sandbox::with(&["busybox"]);
    s.corten(&format!("load -q -i {}", image("busybox-zstd.oci.tar").display())).ok();
    s.corten("run --name box --network none busybox sh -c 'head -c 2000000 /dev/urandom >/big'").ok();
    s.corten("commit box used:1").ok();
    s.corten("commit -c 'ENV A=1' box unused:1").ok();
    s.corten("run --network none --name more busybox sh -c 'head -c 5000000 /dev/urandom >/more'").ok();
    s.corten("commit more unused:2").ok();
    s.corten("commit more unused:2").ok();
    s.corten("create --name user --network none used:1 true").ok();
    for (command, kept) in [("image prune -f", 4), ("image prune -af", 2)] {
        s.host("sync").ok();
        let promised = row(&s, "Images")[4].clone();
        let before = du(&s, STORE);
        let said = s.corten(command).ok().to_string();
        s.host("sync").ok();
        let freed = before - du(&s, STORE);
        let text = said.rsplit(": ").next().expect("a size");
        // `prune` tells three digits.
        let told = bytes(text);
        let (low, high) = (*told.start() as f64 * 0.99, *told.end() as f64 * 1.01);
        assert!(freed as f64 >= low && freed as f64 <= high, "{command}: {said}, du says {freed}");
        if command.contains('a') && command.contains("-af") {
            let promised = bytes(promised.split(' ').next().expect("a size"));
            assert!(promised.contains(&freed), "df promised {promised:?}, du says {freed}");
        }
        assert_eq!(s.corten("images -q").ok().lines().count(), kept, "{said}");
        assert!(s.corten("system check").ok().ends_with("no faults"));
    }
    assert!(row(&s, "Images")[4].starts_with("0B"));
    s.corten("start -a user").ok();
    s.corten("rm box more user").ok();
    s.end();
}
