//! The view synchroniser: when a primary is suspected, and how long a new view is waited for (`protocol.md VC-8`, PBFT-99 section 4.5.2).
//!
//! It owns the time-outs and nothing else. Two things make a primary suspect while a request waits: *silence*, nothing at all from it for a
//! short time, and *latency*, the oldest request left waiting for a long one. Both times are learned from what was seen while all went well,
//! within bounds, and double while views change in vain.

use super::super::departure::{Suspicion, Wait};
use super::super::largest::Largest;
use crate::limits::{
    DOUBLINGS_MAX, LATENCY_MAX_NS, LATENCY_MIN_NS, LEARNED_NS, SILENCE_MAX_NS, SILENCE_MIN_NS, SUSPICION_CONFIRM_NS,
};
use crate::planted::{self, Bug};
use std::hash::{Hash, Hasher};

/// How many times the largest silence that turned out harmless is borne.
const SILENCE_FACTOR: u64 = 3;

/// How many times the largest latency that was seen is borne.
const LATENCY_FACTOR: u64 = 8;

/// How many times as long a new view is waited for that others have.
const PATIENCE_FACTOR: u64 = 8;

/// A suspicion counts after so many further duty cycles.
const SUSPICION_CYCLES: u32 = 3;

/// The time-outs of one replica.
#[derive(Clone, Debug)]
pub struct Synchroniser {
    /// The longest of all.
    timeout_max_ns: u64,
    silence: Largest,
    latency: Largest,
    doublings: u32,
    /// When the primary was last heard from.
    heard_ns: u64,
    /// The time-out ran out then, so many duty cycles ago.
    expired: Option<(u64, u32)>,
    /// The primary of the present view is suspected.
    suspects: bool,
    /// Something else than time speaks against it.
    complaint: bool,
    /// The new view is waited for until then.
    new_view_due_ns: Option<u64>,
    /// For longer than at first, since others are in it.
    patient: bool,
}

impl Synchroniser {
    /// Nothing was seen yet, and no time-out is longer than this.
    pub fn new(timeout_max_ns: u64) -> Self {
        Self {
            timeout_max_ns,
            silence: Largest::over(LEARNED_NS),
            latency: Largest::over(LEARNED_NS),
            doublings: 0,
            heard_ns: 0,
            expired: None,
            suspects: false,
            complaint: false,
            new_view_due_ns: None,
            patient: false,
        }
    }

    /// Something authentic of the primary arrived; the oldest request waits since `waiting_since_ns`.
    pub fn on_primary_heard(&mut self, now_ns: u64, waiting_since_ns: Option<u64>) {
        if let Some(since) = waiting_since_ns {
            self.silence.learn(now_ns, now_ns.saturating_sub(self.heard_ns.max(since)));
        }
        self.heard_ns = now_ns;
    }

    /// A request was executed that had been the oldest of its client for so long.
    pub fn on_executed(&mut self, now_ns: u64, waited_ns: u64) {
        self.latency.learn(now_ns, waited_ns);
    }

    /// A batch that the present view's primary proposed was executed: the view works.
    pub fn on_progress(&mut self) {
        self.doublings = 0;
    }

    /// Ends a duty cycle in normal operation: whether the primary is suspected, now that the oldest request waits since `waiting_since_ns`.
    pub fn suspects(&mut self, now_ns: u64, waiting_since_ns: Option<u64>) -> bool {
        let Some(since) = waiting_since_ns.filter(|since| self.due_ns(*since) <= now_ns) else {
            self.expired = None;
            self.suspects = self.complaint;
            return self.suspects;
        };
        debug_assert!(since <= now_ns);
        let (first_ns, cycles) = self.expired.get_or_insert((now_ns, 0));
        *cycles += 1;
        let confirmed = *cycles > SUSPICION_CYCLES && now_ns - *first_ns >= SUSPICION_CONFIRM_NS;
        self.suspects = confirmed || self.complaint;
        self.suspects
    }

