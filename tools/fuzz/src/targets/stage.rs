//! The stage on which one real replica plays: its clock, its disk, the two mirrors, and what must hold of everything that it says.

use crate::choices::Choices;
use crate::hostile::{Scene, request_name};
use crate::table::{CLIENT, CORRECT, HOSTILE, HOSTILE_ID, REGISTER, epoch, receive, seal};
use logothete_crypto::{Digest, digest};
use logothete_engine::authentication::Incoming;
use logothete_engine::numbers::{Principal, ReplicaId, ReplicaSet, SequenceNumber, View};
use logothete_engine::pipeline::{Core, ReplicaFacts};
use logothete_engine::wire::agreement::{BatchEntry, Vote, append_pre_prepare, batch_digest};
use logothete_engine::wire::operation::OperationsWriter;
use logothete_engine::wire::view_change::{Named, NewView, Part, StatementKind, ViewChange};
use logothete_engine::wire::{Audience, Message, Messages, request};
use logothete_simulator::checks::judge::judge;
use logothete_simulator::world::clock::LocalClock;
use logothete_simulator::world::hosts::{Departed, ReplicaHost};
use logothete_simulator::world::random::Random;
use logothete_simulator::world::settings::Settings;
use std::collections::{BTreeMap, VecDeque};

/// What waits to be heard of the mirrors.
const MIRRORED_MAX: usize = 64;

/// Datagrams of clients that a liar may relay.
const RECORDED_MAX: usize = 16;

/// Duty cycles in a row while the replica says that it is due.
const CYCLES_MAX: usize = 8;

/// More than a duty cycle of a correct replica says, whatever it hears.
const PACKETS_MAX: usize = 4096;

pub struct Stage {
    host: ReplicaHost,
    own: Principal,
    settings: Settings,
    now_ns: u64,
    pub scene: Scene,
    /// What the mirrors say next, and which of them.
    mirrored: VecDeque<(Principal, Vec<u8>)>,
    /// What the replica said of a number in a view: it never says another thing (`protocol.md NC-3`).
    said: BTreeMap<(bool, u64, u64), Digest>,
    /// The last batch voted for, with its view and number.
    last: Option<Vote>,
    /// What mirrors proposed, and the requests that wait to be.
    proposed: BTreeMap<(u64, u64), (u64, Vec<BatchEntry>)>,
    waiting: VecDeque<BatchEntry>,
    /// Signed view changes, by signer and view.
    view_changes: BTreeMap<(u64, ReplicaId), Vec<u8>>,
    recorded: Vec<Vec<u8>>,
    executed: u64,
}

impl Stage {
    /// A replica that begins; the second byte decides on its configuration.
    pub fn new(own: ReplicaId, variant: u8) -> Self {
        let settings = Settings {
            checkpoint_interval: 4,
            pipeline_depth: 4,
            batch_requests_max: 8,
            tentative: variant & 1 == 1,
            journal: variant & 2 == 2,
            retention_bytes: 1 << 18,
            ..Settings::default()
        };
        let mut stage = Self {
            host: ReplicaHost::new(own, &settings, &mut Random::new(1)),
            own: Principal::Replica(own),
            settings,
            now_ns: 1_000_000,
            scene: Scene { number: 0, window: settings.window(), ..Scene::default() },
            mirrored: VecDeque::new(),
            said: BTreeMap::new(),
            last: None,
            proposed: BTreeMap::new(),
            waiting: VecDeque::new(),
            view_changes: BTreeMap::new(),
            recorded: Vec::new(),
            executed: 0,
        };
        stage.turn();
        stage
    }

    fn mirrors(&self) -> impl Iterator<Item = Principal> + use<> {
        let own = self.own;
        CORRECT.map(Principal::Replica).into_iter().filter(move |replica| *replica != own)
    }

    /// Time passes.
    pub fn pass(&mut self, duration_ns: u64) {
        self.now_ns += duration_ns;
        self.scene.wall_ns = LocalClock::default().now(self.now_ns).wall_ns;
    }

    /// The replica hears a body, properly sealed.
    pub fn hear(&mut self, from: Principal, body: &[u8]) {
        let Principal::Replica(own) = self.own else { unreachable!("it is a replica") };
        let datagram = seal(from, Audience::Replicas(ReplicaSet::only(own)), body);
        self.hear_datagram(from, &datagram);
    }

    fn hear_datagram(&mut self, transmitter: Principal, datagram: &[u8]) {
        let (orderer, now) = (&mut self.host.orderer, LocalClock::default().now(self.now_ns));
        receive(self.own, transmitter, datagram, |incoming| {
            if let Some(incoming) = incoming {
                assert!(matches!(incoming, Incoming::Packet(_)) || transmitter == HOSTILE);
                orderer.on_incoming(now, &incoming);
            }
        });
    }

