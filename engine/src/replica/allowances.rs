//! What one peer may make this replica send: every bound on answers is in this file (`protocol.md RB-9`).
//!
//! | asked by | answered with | at most |
//! | --- | --- | --- |
//! | status | votes, proposals, claims | 24 KiB a millisecond while it makes progress, else at doubling distances to 64 ms |
//! | status | view changes, new views | once in 10 ms, and 32 MB/s |
//! | query of a replica that recovers | what it may have promised: 40 bytes | once a millisecond |
//! | fetch | clients' packets, contents of batches | 128 KiB in 2 ms |
//! | query of the state | nodes, pages | 400 KiB a millisecond, each named in the query (`state/transfer/answer.rs`) |

use super::Reject;
use crate::limits::{
    FETCH_ANSWER_BYTES, FETCH_REFILL_NS, STATEMENT_NS_PER_1024_BYTES, STATEMENTS_ANSWER_NS, STATUS_ANSWER_DOUBLINGS,
    STATUS_ANSWER_NS, STATUS_STUCK_MAX_NS,
};
use crate::numbers::{SequenceNumber, View};

/// What a peer says of itself: as long as it stays the same, what was sent it was of no use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Standpoint {
    /// Its view.
    pub view: View,
    /// Its stable checkpoint.
    pub stable: SequenceNumber,
    /// What it executed.
    pub executed: SequenceNumber,
}

impl Standpoint {
    /// The furthest of both, each number by itself.
    fn furthest(self, other: Self) -> Self {
        Self {
            view: self.view.max(other.view),
            stable: self.stable.max(other.stable),
            executed: self.executed.max(other.executed),
        }
    }
}

/// What may still be sent to one peer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowances {
    recovery_answered_ns: Option<u64>,
    answered_ns: Option<u64>,
    /// The furthest that it ever said it was.
    furthest: Standpoint,
    /// How often it was answered since.
    in_vain: u32,
    fetched_since_ns: u64,
    fetched_bytes: usize,
    statements_from_ns: u64,
}

impl Allowances {
    /// Whether a status may be answered now; counts as answered if so. Who repeats that it lacks the same is answered at doubling distances,
    /// which are shorter than those at which a correct replica repeats itself (`RT-1`).
    pub(super) fn may_answer(&mut self, standpoint: Standpoint, now_ns: u64) -> bool {
        let furthest = self.furthest.furthest(standpoint);
        if furthest != self.furthest {
            (self.furthest, self.in_vain) = (furthest, 0);
        }
        // Who did not ask for long is not one that repeats itself.
        if self.answered_ns.is_none_or(|answered| now_ns.saturating_sub(answered) >= STATUS_STUCK_MAX_NS) {
            self.in_vain = 0;
        }
        let pace_ns = STATUS_ANSWER_NS << self.in_vain.saturating_sub(1).min(STATUS_ANSWER_DOUBLINGS);
        let may = self.answered_ns.is_none_or(|answered| now_ns.saturating_sub(answered) >= pace_ns);
        if may {
            self.answered_ns = Some(now_ns);
            self.in_vain = self.in_vain.saturating_add(1);
        }
        may
    }

    /// It started anew: what it said before was said by its former self.
    pub(super) fn begin_epoch(&mut self) {
        (self.furthest, self.in_vain) = (Standpoint::default(), 0);
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

    /// Whether it may be sent statements now; counts as sent if so.
    pub(super) fn may_send_statements(&mut self, now_ns: u64) -> bool {
        let may = now_ns >= self.statements_from_ns;
        if may {
            self.statements_from_ns = now_ns + STATEMENTS_ANSWER_NS;
        }
        may
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
    use crate::limits::{STATUS_ANSWER_BYTES, STATUS_IDLE_NS, STATUS_STUCK_NS};

    const SECOND: u64 = 1_000_000_000;

    fn at(executed: u64) -> Standpoint {
        Standpoint { executed: SequenceNumber(executed), ..Standpoint::default() }
    }

    /// `protocol.md RB-9`: a hostile peer that repeats its status as fast as it can.
    #[test]
    fn a_status_that_is_repeated_is_answered_ever_more_slowly() {
        let mut allowances = Allowances::default();
        let answers = |allowances: &mut Allowances, of: fn(u64) -> Standpoint| {
            (0..SECOND).step_by(10_000).filter(|now| allowances.may_answer(of(*now), *now)).count()
        };
        let repeated = answers(&mut allowances, |_| at(7));
        assert!(repeated * STATUS_ANSWER_BYTES <= 600 * 1024, "{repeated} answers in a second");
        // A correct replica that is stuck repeats itself less often than it is answered, also after a time in which nothing went on.
        let mut idle = Allowances::default();
        assert!((0..8).all(|heartbeat| idle.may_answer(at(7), heartbeat * STATUS_IDLE_NS)));
        let stuck_ns = 8 * STATUS_IDLE_NS;
        let repeats = (0..12).scan(stuck_ns, |now_ns, sent| {
            *now_ns += (STATUS_STUCK_NS << sent).min(STATUS_STUCK_MAX_NS);
            Some(*now_ns)
        });
        assert!(repeats.into_iter().all(|now_ns| idle.may_answer(at(7), now_ns)));
        // To go back and forth is no progress.
        assert!(answers(&mut Allowances::default(), |now| at(now / 10_000 % 2)) <= repeated + 2);
        // Nor is to pause now and then, so as to begin anew.
        let mut pausing = Allowances::default();
        let asks = (0..SECOND).step_by(100_000).filter(|now| now % 230_000_000 < 130_000_000);
        let answered = asks.filter(|now| pausing.may_answer(at(7), *now)).count();
        assert!(answered * STATUS_ANSWER_BYTES <= 1 << 20, "{answered} answers in a second");
        // A restart is a new beginning: what the former self had executed is lacking again.
        let mut restarted = Allowances::default();
        answers(&mut restarted, |_| at(7));
        restarted.begin_epoch();
        assert!((1..8).all(|number| restarted.may_answer(at(number), SECOND + number * STATUS_ANSWER_NS)));
        // Nothing is lacking any more, and then something is: answered at once.
        assert!(allowances.may_answer(at(8), SECOND) && allowances.may_answer(at(8), SECOND + STATUS_ANSWER_NS));
        let progress = answers(&mut Allowances::default(), at);
        assert_eq!(progress, (SECOND / STATUS_ANSWER_NS) as usize, "and never more often than once a millisecond");
    }

    /// `protocol.md RB-9`
    #[test]
    fn statements_have_a_pace_and_a_rate() {
        let mut allowances = Allowances::default();
        let (mut bytes, size) = (0u64, 400_000);
        for now_ns in (0..SECOND).step_by(100_000) {
            if allowances.may_send_statements(now_ns) {
                allowances.statement_spent(size, now_ns);
                bytes += size as u64;
            }
        }
        let rate = SECOND * 1024 / STATEMENT_NS_PER_1024_BYTES;
        assert!((rate / 2..=rate + size as u64).contains(&bytes), "{bytes} of {rate}");
        let mut small = Allowances::default();
        let sent = (0..SECOND).step_by(100_000).filter(|now| small.may_send_statements(*now)).count() as u64;
        assert_eq!(sent, SECOND / STATEMENTS_ANSWER_NS);
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
