//! What must hold of any input: parsers end, don't panic, and what they take reads as itself.

mod common;

use common::*;
use image::layer::tar::TarReader;
use image::{Limits, Reference};
use proptest::prelude::*;
use tar::{EntryType, Header};

/// Read all members with their data; the number of steps is bounded by the input.
fn walk(bytes: &[u8]) {
    let limits = Limits { entries: 1000, ..Limits::default() };
    let mut tar = TarReader::new(bytes, &limits);
    while let Ok(Some(member)) = tar.member() {
        if let Some(sparse) = &member.sparse {
            assert!(
                sparse.extents.iter().map(|e| e.1).sum::<u64>() == member.size
                    && sparse.size <= limits.sparse_bytes
            );
        }
        loop {
            match tar.data() {
                Ok([]) | Err(_) => break,
                Ok(data) => {
                    let n = data.len();
                    tar.consume(n);
                }
            }
        }
    }
}

fn sample() -> Vec<u8> {
    let mut sparse = Header::new_gnu();
    sparse.set_entry_type(EntryType::GNUSparse);
    sparse.set_size(3);
    sparse.as_gnu_mut().unwrap().set_real_size(3);
    sparse.as_gnu_mut().unwrap().sparse[0].set_offset(0);
    sparse.as_gnu_mut().unwrap().sparse[0].set_length(3);
    Tar::new()
        .pax(&[("mtime", b"1.5"), ("SCHILY.xattr.user.x", b"v"), ("size", b"3")])
        .file("a", b"abc")
        .raw(sparse, b"abc")
        .raw(Tar::header(b"long", EntryType::GNULongName, 4), b"name")
        .pax(&[("GNU.sparse.major", b"1"), ("GNU.sparse.name", b"s"), ("GNU.sparse.realsize", b"9")])
        .file("b", &[&b"1\n0\n3\n"[..], &[0; 506], b"abc"].concat())
        .end()
}

/// Make the checksums of all blocks right that have a place for one, so that changes get past it.
fn mend(bytes: &mut [u8]) {
    for block in bytes.chunks_exact_mut(512) {
        if block[257..262] == *b"ustar" {
            let mut header = Header::new_old();
            header.as_mut_bytes().copy_from_slice(block);
            header.set_cksum();
            block.copy_from_slice(header.as_bytes());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn tar_reader_survives_changed_archives(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut in any::<prop::sample::Index>()) {
        let mut bytes = sample();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        mend(&mut bytes);
        walk(&bytes);
        let cut = cut.index(bytes.len());
        walk(&bytes[..cut]);
    }

    #[test]
    fn tar_reader_survives_any_numbers(field in prop::collection::vec(any::<u8>(), 12), at in prop::sample::select(vec![100usize, 108, 116, 124, 136, 329, 337, 386, 398, 483])) {
        let mut bytes = sample();
        for block in 0..bytes.len() / 512 {
            let at = block * 512 + at;
            bytes[at..at + 12].copy_from_slice(&field);
        }
        mend(&mut bytes);
        walk(&bytes);
    }

    #[test]
    fn a_reference_reads_as_itself(text in "[a-zA-Z0-9./:@_\\[\\]-]{0,40}") {
        if let Ok(reference) = Reference::parse(&text) {
            prop_assert_eq!(&Reference::parse(&reference.to_string()).unwrap(), &reference);
            prop_assert_eq!(&Reference::parse(&reference.familiar()).unwrap(), &reference);
        }
    }
}
