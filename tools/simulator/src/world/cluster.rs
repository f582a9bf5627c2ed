//! A cluster in virtual time: replicas and clients take turns, packets travel as the script says, everything is looked at by the checkers.
//!
//! A *turn* is a duty cycle: an agent takes packets, then does what is due. Whose turn comes when is said by a script (`rounds`), or in a swarm by the
//! [`timeline`](super::timeline).

use crate::adversary::agent::Adversary;
use crate::adversary::faults::{Fault, Spoken, receivers, spoil, spoil_copy};
use crate::adversary::ledger::Ledger;
use crate::adversary::letter::Letter;
use crate::checks::Checks;
use crate::marks::Mark;
use crate::scenario::report::{Detail, Loss, Report};
use crate::scenario::words::{Words, duration, name_of, ranges};
use crate::world::clock::LocalClock;
use crate::world::hosts::{ClientHost, Departed, ReplicaHost};
use crate::world::links::Links;
use crate::world::network::{Fate, Network, Packet};
use crate::world::random::Random;
use crate::world::seat::Seat;
use crate::world::settings::Settings;
use logothete_engine::authentication::{Incoming, Refused};
use logothete_engine::journal::Trouble;
use logothete_engine::numbers::{ClientId, Principal, ReplicaId, SequenceNumber};
use logothete_engine::pipeline::{Core, ReplicaFacts};
use logothete_engine::replica::Event;
use logothete_engine::wire::Audience;
use logothete_engine::wire::packet::PacketParts;
use std::rc::Rc;

pub struct Cluster {
    pub settings: Settings,
    pub replicas: Vec<ReplicaHost>,
    pub clients: Vec<ClientHost>,
    /// The network of a script. In a swarm [`Cluster::links`] are in its place.
    pub network: Network,
    pub links: Option<Links>,
    pub(crate) operator: Seat,
    pub words: Words,
    /// What the adversary knows of what was said: apart from the words, since to tell of something must change nothing.
    pub(crate) seen: Words,
    pub report: Report,
    pub checks: Checks,
    pub adversary: Adversary,
    pub(crate) ledger: Ledger,
    pub(crate) random: Random,
    pub(crate) now_ns: u64,
    /// When the script's time begins: the clients have opened their incarnations.
    origin_ns: u64,
    /// The result accepted after so many others reaches the checkers changed.
    pub canary: Option<u64>,
    /// What each agent had come to when the command began.
    began: Vec<(Principal, u64, u64)>,
}

impl Cluster {
    /// A cluster whose members know each other's keys; nothing has been sent.
    pub fn new(settings: Settings) -> Self {
        let mut random = Random::new(settings.seed);
        let mut replicas: Vec<_> =
            (0..settings.replicas as u8).map(|id| ReplicaHost::new(ReplicaId(id), &settings, &mut random)).collect();
        let mut clients: Vec<_> =
            (0..settings.clients as u16).map(|id| ClientHost::new(ClientId(id), &settings, &mut random)).collect();
        for at in 0..replicas.len() {
            let (earlier, later) = replicas.split_at_mut(at);
            let seat = &mut later[0].seat;
            earlier.iter_mut().for_each(|other| seat.introduce(&mut other.seat));
            clients.iter_mut().for_each(|client| seat.introduce(&mut client.seat));
        }
        let operator = Principal::Client(settings.operator());
        let mut seat = Seat::new(operator, settings.register(), &mut random);
        for replica in &mut replicas {
            seat.introduce(&mut replica.seat);
            replica.keep_question(&mut seat, settings.operator());
        }
        Self {
            settings,
            replicas,
            clients,
            network: Network::new(random.draw()),
            links: None,
            operator: seat,
            words: Words::of(settings.service()),
            seen: Words::of(settings.service()),
            report: Report::new(settings.replicas),
            checks: Checks::new(settings),
            adversary: Adversary::default(),
            ledger: Ledger::default(),
            random,
            now_ns: 0,
            origin_ns: 0,
            canary: None,
            began: Vec::new(),
        }
    }

    /// Lets the clients open their incarnations; the script's time begins then.
    pub fn open_clients(&mut self) -> Result<(), String> {
        self.run_due()?;
        self.deliver_all()?;
        match self.clients.iter().all(|client| client.open) {
            true => self.origin_ns = self.now_ns,
            false => return Err("a client could not open its incarnation".to_owned()),
        }
        Ok(())
    }

    pub fn begin(&mut self, detail: Detail) {
        self.report.begin(detail);
        self.began = self.standing();
        self.say_moment();
    }

