//! What a liar knows, and what it makes up of it.

use crate::choices::Choices;
use crate::table::{HOSTILE, HOSTILE_ID, REGISTER, client_id, epoch};
use logothete_crypto::{Digest, digest};
use logothete_engine::numbers::{ClientId, Incarnation, ReplicaId, RequestNumber, SequenceNumber, View};
use logothete_engine::wire::agreement::{BatchEntry, CheckpointVote, Vote, null_batch};
use logothete_engine::wire::request::RequestName;
use logothete_engine::wire::view_change::{Named, NewView, StatementKind, ViewChange};

/// What a liar knows, and bends.
#[derive(Clone, Debug)]
pub struct Scene {
    pub view: u64,
    pub executed: u64,
    pub stable: u64,
    pub window: u64,
    pub wall_ns: u64,
    /// The incarnation that the client opened, and its next request.
    pub incarnation: u64,
    pub number: u64,
    /// Digests that mean something: of batches, requests, states, results.
    pub digests: Vec<Digest>,
    /// Batch entries that name requests that are known.
    pub entries: Vec<BatchEntry>,
    /// Signed statements that were seen.
    pub statements: Vec<(StatementKind, View, Vec<u8>)>,
}

impl Default for Scene {
    fn default() -> Self {
        let request = digest(b"a request");
        Self {
            view: 0,
            executed: 0,
            stable: 0,
            window: 8,
            wall_ns: 1_700_000_000_000_000_000,
            incarnation: 7,
            number: 1,
            digests: vec![null_batch(), request],
            entries: vec![BatchEntry::new(request_name(7, 0), request)],
            statements: Vec::new(),
        }
    }
}

/// Signers whose word is the liar's own.
fn sign(kind: StatementKind, body: &[u8]) -> [u8; 64] {
    REGISTER.signatures(HOSTILE_ID).sign(kind, body)
}

/// A name of the hostile client's.
pub fn request_name(incarnation: u64, number: u64) -> RequestName {
    RequestName { client: client_id(), incarnation: Incarnation(incarnation), number: RequestNumber(number) }
}

/// How many things a scene remembers.
const KNOWN_MAX: usize = 32;

impl Scene {
    /// Learns what a message mentions.
    pub fn learn(&mut self, known: Digest) {
        if !self.digests.contains(&known) {
            if self.digests.len() == KNOWN_MAX {
                self.digests.remove(1);
            }
            self.digests.push(known);
        }
    }

    /// Learns a request that may be named in batches.
    pub fn learn_request(&mut self, name: RequestName, message: &[u8]) {
        let known = digest(message);
        self.learn(known);
        if self.entries.len() == KNOWN_MAX {
            self.entries.remove(0);
        }
        self.entries.push(BatchEntry::new(name, known));
    }

    /// Keeps a signed statement that somebody sent whole.
    pub fn learn_statement(&mut self, kind: StatementKind, view: View, bytes: &[u8]) {
        if self.statements.len() == KNOWN_MAX {
            self.statements.remove(0);
        }
        self.statements.push((kind, view, bytes.to_vec()));
    }

    pub(super) fn digest(&self, choices: &mut Choices<'_>) -> Digest {
        match choices.byte() {
            255 => Digest(choices.array()),
            254 => Digest::default(),
            at => self.digests[usize::from(at) % self.digests.len()],
        }
    }

    pub(super) fn view(&self, choices: &mut Choices<'_>) -> View {
        View(choices.near(self.view))
    }

    pub(super) fn sequence(&self, choices: &mut Choices<'_>) -> SequenceNumber {
        let around =
            [self.executed + 1, self.stable, self.executed, self.stable + self.window, self.stable + self.window + 1];
        let around = choices.of(&around);
        SequenceNumber(choices.near(around))
    }

    pub(super) fn name(&self, choices: &mut Choices<'_>) -> RequestName {
        let name = request_name(choices.near(self.incarnation), choices.near(self.number));
        match choices.byte() % 8 {
            7 => RequestName { client: ClientId(choices.near(1) as u16), ..name },
            6 => RequestName { client: ClientId::SYSTEM, ..name },
            _ => name,
        }
    }