    /// Whether something else than time speaks against the primary (`protocol.md RB-6` to `RB-8`).
    pub fn note_complaint(&mut self, complaint: bool) {
        self.complaint = complaint;
    }

    /// What [`Synchroniser::suspects`] said last.
    pub fn is_suspecting(&self) -> bool {
        self.suspects
    }

    /// What speaks against the primary, which is suspected while something waits since `since_ns`.
    pub fn suspicion(&self, now_ns: u64, since_ns: u64, excused_ns: u64) -> Suspicion {
        let (silent_ns, waited_ns) = (now_ns - self.heard_ns.max(since_ns), now_ns - since_ns);
        match (self.silence_max_ns(), self.latency_max_ns()) {
            (borne_ns, _) if silent_ns >= borne_ns => {
                Suspicion::Silence(Wait { blamed_ns: silent_ns, borne_ns, excused_ns })
            }
            (_, borne_ns) => Suspicion::Latency(Wait { blamed_ns: waited_ns, borne_ns, excused_ns }),
        }
    }

    /// When a request that waits since `since_ns` makes the primary suspect, if nothing more is heard of it.
    fn due_ns(&self, since_ns: u64) -> u64 {
        let silent = self.heard_ns.max(since_ns) + self.silence_max_ns();
        silent.min(since_ns + self.latency_max_ns())
    }

    /// When half of the time of a request that waits since `since_ns` is over.
    pub fn half_time_ns(&self, since_ns: u64) -> u64 {
        since_ns + (self.due_ns(since_ns) - since_ns) / 2
    }

    /// When the replica is to look again.
    pub fn deadline_ns(&self, waiting_since_ns: Option<u64>) -> u64 {
        let new_view = self.new_view_due_ns.unwrap_or(u64::MAX);
        let suspicion = match (self.expired, waiting_since_ns) {
            _ if self.suspects && self.expired.is_some() => u64::MAX,
            (Some((first_ns, cycles)), _) => {
                // Spread the cycles over the time of confirmation.
                first_ns
                    + SUSPICION_CONFIRM_NS * u64::from(cycles.min(SUSPICION_CYCLES + 1)) / u64::from(SUSPICION_CYCLES)
            }
            (None, Some(since)) => self.due_ns(since),
            (None, None) => u64::MAX,
        };
        new_view.min(suspicion)
    }

    /// The replica left a view.
    pub fn on_view_left(&mut self) {
        self.expired = None;
        self.suspects = false;
        self.complaint = false;
        self.new_view_due_ns = None;
        self.patient = false;
    }

    /// A quorum wants the view: from now on its new view is waited for.
    pub fn on_view_wanted(&mut self, now_ns: u64) {
        if self.new_view_due_ns.is_none() {
            self.new_view_due_ns = Some(now_ns + self.silence_max_ns());
        }
    }

    /// The new view is here, or the others go on in it: what is still lacking to enter it is no fault of its primary's.
    pub fn on_new_view_found(&mut self) {
        self.new_view_due_ns = None;
        self.patient = false;
    }

    /// Whether the new view did not come in time; the next one is waited for twice as long. Where `others_are_in` it is on its way, and is waited for
    /// longer, but not for good: it may name the view change of a replica that forgot since, which counts no more here.
    pub fn gives_up(&mut self, now_ns: u64, others_are_in: bool) -> bool {
        let late = self.new_view_due_ns.is_some_and(|due| due <= now_ns);
        if late && others_are_in && !self.patient {
            self.patient = true;
            self.new_view_due_ns = Some(now_ns + (self.silence_max_ns() * PATIENCE_FACTOR).min(self.timeout_max_ns));
            return false;
        }
        if late {
            self.new_view_due_ns = None;
            self.double();
        }
        late
    }

    /// The replica entered a view.
    pub fn on_view_entered(&mut self, now_ns: u64) {
        self.on_view_left();
        self.heard_ns = now_ns;
        // Until something of the new primary is executed, the next change waits longer.
        self.double();
    }

