use super::model::{
    Lie, MILLISECOND_NS, Model, Plan, Random, STREAM, Stretch, chain_answer, execute, request, trimmed,
};
use super::{Delivery, Follower};
use crate::limits::{DATAGRAM_BYTES_MAX, FOLLOW_CREDIT_BYTES, FOLLOW_RENEW_NS};
use crate::numbers::{ClientId, Principal, ReplicaId, ReplicaSet};
use crate::service::log::{LogSettings, OrderedLog};
use crate::wire::parts::RunPart;
use crate::wire::{Audience, Message};
use logothete_crypto::Digest;

/// The longest that a bad source may hold up a subscriber.
const BAD_SOURCE_MAX_NS: u64 = 200 * MILLISECOND_NS;

/// A follower of a cluster of four, with a log to tell it of.
struct Desk {
    follower: Follower,
    now_ns: u64,
    /// The last follow: to whom, and from which position.
    followed: Option<(ReplicaId, u64)>,
    /// The last question: to whom, and about which position.
    asked: Option<(ReplicaSet, u64)>,
    log: OrderedLog,
}

impl Desk {
    /// The log has ten runs of two entries each.
    fn new(from: u64) -> Self {
        let mut log = OrderedLog::new(LogSettings { segment_bytes: 1 << 20, segments_max: 64 });
        (0..10).for_each(|at| execute(&mut log, 1000 + at, &request(at + 1, &[vec![1; 10], vec![2; 10]])));
        let mut desk =
            Self { follower: Follower::new(STREAM, from, 4, 2, 1 << 16), now_ns: 0, followed: None, asked: None, log };
        desk.pass(0);
        desk
    }

    /// Lets time pass, in steps of a millisecond.
    fn pass(&mut self, milliseconds: u64) {
        for _ in 0..=milliseconds {
            let (followed, asked) = (&mut self.followed, &mut self.asked);
            if self.follower.deadline_ns() <= self.now_ns {
                self.follower.on_due(self.now_ns, |audience, append| {
                    let Audience::Replicas(to) = audience else { panic!("a follower asks replicas") };
                    let mut message = Vec::new();
                    append(&mut message);
                    match Message::decode(&message, Principal::Client(ClientId(0))).unwrap() {
                        Message::Follow(follow) => *followed = Some((to.iter().next().unwrap(), follow.from.get())),
                        Message::ChainQuery(query) => *asked = Some((to, query.position.get())),
                        other => panic!("a follower sends no {other:?}"),
                    }
                });
            }
            self.now_ns += MILLISECOND_NS;
        }
    }

    fn hear(&mut self, from: u8, message: &[u8]) {
        let from = ReplicaId(from);
        let message = Message::decode(message, Principal::Replica(from)).unwrap();
        self.follower.on_message(self.now_ns, from, &message);
    }

    /// A replica sends so many runs of the log.
    fn hear_runs(&mut self, from: u8, position: u64, count: usize) {
        let mut stretch = Stretch::read(&self.log, position, usize::MAX).unwrap();
        stretch.runs.truncate(count);
        self.hear(from, &stretch.encode());
    }

    /// A correct replica answers a question.
    fn hear_answer(&mut self, from: u8, position: u64) {
        let chain = self.log.chain_at(position).unwrap_or_default();
        self.hear(from, &chain_answer(position, chain));
    }

    fn deliver(&mut self) -> (Vec<u64>, Delivery) {
        let mut positions = Vec::new();
        let delivery = self.follower.deliver(|entry| {
            positions.push(entry.position);
            true
        });
        (positions, delivery)
    }

    fn source(&self) -> u8 {
        self.followed.expect("it follows").0.0
    }
}

/// `protocol.md SU-1`
#[test]
fn entries_come_when_enough_replicas_have_the_same_chain() {
    let mut desk = Desk::new(3);
    assert_eq!(desk.followed, Some((ReplicaId(0), 3)));
    desk.hear_runs(0, 3, 2);
    assert!(desk.follower.deadline_ns() <= desk.now_ns, "what arrived is asked about at once");
    desk.pass(0);
    assert_eq!(desk.asked, Some((ReplicaSet::first(4).without(ReplicaId(0)), 6)));
    desk.hear(1, &chain_answer(6, Digest([9; 32])));
    assert_eq!(desk.deliver(), (vec![], Delivery::Drained));
    desk.hear_answer(2, 6);
    assert_eq!(desk.deliver(), (vec![3, 4, 5], Delivery::Drained));
}

