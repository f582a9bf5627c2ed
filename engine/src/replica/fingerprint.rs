//! What of a replica decides what it will do, as one digest: how the exhaustive mode of the simulator recognises a state that it has been in.
//!
//! *Times are left out*, and what only times decide about: what was learned of them, doublings, allowances, pulses. Two replicas with one fingerprint do
//! the same as long as their clocks stand still, or leap so far that everything that waits for a time is due.
//!
//! *What is dead is left out*: votes beyond the quorum that they were counted for, statements of views that are over. *What reports only* is left out: reject
//! counters, evidence. Each struct is taken apart without a rest, so that whoever adds a field decides what it is.

use super::Replica;
use logothete_crypto::{Digest, DigestWriter};
use std::hash::{Hash, Hasher};

/// The domain of fingerprints.
const DOMAIN: &str = "logothete replica fingerprint";

/// Room for what is hashed of a replica with a small window.
const FINGERPRINT_BYTES: usize = 4096;

/// Gathers what is hashed, to be digested as a whole, so that no two states of an exploration share a fingerprint.
struct Fingerprint(Vec<u8>);

impl Hasher for Fingerprint {
    fn write(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn finish(&self) -> u64 {
        unreachable!("the digest is taken whole")
    }
}

impl Replica {
    /// The digest of everything that decides what the replica will do, but for times.
    pub fn fingerprint(&self) -> Digest {
        let mut state = Fingerprint(Vec::with_capacity(FINGERPRINT_BYTES));
        let Self {
            view,
            active,
            suspects,
            view_changes,
            recalling,
            unread_last,
            synchroniser,
            forwarding,
            log,
            bodies,
            clients,
            peers,
            checkpoints,
            accepted,
            executed,
            tentative,
            undoing,
            fetching,
            executed_timestamp_ns,
            proposed,
            proposed_timestamp_ns,
            carried_last,
            incomplete,
            held_until_ns,
            fell_behind,
            diverged,
            // Fixed at the start.
            config,
            signatures: _,
            // Of a replica that has a journal, or came back without memory.
            promises: _,
            recalled: _,
            recovery: _,
            forgotten: _,
            // Times, and what is measured in them.
            entered_ns: _,
            goodput: _,
            waits_since_ns: _,
            waits_due_ns: _,
            check_budget: _,
            pulse: _,
            tentative_since_ns: _,
            null_due_ns: _,
            nulls_in_a_row: _,
            recovery_seen_ns: _,
            looked_ns: _,
            // Of long requests and results, queries and disputed requests: nothing of them outlasts the call that brings it where all is short and
            // every tag good.
            assemblies: _,
            long_results: _,
            reads: _,
            disputes: _,
            // Reports, and what is told in them.
            highest_seen: _,
            rejects: _,
            evidence: _,
            // Empty between calls.
            entries: _,
            proposing: _,
        } = self;
        (view, active, suspects, recalling, unread_last).hash(&mut state);
        view_changes.fingerprint(*view, *active, &mut state);
        synchroniser.fingerprint(&mut state);
        forwarding.fingerprint(&mut state);
        log.hash(&mut state);
        clients.fingerprint(bodies, &mut state);
        peers.fingerprint(*view, *active, &mut state);
        checkpoints.hash(&mut state);
        (accepted, executed, tentative, undoing, fetching.map(|fetching| fetching.target.0)).hash(&mut state);
        (executed_timestamp_ns, proposed, proposed_timestamp_ns, carried_last).hash(&mut state);
        (held_until_ns.is_some(), fell_behind, diverged).hash(&mut state);
        let mut wanted: Vec<_> = incomplete.iter().map(|wanted| (*wanted, self.asked_next(wanted))).collect();
        wanted.sort_unstable();
        wanted.hash(&mut state);
        assert!(!config.keeps_journal && !config.forgot, "what a journal decides is not in the fingerprint");
        DigestWriter::new(DOMAIN).update(&state.0).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{config, now, replica};
    use super::*;
    use crate::limits::DATAGRAM_BYTES_LOOPBACK;
    use crate::numbers::{ReplicaId, SequenceNumber, View};
    use crate::replica::Output;
    use crate::wire::agreement::Vote;

    fn prepared_by(from: &[(u8, u8)]) -> Replica {
        let (mut replica, mut output) = (replica(config(DATAGRAM_BYTES_LOOPBACK)), Output::new());
        for (id, batch) in from {
            let vote = Vote::new(View(0), SequenceNumber(1), Digest([*batch; 32]));
            let _ = replica.on_prepare(now(), ReplicaId(*id), &vote, &mut output);
        }
        replica
    }

    #[test]
    fn a_fingerprint_is_of_what_counts_and_not_of_how_it_came() {
        let fingerprint = |from: &[(u8, u8)]| prepared_by(from).fingerprint();
        assert_eq!(fingerprint(&[(2, 7), (3, 7)]), fingerprint(&[(3, 7), (2, 7)]));
        // What is rejected leaves a trace in the counters only.
        assert_eq!(fingerprint(&[(2, 7), (3, 7)]), fingerprint(&[(2, 7), (2, 8), (3, 7), (3, 7)]));
        let different = [fingerprint(&[]), fingerprint(&[(2, 7)]), fingerprint(&[(3, 7)]), fingerprint(&[(2, 8)])];
        for (at, one) in different.iter().enumerate() {
            assert!(different[at + 1..].iter().all(|other| other != one));
        }
    }

    #[test]
    fn a_copy_goes_its_own_way() {
        let original = prepared_by(&[(2, 7)]);
        let before = original.fingerprint();
        let (mut copy, mut output) = (original.clone(), Output::new());
        assert_eq!(copy.fingerprint(), before);
        let vote = Vote::new(View(0), SequenceNumber(1), Digest([7; 32]));
        copy.on_prepare(now(), ReplicaId(3), &vote, &mut output).unwrap();
        assert_ne!(copy.fingerprint(), before);
        assert_eq!(original.fingerprint(), before);
    }
}
