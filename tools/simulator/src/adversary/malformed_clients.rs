//! Byzantine clients that do not keep to the form: garbage, lengths that lie, messages that are not theirs to send, requests in others' names, masses of questions,
//! and large requests that never come together.

use crate::adversary::agent::Owned;
use crate::adversary::byzantine_clients::{Requests, all};
use crate::adversary::letter::Letter;
use crate::adversary::strategy::{Deed, Strategy};
use crate::scenario::words::made_up;
use crate::world::cluster::Cluster;
use crate::world::operations::{END, foreign};
use crate::world::random::Random;
use crate::world::settings::Settings;
use logothete_crypto::digest;
use logothete_engine::limits::PARTS_MAX;
use logothete_engine::numbers::{ClientId, Principal, SequenceNumber, View};
use logothete_engine::wire::agreement::{CommitClaim, Vote, append_pre_prepare};
use logothete_engine::wire::packet::body_bytes_max;
use logothete_engine::wire::parts::RequestPart;
use logothete_engine::wire::query::Query;
use logothete_engine::wire::report::{RejectsQuery, ReportQuery};
use logothete_engine::wire::request::{self, RequestName};
use logothete_engine::wire::subscription::{ChainQuery, Follow};
use logothete_engine::wire::view_change::{Part, StatementKind};
use logothete_engine::wire::{Audience, Kind, framing};

/// To everybody.
fn say(cluster: &Cluster, from: ClientId, body: Vec<u8>) -> Deed {
    Deed::Say(Letter::new(Principal::Client(from), Audience::Replicas(all(cluster)), body))
}

fn room(cluster: &Cluster) -> usize {
    body_bytes_max(cluster.settings.datagram_bytes_max, Audience::Replicas(all(cluster)))
}

/// Requests with a byte changed, cut short, longer than a request may be, with counts that are not so, and no requests at all.
struct Garbled {
    requests: Requests,
    random: Random,
}

pub fn malformed(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(Garbled { requests: Requests::new(&mut random), random })
}

impl Garbled {
    fn body(&mut self, cluster: &Cluster, name: RequestName) -> Vec<u8> {
        // What comes of it need not be named as it was: its operations are in no other request.
        let mut body = self.requests.body(cluster, name, self.random.draw());
        let random = &mut self.random;
        match random.below(7) {
            // Every header but that of the message itself may be anything.
            0 => {
                let at = 8 + random.below(body.len() - 8);
                body[at] ^= 1 << random.below(8);
            }
            1 => {
                let at = random.below(body.len());
                body[at] = random.draw() as u8;
            }
            2 => body.truncate(1 + random.below(body.len())),
            3 => body[12..16].copy_from_slice(&[u32::MAX, 0, 2048, 2049][random.below(4)].to_le_bytes()),
            4 => {
                // One operation that fills the packet, or is just too long for a request.
                let operation_bytes = room(cluster) - 80 - random.below(80);
                let operation = [
                    &[0; 8],
                    &random.draw().to_le_bytes()[..],
                    &(operation_bytes as u32).to_le_bytes(),
                    &vec![7; operation_bytes],
                ]
                .concat();
                body.clear();
                request::append(&mut body, name, 1, &operation);
                body.truncate(room(cluster));
            }
            5 => {
                body.resize(random.below(room(cluster)).max(1), 0);
                random.fill(&mut body);
            }
            // Two requests in one packet.
            _ => body.extend(self.requests.body(cluster, name, 1)),
        }
        body
    }
}

impl Strategy for Garbled {
    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let Some((client, number)) = self.requests.pick(owned, &mut self.random) else { return Vec::new() };
        let name = Requests::name(cluster, client, number, &mut self.random);
        let body = self.body(cluster, name);
        vec![say(cluster, client, body)]
    }
}

/// What only replicas, or only the operator, may say, and requests in the name of another client.
struct Impersonates {
    requests: Requests,
    random: Random,
}

pub fn impersonates(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(Impersonates { requests: Requests::new(&mut random), random })
}

