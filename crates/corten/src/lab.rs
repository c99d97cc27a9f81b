//! `corten lab`: what a container is made of, done by hand. A chapter is data: what is said, the command, what shows that the kernel
//! has changed, and the check. Everything that it makes has a name of its own that begins with `lab-`, and goes when it ends.

mod chapters;
mod measure;
pub mod page;
mod shell;
mod walk;

pub use chapters::all;
pub use page::Answer;
pub use shell::Shell;
pub use walk::run;

/// A chapter.
#[derive(Debug, Clone, Copy)]
pub struct Chapter {
    pub name: &'static str,
    pub about: &'static str,
    /// Programs that have to be there, each with the Debian package that brings it.
    pub needs: &'static [(&'static str, &'static str)],
    pub steps: &'static [Step],
    /// Takes away all that the steps make. Works at any point, and when nothing is there.
    pub undo: &'static str,
    /// Prints what is still there; nothing, when all is gone.
    pub left: &'static str,
    /// What was learned.
    pub end: &'static str,
}

/// One step of a chapter.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    pub say: &'static str,
    /// For bash, as one would type it.
    pub run: &'static str,
    /// A command whose output is other after the step: the difference is shown.
    pub show: &'static str,
    /// Succeeds once the step is done, whoever did it. Empty: there is nothing to check.
    pub check: &'static str,
    /// It depends on what surrounds this machine; so the lesson goes on when it fails, and says this.
    pub else_say: &'static str,
    /// Processes whose use of a CPU is drawn meanwhile.
    pub measure: Option<Measure>,
}

impl Step {
    /// The rest of a step.
    pub const NONE: Step = Step { say: "", run: "", show: "", check: "", else_say: "", measure: None };
}

/// What is drawn as bars: how much of a CPU the first process of each group gets.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    /// Files that list the processes of a group.
    pub groups: [&'static str; 3],
    /// What the kernel was asked for.
    pub shares: [u32; 3],
}
