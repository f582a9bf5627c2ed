//! What one peer may make this replica send: every bound on answers is in this file (`protocol.md RB-9`).
//!
//! | asked by | answered with | at most |
//! | --- | --- | --- |
//! | status | votes, proposals, claims | 24 KiB in half a millisecond while it makes progress, else at doubling distances to 64 ms |
//! | status | view changes, new views | once in 10 ms while either gets on, else at doubling distances to 80 ms; 32 MB/s |
//! | query of a replica that recovers | what it may have promised: 40 bytes | once in half a millisecond |
//! | fetch | clients' packets, contents of batches | 128 KiB in 2 ms |
//! | query of the state | nodes, pages | 400 KiB a millisecond, each named in the query (`state/transfer/answer.rs`) |

use super::Reject;
use crate::limits::{
    FETCH_ANSWER_BYTES, FETCH_REFILL_NS, STATEMENT_NS_PER_1024_BYTES, STATEMENTS_ANSWER_DOUBLINGS,
    STATEMENTS_ANSWER_NS, STATUS_ANSWER_DOUBLINGS, STATUS_ANSWER_NS, STATUS_EAGER, STATUS_STUCK_MAX_NS,
};
use crate::numbers::{ReplicaSet, SequenceNumber, View};

/// How far a replica got: as long as that stays the same, what it was sent was of no use. A correct replica's grows, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reached {
    /// Its view.
    pub view: View,
    /// What it executed.
    pub executed: SequenceNumber,
    /// How far the number above it got, as [`Status::stage_of_next`](crate::wire::retransmission::Status::stage_of_next) says.
    pub stage: u8,
}

/// What a peer says of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Standpoint {
    /// How far it got.
    pub reached: Reached,
    /// Its stable checkpoint.
    pub stable: SequenceNumber,
}

impl Standpoint {
    /// The furthest of both, either by itself.
    fn furthest(self, other: Self) -> Self {
        Self { reached: self.reached.max(other.reached), stable: self.stable.max(other.stable) }
    }
}

/// How a view change stands between this replica and a peer that lacks something of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct ViewGap {
    /// The view that this replica is in or wants, and whether its new view is here.
    pub own: (View, bool),
    /// The highest view that the peer ever was in or wanted.
    pub view: View,
    /// The view changes for this replica's view that it ever said it has.
    pub has: ReplicaSet,
}

impl ViewGap {
    /// As it is `now`. What the peer says counts only as far as it goes beyond what it said before, until this replica gets on.
    fn narrowed(self, now: Self) -> Self {
        let before = if self.own == now.own { self.has } else { ReplicaSet::EMPTY };
        Self { own: now.own, view: self.view.max(now.view), has: ReplicaSet(before.0 | now.has.0) }
    }
}

/// Answers to a peer that asks again and again: at doubling distances, as what was sent it was of no use.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    answered_ns: Option<u64>,
    in_vain: u32,
}

impl Pace {
    /// What the peer lacks is not what it lacked before.
    fn begin_anew(&mut self) {
        self.in_vain = 0;
    }

    /// Whether it may be answered now, at distances from `shortest_ns` on that double after `eager` repetitions, and so often at most; counts as
    /// answered if so.
    fn may_answer(&mut self, (shortest_ns, eager, doublings): (u64, u32, u32), now_ns: u64) -> bool {
        let since_ns = self.answered_ns.map_or(u64::MAX, |answered_ns| now_ns.saturating_sub(answered_ns));
        // Who did not ask for long is not one that repeats itself.
        if since_ns >= STATUS_STUCK_MAX_NS {
            self.begin_anew();
        }
        let may = since_ns >= shortest_ns << self.in_vain.saturating_sub(1 + eager).min(doublings);
        if may {
            self.answered_ns = Some(now_ns);
            self.in_vain = self.in_vain.saturating_add(1);
        }
        may
    }
}

/// What may still be sent to one peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowances {
    recovery_answered_ns: Option<u64>,
    /// The furthest that it ever said it was.
    furthest: Standpoint,
    statuses: Pace,
    view_gap: ViewGap,
    statements: Pace,
    fetched_since_ns: u64,
    fetched_bytes: usize,
    statements_from_ns: u64,
}

