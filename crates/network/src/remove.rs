//! Takes a network's own things off the machine: bridge, elements of the firewall table, or the table itself.

use crate::{Network, Result, firewall};
use kernel::netlink::{Batch, Socket, route};
use kernel::nft::Transaction;
use rustix::io::Errno;

/// Removes the firewall table with all that is in it; what is not there is removed already.
pub fn table(name: &str) -> Result<()> {
    let mut transaction = Transaction::new(None);
    transaction.delete_table(name);
    commit(transaction)
}

/// Takes a network out of the firewall table.
pub fn from_table(network: &Network) -> Result<()> {
    for (set, element) in firewall::members(network) {
        let mut transaction = Transaction::new(None);
        transaction.delete_elements(&network.table, set, &[element]);
        commit(transaction)?;
    }
    Ok(())
}

fn commit(transaction: Transaction) -> Result<()> {
    let Ok(bytes) = transaction.finish() else { return Ok(()) };
    match kernel::nft::commit(&bytes) {
        Err(failure) if failure.errno != Errno::NOENT => {
            Err(crate::Error::Kernel("the firewall table", failure))
        }
        _ => Ok(()),
    }
}

/// Takes back what was said for the network's bridge in others' chains.
pub fn from_others(network: &Network) -> Result<()> {
    let take_back = |socket: &Socket| steps::through::take_back(socket, &network.link);
    match kernel::nft::kept::with(take_back).map_err(kernel::netlink::Failure::of).flatten() {
        // Without such tables in the kernel nothing was said.
        Err(failure) if !matches!(failure.errno, Errno::OPNOTSUPP | Errno::AFNOSUPPORT) => {
            Err(crate::Error::Kernel("the forward chain", failure))
        }
        _ => Ok(()),
    }
}

/// Removes the network's bridge; one that is not there is removed already.
pub fn bridge(network: &Network) -> Result<()> {
    if network.driver != crate::Driver::Bridge || route::link_index(&network.link).is_err() {
        return Ok(());
    }
    let mut batch = Batch::new();
    route::delete_link(&mut batch, &network.link);
    let (Ok(bytes), Ok(socket)) = (batch.finish(), Socket::route()) else { return Ok(()) };
    match socket.send(&bytes) {
        Err(failure) if failure.errno != Errno::NODEV => Err(crate::Error::Kernel("the bridge", failure)),
        _ => Ok(()),
    }
}
