//! What comes back from a netlink socket: every walk over it ends, and stays inside.
#![no_main]

use kernel::netlink::{Attributes, Messages};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut seen = 0;
    for message in Messages(bytes) {
        seen += message.body.len() + 16;
        for header in [0, 4, 8, 12, 16, 20, usize::MAX] {
            walk(message.attributes(header), 4);
        }
    }
    assert!(seen <= bytes.len() + 16, "{seen} of {}", bytes.len());
});

fn walk(attributes: Attributes, depth: usize) {
    for (kind, value) in attributes {
        assert!(kind < 1 << 14);
        if depth > 0 {
            walk(Attributes(value), depth - 1);
        }
    }
}
