//! Time in which this replica's own disk stood still: whoever cannot vote learns nothing about the primary from waiting (`protocol.md VC-8`).
//! Where replicas share a disk, or a host, it stands still for all of them.

use crate::limits::DISK_SLOW_NS;

/// How the disk keeps up with what it is given.
#[derive(Clone, Debug, Default)]
pub(super) struct DiskPace {
    /// Something is not durable yet, and nothing has become durable since then.
    owes_since_ns: Option<u64>,
    /// How long it stood still in all, where that is over.
    stood_ns: u64,
    /// When it last went on.
    goes_since_ns: u64,
    /// Since when the request waits that is judged by, and how long the disk had stood when that was first looked at.
    judged: Option<(u64, u64)>,
}

impl DiskPace {
    /// Something became durable; `owes` says whether something else is not yet.
    pub(super) fn on_persisted(&mut self, now_ns: u64, owes: bool) {
        let stood_ns = self.stood_ns(now_ns);
        if stood_ns > self.stood_ns {
            (self.stood_ns, self.goes_since_ns) = (stood_ns, now_ns);
        }
        self.owes_since_ns = owes.then_some(now_ns);
    }

    /// A look in a duty cycle.
    pub(super) fn look(&mut self, now_ns: u64, owes: bool) {
        if owes {
            self.owes_since_ns.get_or_insert(now_ns);
        }
    }

    /// Since when it has not stood still.
    pub(super) fn goes_since_ns(&self) -> u64 {
        self.goes_since_ns
    }

    /// How long it stood still in all: what a write usually takes is not counted.
    fn stood_ns(&self, now_ns: u64) -> u64 {
        let still_ns = self.owes_since_ns.map_or(0, |since| now_ns.saturating_sub(since));
        self.stood_ns + still_ns.saturating_sub(DISK_SLOW_NS)
    }

    /// Since when something waits, as far as the primary can be blamed for it: since `since_ns`, less the time in which the disk stood still.
    pub(super) fn blamable_since_ns(&mut self, now_ns: u64, since_ns: u64) -> u64 {
        let stood_ns = self.stood_ns(now_ns);
        let (_, before_ns) = self.judged.filter(|judged| judged.0 == since_ns).unwrap_or((since_ns, stood_ns));
        self.judged = Some((since_ns, before_ns));
        (since_ns + stood_ns - before_ns).min(now_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn a_disk_that_keeps_up_excuses_nobody() {
        let mut pace = DiskPace::default();
        for at in (0..1000).step_by(10) {
            pace.look(at * MS, true);
            pace.on_persisted((at + 9) * MS, true);
            assert_eq!(pace.blamable_since_ns((at + 9) * MS, 3), 3);
        }
        pace.on_persisted(1000 * MS, false);
        pace.look(2000 * MS, false);
        assert_eq!(pace.blamable_since_ns(2000 * MS, 3), 3, "with nothing to do it does not stand still");
    }

    /// `protocol.md VC-8`
    #[test]
    fn while_it_stands_still_the_time_does_so_too() {
        let mut pace = DiskPace::default();
        pace.look(100 * MS, true);
        assert_eq!(pace.blamable_since_ns(100 * MS, 90 * MS), 90 * MS);
        let slow = DISK_SLOW_NS;
        assert_eq!(pace.blamable_since_ns(400 * MS, 90 * MS), 390 * MS - slow);
        pace.on_persisted(600 * MS, false);
        assert_eq!(pace.goes_since_ns(), 600 * MS);
        assert_eq!(pace.blamable_since_ns(900 * MS, 90 * MS), 590 * MS - slow, "and goes on afterwards");
        assert_eq!(pace.blamable_since_ns(900 * MS, 850 * MS), 850 * MS, "what waits since later has no part in it");
        pace.look(1000 * MS, true);
        assert_eq!(pace.blamable_since_ns(1500 * MS, 850 * MS), 1350 * MS - slow);
    }
}
