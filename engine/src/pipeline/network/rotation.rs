//! When this process's key is replaced, and when former generations go (`protocol.md KY-1` to `KY-4`). Pure: it decides, the network does.
//!
//! ```text
//!   generation g     |-------------------------------------------|
//!   generation g+1                          |---------------------------------- ...
//!                                           rotate        retire
//!                                           |<-- overlap -->|
//! ```

use crate::limits::{KEY_OVERLAP_NS, KEY_PACKETS_MAX};
use crate::numbers::{ReplicaId, ReplicaSet};

/// How long a generation of a process's key lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationPolicy {
    /// The longest time, or zero where time does not end it.
    pub lifetime_ns: u64,
    /// The most packets sealed under it.
    pub packets_max: u64,
}

impl RotationPolicy {
    /// That of a cluster whose keys live so many seconds, 0 for ever.
    pub fn of_lifetime_s(seconds: u64) -> Self {
        Self { lifetime_ns: seconds * 1_000_000_000, packets_max: KEY_PACKETS_MAX }
    }

    /// How long two generations overlap.
    pub fn overlap_ns(&self) -> u64 {
        match self.lifetime_ns {
            0 => KEY_OVERLAP_NS,
            lifetime => (lifetime / 4).min(KEY_OVERLAP_NS),
        }
    }
}

/// What is to be done about keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Make the next generation, and announce it to everybody.
    Rotate,
    /// The own former generation goes.
    Retire,
    /// A peer's former generation goes.
    RetireOf(usize),
}

/// The schedule of one process's key.
#[derive(Debug)]
pub(super) struct Rotation {
    policy: RotationPolicy,
    /// Spreads the processes of a cluster over the time.
    seed: u64,
    generation: u64,
    due_ns: u64,
    packets_before: u64,
    demanded: bool,
    rotated_ns: u64,
    overlap_until_ns: Option<u64>,
    /// By peer: when its former generation goes.
    retire_at_ns: Box<[u64]>,
    /// The least of these: a duty cycle looks at this one alone.
    retire_first_ns: u64,
    /// For a process that follows the replicas: those that rotated since it did, and how many make it follow.
    followed: Option<(ReplicaSet, usize)>,
    /// The operator's last wish.
    wish: u64,
    in_use_after_ns: u64,
}

impl Rotation {
    /// Of a process with so many peers, which starts now. `follows`: a client, which rotates when so many replicas did.
    pub(super) fn new(policy: RotationPolicy, seed: u64, peers: usize, follows: Option<usize>, now_ns: u64) -> Self {
        let mut rotation = Self {
            policy,
            seed,
            generation: 0,
            due_ns: u64::MAX,
            packets_before: 0,
            demanded: false,
            rotated_ns: now_ns,
            overlap_until_ns: None,
            retire_at_ns: vec![u64::MAX; peers].into(),
            retire_first_ns: u64::MAX,
            followed: follows.map(|count| (ReplicaSet::EMPTY, count)),
            wish: 0,
            in_use_after_ns: 0,
        };
        rotation.due_ns = rotation.next_due_ns(now_ns);
        rotation
    }

