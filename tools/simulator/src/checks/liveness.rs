//! C6, liveness: from some moment on, when so many correct replicas are connected as it takes, what correct clients ask for completes within a bound, and views
//! do not change for ever.

use super::violations::{Checker, Violations};
use logothete_engine::numbers::ReplicaId;
use std::collections::BTreeMap;

/// What is promised.
#[derive(Clone, Copy, Debug)]
pub struct Promise {
    /// Within so long everything is done: `(f+2) T + R + 4D`, with the longest time-outs of replicas and clients and the longest way of a packet
    /// (RELIABILITY.md section 0.1).
    pub bound_ns: u64,
    /// Meanwhile no replica goes through more views than this: those of `f` faulty primaries in a row, and as many as it takes for time-outs
    /// to have doubled from the least to the longest.
    pub views_max: u64,
}

/// The time in which the promise holds.
#[derive(Debug)]
pub struct Liveness {
    promise: Promise,
    begun_ns: u64,
    /// In which view each was first.
    views: BTreeMap<ReplicaId, u64>,
    told: bool,
}

impl Liveness {
    /// The faults are over, or stay as they are where they may.
    pub fn new(promise: Promise, now_ns: u64) -> Self {
        Self { promise, begun_ns: now_ns, views: BTreeMap::new(), told: false }
    }

    /// The view that a replica is in or wants.
    pub fn on_view(&mut self, by: ReplicaId, view: u64, violations: &mut Violations) {
        let first = *self.views.entry(by).or_insert(view);
        if view > first + self.promise.views_max && !std::mem::replace(&mut self.told, true) {
            violations
                .add(Checker::Liveness, format!("{by} went from view {first} to view {view}, and there is no end"));
        }
    }

    /// So many operations of correct clients wait.
    pub fn on_waiting(&mut self, operations: u64, now_ns: u64, violations: &mut Violations) {
        let since_ns = now_ns - self.begun_ns;
        if operations == 0 {
            // What is asked for from now on has its own time.
            self.begun_ns = now_ns;
        } else if since_ns > self.promise.bound_ns && !std::mem::replace(&mut self.told, true) {
            let text =
                format!("{operations} operations wait for {since_ns} ns, longer than {} ns", self.promise.bound_ns);
            violations.add(Checker::Liveness, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMISE: Promise = Promise { bound_ns: 1000, views_max: 3 };

    #[test]
    fn what_waits_is_done_in_time() {
        let (mut liveness, mut violations) = (Liveness::new(PROMISE, 50), Violations::default());
        liveness.on_waiting(3, 1050, &mut violations);
        liveness.on_waiting(0, 1060, &mut violations);
        liveness.on_waiting(1, 2060, &mut violations);
        assert_eq!(violations.take(), Ok(()));
        liveness.on_waiting(1, 2061, &mut violations);
        liveness.on_waiting(1, 2062, &mut violations);
        assert_eq!(violations.checkers(), [Checker::Liveness], "it is told once");
    }

    #[test]
    fn views_come_to_rest() {
        let (mut liveness, mut violations) = (Liveness::new(PROMISE, 0), Violations::default());
        for view in [7, 8, 10] {
            liveness.on_view(ReplicaId(1), view, &mut violations);
        }
        liveness.on_view(ReplicaId(2), 12, &mut violations);
        assert_eq!(violations.take(), Ok(()));
        liveness.on_view(ReplicaId(1), 11, &mut violations);
        assert_eq!(violations.checkers(), [Checker::Liveness]);
    }
}
