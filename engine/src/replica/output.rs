//! What the core asks its host to do: actions, in order, in a buffer that the host owns.

use super::bodies::BodyRef;
use super::departure::Departure;
use super::evidence::Evidence;
use crate::journal::{Record, Trouble};
use crate::numbers::{ClientId, ReplicaId, ReplicaSet, SequenceNumber, View};
use crate::planted::{self, Bug};
use crate::wire::Audience;
use crate::wire::request::RequestName;
use logothete_crypto::Digest;
use std::ops::Range;

/// One thing to do. Actions are done in the order in which they stand.
#[derive(Clone, Debug)]
pub enum Action {
    /// Send a message; [`Output::message`] has its bytes. Messages for one audience share packets.
    Send {
        /// To whom.
        audience: Audience,
        /// Where its bytes are.
        bytes: Range<usize>,
        /// It bears a promise: it leaves only when everything persisted so far is durable (`protocol.md JR-1`).
        promise: bool,
    },
    /// Append a record to the journal; [`Output::message`] has its bytes.
    Persist {
        /// Where its bytes are.
        bytes: Range<usize>,
    },
    /// Send a client's original packet, tags and all, to a replica that asked for it or is to propose it.
    Relay {
        /// Who asked, or is to propose it.
        to: ReplicaId,
        /// Where its bytes are: a copy, since the replica may let go of the body before the action is done.
        bytes: Range<usize>,
    },
    /// Execute a batch; [`Output::requests`] has its requests.
    Execute {
        /// The batch's place.
        sequence: SequenceNumber,
        /// The time that the service sees.
        timestamp_ns: u64,
        /// Its requests.
        requests: Range<usize>,
    },
    /// Keep the state as it is now, and say so with `Replica::on_checkpoint_taken`; its digest follows with `Replica::on_state_digest`.
    Checkpoint {
        /// The number just executed.
        sequence: SequenceNumber,
    },
    /// Go back to the state of a checkpoint that was taken, and say so with `Replica::on_restored`; what was taken above it is void.
    Restore {
        /// The checkpoint's number.
        checkpoint: SequenceNumber,
    },
    /// Fetch the state of a checkpoint from other replicas, instead of one that is being fetched, and give it with
    /// `Replica::on_state_fetched`.
    FetchState {
        /// The checkpoint's number.
        sequence: SequenceNumber,
        /// The digest of its state.
        digest: Digest,
        /// Who has it.
        sources: ReplicaSet,
    },
    /// Have the service answer a query from its state as it is now, and return the answer with `Replica::on_query_answered`.
    Query {
        /// Whose query.
        client: ClientId,
        /// Which.
        nonce: u64,
        /// Where its operation is, as [`Output::message`] has the bytes of a message.
        operation: Range<usize>,
    },
    /// Something that a person may want to know.
    Event(Event),
}

/// A request to execute.
#[derive(Clone, Copy, Debug)]
pub struct ScheduledRequest {
    /// Its name.
    pub name: RequestName,
    /// Its digest.
    pub digest: Digest,
    /// Its body; `None` opens an incarnation, and executes nothing.
    pub body: Option<BodyRef>,
}

/// What happened, as data; formatting is the host's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A checkpoint became stable.
    Stable(SequenceNumber),
    /// A replica contradicted itself: two authenticated messages for one view and number (`protocol.md RJ-2`, `EV-1`).
    Contradiction(Evidence),
    /// Something executed tentatively did not commit, and was undone.
    RolledBack {
        /// What was undone.
        from: SequenceNumber,
        /// The checkpoint from which committed batches are executed again.
        to: SequenceNumber,
    },
    /// The state of a checkpoint was fetched from others.
    StateFetched(SequenceNumber),
    /// A replica without memory knows from where on it may vote again.
    RecoveryPoint(SequenceNumber),
    /// It has recovered, and votes.
    Recovered,
    /// For some time so many replicas have not remembered what they promised that the others are no quorum: nothing is ordered.
    TooManyForgot(ReplicaSet),
    /// The journal or a checkpoint could not be written: nothing more is promised, or nothing that is older let go.
    MemoryTrouble(Trouble),
    /// This replica left its view.
    ViewLeft {
        /// The view that it wants to enter.
        wanted: View,
        /// What for.
        why: Departure,
    },
    /// It entered a view.
    ViewEntered(View),
    /// A primary signed a new view that does not follow from the view changes that it names.
    NewViewWrong {
        /// Which replica.
        replica: ReplicaId,
        /// Of which view.
        view: View,
    },
    /// A client's requests count only if they are signed from now on (`protocol.md DM-5`).
    Demoted {
        /// Which.
        client: ClientId,
        /// The batch that says so.
        sequence: SequenceNumber,
    },
    /// `2f+1` replicas agree on a state that is not this replica's.
    Diverged(SequenceNumber),
    /// `f+1` replicas are so far ahead that what this one lacks is no longer kept.
    FellBehind {
        /// The checkpoint that they vouch for.
        checkpoint: SequenceNumber,
    },
}

