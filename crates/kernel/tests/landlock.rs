//! Landlock on real processes; passes on a kernel without it.
#![allow(unsafe_code)]

use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::path::PathBuf;

use kernel::landlock::{self, Access, BUILD, READ_FILE};

/// A directory of this test's own, removed at the end.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("corten-landlock-{name}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Place(path)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Runs `body` under the rules in a child. It answers with a list of what it was wrong about.
fn confined(place: &Place, access: Access, body: impl FnOnce(u32) -> Vec<&'static str>) {
    // SAFETY: the child uses what its only thread made itself, and ends without destructors.
    unsafe {
        let pid = libc::fork();
        if pid == 0 {
            let dir = File::open(&place.0).unwrap();
            let code = match landlock::restrict(&[(dir.as_fd(), access)]) {
                Ok(None) => {
                    eprintln!("this kernel has no Landlock");
                    0
                }
                Ok(Some(abi)) => {
                    let wrong = body(abi);
                    eprintln!("version {abi}, wrong: {wrong:?}");
                    i32::from(!wrong.is_empty())
                }
                Err(error) => {
                    eprintln!("{error}");
                    2
                }
            };
            libc::_exit(code);
        }
        let mut status = 0;
        libc::waitpid(pid, &mut status, 0);
        assert_eq!(status, 0);
    }
}

fn refused<T>(result: std::io::Result<T>) -> bool {
    result.is_err_and(|e| e.kind() == ErrorKind::PermissionDenied)
}

#[test]
fn a_tree_can_be_built_in_its_place_only() {
    let (inside, outside) = (Place::new("inside"), Place::new("outside"));
    fs::write(outside.0.join("secret"), "x").unwrap();
    std::os::unix::fs::symlink(&outside.0, inside.0.join("way")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    confined(&inside, BUILD, |abi| {
        let here = |name: &str| inside.0.join(name);
        let all = [
            ("make directories", fs::create_dir_all(here("a/b")).is_ok()),
            ("write", fs::write(here("a/f"), "text").is_ok()),
            ("read back", fs::read(here("a/f")).is_ok_and(|text| text == b"text")),
            ("link into another directory", fs::hard_link(here("a/f"), here("a/b/g")).is_ok()),
            ("rename into another directory", fs::rename(here("a/b/g"), here("h")).is_ok()),
            ("truncate", OpenOptions::new().write(true).truncate(true).open(here("a/f")).is_ok()),
            ("list", fs::read_dir(here("a")).is_ok()),
            ("remove", fs::remove_file(here("h")).is_ok() && fs::remove_dir(here("a/b")).is_ok()),
            ("no reading outside", refused(fs::read(outside.0.join("secret")))),
            ("no reading of the machine", refused(fs::read("/etc/passwd"))),
            ("no way through a link", refused(fs::write(here("way/new"), "x"))),
            ("no listing outside", refused(fs::read_dir("/"))),
            ("no removing outside", refused(fs::remove_file(outside.0.join("secret")))),
            ("no moving out", fs::rename(here("a/f"), outside.0.join("f")).is_err()),
            ("no links out", fs::hard_link(here("a/f"), outside.0.join("f")).is_err()),
            ("no links in", fs::hard_link(outside.0.join("secret"), here("s")).is_err()),
            ("no connections", abi < 4 || refused(TcpStream::connect(address))),
            ("no listening", abi < 4 || refused(TcpListener::bind("127.0.0.1:0"))),
        ];
        all.into_iter().filter(|(_, right)| !right).map(|(what, _)| what).collect()
    });
}

#[test]
fn reading_is_not_writing() {
    let place = Place::new("read");
    fs::write(place.0.join("f"), "x").unwrap();
    confined(&place, READ_FILE, |_| {
        let all = [
            ("read", fs::read(place.0.join("f")).is_ok()),
            ("no writing", refused(fs::write(place.0.join("f"), "y"))),
            ("no making", refused(fs::create_dir(place.0.join("d")))),
            ("no listing", refused(fs::read_dir(&place.0))),
        ];
        all.into_iter().filter(|(_, right)| !right).map(|(what, _)| what).collect()
    });
}