/// `protocol.md SU-1`
#[test]
fn runs_of_others_or_out_of_place_are_ignored() {
    let mut desk = Desk::new(2);
    desk.hear_runs(2, 2, 1);
    desk.hear_runs(0, 4, 1);
    assert_eq!(desk.follower.received, None, "not from the source, and not from what was asked for");
    desk.hear_runs(0, 2, 1);
    desk.hear_runs(0, 6, 1);
    desk.hear(0, &Stretch::fabricate(2, desk.log.chain_at(2).unwrap(), 2, 9).encode());
    let received = desk.follower.received.map(|(end, _)| end);
    assert_eq!(received, Some(4), "the run between is missing, and a repetition changes nothing");
}

/// `protocol.md SU-2`
#[test]
fn follows_and_questions_are_repeated() {
    let mut desk = Desk::new(0);
    desk.hear_runs(0, 0, 2);
    desk.pass(0);
    for _ in 0..2 {
        (desk.followed, desk.asked) = (None, None);
        desk.pass(FOLLOW_RENEW_NS / MILLISECOND_NS);
        assert_eq!(desk.followed, Some((ReplicaId(0), 4)));
        assert_eq!(desk.asked.map(|(_, position)| position), Some(4));
    }
}

#[test]
fn an_entry_without_room_is_offered_again() {
    let mut desk = Desk::new(0);
    desk.hear_runs(0, 0, 2);
    desk.pass(0);
    desk.hear_answer(1, 4);
    let mut first = Vec::new();
    let delivery = desk.follower.deliver(|entry| {
        let fits = first.len() < 3;
        first.extend(fits.then_some(entry.position));
        fits
    });
    assert_eq!((delivery, first), (Delivery::Blocked, vec![0, 1, 2]));
    // However long that took, it is not held against the source.
    desk.now_ns += 10 * BAD_SOURCE_MAX_NS;
    desk.pass(0);
    assert_eq!(desk.source(), 0);
    assert_eq!(desk.deliver(), (vec![3], Delivery::Drained));
}

/// `protocol.md SU-4`
#[test]
fn a_run_that_ends_where_none_does_is_contradicted() {
    let mut desk = Desk::new(0);
    let claim = Stretch {
        runs: vec![(5, request(1, &[vec![], vec![], vec![]]))],
        ..Stretch::fabricate(0, Digest::default(), 1, 0)
    };
    desk.hear(0, &claim.encode());
    desk.pass(0);
    assert_eq!(desk.asked.unwrap().1, 3);
    desk.hear_answer(1, 3);
    desk.pass(1);
    assert_eq!(desk.source(), 0, "one replica alone may lie");
    desk.hear_answer(2, 3);
    desk.pass(1);
    assert_eq!(desk.followed, Some((ReplicaId(1), 0)));
    desk.hear_runs(1, 0, 10);
    desk.pass(0);
    desk.hear_answer(2, 20);
    assert_eq!(desk.deliver().0, (0..20).collect::<Vec<_>>());
}

/// `protocol.md SU-4`: two that contradict need not agree with each other, as only one of them need be correct.
#[test]
fn answers_that_differ_contradict_together() {
    let mut desk = Desk::new(0);
    desk.hear(0, &Stretch::fabricate(0, Digest::default(), 1, 9).encode());
    desk.pass(0);
    desk.hear(1, &chain_answer(2, Digest([9; 32])));
    desk.hear_answer(2, 2);
    desk.pass(1);
    assert_eq!(desk.followed, Some((ReplicaId(1), 0)));
}

/// `protocol.md SU-4`
#[test]
fn a_source_that_runs_ahead_of_the_log_is_left() {
    let mut desk = Desk::new(20);
    let (mut position, mut chain) = (20, desk.log.chain());
    let begun_ns = desk.now_ns;
    // Each millisecond brings more, and nobody can say anything about it.
    while desk.source() == 0 {
        assert!(desk.now_ns - begun_ns <= BAD_SOURCE_MAX_NS, "still with the source that makes entries up");
        let stretch = Stretch::fabricate(position, chain, 1, 9);
        (position, chain) = stretch.end();
        desk.hear(0, &stretch.encode());
        desk.pass(0);
    }
    assert_eq!(desk.followed, Some((ReplicaId(1), 20)));
}

/// `protocol.md SU-4`
#[test]
fn what_a_silent_source_left_unverified_is_forgotten() {
    let mut desk = Desk::new(0);
    desk.hear_runs(0, 0, 2);
    desk.pass(0);
    desk.hear_answer(1, 4);
    desk.hear(0, &Stretch::fabricate(4, desk.log.chain_at(4).unwrap(), 1, 9).encode());
    let begun_ns = desk.now_ns;
    while desk.source() == 0 {
        assert!(desk.now_ns - begun_ns <= BAD_SOURCE_MAX_NS, "still with the silent source");
        desk.pass(0);
    }
    assert_eq!(desk.followed, Some((ReplicaId(1), 4)), "it goes on from what is verified");
    desk.hear_runs(1, 4, 8);
    desk.pass(0);
    desk.hear_answer(2, 20);
    assert_eq!(desk.deliver().0, (0..20).collect::<Vec<_>>());
}

