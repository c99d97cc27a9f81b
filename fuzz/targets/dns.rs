//! A datagram at the name server: an answer that belongs to it and fits, or none.
#![no_main]

use libfuzzer_sys::fuzz_target;
use network::dns::{Code, DATAGRAM, Reply, Zone, answer, answers, id, refuse};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

struct Web;

impl Zone for Web {
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        let many = (0..100).map(|n| IpAddr::V4(Ipv4Addr::new(10, 0, 0, n)));
        (name == "web").then(|| many.chain([IpAddr::V6(Ipv6Addr::LOCALHOST)]).collect())
    }

    fn name(&self, address: IpAddr) -> Option<Option<String>> {
        match address {
            IpAddr::V4(address) if address.octets()[0] == 10 => {
                Some((address.octets()[3] == 1).then(|| "web".into()))
            }
            _ => None,
        }
    }
}

fuzz_target!(|query: &[u8]| {
    if let Reply::Answer(reply) = answer(query, &Web, DATAGRAM, 1) {
        assert!(reply.len() <= query.len().max(4096), "{} bytes", reply.len());
        assert_eq!(id(&reply), id(query));
        assert!(reply[2] & 0x80 != 0, "a question as answer");
    }
    refuse(query, Code::ServerFailure);
    let (one, two) = query.split_at(query.len() / 2);
    answers(one, two, 7);
});
