//! What a primary owes: goodput (`protocol.md RB-6`, after Aardvark section 4.2) and fairness (`RB-7`).
//!
//! A backup measures, an interval after the other, how much was executed, and for how much of the time it was the primary that everybody waited
//! for: requests wait here, and everything that was ever proposed is executed. An interval speaks against the primary only if all of that holds:
//!
//! ```text
//!   a request waited nearly all the time    there was enough work
//!   half of the time nothing was proposed   the primary is the bottleneck, not the network, a backup or the service
//!   this replica had its own time           on a host that is short of cores nobody can tell who is slow
//!   less was executed than the bar          the primary did better before
//! ```
//!
//! and only several such intervals in a row are a complaint. It is better to bear a mildly slow primary than to replace a good one.

use super::clients::Admission;
use super::largest::Largest;
use super::{Now, Replica};
use crate::limits::{
    BAR_BEST_NS, BAR_GRACE_DOUBLINGS, BAR_GRACE_NS, BAR_INTERVAL_NS, BAR_INTERVALS, BAR_LATE_NS, BAR_LOOK_NS,
    BAR_PERCENT_FIRST, BAR_PERCENT_LAST, BAR_REQUEST_BYTES, BAR_REST_PARTS, FAIR_BATCHES,
};
use crate::numbers::SequenceNumber;
use crate::planted::{self, Bug};
use crate::wire::request::RequestName;
use logothete_crypto::Digest;

/// How the replica found things when it looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// Nothing waits.
    Rests,
    /// Something is being agreed on, or somebody else than the primary holds it up.
    Works,
    /// A request waits, and nothing is proposed.
    Waits,
}

/// What the present primary achieves.
#[derive(Clone, Debug)]
pub(super) struct Goodput {
    interval_since_ns: u64,
    /// What was executed in this interval.
    work: u64,
    /// How the last look was, and when.
    look: Look,
    looked_ns: u64,
    /// For how long nothing waited in this interval, and for how long a request waited for the primary.
    rested_ns: u64,
    waited_ns: u64,
    /// The time of this interval that this replica was not given although it wanted to look.
    late_ns: u64,
    /// The most that was executed in an interval.
    best: Largest,
    percent: u64,
    judged_from_ns: u64,
    grace_doublings: u32,
    slow_intervals: u32,
    watched: Option<Watched>,
}

/// A request that was forwarded, and waits all the same.
#[derive(Clone, Debug)]
struct Watched {
    name: RequestName,
    /// What came here later than this, and is served before it, speaks against the primary.
    from_ns: u64,
    /// The last batch that served such a request, and how many did.
    last: SequenceNumber,
    batches: u32,
}

impl Goodput {
    /// Nothing is known of the primary yet.
    pub(super) fn new() -> Self {
        Self {
            interval_since_ns: 0,
            work: 0,
            look: Look::Rests,
            looked_ns: 0,
            rested_ns: 0,
            waited_ns: 0,
            late_ns: 0,
            best: Largest::over(BAR_BEST_NS),
            percent: BAR_PERCENT_FIRST,
            judged_from_ns: BAR_GRACE_NS,
            grace_doublings: 0,
            slow_intervals: 0,
            watched: None,
        }
    }

    /// A view begins: its primary has its own time.
    pub(super) fn begin_view(&mut self, now_ns: u64) {
        if self.complains() {
            // Should the next one be no better, the bar asks for what nobody can give.
            self.grace_doublings = (self.grace_doublings + 1).min(BAR_GRACE_DOUBLINGS);
        }
        self.begin_interval(now_ns);
        self.percent = BAR_PERCENT_FIRST;
        self.judged_from_ns = now_ns + (BAR_GRACE_NS << self.grace_doublings);
        self.slow_intervals = 0;
        self.watched = None;
    }

    fn begin_interval(&mut self, now_ns: u64) {
        self.interval_since_ns = now_ns;
        (self.work, self.rested_ns, self.waited_ns, self.late_ns) = (0, 0, 0, 0);
        (self.look, self.looked_ns) = (Look::Works, now_ns);
    }