/// `protocol.md SU-5`
#[test]
fn a_subscriber_that_retention_overtakes_is_told_after_what_is_held() {
    let mut desk = Desk::new(0);
    desk.hear_runs(0, 0, 2);
    desk.pass(0);
    desk.hear_answer(1, 4);
    for replica in 0..2 {
        desk.pass(50);
        assert_eq!(desk.source(), replica);
        desk.hear(replica, &trimmed(12, 4));
    }
    assert_eq!(desk.deliver(), (vec![0, 1, 2, 3], Delivery::Trimmed(12)));
}

/// `protocol.md SU-5`
#[test]
fn what_is_told_to_be_the_oldest_is_vouched_for() {
    let claims: [(&[u64], u64); 5] =
        [(&[u64::MAX, 12], 12), (&[12, u64::MAX], 12), (&[6, 12, 12], 12), (&[12, 6, 12], 12), (&[6, 12], 6)];
    for (claims, oldest) in claims {
        let mut desk = Desk::new(5);
        for (replica, claim) in (0..).zip(claims) {
            assert_eq!(desk.source(), replica);
            desk.hear(replica, &trimmed(*claim, 5));
            if replica == 0 {
                assert_eq!(desk.deliver(), (vec![], Delivery::Drained), "one replica alone may lie");
            }
            desk.pass(0);
        }
        assert_eq!(desk.deliver(), (vec![], Delivery::Trimmed(oldest)));
    }
}

/// `protocol.md SU-5`
#[test]
fn who_was_not_asked_trims_nothing() {
    let mut desk = Desk::new(5);
    for replica in [1, 2, 3] {
        desk.hear(replica, &trimmed(12, 5));
        desk.pass(0);
        assert_eq!((desk.source(), desk.deliver().1), (0, Delivery::Drained));
    }
    desk.hear_runs(0, 5, 1);
    desk.pass(0);
    desk.hear_answer(1, 6);
    assert_eq!(desk.deliver(), (vec![5], Delivery::Drained));
}

/// `protocol.md SU-2`
#[test]
fn more_than_was_asked_for_is_dropped() {
    let mut desk = Desk::new(20);
    (0..600).for_each(|at| execute(&mut desk.log, 2000 + at, &request(100 + at, &[vec![3; 4000]])));
    // All at once, so that the follower cannot ask again in between.
    let mut at = 20;
    while let Some(stretch) = Stretch::read(&desk.log, at, 32 * 1024) {
        at = stretch.end().0;
        desk.hear(0, &stretch.encode());
    }
    desk.pass(0);
    let asked = desk.asked.unwrap().1;
    desk.hear_answer(1, asked);
    let delivered = desk.deliver().0;
    assert_eq!(delivered, (20..asked).collect::<Vec<_>>());
    let bytes = delivered.len() * 4000;
    assert!(bytes > FOLLOW_CREDIT_BYTES / 2 && bytes < FOLLOW_CREDIT_BYTES + DATAGRAM_BYTES_MAX, "{bytes} bytes");
}

/// `protocol.md SU-2`
#[test]
fn a_subscriber_without_room_bounds_what_is_held() {
    let mut desk = Desk::new(0);
    (0..3000).for_each(|at| execute(&mut desk.log, 2000 + at, &request(100 + at, &[vec![3; 1000]])));
    // The source always has more, all of it is vouched for at once, and nothing is taken.
    for _ in 0..200 {
        let (source, from) = desk.followed.unwrap();
        let mut at = from;
        while at < from + 120
            && let Some(stretch) = Stretch::read(&desk.log, at, 8 * 1024)
        {
            at = stretch.end().0;
            desk.hear(source.0, &stretch.encode());
        }
        desk.pass(0);
        let asked = desk.asked.unwrap().1;
        (0..4).filter(|id| *id != source.0).for_each(|id| desk.hear_answer(id, asked));
    }
    let bytes = desk.deliver().0.len() * 1000;
    assert!(bytes < 3 * FOLLOW_CREDIT_BYTES, "{bytes} bytes");
    // With room again it goes on.
    let (source, from) = desk.followed.unwrap();
    desk.pass(1);
    assert!(desk.followed.unwrap() != (source, from));
}

#[test]
fn positions_at_the_end_of_all_numbers_do_no_harm() {
    let mut desk = Desk::new(u64::MAX - 1);
    for replica in 0..4 {
        assert_eq!(desk.source(), replica);
        desk.hear(replica, &fabricate_unchecked(u64::MAX - 1));
        desk.pass(1);
    }
    assert_eq!(desk.deliver(), (vec![], Delivery::Drained));
}

/// Two runs of two entries: [`Stretch::end`] would count beyond the last number.
fn fabricate_unchecked(position: u64) -> Vec<u8> {
    Stretch::fabricate(position, Digest::default(), 2, 9).encode()
}

