//! One program for all targets: `LOGOTHETE_FUZZ_TARGET` names the one that libFuzzer feeds.
#![no_main]

use libfuzzer_sys::{Corpus, fuzz_target};
use logothete_fuzz::{Target, mutation::INPUT_BYTES_MAX, target};
use std::sync::OnceLock;

fuzz_target!(|input: &[u8]| -> Corpus {
    static TARGET: OnceLock<&Target> = OnceLock::new();
    if input.len() > INPUT_BYTES_MAX {
        return Corpus::Reject;
    }
    let target = TARGET.get_or_init(|| {
        let name = std::env::var("LOGOTHETE_FUZZ_TARGET").unwrap_or_default();
        target(&name).unwrap_or_else(|| panic!("LOGOTHETE_FUZZ_TARGET names no target: {name:?}"))
    });
    (target.run)(input);
    Corpus::Keep
});