    /// Ends a command: what is to be said of it.
    pub fn end(&mut self) -> String {
        let mut summary = Vec::new();
        for ((who, first, second), (_, first_before, second_before)) in self.standing().into_iter().zip(&self.began) {
            match who {
                Principal::Replica(id) if self.replicas[usize::from(id.0)].is_correct() => {
                    if first > *first_before {
                        summary.push((who, format!("executed {}", ranges(first_before + 1..=first))));
                    }
                    if second > *second_before {
                        summary.push((who, format!("stable s{second}")));
                    }
                }
                Principal::Client(_) if first > *first_before => {
                    summary.push((who, format!("accepted {}", operations(first - first_before))));
                }
                _ => {}
            }
        }
        self.report.end(summary)
    }

    /// Of replicas: executed and stable. Of clients: accepted.
    fn standing(&self) -> Vec<(Principal, u64, u64)> {
        let replica = |host: &ReplicaHost| (Principal::Replica(host.id), host.executed, host.stable);
        let client = |host: &ClientHost| (Principal::Client(host.id), host.accepted, 0);
        self.replicas.iter().map(replica).chain(self.clients.iter().map(client)).collect()
    }

    /// One duty cycle of an agent.
    pub(crate) fn turn(&mut self, agent: Principal, packets: &[Packet]) -> Result<(), String> {
        self.checks.set_time(self.now_ns);
        match agent {
            Principal::Replica(id) if self.adversary.has_twins(id) => self.turn_twins(id, packets),
            Principal::Replica(id) => self.turn_replica(usize::from(id.0), packets),
            Principal::Client(id) => self.turn_client(usize::from(id.0), packets),
        }
        self.checks.verdict()
    }

    fn turn_replica(&mut self, at: usize, packets: &[Packet]) {
        let host = &mut self.replicas[at];
        host.disk.set_time(self.now_ns);
        if host.is_crashed() || host.is_cut_off() {
            return;
        }
        self.checks.set_clock(host.clock.now(self.now_ns).monotonic_ns);
        for packet in packets {
            self.take_packet(at, packet);
        }
        let host = &mut self.replicas[at];
        let (own, now) = (Principal::Replica(host.id), host.clock.now(self.now_ns));
        host.turns += 1;
        let asked = host.turns.is_multiple_of(self.settings.question_turns);
        if let Some((facts, datagram)) = host.question.as_ref().filter(|_| asked) {
            host.orderer.on_incoming(now, &facts.incoming(datagram));
        }
        host.orderer.on_duty_end(now, &ReplicaFacts::default(), &mut host.outbox);
        let mut departed = Departed::default();
        host.outbox.drain_into(&mut departed);
        if host.is_cut_off() {
            return;
        }
        if let Some(fault) = &mut host.fault {
            fault.learn_copies(&departed.relays);
        }
        let facts = departed.take_report(own, self.settings.operator());
        if !host.is_correct() {
            self.checks.on_faulty(host.id);
        }
        let mut events = Vec::new();
        host.orderer.take_events(&mut |event| events.push(event));
        if host.is_checked() {
            self.checks.on_durable(ReplicaId(at as u8), &host.disk);
            events.iter().for_each(|event| self.checks.on_event(ReplicaId(at as u8), event));
            for (audience, body, _) in &departed.packets {
                self.learn(body, own);
                self.checks.on_sent(ReplicaId(at as u8), *audience, body);
            }
            for (to, datagram) in &departed.relays {
                let parts = PacketParts::parse(datagram).expect("what is relayed was verified");
                let client = Principal::from_code(parts.header.sender.get());
                self.checks.on_relay_sent(ReplicaId(at as u8), *to, (client, parts.body));
            }
            self.checks.on_cycle_end(ReplicaId(at as u8));
            self.on_progress(at, &departed, &events);
            let host = &self.replicas[at];
            let replica = host.orderer.replica();
            let view = replica.is_active().then(|| replica.view().0);
            self.checks.on_turn_end(host.id, view, host.recovers || host.failed, replica);
            let moved = |event: &Event| matches!(event, Event::StateFetched(_) | Event::RolledBack { .. });
            if asked || events.iter().any(moved) {
                self.checks.on_table(host.id, replica);
            }
            assert!(!asked || facts.is_some(), "the operator's question is answered in the cycle in which it is put");
            if let Some(report) = facts {
                self.checks.on_report(ReplicaId(at as u8), &report);
                let (replica, disk) = (self.replicas[at].orderer.replica(), &self.replicas[at].disk);
                let held = (&replica.holdings(), disk.journal_bytes());
                self.checks.on_holdings(ReplicaId(at as u8), replica.stable().0, held);
            }
        }
        for (audience, body, message_count) in departed.packets {
            self.send_replica(at, Spoken { audience, body, message_count });
        }
        self.send_relays(ReplicaId(at as u8), departed.relays);
    }