/// Whatever `f` replicas do and the network loses, a subscriber gets the log, all of it, once, and in time.
fn chance(replicas: usize, seeds: std::ops::Range<u64>) {
    let faults = (replicas - 1) / 3;
    for seed in seeds {
        let mut random = Random(seed ^ 0xf0110);
        let lies: Vec<Lie> = (0..faults).map(|_| Lie::ALL[random.below(6) as usize]).collect();
        let plan = Plan {
            seed,
            replicas,
            lies: lies.clone(),
            requests: 40 + random.below(100) as usize,
            request_interval_ns: random.below(5) * MILLISECOND_NS,
            loss_percent: random.below(20),
            delay_max_ns: 1 + random.below(3 * MILLISECOND_NS),
            from: random.below(60),
            entries_a_step: 1 + random.below(8) as usize,
        };
        let mut model = Model::new(plan);
        let entries = model.entries();
        let took_ns = model.run(entries.len(), CHANCE_MAX_NS);
        assert!(
            took_ns.is_some(),
            "seed {seed}: {} of {} entries came in time, {lies:?}",
            model.got.len(),
            entries.len()
        );
        assert!(model.got == entries, "seed {seed}: other entries than the log's came, {lies:?}");
    }
}

/// The longest that a subscriber may take for at most 560 entries, which are appended in half a second: twice what the slowest of 12,000
/// seeds took.
const CHANCE_MAX_NS: u64 = 3_000 * MILLISECOND_NS;

#[test]
fn one_liar_of_four_neither_cheats_nor_stops_a_subscriber() {
    chance(4, 0..150);
}

#[test]
fn two_liars_of_seven_neither_cheat_nor_stop_a_subscriber() {
    chance(7, 0..150);
}

/// The pieces of the run that begins at a position, of so many bytes each.
fn pieces(log: &OrderedLog, position: u64, piece_bytes: usize) -> Vec<Vec<u8>> {
    let run = log.run_containing(position).unwrap();
    let message = run.message.to_vec();
    let encode = |(index, bytes): (usize, &[u8])| {
        let mut encoded = Vec::new();
        RunPart {
            stream: STREAM,
            position: run.position_first,
            timestamp_ns: run.timestamp_ns,
            chain: run.chain_before,
            total_bytes: message.len(),
            offset: index * piece_bytes,
            bytes,
        }
        .append(&mut encoded);
        encoded
    };
    message.chunks(piece_bytes).enumerate().map(encode).collect()
}

/// `protocol.md LR-6`
#[test]
fn a_run_in_parts_counts_when_it_is_whole_and_vouched_for() {
    let mut desk = Desk::new(3);
    let pieces = pieces(&desk.log, 2, 25);
    assert!(pieces.len() > 3);
    desk.hear(0, &pieces[1]);
    assert!(desk.follower.partial.is_none(), "it begins with the first");
    desk.hear(1, &pieces[0]);
    assert!(desk.follower.partial.is_none(), "another replica is no source");
    desk.hear(0, &pieces[0]);
    // The second is lost: the third does not go on from there.
    desk.hear(0, &pieces[2]);
    desk.hear(0, &pieces[0]);
    assert_eq!(desk.follower.partial.as_ref().unwrap().bytes.len(), 25);
    desk.pass(FOLLOW_RENEW_NS / MILLISECOND_NS + 1);
    assert_eq!(desk.followed, Some((ReplicaId(0), 2)), "asked for from where the run begins");
    pieces[1..].iter().for_each(|piece| desk.hear(0, piece));
    assert_eq!(desk.follower.received.map(|(end, _)| end), Some(4));
    desk.pass(0);
    assert_eq!(desk.deliver(), (vec![], Delivery::Drained));
    desk.hear_answer(2, 4);
    assert_eq!(desk.deliver(), (vec![3], Delivery::Drained));
}

/// `protocol.md LR-6`: what a source claims of a run's length takes no memory, and one that is too long is nobody's.
#[test]
fn a_run_that_never_ends_is_bounded() {
    let mut desk = Desk::new(0);
    let mut endless = |total_bytes: usize, offset: usize| {
        let (position, timestamp_ns, chain, bytes) = (0, 5, Digest::ZERO, &[7; 1000][..]);
        let mut encoded = Vec::new();
        RunPart { stream: STREAM, position, timestamp_ns, chain, total_bytes, offset, bytes }.append(&mut encoded);
        desk.hear(0, &encoded);
        desk.pass(0);
        (desk.follower.partial.as_ref().map(|partial| partial.bytes.capacity()), desk.source())
    };
    let (held, source) = endless(1 << 16, 0);
    assert!(held.is_some_and(|bytes| bytes <= 4096) && source == 0);
    assert_eq!(endless((1 << 16) + 1, 0), (None, 1));
}
