//! C11 for views: a correct replica opens and enters a view only with a new view that follows from the view changes which it names, and these are of
//! a quorum of distinct replicas, each really made by the one in whose name it is.

use super::judge::judge;
use super::quorums::Quorums;
use super::statements::Statements;
use super::violations::{Checker, Violations};
use logothete_crypto::Digest;
use logothete_engine::numbers::{ReplicaId, ReplicaSet};
use logothete_engine::wire::view_change::{NewView, ViewChange};
use std::collections::{BTreeMap, BTreeSet};

/// The new views that were seen.
#[derive(Debug)]
pub struct Views {
    quorums: Quorums,
    window: u64,
    /// By view: those that its primary signed.
    opened: BTreeMap<u64, BTreeSet<Digest>>,
    /// View changes that correct replicas made.
    made: BTreeSet<(ReplicaId, Digest)>,
    /// New views that were found right.
    right: BTreeSet<Digest>,
    /// The view that each entered last and has not left.
    entered: Vec<Option<u64>>,
}

impl Views {
    pub fn new(quorums: Quorums, window: u64) -> Self {
        Self {
            quorums,
            window,
            opened: BTreeMap::new(),
            made: BTreeSet::new(),
            right: BTreeSet::new(),
            entered: vec![Some(0); quorums.replicas],
        }
    }

    /// Whether a statement in this one's name is its primary's.
    pub fn is_primary(&self, content: &NewView<'_>) -> bool {
        content.view.0 % self.quorums.replicas as u64 == u64::from(content.replica.0)
    }

    /// A new view that its primary signed was seen whole.
    pub fn on_new_view(&mut self, content: &NewView<'_>, statement: Digest) {
        self.opened.entry(content.view.0).or_default().insert(statement);
    }

    /// A correct replica sends a view change of its own.
    pub fn on_view_change(&mut self, by: ReplicaId, statement: Digest) {
        self.made.insert((by, statement));
    }

    /// A correct replica says that it left its view for another. Whether the primary of the view before that one signed a wrong new view: that is a reason.
    pub fn on_left(&mut self, by: ReplicaId, wanted: u64, statements: &Statements, faulty: ReplicaSet) -> bool {
        self.entered[usize::from(by.0)] = None;
        let wrong = |statement: &Digest| {
            let content = statements.get(statement).and_then(|seen| seen.new_view()).expect("it was seen whole");
            self.look_at(&content, statements, faulty).is_err()
        };
        self.opened.get(&(wanted - 1)).is_some_and(|opened| opened.iter().any(wrong))
    }

    /// A correct replica refuses a new view of a correct primary: one of the two decides wrongly.
    pub fn on_refused(&self, by: ReplicaId, view: u64, violations: &mut Violations) {
        violations.add(Checker::Certificates, format!("{by} refuses the new view v{view} of a correct primary"));
    }

    /// A process ended, and another began, in a view or wanting it. Whether it is in one of others it says when it enters it; one of its own it may have
    /// entered before its end, and nobody heard of it.
    pub fn on_restarted(&mut self, by: ReplicaId, view: u64) {
        self.entered[usize::from(by.0)] = Some(view).filter(|view| self.is_own(by, *view));
    }

    /// What is wrong with a new view.
    ///
    /// # Errors
    /// It, in words.
    fn look_at(&self, content: &NewView<'_>, statements: &Statements, faulty: ReplicaSet) -> Result<(), String> {
        let named: Option<Vec<ViewChange<'_>>> =
            content.named.iter().map(|named| statements.get(&named.digest)?.view_change()).collect();
        let named = named.ok_or("it names view changes that nobody sent")?;
        if named.iter().any(|message| message.view != content.view) {
            return Err("it names view changes for other views".to_owned());
        }
        let signers = named.iter().fold(0, |signers, message| signers | ReplicaSet::only(message.replica).0);
        if ReplicaSet(signers).count() < self.quorums.strong {
            return Err(format!("it names view changes of {:?} only", ReplicaSet(signers)));
        }
        let forged = content.named.iter().zip(&named).find(|(named, message)| {
            !faulty.contains(message.replica) && !self.made.contains(&(message.replica, named.digest))
        });
        if let Some((_, message)) = forged {
            return Err(format!("it names a view change of {} that it never made", message.replica));
        }
        let made = ((content.checkpoint.0.0, content.checkpoint.1), content.selection.to_vec());
        let verdict = judge(&named, self.quorums.faults, self.window);
        if verdict.as_ref() == Some(&made) {
            Ok(())
        } else {
            Err(format!("it is of {made:?}, and should be {verdict:?}"))
        }
    }

