//! Letters: each message that was ever sent to one receiver, sealed and verified once, by number. A set of letters is a set of numbers.

use crate::exhaustive::quorums::REPLICAS;
use crate::world::random::Random;
use crate::world::seat::{Register, Seat};
use logothete_crypto::Digest;
use logothete_engine::authentication::{Incoming, PacketFacts};
use logothete_engine::numbers::{ClientId, Principal, ReplicaId, ReplicaSet, SequenceNumber, View};
use logothete_engine::wire::reply::Mode;
use logothete_engine::wire::retransmission::{Standing, Status};
use logothete_engine::wire::view_change::{NewView, StatementKind, ViewChange};
use logothete_engine::wire::{Audience, Message, Messages};
use std::collections::{BTreeMap, HashMap};

/// A letter's number.
pub type LetterId = u32;

/// The clients: one for each request.
pub const CLIENTS: usize = 2;

/// Everybody who has keys in an exploration.
pub const REGISTER: Register = Register { replicas: REPLICAS, clients: CLIENTS, stand_ins: false };

/// The rounds of the agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Round {
    PrePrepare,
    Prepare,
    Commit,
}

/// What a letter says, as far as the exploration and its goals ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    Vote {
        round: Round,
        view: View,
        sequence: SequenceNumber,
        batch: Digest,
    },
    Claim {
        sequence: SequenceNumber,
        batch: Digest,
    },
    /// The sender suspects the primary of the view.
    Suspicion {
        view: View,
    },
    ViewChange {
        view: View,
        statement: Digest,
        prepared: Sets,
        pre_prepared: Sets,
    },
    NewView {
        view: View,
        named: Vec<Digest>,
        selection: Vec<(SequenceNumber, Digest)>,
    },
    /// A batch's content, or the wish for it.
    Content,
    Reply {
        client: ClientId,
        sequence: SequenceNumber,
        result: Digest,
        mode: Mode,
        view: View,
    },
}

/// Entries of set P or Q.
pub type Sets = Vec<(SequenceNumber, View, Digest)>;

impl Said {
    /// What the one message of a body says; `None` for what the network holds back for ever (`mod.rs` says what, and why).
    pub fn of(body: &[u8], from: ReplicaId, to: Principal, to_all: bool) -> Option<Self> {
        let (message, _) = Messages::new(body, Principal::Replica(from)).next()?.expect("replicas write messages");
        let vote = |round, vote: &logothete_engine::wire::agreement::Vote| {
            to_all.then(|| Self::Vote { round, view: vote.view(), sequence: vote.sequence(), batch: vote.digest })
        };
        match message {
            Message::PrePrepare(proposal) => {
                let batch = logothete_engine::wire::agreement::batch_digest(proposal.timestamp_ns, proposal.entries);
                let (view, sequence) = (proposal.view, proposal.sequence);
                to_all.then_some(Self::Vote { round: Round::PrePrepare, view, sequence, batch })
            }
            Message::Prepare(prepare) => vote(Round::Prepare, prepare),
            Message::Commit(commit) => vote(Round::Commit, commit),
            Message::CommitClaim(claim) => Some(Self::Claim { sequence: claim.sequence(), batch: claim.digest }),
            Message::Status(status) => {
                let standing = status.standing();
                standing.suspects.then_some(Self::Suspicion { view: standing.view })
            }
            Message::Part(part) if to_all => {
                assert_eq!(part.bytes.len(), part.total_bytes, "a packet of an exploration holds a statement");
                Some(match part.statement {
                    StatementKind::ViewChange => Self::view_change(part.bytes, part.digest),
                    StatementKind::NewView => Self::new_view(part.bytes),
                })
            }
            Message::FetchBatch(_) | Message::Batch(_) => Some(Self::Content),
            Message::Reply(reply) => {
                let Principal::Client(client) = to else { return None };
                let (sequence, mode) = (reply.sequence, reply.mode);
                // A reply that is final is the same in all views.
                let view = if mode == Mode::Tentative { reply.view } else { View(0) };
                Some(Self::Reply { client, sequence, result: reply.results.digest(), mode, view })
            }
            _ => None,
        }
    }

    fn view_change(bytes: &[u8], statement: Digest) -> Self {
        let (content, ..) = ViewChange::decode(bytes).expect("it was just encoded");
        let sets = |votes: &[logothete_engine::wire::agreement::Vote]| {
            votes.iter().map(|vote| (vote.sequence(), vote.view(), vote.digest)).collect()
        };
        let (prepared, pre_prepared) = (sets(content.prepared), sets(content.pre_prepared));
        Self::ViewChange { view: content.view, statement, prepared, pre_prepared }
    }

    fn new_view(bytes: &[u8]) -> Self {
        let (content, ..) = NewView::decode(bytes).expect("it was just encoded");
        let numbers = (content.checkpoint.0.0 + 1..).map(SequenceNumber);
        let selection = numbers.zip(content.selection.iter().copied()).collect();
        Self::NewView { view: content.view, named: content.named.iter().map(|named| named.digest).collect(), selection }
    }

    /// The number that a vote or a claim is about.
    fn voted_on(&self) -> Option<SequenceNumber> {
        match self {
            Self::Vote { sequence, .. } | Self::Claim { sequence, .. } => Some(*sequence),
            _ => None,
        }
    }

    /// Whether a replica that is in a view, or wants to enter it, may still take it. What is of no view is always taken.
    pub fn is_taken_in(&self, own: View, active: bool) -> bool {
        match self {
            Self::Vote { view, .. } | Self::Suspicion { view } => *view >= own,
            // Who has entered a view needs none of its statements.
            Self::ViewChange { view, .. } | Self::NewView { view, .. } => *view > own || (*view == own && !active),
            Self::Claim { .. } | Self::Content | Self::Reply { .. } => true,
        }
    }
}

