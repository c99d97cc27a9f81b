//! Where the test images are that `cargo xtask test` makes from real packages with other people's tools.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The path of a test image: `busybox.tar`, `nginx.tar`, `nginx.oci`, ….
///
/// Looks into `CORTEN_TEST_CACHE`, else `target/test-images` beside this package.
#[track_caller]
pub fn image(name: &str) -> PathBuf {
    let cache = std::env::var_os("CORTEN_TEST_CACHE").map(PathBuf::from);
    let path = cache
        .unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/test-images"))
        .join(name);
    assert!(path.exists(), "no test image {}: `cargo xtask test` makes it", path.display());
    path.canonicalize().expect("it exists")
}

/// Unpacks the layers of the test image `name`.tar, without deletions, into a new directory.
#[track_caller]
pub fn unpack(name: &str, to: &Path) {
    let archive = image(&format!("{name}.tar"));
    let manifest =
        Command::new("tar").arg("-xOf").arg(&archive).arg("manifest.json").output().expect("tar runs");
    let manifest: serde_json::Value = serde_json::from_slice(&manifest.stdout).expect("a manifest");
    std::fs::create_dir_all(to).expect("the sandbox is writable");
    for layer in manifest[0]["Layers"].as_array().expect("an image has layers") {
        let layer = layer.as_str().expect("a path");
        let script = format!("tar -xOf '{}' '{layer}' | tar -x -C '{}'", archive.display(), to.display());
        let status = Command::new("sh").args(["-c", &script]).status().expect("sh runs");
        assert!(status.success(), "cannot unpack {layer}");
    }
}
