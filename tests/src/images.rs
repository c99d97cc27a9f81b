//! Where the test images are that `cargo xtask test` makes from real packages with other people's tools.

use std::path::PathBuf;

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