impl Strategy for Impersonates {
    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let Some((client, number)) = self.requests.pick(owned, &mut self.random) else { return Vec::new() };
        let random = &mut self.random;
        let host = &cluster.replicas[random.below(cluster.settings.replicas)];
        let (view, sequence) = (host.orderer.replica().view(), SequenceNumber(host.executed + 1));
        let batch = made_up("a client's batch");
        let mut body = Vec::new();
        match random.below(8) {
            0 => append_pre_prepare(&mut body, view, sequence, 0, &[]),
            1 => Vote::new(view, sequence, batch).append_prepare(&mut body),
            2 => Vote::new(view, sequence, batch).append_commit(&mut body),
            3 => CommitClaim::new(sequence, batch).append(&mut body),
            4 => {
                let (statement, view) = (StatementKind::ViewChange, View(view.0.saturating_add(1)));
                let part =
                    Part { statement, replica: host.id, view, digest: batch, total_bytes: 8, index: 0, bytes: &[1; 8] };
                part.append(&mut body);
            }
            5 => framing::append(&mut body, Kind::RotateKeys, &[&[0; 8]]),
            6 => {
                ReportQuery { nonce: 7.into() }.append(&mut body);
                RejectsQuery { nonce: 7.into() }.append(&mut body);
            }
            _ => {
                let victim = ClientId(random.below(cluster.settings.clients + 1) as u16);
                let name = RequestName { client: victim, ..Requests::name(cluster, victim, number, random) };
                body = self.requests.body(cluster, name, 0);
            }
        }
        vec![say(cluster, client, body)]
    }
}

/// Masses of queries, and of subscriptions, to whatever place.
struct Asks {
    burst: usize,
    requests: Requests,
    random: Random,
}

pub fn queries(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    let burst = [2, 10, 40][random.below(3)];
    Box::new(Asks { burst, requests: Requests::new(&mut random), random })
}

impl Strategy for Asks {
    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let Some((client, _)) = self.requests.pick(owned, &mut self.random) else { return Vec::new() };
        let random = &mut self.random;
        let mut deeds = Vec::new();
        for _ in 0..1 + random.below(self.burst) {
            let (stream, place) = (random.below(3) as u32, [0, 1, 5, 1 << 40, u64::MAX][random.below(5)]);
            let mut body = Vec::new();
            match random.below(4) {
                0 | 1 => {
                    let operation: &[u8] = [END, b"", b"what nobody knows", &[0; 200]][random.below(4)];
                    let (nonce, session) = (random.draw(), random.draw());
                    match cluster.settings.key_value {
                        true => Query { nonce, session, operation: &foreign(operation, random) }.append(&mut body),
                        false => Query { nonce, session, operation }.append(&mut body),
                    }
                }
                2 => {
                    let (credit, offset) =
                        ([0, 1, 4096, u32::MAX][random.below(4)], [0, 0, 7, u32::MAX][random.below(4)]);
                    let follow = Follow {
                        stream: stream.into(),
                        credit_bytes: credit.into(),
                        from: place.into(),
                        offset: offset.into(),
                        reserved: 0.into(),
                    };
                    follow.append(&mut body);
                }
                _ => {
                    let query = ChainQuery { stream: stream.into(), reserved: 0.into(), position: place.into() };
                    query.append(&mut body);
                }
            }
            deeds.push(say(cluster, client, body));
        }
        deeds
    }
}

/// Parts of large requests that never come together: some are missing, or do not fit.
struct Parts {
    requests: Requests,
    random: Random,
}

pub fn parts(mut random: Random, _: &Settings) -> Box<dyn Strategy> {
    Box::new(Parts { requests: Requests::new(&mut random), random })
}

impl Strategy for Parts {
    fn on_tick(&mut self, cluster: &Cluster, owned: &Owned) -> Vec<Deed> {
        let Some((client, number)) = self.requests.pick(owned, &mut self.random) else { return Vec::new() };
        let name = Requests::name(cluster, client, number, &mut self.random);
        let random = &mut self.random;
        let piece_bytes = cluster.settings.parts().piece_bytes;
        let mut deeds = Vec::new();
        for _ in 0..1 + random.below(5) {
            let longest = cluster.settings.request_bytes_max().1;
            let totals = [piece_bytes + 1, 3 * piece_bytes, longest, longest + 1, 1 << 20, u32::MAX as usize];
            let mut bytes = vec![0; [piece_bytes, piece_bytes, 1, piece_bytes - 1][random.below(4)]];
            random.fill(&mut bytes);
            let (total_bytes, index) = (totals[random.below(6)], [0, 1, 2, PARTS_MAX - 1, PARTS_MAX][random.below(5)]);
            let digest = if random.percent(50) { digest(&name.number.0.to_le_bytes()) } else { digest(&bytes) };
            let mut body = Vec::new();
            RequestPart { name, digest, total_bytes, index, bytes: &bytes }.append(&mut body);
            deeds.push(say(cluster, client, body));
        }
        deeds
    }
}