    pub(super) fn entries(&self, choices: &mut Choices<'_>) -> Vec<BatchEntry> {
        let count = choices.below(5);
        (0..count).map(|_| self.entry(choices)).collect()
    }

    pub(super) fn entry(&self, choices: &mut Choices<'_>) -> BatchEntry {
        match choices.byte() {
            255 => BatchEntry::new(self.name(choices), self.digest(choices)),
            at => self.entries[usize::from(at) % self.entries.len()],
        }
    }

    pub(super) fn time(&self, choices: &mut Choices<'_>) -> u64 {
        choices.near(self.wall_ns)
    }

    pub(super) fn votes(&self, choices: &mut Choices<'_>, base: u64) -> Vec<Vote> {
        let count = choices.below(5);
        let mut votes: Vec<Vote> = (0..count)
            .map(|step| {
                let below = self.view.saturating_sub(choices.below(3) as u64);
                Vote::new(
                    View(choices.near(below)),
                    SequenceNumber(choices.near(base.wrapping_add(1 + step as u64))),
                    self.digest(choices),
                )
            })
            .collect();
        votes.sort_by_key(|vote| (vote.sequence(), vote.digest));
        votes.dedup_by_key(|vote| (vote.sequence(), vote.digest));
        votes
    }

    /// A signed statement of the hostile replica's own: shaped as a correct one, with what the input says in it.
    pub fn statement(&self, choices: &mut Choices<'_>, kind: StatementKind) -> Vec<u8> {
        match kind {
            StatementKind::ViewChange => {
                let stable = choices.near(self.stable);
                let mut checkpoints = vec![CheckpointVote::new(SequenceNumber(stable), self.state(choices, stable))];
                if choices.flag() {
                    let later = stable.saturating_add(self.window / 2);
                    checkpoints.push(CheckpointVote::new(SequenceNumber(later), self.digest(choices)));
                }
                checkpoints.dedup_by_key(|vote| vote.sequence());
                let (mut prepared, pre_prepared) = (self.votes(choices, stable), self.votes(choices, stable));
                prepared.dedup_by_key(|vote| vote.sequence());
                let content = ViewChange {
                    view: View(choices.near(self.view + 1)),
                    stable: SequenceNumber(stable),
                    epoch: choices.of(&[epoch(HOSTILE), epoch(HOSTILE), 0, u64::MAX]),
                    replica: HOSTILE_ID,
                    checkpoints: &checkpoints,
                    prepared: &prepared,
                    pre_prepared: &pre_prepared,
                };
                content.encode(|body| sign(kind, body))
            }
            StatementKind::NewView => {
                let named = self.named(choices);
                let selection: Vec<Digest> = (0..choices.below(4)).map(|_| self.digest(choices)).collect();
                let content = NewView {
                    view: View(choices.near(self.view + 1)),
                    epoch: epoch(HOSTILE),
                    replica: HOSTILE_ID,
                    checkpoint: (SequenceNumber(choices.near(self.stable)), self.digest(choices)),
                    named: &named,
                    selection: &selection,
                };
                content.encode(|body| sign(kind, body))
            }
        }
    }

    fn state(&self, choices: &mut Choices<'_>, stable: u64) -> Digest {
        if stable == 0 { Digest::default() } else { self.digest(choices) }
    }

    fn named(&self, choices: &mut Choices<'_>) -> Vec<Named> {
        let seen = self.statements.iter().filter(|(kind, ..)| *kind == StatementKind::ViewChange);
        let mut named: Vec<Named> = seen
            .filter_map(|(_, _, bytes)| Some(Named::new(ViewChange::decode(bytes).ok()?.0.replica, digest(bytes))))
            .collect();
        while named.len() < 3 {
            named.push(Named::new(ReplicaId(choices.byte() % 16), self.digest(choices)));
        }
        named.sort_by_key(Named::replica);
        named.dedup_by_key(|named| named.replica());
        named
    }
}
