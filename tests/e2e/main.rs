//! The end-to-end tests, one file a theme. Each test runs the `corten` binary in a sandbox of its own.

mod harness;