    /// Of [`Replica::fingerprint`](super::super::Replica::fingerprint): what is no time, and whether one runs.
    pub fn fingerprint(&self, state: &mut impl Hasher) {
        let Self {
            timeout_max_ns: _,
            silence: _,
            latency: _,
            doublings: _,
            heard_ns: _,
            expired,
            suspects,
            complaint,
            new_view_due_ns,
            patient,
        } = self;
        (expired.is_some(), suspects, complaint, new_view_due_ns.is_some(), patient).hash(state);
    }

    fn silence_max_ns(&self) -> u64 {
        self.doubled((self.silence.figure() * SILENCE_FACTOR).clamp(SILENCE_MIN_NS, SILENCE_MAX_NS))
    }

    fn latency_max_ns(&self) -> u64 {
        self.doubled((self.latency.figure() * LATENCY_FACTOR).clamp(LATENCY_MIN_NS, LATENCY_MAX_NS))
    }

    fn double(&mut self) {
        let most = if planted::is(Bug::TimeoutUnbounded) { 32 } else { DOUBLINGS_MAX };
        self.doublings = (self.doublings + u32::from(!planted::is(Bug::TimeoutConstant))).min(most);
    }

    fn doubled(&self, timeout_ns: u64) -> u64 {
        let most = if planted::is(Bug::TimeoutUnbounded) { u64::MAX } else { self.timeout_max_ns };
        (timeout_ns << self.doublings).min(most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::TIMEOUT_VIEW_MAX_NS;

    const MS: u64 = 1_000_000;

    fn confirmed(synchroniser: &mut Synchroniser, from_ns: u64, since: Option<u64>) -> bool {
        (0..=SUSPICION_CYCLES).any(|cycle| synchroniser.suspects(from_ns + u64::from(cycle) * MS, since))
    }

    /// `protocol.md VC-8`
    #[test]
    fn a_silent_primary_is_suspected_while_a_request_waits_and_only_then() {
        let mut synchroniser = Synchroniser::new(TIMEOUT_VIEW_MAX_NS);
        synchroniser.on_primary_heard(1000 * MS, None);
        assert!(!confirmed(&mut synchroniser, 9000 * MS, None), "nothing waits");
        assert_eq!(synchroniser.deadline_ns(None), u64::MAX);
        let since = Some(9000 * MS);
        assert_eq!(synchroniser.deadline_ns(since), 9000 * MS + SILENCE_MIN_NS);
        assert!(!confirmed(&mut synchroniser, 9000 * MS + SILENCE_MIN_NS - 5 * MS, since));
        assert!(!synchroniser.suspects(9000 * MS + SILENCE_MIN_NS, since), "one look is not enough");
        assert!(confirmed(&mut synchroniser, 9000 * MS + SILENCE_MIN_NS, since));
        // It speaks again: no suspicion is left.
        synchroniser.on_primary_heard(9040 * MS, since);
        assert!(!synchroniser.suspects(9041 * MS, since) && !synchroniser.is_suspecting());
    }

    /// `protocol.md VC-8`: who talks and does not serve is suspected too, later.
    #[test]
    fn a_primary_that_talks_and_does_not_order_is_suspected() {
        let mut synchroniser = Synchroniser::new(TIMEOUT_VIEW_MAX_NS);
        let since = Some(0);
        for at in 1..LATENCY_MIN_NS / MS {
            synchroniser.on_primary_heard(at * MS, since);
            assert!(!synchroniser.suspects(at * MS, since), "{at}");
        }
        synchroniser.on_primary_heard(LATENCY_MIN_NS, since);
        assert!(confirmed(&mut synchroniser, LATENCY_MIN_NS, since));
    }

    /// `protocol.md VC-8`
    #[test]
    fn what_was_harmless_is_learned_and_forgotten() {
        let mut synchroniser = Synchroniser::new(TIMEOUT_VIEW_MAX_NS);
        synchroniser.on_primary_heard(10_000 * MS, Some(9_900 * MS));
        assert_eq!(synchroniser.silence_max_ns(), 300 * MS);
        synchroniser.on_executed(10_000 * MS, 100 * MS);
        assert_eq!(synchroniser.latency_max_ns(), 800 * MS);
        for second in 11..22 {
            synchroniser.on_primary_heard(second * 1000 * MS, Some(second * 1000 * MS - 1));
        }
        assert_eq!(synchroniser.silence_max_ns(), SILENCE_MIN_NS);
    }

    /// `protocol.md VC-8`: doubling while views change in vain, and back to normal after progress.
    #[test]
    fn time_outs_double_and_fall_back() {
        let mut synchroniser = Synchroniser::new(TIMEOUT_VIEW_MAX_NS);
        for doublings in 0..20 {
            let start = doublings * 100_000_000 * MS;
            synchroniser.on_view_left();
            assert!(!synchroniser.gives_up(start, false), "without a quorum nothing is waited for");
            synchroniser.on_view_wanted(start);
            let wait = SILENCE_MIN_NS << doublings.min(u64::from(DOUBLINGS_MAX));
            assert_eq!(synchroniser.deadline_ns(None), start + wait);
            assert!(!synchroniser.gives_up(start + wait - 1, false));
            assert!(synchroniser.gives_up(start + wait, false));
        }
        assert_eq!(synchroniser.latency_max_ns(), TIMEOUT_VIEW_MAX_NS);
        synchroniser.on_progress();
        assert_eq!(synchroniser.silence_max_ns(), SILENCE_MIN_NS);
    }

    /// `protocol.md VC-8`: a new view that others have is waited for longer, and not for good.
    #[test]
    fn what_others_have_is_waited_for_longer() {
        let mut synchroniser = Synchroniser::new(TIMEOUT_VIEW_MAX_NS);
        synchroniser.on_view_wanted(0);
        assert!(!synchroniser.gives_up(SILENCE_MIN_NS, true));
        let patience = SILENCE_MIN_NS + PATIENCE_FACTOR * SILENCE_MIN_NS;
        assert!(!synchroniser.gives_up(patience - 1, true));
        assert!(synchroniser.gives_up(patience, true));
    }

    /// `protocol.md VC-8`: and without an end while the others go on in it.
    #[test]
    fn a_new_view_that_was_found_is_waited_for_anew() {
        let mut synchroniser = Synchroniser::new(TIMEOUT_VIEW_MAX_NS);
        synchroniser.on_view_wanted(0);
        assert!(!synchroniser.gives_up(SILENCE_MIN_NS, true));
        synchroniser.on_new_view_found();
        let found_ns = TIMEOUT_VIEW_MAX_NS;
        assert!(!synchroniser.gives_up(found_ns, true), "nothing runs any more");
        synchroniser.on_view_wanted(found_ns);
        assert!(!synchroniser.gives_up(found_ns + SILENCE_MIN_NS, true), "its patience begins anew");
    }

    /// `protocol.md VC-8`: a time-out counts when it was looked at often enough and for long enough, so that a replica that was held up itself hears
    /// what waits for it first.
    #[test]
    fn a_time_out_is_confirmed_by_looks_and_by_time() {
        let due_ns = SILENCE_MIN_NS;
        let looks = |every_ns: u64| {
            let mut synchroniser = Synchroniser::new(TIMEOUT_VIEW_MAX_NS);
            synchroniser.on_primary_heard(0, None);
            let at = (0..1000).map(|look| due_ns + look * every_ns).find(|at| synchroniser.suspects(*at, Some(0)));
            at.expect("it is suspected some time") - due_ns
        };
        assert_eq!(looks(SUSPICION_CONFIRM_NS / 100), SUSPICION_CONFIRM_NS, "many looks take no shorter");
        assert_eq!(looks(10 * SUSPICION_CONFIRM_NS), 10 * SUSPICION_CONFIRM_NS * u64::from(SUSPICION_CYCLES));
    }

    /// `protocol.md VC-8`: what is blamed is silence, where that lasted as long as is borne, and else that something waits.
    #[test]
    fn a_suspicion_says_what_it_is_for() {
        let mut synchroniser = Synchroniser::new(TIMEOUT_VIEW_MAX_NS);
        synchroniser.on_primary_heard(100 * MS, None);
        let blame = |synchroniser: &Synchroniser, now_ns, since_ns| match synchroniser.suspicion(now_ns, since_ns, 7) {
            Suspicion::Silence(wait) => ("silence", wait.blamed_ns, wait.borne_ns, wait.excused_ns),
            Suspicion::Latency(wait) => ("latency", wait.blamed_ns, wait.borne_ns, wait.excused_ns),
            other => panic!("{other:?}"),
        };
        let due_ns = 100 * MS + SILENCE_MIN_NS;
        assert_eq!(blame(&synchroniser, due_ns, 50 * MS), ("silence", SILENCE_MIN_NS, SILENCE_MIN_NS, 7));
        assert_eq!(blame(&synchroniser, due_ns - 1, 50 * MS), ("latency", due_ns - 1 - 50 * MS, LATENCY_MIN_NS, 7));
        // Nobody is silent towards a request that was not there yet.
        let since_ns = 120 * MS;
        assert_eq!(blame(&synchroniser, due_ns, since_ns), ("latency", due_ns - since_ns, LATENCY_MIN_NS, 7));
    }

    /// When it looks again: after half of the time it forwards (`protocol.md RB-1`), the looks that confirm a time-out are spread, and what is
    /// suspected needs none.
    #[test]
    fn it_looks_again_when_something_is_due() {
        let mut synchroniser = Synchroniser::new(TIMEOUT_VIEW_MAX_NS);
        synchroniser.on_primary_heard(0, None);
        let (since, due_ns) = (Some(0), SILENCE_MIN_NS);
        assert_eq!(synchroniser.half_time_ns(0), due_ns / 2);
        assert_eq!(synchroniser.half_time_ns(10), 10 + due_ns / 2, "its time begins when it comes");
        assert_eq!(synchroniser.deadline_ns(since), due_ns);
        for look in 0..u64::from(SUSPICION_CYCLES) {
            let at = due_ns + SUSPICION_CONFIRM_NS * look / u64::from(SUSPICION_CYCLES);
            assert!(!synchroniser.suspects(at, since));
            let next = due_ns + SUSPICION_CONFIRM_NS * (look + 1) / u64::from(SUSPICION_CYCLES);
            assert_eq!(synchroniser.deadline_ns(since), next);
        }
        assert!(synchroniser.suspects(due_ns + SUSPICION_CONFIRM_NS, since) && synchroniser.is_suspecting());
        assert_eq!(synchroniser.deadline_ns(since), u64::MAX);
        synchroniser.on_view_left();
        synchroniser.on_view_wanted(due_ns);
        assert_eq!(synchroniser.deadline_ns(None), due_ns + SILENCE_MIN_NS);
    }

    /// What the exhaustive mode of the simulator tells states apart by.
    #[test]
    fn a_fingerprint_tells_what_differs_but_for_times() {
        let print = |synchroniser: &Synchroniser| {
            let mut state = std::hash::DefaultHasher::new();
            synchroniser.fingerprint(&mut state);
            state.finish()
        };
        let mut synchroniser = Synchroniser::new(TIMEOUT_VIEW_MAX_NS);
        let mut seen = vec![print(&synchroniser)];
        synchroniser.on_primary_heard(MS, Some(0));
        synchroniser.on_executed(MS, MS);
        assert_eq!(print(&synchroniser), seen[0]);
        synchroniser.note_complaint(true);
        seen.push(print(&synchroniser));
        synchroniser.suspects(0, None);
        seen.push(print(&synchroniser));
        synchroniser.suspects(SILENCE_MIN_NS + MS, Some(0));
        seen.push(print(&synchroniser));
        synchroniser.on_view_left();
        assert_eq!(print(&synchroniser), seen[0]);
        synchroniser.on_view_wanted(0);
        seen.push(print(&synchroniser));
        synchroniser.gives_up(SILENCE_MIN_NS, true);
        seen.push(print(&synchroniser));
        let mut distinct = seen.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), seen.len());
    }
}
