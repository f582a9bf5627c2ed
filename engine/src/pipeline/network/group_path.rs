//! Whether this process's group datagrams reach the replicas (`protocol.md PK-7`): found out by probes, again and again, since a network may
//! stop forwarding a group, or begin to. Pure: it decides, the network sends.

use crate::limits::{PROBE_MAX_NS, PROBE_MIN_NS, PROBE_NS, PROBES_MISSED_MAX, REPLICAS_MAX};
use crate::numbers::{ReplicaId, ReplicaSet};

/// What is known of one replica, in numbers of probes; zero for none.
#[derive(Clone, Copy, Debug, Default)]
struct Path {
    /// The last that it answered, or the last before its session began.
    alive: u64,
    /// The last that it answered and that reached it through the group.
    hears: u64,
}

/// The probes of one process.
#[derive(Debug)]
pub(super) struct GroupPath {
    number: u64,
    paths: [Path; REPLICAS_MAX],
    due_ns: u64,
    wait_ns: u64,
}

impl GroupPath {
    /// Nothing is known; the first probe is due.
    pub(super) fn new() -> Self {
        Self { number: 0, paths: [Path::default(); REPLICAS_MAX], due_ns: 0, wait_ns: PROBE_MIN_NS }
    }

    /// A replica's session begins: what its former process heard says nothing of this one.
    pub(super) fn begin(&mut self, id: ReplicaId, now_ns: u64) {
        self.paths[usize::from(id.0)] = Path { alive: self.number, hears: 0 };
        (self.wait_ns, self.due_ns) = (PROBE_MIN_NS, now_ns);
    }

    /// A replica answered a probe.
    pub(super) fn answered(&mut self, id: ReplicaId, number: u64, through_group: bool) {
        if number > self.number {
            // No probe of this process had that number.
            return;
        }
        let path = &mut self.paths[usize::from(id.0)];
        path.alive = path.alive.max(number);
        if through_group {
            path.hears = path.hears.max(number);
        }
    }

    /// Whether a packet for all of `replicas` may go to the group: each of them heard one of the last probes, or says nothing at all.
    pub(super) fn reaches(&self, replicas: ReplicaSet) -> bool {
        replicas.iter().all(|id| self.hears(id) || self.is_silent(id))
    }

    /// Those that did not answer the last probe as heard: they get the next one by unicast as well, which tells the dead path from the dead
    /// replica.
    pub(super) fn doubtful(&self, replicas: ReplicaSet) -> ReplicaSet {
        let mut doubtful = ReplicaSet::EMPTY;
        for id in replicas.iter().filter(|id| self.number == 0 || self.paths[usize::from(id.0)].hears < self.number) {
            doubtful.insert(id);
        }
        doubtful
    }

    fn hears(&self, id: ReplicaId) -> bool {
        let hears = self.paths[usize::from(id.0)].hears;
        hears > 0 && self.number - hears <= PROBES_MISSED_MAX
    }

    fn is_silent(&self, id: ReplicaId) -> bool {
        self.number - self.paths[usize::from(id.0)].alive > PROBES_MISSED_MAX
    }

    /// The number of the probe to send now, if one is due.
    pub(super) fn poll(&mut self, replicas: ReplicaSet, now_ns: u64) -> Option<u64> {
        if self.due_ns > now_ns {
            return None;
        }
        let in_use = self.number > 0 && self.reaches(replicas);
        self.number += 1;
        if in_use && self.reaches(replicas) {
            (self.due_ns, self.wait_ns) = (now_ns + PROBE_NS, PROBE_MIN_NS);
        } else {
            self.due_ns = now_ns + self.wait_ns;
            self.wait_ns = (2 * self.wait_ns).min(PROBE_MAX_NS);
        }
        Some(self.number)
    }

