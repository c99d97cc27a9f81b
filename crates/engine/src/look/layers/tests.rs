//! What lies over what, in directories made here. The marks of deletions need root, as the engine does.

use super::*;
use std::fs;
use std::path::PathBuf;

/// Directories that go away.
struct Made(PathBuf);

impl Made {
    fn new(name: &str) -> Made {
        let base = PathBuf::from(format!("/var/tmp/corten-layers-{}-{name}", std::process::id()));
        fs::create_dir_all(&base).unwrap();
        Made(base)
    }

    fn file(&self, path: &str, size: usize) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![b'x'; size]).unwrap();
    }

    fn whiteout(&self, path: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::CharacterDevice, Mode::empty(), 0).unwrap();
    }

    fn opaque(&self, path: &str) {
        let path = self.0.join(path);
        fs::create_dir_all(&path).unwrap();
        let (name, flags) = (c"trusted.overlay.opaque", rustix::fs::XattrFlags::empty());
        rustix::fs::setxattr(&path, name, b"y", flags).unwrap();
    }

    fn stack(&self, layers: &[&str]) -> Stack {
        let layers = layers
            .iter()
            .map(|name| Layer { directory: self.0.join(name).display().to_string(), ..Layer::default() });
        stack("made", layers.collect()).unwrap()
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn what_is_hidden_and_by_whom() {
    if !root() {
        return;
    }
    let made = Made::new("hidden");
    made.file("1/etc/replaced", 100);
    made.file("1/etc/kept", 10);
    made.file("1/old/deep/file", 1000);
    made.file("1/emptied/a", 7);
    made.file("1/was_dir/a", 5);
    made.file("2/etc/replaced", 20);
    made.whiteout("2/old");
    made.opaque("2/emptied");
    made.file("2/emptied/b", 3);
    made.file("2/was_dir", 1);
    made.whiteout("3/etc/kept");
    let stack = made.stack(&["1", "2", "3"]);
    let [top, middle, low] = &stack.layers[..] else { panic!("three layers") };
    assert_eq!((top.number, low.number), (3, 1));
    assert_eq!((low.size, low.files, low.hidden), (1122, 5, 1122));
    let hidden: Vec<(&str, usize)> = low.hidden_files.iter().map(|h| (h.path.as_str(), h.by)).collect();
    let expected =
        [("/old/deep/file", 2), ("/etc/replaced", 2), ("/etc/kept", 3), ("/emptied/a", 2), ("/was_dir/a", 2)];
    assert_eq!(hidden, expected);
    assert_eq!((middle.hidden, &middle.whiteouts[..]), (0, &["/old".to_owned()][..]));
    assert_eq!(middle.opaque, ["/emptied"]);
    assert_eq!(middle.replaces, ["/etc/replaced"]);
    assert_eq!(top.whiteouts, ["/etc/kept"]);
    // What one sees.
    let names = |dir: &[u8]| stack.entries(dir);
    assert_eq!(names(b""), [("emptied".to_owned(), 2), ("etc".into(), 3), ("was_dir".into(), 2)]);
    assert_eq!(names(b"etc"), [("replaced".to_owned(), 2)]);
    assert_eq!(names(b"emptied"), [("b".to_owned(), 2)]);
    let fates: Vec<Fate> = stack.at("/etc").1.iter().map(|there| there.fate).collect();
    assert_eq!(fates, [Fate::Shown, Fate::Merged, Fate::Merged]);
}

#[test]
fn directories_below_a_file_do_not_come_back() {
    let made = Made::new("back");
    made.file("1/d/a", 1);
    made.file("2/d", 2);
    made.file("3/d/b", 3);
    let stack = made.stack(&["1", "2", "3"]);
    assert_eq!(stack.entries(b"d"), [("b".to_owned(), 3)]);
    assert_eq!(stack.at("d/a").1[0].fate, Fate::Hidden(2));
    assert_eq!(stack.layer(2).unwrap().hidden, 2);
}

#[test]
fn one_file_of_two_names_is_wasted_once_and_only_when_both_are_hidden() {
    let made = Made::new("links");
    made.file("1/a", 50);
    fs::hard_link(made.0.join("1/a"), made.0.join("1/b")).unwrap();
    made.file("2/a", 1);
    made.file("3/b", 1);
    let half = made.stack(&["1", "2"]);
    assert_eq!((half.layers[1].size, half.layers[1].hidden), (50, 0));
    let whole = made.stack(&["1", "2", "3"]);
    assert_eq!((whole.layers[2].size, whole.layers[2].hidden), (50, 50));
}

#[test]
fn links_on_the_way_are_followed() {
    let made = Made::new("way");
    made.file("1/usr/bin/sh", 5);
    std::os::unix::fs::symlink("usr/bin", made.0.join("1/bin")).unwrap();
    std::os::unix::fs::symlink("loop", made.0.join("1/loop")).unwrap();
    let stack = made.stack(&["1"]);
    assert_eq!(stack.at("/bin/sh").0, b"usr/bin/sh");
    assert_eq!(stack.at("/bin/../bin/./sh").0, b"usr/bin/sh");
    assert_eq!(stack.at("/bin").1[0].target.as_deref(), Some("usr/bin"));
    assert!(stack.at("/loop/x").1.is_empty());
}
