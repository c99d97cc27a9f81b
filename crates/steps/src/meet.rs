//! Where the two sides of a plan wait for each other.

use crate::{Failure, Live, Outcome, Picture, Shell, Step};
use rustix::io::{Errno, retry_on_intr};
use serde::{Deserialize, Serialize};

/// The host's side is so far: the container may pass the meeting point of that number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Release {
    pub point: u8,
}

impl Release {
    pub fn perform(&self, live: &Live) -> Outcome {
        let fd = live.gate.get().1;
        retry_on_intr(|| rustix::io::write(kernel::process::borrow_raw(fd), &[self.point]))?;
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        Shell::exact(format!("echo >$T/go{}", self.point), "the container may go on", "fifo(7)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// The container waits for [`Release`] of that number; the host's end means its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Await {
    pub point: u8,
}

impl Await {
    pub fn perform(&self, live: &Live) -> Outcome {
        let fd = kernel::process::borrow_raw(live.gate.get().0);
        let mut byte = [0u8; 1];
        match retry_on_intr(|| rustix::io::read(fd, &mut byte))? {
            1 if byte[0] == self.point => Ok(()),
            1 => Err(Failure::new(Errno::PROTO, "another meeting point")),
            _ => Err(Failure::new(Errno::PIPE, "the host's side ended")),
        }
    }

    pub fn shell(&self) -> Shell {
        Shell::exact(format!("read -r _ <$T/go{}", self.point), "wait for the host", "fifo(7)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// The container tells the host's side that it is so far, and waits at the next [`Await`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Arrive {
    pub point: u8,
}

impl Arrive {
    pub fn perform(&self, live: &Live) -> Outcome {
        retry_on_intr(|| rustix::io::write(kernel::process::borrow_raw(live.back.get().1), &[self.point]))?;
        Ok(())
    }

    pub fn shell(&self) -> Shell {
        Shell::exact(format!("echo >$T/here{}", self.point), "it is the host's turn", "fifo(7)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}

/// The host's side waits for [`Arrive`] of that number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expect {
    pub point: u8,
}

impl Expect {
    pub fn perform(&self, live: &Live) -> Outcome {
        // The container's end of the pipe is the only one: its death is seen.
        kernel::process::close_raw(live.back.replace((live.back.get().0, -1)).1);
        let mut byte = [0u8; 1];
        let back = kernel::process::borrow_raw(live.back.get().0);
        match retry_on_intr(|| rustix::io::read(back, &mut byte))? {
            1 if byte[0] == self.point => Ok(()),
            1 => Err(Failure::new(Errno::PROTO, "another meeting point")),
            _ => Err(Failure::new(Errno::PIPE, "the container's side ended")),
        }
    }

    pub fn shell(&self) -> Shell {
        Shell::exact(format!("read -r _ <$T/here{}", self.point), "wait for the container", "fifo(7)")
    }

    pub fn undo(&self) -> Option<Step> {
        None
    }

    pub fn draw(&self, _: &mut Picture) {}
}
