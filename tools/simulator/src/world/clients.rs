//! The clients' turns: what a driver does with replies, entries and what its applications ask for.

use crate::adversary::faults::spoil;
use crate::adversary::ledger::Ledger;
use crate::adversary::letter::Letter;
use crate::scenario::report::Loss;
use crate::scenario::words::{name_of, quote, result_text};
use crate::world::cluster::Cluster;
use crate::world::hosts::Waiting;
use crate::world::network::Packet;
use crate::world::witness::Appended;
use logothete_crypto::{Digest, digest};
use logothete_engine::authentication::Incoming;
use logothete_engine::client::{Delivery, Follower};
use logothete_engine::numbers::{ClientId, Principal, ReplicaSet};
use logothete_engine::service::{ResultsView, ServiceKind};
use logothete_engine::wire::Audience;
use logothete_engine::wire::operation::OperationsWriter;

impl Cluster {
    pub(crate) fn turn_client(&mut self, at: usize, packets: &[Packet]) {
        let honest: Vec<bool> = packets.iter().map(|packet| self.is_honest(packet.from)).collect();
        let host = &mut self.clients[at];
        if host.stopped {
            return;
        }
        let (own, now) = (Principal::Client(host.id), host.clock.now(self.now_ns));
        let mut accepted: Vec<(Appended, Vec<u8>, Digest)> = Vec::new();
        let mut read: Vec<(u64, Vec<u8>)> = Vec::new();
        for (packet, honest) in packets.iter().zip(honest) {
            let authentic = match host.seat.verify(packet.from, &packet.bytes) {
                Ok(Incoming::Packet(authentic)) => authentic,
                Ok(Incoming::Relayed(_)) => continue,
                Err(reason) => {
                    self.checks.on_refused(packet.body(), packet.sender(), reason);
                    self.report.count(own, Loss::Dropped(reason.label()), || {
                        format!("drops a packet of {}: {}", name_of(packet.from), reason.label())
                    });
                    continue;
                }
            };
            self.checks.on_arrived(own, (authentic.sender(), packet.from), authentic.body());
            let unsent = |ledger: &Ledger| ledger.on_authentic(authentic.sender(), own, packet.body());
            let unsent = if honest { unsent(&self.ledger) } else { None };
            unsent
                .into_iter()
                .chain(self.ledger.on_taken(own, &packet.bytes))
                .for_each(|text| self.checks.on_unsent(text));
            let outcome = host.client.on_packet(now, &authentic, |operations, results| {
                let results_digest = digest(results);
                let results = ResultsView::parse(results, operations.count()).expect("a correct replica said so");
                for (operation, result) in operations.iter().zip(results.iter()) {
                    let (session, number, bytes) = (operation.session, operation.number, operation.bytes.to_vec());
                    accepted.push((Appended { session, number, bytes }, result.to_vec(), results_digest));
                }
            });
            if let Err(fault) = outcome {
                self.report.outcome(own, || format!("stops: {fault}"));
                host.stopped = true;
                return;
            }
            host.queries.on_packet(now, &authentic, |finished| {
                read.push((finished.number, finished.result.expect("the service knows the query").to_vec()));
            });
            if let (Some(follower), Principal::Replica(from)) = (&mut host.follower, authentic.sender()) {
                for (message, _) in authentic.messages().flatten() {
                    follower.on_message(now.monotonic_ns, from, &message);
                }
            }
        }
        if host.client.may_submit() && !host.open {
            host.open = true;
            self.report.step(own, || "its incarnation is open".to_owned());
        }
        let service = self.settings.service();
        for (number, result) in read {
            let (query, floor) = host.reading.remove(&number).expect("it was asked");
            self.checks.on_read(host.id, number, &result, (floor, true));
            host.accepted += 1;
            self.report.step(own, || match service {
                ServiceKind::Log => format!("is told that the log has {} entries", result_text(service, &result)),
                _ => format!("is told {} by {}", result_text(service, &result), quote(&query)),
            });
        }
        for (operation, mut result, results) in accepted {
            result[0] = result[0].wrapping_add(sing(&mut self.canary));
            self.checks.on_accepted(host.id, &operation, &result, results);
            if let Some((_, floor)) = host.reading.remove(&operation.number) {
                self.checks.on_read(host.id, operation.number, &result, (floor, false));
            }
            host.accepted += 1;
            self.report.step(own, || match service {
                ServiceKind::Log => format!("accepts {} at {}", quote(&operation.bytes), result_text(service, &result)),
                _ => format!("accepts {}: {}", quote(&operation.bytes), result_text(service, &result)),
            });
        }
        self.read_entries(at);
        self.send_client(at);
    }