/// One message on its way to one receiver.
pub struct Letter {
    pub from: ReplicaId,
    pub to: Principal,
    pub said: Said,
    pub body: Vec<u8>,
    /// As the receiver's verifier found it.
    packet: Option<(PacketFacts, Vec<u8>)>,
}

impl Letter {
    /// For the receiver, as often as it is delivered.
    pub fn incoming(&self) -> Incoming<'_> {
        let (facts, datagram) = self.packet.as_ref().expect("only letters to replicas are delivered");
        facts.incoming(datagram)
    }
}

/// All letters, and the keys of all.
pub struct Post {
    /// What is about a later number is held back.
    last: SequenceNumber,
    seats: Vec<Seat>,
    clients: Vec<Seat>,
    letters: Vec<Letter>,
    known: HashMap<(ReplicaId, Principal, Vec<u8>), LetterId>,
    /// Replies that are final, whatever view they name.
    replies: BTreeMap<(ReplicaId, ClientId, SequenceNumber, Digest), LetterId>,
}

impl Post {
    /// Nobody has sent anything, and all know each other's keys. There are so many numbers.
    pub fn new(numbers: u64) -> Self {
        let mut random = Random::new(1);
        let mut seats: Vec<Seat> = REGISTER.replicas().map(|own| Seat::new(own, REGISTER, &mut random)).collect();
        let clients = (0..CLIENTS as u16).map(|id| Principal::Client(ClientId(id)));
        let mut clients: Vec<Seat> = clients.map(|own| Seat::new(own, REGISTER, &mut random)).collect();
        for at in 0..seats.len() {
            let (earlier, later) = seats.split_at_mut(at);
            earlier.iter_mut().chain(&mut clients).for_each(|other| later[0].introduce(other));
        }
        let (letters, known, replies) = (Vec::new(), HashMap::new(), BTreeMap::new());
        Self { last: SequenceNumber(numbers), seats, clients, letters, known, replies }
    }

    /// The epoch that a replica's packets and statements name.
    pub fn epoch(&self, id: ReplicaId) -> u64 {
        self.seats[usize::from(id.0)].epoch()
    }

    pub fn letter(&self, id: LetterId) -> &Letter {
        &self.letters[id as usize]
    }

    /// A client's request as each replica gets it.
    pub fn request(&mut self, from: ClientId, body: &[u8], to: ReplicaId) -> (PacketFacts, Vec<u8>) {
        let datagram = self.clients[usize::from(from.0)].seal(Audience::Replicas(ReplicaSet::first(REPLICAS)), body, 1);
        let incoming = self.seats[usize::from(to.0)].verify(Principal::Client(from), &datagram);
        let facts = incoming.expect("a correct client's packet").facts();
        (facts, datagram)
    }

    /// One message, sealed and verified, that need be no letter.
    pub fn pack(&mut self, from: ReplicaId, to: ReplicaId, body: &[u8]) -> (PacketFacts, Vec<u8>) {
        let datagram = self.seats[usize::from(from.0)].seal(Audience::Replicas(ReplicaSet::only(to)), body, 1);
        let incoming = self.seats[usize::from(to.0)].verify(Principal::Replica(from), &datagram);
        let facts = incoming.expect("a sealed packet is authentic").facts();
        (facts, datagram)
    }

    /// The letters of a message to an audience, but for those to `absent`, who needs none.
    pub fn send(
        &mut self,
        from: ReplicaId,
        audience: Audience,
        body: &[u8],
        absent: ReplicaId,
        out: &mut Vec<LetterId>,
    ) {
        match audience {
            Audience::Client(id) => out.extend(self.write(from, Principal::Client(id), body, false)),
            Audience::Replicas(set) => {
                for to in set.without(absent).iter() {
                    out.extend(self.write(from, Principal::Replica(to), body, set.count() > 1));
                }
            }
        }
    }

    /// The letter of one message to one receiver, said to all or to it alone.
    pub fn write(&mut self, from: ReplicaId, to: Principal, body: &[u8], to_all: bool) -> Option<LetterId> {
        let body = &suspicion_alone(body, from).unwrap_or_else(|| body.to_vec())[..];
        let key = (from, to, body.to_vec());
        if let Some(known) = self.known.get(&key) {
            return Some(*known);
        }
        let said = Said::of(body, from, to, to_all).filter(|said| said.voted_on().is_none_or(|of| of <= self.last))?;
        let id = self.letters.len() as LetterId;
        if let Said::Reply { client, sequence, result, mode: Mode::Committed, .. } = said {
            let known = *self.replies.entry((from, client, sequence, result)).or_insert(id);
            if known != id {
                return Some(known);
            }
        }
        let packet = match to {
            Principal::Client(_) => None,
            Principal::Replica(receiver) => Some(self.pack(from, receiver, body)),
        };
        self.letters.push(Letter { from, to, said, body: body.to_vec(), packet });
        self.known.insert(key, id);
        Some(id)
    }
}

/// A status that says of its sender's view what this one does, and else nothing: that is all that an exploration delivers of one.
fn suspicion_alone(body: &[u8], from: ReplicaId) -> Option<Vec<u8>> {
    let (message, _) = Messages::new(body, Principal::Replica(from)).next()?.ok()?;
    let Message::Status(status) = message else { return None };
    let standing = Standing { view_changes: ReplicaSet::EMPTY, ..status.standing() };
    let none = SequenceNumber(0);
    let mut alone = Vec::new();
    Status::new(standing, none, none, none).append(&mut alone);
    Some(alone)
}