    /// The client sends its next request, as a correct one would: the first opens its incarnation.
    pub fn next_request(&mut self, bytes: &[u8]) {
        let name = request_name(self.scene.incarnation, self.scene.number);
        let mut writer = OperationsWriter::new(200);
        if self.scene.number > 0 {
            assert!(writer.try_push(1, self.scene.number, bytes));
        }
        let mut message = Vec::new();
        request::append(&mut message, name, writer.count(), writer.bytes());
        self.scene.number += 1;
        self.scene.learn_request(name, &message);
        self.waiting.push_back(BatchEntry::new(name, digest(&message)));
        let datagram = seal(CLIENT, Audience::Replicas(ReplicaSet::first(4)), &message);
        if self.recorded.len() < RECORDED_MAX {
            self.recorded.push(datagram.clone());
        }
        self.hear_datagram(CLIENT, &datagram);
    }

    /// A liar passes on what it once had of the client, changed perhaps.
    pub fn relay(&mut self, by: Principal, choices: &mut Choices<'_>) {
        if let Some(datagram) = self.recorded.get(usize::from(choices.byte() % 16)) {
            let mut datagram = datagram.clone();
            choices.spoil(&mut datagram);
            self.hear_datagram(by, &datagram);
        }
    }

    /// A mirror that is the view's primary proposes what waits, at the next number.
    pub fn propose_honestly(&mut self) {
        let (view, sequence) = (self.scene.view, self.scene.executed + 1);
        let primary = Principal::Replica(ReplicaId((view % 4) as u8));
        if !self.mirrors().any(|mirror| mirror == primary) {
            return;
        }
        let time_ns = self.scene.wall_ns;
        let waiting = &mut self.waiting;
        let (timestamp_ns, entries) = self.proposed.entry((view, sequence)).or_insert_with(|| {
            let entries: Vec<BatchEntry> = waiting.pop_front().into_iter().collect();
            (if entries.is_empty() { 0 } else { time_ns }, entries)
        });
        let mut out = Vec::new();
        append_pre_prepare(&mut out, View(view), SequenceNumber(sequence), *timestamp_ns, entries);
        self.hear(primary, &out);
    }

    /// The replica hears what mirrors said, oldest first.
    pub fn hear_mirrors(&mut self, count: usize) {
        for _ in 0..count {
            let Some((mirror, body)) = self.mirrored.pop_front() else { return };
            self.hear(mirror, &body);
        }
    }

    /// Some of it is lost.
    pub fn forget_mirrors(&mut self, count: usize) {
        self.mirrored.drain(..count.min(self.mirrored.len()));
    }

    /// Somebody votes for what the replica voted for last.
    pub fn vote_along(&mut self, voter: Principal) {
        let Some(vote) = self.last else { return };
        let mut out = Vec::new();
        vote.append_prepare(&mut out);
        vote.append_commit(&mut out);
        self.hear(voter, &out);
    }

    /// The replica hears a signed statement, in as many parts as it takes.
    pub fn hear_statement(&mut self, from: Principal, kind: StatementKind, bytes: &[u8]) {
        let (replica, view) = match kind {
            StatementKind::ViewChange => ViewChange::decode(bytes).map(|(it, ..)| (it.replica, it.view)),
            StatementKind::NewView => NewView::decode(bytes).map(|(it, ..)| (it.replica, it.view)),
        }
        .expect("a statement was encoded");
        if kind == StatementKind::ViewChange && replica == HOSTILE_ID {
            self.view_changes.insert((view.0, replica), bytes.to_vec());
        }
        let whole = digest(bytes);
        for (index, piece) in bytes.chunks(self.settings.piece_bytes()).enumerate() {
            let mut out = Vec::new();
            Part { statement: kind, replica, view, digest: whole, total_bytes: bytes.len(), index, bytes: piece }
                .append(&mut out);
            self.hear(from, &out);
        }
    }

    /// The primary of the view that the replica wants opens it, if it has what that takes.
    pub fn new_view(&mut self) {
        let (view, replicas) = (self.scene.view, self.settings.replicas as u64);
        let primary = ReplicaId((view % replicas) as u8);
        if Principal::Replica(primary) == self.own {
            return;
        }
        let seen: Vec<Vec<u8>> = self
            .view_changes
            .range((view, ReplicaId(0))..=(view, ReplicaId(15)))
            .map(|(_, bytes)| bytes.clone())
            .collect();
        let set: Vec<ViewChange<'_>> =
            seen.iter().map(|bytes| ViewChange::decode(bytes).expect("it was decoded before").0).collect();
        let Some(((stable, state), selection)) = judge(&set, 1, self.settings.window()) else { return };
        let named: Vec<Named> =
            set.iter().zip(&seen).map(|(content, bytes)| Named::new(content.replica, digest(bytes))).collect();
        let content = NewView {
            view: View(view),
            epoch: epoch(Principal::Replica(primary)),
            replica: primary,
            checkpoint: (SequenceNumber(stable), state),
            named: &named,
            selection: &selection,
        };
        let signatures = REGISTER.signatures(primary);
        let bytes = content.encode(|body| signatures.sign(StatementKind::NewView, body));
        self.hear_statement(Principal::Replica(primary), StatementKind::NewView, &bytes);
    }

