//! Replies into the client's half of the protocol: one replica of four lies, the others say the truth or nothing (RELIABILITY.md I-11, B-12, X-04).

use crate::choices::Choices;
use crate::hostile::{Scene, body};
use crate::table::{self, HOSTILE, HOSTILE_ID, REGISTER, client_id, receive, seal};
use crate::{Sample, Target};
use logothete_crypto::{Digest, digest};
use logothete_engine::authentication::Incoming;
use logothete_engine::client::{Client, ClientConfig, Queries};
use logothete_engine::limits::LARGE_BYTES_IN_FLIGHT;
use logothete_engine::numbers::{Incarnation, Principal, ReplicaId, RequestNumber, SequenceNumber, View};
use logothete_engine::replica::Now;
use logothete_engine::service::{Results, ResultsView};
use logothete_engine::wire::operation::OperationsWriter;
use logothete_engine::wire::parts::reply_piece_bytes;
use logothete_engine::wire::query::{QueryAnswer, QueryOutcome};
use logothete_engine::wire::reply::{Mode, Reply, abridged};
use logothete_engine::wire::{Audience, Message};

pub const CLIENT: Target =
    Target { name: "client", about: "replies and answers of a hostile replica into a client", run: client, samples };

const DATAGRAM_BYTES: usize = 1472;
const REPLY_BYTES: usize = 1300;
const WINDOW: u64 = 4;
const WALL_NS: u64 = 1_700_000_000_000_000_000;

/// Everything in between a client and its replicas.
struct Play {
    client: Client,
    queries: Queries,
    now_ns: u64,
    /// Requests that were sent, by their number; their truth is a function of the number.
    requests: Vec<(RequestNumber, Incarnation, Digest)>,
    asked: Vec<u64>,
    submitted: u64,
    completed: u64,
    scene: Scene,
}

/// What every correct replica answers to operation `number`: long ones go as digests.
fn truth(number: u64) -> Vec<u8> {
    vec![number as u8; if number.is_multiple_of(3) { 500 } else { 8 }]
}

/// The results of a request of one operation.
fn results(number: u64) -> Vec<u8> {
    let mut room = vec![0; REPLY_BYTES];
    let mut results = Results::new(&mut room, 1);
    results.push(&truth(number));
    results.finish().to_vec()
}

impl Play {
    fn new(reads: bool) -> Self {
        let config = ClientConfig {
            id: client_id(),
            replicas: REGISTER.replicas,
            quorum_weak: 2,
            quorum: 3,
            reads,
            window: WINDOW,
            incarnation: Incarnation(7),
            request_packet_bytes_max: 1200,
            request_piece_bytes: 1000,
            large_bytes_max: LARGE_BYTES_IN_FLIGHT,
            reply_piece_bytes: reply_piece_bytes(DATAGRAM_BYTES),
            reply_bytes_max: REPLY_BYTES,
        };
        let piece_bytes = reply_piece_bytes(DATAGRAM_BYTES);
        Self {
            client: Client::new(config, REGISTER.signer(client_id())),
            queries: Queries::new(REGISTER.replicas, 2, 3, 1, piece_bytes, REPLY_BYTES),
            now_ns: 0,
            requests: Vec::new(),
            asked: Vec::new(),
            submitted: 0,
            completed: 0,
            scene: Scene::default(),
        }
    }

    fn now(&self) -> Now {
        Now { monotonic_ns: self.now_ns, wall_ns: WALL_NS + self.now_ns }
    }

    /// What is due goes out, and is remembered by those who answer.
    fn send(&mut self) {
        let now = self.now();
        let mut sent: Vec<Vec<u8>> = Vec::new();
        self.client.on_due(now, |message| sent.push(message.to_vec()));
        self.queries.on_due(now);
        self.queries.send(now, |message| sent.push(message.to_vec()));
        self.note(&sent);
    }

    fn note(&mut self, sent: &[Vec<u8>]) {
        for message in sent {
            match Message::decode(message, table::CLIENT).expect("a client sends what can be read") {
                Message::Request(request) => {
                    let known = digest(message);
                    self.scene.learn_request(request.name, message);
                    (self.scene.incarnation, self.scene.number) = (request.name.incarnation.0, request.name.number.0);
                    let entry = (request.name.number, request.name.incarnation, known);
                    if !self.requests.contains(&entry) {
                        self.requests.push(entry);
                    }
                }
                Message::Query(query) if !self.asked.contains(&query.nonce) => self.asked.push(query.nonce),
                _ => {}
            }
        }
    }

