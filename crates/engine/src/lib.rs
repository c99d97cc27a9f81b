//! Containers as users know them: create, start, stop, exec, logs, rm. It knows no terminal tables and no HTTP.

mod container;
pub mod names;
mod settings;
pub mod top;

pub use container::{Container, State, Time};
pub use settings::*;
