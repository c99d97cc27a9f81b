//! `corten ns`: namespaces, by the names of containers.

pub mod enter;
pub mod kinds;
pub mod ls;
pub mod run;