    /// A correct replica sends a new view of its own. Whether it is right.
    pub fn on_own_new_view(
        &mut self,
        by: ReplicaId,
        (content, statement): (&NewView<'_>, Digest),
        statements: &Statements,
        faulty: ReplicaSet,
        violations: &mut Violations,
    ) -> bool {
        if self.right.contains(&statement) {
            return true;
        }
        match self.look_at(content, statements, faulty) {
            Ok(()) => self.right.insert(statement),
            Err(text) => {
                violations.add(Checker::Certificates, format!("{by} made the new view v{}: {text}", content.view));
                false
            }
        }
    }

    /// Whether a replica is in a view of its own that nobody has heard of yet.
    pub fn is_unheard(&self, by: ReplicaId) -> bool {
        let entered = self.entered[usize::from(by.0)];
        entered.is_some_and(|view| self.is_own(by, view) && view > 0 && !self.opened.contains_key(&view))
    }

    fn is_own(&self, by: ReplicaId, view: u64) -> bool {
        view % self.quorums.replicas as u64 == u64::from(by.0)
    }

    /// A correct replica says that it entered a view. The checkpoints from which the view's right new views start.
    pub fn on_entered(
        &mut self,
        by: ReplicaId,
        view: u64,
        statements: &Statements,
        faulty: ReplicaSet,
        violations: &mut Violations,
    ) -> Vec<(u64, Digest)> {
        self.entered[usize::from(by.0)] = Some(view);
        if self.is_own(by, view) && !self.opened.contains_key(&view) {
            // Its own new view leaves when it is durable, and is looked at then.
            return Vec::new();
        }
        let mut starts = Vec::new();
        let mut wrong = Vec::new();
        for statement in self.opened.get(&view).into_iter().flatten() {
            let content = statements.get(statement).and_then(|seen| seen.new_view()).expect("it was seen whole");
            let outcome = match self.right.contains(statement) {
                true => Ok(()),
                false => self.look_at(&content, statements, faulty),
            };
            match outcome {
                Ok(()) => {
                    self.right.insert(*statement);
                    starts.push((content.checkpoint.0.0, content.checkpoint.1));
                }
                Err(text) => wrong.push(text),
            }
        }
        if starts.is_empty() {
            let what = if wrong.is_empty() { "nobody opened it".to_owned() } else { wrong.join("; ") };
            violations.add(Checker::Certificates, format!("{by} entered view {view}: {what}"));
        }
        starts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_engine::numbers::{Principal, SequenceNumber, View};
    use logothete_engine::wire::agreement::{CheckpointVote, Vote};
    use logothete_engine::wire::view_change::{Named, Part, StatementKind};
    use logothete_engine::wire::{Message, Messages};

    const BATCH: Digest = Digest([1; 32]);
    const NOBODY: ReplicaSet = ReplicaSet::EMPTY;

    /// Shows a statement to the checkers as it travels.
    fn show(statements: &mut Statements, kind: StatementKind, replica: u8, bytes: &[u8]) -> Digest {
        let digest = logothete_crypto::digest(bytes);
        let (replica, view) = (ReplicaId(replica), View(1));
        let part = Part { statement: kind, replica, view, digest, total_bytes: bytes.len(), index: 0, bytes };
        let mut body = Vec::new();
        part.append(&mut body);
        let (message, _) = Messages::new(&body, Principal::Replica(replica)).next().unwrap().unwrap();
        let Message::Part(part) = message else { panic!("{message:?}") };
        assert!(statements.take(&part));
        digest
    }

    fn view_change(statements: &mut Statements, replica: u8, view: u64) -> Named {
        let checkpoints = [CheckpointVote::new(SequenceNumber(0), Digest([0; 32]))];
        let votes = [Vote::new(View(0), SequenceNumber(1), BATCH)];
        let content = ViewChange {
            view: View(view),
            stable: SequenceNumber(0),
            epoch: 0,
            replica: ReplicaId(replica),
            checkpoints: &checkpoints,
            prepared: &votes,
            pre_prepared: &votes,
        };
        let digest = show(statements, StatementKind::ViewChange, replica, &content.encode(|_| [0; 64]));
        Named::new(ReplicaId(replica), digest)
    }

    fn new_view(statements: &mut Statements, named: &[Named], selection: &[Digest]) -> Digest {
        let checkpoint = (SequenceNumber(0), Digest([0; 32]));
        let content = NewView { view: View(1), epoch: 0, replica: ReplicaId(1), checkpoint, named, selection };
        show(statements, StatementKind::NewView, 1, &content.encode(|_| [0; 64]))
    }

    /// Whether a correct primary may make, and others enter, a view of the view changes that these made, with a selection.
    fn is_right(makers: &[(u8, u64)], unmade: &[u8], selection: &[Digest], faulty: ReplicaSet) -> bool {
        let mut statements = Statements::default();
        let mut views = Views::new(Quorums::of(4), 16);
        let named: Vec<Named> =
            makers.iter().map(|(replica, view)| view_change(&mut statements, *replica, *view)).collect();
        for named in named.iter().filter(|named| !unmade.contains(&named.replica().0)) {
            views.on_view_change(named.replica(), named.digest);
        }
        let statement = new_view(&mut statements, &named, selection);
        let seen = statements.get(&statement).unwrap();
        let content = seen.new_view().unwrap();
        assert!(views.is_primary(&content));
        views.on_new_view(&content, statement);
        let (mut made, mut entered) = (Violations::default(), Violations::default());
        let starts = views.on_entered(ReplicaId(2), 1, &statements, faulty, &mut entered);
        views.on_own_new_view(ReplicaId(1), (&content, statement), &statements, faulty, &mut made);
        let right = made.take().is_ok();
        assert_eq!((entered.take().is_ok(), starts.len()), (right, usize::from(right)));
        right
    }

    #[test]
    fn a_view_follows_from_what_a_quorum_asked_for() {
        let all = [(0, 1), (2, 1), (3, 1)];
        assert!(is_right(&all, &[], &[BATCH], NOBODY));
        assert!(!is_right(&all, &[], &[], NOBODY), "what prepared is taken over");
        assert!(!is_right(&all, &[], &[Digest([2; 32])], NOBODY), "and nothing else is");
        assert!(!is_right(&all[..2], &[], &[BATCH], NOBODY), "two are no quorum");
        assert!(!is_right(&[(0, 1), (2, 1), (3, 2)], &[], &[BATCH], NOBODY), "one asked for another view");
        assert!(!is_right(&all, &[3], &[BATCH], NOBODY), "one never asked");
        assert!(is_right(&all, &[3], &[BATCH], ReplicaSet::only(ReplicaId(3))), "a faulty one may have");
    }

    #[test]
    fn nobody_enters_what_nobody_opened() {
        let (mut views, mut violations) = (Views::new(Quorums::of(4), 16), Violations::default());
        views.on_entered(ReplicaId(1), 1, &Statements::default(), NOBODY, &mut violations);
        assert!(violations.take().is_ok() && views.is_unheard(ReplicaId(1)), "its primary may before it says so");
        views.on_entered(ReplicaId(2), 1, &Statements::default(), NOBODY, &mut violations);
        assert_eq!(violations.checkers(), [Checker::Certificates]);
        assert!(!views.is_unheard(ReplicaId(2)));
    }

    /// Found by seed 6211: a primary ended between writing its new view and sending it.
    #[test]
    fn an_own_view_that_nobody_heard_of_stays_so_through_a_restart() {
        let mut views = Views::new(Quorums::of(4), 16);
        let (statements, mut violations) = (Statements::default(), Violations::default());
        views.on_entered(ReplicaId(2), 2, &statements, NOBODY, &mut violations);
        assert!(views.is_unheard(ReplicaId(2)));
        views.on_restarted(ReplicaId(2), 2);
        assert!(views.is_unheard(ReplicaId(2)));
        views.on_restarted(ReplicaId(3), 2);
        assert!(!views.is_unheard(ReplicaId(3)), "it is another's");
        assert!(violations.checkers().is_empty());
    }
}
