//! The bounds on everything that an image supplies (rule R8): counts, lengths and sizes, as a table.

/// What an archive may ask of us at most. [`Limits::default`] is generous to real images, and finite.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes of one layer's tar stream after decompression. A gzip bomb ends here, or earlier at the free space of the disk.
    pub layer_bytes: u64,
    /// Bytes that a compressed or piped archive may occupy while it is spooled.
    pub spool_bytes: u64,
    /// Apparent size of one sparse file, in bytes.
    pub sparse_bytes: u64,
    /// Members of one tar stream.
    pub entries: u64,
    /// Bytes of one path or link target (PATH_MAX).
    pub path: usize,
    /// Components of one path.
    pub depth: usize,
    /// Bytes of one extended header (PAX records or a GNU long name); it bounds the xattrs of an entry too.
    pub header: u64,
    /// Extents of one sparse file.
    pub extents: usize,
    /// Bytes of a manifest, an index or manifest.json.
    pub manifest: u64,
    /// Bytes of an image's config.
    pub config: u64,
    /// Layers of one image: what overlayfs can stack.
    pub layers: usize,
    /// Images in one archive.
    pub images: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            layer_bytes: 256 << 30,
            spool_bytes: 256 << 30,
            sparse_bytes: 1 << 40,
            entries: 4_000_000,
            path: 4096,
            depth: 512,
            header: 1 << 20,
            extents: 100_000,
            manifest: 4 << 20,
            config: 8 << 20,
            layers: 500,
            images: 1000,
        }
    }
}
