//! How things look: tables, words for times and sizes, Go's templates. It knows nothing of the engine.

pub mod fit;
mod functions;
pub mod list;
pub mod ports;
pub mod progress;
pub mod table;
pub mod template;
pub mod words;
