//! What a registry or an archive says of an image: a manifest, an index, a config.
#![no_main]

use image::config::ImageConfig;
use image::digest::Digest;
use image::manifest::{Checked, check, check_config_type, check_layer_type};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match check("fuzzed", bytes, "") {
        Ok(Checked::Manifest { config, layers }) => {
            let _ = check_config_type(&Digest::of(bytes), &config);
            layers.iter().for_each(|layer| drop(check_layer_type(layer)));
        }
        Ok(Checked::Index(manifests)) => assert!(manifests.len() <= bytes.len()),
        Err(error) => assert!(!error.to_string().contains('\n'), "not one line: {error}"),
    }
    match ImageConfig::parse("fuzzed", bytes) {
        Ok(config) => drop(config.diff_ids()),
        Err(error) => assert!(!error.to_string().contains('\n'), "not one line: {error}"),
    }
});
