//! A3: lies to clients: other results, other places, other views, tentative for committed and the reverse, refusals, answers before execution.

use crate::adversary::agent::Owned;
use crate::adversary::letter::Letter;
use crate::adversary::strategy::{Deed, Strategy};
use crate::adversary::views::one_of;
use crate::scenario::words::made_up;
use crate::world::cluster::Cluster;
use crate::world::network::Packet;
use crate::world::random::Random;
use crate::world::settings::Settings;
use logothete_crypto::Digest;
use logothete_engine::limits::PARTS_MAX;
use logothete_engine::numbers::{ClientId, Incarnation, Principal, ReplicaId, SequenceNumber, View};
use logothete_engine::wire::parts::{ReplyPart, ResultOf};
use logothete_engine::wire::query::{QueryAnswer, QueryOutcome};
use logothete_engine::wire::reply::{Answer, Mode, Refusal, RefusalReason, Reply};
use logothete_engine::wire::request::RequestName;
use logothete_engine::wire::{Audience, Message, Messages};

/// What it truly has to say to clients is changed.
pub struct LieToClients {
    percent: u32,
    random: Random,
}

pub fn lie_to_clients(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(LieToClients::new([30, 70, 100][random.below(3)], random))
}

/// Results with one byte changed, as they are or as digest.
fn other_results(results: &[u8], random: &mut Random) -> Vec<u8> {
    let mut other = results.to_vec();
    if let Some(at) = (!other.is_empty()).then(|| random.below(other.len())) {
        other[at] ^= 1 << random.below(8);
    }
    other
}

impl LieToClients {
    /// So many in a hundred packets to clients are changed.
    pub fn new(percent: u32, random: Random) -> Self {
        Self { percent, random }
    }

    /// What leaves in place of a letter.
    pub fn tell(&mut self, letter: Letter) -> Option<Letter> {
        if !matches!(letter.audience, Audience::Client(_)) || !self.random.percent(self.percent) {
            return Some(letter);
        }
        let body = letter.rewritten(|message, bytes, out| self.lie(message, bytes, out));
        letter.with_body(body)
    }

    fn lie(&mut self, message: &Message<'_>, bytes: &[u8], out: &mut Vec<u8>) {
        let random = &mut self.random;
        match message {
            Message::Reply(reply) => {
                let (mut told, forged);
                told = *reply;
                match random.below(7) {
                    0 => {
                        told.view = View(
                            [reply.view.0.saturating_add(1), reply.view.0.saturating_sub(1), u64::MAX][random.below(3)],
                        )
                    }
                    1 => told.sequence = SequenceNumber(reply.sequence.0.saturating_add(1)),
                    2 => told.number.0 = reply.number.0.wrapping_add(1),
                    3 => told.request = made_up("another request"),
                    4 => told.mode = Mode::Committed,
                    5 => told.mode = Mode::Tentative,
                    _ => {
                        let results = match reply.results {
                            Answer::Full(results) => results,
                            Answer::Digest(digest) => &digest.0,
                        };
                        forged = other_results(results, random);
                        told.results = Answer::Full(&forged);
                    }
                }
                told.append(out);
            }
            Message::QueryAnswer(answer) => {
                let (outcome, forged, digest) = match answer.outcome {
                    QueryOutcome::Answered(Answer::Full(result)) => (0, other_results(result, random), Digest::ZERO),
                    QueryOutcome::Answered(Answer::Digest(_)) => (1, Vec::new(), made_up("another result")),
                    QueryOutcome::Refused | QueryOutcome::Declined => (random.below(2), vec![1; 8], Digest::ZERO),
                };
                let outcomes = [
                    QueryOutcome::Answered(Answer::Full(&forged)),
                    QueryOutcome::Answered(Answer::Digest(&digest)),
                    QueryOutcome::Refused,
                    QueryOutcome::Declined,
                ];
                let outcome = outcomes[if random.percent(60) { outcome } else { 2 + random.below(2) }];
                QueryAnswer { nonce: answer.nonce, outcome }.append(out);
            }
            Message::ReplyPart(part) => {
                let forged = other_results(part.bytes, random);
                let of = match part.of {
                    ResultOf::Query(nonce) if random.percent(20) => ResultOf::Query(nonce.wrapping_add(1)),
                    of => of,
                };
                let total_bytes = part.total_bytes + usize::from(random.percent(20));
                let index = if random.percent(20) { random.below(PARTS_MAX) } else { part.index };
                let digest = if random.percent(20) { made_up("another result") } else { part.digest };
                ReplyPart { of, digest, total_bytes, index, bytes: &forged }.append(out);
            }
            _ => out.extend_from_slice(bytes),
        }
    }
}

