//! C7, bounds: proposals and votes stay in the window, what is proposed in the pipeline, the log near its checkpoint, the bodies in their store, what is held
//! of each peer and client and on the disk within what was fixed at the start, and what a faulty peer makes a correct replica send is bounded by what it
//! sends itself, and by time.

use super::violations::{Checker, Violations};
use super::vote::{Round, Vote};
use crate::world::settings::Settings;
use logothete_crypto::Digest;
use logothete_engine::limits::QUERIES_MAX;
use logothete_engine::numbers::ReplicaId;
use logothete_engine::replica::Holdings;
use std::collections::{BTreeMap, BTreeSet};

/// Answers to status, fetch and recovery query have at most so many times the bytes of what a faulty peer sent (RELIABILITY.md section 6, item 13), …
const AMPLIFICATION_MAX: u64 = 4;

/// … beside what it may be sent in any case in a second: `protocol.md RB-9` answers who lacks something although it sends little, …
const ANSWERS_FREE_BYTES: u64 = 3 << 19;

/// … and the same part of a statement, which are as large as cluster and window make them, so often to who repeats that it lacks it.
const PART_REPEATS: u64 = 16;

const SECOND_NS: u64 = 1_000_000_000;

/// Batches that a correct replica pre-prepares for one number because a primary proposed them (`protocol.md RB-8`).
const PROPOSED_MAX: usize = 7;

/// What passed between a correct replica and a peer since a moment.
#[derive(Clone, Debug, Default)]
struct Exchange {
    since_ns: u64,
    received_bytes: u64,
    sent_bytes: u64,
    /// Parts of statements among it, each once: of which statement, and which.
    parts: BTreeSet<(Digest, usize)>,
    parts_bytes: u64,
}

/// What is compared with the bounds.
#[derive(Debug)]
pub struct Bounds {
    settings: Settings,
    /// Of each: what it said and was not compared yet.
    said: Vec<Vec<Vote>>,
    /// Of each: the highest number that it ever executed and remembers. What it proposed after that may leave when that is undone, or in its next life.
    executed: Vec<u64>,
    /// By correct replica and peer.
    exchanges: BTreeMap<(ReplicaId, ReplicaId), Exchange>,
}

