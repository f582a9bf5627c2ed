//! Time in which disks stood still: whoever waits for those that cannot vote learns nothing about the primary from it (`protocol.md VC-8`). Where
//! replicas share a disk, or a host, it stands still for all of them.

use crate::limits::DISK_SLOW_NS;

/// How the disks keep up with what they are given.
#[derive(Clone, Debug, Default)]
pub(super) struct DiskPace {
    /// Something is not durable here yet, and nothing has become durable since then.
    owes_since_ns: Option<u64>,
    /// Whether the own disk stood still at the last look.
    own_stands: bool,
    /// Whether so many others say so of theirs that no quorum is left.
    others_stand: bool,
    /// Since when one or the other is so.
    stands_since_ns: Option<u64>,
    /// How long it was so in all, where that is over.
    stood_ns: u64,
    /// Since when it is not.
    goes_since_ns: u64,
    /// Since when the request waits that is judged by, and how long disks had stood when that was first looked at.
    judged: Option<(u64, u64)>,
}

impl DiskPace {
    /// Something became durable; `owes` says whether something else is not yet.
    pub(super) fn on_persisted(&mut self, now_ns: u64, owes: bool) {
        self.note(now_ns);
        self.owes_since_ns = owes.then_some(now_ns);
        self.note(now_ns);
    }

    /// A look in a duty cycle: whether something is not durable yet, and whether more than `f` others say that their disks stand still. Returns whether what
    /// is so of the own disk is new.
    pub(super) fn look(&mut self, now_ns: u64, owes: bool, others_stand: bool) -> bool {
        if owes {
            self.owes_since_ns.get_or_insert(now_ns);
        }
        self.others_stand = others_stand;
        self.note(now_ns);
        let stands = self.own_stands_since_ns(now_ns).is_some();
        std::mem::replace(&mut self.own_stands, stands) != stands
    }

    /// Whether the own disk stood still at the last look.
    pub(super) fn own_stands(&self) -> bool {
        self.own_stands
    }

    /// When to look again.
    pub(super) fn due_ns(&self) -> u64 {
        self.owes_since_ns.filter(|_| !self.own_stands).map_or(u64::MAX, |since_ns| since_ns + DISK_SLOW_NS)
    }

    /// What a write usually takes is not counted.
    fn own_stands_since_ns(&self, now_ns: u64) -> Option<u64> {
        self.owes_since_ns.map(|since_ns| since_ns + DISK_SLOW_NS).filter(|since_ns| *since_ns <= now_ns)
    }

    fn note(&mut self, now_ns: u64) {
        let since_ns = self.own_stands_since_ns(now_ns).or(self.others_stand.then_some(now_ns));
        match since_ns {
            Some(since_ns) => {
                self.stands_since_ns.get_or_insert(since_ns.max(self.goes_since_ns));
            }
            None => {
                if let Some(stood_since_ns) = self.stands_since_ns.take() {
                    (self.stood_ns, self.goes_since_ns) = (self.stood_ns + now_ns - stood_since_ns, now_ns);
                }
            }
        }
    }

    /// Since when none has stood still; what has to be waited for still is over now at the earliest.
    pub(super) fn goes_since_ns(&self, now_ns: u64) -> u64 {
        self.stands_since_ns.map_or(self.goes_since_ns, |_| now_ns)
    }

    /// Since when something waits, as far as the primary can be blamed for it: since `since_ns`, less the time in which disks stood still.
    pub(super) fn blamable_since_ns(&mut self, now_ns: u64, since_ns: u64) -> u64 {
        self.note(now_ns);
        let stood_ns = self.stood_ns + self.stands_since_ns.map_or(0, |since_ns| now_ns - since_ns);
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
    fn disks_that_keep_up_excuse_nobody() {
        let mut pace = DiskPace::default();
        for at in (0..1000).step_by(10) {
            assert!(!pace.look(at * MS, true, false));
            assert!(pace.due_ns() > at * MS && pace.due_ns() <= at * MS + DISK_SLOW_NS);
            pace.on_persisted((at + 9) * MS, true);
            assert_eq!(pace.blamable_since_ns((at + 9) * MS, 3), 3);
        }
        pace.on_persisted(1000 * MS, false);
        pace.look(2000 * MS, false, false);
        assert_eq!(pace.blamable_since_ns(2000 * MS, 3), 3, "with nothing to do it does not stand still");
        assert!(!pace.own_stands() && pace.due_ns() == u64::MAX);
    }

    /// `protocol.md VC-8`
    #[test]
    fn while_the_own_disk_stands_still_the_time_does_so_too() {
        let mut pace = DiskPace::default();
        pace.look(100 * MS, true, false);
        assert_eq!(pace.blamable_since_ns(100 * MS, 90 * MS), 90 * MS);
        let slow = DISK_SLOW_NS;
        assert_eq!(pace.blamable_since_ns(400 * MS, 90 * MS), 390 * MS - slow);
        pace.on_persisted(600 * MS, false);
        assert_eq!(pace.goes_since_ns(610 * MS), 600 * MS);
        assert_eq!(pace.blamable_since_ns(900 * MS, 90 * MS), 590 * MS - slow, "and goes on afterwards");
        assert_eq!(pace.blamable_since_ns(900 * MS, 850 * MS), 850 * MS, "what waits since later has no part in it");
        assert!(!pace.look(1000 * MS, true, false));
        assert!(pace.look(1100 * MS, true, false) && pace.own_stands(), "the others are told once");
        assert!(!pace.look(1200 * MS, true, false));
        assert_eq!(pace.blamable_since_ns(1500 * MS, 850 * MS), 1350 * MS - slow);
        pace.on_persisted(1500 * MS, true);
        assert!(pace.look(1500 * MS, true, false) && !pace.own_stands());
    }

    /// `protocol.md VC-8`
    #[test]
    fn while_the_disks_of_others_stand_still_the_time_does_so_too() {
        let mut pace = DiskPace::default();
        pace.look(100 * MS, false, true);
        assert!(!pace.own_stands(), "that is said of the own disk only");
        assert_eq!(pace.blamable_since_ns(100 * MS, 90 * MS), 90 * MS);
        assert_eq!(pace.blamable_since_ns(300 * MS, 90 * MS), 290 * MS);
        // No time counts twice.
        pace.look(300 * MS, true, true);
        assert_eq!(pace.blamable_since_ns(500 * MS, 90 * MS), 490 * MS);
        pace.look(600 * MS, true, false);
        assert_eq!(pace.goes_since_ns(610 * MS), 610 * MS, "what is executed meanwhile did not wait for the primary");
        assert_eq!(pace.blamable_since_ns(700 * MS, 90 * MS), 690 * MS, "now the own one does");
        pace.on_persisted(700 * MS, false);
        assert_eq!((pace.goes_since_ns(900 * MS), pace.blamable_since_ns(900 * MS, 90 * MS)), (700 * MS, 690 * MS));
    }
}
