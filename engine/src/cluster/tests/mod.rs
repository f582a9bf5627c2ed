//! Every refusal of a configuration, by its text; and what is written reads back.

mod creation;
mod reading;
mod refusals;

use super::init::{Generated, Plan, generate};
use super::{Cluster, ConfigError};
use std::path::Path;

/// Bytes that repeat from run to run (SplitMix64), so that a failing case fails again.
fn entropy(seed: u64) -> impl FnMut(&mut [u8]) {
    let mut state = seed;
    move |out| {
        for byte in out {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = (mixed ^ (mixed >> 31)) as u8;
        }
    }
}

/// A plan whose ports are given, so that nothing depends on what else runs on the host.
fn plan() -> Plan {
    Plan { port_base: Some(7400), drivers: 2, ..Plan::default() }
}

fn generated() -> Generated {
    generate(&plan(), &mut entropy(1)).unwrap()
}

fn parse(text: &str) -> Result<Cluster, ConfigError> {
    Cluster::parse(Path::new("cluster.toml"), text)
}

/// The standard file with `from` replaced by `to`, and the error that this causes.
fn refusal(from: &str, to: &str) -> String {
    let text = generated().cluster.render();
    assert!(text.contains(from), "{from:?} is not in the file");
    parse(&text.replacen(from, to, 1)).unwrap_err().to_string()
}
