//! The scenarios: what is done to a cluster, and what must hold.
//!
//! What this room is for: one function a scenario, in the words of its story. What must never be here: how a fault is
//! made, which `network` and `hostile` know, and how a run is judged, which `run` and `report` do. Whatever happens, the
//! answers of all clients must be linearizable, no operation may fail, and all replicas must come to the same state.

mod attacks;
mod crashes;
mod hosts;
mod liars;
mod links;
mod partitions;
mod soak;

use crate::run::{Run, Setup};
use logothete::failure::Failure;
use std::time::Duration;

/// A dead primary is replaced within this, as clients see it: 100 ms at the median on a machine of its own; here other
/// processes may have the processor for a while.
const FAILOVER: Duration = Duration::from_secs(2);

/// A replica that was away takes part again within this.
const CATCH_UP: Duration = Duration::from_secs(10);

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// The entry of the test plan that it is for.
    pub id: &'static str,
    /// What it is called.
    pub name: &'static str,
    /// What is done and what must hold, in a line.
    pub about: &'static str,
    /// How long it takes, about.
    pub seconds: u32,
    /// When it is run.
    pub when: When,
    /// What it needs; from the seed.
    pub setup: fn(u64) -> Setup,
    /// What is done.
    pub conduct: fn(&mut Run<'_>) -> Result<(), Failure>,
}

/// When a scenario is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// In the short selection of `--ci`, and whenever all are.
    Ci,
    /// When all are.
    All,
    /// When it is named.
    Named,
}

/// Every scenario, in the order of the test plan.
pub fn all() -> Vec<Scenario> {
    let groups = [
        links::SCENARIOS,
        crashes::SCENARIOS,
        partitions::SCENARIOS,
        hosts::SCENARIOS,
        liars::SCENARIOS,
        attacks::SCENARIOS,
        soak::SCENARIOS,
    ];
    let mut all = groups.concat();
    // Stable: those of one entry stay in their order.
    all.sort_by_key(|scenario| scenario.id);
    all
}

/// What most scenarios need.
fn standard(_: u64) -> Setup {
    Setup::default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn scenarios_are_told_apart_by_their_names() {
        let all = all();
        let names: BTreeSet<_> = all.iter().map(|scenario| scenario.name).collect();
        assert_eq!(names.len(), all.len());
        let ci: u32 = all.iter().filter(|scenario| scenario.when == When::Ci).map(|scenario| scenario.seconds).sum();
        assert!(ci <= 8 * 60, "the short selection takes {ci} s");
    }
}