    /// A look at how things stand, in each duty cycle.
    pub(super) fn look(&mut self, now_ns: u64, look: Look) {
        let since_ns = now_ns.saturating_sub(self.looked_ns);
        match self.look {
            Look::Rests => self.rested_ns += since_ns,
            Look::Works => {}
            Look::Waits => {
                self.waited_ns += since_ns;
                let late_ns = since_ns.saturating_sub(BAR_LOOK_NS);
                self.late_ns += if late_ns > BAR_LATE_NS { late_ns } else { 0 };
            }
        }
        (self.look, self.looked_ns) = (look, now_ns);
        if now_ns.saturating_sub(self.interval_since_ns) >= BAR_INTERVAL_NS {
            self.end_interval(now_ns);
        }
    }

    fn end_interval(&mut self, now_ns: u64) {
        let elapsed_ns = now_ns - self.interval_since_ns;
        let work = (u128::from(self.work) * u128::from(BAR_INTERVAL_NS) / u128::from(elapsed_ns)) as u64;
        let bar = self.best.figure() / 100 * self.percent;
        let counts = self.rested_ns * BAR_REST_PARTS < elapsed_ns
            && self.judged_from_ns <= self.interval_since_ns
            && self.late_ns * 20 < elapsed_ns
            && elapsed_ns < 2 * BAR_INTERVAL_NS;
        if counts && self.waited_ns * 2 > elapsed_ns && work < bar {
            self.slow_intervals += 1;
        } else {
            self.slow_intervals = 0;
            if counts {
                self.percent = (self.percent + 1).min(BAR_PERCENT_LAST);
                self.grace_doublings = 0;
            }
        }
        self.best.learn(now_ns, work);
        let look = self.look;
        self.begin_interval(now_ns);
        self.look = look;
    }

    /// Whether this replica complains of the primary.
    pub(super) fn complains(&self) -> bool {
        self.slow_intervals >= BAR_INTERVALS || self.watched.as_ref().is_some_and(|held| held.batches >= FAIR_BATCHES)
    }

    /// When to look again: while it waits for the primary, it looks often enough to notice whether it gets its own time.
    pub(super) fn deadline_ns(&self) -> u64 {
        if self.look == Look::Waits { self.looked_ns + BAR_LOOK_NS } else { u64::MAX }
    }

    /// A request was forwarded to the primary, which has had time to serve it at `from_ns`.
    pub(super) fn on_forwarded(&mut self, name: RequestName, from_ns: u64) {
        if self.watched.as_ref().is_none_or(|held| held.name != name) {
            self.watched = Some(Watched { name, from_ns, last: SequenceNumber(0), batches: 0 });
        }
    }

    /// A request was served, in a batch; its body is so long and came here at a time.
    fn on_served(&mut self, sequence: SequenceNumber, name: RequestName, bytes: usize, arrived_ns: u64) {
        self.work += (BAR_REQUEST_BYTES + bytes) as u64;
        self.watched.take_if(|held| held.name == name);
        if let Some(held) = &mut self.watched
            && held.name.client != name.client
            && arrived_ns > held.from_ns
            && sequence > held.last
        {
            held.last = sequence;
            held.batches += 1;
        }
    }
}

impl Replica {
    /// Looks at what the primary achieves, now that a request waits here or none does; whether this replica complains of it.
    pub(super) fn judge_primary(&mut self, now: Now, waits: bool) -> bool {
        if self.is_primary() || !self.active || self.is_silent() {
            return false;
        }
        let look = self.look_at_work(now, waits);
        self.goodput.look(now.monotonic_ns, look);
        self.goodput.watched.take_if(|held| {
            let admission = self.clients.admission(held.name, &self.bodies);
            !matches!(admission, Admission::Waits(_))
        });
        let disputed = planted::is(Bug::DisputeSuspects) && self.disputes.convicted(self.view, 1).next().is_some();
        self.goodput.complains() || self.is_refusing() || disputed
    }

