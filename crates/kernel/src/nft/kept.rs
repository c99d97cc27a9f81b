//! The process's one netfilter socket, opened when it is first needed and kept.
//!
//! To close such a socket, the kernel waits until all that any process deleted from tables is freed: a grace period of
//! 5 to 30 ms after a deletion (`nft_rcv_nl_event`). Kept until the process ends, it costs nobody anything.

use std::sync::{Mutex, PoisonError};

use rustix::io::Errno;

use crate::netlink::{Socket, namespace};

static KEPT: Mutex<Option<Kept>> = Mutex::new(None);

struct Kept {
    /// A child of fork must not share its parent's socket: each would read the other's answers.
    process: i32,
    namespace: u64,
    socket: Socket,
}

/// Does something with the socket of this process and this network namespace.
pub fn with<T>(act: impl FnOnce(&Socket) -> T) -> Result<T, Errno> {
    let process = rustix::process::getpid().as_raw_pid();
    let namespace = namespace::id()?;
    let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let same = |kept: &Kept| kept.process == process && kept.namespace == namespace;
    let now = match kept.take() {
        Some(kept) if same(&kept) => kept,
        _ => Kept { process, namespace, socket: Socket::netfilter()? },
    };
    now.socket.drain();
    Ok(act(&kept.insert(now).socket))
}
