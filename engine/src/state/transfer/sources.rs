//! The replicas that are asked: how much at a time, for how long, and whether at all (`protocol.md ST-6`).

use crate::limits::{
    STATE_FAR_DOUBLINGS, STATE_REST_NS, STATE_RETRY_DOUBLINGS, STATE_RETRY_NS, STATE_WINDOW_BYTES_MIN,
};
use crate::numbers::{ReplicaId, ReplicaSet};

/// No source is waited for longer than this.
const PATIENCE_MAX_NS: u64 = STATE_RETRY_NS << STATE_FAR_DOUBLINGS;

/// One source.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) id: ReplicaId,
    /// Bytes asked for and not here yet.
    asked_bytes: usize,
    /// How many those may be now: halved when answers are missing, grown again by answers, so that it comes to what the way holds.
    window_bytes: usize,
    /// When it was asked what was given up last since it last answered: an answer does not say which question it is to, and that one may be answered yet.
    given_up_ns: Option<u64>,
    /// When something that it was asked for came last.
    heard_ns: Option<u64>,
    /// The smoothed time from a question to its answer, once there was one.
    round_trip_ns: Option<u64>,
    /// That is no more than what it is at most.
    rough: bool,
    /// Times in a row that it was waited for in vain.
    silences: u32,
    /// Left alone until then.
    rests_until_ns: u64,
    /// It sent what it must have known to be wrong.
    misbehaved: bool,
}

impl Source {
    fn new(id: ReplicaId, credit_bytes: usize) -> Self {
        Self {
            id,
            asked_bytes: 0,
            window_bytes: credit_bytes,
            given_up_ns: None,
            heard_ns: None,
            round_trip_ns: None,
            rough: false,
            silences: 0,
            rests_until_ns: 0,
            misbehaved: false,
        }
    }

    fn is_usable(&self, now_ns: u64) -> bool {
        !self.misbehaved && now_ns >= self.rests_until_ns
    }

    /// Whether it may be asked for more: in bursts, as a question for each page would cost more packets than the pages. A question always
    /// fits when nothing is under way.
    pub(super) fn has_room(&self, now_ns: u64) -> bool {
        self.is_usable(now_ns) && self.asked_bytes <= self.window_bytes / 2
    }

    /// Whether it may be asked for one thing more of a burst.
    pub(super) fn fits(&self, bytes: usize) -> bool {
        self.asked_bytes == 0 || self.asked_bytes + bytes <= self.window_bytes
    }

    pub(super) fn asked(&mut self, bytes: usize) {
        self.asked_bytes += bytes;
    }

    /// How long an answer is waited for.
    fn patience_ns(&self) -> u64 {
        self.patience_within_ns(self.round_trip_ns, STATE_RETRY_DOUBLINGS)
    }

    /// How long, if it is as far away as that, doubled so often at most.
    fn patience_within_ns(&self, round_trip_ns: Option<u64>, doublings: u32) -> u64 {
        let base = round_trip_ns.map_or(STATE_RETRY_NS, |round_trip| STATE_RETRY_NS.max(4 * round_trip));
        (base << self.silences.min(doublings)).min(PATIENCE_MAX_NS)
    }

    /// It answered rightly, what was asked at some time.
    pub(super) fn answered(&mut self, now_ns: u64, asked_at_ns: u64, bytes: usize, credit_bytes: usize) {
        self.measured(now_ns, asked_at_ns);
        self.silences = 0;
        self.rests_until_ns = 0;
        self.heard(now_ns);
        self.asked_bytes -= bytes;
        self.window_bytes = (self.window_bytes + bytes / 4).max(STATE_WINDOW_BYTES_MIN).min(credit_bytes);
    }

    /// Learns from an answer to what was asked at some time. Where the question was given up before, and asked again, the answer may be to either: then it tells
    /// how far away the source is at most, which is taken for it as long as nothing better is known.
    fn measured(&mut self, now_ns: u64, asked_at_ns: u64) {
        let first_ns = self.given_up_ns.take().unwrap_or(asked_at_ns);
        let sample = |since_ns: u64| now_ns.saturating_sub(since_ns).min(PATIENCE_MAX_NS);
        let known = self.round_trip_ns.filter(|_| !self.rough);
        if first_ns < asked_at_ns {
            self.rough = known.is_none();
            self.round_trip_ns = known.or(Some(sample(first_ns)));
        } else {
            self.rough = false;
            self.round_trip_ns =
                Some(known.map_or(sample(asked_at_ns), |before| before - before / 8 + sample(asked_at_ns) / 8));
        }
    }

    /// What it was asked for is no longer expected from it.
    pub(super) fn relieved(&mut self, bytes: usize) {
        self.asked_bytes -= bytes;
    }

    /// Something of what it was asked for came.
    pub(super) fn heard(&mut self, now_ns: u64) {
        self.heard_ns = Some(now_ns);
    }

    /// What it was asked at some time is given up.
    pub(super) fn gave_up(&mut self, asked_at_ns: u64) {
        self.given_up_ns = self.given_up_ns.max(Some(asked_at_ns));
    }

