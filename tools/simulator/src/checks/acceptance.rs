//! C12, client acceptance: when a correct client takes a result, the replies that it takes for that (`protocol.md CL-6`, `RD-3`) were really sent: by
//! distinct replicas, alike, from one place, and tentative ones in one view. Counted are the replies that correct replicas sent; each faulty one may
//! have sent any.

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

/// What replicas replied.
#[derive(Debug)]
pub struct Acceptance {
    quorums: Quorums,
    reads: bool,
    replies: BTreeMap<RequestName, BTreeMap<Said, ReplicaSet>>,
    /// Of queries: by client and nonce, and the result's digest.
    answers: BTreeMap<(u16, u64, Digest), ReplicaSet>,
    asked: BTreeMap<u16, Asked>,
}

impl Acceptance {
    pub fn new(quorums: Quorums, reads: bool) -> Self {
        Self { quorums, reads, replies: BTreeMap::new(), answers: BTreeMap::new(), asked: BTreeMap::new() }
    }

    /// A correct replica sends a client a message.
    pub fn on_sent(&mut self, by: ReplicaId, to: ClientId, message: &Message<'_>, violations: &mut Violations) {
        let answer = match message {
            Message::Reply(reply) => return self.on_reply(by, to, reply, violations),
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
        self.answers.entry((to.0, answer.0, answer.1)).or_insert(ReplicaSet::EMPTY).insert(by);
    }

    fn on_reply(&mut self, by: ReplicaId, to: ClientId, reply: &Reply<'_>, violations: &mut Violations) {
        let name = RequestName { client: to, incarnation: reply.incarnation, number: reply.number };
        let said = Said {
            request: reply.request,
            results: reply.results.digest(),
            sequence: reply.sequence.0,
            view: (reply.mode == Mode::Tentative).then_some(reply.view.0),
        };
        let replies = self.replies.entry(name).or_default();
        replies.entry(said).or_insert(ReplicaSet::EMPTY).insert(by);
        // The replies that are kept are part of the state.
        let other = replies.iter().find(|(other, _)| said.view.is_none() && other.view.is_none() && **other != said);
        if let Some((other, first)) = other {
            let text = format!("{by} replied {said:?} to {name:?}, and {first:?} {other:?}");
            violations.add(Checker::State, text);
        }
    }

    /// A correct client takes results of a request, all of them under one digest.
    pub fn on_accepted(&self, name: RequestName, results: Digest, faulty: ReplicaSet, violations: &mut Violations) {
        let replies = self.replies.get(&name);
        let alike = || replies.into_iter().flatten().filter(|(said, _)| said.results == results);
        let may_have = |set: u16| ReplicaSet(set | faulty.0).count();
        let committed = |like: &Said| alike().find(|(said, _)| **said == Said { view: None, ..*like });
        let enough = alike().any(|(said, by)| {
            let committed = committed(said).map_or(0, |(_, by)| by.0);
            let needed = if said.view.is_some() || self.reads { self.quorums.strong } else { self.quorums.weak };
            may_have(by.0 | committed) >= needed
        });
        if !enough {
            let told: Vec<_> = replies.into_iter().flatten().collect();
            let text = format!("a client took {results} for the results of {name:?}; correct replicas said {told:?}");
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
    pub fn on_answered(
        &self,
        client: ClientId,
        number: u64,
        result: Digest,
        faulty: ReplicaSet,
        violations: &mut Violations,
    ) {
        let nonce = self.asked.get(&client.0).and_then(|asked| asked.nonces.get(&number).copied());
        let by = nonce.and_then(|nonce| self.answers.get(&(client.0, nonce, result)));
        let may_have = ReplicaSet(by.map_or(0, |by| by.0) | faulty.0);
        if nonce.is_none() || may_have.count() < self.quorums.strong {
            let text =
                format!("{client:?} took an answer to its query {number} that {by:?} gave of the correct replicas");
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
    const NOBODY: ReplicaSet = ReplicaSet::EMPTY;

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
        let mut violations = Violations::default();
        acceptance.on_sent(ReplicaId(by), CLIENT, &Message::Reply(reply), &mut violations);
        violations.checkers()
    }

    fn takes(acceptance: &Acceptance, faulty: ReplicaSet) -> bool {
        let mut violations = Violations::default();
        acceptance.on_accepted(NAME, digest(b"result"), faulty, &mut violations);
        violations.checkers().is_empty()
    }

    #[test]
    fn committed_results_take_a_weak_quorum() {
        let mut acceptance = Acceptance::new(Quorums::of(4), false);
        assert!(!takes(&acceptance, NOBODY));
        reply(&mut acceptance, 0, Mode::Committed, 0, 1);
        reply(&mut acceptance, 0, Mode::Committed, 3, 1);
        assert!(!takes(&acceptance, NOBODY), "one is no weak quorum, whatever its views");
        assert!(takes(&acceptance, ReplicaSet::only(ReplicaId(3))), "a faulty one may have said the same");
        assert_eq!(reply(&mut acceptance, 1, Mode::Committed, 5, 2), [Checker::State], "what is kept is equal");
        assert!(!takes(&acceptance, NOBODY), "not from one place");
        reply(&mut acceptance, 1, Mode::Committed, 5, 1);
        assert!(takes(&acceptance, NOBODY));
        let mut violations = Violations::default();
        acceptance.on_accepted(NAME, digest(b"another"), NOBODY, &mut violations);
        assert_eq!(violations.checkers(), [Checker::Acceptance]);
    }

    #[test]
    fn tentative_results_take_a_quorum_of_one_view() {
        let mut acceptance = Acceptance::new(Quorums::of(4), false);
        for (by, view) in [(0, 0), (1, 0), (2, 1)] {
            reply(&mut acceptance, by, Mode::Tentative, view, 1);
        }
        assert!(!takes(&acceptance, NOBODY), "two of one view, and one of another");
        reply(&mut acceptance, 3, Mode::Committed, 9, 1);
        assert!(takes(&acceptance, NOBODY), "a committed one counts with those of any view");
    }

    #[test]
    fn with_reads_everything_takes_a_quorum() {
        let mut acceptance = Acceptance::new(Quorums::of(4), true);
        reply(&mut acceptance, 0, Mode::Committed, 0, 1);
        reply(&mut acceptance, 1, Mode::Committed, 0, 1);
        assert!(!takes(&acceptance, NOBODY));
        reply(&mut acceptance, 2, Mode::Committed, 0, 1);
        assert!(takes(&acceptance, NOBODY));
    }

    #[test]
    fn an_answer_to_a_query_takes_a_quorum() {
        let mut acceptance = Acceptance::new(Quorums::of(4), true);
        let answer = |acceptance: &mut Acceptance, by: u8, nonce: u64| {
            let answer = QueryAnswer { nonce, outcome: QueryOutcome::Answered(Answer::Full(b"result")) };
            let mut violations = Violations::default();
            acceptance.on_sent(ReplicaId(by), CLIENT, &Message::QueryAnswer(answer), &mut violations);
            assert_eq!(violations.take(), Ok(()));
        };
        let takes = |acceptance: &Acceptance, number: u64| {
            let mut violations = Violations::default();
            acceptance.on_answered(CLIENT, number, digest(b"result"), NOBODY, &mut violations);
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
        answer(&mut acceptance, 0, 100);
        answer(&mut acceptance, 1, 100);
        assert!(takes(&acceptance, 12) && !takes(&acceptance, 11) && !takes(&acceptance, 13));
        acceptance.on_client_restarted(CLIENT);
        assert!(!takes(&acceptance, 12), "its former self asked that");
    }
}