    /// Gives a subscriber what is vouched for.
    fn read_entries(&mut self, at: usize) {
        let host = &mut self.clients[at];
        let Some(follower) = &mut host.follower else { return };
        let own = Principal::Client(host.id);
        let (checks, report, next) = (&mut self.checks, &mut self.report, &mut host.entries_delivered);
        let delivery = follower.deliver(|entry| {
            report.outcome(own, || format!("reads {}: {}", entry.position, quote(entry.bytes)));
            let read = Appended { session: entry.session, number: 0, bytes: entry.bytes.to_vec() };
            checks.on_entry(entry.position, *next, &read);
            *next = entry.position + 1;
            true
        });
        if let Delivery::Trimmed(oldest) = delivery {
            report.outcome(own, || format!("learns that its entries are gone, and {oldest} is the oldest"));
            host.follower = None;
        }
    }

    /// Submits what waits and fits the window, and sends what is due.
    fn send_client(&mut self, at: usize) {
        let host = &mut self.clients[at];
        let now = host.clock.now(self.now_ns);
        let everybody = Audience::Replicas(ReplicaSet::first(self.settings.replicas));
        let mut messages: Vec<(Audience, Vec<u8>)> = Vec::new();
        host.queries.on_due(now);
        host.queries.order(|_, number, operation| {
            host.waiting.push_back(vec![(number, operation.to_vec())]);
            true
        });
        host.queries.send(now, |message| messages.push((everybody, message.to_vec())));
        while host.client.may_submit()
            && let Some(request) = host.waiting.pop_front()
        {
            let mut writer = OperationsWriter::new(self.settings.request_bytes_max().1);
            for (number, bytes) in &request {
                assert!(writer.try_push(u64::from(host.id.0), *number, bytes), "a script's operations fit a request");
            }
            host.client.submit(now, writer.operations(), |message| messages.push((everybody, message.to_vec())));
        }
        host.client.on_due(now, |message| messages.push((everybody, message.to_vec())));
        if let Some(follower) = host.follower.as_mut().filter(|follower| follower.deadline_ns() <= now.monotonic_ns) {
            follower.on_due(now.monotonic_ns, |audience, append| {
                let mut message = Vec::new();
                append(&mut message);
                messages.push((audience, message));
            });
        }
        for (audience, body) in messages {
            let host = &mut self.clients[at];
            let own = Principal::Client(host.id);
            if self.adversary.owns(own) {
                self.send_owned(Letter::new(own, audience, body));
                continue;
            }
            let mut datagram = host.seat.seal(audience, &body, 1);
            spoil(&mut datagram, audience, |receiver| host.spoils.contains(&receiver));
            self.learn(&body, own);
            self.say_and_launch(own, audience, &body, datagram, "");
        }
    }

    /// An application asks for one request of these operations.
    pub fn append(&mut self, client: usize, operations: Vec<Vec<u8>>) -> Result<(), String> {
        let host = &mut self.clients[client];
        let mut request = Waiting::new();
        for bytes in operations {
            host.submitted += 1;
            self.checks.on_asked(host.id, (u64::from(host.id.0), host.submitted), &bytes, false);
            request.push((host.submitted, bytes));
        }
        host.waiting.push_back(request);
        self.turn(Principal::Client(ClientId(client as u16)), &[])
    }

    /// An application asks what changes nothing.
    pub fn read(&mut self, client: usize, query: &[u8]) -> Result<(), String> {
        let host = &mut self.clients[client];
        host.submitted += 1;
        host.reading.insert(host.submitted, (query.to_vec(), self.checks.acknowledged()));
        self.checks.on_asked(host.id, (u64::from(host.id.0), host.submitted), query, true);
        host.queries.ask(u64::from(host.id.0), host.submitted, query);
        self.turn(Principal::Client(ClientId(client as u16)), &[])
    }

    /// A client's process ends and another begins, with its clock off by so much.
    pub fn restart_client(&mut self, client: usize, skew_ns: i64) -> Result<(), String> {
        let host = &mut self.clients[client];
        self.checks.on_client_restarted(host.id);
        self.ledger.on_restarted(Principal::Client(host.id));
        host.restart(&self.settings, self.now_ns, skew_ns, &mut self.random);
        self.replicas.iter_mut().for_each(|replica| replica.seat.introduce(&mut host.seat));
        self.run_due()
    }

    /// A client begins to read the log.
    pub fn follow(&mut self, client: usize, from: u64) -> Result<(), String> {
        let host = &mut self.clients[client];
        let (replicas, weak) = (self.settings.replicas, self.settings.quorum().weak());
        host.follower = Some(Follower::new(0, from, replicas, weak, self.settings.request_bytes_max().1));
        host.entries_delivered = from;
        self.run_due()
    }
}

/// What is added to a result that was accepted before the checkers see it: 0, but of the one of a canary's run.
fn sing(canary: &mut Option<u64>) -> u8 {
    let Some(left) = canary else { return 0 };
    let now = *left == 0;
    *left = left.wrapping_sub(1);
    u8::from(now)
}