    /// Whether the primary achieves less than it owes (`RB-6`, `RB-7`), as far as this replica can tell.
    pub fn misses_goodput(&self) -> bool {
        self.goodput.complains()
    }

    /// Whether what the primary proposed next is never accepted in this view, and nothing else decided it either (`RB-8`).
    pub(super) fn is_refusing(&self) -> bool {
        let next = self.accepted.next();
        next > self.executed && self.log.slot(next).is_some_and(|slot| slot.refused)
    }

    /// When to look again.
    pub(super) fn goodput_due_ns(&self) -> u64 {
        if self.is_primary() || !self.active { u64::MAX } else { self.goodput.deadline_ns() }
    }

    fn look_at_work(&self, now: Now, waits: bool) -> Look {
        if self.highest_seen > self.executed {
            return Look::Works;
        }
        if !waits {
            return Look::Rests;
        }
        let next = self.executed.next();
        // The primary waits itself: for a checkpoint, or for a backup that is a window behind (`BP-1`).
        let window = self.log.window();
        let beyond_help = SequenceNumber(self.executed.0.saturating_sub(window));
        let slowest = self.peers.slowest(self.executed, beyond_help, self.entered_ns, now.monotonic_ns);
        let held_back = slowest.is_some_and(|slowest| next.0 >= slowest.0.saturating_add(window));
        if !self.log.in_window(next) || self.checkpoints.is_taking() || held_back { Look::Works } else { Look::Waits }
    }