impl Allowances {
    /// Whether a status may be answered now; counts as answered if so. Who repeats that it lacks the same is answered at doubling distances,
    /// which are shorter than those at which a correct replica repeats itself (`RT-1`).
    pub(super) fn may_answer(&mut self, standpoint: Standpoint, now_ns: u64) -> bool {
        let furthest = self.furthest.furthest(standpoint);
        if std::mem::replace(&mut self.furthest, furthest) != furthest {
            self.statuses.begin_anew();
        }
        self.statuses.may_answer((STATUS_ANSWER_NS, STATUS_EAGER, STATUS_ANSWER_DOUBLINGS), now_ns)
    }

    /// It started anew: what it said before was said by its former self.
    pub(super) fn begin_epoch(&mut self) {
        (self.furthest, self.view_gap) = (Standpoint::default(), ViewGap::default());
        self.statuses.begin_anew();
        self.statements.begin_anew();
    }

    /// Whether a query of its recovery may be answered now; counts as answered if so.
    pub(super) fn may_answer_recovery(&mut self, now_ns: u64) -> bool {
        let may = self.recovery_answered_ns.is_none_or(|answered| now_ns.saturating_sub(answered) >= STATUS_ANSWER_NS);
        if may {
            self.recovery_answered_ns = Some(now_ns);
        }
        may
    }

    /// Spends so many bytes of bodies that it is to be sent.
    ///
    /// # Errors
    /// It had its share for the time being.
    pub(super) fn spend_fetch(&mut self, now_ns: u64, bytes: usize) -> Result<(), Reject> {
        if now_ns.saturating_sub(self.fetched_since_ns) >= FETCH_REFILL_NS {
            (self.fetched_since_ns, self.fetched_bytes) = (now_ns, 0);
        }
        if self.fetched_bytes + bytes > FETCH_ANSWER_BYTES {
            return Err(Reject::RateLimited);
        }
        self.fetched_bytes += bytes;
        Ok(())
    }

    /// Whether it may be sent the statements that it lacks now; counts as sent if so. As for statuses, who repeats itself waits longer.
    pub(super) fn may_send_statements(&mut self, gap: ViewGap, now_ns: u64) -> bool {
        let gap = self.view_gap.narrowed(gap);
        if std::mem::replace(&mut self.view_gap, gap) != gap {
            self.statements.begin_anew();
        }
        let pace = (STATEMENTS_ANSWER_NS, 0, STATEMENTS_ANSWER_DOUBLINGS);
        now_ns >= self.statements_from_ns && self.statements.may_answer(pace, now_ns)
    }

