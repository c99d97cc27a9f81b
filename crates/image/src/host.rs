//! The built-in image `@host`: the machine's own root file system, with nothing to download or load.

use crate::config::RunConfig;
use crate::config::machine_architecture;
use crate::store::Image;
use std::path::Path;

/// How it is asked for. `@` can't begin a name of any other image.
pub const NAME: &str = "@host";

/// Where it is looked for, and what a container gets as PATH.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// An image without layers, marked `host`: [`crate::Store::layer_paths`] gives `/`, and the engine puts a tmpfs on top.
pub fn image() -> Image {
    let shell =
        ["/bin/bash", "/usr/bin/bash"].into_iter().find(|p| Path::new(p).exists()).unwrap_or("/bin/sh");
    Image {
        // No config has this digest: it can't be mistaken for a loaded image.
        id: "0".repeat(64),
        reference: Some(NAME.into()),
        host: true,
        architecture: machine_architecture().into(),
        os: "linux".into(),
        config: RunConfig {
            cmd: vec![shell.into()],
            env: vec![format!("PATH={PATH}")],
            ..RunConfig::default()
        },
        ..Image::default()
    }
}
