//! When to announce this process's keys to whom (`protocol.md AN-7`): at start and again, ever more slowly, until both
//! ends are settled; at once when an announcement asks for an answer or a packet came under keys that are not current.

use crate::limits::{ANNOUNCE_CHECK_NS, ANNOUNCE_CHECKS_BURST, ANNOUNCE_MAX_NS, ANNOUNCE_NS, ANNOUNCE_PACE_NS};

#[derive(Clone, Copy, Debug)]
struct Schedule {
    due_ns: u64,
    wait_ns: u64,
    sent_ns: Option<u64>,
}

/// The schedule of announcements to each peer, and the budget for checking theirs.
#[derive(Debug)]
pub(super) struct Introductions {
    schedules: Box<[Schedule]>,
    checks_left: u32,
    checks_filled_ns: u64,
}

impl Introductions {
    /// For so many peers; to those below `announced_to_first` announcements go out unasked, to the others in answer only.
    pub(super) fn new(peers: usize, announced_to_first: usize) -> Self {
        let due = |peer| if peer < announced_to_first { 0 } else { u64::MAX };
        let schedule = |peer| Schedule { due_ns: due(peer), wait_ns: ANNOUNCE_NS, sent_ns: None };
        Self { schedules: (0..peers).map(schedule).collect(), checks_left: ANNOUNCE_CHECKS_BURST, checks_filled_ns: 0 }
    }

    /// Whether the announcement to a peer is due.
    pub(super) fn is_due(&self, peer: usize, now_ns: u64) -> bool {
        self.schedules[peer].due_ns <= now_ns
    }

    /// It was sent; the next follows after a longer wait.
    pub(super) fn sent(&mut self, peer: usize, now_ns: u64) {
        let schedule = &mut self.schedules[peer];
        schedule.sent_ns = Some(now_ns);
        schedule.due_ns = now_ns + schedule.wait_ns;
        schedule.wait_ns = (schedule.wait_ns * 2).min(ANNOUNCE_MAX_NS);
    }

    /// One is wanted now; no sooner than the pace allows.
    pub(super) fn want(&mut self, peer: usize, now_ns: u64) {
        let schedule = &mut self.schedules[peer];
        let earliest = schedule.sent_ns.map_or(now_ns, |sent| now_ns.max(sent + ANNOUNCE_PACE_NS));
        schedule.due_ns = schedule.due_ns.min(earliest);
        schedule.wait_ns = ANNOUNCE_NS;
    }

    /// Nothing is left to announce until something is wanted.
    pub(super) fn rest(&mut self, peer: usize) {
        self.schedules[peer].due_ns = u64::MAX;
    }

    /// Whether one more signature may be checked now (`protocol.md AN-8`).
    pub(super) fn may_check(&mut self, now_ns: u64) -> bool {
        let earned = (now_ns.saturating_sub(self.checks_filled_ns) / ANNOUNCE_CHECK_NS).min(u64::from(u32::MAX)) as u32;
        if earned > 0 {
            self.checks_left = self.checks_left.saturating_add(earned).min(ANNOUNCE_CHECKS_BURST);
            self.checks_filled_ns = now_ns;
        }
        let may = self.checks_left > 0;
        self.checks_left -= u32::from(may);
        may
    }

    /// When the next announcement is due.
    pub(super) fn deadline_ns(&self) -> u64 {
        self.schedules.iter().map(|schedule| schedule.due_ns).min().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `protocol.md AN-7`
    #[test]
    fn announcements_slow_down_and_are_wanted_at_once() {
        let mut introductions = Introductions::new(3, 2);
        assert!(introductions.is_due(0, 0) && introductions.is_due(1, 0) && !introductions.is_due(2, u64::MAX - 1));
        let mut now = 0;
        let mut waits = Vec::new();
        for _ in 0..12 {
            introductions.sent(0, now);
            introductions.sent(1, now);
            waits.push(introductions.deadline_ns() - now);
            now = introductions.deadline_ns();
        }
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]));
        assert_eq!((waits[0], waits[11]), (ANNOUNCE_NS, ANNOUNCE_MAX_NS));
        introductions.sent(0, now);
        introductions.want(0, now);
        assert!(!introductions.is_due(0, now), "not faster than the pace");
        assert!(introductions.is_due(0, now + ANNOUNCE_PACE_NS));
        introductions.rest(0);
        assert!(!introductions.is_due(0, now + 1000 * ANNOUNCE_MAX_NS));
    }

    /// `protocol.md AN-8`
    #[test]
    fn signature_checks_are_bounded() {
        let mut introductions = Introductions::new(1, 1);
        let checked = (0..1000).filter(|_| introductions.may_check(0)).count();
        assert_eq!(checked, ANNOUNCE_CHECKS_BURST as usize);
        assert!(introductions.may_check(ANNOUNCE_CHECK_NS));
        assert!(!introductions.may_check(ANNOUNCE_CHECK_NS));
    }
}