    /// Passes clients' packets on.
    pub(crate) fn send_relays(&mut self, of: ReplicaId, relays: impl IntoIterator<Item = (ReplicaId, Vec<u8>)>) {
        let (at, own) = (usize::from(of.0), Principal::Replica(of));
        for (to, mut datagram) in relays {
            if self.replicas[at].fault.as_ref().is_some_and(Fault::spoils_copies) {
                spoil_copy(&mut datagram, to);
            }
            if self.adversary.owns(own) {
                let Some(relayed) = self.relay_owned(to, datagram) else { continue };
                datagram = relayed;
            }
            let packet = Packet { from: own, to: Principal::Replica(to), bytes: datagram.into() };
            if self.replicas[at].fault.as_ref().is_none_or(Fault::relays) {
                let words = &mut self.words;
                let text = || format!("relay of {}", words.body(packet.body(), packet.sender()));
                self.report.send(own, &[packet.to], &packet.bytes, text);
                self.launch(own, &[packet.to], &packet.bytes);
            }
        }
    }

    fn take_packet(&mut self, at: usize, packet: &Packet) {
        let id = ReplicaId(at as u8);
        if self.adversary.owns(Principal::Replica(id)) && !self.is_heard(id, packet) {
            return;
        }
        let host = &mut self.replicas[at];
        let (own, now) = (Principal::Replica(host.id), host.clock.now(self.now_ns));
        let correct = host.is_correct();
        let incoming = match host.seat.verify(packet.from, &packet.bytes) {
            Ok(incoming) => incoming,
            Err(reason) => {
                let words = &mut self.words;
                if correct {
                    self.checks.on_refused(packet.body(), packet.sender(), reason);
                    if reason == Refused::KeyStale && host.seat.is_former(&packet.bytes) {
                        self.checks.hit(Mark::KeyRetired);
                    }
                    self.report.count(own, Loss::Dropped(reason.label()), || {
                        let text = words.body(packet.body(), packet.sender());
                        format!("drops {text} of {}: {}", name_of(packet.from), reason.label())
                    });
                }
                return;
            }
        };
        if correct && host.seat.is_former(&packet.bytes) {
            self.checks.hit(Mark::KeysOverlapped);
        }
        let before = *host.orderer.replica().rejects();
        host.orderer.on_incoming(now, &incoming);
        self.prove_authentic(own, &incoming, packet);
        let host = &self.replicas[at];
        if host.is_checked() {
            match &incoming {
                Incoming::Packet(taken) => self.checks.on_arrived(own, (taken.sender(), packet.from), taken.body()),
                Incoming::Relayed(relayed) => self.checks.on_relay_arrived(own, relayed.client(), packet.body()),
            }
        }
        if correct {
            let after = host.orderer.replica().rejects();
            if let Incoming::Packet(taken) = &incoming {
                self.checks.on_taken(host.id, packet.from, taken.body(), (&before, after));
            }
            if after.total() != before.total() {
                let after = *after;
                self.say_rejects(own, packet, &before, &after);
            }
        }
    }

    /// Notes how far a replica has come, has it checked, and says it where somebody listens.
    fn on_progress(&mut self, at: usize, departed: &Departed, events: &[Event]) {
        let host = &mut self.replicas[at];
        let replica = host.orderer.replica();
        let (executed, stable) = (replica.executed().0, replica.stable().0);
        let happened = std::mem::take(&mut *host.record.lock().expect("one thread"));
        let batch_of = |sequence| replica.committed_batch(SequenceNumber(sequence));
        let restored = events.iter().rev().find_map(|event| match event {
            Event::RolledBack { to, .. } | Event::StateFetched(to) => Some(to.0),
            _ => None,
        });
        self.checks.on_executed(host.id, (executed, stable), (&happened, restored), batch_of);
        self.checks.on_standing(host.id, (executed, stable), replica.requests_held_bytes());
        self.checks.on_goodput(host.id, replica.misses_goodput());
        if self.is_told() {
            self.narrate(at, departed, events, &happened);
        }
        let host = &mut self.replicas[at];
        (host.executed, host.stable) = (executed, stable);
        let fails = |event: &Event| matches!(event, Event::MemoryTrouble(Trouble::Failed | Trouble::Unmade));
        host.failed |= events.iter().any(fails);
        host.recovers &= !events.contains(&Event::Recovered);
    }