    /// The life of this generation is between three quarters of the longest and the longest: by identity and generation, so that neither
    /// all processes rotate at once nor the same two ever again together.
    fn next_due_ns(&self, now_ns: u64) -> u64 {
        if self.policy.lifetime_ns == 0 {
            return u64::MAX;
        }
        // The finaliser of splitmix64.
        let mut mixed = self.seed.wrapping_add(self.generation.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        now_ns + self.policy.lifetime_ns - mixed % (self.policy.lifetime_ns / 4).max(1)
    }

    /// What is to be done now, one thing a call, until there is nothing; `packets` were sealed since the start.
    pub(super) fn poll(&mut self, now_ns: u64, packets: u64) -> Option<Change> {
        if self.overlap_until_ns.is_some_and(|until| until <= now_ns) {
            self.overlap_until_ns = None;
            // What rotated meanwhile belongs to the same wave.
            if let Some((rotated, _)) = &mut self.followed {
                *rotated = ReplicaSet::EMPTY;
            }
            return Some(Change::Retire);
        }
        if self.retire_first_ns <= now_ns
            && let Some(peer) = self.retire_at_ns.iter().position(|at| *at <= now_ns)
        {
            self.set_retirement(peer, u64::MAX);
            return Some(Change::RetireOf(peer));
        }
        let worn = packets - self.packets_before >= self.policy.packets_max;
        // A third generation would end the overlap of the two before their time, and lose packets.
        if self.overlap_until_ns.is_none() && (self.demanded || worn || self.due_ns <= now_ns) {
            self.generation += 1;
            (self.demanded, self.packets_before) = (false, packets);
            (self.rotated_ns, self.in_use_after_ns) = (now_ns, 0);
            self.overlap_until_ns = Some(now_ns + self.policy.overlap_ns());
            self.due_ns = self.next_due_ns(now_ns);
            return Some(Change::Rotate);
        }
        None
    }

    /// When [`Rotation::poll`] is to be called at the latest.
    pub(super) fn deadline_ns(&self) -> u64 {
        let own = match self.overlap_until_ns {
            Some(until) => until,
            None if self.demanded => 0,
            None => self.due_ns,
        };
        self.retire_first_ns.min(own)
    }

    /// Whether two own generations are in force.
    pub(super) fn overlaps(&self) -> bool {
        self.overlap_until_ns.is_some()
    }

    /// The operator wishes a rotation. Each wish counts once, however often it is repeated.
    pub(super) fn wish(&mut self, number: u64) {
        if number > self.wish {
            self.wish = number;
            self.demanded = true;
        }
    }

    /// When the generation that was wished is made; `None` if it is made.
    pub(super) fn wished_in_ns(&self, now_ns: u64) -> Option<u64> {
        self.demanded.then(|| self.overlap_until_ns.map_or(0, |until| until.saturating_sub(now_ns)))
    }

    /// A peer announced a newer generation of its key.
    pub(super) fn peer_rotated(&mut self, peer: usize, replica: Option<ReplicaId>, now_ns: u64) {
        // The peer may seal under it until its own overlap is over, and what it sealed last is on its way then.
        self.set_retirement(peer, now_ns + self.policy.overlap_ns() + self.policy.overlap_ns() / 2);
        let overlaps = self.overlaps();
        if let (Some((rotated, enough)), Some(id)) = (&mut self.followed, replica)
            && !overlaps
        {
            rotated.insert(id);
            self.demanded |= rotated.count() >= *enough;
        }
    }

    /// A peer's session began anew: it has one generation.
    pub(super) fn peer_established(&mut self, peer: usize) {
        self.set_retirement(peer, u64::MAX);
    }

    fn set_retirement(&mut self, peer: usize, at_ns: u64) {
        self.retire_at_ns[peer] = at_ns;
        self.retire_first_ns = self.retire_at_ns.iter().copied().min().unwrap_or(u64::MAX);
    }

    /// All replicas with a session confirmed the newest generation.
    pub(super) fn confirmed(&mut self, now_ns: u64) {
        if self.generation > 0 && self.in_use_after_ns == 0 {
            self.in_use_after_ns = now_ns.saturating_sub(self.rotated_ns).max(1);
        }
    }

    /// How long after its making the newest generation was confirmed by all replicas with a session; zero where it is not.
    pub(super) fn in_use_after_ns(&self) -> u64 {
        self.in_use_after_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn drain(rotation: &mut Rotation, now_ns: u64, packets: u64) -> Vec<Change> {
        std::iter::from_fn(|| rotation.poll(now_ns, packets)).collect()
    }

    /// `protocol.md KY-1`
    #[test]
    fn lives_end_in_time_and_at_different_times() {
        let policy = RotationPolicy::of_lifetime_s(3600);
        let mut dues = std::collections::BTreeSet::new();
        for seed in 0..50 {
            let mut rotation = Rotation::new(policy, seed, 3, None, 0);
            let mut began = 0;
            for _ in 0..20 {
                let due = rotation.deadline_ns();
                assert!((began + 2700 * SECOND..=began + 3600 * SECOND).contains(&due));
                assert_eq!(drain(&mut rotation, due - 1, 0), []);
                assert_eq!(drain(&mut rotation, due, 0), [Change::Rotate]);
                assert_eq!(rotation.deadline_ns(), due + KEY_OVERLAP_NS);
                assert_eq!(drain(&mut rotation, due + KEY_OVERLAP_NS, 0), [Change::Retire]);
                assert!(dues.insert(due / SECOND * 1000 + seed), "the lives of one process differ");
                began = due;
            }
        }
        let firsts: std::collections::BTreeSet<u64> =
            (0..50).map(|seed| Rotation::new(policy, seed, 3, None, 0).deadline_ns() / SECOND).collect();
        assert!(firsts.len() > 40, "{} of 50 at different seconds", firsts.len());
    }

    /// `protocol.md KY-1`
    #[test]
    fn a_generation_seals_no_more_packets_than_it_may() {
        let policy = RotationPolicy { lifetime_ns: 0, packets_max: 1000 };
        let mut rotation = Rotation::new(policy, 1, 3, None, 0);
        assert_eq!(rotation.deadline_ns(), u64::MAX, "time alone never ends it");
        assert_eq!(drain(&mut rotation, 5, 999), []);
        assert_eq!(drain(&mut rotation, 6, 1000), [Change::Rotate]);
        let over = 6 + policy.overlap_ns();
        assert_eq!(drain(&mut rotation, over - 1, 2500), [], "not before the overlap is over");
        assert_eq!(drain(&mut rotation, over, 2500), [Change::Retire, Change::Rotate]);
        assert_eq!(drain(&mut rotation, 2 * over, 3499), [Change::Retire]);
        assert_eq!(drain(&mut rotation, 2 * over, 3500), [Change::Rotate]);
    }

    /// `protocol.md KY-4`
    #[test]
    fn a_wish_counts_once_and_waits_for_the_overlap() {
        let mut rotation = Rotation::new(RotationPolicy::of_lifetime_s(0), 1, 3, None, 0);
        rotation.wish(10);
        rotation.wish(10);
        assert_eq!((rotation.deadline_ns(), rotation.wished_in_ns(3)), (0, Some(0)));
        assert_eq!(drain(&mut rotation, 3, 0), [Change::Rotate]);
        rotation.wish(10);
        rotation.wish(9);
        assert_eq!(rotation.wished_in_ns(3), None);
        rotation.confirmed(7);
        rotation.confirmed(9);
        assert_eq!(rotation.in_use_after_ns(), 4);
        rotation.wish(11);
        assert_eq!(rotation.wished_in_ns(3 + SECOND), Some(KEY_OVERLAP_NS - SECOND));
        assert_eq!(drain(&mut rotation, 3 + SECOND, 0), []);
        assert_eq!(drain(&mut rotation, 3 + KEY_OVERLAP_NS, 0), [Change::Retire, Change::Rotate]);
        assert_eq!(rotation.in_use_after_ns(), 0);
    }

    /// `protocol.md KY-3`
    #[test]
    fn a_peers_former_generation_goes_after_its_overlap() {
        let mut rotation = Rotation::new(RotationPolicy::of_lifetime_s(0), 1, 3, None, 0);
        rotation.peer_rotated(1, Some(ReplicaId(1)), 100);
        rotation.peer_rotated(2, Some(ReplicaId(2)), 200);
        rotation.peer_established(2);
        let kept_ns = KEY_OVERLAP_NS + KEY_OVERLAP_NS / 2;
        assert_eq!(drain(&mut rotation, 99 + kept_ns, 0), []);
        assert_eq!(drain(&mut rotation, 100 + kept_ns, 0), [Change::RetireOf(1)]);
        assert_eq!(drain(&mut rotation, 1000 * SECOND, 0), []);
    }

    /// `protocol.md KY-5`
    #[test]
    fn a_client_follows_a_weak_quorum_once_a_wave() {
        let mut rotation = Rotation::new(RotationPolicy::of_lifetime_s(0), 1, 4, Some(2), 0);
        rotation.peer_rotated(0, Some(ReplicaId(0)), 1);
        rotation.peer_rotated(0, Some(ReplicaId(0)), 2);
        assert_eq!(drain(&mut rotation, 3, 0), [], "one replica may be faulty, however often it rotates");
        rotation.peer_rotated(3, Some(ReplicaId(3)), 4);
        assert_eq!(drain(&mut rotation, 4, 0), [Change::Rotate]);
        rotation.peer_rotated(1, Some(ReplicaId(1)), 5);
        rotation.peer_rotated(2, Some(ReplicaId(2)), 6);
        let after = drain(&mut rotation, 10 + KEY_OVERLAP_NS, 0);
        assert!(!after.contains(&Change::Rotate), "the rest of the wave makes no second one: {after:?}");
        rotation.peer_rotated(1, Some(ReplicaId(1)), 11 + KEY_OVERLAP_NS);
        rotation.peer_rotated(2, Some(ReplicaId(2)), 12 + KEY_OVERLAP_NS);
        assert_eq!(drain(&mut rotation, 13 + KEY_OVERLAP_NS, 0), [Change::Rotate]);
    }
}