    /// It was sent a statement of so many bytes.
    pub(super) fn statement_spent(&mut self, bytes: usize, now_ns: u64) {
        self.statements_from_ns =
            self.statements_from_ns.max(now_ns) + bytes as u64 * STATEMENT_NS_PER_1024_BYTES / 1024;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::{STATUS_ANSWER_BYTES, STATUS_IDLE_NS, STATUS_STUCK_MIN_NS};

    const SECOND: u64 = 1_000_000_000;

    fn at(executed: u64) -> Standpoint {
        let reached = Reached { executed: SequenceNumber(executed), ..Reached::default() };
        Standpoint { reached, ..Standpoint::default() }
    }

    /// `protocol.md RB-9`: a hostile peer that repeats its status as fast as it can.
    #[test]
    fn a_status_that_is_repeated_is_answered_ever_more_slowly() {
        let mut allowances = Allowances::default();
        let answers = |allowances: &mut Allowances, of: fn(u64) -> Standpoint| {
            (0..SECOND).step_by(10_000).filter(|now| allowances.may_answer(of(*now), *now)).count()
        };
        let repeated = answers(&mut allowances, |_| at(7));
        assert!(repeated * STATUS_ANSWER_BYTES <= 700 * 1024, "{repeated} answers in a second");
        // A correct replica that is stuck repeats itself less often than it is answered, also after a time in which nothing went on.
        let mut idle = Allowances::default();
        assert!((0..8).all(|heartbeat| idle.may_answer(at(7), heartbeat * STATUS_IDLE_NS)));
        let stuck_ns = 8 * STATUS_IDLE_NS;
        let repeats = (0..14).scan(stuck_ns, |now_ns, sent| {
            *now_ns += (STATUS_STUCK_MIN_NS << u32::saturating_sub(sent, STATUS_EAGER)).min(STATUS_STUCK_MAX_NS);
            Some(*now_ns)
        });
        assert!(repeats.into_iter().all(|now_ns| idle.may_answer(at(7), now_ns)));
        // To go back and forth is no progress.
        assert!(answers(&mut Allowances::default(), |now| at(now / 10_000 % 2)) <= repeated + 2);
        // Nor is to pause now and then, so as to begin anew.
        let mut pausing = Allowances::default();
        let asks = (0..SECOND).step_by(100_000).filter(|now| now % 230_000_000 < 130_000_000);
        let answered = asks.filter(|now| pausing.may_answer(at(7), *now)).count();
        assert!(answered * STATUS_ANSWER_BYTES <= 1536 * 1024, "{answered} answers in a second");
        // A restart is a new beginning: what the former self had executed is lacking again.
        let mut restarted = Allowances::default();
        answers(&mut restarted, |_| at(7));
        restarted.begin_epoch();
        assert!((1..8).all(|number| restarted.may_answer(at(number), SECOND + number * STATUS_ANSWER_NS)));
        // Nothing is lacking any more, and then something is: answered at once.
        assert!(allowances.may_answer(at(8), SECOND) && allowances.may_answer(at(8), SECOND + STATUS_ANSWER_NS));
        let progress = answers(&mut Allowances::default(), at);
        assert_eq!(progress, (SECOND / STATUS_ANSWER_NS) as usize, "and never more often than that");
    }

    /// `protocol.md RB-9`
    #[test]
    fn statements_have_a_pace_and_a_rate() {
        let mut allowances = Allowances::default();
        let (mut bytes, size) = (0u64, 400_000);
        let gap = |now_ns: u64| ViewGap { view: View(now_ns), ..ViewGap::default() };
        for now_ns in (0..SECOND).step_by(100_000) {
            if allowances.may_send_statements(gap(now_ns), now_ns) {
                allowances.statement_spent(size, now_ns);
                bytes += size as u64;
            }
        }
        let rate = SECOND * 1024 / STATEMENT_NS_PER_1024_BYTES;
        assert!((rate / 2..=rate + size as u64).contains(&bytes), "{bytes} of {rate}");
        let mut small = Allowances::default();
        let sent = |allowances: &mut Allowances, gap: &dyn Fn(u64) -> ViewGap| {
            (0..SECOND).step_by(100_000).filter(|now| allowances.may_send_statements(gap(*now), *now)).count() as u64
        };
        assert_eq!(sent(&mut small, &gap), SECOND / STATEMENTS_ANSWER_NS);
        // Who repeats itself, or goes back and forth, is sent the same ever more slowly.
        let repeats = sent(&mut Allowances::default(), &|_| gap(7));
        assert!(repeats <= 16, "{repeats}");
        let has = |now_ns: u64| ViewGap { has: ReplicaSet(1 << (now_ns / 100_000 % 4)), ..gap(now_ns % 2) };
        let changes = sent(&mut Allowances::default(), &has);
        assert!(changes <= repeats + 2, "{changes}");
        // What this replica has anew is sent at once.
        let gets_on = |now_ns: u64| ViewGap { own: (View(now_ns / STATEMENTS_ANSWER_NS), false), ..gap(7) };
        assert_eq!(sent(&mut Allowances::default(), &gets_on), SECOND / STATEMENTS_ANSWER_NS);
    }

    /// `protocol.md RB-9`: nor does what it asks as it recovers wait for what it was answered otherwise.
    #[test]
    fn queries_of_who_recovers_are_answered_once_a_millisecond() {
        let mut allowances = Allowances::default();
        assert!(allowances.may_answer(at(0), SECOND));
        let answered = (SECOND..2 * SECOND).step_by(10_000).filter(|now| allowances.may_answer_recovery(*now)).count();
        assert_eq!(answered as u64, SECOND / STATUS_ANSWER_NS);
    }

    /// `protocol.md RB-9`
    #[test]
    fn bodies_are_bounded_in_bytes() {
        let mut allowances = Allowances::default();
        let mut sent = 0;
        for now_ns in (SECOND..SECOND + FETCH_REFILL_NS * 10).step_by(1_000) {
            if allowances.spend_fetch(now_ns, 60_000).is_ok() {
                sent += 60_000;
            }
        }
        assert!((9 * FETCH_ANSWER_BYTES / 2..=10 * FETCH_ANSWER_BYTES).contains(&sent), "{sent}");
    }
}