    /// Something was waited for in vain. If other things came meanwhile, the way lost it, perhaps because too much was on it.
    pub(super) fn was_overdue(&mut self, now_ns: u64) {
        let patience_ns = self.patience_ns();
        if self.heard_ns.is_some_and(|heard_ns| now_ns.saturating_sub(heard_ns) < patience_ns) {
            self.window_bytes -= self.window_bytes.saturating_sub(STATE_WINDOW_BYTES_MIN) / 4;
            return;
        }
        self.silences += 1;
        self.window_bytes /= 2;
        if self.silences > STATE_RETRY_DOUBLINGS {
            self.rests_until_ns = now_ns + STATE_REST_NS;
        }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Sources {
    list: Vec<Source>,
    credit_bytes: usize,
    /// Whose turn it is.
    turn: usize,
}

impl Sources {
    /// # Panics
    /// If there is none.
    pub(super) fn new(replicas: ReplicaSet, credit_bytes: usize) -> Self {
        assert!(replicas != ReplicaSet::EMPTY, "state is fetched from somebody");
        let list = replicas.iter().map(|id| Source::new(id, credit_bytes)).collect();
        Self { list, credit_bytes, turn: 0 }
    }

    /// These may be asked as well.
    pub(super) fn include(&mut self, replicas: ReplicaSet) {
        for id in replicas.iter() {
            if self.of(id).is_none() {
                self.list.push(Source::new(id, self.credit_bytes));
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn of(&mut self, id: ReplicaId) -> Option<&mut Source> {
        self.list.iter_mut().find(|source| source.id == id)
    }

    /// How long an answer of a source is waited for. One that has not answered yet may be as far away as the furthest that has; where none has, all may
    /// be further away than the patience with one reaches.
    pub(super) fn patience_ns(&self, id: ReplicaId) -> u64 {
        let furthest_ns =
            self.list.iter().filter(|source| !source.rough).filter_map(|source| source.round_trip_ns).max();
        let doublings = if furthest_ns.is_some() { STATE_RETRY_DOUBLINGS } else { STATE_FAR_DOUBLINGS };
        let source = self.list.iter().find(|source| source.id == id).expect("it is one of them");
        source.patience_within_ns(source.round_trip_ns.or(furthest_ns), doublings)
    }

    /// The next source in turn.
    pub(super) fn next(&mut self) -> &mut Source {
        self.turn = (self.turn + 1) % self.list.len();
        &mut self.list[self.turn]
    }

    /// Whether another one than this can be asked.
    pub(super) fn has_other_than(&self, id: ReplicaId, now_ns: u64) -> bool {
        self.list.iter().any(|source| source.id != id && source.is_usable(now_ns))
    }

    pub(super) fn answered(&mut self, id: ReplicaId, now_ns: u64, asked_at_ns: u64, bytes: usize) {
        let credit_bytes = self.credit_bytes;
        if let Some(source) = self.of(id) {
            source.answered(now_ns, asked_at_ns, bytes, credit_bytes);
        }
    }

    /// It does not hold the checkpoint. It may yet come to hold it, and the refusal may be of a checkpoint that was wanted earlier, so it
    /// rests no longer than its answer would be waited for.
    pub(super) fn refused(&mut self, id: ReplicaId, now_ns: u64) {
        if let Some(source) = self.of(id) {
            source.rests_until_ns = now_ns + source.patience_ns();
            source.silences = (source.silences + 1).min(STATE_RETRY_DOUBLINGS);
        }
    }

    /// It lied. When all did, all are forgiven: then what the digest names cannot be had from anybody else.
    pub(super) fn misbehaved(&mut self, id: ReplicaId, now_ns: u64) {
        if let Some(source) = self.of(id) {
            source.misbehaved = true;
        }
        if self.list.iter().all(|source| source.misbehaved) {
            for source in &mut self.list {
                source.misbehaved = false;
                source.rests_until_ns = now_ns + STATE_REST_NS;
            }
        }
    }

    /// Another checkpoint is wanted: nothing of the old one is expected, and who did not hold that one may hold this one.
    pub(super) fn begin_again(&mut self) {
        for source in &mut self.list {
            source.asked_bytes = 0;
            source.rests_until_ns = 0;
        }
    }

    /// When a source that rests now may be asked again.
    pub(super) fn rested_ns(&self) -> u64 {
        let resting = self.list.iter().filter(|source| !source.misbehaved);
        resting.map(|source| source.rests_until_ns).min().unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREDIT: usize = 64 * 1024;

    /// `protocol.md ST-6`
    #[test]
    fn a_silent_source_is_waited_for_longer_and_asked_for_less_until_it_rests() {
        let mut source = Source::new(ReplicaId(1), CREDIT);
        let mut before = 0;
        for silence in 0..=STATE_RETRY_DOUBLINGS {
            assert!(source.is_usable(0) && source.patience_ns() > before);
            before = source.patience_ns();
            assert!(source.fits(CREDIT));
            source.asked(1);
            assert!(source.fits((CREDIT >> silence) - 1));
            assert!(!source.fits(CREDIT >> silence));
            source.relieved(1);
            source.was_overdue(0);
        }
        assert!(!source.is_usable(STATE_REST_NS - 1) && source.is_usable(STATE_REST_NS));
        source.asked(4096);
        source.answered(7, 5, 4096, CREDIT);
        assert_eq!((source.patience_ns(), source.silences), (STATE_RETRY_NS, 0));
        assert!(source.is_usable(7));
    }

    /// `protocol.md ST-6`
    #[test]
    fn a_source_on_a_lossy_way_goes_on_being_asked() {
        let mut source = Source::new(ReplicaId(1), CREDIT);
        for _ in 0..100 {
            source.heard(5);
            source.was_overdue(5 + STATE_RETRY_NS - 1);
        }
        assert!(source.is_usable(5) && source.window_bytes < CREDIT && source.window_bytes >= STATE_WINDOW_BYTES_MIN);
        assert_eq!(source.patience_ns(), STATE_RETRY_NS);
        // What is quiet all the time is not the way's fault.
        source.was_overdue(5 + STATE_RETRY_NS);
        assert_eq!(source.patience_ns(), 2 * STATE_RETRY_NS);
    }

    /// `protocol.md ST-6`: a round trip longer than the patience with a source that is silent among others.
    #[test]
    fn where_nobody_answers_all_are_waited_for_longer() {
        let mut sources = Sources::new(ReplicaSet::first(2), CREDIT);
        let (far, other) = (ReplicaId(0), ReplicaId(1));
        for _ in 0..=STATE_FAR_DOUBLINGS {
            sources.of(far).unwrap().was_overdue(0);
        }
        assert_eq!(sources.patience_ns(far), STATE_RETRY_NS << STATE_FAR_DOUBLINGS);
        sources.of(other).unwrap().asked(1);
        sources.answered(other, STATE_RETRY_NS / 4, 0, 1);
        assert_eq!(sources.patience_ns(far), STATE_RETRY_NS << STATE_RETRY_DOUBLINGS, "it is this one");
    }

    /// `protocol.md ST-6`
    #[test]
    fn who_has_not_answered_is_taken_to_be_as_far_away_as_the_furthest() {
        let mut sources = Sources::new(ReplicaSet::first(3), CREDIT);
        for (id, round_trip_ns) in [(0, 1_000_000), (1, 100_000_000)] {
            sources.of(ReplicaId(id)).unwrap().asked(1);
            sources.answered(ReplicaId(id), round_trip_ns, 0, 1);
        }
        let patience = [0, 1, 2].map(|id| sources.patience_ns(ReplicaId(id)));
        assert_eq!(patience, [STATE_RETRY_NS, 400_000_000, 400_000_000]);
    }

    #[test]
    fn far_sources_are_waited_for_longer() {
        let mut source = Source::new(ReplicaId(1), CREDIT);
        source.asked(1);
        source.answered(STATE_RETRY_NS, 0, 1, CREDIT);
        assert_eq!(source.patience_ns(), 4 * STATE_RETRY_NS);
        // An answer to a question that was given up comes just when it is asked again.
        let mut late = Source::new(ReplicaId(1), CREDIT);
        let answers = |late: &mut Source, given_up_ns: Option<u64>, asked_ns, now_ns| {
            given_up_ns.into_iter().for_each(|asked_ns| late.gave_up(asked_ns));
            late.asked(1);
            late.answered(now_ns, asked_ns, 1, CREDIT);
            late.patience_ns()
        };
        let ms = 1_000_000;
        assert!(answers(&mut late, Some(0), 99 * ms, 100 * ms) >= 400 * ms);
        assert_eq!(answers(&mut late, None, 200 * ms, 250 * ms), 200 * ms, "what is known for sure takes its place");
        assert_eq!(answers(&mut late, Some(0), 299 * ms, 300 * ms), 200 * ms, "and gives way to no guess");
        let mut away = Source::new(ReplicaId(1), CREDIT);
        assert_eq!(answers(&mut away, Some(0), 60_000 * ms, 60_001 * ms), PATIENCE_MAX_NS);
    }

    /// `protocol.md ST-6`
    #[test]
    fn liars_are_asked_again_only_when_all_lied() {
        let mut sources = Sources::new(ReplicaSet::first(2), CREDIT);
        let (a, b) = (ReplicaId(0), ReplicaId(1));
        sources.misbehaved(a, 0);
        assert!(!sources.of(a).unwrap().is_usable(u64::MAX) && sources.of(b).unwrap().is_usable(0));
        assert!(sources.has_other_than(a, 0) && !sources.has_other_than(b, 0));
        sources.begin_again();
        assert!(!sources.of(a).unwrap().is_usable(u64::MAX));
        sources.misbehaved(b, 10);
        assert_eq!(sources.rested_ns(), 10 + STATE_REST_NS);
        assert!(sources.of(a).unwrap().is_usable(10 + STATE_REST_NS));
    }
}
