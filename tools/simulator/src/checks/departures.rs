//! C11 from the receiver's side, for views: a correct replica leaves a view, or gives up waiting for one, for a reason that really reached it. Statuses and
//! view changes count for who really made them, so that one replica is never two, and nobody's word is another's.

use super::quorums::Quorums;
use super::statements::Statements;
use super::violations::{Checker, Violations};
use logothete_crypto::Digest;
use logothete_engine::numbers::{ReplicaId, ReplicaSet};
use logothete_engine::wire::retransmission::Standing;
use std::collections::{BTreeMap, BTreeSet};

/// What reached one replica, in all its lives.
#[derive(Debug, Default)]
struct Told {
    /// View changes of which at least a part did.
    statements: BTreeSet<Digest>,
    /// From which view on each other stays, by its statuses.
    stays_from: BTreeMap<ReplicaId, u64>,
    /// The highest view in which each other said that it was.
    was_in: BTreeMap<ReplicaId, u64>,
}

/// What reached each of them.
#[derive(Debug)]
pub struct Departures {
    quorums: Quorums,
    /// View changes that correct replicas made.
    made: BTreeSet<(ReplicaId, Digest)>,
    replicas: Vec<Told>,
}

impl Departures {
    pub fn new(quorums: Quorums) -> Self {
        let replicas = (0..quorums.replicas).map(|_| Told::default()).collect();
        Self { quorums, made: BTreeSet::new(), replicas }
    }

    /// A correct replica made a view change.
    pub fn on_made(&mut self, by: ReplicaId, statement: Digest) {
        self.made.insert((by, statement));
    }

    /// A part of a statement reached a correct replica, from whomever.
    pub fn on_part(&mut self, at: ReplicaId, statement: Digest) {
        self.replicas[usize::from(at.0)].statements.insert(statement);
    }

    /// A status reached a correct replica: its sender is in a view, or wants it, and perhaps suspects its primary.
    pub fn on_status(&mut self, at: ReplicaId, from: ReplicaId, standing: &Standing) {
        let told = &mut self.replicas[usize::from(at.0)];
        let stays_from = told.stays_from.entry(from).or_default();
        *stays_from = standing.view.0.saturating_add(u64::from(standing.suspects)).max(*stays_from);
        if standing.active {
            let was_in = told.was_in.entry(from).or_default();
            *was_in = standing.view.0.max(*was_in);
        }
    }

    /// The highest view that each other asked a replica for.
    fn asked(&self, at: ReplicaId, statements: &Statements, faulty: ReplicaSet) -> BTreeMap<ReplicaId, u64> {
        let mut asked: BTreeMap<ReplicaId, u64> = BTreeMap::new();
        for statement in &self.replicas[usize::from(at.0)].statements {
            let Some(content) = statements.get(statement).and_then(|seen| seen.view_change()) else { continue };
            let really = faulty.contains(content.replica) || self.made.contains(&(content.replica, *statement));
            if really && content.replica != at {
                let highest = asked.entry(content.replica).or_default();
                *highest = content.view.0.max(*highest);
            }
        }
        asked
    }

