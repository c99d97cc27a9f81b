//! References, archives, the content store and unpacked layers: everything about images, nothing about networks or processes.

pub mod archive;
pub mod change;
pub mod config;
pub mod digest;
pub mod error;
pub mod host;
pub mod layer;
pub mod limits;
pub mod make;
pub mod manifest;
pub mod platform;
pub mod reference;
pub mod registry;
pub mod store;

pub use archive::{Format, Input, Loaded, Progress};
pub use config::{Healthcheck, RunConfig};
pub use error::{Error, Result};
pub use limits::Limits;
pub use make::Recipe;
pub use platform::Platform;
pub use reference::Reference;
pub use store::{Fault, HistoryLine, Image, Layer, Pruned, Removed, Report, Store, Summary, User};
