//! What a plan will make, as things and lines between them: the input of every drawing.

use serde::Serialize;

/// The parts of one container, in the order in which they come to be.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Picture {
    pub things: Vec<Thing>,
}

/// One kernel object in the picture.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Thing {
    /// The row in which it stands: `cgroup`, `file`, `network`, `root`, `mount`, `identity`.
    pub row: &'static str,
    /// Its name, as the tools of the field print it.
    pub name: String,
    /// One line about it.
    pub about: String,
}

impl Picture {
    pub fn add(&mut self, row: &'static str, name: impl Into<String>, about: impl Into<String>) {
        self.things.push(Thing { row, name: name.into(), about: about.into() });
    }
}
