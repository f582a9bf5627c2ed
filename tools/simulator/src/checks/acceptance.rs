//! C12, client acceptance: when a correct client takes a result, the replies that it takes for that (`protocol.md CL-6`, `RD-3`) really reached it: of
//! distinct replicas, alike, from one place, and tentative ones of one view. Whose a reply is, is known from who sent it. What is still on its way does
//! not count, so that a client which takes too few is found out even where the others would have said the same.

use super::quorums::Quorums;
use super::violations::{Checker, Violations};
use logothete_crypto::Digest;
use logothete_engine::numbers::{ClientId, ReplicaId, ReplicaSet};
use logothete_engine::wire::Message;
use logothete_engine::wire::parts::ResultOf;
use logothete_engine::wire::query::QueryOutcome;
use logothete_engine::wire::reply::{Mode, Reply};
use logothete_engine::wire::request::RequestName;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What replies must have in common to count together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Said {
    request: Digest,
    results: Digest,
    sequence: u64,
    /// The view of a tentative reply; none of a committed one.
    view: Option<u64>,
}

/// The queries of one client that were asked and not numbered yet, and which number each nonce has.
#[derive(Debug, Default)]
struct Asked {
    unsent: VecDeque<u64>,
    nonces: BTreeMap<u64, u64>,
    numbered: BTreeSet<u64>,
}

/// What reached clients.
#[derive(Debug)]
pub struct Acceptance {
    quorums: Quorums,
    reads: bool,
    replies: BTreeMap<RequestName, BTreeMap<Said, ReplicaSet>>,
    /// Of queries: by client and nonce, and the result's digest.
    answers: BTreeMap<(u16, u64, Digest), ReplicaSet>,
    asked: BTreeMap<u16, Asked>,
    /// What correct replicas reply as committed: it is part of the state.
    kept: BTreeMap<RequestName, (Said, ReplicaId)>,
}

impl Said {
    fn of(reply: &Reply<'_>) -> Self {
        Self {
            request: reply.request,
            results: reply.results.digest(),
            sequence: reply.sequence.0,
            view: (reply.mode == Mode::Tentative).then_some(reply.view.0),
        }
    }
}

fn name_of(to: ClientId, reply: &Reply<'_>) -> RequestName {
    RequestName { client: to, incarnation: reply.incarnation, number: reply.number }
}

impl Acceptance {
    pub fn new(quorums: Quorums, reads: bool) -> Self {
        let (replies, answers, asked, kept) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { quorums, reads, replies, answers, asked, kept }
    }

    /// A correct replica sends a client a message.
    pub fn on_sent(&mut self, by: ReplicaId, to: ClientId, message: &Message<'_>, violations: &mut Violations) {
        let Message::Reply(reply) = message else { return };
        let (said, name) = (Said::of(reply), name_of(to, reply));
        if said.view.is_none() {
            let (other, first) = *self.kept.entry(name).or_insert((said, by));
            if other != said {
                let text = format!("{by} replied {said:?} to {name:?}, and {first} {other:?}");
                violations.add(Checker::State, text);
            }
        }
    }

    /// A message of a replica reached a client, which found it authentic.
    pub fn on_arrived(&mut self, at: ClientId, from: ReplicaId, message: &Message<'_>) {
        let (nonce, result) = match message {
            Message::Reply(reply) => {
                let replies = self.replies.entry(name_of(at, reply)).or_default();
                _ = replies.entry(Said::of(reply)).or_insert(ReplicaSet::EMPTY).insert(from);
                return;
            }
            Message::QueryAnswer(answer) => match answer.outcome {
                QueryOutcome::Answered(result) => (answer.nonce, result.digest()),
                QueryOutcome::Refused | QueryOutcome::Declined => return,
            },
            Message::ReplyPart(part) => match part.of {
                ResultOf::Query(nonce) => (nonce, part.digest),
                ResultOf::Request(..) => return,
            },
            _ => return,
        };
        self.answers.entry((at.0, nonce, result)).or_insert(ReplicaSet::EMPTY).insert(from);
    }

    /// A correct client takes results of a request, all of them under one digest.
    pub fn on_accepted(&self, name: RequestName, results: Digest, violations: &mut Violations) {
        let replies = self.replies.get(&name);
        let alike = || replies.into_iter().flatten().filter(|(said, _)| said.results == results);
        let committed = |like: &Said| alike().find(|(said, _)| **said == Said { view: None, ..*like });
        let enough = alike().any(|(said, from)| {
            let committed = committed(said).map_or(0, |(_, from)| from.0);
            let needed = if said.view.is_some() || self.reads { self.quorums.strong } else { self.quorums.weak };
            ReplicaSet(from.0 | committed).count() >= needed
        });
        if !enough {
            let told: Vec<_> = replies.into_iter().flatten().collect();
            let text = format!("a client took {results} for the results of {name:?}; it was told {told:?}");
            violations.add(Checker::Acceptance, text);
        }
    }

    /// An application asks a client's query.
    pub fn on_asked(&mut self, client: ClientId, number: u64) {
        self.asked.entry(client.0).or_default().unsent.push_back(number);
    }

    /// The client sends it: queries are numbered as they were asked.
    pub fn on_query(&mut self, client: ClientId, nonce: u64) {
        let asked = self.asked.entry(client.0).or_default();
        if asked.numbered.insert(nonce)
            && let Some(number) = asked.unsent.pop_front()
        {
            asked.nonces.insert(number, nonce);
        }
    }