    /// A correct replica left for a view (`protocol.md VC-1`, `VC-4`, `VC-8`): because with itself `f+1` had enough of the view before, because `f+1` others ask for
    /// that view or later ones, or because `2f+1` wanted the view before or were in it, and nothing came of it. Whether only the first can be.
    pub fn on_left(
        &self,
        by: ReplicaId,
        wanted: u64,
        (statements, faulty): (&Statements, ReplicaSet),
        violations: &mut Violations,
    ) -> bool {
        let asked = self.asked(by, statements, faulty);
        let ask_for = |view: u64| asked.values().filter(|asked| **asked >= view).count();
        let Told { stays_from, was_in, .. } = &self.replicas[usize::from(by.0)];
        let others = || (0..self.quorums.replicas as u8).map(ReplicaId).filter(|id| *id != by);
        let against = others().filter(|id| stays_from.get(id) >= Some(&wanted)).count();
        let joined = ask_for(wanted) >= self.quorums.weak;
        let fed_up = 1 + against.max(ask_for(wanted)) >= self.quorums.weak;
        let before = Some(&(wanted - 1));
        let waiting = 1 + others().filter(|id| asked.get(id).max(was_in.get(id)) >= before).count();
        let waited = waiting >= self.quorums.strong;
        if !joined && !fed_up && !waited {
            let text =
                format!("{by} left for view {wanted}, and was asked {asked:?} and told {stays_from:?}, {was_in:?}");
            violations.add(Checker::Certificates, text);
        }
        !joined && !waited
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_crypto::digest;
    use logothete_engine::numbers::{SequenceNumber, View};
    use logothete_engine::wire::view_change::{Part, StatementKind, ViewChange};

    const BY: ReplicaId = ReplicaId(1);

    /// A view change of somebody's, signed by `signer`, seen whole.
    fn asks(statements: &mut Statements, of: u8, view: u64, signer: u8) -> Digest {
        let content = ViewChange {
            view: View(view),
            stable: SequenceNumber(0),
            epoch: 7,
            replica: ReplicaId(of),
            checkpoints: &[],
            prepared: &[],
            pre_prepared: &[],
        };
        let bytes = content.encode(|_| [signer; 64]);
        let (statement, replica) = (StatementKind::ViewChange, ReplicaId(of));
        let digest = digest(&bytes);
        let part =
            Part { statement, replica, view: View(view), digest, total_bytes: bytes.len(), index: 0, bytes: &bytes };
        assert!(statements.take(&part));
        digest
    }

    /// Whether it may leave for view 2 after these asked it for views, each perhaps in another's name, and after these statuses.
    fn may_leave(asked: &[(u8, u64, u8)], told: &[(u8, Standing)]) -> bool {
        let (mut departures, mut statements) = (Departures::new(Quorums::of(4)), Statements::default());
        for (of, view, signer) in asked {
            let statement = asks(&mut statements, *of, *view, *signer);
            if of == signer {
                departures.on_made(ReplicaId(*of), statement);
            }
            departures.on_part(BY, statement);
            departures.on_part(ReplicaId(0), statement);
        }
        for (from, standing) in told {
            departures.on_status(BY, ReplicaId(*from), standing);
        }
        let mut violations = Violations::default();
        departures.on_left(BY, 2, (&statements, ReplicaSet::only(ReplicaId(3))), &mut violations);
        violations.checkers().is_empty()
    }

    #[test]
    fn a_view_is_left_with_f_others_that_have_enough_of_it() {
        assert!(!may_leave(&[], &[]));
        let present = Standing::active_in(View(1));
        let suspects = Standing { suspects: true, ..present };
        assert!(!may_leave(&[], &[(0, present), (1, suspects)]), "itself is nobody else");
        assert!(may_leave(&[], &[(2, suspects)]));
        assert!(may_leave(&[(2, 2, 2)], &[]));
    }

    #[test]
    fn a_view_that_is_wanted_is_waited_for_with_a_quorum() {
        assert!(!may_leave(&[(0, 1, 0)], &[]));
        assert!(may_leave(&[(0, 1, 0), (2, 1, 2)], &[]));
        assert!(!may_leave(&[(0, 1, 0), (2, 1, 3)], &[]), "one is made up");
        assert!(may_leave(&[(0, 1, 0), (3, 1, 2)], &[]), "who is faulty may give away its key");
    }

    #[test]
    fn who_is_in_a_view_counts_among_those_that_want_it() {
        let entered = Standing::active_in(View(1));
        let wants = Standing { active: false, ..entered };
        assert!(may_leave(&[(0, 1, 0)], &[(2, entered)]));
        assert!(may_leave(&[], &[(0, entered), (2, entered)]));
        assert!(!may_leave(&[(0, 1, 0)], &[(0, entered)]), "one that says it twice is one");
        assert!(!may_leave(&[], &[(1, entered), (2, entered)]), "itself is nobody else");
        assert!(!may_leave(&[(0, 1, 0)], &[(2, wants)]), "who wants it says so with its signature");
        assert!(!may_leave(&[(0, 1, 0)], &[(2, Standing::active_in(View(0)))]));
    }
}