impl Strategy for LieToClients {
    fn on_outgoing(&mut self, _: &Cluster, letter: Letter, out: &mut Vec<Letter>) {
        out.extend(self.tell(letter));
    }
}

/// It answers requests when it hears of them, with results that it makes up, or refuses them.
struct ReplyEarly {
    heard: Vec<(RequestName, Digest)>,
    random: Random,
}

pub fn reply_early(random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(ReplyEarly { heard: Vec::new(), random })
}

/// Requests that it remembers.
const HEARD_MAX: usize = 32;

impl ReplyEarly {
    fn refusal(&mut self, name: RequestName, body: &mut Vec<u8>) {
        let random = &mut self.random;
        let reasons = [RefusalReason::Overloaded, RefusalReason::Superseded, RefusalReason::SignatureRequired];
        let details = [0, name.incarnation.0.saturating_add(1), u64::MAX];
        let (reason, detail) = (reasons[random.below(3)], details[random.below(3)]);
        Refusal::new(name.incarnation, name.number, reason, detail).append(body);
    }

    fn reply(&mut self, cluster: &Cluster, name: RequestName, request: Digest, body: &mut Vec<u8>) {
        let random = &mut self.random;
        let host = &cluster.replicas[random.below(cluster.settings.replicas)];
        let view = View([host.orderer.replica().view().0, 0, u64::MAX][random.below(3)]);
        let position = cluster.checks.acknowledged() + random.below(3) as u64;
        let results = [&8u32.to_le_bytes()[..], &position.to_le_bytes()].concat();
        let reply = Reply {
            view,
            sequence: SequenceNumber(host.executed + random.below(3) as u64),
            incarnation: Incarnation(name.incarnation.0),
            number: name.number,
            request,
            mode: if random.percent(50) { Mode::Tentative } else { Mode::Committed },
            results: Answer::Full(&results),
        };
        reply.append(body);
    }
}

impl Strategy for ReplyEarly {
    fn hears(&mut self, _: &Cluster, _: ReplicaId, packet: &Packet) -> bool {
        for (message, bytes) in Messages::new(packet.body(), packet.sender()).flatten() {
            if let (Message::Request(request), Principal::Client(of)) = (message, packet.sender())
                && request.name.client == of
            {
                if self.heard.len() == HEARD_MAX {
                    self.heard.remove(0);
                }
                self.heard.push((request.name, logothete_crypto::digest(bytes)));
            }
        }
        true
    }

    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let Some(own) = one_of(owned, &mut self.random).filter(|_| !self.heard.is_empty()) else { return Vec::new() };
        let mut deeds = Vec::new();
        for _ in 0..1 + self.random.below(4) {
            let (name, request) = self.heard[self.random.below(self.heard.len())];
            if usize::from(name.client.0) >= cluster.settings.clients {
                continue;
            }
            let mut body = Vec::new();
            match self.random.percent(50) {
                true => self.refusal(name, &mut body),
                false => self.reply(cluster, name, request, &mut body),
            }
            let to = Audience::Client(ClientId(name.client.0));
            deeds.push(Deed::Say(Letter::new(Principal::Replica(own), to, body)));
        }
        deeds
    }
}
