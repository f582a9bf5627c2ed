//! When to announce this process's keys to whom (`protocol.md AN-7`): at start and again, ever more slowly, until both
//! ends are settled; at once when an announcement asks for an answer or a packet came under keys that are not current.

use crate::limits::{
    ANNOUNCE_CHECK_NS, ANNOUNCE_CHECKS_BURST, ANNOUNCE_ECHO_CHECK_NS, ANNOUNCE_ECHO_CHECKS_BURST, ANNOUNCE_MAX_NS,
    ANNOUNCE_NAME_CHECK_NS, ANNOUNCE_NAME_CHECKS_BURST, ANNOUNCE_NS, ANNOUNCE_PACE_NS,
};

#[derive(Clone, Copy, Debug)]
struct Schedule {
    due_ns: u64,
    wait_ns: u64,
    sent_ns: Option<u64>,
    /// Its share of the common budget.
    name: Budget<ANNOUNCE_NAME_CHECK_NS, ANNOUNCE_NAME_CHECKS_BURST>,
    /// Its own, for announcements that echo the open challenge.
    echo: Budget<ANNOUNCE_ECHO_CHECK_NS, ANNOUNCE_ECHO_CHECKS_BURST>,
}

/// `BURST` at once, and one more every `INTERVAL_NS`.
#[derive(Clone, Copy, Debug)]
struct Budget<const INTERVAL_NS: u64, const BURST: u32> {
    left: u32,
    filled_ns: u64,
}

impl<const INTERVAL_NS: u64, const BURST: u32> Budget<INTERVAL_NS, BURST> {
    const FULL: Self = Self { left: BURST, filled_ns: 0 };

    /// Whether there is something left now.
    fn has(&mut self, now_ns: u64) -> bool {
        let earned = now_ns.saturating_sub(self.filled_ns) / INTERVAL_NS;
        self.filled_ns += earned * INTERVAL_NS;
        self.left = self.left.saturating_add(u32::try_from(earned).unwrap_or(u32::MAX)).min(BURST);
        self.left > 0
    }

    /// Takes one.
    fn spend(&mut self) {
        self.left -= 1;
    }
}

/// The schedule of announcements to each peer, and the budgets for checking theirs.
#[derive(Debug)]
pub(super) struct Introductions {
    schedules: Box<[Schedule]>,
    common: Budget<ANNOUNCE_CHECK_NS, ANNOUNCE_CHECKS_BURST>,
}

impl Introductions {
    /// For so many peers; to those below `announced_to_first` announcements go out unasked, to the others in answer only.
    pub(super) fn new(peers: usize, announced_to_first: usize) -> Self {
        let due = |peer| if peer < announced_to_first { 0 } else { u64::MAX };
        let schedule = |peer| Schedule {
            due_ns: due(peer),
            wait_ns: ANNOUNCE_NS,
            sent_ns: None,
            name: Budget::FULL,
            echo: Budget::FULL,
        };
        Self { schedules: (0..peers).map(schedule).collect(), common: Budget::FULL }
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

    /// One is wanted although nothing is proven: no sooner than the first repetition would be.
    pub(super) fn want_slowly(&mut self, peer: usize, now_ns: u64) {
        let schedule = &mut self.schedules[peer];
        let earliest = schedule.sent_ns.map_or(now_ns, |sent| now_ns.max(sent + ANNOUNCE_NS));
        schedule.due_ns = schedule.due_ns.min(earliest);
    }

    /// Whether one more signature in the name of a peer may be checked now (`protocol.md AN-8`); `echoes` says whether the announcement
    /// echoes the open challenge to that peer.
    pub(super) fn may_check(&mut self, peer: usize, echoes: bool, now_ns: u64) -> bool {
        let schedule = &mut self.schedules[peer];
        // The name's share first: what is refused by it leaves the common budget to the others.
        if schedule.name.has(now_ns) && self.common.has(now_ns) {
            schedule.name.spend();
            self.common.spend();
            return true;
        }
        let may = echoes && schedule.echo.has(now_ns);
        if may {
            schedule.echo.spend();
        }
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
    fn a_flood_in_one_name_starves_no_other() {
        let mut introductions = Introductions::new(20, 4);
        let mut checked = 0;
        for now_ns in (0..1_000_000_000).step_by(10_000) {
            checked += u32::from(introductions.may_check(3, false, now_ns));
            // Once in a while somebody else restarts.
            if now_ns % 100_000_000 == 0 {
                assert!(introductions.may_check(2, false, now_ns) && introductions.may_check(17, false, now_ns));
            }
        }
        assert!((50..=58).contains(&checked), "{checked} checks of 100000 in one name");
    }

    /// `protocol.md AN-8`
    #[test]
    fn a_flood_in_all_names_leaves_the_reserve_for_echoes() {
        let mut introductions = Introductions::new(200, 4);
        let mut checked = 0;
        for now_ns in (0..1_000_000_000).step_by(10_000) {
            for peer in (now_ns as usize / 10_000 % 2..200).step_by(2) {
                checked += u32::from(introductions.may_check(peer, false, now_ns));
            }
            if now_ns % 250_000_000 == 0 {
                assert!((0..200).all(|peer| introductions.may_check(peer, true, now_ns)), "every handshake goes on");
            }
        }
        assert!(checked <= 1000 + ANNOUNCE_CHECKS_BURST, "{checked}");
        // Whoever reads the challenges on their way may use up the reserve, and no more than that.
        let echoing = (0..10_000).filter(|_| introductions.may_check(5, true, 1_000_000_000)).count();
        assert!(echoing <= (ANNOUNCE_NAME_CHECKS_BURST + ANNOUNCE_ECHO_CHECKS_BURST) as usize);
    }

    /// `protocol.md AN-8`
    #[test]
    fn a_name_whose_announcements_go_unchecked_is_called_after_slowly() {
        let mut introductions = Introductions::new(1, 1);
        introductions.sent(0, 1000);
        introductions.rest(0);
        introductions.want_slowly(0, 1001);
        assert_eq!(introductions.deadline_ns(), 1000 + ANNOUNCE_NS);
    }
}