    /// Sends what a replica's duty cycle made, as a faulty one changes it.
    fn send_replica(&mut self, at: usize, spoken: Spoken) {
        let host = &mut self.replicas[at];
        let (id, own) = (host.id, Principal::Replica(host.id));
        if self.adversary.owns(own) {
            return self.send_owned(Letter::new(own, spoken.audience, spoken.body));
        }
        let all = match &mut host.fault {
            Some(fault) => fault.speak(id, spoken),
            None => vec![spoken],
        };
        for Spoken { audience, body, message_count } in all {
            let host = &mut self.replicas[at];
            let mut datagram = host.seat.seal(audience, &body, message_count);
            let spoilt = host.fault.as_ref().is_some_and(Fault::spoils_tags);
            if spoilt {
                spoil(&mut datagram, audience, |_| true);
            }
            if host.fault.is_some() {
                self.learn(&body, own);
            }
            if let Audience::Client(id) = audience
                && usize::from(id.0) >= self.clients.len()
            {
                continue;
            }
            self.say_and_launch(own, audience, &body, datagram, if spoilt { " (tags wrong)" } else { "" });
        }
    }

    /// Sends a body that the script made, with a principal's own keys.
    pub fn send_scripted(&mut self, from: Principal, audience: Audience, body: &[u8], spoilt: &[Principal]) {
        let seat = match from {
            Principal::Replica(id) => {
                self.checks.on_faulty(id);
                &mut self.replicas[usize::from(id.0)].seat
            }
            Principal::Client(id) => &mut self.clients[usize::from(id.0)].seat,
        };
        let mut datagram = seat.seal(audience, body, 1);
        spoil(&mut datagram, audience, |receiver| spoilt.contains(&receiver));
        self.learn(body, from);
        self.say_and_launch(from, audience, body, datagram, "");
    }

    /// Whether what happens is put into words: in a script somebody may listen later, and is told then what is new since it was said or could have been.
    fn is_told(&self) -> bool {
        self.links.is_none() || self.report.is_full()
    }

    /// Something is said: it has a name from now on, and the adversary knows of it.
    pub(crate) fn learn(&mut self, body: &[u8], from: Principal) {
        self.seen.learn(body, from);
        if self.is_told() {
            self.words.learn(body, from);
        }
    }

    pub(crate) fn say_and_launch(
        &mut self,
        from: Principal,
        audience: Audience,
        body: &[u8],
        datagram: Vec<u8>,
        remark: &str,
    ) {
        self.checks.on_launched(from, body);
        self.ledger.on_sealed(from, body);
        let (words, receivers) = (&mut self.words, receivers(audience));
        let bytes: Rc<[u8]> = datagram.into();
        self.report.send(from, &receivers, &bytes, || words.body(body, from) + remark);
        self.launch(from, &receivers, &bytes);
    }

    fn launch(&mut self, from: Principal, receivers: &[Principal], bytes: &Rc<[u8]>) {
        let punctual = self.delay_by_adversary(from, receivers, bytes);
        self.put_in_flight(from, &punctual, bytes);
    }

    /// Gives a packet to the network.
    pub(crate) fn put_in_flight(&mut self, from: Principal, receivers: &[Principal], bytes: &Rc<[u8]>) {
        let now_ns = self.now_ns;
        let lost: Vec<Principal> = match &mut self.links {
            Some(links) => links.send(from, receivers, bytes, now_ns),
            None => {
                let packet = |to| Packet { from, to, bytes: bytes.clone() };
                let lost = |to: &Principal| self.network.send(packet(*to), now_ns) == Fate::Lost;
                receivers.iter().copied().filter(lost).collect()
            }
        };
        for to in lost {
            let (packet, words) = (Packet { from, to, bytes: bytes.clone() }, &mut self.words);
            self.checks.on_lost(packet.body(), packet.sender());
            if let Some(lanes) = &mut self.report.lanes {
                lanes.lost(&packet);
            }
            self.report.count(from, Loss::Lost, || {
                format!("lost on the way to {}: {}", name_of(to), words.body(packet.body(), packet.sender()))
            });
        }
    }

    /// What a correct replica's wall clock shows.
    pub fn wall_ns(&self) -> u64 {
        LocalClock::default().now(self.now_ns).wall_ns
    }

    pub(crate) fn say_moment(&mut self) {
        let elapsed_ns = self.now_ns.saturating_sub(self.origin_ns);
        if self.report.is_full() {
            self.report.moment(duration(elapsed_ns));
        }
        if let Some(lanes) = &mut self.report.lanes {
            lanes.set_time(self.now_ns);
        }
    }
}

/// Says a count of operations.
pub fn operations(count: u64) -> String {
    if count == 1 { "1 operation".to_owned() } else { format!("{count} operations") }
}