/// The core's outputs of one call after the other, until the host clears them.
#[derive(Debug)]
pub struct Output {
    actions: Vec<Action>,
    bytes: Vec<u8>,
    requests: Vec<ScheduledRequest>,
}

impl Output {
    /// A buffer with room for a duty cycle; it grows where one needs more, and keeps what it grew.
    pub fn new() -> Self {
        Self {
            actions: Vec::with_capacity(1024),
            bytes: Vec::with_capacity(1 << 18),
            requests: Vec::with_capacity(1024),
        }
    }

    /// The actions so far.
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// The bytes of a message to send, or of a query's operation.
    pub fn message(&self, bytes: Range<usize>) -> &[u8] {
        &self.bytes[bytes]
    }

    /// The requests of a batch to execute.
    pub fn requests(&self, requests: Range<usize>) -> &[ScheduledRequest] {
        &self.requests[requests]
    }

    /// Forgets everything: all of it was done.
    pub fn clear(&mut self) {
        self.actions.clear();
        self.bytes.clear();
        self.requests.clear();
    }

    /// Forgets what is to be said, asked or told; what is to be done with the state stays.
    pub fn forget_messages(&mut self) {
        self.actions.retain(|action| {
            matches!(action, Action::Execute { .. } | Action::Checkpoint { .. } | Action::Restore { .. })
        });
    }

    /// Adds a message, written by `append`.
    pub fn send(&mut self, audience: Audience, append: impl FnOnce(&mut Vec<u8>)) {
        self.add(audience, false, append);
    }

    /// Adds a message that bears a promise.
    pub(super) fn promise(&mut self, audience: Audience, append: impl FnOnce(&mut Vec<u8>)) {
        self.add(audience, !planted::is(Bug::PromiseBeforeDurable), append);
    }

    fn add(&mut self, audience: Audience, promise: bool, append: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        append(&mut self.bytes);
        self.actions.push(Action::Send { audience, bytes: start..self.bytes.len(), promise });
    }

    pub(super) fn persist(&mut self, record: &Record<'_>) {
        let start = self.bytes.len();
        self.bytes.resize(start + record.encoded_bytes(), 0);
        record.encode(&mut self.bytes[start..]);
        self.actions.push(Action::Persist { bytes: start..self.bytes.len() });
    }

    pub(super) fn relay(&mut self, to: ReplicaId, packet: [&[u8]; 3]) {
        let start = self.bytes.len();
        packet.iter().for_each(|piece| self.bytes.extend_from_slice(piece));
        self.actions.push(Action::Relay { to, bytes: start..self.bytes.len() });
    }

    pub(super) fn execute(
        &mut self,
        sequence: SequenceNumber,
        timestamp_ns: u64,
        requests: impl Iterator<Item = ScheduledRequest>,
    ) {
        let start = self.requests.len();
        self.requests.extend(requests);
        self.actions.push(Action::Execute { sequence, timestamp_ns, requests: start..self.requests.len() });
    }

    pub(super) fn checkpoint(&mut self, sequence: SequenceNumber) {
        self.actions.push(Action::Checkpoint { sequence });
    }

    pub(super) fn restore(&mut self, checkpoint: SequenceNumber) {
        self.actions.push(Action::Restore { checkpoint });
    }

    pub(super) fn fetch_state(&mut self, (sequence, digest): (SequenceNumber, Digest), sources: ReplicaSet) {
        self.actions.push(Action::FetchState { sequence, digest, sources });
    }

    pub(super) fn query(&mut self, client: ClientId, nonce: u64, operation: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(operation);
        self.actions.push(Action::Query { client, nonce, operation: start..self.bytes.len() });
    }

    pub(super) fn event(&mut self, event: Event) {
        self.actions.push(Action::Event(event));
    }
}

impl Default for Output {
    fn default() -> Self {
        Self::new()
    }
}
