//! What users write: published ports, references of images, subnets. What is taken reads as itself.
#![no_main]

use image::Reference;
use libfuzzer_sys::fuzz_target;
use network::{Subnet, ports};

fuzz_target!(|text: &str| {
    if let Ok(reference) = Reference::parse(text) {
        let familiar = reference.familiar();
        let again = Reference::parse(&familiar).expect("what was taken is taken again");
        assert_eq!(again.familiar(), familiar);
    }
    if let Ok(specs) = ports::parse(text) {
        assert!(!specs.is_empty() && specs.iter().all(|spec| spec.container_port != 0), "{specs:?}");
    }
    let _ = ports::parse_exposed(text);
    if let Ok(subnet) = text.parse::<Subnet>() {
        assert_eq!(subnet.to_string().parse(), Ok(subnet));
    }
});