    fn submit(&mut self) {
        if !self.client.may_submit() {
            return;
        }
        let mut writer = OperationsWriter::new(1000);
        assert!(writer.try_push(1, self.submitted, b"operation"));
        self.submitted += 1;
        let mut sent = Vec::new();
        self.client.submit(self.now(), writer.operations(), |message| sent.push(message.to_vec()));
        self.note(&sent);
    }

    fn ask(&mut self) {
        if self.queries.may_ask() {
            self.queries.ask(1, self.queries.asked(), b"question");
            self.send();
        }
    }

    /// A correct replica's answer to what it heard: one operation a request, whose number is its result's.
    fn honest(&self, from: ReplicaId, choices: &mut Choices<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        if choices.flag() && !self.asked.is_empty() {
            let nonce = choices.of(&self.asked);
            let result = truth(nonce);
            abridged(&result, from == ReplicaId(0), |answer| {
                QueryAnswer { nonce, outcome: QueryOutcome::Answered(answer) }.append(&mut out);
            });
        } else if !self.requests.is_empty() {
            let (number, incarnation, request) = choices.of(&self.requests);
            let result = if number == RequestNumber::OPEN { Vec::new() } else { results(number.0) };
            let mode = if choices.byte() % 4 == 3 { Mode::Tentative } else { Mode::Committed };
            abridged(&result, from.0 as u64 == number.0 % 3, |results| {
                let sequence = SequenceNumber(number.0 + 1);
                Reply { view: View(0), sequence, incarnation, number, request, mode, results }.append(&mut out);
            });
        }
        out
    }

    fn deliver(&mut self, from: ReplicaId, body: &[u8]) {
        let sender = Principal::Replica(from);
        let datagram = seal(sender, Audience::Client(client_id()), body);
        let now = self.now();
        receive(table::CLIENT, sender, &datagram, |incoming| {
            let Some(Incoming::Packet(packet)) = incoming else { return };
            let completed = &mut self.completed;
            let outcome = self.client.on_packet(now, &packet, |operations, given| {
                let given = ResultsView::parse(given, operations.count()).expect("no client takes other results");
                for (operation, result) in operations.iter().zip(given.iter()) {
                    // Operation `n` is alone in request `n + 1`.
                    assert_eq!(result, truth(operation.number + 1), "one liar has a lie taken");
                    *completed += 1;
                }
            });
            assert!(outcome.is_ok(), "one replica's word does not end a client");
            self.queries.on_packet(now, &packet, |finished| {
                let nonce = finished.number + 1;
                assert!(finished.result.is_none_or(|result| result == truth(nonce)), "one liar has a lie taken");
            });
        });
    }
}

fn client(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let mut play = Play::new(choices.flag());
    play.send();
    while !choices.is_spent() {
        match choices.byte() % 8 {
            0 => play.now_ns += choices.number() % 10_000_000_000,
            1 => play.submit(),
            2 => play.ask(),
            3 | 4 => {
                let from = ReplicaId(choices.byte() % 3);
                let body = play.honest(from, &mut choices);
                play.deliver(from, &body);
            }
            _ => {
                let lie = match choices.byte() % 4 {
                    0 => {
                        let mut twisted = play.honest(HOSTILE_ID, &mut choices);
                        choices.spoil(&mut twisted);
                        twisted
                    }
                    _ => body(&mut choices, &play.scene, HOSTILE),
                };
                play.deliver(HOSTILE_ID, &lie);
            }
        }
        play.send();
        assert!(play.completed <= play.submitted, "nothing is answered twice");
    }
}

fn samples() -> Vec<Sample> {
    let opened = [0u8, 3, 0, 0, 0, 3, 1, 0, 0, 3, 2, 0, 0];
    let asked = [0u8, 3, 0, 0, 0, 3, 1, 0, 0, 3, 2, 0, 0, 2, 3, 0, 1, 0, 3, 1, 1, 0, 3, 2, 1, 0];
    let submitted = [&opened[..], &[1, 3, 0, 0, 1, 0, 3, 1, 0, 1, 0, 3, 2, 0, 1, 0]].concat();
    let lied = [
        &submitted[..],
        &[1, 5, 0, 2, 0, 1, 9, 0, 3, 3, 0, 0, 2, 0, 3, 1, 0, 2, 0, 0, 255, 255, 255, 255, 255, 0, 0, 0],
    ]
    .concat();
    [("opened", opened.to_vec()), ("submitted", submitted), ("lied", lied), ("asked", asked.to_vec())]
        .map(|(name, bytes)| (name.to_owned(), bytes))
        .to_vec()
}