    /// When [`GroupPath::poll`] is to be called at the latest.
    pub(super) fn deadline_ns(&self) -> u64 {
        self.due_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OTHERS: ReplicaSet = ReplicaSet(0b1110);

    /// Replicas that hear the group, and those that answer at all.
    fn turn(path: &mut GroupPath, hearing: ReplicaSet, answering: ReplicaSet) -> bool {
        let now_ns = path.deadline_ns();
        let doubtful = path.doubtful(OTHERS);
        let number = path.poll(OTHERS, now_ns).expect("it is due");
        for id in answering.iter() {
            if hearing.contains(id) {
                path.answered(id, number, true);
            } else if doubtful.contains(id) {
                path.answered(id, number, false);
            }
        }
        path.reaches(OTHERS)
    }

    fn introduced() -> GroupPath {
        let mut path = GroupPath::new();
        OTHERS.iter().for_each(|id| path.begin(id, 0));
        path
    }

    /// `protocol.md PK-7`
    #[test]
    fn multicast_begins_with_answers_of_all() {
        let mut path = introduced();
        assert!(!path.reaches(OTHERS));
        assert!(!turn(&mut path, ReplicaSet(0b0110), OTHERS));
        assert!(turn(&mut path, OTHERS, OTHERS));
        // Answers to what was never asked count for nothing.
        let mut path = introduced();
        OTHERS.iter().for_each(|id| path.answered(id, 1, true));
        assert!(!path.reaches(OTHERS));
    }

    /// `protocol.md PK-7`
    #[test]
    fn a_path_that_dies_is_noticed_and_comes_back() {
        let mut path = introduced();
        for _ in 0..5 {
            turn(&mut path, OTHERS, OTHERS);
        }
        let one_deaf = ReplicaSet(0b1010);
        let began_ns = path.deadline_ns();
        let turns = (1..).find(|_| !turn(&mut path, one_deaf, OTHERS)).unwrap();
        assert_eq!(turns, PROBES_MISSED_MAX + 1);
        let noticed_ns = path.deadline_ns() - began_ns;
        assert!(noticed_ns <= (PROBES_MISSED_MAX + 1) * PROBE_NS, "noticed after {noticed_ns} ns");
        for _ in 0..50 {
            assert!(!turn(&mut path, one_deaf, OTHERS), "it stays unicast");
        }
        assert!(turn(&mut path, OTHERS, OTHERS), "one answer of each, and it is back");
        // All at once: nobody hears the group any more, and copies by unicast still tell who is there.
        assert!((0..10).any(|_| !turn(&mut path, ReplicaSet::EMPTY, OTHERS)));
        assert!(turn(&mut path, OTHERS, OTHERS));
    }

    /// `protocol.md PK-7`
    #[test]
    fn a_dead_replica_ends_nothing() {
        let mut path = introduced();
        turn(&mut path, OTHERS, OTHERS);
        let two_left = ReplicaSet(0b0110);
        for _ in 0..30 {
            assert!(turn(&mut path, two_left, two_left), "a replica that is silent on all paths is not waited for");
        }
        // Back without a restart, through unicast only: it counts again.
        assert!(!turn(&mut path, two_left, OTHERS));
        assert!(turn(&mut path, OTHERS, OTHERS));
        // Lost probes are no dead path.
        for _ in 0..20 {
            for _ in 0..PROBES_MISSED_MAX {
                assert!(turn(&mut path, two_left, OTHERS));
            }
            assert!(turn(&mut path, OTHERS, OTHERS));
        }
    }

    /// `protocol.md PK-7`
    #[test]
    fn probes_slow_down_where_they_are_in_vain() {
        let mut path = introduced();
        let mut waits = Vec::new();
        for _ in 0..12 {
            let now_ns = path.deadline_ns();
            turn(&mut path, ReplicaSet::EMPTY, OTHERS);
            waits.push(path.deadline_ns() - now_ns);
        }
        assert_eq!((waits[0], waits[11]), (PROBE_MIN_NS, PROBE_MAX_NS));
        assert!(waits.windows(2).all(|pair| pair[0] <= pair[1]));
        path.begin(ReplicaId(2), 7);
        assert_eq!(path.deadline_ns(), 7, "at once for a new process");
    }
}
