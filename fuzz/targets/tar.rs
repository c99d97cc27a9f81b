//! A layer's tar stream, with and without right checksums: it ends, and what it says of sparse files is within bounds.
#![no_main]

use image::Limits;
use image::layer::tar::TarReader;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    walk(bytes);
    let mut mended = bytes.to_vec();
    mended.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar").for_each(mend);
    walk(&mended);
});

fn walk(bytes: &[u8]) {
    let limits = Limits { entries: 1000, ..Limits::default() };
    let mut tar = TarReader::new(bytes, &limits);
    while let Ok(Some(member)) = tar.member() {
        if let Some(sparse) = &member.sparse {
            assert!(sparse.extents.iter().map(|extent| extent.1).sum::<u64>() == member.size);
            assert!(sparse.size <= limits.sparse_bytes);
        }
        while let Ok(data) = tar.data() {
            if data.is_empty() {
                break;
            }
            let length = data.len();
            tar.consume(length);
        }
    }
}

/// The sum of a header's bytes, its own place counted as blanks: see tar(5).
fn mend(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
}