    /// A batch goes to execution: what it serves counts.
    pub(super) fn note_served(&mut self, sequence: SequenceNumber, digest: &Digest) {
        let batch = self.log.slot(sequence).and_then(|slot| slot.batch(digest)).expect("it is executed");
        for (entry, body) in batch.entries.iter().zip(&batch.bodies) {
            let Some(body) = *body else { continue };
            let (bytes, arrived_ns) = (self.bodies.message(body).len(), self.bodies.arrived_ns(body));
            self.goodput.on_served(sequence, entry.name(), bytes, arrived_ns);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::FAIR_AFTER_NS;
    use crate::numbers::{ClientId, Incarnation, RequestNumber};

    const MS: u64 = 1_000_000;

    fn name(client: u16) -> RequestName {
        RequestName { client: ClientId(client), incarnation: Incarnation(1), number: RequestNumber(1) }
    }

    /// A backup that looks every `look_ns` for some time; `of` says what it finds, and how much was executed since.
    fn watch(
        goodput: &mut Goodput,
        seconds: std::ops::Range<u64>,
        look_ns: u64,
        of: impl Fn(u64) -> (Look, u64),
    ) -> Vec<u64> {
        let mut complaints = Vec::new();
        for now_ns in (seconds.start * 1000 * MS..seconds.end * 1000 * MS).step_by(look_ns as usize) {
            let (look, work) = of(now_ns);
            goodput.work += work;
            goodput.look(now_ns, look);
            if goodput.complains() {
                complaints.push(now_ns / (1000 * MS));
            }
        }
        complaints
    }

    /// Good for ten seconds: something is in flight most of the time.
    fn good(goodput: &mut Goodput) {
        assert_eq!(
            watch(goodput, 0..10, MS, |now| (if now % (4 * MS) == 0 { Look::Waits } else { Look::Works }, 100)),
            []
        );
    }

    /// `protocol.md RB-6`
    #[test]
    fn a_primary_that_becomes_slow_is_complained_of_and_a_new_one_has_its_own_time() {
        let mut goodput = Goodput::new();
        good(&mut goodput);
        // A quarter of the work, and the primary is what all wait for.
        let slow = |now: u64| (if now % (20 * MS) < 2 * MS { Look::Works } else { Look::Waits }, 25);
        let complaints = watch(&mut goodput, 10..20, MS, slow);
        assert_eq!(complaints.first(), Some(&13), "not before several intervals");
        goodput.begin_view(20_000 * MS);
        assert!(!goodput.complains());
        let complaints = watch(&mut goodput, 20..60, MS, slow);
        assert!(*complaints.first().unwrap() >= 20 + 2 * BAR_GRACE_NS / (1000 * MS), "the second has twice the time");
        watch(&mut goodput, 60..63, MS, |_| (Look::Works, 100));
        assert!(!goodput.complains(), "a good interval ends it");
    }

    /// `protocol.md RB-6`: clients that ask again when they have an answer leave a moment without work after each batch.
    #[test]
    fn a_primary_is_slow_even_if_it_serves_all_that_waits_at_once() {
        let mut goodput = Goodput::new();
        good(&mut goodput);
        let at_once = |now: u64| match now / MS % 300 {
            0 => (Look::Works, 1000),
            1 => (Look::Rests, 0),
            _ => (Look::Waits, 0),
        };
        assert_eq!(watch(&mut goodput, 10..20, MS, at_once).first(), Some(&13));
    }

    /// `protocol.md RB-6`: everything that speaks for something else than the primary.
    #[test]
    fn nobody_complains_of_a_primary_that_is_not_the_bottleneck() {
        type Of = fn(u64) -> (Look, u64);
        let innocent: [(&str, u64, Of); 5] = [
            ("too little work", MS, |now| (if now % (500 * MS) < 60 * MS { Look::Rests } else { Look::Waits }, 10)),
            ("the others are slow", MS, |now| (if now % (3 * MS) == 0 { Look::Waits } else { Look::Works }, 10)),
            ("this replica lacks its own time", 10 * MS, |_| (Look::Waits, 100)),
            ("as good as before", MS, |_| (Look::Waits, 95)),
            ("slow for two intervals of three", MS, |now| {
                (Look::Waits, if now % (3000 * MS) < 1000 * MS { 100 } else { 10 })
            }),
        ];
        for (what, look_ns, of) in innocent {
            let mut goodput = Goodput::new();
            good(&mut goodput);
            assert_eq!(watch(&mut goodput, 10..40, look_ns, of), [], "{what}");
        }
    }

    /// `protocol.md RB-6`: what was possible long ago is no measure.
    #[test]
    fn the_best_is_forgotten() {
        let mut goodput = Goodput::new();
        good(&mut goodput);
        watch(&mut goodput, 10..10 + 2 * BAR_BEST_NS / (1000 * MS), MS, |_| (Look::Rests, 10));
        let after = 10 + 2 * BAR_BEST_NS / (1000 * MS);
        assert_eq!(watch(&mut goodput, after..after + 10, MS, |_| (Look::Waits, 10)), []);
    }

    /// `protocol.md RB-7`
    #[test]
    fn others_served_before_a_request_that_was_forwarded_are_unfair() {
        let mut goodput = Goodput::new();
        goodput.on_forwarded(name(1), 1000 * MS + FAIR_AFTER_NS);
        let late = 1000 * MS + FAIR_AFTER_NS + 1;
        let serve = |goodput: &mut Goodput, sequence, client, arrived| {
            goodput.on_served(SequenceNumber(sequence), name(client), 100, arrived);
            goodput.complains()
        };
        for sequence in 1..100 {
            assert!(!serve(&mut goodput, sequence, 0, late - 1), "it came before, or not long enough after");
        }
        for _ in 0..100 {
            assert!(!serve(&mut goodput, 100, 0, late), "one batch has many requests");
        }
        let batches = (101..).take(FAIR_BATCHES as usize - 1);
        let last = batches.map(|sequence| serve(&mut goodput, sequence, 0, late)).last();
        assert_eq!(last, Some(true));
        goodput.on_forwarded(name(1), 2000 * MS + FAIR_AFTER_NS);
        assert!(goodput.complains(), "to forward it again changes nothing");
        assert!(!serve(&mut goodput, 200, 1, late), "it was served");
    }
}
