//! The end-to-end tests, one file a theme. Each test runs the `corten` binary in a sandbox of its own.

mod bad_input;
mod cgroup;
mod connect;
mod differential;
mod explain;
mod harness;
mod host_image;
mod identity;
mod images;
mod lifecycle;
mod names;
mod namespaces;
mod network;
mod networks;
mod oci;
mod oci_bad_bundles;
mod oci_security;
mod ps;
mod run;
mod run_files;
mod save;
mod security;
mod terminal;
mod tutorial;
