//! Asking before something is removed.

use super::{Failure, print};
use std::io::BufRead;

/// Docker's question. No, or nobody to answer, ends the command.
pub fn confirm(context: &super::Context, warning: &str) -> Result<(), Failure> {
    print(&format!("WARNING! {warning}\nAre you sure you want to continue? [y/N] "))?;
    let mut answer = String::new();
    let _ = std::io::stdin().lock().read_line(&mut answer);
    if answer.trim().eq_ignore_ascii_case("y") {
        return Ok(());
    }
    Err(Failure::new(format!("{} has been cancelled", context.command)))
}
