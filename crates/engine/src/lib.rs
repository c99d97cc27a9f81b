//! Containers as users know them: create, start, stop, exec, logs, rm. It knows no terminal tables and no HTTP.

mod container;
mod settings;

pub use container::{Container, State, Time};
pub use settings::*;
