//! Statistics as the kernel tells them.

use super::super::GroupPath;
use super::*;
use std::path::{Path, PathBuf};

/// Groups of files only, with what kernels have said.
struct Fake(PathBuf);

impl Fake {
    fn new(name: &str, files: &[(&str, &str)]) -> Fake {
        let dir = std::env::temp_dir().join(format!("corten-stats-{name}-{}", std::process::id()));
        for (file, text) in files {
            let path = dir.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Fake(dir)
    }

    fn group(&self, controllers: &[&str], below: &str) -> GroupPath {
        let controllers = controllers.iter().map(|c| (*c).to_owned()).collect();
        GroupPath { controllers, mount: self.0.display().to_string(), group: below.to_owned() }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn json(paths: Vec<GroupPath>) -> String {
    let paths = GroupPaths(paths);
    let mut stats = stats(&paths).unwrap();
    let brief = brief(&paths).unwrap();
    let shown = |s: &Stats| {
        let memory = &s.memory;
        let sizes = [memory.usage.usage, memory.usage.limit, memory.kernel.usage];
        let psi = [memory.psi, s.cpu.psi, s.blkio.psi];
        let bytes = s.blkio.io_service_bytes_recursive.clone();
        (s.cpu.usage.total, memory.raw.clone(), sizes, psi, s.pids.current, bytes)
    };
    assert_eq!(shown(&brief), shown(&stats));
    assert_eq!(cpu_time(&paths).unwrap().unwrap_or_default(), stats.cpu.usage.total);
    // Which sizes there are is the machine's.
    stats.hugetlb.clear();
    serde_json::to_string_pretty(&stats).unwrap()
}

#[test]
fn of_v2() {
    let fake = Fake::new(
        "v2",
        &[
            (
                "cpu.stat",
                "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 5\nnr_throttled 1\nthrottled_usec 7\n",
            ),
            (
                "cpu.pressure",
                "some avg10=1.50 avg60=0.00 avg300=0.00 total=99\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n",
            ),
            ("memory.current", "4096\n"),
            ("memory.max", "8192\n"),
            ("memory.peak", "5000\n"),
            ("memory.swap.current", "100\n"),
            ("memory.swap.max", "max\n"),
            ("memory.stat", "anon 1\nfile 2\n"),
            ("pids.current", "3\n"),
            ("pids.max", "max\n"),
            ("io.stat", "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n254:16\n"),
        ],
    );
    insta::assert_snapshot!(json(vec![fake.group(&[], "")]), @r#"
    {
      "cpu": {
        "usage": {
          "total": 30000,
          "kernel": 10000,
          "user": 20000
        },
        "throttling": {
          "periods": 5,
          "throttledPeriods": 1,
          "throttledTime": 7000
        },
        "psi": {
          "some": {
            "avg10": 1.5,
            "avg60": 0.0,
            "avg300": 0.0,
            "total": 99
          },
          "full": {
            "avg10": 0.0,
            "avg60": 0.0,
            "avg300": 0.0,
            "total": 1
          }
        }
      },
      "cpuset": {
        "cpu_exclusive": 0,
        "mem_hardwall": 0,
        "mem_exclusive": 0,
        "memory_migrate": 0,
        "memory_spread_page": 0,
        "memory_spread_slab": 0,
        "memory_pressure": 0,
        "sched_load_balance": 0,
        "sched_relax_domain_level": 0
      },
      "memory": {
        "cache": 2,
        "usage": {
          "limit": 8192,
          "usage": 4096,
          "max": 5000,
          "failcnt": 0
        },
        "swap": {
          "limit": 18446744073709551615,
          "usage": 4196,
          "failcnt": 0
        },
        "kernel": {
          "limit": 0,
          "failcnt": 0
        },
        "kernelTCP": {
          "limit": 0,
          "failcnt": 0
        },
        "raw": {
          "anon": 1,
          "file": 2
        }
      },
      "pids": {
        "current": 3
      },
      "blkio": {
        "ioServiceBytesRecursive": [
          {
            "major": 8,
            "op": "Read",
            "value": 1
          },
          {
            "major": 8,
            "op": "Write",
            "value": 2
          }
        ],
        "ioServicedRecursive": [
          {
            "major": 8,
            "op": "Read",
            "value": 3
          },
          {
            "major": 8,
            "op": "Write",
            "value": 4
          }
        ]
      },
      "hugetlb": {},
      "intel_rdt": {},
      "network_interfaces": null
    }
    "#);
}

#[test]
fn of_v1() {
    let fake = Fake::new(
        "v1",
        &[
            ("cpu/cpuacct.stat", "user 2\nsystem 1\n"),
            ("cpu/cpuacct.usage", "31000000\n"),
            ("cpu/cpuacct.usage_percpu", "30000000 1000000 \n"),
            ("cpu/cpuacct.usage_all", "cpu user system\n0 20000000 10000000\n1 1000000 0\n"),
            ("cpu/cpu.stat", "nr_periods 5\nnr_throttled 1\nthrottled_time 7\n"),
            ("memory/memory.stat", "cache 2\nrss 1\n"),
            ("memory/memory.usage_in_bytes", "4096\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/memory.max_usage_in_bytes", "5000\n"),
            ("memory/memory.failcnt", "2\n"),
            ("pids/pids.current", "3\n"),
            ("pids/pids.max", "7\n"),
            ("cpuset/cpuset.cpus", "0-2,5\n"),
            ("cpuset/cpuset.mems", "0\n"),
            ("cpuset/cpuset.sched_load_balance", "1\n"),
            ("cpuset/cpuset.sched_relax_domain_level", "-1\n"),
            ("blkio/blkio.throttle.io_service_bytes", "8:0 Read 11\n8:0 Total 11\nTotal 11\n"),
            ("blkio/blkio.throttle.io_serviced", "8:0 Read 1\n8:0 Total 1\nTotal 1\n"),
        ],
    );
    let paths = vec![
        fake.group(&["cpu", "cpuacct"], "cpu"),
        fake.group(&["memory"], "memory"),
        fake.group(&["pids"], "pids"),
        fake.group(&["cpuset"], "cpuset"),
        fake.group(&["blkio"], "blkio"),
        fake.group(&["freezer"], "not there"),
    ];
    insta::assert_snapshot!(json(paths), @r#"
    {
      "cpu": {
        "usage": {
          "total": 31000000,
          "percpu": [
            30000000,
            1000000
          ],
          "percpu_kernel": [
            10000000,
            0
          ],
          "percpu_user": [
            20000000,
            1000000
          ],
          "kernel": 10000000,
          "user": 20000000
        },
        "throttling": {
          "periods": 5,
          "throttledPeriods": 1,
          "throttledTime": 7
        }
      },
      "cpuset": {
        "cpus": [
          0,
          1,
          2,
          5
        ],
        "cpu_exclusive": 0,
        "mems": [
          0
        ],
        "mem_hardwall": 0,
        "mem_exclusive": 0,
        "memory_migrate": 0,
        "memory_spread_page": 0,
        "memory_spread_slab": 0,
        "memory_pressure": 0,
        "sched_load_balance": 1,
        "sched_relax_domain_level": -1
      },
      "memory": {
        "cache": 2,
        "usage": {
          "limit": 9223372036854771712,
          "usage": 4096,
          "max": 5000,
          "failcnt": 2
        },
        "swap": {
          "limit": 0,
          "failcnt": 0
        },
        "kernel": {
          "limit": 0,
          "failcnt": 0
        },
        "kernelTCP": {
          "limit": 0,
          "failcnt": 0
        },
        "raw": {
          "cache": 2,
          "rss": 1
        }
      },
      "pids": {
        "current": 3,
        "limit": 7
      },
      "blkio": {
        "ioServiceBytesRecursive": [
          {
            "major": 8,
            "op": "Read",
            "value": 11
          },
          {
            "major": 8,
            "op": "Total",
            "value": 11
          }
        ],
        "ioServicedRecursive": [
          {
            "major": 8,
            "op": "Read",
            "value": 1
          },
          {
            "major": 8,
            "op": "Total",
            "value": 1
          }
        ]
      },
      "hugetlb": {},
      "intel_rdt": {},
      "network_interfaces": null
    }
    "#);
}

#[test]
fn a_group_that_is_gone_has_used_nothing() {
    let gone = GroupPath { controllers: Vec::new(), mount: "/nowhere".to_owned(), group: "x".to_owned() };
    assert_eq!(stats(&GroupPaths(vec![gone])).unwrap(), Stats::default());
    assert_eq!(stats(&GroupPaths::default()).unwrap(), Stats::default());
    assert!(!Path::new("/nowhere").exists());
}

#[test]
fn lists_one_by_one() {
    assert_eq!(v1::list("0-2,5\n"), [0, 1, 2, 5]);
    assert_eq!(v1::list("\n"), [0u16; 0]);
}
