//! What is learnt only while a plan is performed: the pid, and file descriptors. Names and choices are never here.

use rustix::fd::{AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;

/// How a step ended: nothing to say, or the kernel's answer.
pub type Outcome = Result<(), Failure>;

/// The kernel's answer to a step, with what was being tried when the step makes several calls. Plain data of a fixed size,
/// because the container's side sends it through a pipe before it has a heap.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Failure {
    pub errno: Errno,
    pub note: &'static str,
}

impl Failure {
    pub fn new(errno: Errno, note: &'static str) -> Failure {
        Failure { errno, note }
    }
}

impl From<Errno> for Failure {
    fn from(errno: Errno) -> Failure {
        Failure { errno, note: "" }
    }
}

/// The size of what the container's side writes into [`Live::report`]. The first byte is a [`crate::Phase`],
/// [`HAND_OVER`] or [`TURN`].
pub const REPORT: usize = 64;

/// The descriptor of that number, four bytes, is to be taken, and a byte to be sent through the gate then.
pub const HAND_OVER: u8 = 0xff;

/// The step of that index, four bytes, is next, and waits for a byte through [`Live::turn`].
pub const TURN: u8 = 0xfe;

/// A numbered place for a descriptor that one step opens and a later one uses. The container inherits those that were
/// filled before the clone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slot(pub u16);

impl Slot {
    /// This one and those after it, without end.
    pub fn and_following(self) -> impl Iterator<Item = Slot> {
        (self.0..).map(Slot)
    }
}

/// The facts of one performance of a plan.
#[derive(Debug)]
pub struct Live {
    /// The container's first process, as the performing process sees it; 0 before the clone and inside.
    pub pid: Cell<i32>,
    /// The mount namespace to come back to, while the performer is in the container's.
    pub home: Cell<RawFd>,
    /// The directory to come back to, likewise.
    pub cwd: Cell<RawFd>,
    /// The pipe between the two sides: where the container waits, where the host releases it.
    pub gate: Cell<(RawFd, RawFd)>,
    /// The pipe the other way: where the host waits, where the container says that it is there.
    pub back: Cell<(RawFd, RawFd)>,
    /// The pipe through which a container's side that is held before each of its steps is let on; none where it is not.
    pub turn: Cell<(RawFd, RawFd)>,
    /// In the container: where it tells that it failed; it closes by itself at the exec.
    pub report: Cell<RawFd>,
    /// A device could not be made.
    pub refused: Cell<bool>,
    /// The name server's sockets in the container's network, for datagrams and for connections.
    pub names: RefCell<Option<[OwnedFd; 2]>>,
    slots: Box<[Cell<RawFd>]>,
}

impl Live {
    /// Room for the `slots` descriptors of a plan.
    pub fn new(slots: u16) -> Live {
        Live {
            pid: Cell::new(0),
            home: Cell::new(-1),
            cwd: Cell::new(-1),
            gate: Cell::new((-1, -1)),
            back: Cell::new((-1, -1)),
            turn: Cell::new((-1, -1)),
            report: Cell::new(-1),
            refused: Cell::new(false),
            names: RefCell::new(None),
            slots: vec![Cell::new(-1); usize::from(slots)].into(),
        }
    }

    /// Keeps `fd` open until the end of this performance.
    pub fn fill(&self, slot: Slot, fd: OwnedFd) {
        let Some(cell) = self.slots.get(usize::from(slot.0)) else { return };
        let old = cell.replace(fd.into_raw_fd());
        kernel::process::close_raw(old);
    }

    /// The descriptor that an earlier step left in `slot`; `EBADF` when none did.
    pub fn fd(&self, slot: Slot) -> Result<BorrowedFd<'_>, Errno> {
        let raw = self.slots.get(usize::from(slot.0)).map_or(-1, Cell::get);
        if raw < 0 { Err(Errno::BADF) } else { Ok(kernel::process::borrow_raw(raw)) }
    }

    /// On the container's side: the host's side takes a copy of `fd`, which is closed then. One write(2) and one read(2),
    /// because a filter may have been installed by now; the read may even wait for whoever gets the copy.
    pub fn hand_over(&self, fd: OwnedFd) -> Outcome {
        let mut message = [0u8; REPORT];
        message[0] = HAND_OVER;
        message[1..5].copy_from_slice(&fd.as_raw_fd().to_ne_bytes());
        let report = kernel::process::borrow_raw(self.report.get());
        rustix::io::write(report, &message).map_err(|e| Failure::new(e, "hand over a descriptor"))?;
        let gate = kernel::process::borrow_raw(self.gate.get().0);
        match rustix::io::read(gate, &mut [0u8; 1]) {
            Ok(1) => Ok(()),
            Ok(_) => Err(Failure::new(Errno::PIPE, "the host's side ended")),
            Err(e) => Err(Failure::new(e, "hand over a descriptor")),
        }
    }

    /// Back from the container's mount namespace, if the performer is there. What failed can be tried again.
    pub fn come_home(&self) -> Result<(), Errno> {
        let home = self.home.get();
        if home < 0 {
            return Ok(());
        }
        kernel::process::set_namespace(kernel::process::borrow_raw(home), kernel::process::CLONE_NEWNS)?;
        kernel::process::close_raw(self.home.replace(-1));
        // Each change of the namespace leads to its root; paths of the caller's may start from where it was.
        let cwd = kernel::process::own_raw(self.cwd.replace(-1)).ok_or(Errno::BADF)?;
        rustix::process::fchdir(cwd)
    }

    /// Closes what `slot` holds (a second closing is nothing).
    pub fn empty(&self, slot: Slot) {
        if let Some(cell) = self.slots.get(usize::from(slot.0)) {
            kernel::process::close_raw(cell.replace(-1));
        }
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        kernel::process::must_come_back(|| self.come_home());
        for cell in &self.slots {
            kernel::process::close_raw(cell.replace(-1));
        }
        kernel::process::close_raw(self.report.replace(-1));
        for pipe in [&self.gate, &self.back, &self.turn] {
            let (read, write) = pipe.replace((-1, -1));
            kernel::process::close_raw(read);
            kernel::process::close_raw(write);
        }
    }
}