    /// A client's process ended, and what it had not sent with it.
    pub fn on_client_restarted(&mut self, client: ClientId) {
        self.asked.remove(&client.0);
    }

    /// A correct client takes a result of a query that was not ordered.
    pub fn on_answered(&self, client: ClientId, number: u64, result: Digest, violations: &mut Violations) {
        let nonce = self.asked.get(&client.0).and_then(|asked| asked.nonces.get(&number).copied());
        let from = nonce.and_then(|nonce| self.answers.get(&(client.0, nonce, result)));
        if from.is_none_or(|from| from.count() < self.quorums.strong) {
            let text = format!("{client:?} took an answer to its query {number} that it had of {from:?}");
            violations.add(Checker::Acceptance, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_crypto::digest;
    use logothete_engine::numbers::{Incarnation, RequestNumber, SequenceNumber, View};
    use logothete_engine::wire::query::QueryAnswer;
    use logothete_engine::wire::reply::Answer;

    const CLIENT: ClientId = ClientId(4);
    const NAME: RequestName = RequestName { client: CLIENT, incarnation: Incarnation(7), number: RequestNumber(1) };

    fn reply(acceptance: &mut Acceptance, by: u8, mode: Mode, view: u64, sequence: u64) -> Vec<Checker> {
        let reply = Reply {
            view: View(view),
            sequence: SequenceNumber(sequence),
            incarnation: NAME.incarnation,
            number: NAME.number,
            request: Digest([1; 32]),
            mode,
            results: Answer::Full(b"result"),
        };
        let (message, mut violations) = (Message::Reply(reply), Violations::default());
        acceptance.on_sent(ReplicaId(by), CLIENT, &message, &mut violations);
        acceptance.on_arrived(CLIENT, ReplicaId(by), &message);
        violations.checkers()
    }

    fn takes(acceptance: &Acceptance) -> bool {
        let mut violations = Violations::default();
        acceptance.on_accepted(NAME, digest(b"result"), &mut violations);
        violations.checkers().is_empty()
    }

    #[test]
    fn committed_results_take_a_weak_quorum() {
        let mut acceptance = Acceptance::new(Quorums::of(4), false);
        assert!(!takes(&acceptance));
        reply(&mut acceptance, 0, Mode::Committed, 0, 1);
        reply(&mut acceptance, 0, Mode::Committed, 3, 1);
        assert!(!takes(&acceptance), "one is no weak quorum, whatever its views");
        assert_eq!(reply(&mut acceptance, 1, Mode::Committed, 5, 2), [Checker::State], "what is kept is equal");
        assert!(!takes(&acceptance), "not from one place");
        reply(&mut acceptance, 1, Mode::Committed, 5, 1);
        assert!(takes(&acceptance));
        let mut violations = Violations::default();
        acceptance.on_accepted(NAME, digest(b"another"), &mut violations);
        assert_eq!(violations.checkers(), [Checker::Acceptance]);
    }

    #[test]
    fn tentative_results_take_a_quorum_of_one_view() {
        let mut acceptance = Acceptance::new(Quorums::of(4), false);
        for (by, view) in [(0, 0), (1, 0), (2, 1)] {
            reply(&mut acceptance, by, Mode::Tentative, view, 1);
        }
        assert!(!takes(&acceptance), "two of one view, and one of another");
        reply(&mut acceptance, 3, Mode::Committed, 9, 1);
        assert!(takes(&acceptance), "a committed one counts with those of any view");
    }

    #[test]
    fn with_reads_everything_takes_a_quorum() {
        let mut acceptance = Acceptance::new(Quorums::of(4), true);
        reply(&mut acceptance, 0, Mode::Committed, 0, 1);
        reply(&mut acceptance, 1, Mode::Committed, 0, 1);
        assert!(!takes(&acceptance));
        reply(&mut acceptance, 2, Mode::Committed, 0, 1);
        assert!(takes(&acceptance));
    }

    #[test]
    fn an_answer_to_a_query_takes_a_quorum() {
        let mut acceptance = Acceptance::new(Quorums::of(4), true);
        let answer = |acceptance: &mut Acceptance, by: u8, nonce: u64| {
            let answer = QueryAnswer { nonce, outcome: QueryOutcome::Answered(Answer::Full(b"result")) };
            acceptance.on_arrived(CLIENT, ReplicaId(by), &Message::QueryAnswer(answer));
        };
        let takes = |acceptance: &Acceptance, number: u64| {
            let mut violations = Violations::default();
            acceptance.on_answered(CLIENT, number, digest(b"result"), &mut violations);
            violations.checkers().is_empty()
        };
        for number in [11, 12] {
            acceptance.on_asked(CLIENT, number);
        }
        for nonce in [100, 100, 101] {
            acceptance.on_query(CLIENT, nonce);
        }
        for by in [0, 1, 2] {
            answer(&mut acceptance, by, 101);
        }
        for by in [0, 1, 1] {
            answer(&mut acceptance, by, 100);
        }
        assert!(takes(&acceptance, 12) && !takes(&acceptance, 11) && !takes(&acceptance, 13));
        acceptance.on_client_restarted(CLIENT);
        assert!(!takes(&acceptance, 12), "its former self asked that");
    }
}