impl Bounds {
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            said: vec![Vec::new(); settings.replicas],
            executed: vec![0; settings.replicas],
            exchanges: BTreeMap::new(),
        }
    }

    /// A correct replica says something for the first time in its present life.
    pub fn on_vote(&mut self, by: ReplicaId, vote: Vote) {
        self.said[usize::from(by.0)].push(vote);
    }

    /// A duty cycle is over: so much is executed and stable, and bodies take so many bytes. The bounds only rise, so that what was said in the
    /// cycle is within those at its end.
    pub fn on_cycle_end(
        &mut self,
        by: ReplicaId,
        (executed, stable): (u64, u64),
        bodies: usize,
        violations: &mut Violations,
    ) {
        let (window, depth) = (self.settings.window(), self.settings.pipeline_depth);
        let said = std::mem::take(&mut self.said[usize::from(by.0)]);
        let most = &mut self.executed[usize::from(by.0)];
        *most = executed.max(*most);
        if let Some(vote) = said.iter().find(|vote| vote.ballot.sequence > stable + window) {
            let text = format!("{by} sent a {}, beyond the window above s{stable}", vote.ballot);
            violations.add(Checker::Bounds, text);
        }
        let proposals = said.iter().map(|vote| vote.ballot).filter(|ballot| ballot.round == Round::Proposal);
        if let Some(ballot) = proposals.max().filter(|ballot| ballot.sequence > *most + depth) {
            let text = format!("{by} sent a {ballot} with s{most} executed: more than {depth} in flight");
            violations.add(Checker::Bounds, text);
        }
        if executed.saturating_sub(stable) > window || !stable.is_multiple_of(self.settings.checkpoint_interval) {
            let text = format!("{by} has executed s{executed} with a stable checkpoint at s{stable}");
            violations.add(Checker::Bounds, text);
        }
        if bodies > self.settings.bodies_bytes_max() {
            violations.add(Checker::Bounds, format!("{by} holds {bodies} bytes of requests"));
        }
    }

    /// How much a correct replica with a stable checkpoint holds, and how many bytes its journal takes on its disk.
    pub fn on_holdings(
        &mut self,
        by: ReplicaId,
        stable: u64,
        (holdings, journal_bytes): (&Holdings, u64),
        violations: &mut Violations,
    ) {
        let Settings { replicas, clients, .. } = self.settings;
        let window = self.settings.window();
        let mut bounded = |what: &str, held: u64, most: u64| {
            if held > most {
                violations.add(Checker::Bounds, format!("{by} holds {held} {what}: at most {most} are allowed"));
            }
        };
        bounded("numbers of the log", holdings.slots as u64, 2 * window);
        if let Some((first, last)) = holdings.numbers {
            // What is below the window stays for one window more, for others.
            bounded("as a number of its log", last.0, stable + window);
            bounded("numbers below the first of its log", (stable + 1).saturating_sub(window), first.0);
        }
        bounded("votes of one kind for a number", holdings.votes as u64, replicas as u64);
        // What was proposed to each replica may be taken over by a view; and the null batch, what commits, and what is proposed now.
        bounded("batches of a number", holdings.batches as u64, (PROPOSED_MAX * replicas + 3) as u64);
        bounded("view changes", holdings.view_changes as u64, replicas as u64);
        // Of each replica its view change, its new view, and what that names; and the same of the present view.
        bounded("signed statements", holdings.statements as u64, ((replicas + 3) * replicas + 1) as u64);
        // The operator is a client as well.
        let share = self.settings.bodies_bytes_max() / 2 / (clients + 1);
        bounded("bytes that wait of a client", holdings.waiting_bytes as u64, share as u64);
        bounded("queries that wait of a client", holdings.queries as u64, QUERIES_MAX as u64);
        bounded("bytes of journal", journal_bytes, self.settings.journal_bytes_max());
    }

    fn exchange(&mut self, of: ReplicaId, with: ReplicaId, now_ns: u64) -> &mut Exchange {
        let exchange = self.exchanges.entry((of, with)).or_default();
        if now_ns - exchange.since_ns >= SECOND_NS {
            *exchange = Exchange { since_ns: now_ns, ..Exchange::default() };
        }
        exchange
    }

    /// A packet of a peer reached a correct replica.
    pub fn on_received(&mut self, at: ReplicaId, from: ReplicaId, bytes: usize, now_ns: u64) {
        self.exchange(at, from, now_ns).received_bytes += bytes as u64;
    }

    /// A correct replica answers one peer alone with so many bytes, perhaps a part of a statement.
    pub fn on_answered(
        &mut self,
        by: ReplicaId,
        (to, is_faulty): (ReplicaId, bool),
        (bytes, part): (usize, Option<(Digest, usize)>),
        now_ns: u64,
        violations: &mut Violations,
    ) {
        if !is_faulty {
            return;
        }
        let exchange = self.exchange(by, to, now_ns);
        exchange.sent_bytes += bytes as u64;
        if part.is_some_and(|part| exchange.parts.insert(part)) {
            exchange.parts_bytes += bytes as u64;
        }
        let Exchange { sent_bytes, received_bytes, parts_bytes, .. } = *exchange;
        let free_bytes = ANSWERS_FREE_BYTES + PART_REPEATS * parts_bytes;
        if sent_bytes > AMPLIFICATION_MAX * received_bytes + free_bytes {
            // Told once, not for each packet.
            exchange.sent_bytes = 0;
            let text = format!("{by} answered {received_bytes} bytes of {to} with {sent_bytes} within a second");
            violations.add(Checker::Bounds, text);
        }
    }

    pub fn on_restarted(&mut self, by: ReplicaId, forgot: bool) {
        self.said[usize::from(by.0)].clear();
        if forgot {
            self.executed[usize::from(by.0)] = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_engine::numbers::SequenceNumber;

    const BY: ReplicaId = ReplicaId(1);

    fn cycle(said: &[Vote], executed: u64, stable: u64, bodies: usize) -> usize {
        let settings = Settings { checkpoint_interval: 8, pipeline_depth: 4, ..Settings::default() };
        let (mut bounds, mut violations) = (Bounds::new(settings), Violations::default());
        said.iter().for_each(|vote| bounds.on_vote(BY, *vote));
        bounds.on_cycle_end(BY, (executed, stable), bodies, &mut violations);
        bounds.on_cycle_end(BY, (stable, stable), 0, &mut violations);
        violations.checkers().len()
    }

    /// Found by seed 1722: what was proposed on what is undone afterwards leaves when it is durable.
    #[test]
    fn what_was_proposed_before_an_undoing_may_leave_after_it() {
        let settings = Settings { checkpoint_interval: 8, pipeline_depth: 1, ..Settings::default() };
        let (mut bounds, mut violations) = (Bounds::new(settings), Violations::default());
        let mut leaves = |bounds: &mut Bounds, sequence| {
            bounds.on_vote(BY, Vote::new(Round::Proposal, 0, sequence, Digest::ZERO));
            bounds.on_cycle_end(BY, (9, 8), 0, &mut violations);
            violations.take().is_ok()
        };
        assert!(!leaves(&mut bounds, 11), "with 9 executed it cannot have been proposed");
        bounds.on_cycle_end(BY, (10, 8), 0, &mut Violations::default());
        assert!(leaves(&mut bounds, 11));
        // Found by seed 3299: its journal has the proposal.
        bounds.on_restarted(BY, false);
        assert!(leaves(&mut bounds, 11));
        bounds.on_restarted(BY, true);
        assert!(!leaves(&mut bounds, 11));
    }

    #[test]
    fn everything_said_is_within_window_and_pipeline() {
        let vote = |round, sequence| Vote::new(round, 0, sequence, Digest::ZERO);
        assert_eq!(cycle(&[vote(Round::Prepare, 24), vote(Round::Proposal, 14)], 10, 8, 1000), 0);
        assert_eq!(cycle(&[vote(Round::Prepare, 25)], 10, 8, 0), 1);
        assert_eq!(cycle(&[vote(Round::Proposal, 15), vote(Round::Proposal, 14)], 10, 8, 0), 1);
        assert_eq!(cycle(&[], 25, 8, 0), 1, "the log is too long");
        assert_eq!(cycle(&[], 10, 9, 0), 2, "no checkpoint is there");
        assert_eq!(cycle(&[], 10, 8, 1 << 30), 1, "bodies without end");
    }

    fn holds(change: impl Fn(&mut Holdings), journal_bytes: u64) -> usize {
        let settings = Settings { checkpoint_interval: 8, ..Settings::default() };
        let numbers = Some((SequenceNumber(9), SequenceNumber(40)));
        let mut holdings = Holdings { slots: 32, numbers, votes: 4, view_changes: 4, ..Holdings::default() };
        change(&mut holdings);
        let (mut bounds, mut violations) = (Bounds::new(settings), Violations::default());
        bounds.on_holdings(BY, 24, (&holdings, journal_bytes), &mut violations);
        violations.checkers().len()
    }

    #[test]
    fn everything_held_has_its_bound() {
        assert_eq!(holds(|_| {}, 1 << 20), 0);
        assert_eq!(holds(|holdings| holdings.slots = 33, 0), 1);
        let numbers = |first, last| Some((SequenceNumber(first), SequenceNumber(last)));
        assert_eq!(holds(|holdings| holdings.numbers = numbers(9, 41), 0), 1, "above the window");
        assert_eq!(holds(|holdings| holdings.numbers = numbers(8, 40), 0), 1, "should have been let go");
        assert_eq!(holds(|holdings| holdings.votes = 5, 0), 1);
        assert_eq!(holds(|holdings| holdings.batches = 32, 0), 1);
        assert_eq!(holds(|holdings| holdings.view_changes = 5, 0), 1);
        assert_eq!(holds(|holdings| holdings.statements = 30, 0), 1);
        assert_eq!(holds(|holdings| holdings.waiting_bytes = 1 << 20, 0), 1);
        assert_eq!(holds(|holdings| holdings.queries = 5000, 0), 1);
        assert_eq!(holds(|_| {}, 1 << 30), 1);
    }

    #[test]
    fn who_sends_little_is_sent_little() {
        let answered = |received: usize, sent: usize, is_faulty, times: u64| {
            let (mut bounds, mut violations) = (Bounds::new(Settings::default()), Violations::default());
            bounds.on_received(BY, ReplicaId(2), received, 0);
            for at in 0..times {
                let to = (ReplicaId(2), is_faulty);
                bounds.on_answered(BY, to, (sent, None), at * SECOND_NS / 4, &mut violations);
            }
            violations.checkers().len()
        };
        assert_eq!(answered(100, 1 << 18, true, 4), 0);
        assert_eq!(answered(100, 1 << 19, true, 4), 1);
        assert_eq!(answered(1 << 20, 1 << 19, true, 4), 0, "it sent as much itself");
        assert_eq!(answered(100, 1 << 19, false, 4), 0, "who is correct lacks it");
        assert_eq!(answered(100, 1 << 18, true, 400), 0, "not within a second");
    }

    /// Found by seed 46510: ten replicas, whose view changes take a dozen packets each.
    #[test]
    fn who_repeats_that_it_lacks_statements_is_sent_them_so_often() {
        let answered = |parts: usize, times: u64| {
            let (mut bounds, mut violations) = (Bounds::new(Settings::default()), Violations::default());
            for at in 0..times {
                for index in 0..parts {
                    let part = Some((Digest::ZERO, index));
                    bounds.on_answered(BY, (ReplicaId(2), true), (1400, part), at, &mut violations);
                }
            }
            violations.checkers().len()
        };
        assert_eq!((answered(90, 16), answered(90, 20)), (0, 0), "also where the distances begin anew now and then");
        assert_eq!(answered(90, 32), 1, "but not at its first pace for good");
        assert_eq!(answered(2000, 1), 0, "however large they are");
    }
}
