//! Takes the network's own things off the machine: the firewall table and the bridge.

use crate::{Network, Result};
use kernel::netlink::{Batch, Socket, route};
use kernel::nft::Transaction;
use rustix::io::Errno;

/// Removes both; what is not there is removed already.
pub fn remove(network: &Network) -> Result<()> {
    let mut transaction = Transaction::new(None);
    transaction.delete_table(&network.table);
    if let Ok(bytes) = transaction.finish() {
        match kernel::nft::commit(&bytes) {
            Err(failure) if failure.errno != Errno::NOENT => {
                return Err(crate::Error::Kernel("the firewall table", failure));
            }
            _ => {}
        }
    }
    let mut batch = Batch::new();
    route::delete_link(&mut batch, &network.bridge);
    let (Ok(bytes), Ok(socket)) = (batch.finish(), Socket::route()) else { return Ok(()) };
    match socket.send(&bytes) {
        Err(failure) if failure.errno != Errno::NODEV => Err(crate::Error::Kernel("the bridge", failure)),
        _ => Ok(()),
    }
}