    /// Duty cycles of the replica, until it waits for something.
    pub fn turn(&mut self) {
        for _ in 0..CYCLES_MAX {
            let now = LocalClock::default().now(self.now_ns);
            self.host.disk.set_time(self.now_ns);
            self.host.orderer.on_duty_end(now, &ReplicaFacts::default(), &mut self.host.outbox);
            let mut departed = Departed::default();
            self.host.outbox.drain_into(&mut departed);
            self.host.orderer.take_events(&mut |_| {});
            assert!(departed.packets.len() + departed.relays.len() <= PACKETS_MAX, "a duty cycle says only so much");
            for (_, body, _) in &departed.packets {
                for (message, _) in Messages::new(body, self.own).flatten() {
                    self.on_said(&message);
                }
            }
            if self.host.orderer.deadline_ns() > self.now_ns {
                break;
            }
        }
        let replica = self.host.orderer.replica();
        let (executed, stable) = (replica.executed().0, replica.stable().0);
        assert!(executed <= stable + self.settings.window(), "nothing is executed beyond the window");
        (self.scene.view, self.scene.executed, self.scene.stable) = (replica.view().0, executed, stable);
        // What was tentative may be undone; what is stable is not.
        assert!(stable >= self.executed, "what was stable stays so");
        self.executed = stable;
    }

    fn on_said(&mut self, message: &Message<'_>) {
        match message {
            Message::PrePrepare(it) => {
                let batch = batch_digest(it.timestamp_ns, it.entries);
                let vote = Vote::new(it.view, it.sequence, batch);
                self.says(false, &vote);
                self.mirror(|out| vote.append_prepare(out));
            }
            Message::Prepare(vote) => {
                self.says(false, vote);
                self.mirror(|out| vote.append_prepare(out));
            }
            Message::Commit(vote) => {
                self.says(true, vote);
                self.mirror(|out| vote.append_commit(out));
            }
            Message::Checkpoint(vote) => {
                self.scene.learn(vote.digest);
                self.mirror(|out| vote.append(out));
            }
            Message::Status(status) => self.mirror(|out| status.append(out)),
            Message::Part(part) if part.bytes.len() == part.total_bytes => self.on_statement(part),
            _ => {}
        }
    }

    /// Notes a vote, which must not contradict an earlier one.
    fn says(&mut self, commits: bool, vote: &Vote) {
        let place = (commits, vote.view().0, vote.sequence().0);
        let before = *self.said.entry(place).or_insert(vote.digest);
        assert_eq!(before, vote.digest, "two batches for one number in one view: {vote:?}");
        self.scene.learn(vote.digest);
        self.last = Some(*vote);
    }

    /// Both mirrors say a thing as well; the primary says no prepare, but hears none of itself either.
    fn mirror(&mut self, write: impl Fn(&mut Vec<u8>)) {
        for mirror in self.mirrors() {
            let mut out = Vec::new();
            write(&mut out);
            if self.mirrored.len() == MIRRORED_MAX {
                self.mirrored.pop_front();
            }
            self.mirrored.push_back((mirror, out));
        }
    }

    /// A signed statement of the replica: mirrors that want the same view sign the same of their own.
    fn on_statement(&mut self, part: &Part<'_>) {
        self.scene.learn_statement(part.statement, part.view, part.bytes);
        let Ok((content, ..)) = ViewChange::decode(part.bytes) else { return };
        if Principal::Replica(content.replica) != self.own || part.statement != StatementKind::ViewChange {
            return;
        }
        self.view_changes.insert((content.view.0, content.replica), part.bytes.to_vec());
        for mirror in self.mirrors() {
            let Principal::Replica(id) = mirror else { continue };
            let signatures = REGISTER.signatures(id);
            let twin = ViewChange { replica: id, epoch: epoch(mirror), ..content };
            let bytes = twin.encode(|body| signatures.sign(StatementKind::ViewChange, body));
            self.scene.learn_statement(StatementKind::ViewChange, content.view, &bytes);
            let mut out = Vec::new();
            let whole = digest(&bytes);
            Part { replica: id, digest: whole, total_bytes: bytes.len(), bytes: &bytes, ..*part }.append(&mut out);
            self.mirrored.push_back((mirror, out));
            self.view_changes.insert((content.view.0, id), bytes);
        }
    }
}
