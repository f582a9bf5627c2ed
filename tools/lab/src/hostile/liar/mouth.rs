//! What changes what a replica says: one lie at a time, told to those whom it is for.

use clap::ValueEnum;
use logothete_crypto::Identity;
use logothete_engine::authentication::Signatures;
use logothete_engine::cluster::Cluster;
use logothete_engine::numbers::{Principal, ReplicaId, ReplicaSet, View};
use logothete_engine::pipeline::Outbox;
use logothete_engine::wire::agreement::CheckpointVote;
use logothete_engine::wire::packet::{ENTRY_BYTES, Envelope, HEADER_BYTES, write_header};
use logothete_engine::wire::retransmission::{Standing, Status};
use logothete_engine::wire::view_change::{Part, StatementKind, ViewChange};
use logothete_engine::wire::{Audience, Message};
use logothete_simulator::adversary::faults::{Behaviour, Fault, Spoken};
use logothete_simulator::adversary::letter::Letter;
use logothete_simulator::adversary::ordering::NORMAL;
use logothete_simulator::adversary::replies::LieToClients;
use logothete_simulator::world::random::Random;

/// How much later a proposal leaves: less than the least time-out.
const LATE_NS: u64 = 20_000_000;

/// Between two things that it says without being asked.
const WISH_INTERVAL_NS: u64 = 5_000_000;
const STORM_INTERVAL_NS: u64 = 500_000;

/// What a replica does that is owned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Lie {
    /// Two replicas are told other batches, votes and progress than the third, and clients other results
    Equivocate,
    /// One replica is told nothing of the normal case
    Starve,
    /// What one replica gets has wrong tags
    SpoilTags,
    /// Proposals leave 20 ms late
    Delay,
    /// It accuses the primary and asks for one view after the other
    SpamViews,
    /// It lacks everything above the last checkpoint, and says so two thousand times a second
    Storm,
    /// Results are other ones
    FalseResults,
}

impl Lie {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Equivocate,
        Self::Starve,
        Self::SpoilTags,
        Self::Delay,
        Self::SpamViews,
        Self::Storm,
        Self::FalseResults,
    ];
}

/// Somebody with the keys of a replica, through whom goes what it says.
pub struct Mouth {
    own: ReplicaId,
    others: ReplicaSet,
    /// Whom it treats worse than the others: who follows it.
    victim: ReplicaId,
    cluster: u64,
    signatures: Signatures,
    lie: Option<Lie>,
    fault: Fault,
    to_clients: LieToClients,
    /// The last state that it truly voted for.
    voted: Option<CheckpointVote>,
    /// When it spoke last without being asked, and how often it did.
    spoke_ns: u64,
    spoke: u64,
}

impl Mouth {
    /// Of a replica; it tells the truth at first.
    pub fn new(own: ReplicaId, identity: Identity, cluster: &Cluster) -> Self {
        let keys: Vec<_> = cluster.replicas.iter().map(|replica| replica.public_key).collect();
        let count = keys.len();
        Self {
            own,
            others: ReplicaSet::first(count).without(own),
            victim: ReplicaId(((usize::from(own.0) + 1) % count) as u8),
            cluster: cluster.cluster_id,
            signatures: Signatures::new(identity, keys, cluster.clients.clone(), cluster.digest()),
            lie: None,
            fault: Fault::new(Behaviour::Scripted),
            to_clients: LieToClients::new(100, Random::named(u64::from(own.0), "lies to clients")),
            voted: None,
            spoke_ns: 0,
            spoke: 0,
        }
    }

    /// Tells this lie from now on, or none.
    pub fn obey(&mut self, lie: Option<Lie>) {
        if lie != self.lie {
            self.lie = lie;
            self.fault = Fault::new(match lie {
                Some(Lie::Equivocate) => Behaviour::Equivocates(self.others.without(self.victim)),
                _ => Behaviour::Scripted,
            });
        }
    }

    /// Whose mouth it is.
    pub fn own(&self) -> ReplicaId {
        self.own
    }

    /// Whether it lies.
    pub fn lies(&self) -> bool {
        self.lie.is_some()
    }

    /// When it has something to say by itself.
    pub fn speaks_at_ns(&self) -> Option<u64> {
        let interval_ns = match self.lie {
            Some(Lie::SpamViews) => WISH_INTERVAL_NS,
            Some(Lie::Storm) => STORM_INTERVAL_NS,
            _ => return None,
        };
        Some(self.spoke_ns + interval_ns)
    }

    /// What leaves in place of a letter.
    pub fn say(&mut self, letter: Letter) -> Vec<Letter> {
        for (message, _) in letter.messages() {
            if let Message::Checkpoint(vote) = message {
                self.voted = Some(*vote);
            }
        }
        match self.lie {
            None | Some(Lie::SpamViews | Lie::Storm) => vec![letter],
            Some(Lie::Equivocate) => {
                let Letter { audience, body, .. } = letter.clone();
                let said = self.fault.speak(self.own, Spoken { audience, body, message_count: 0 });
                said.into_iter()
                    .map(|Spoken { audience, body, .. }| Letter { audience, body, ..letter.clone() })
                    .collect()
            }
            Some(Lie::Starve) => {
                let (hungry, fed) = letter.split(ReplicaSet::only(self.victim), false);
                fed.into_iter().chain(hungry.and_then(|letter| letter.parted(NORMAL).1)).collect()
            }
            Some(Lie::SpoilTags) => {
                let (spoilt, good) = letter.split(ReplicaSet::only(self.victim), false);
                let spoilt = spoilt.map(|letter| Letter { spoilt: vec![Principal::Replica(self.victim)], ..letter });
                good.into_iter().chain(spoilt).collect()
            }
            Some(Lie::Delay) => {
                let (proposals, rest) = letter.parted(&["pre-prepare"]);
                let late = proposals.map(|letter| Letter { delay_ns: LATE_NS, ..letter });
                rest.into_iter().chain(late).collect()
            }
            Some(Lie::FalseResults) => self.to_clients.tell(letter).into_iter().collect(),
        }
    }

    /// What it says to all without being asked, in its view and epoch, once it knows a state.
    pub fn speak_up(&mut self, now_ns: u64, view: View, epoch: u64) -> Option<Letter> {
        self.speaks_at_ns().filter(|due_ns| *due_ns <= now_ns)?;
        self.spoke_ns = now_ns;
        self.spoke += 1;
        let (vote, wishes) = (self.voted?, self.lie == Some(Lie::SpamViews));
        let standing = Standing { suspects: wishes, ..Standing::active_in(view) };
        let mut body = Vec::new();
        Status::new(standing, vote.sequence(), vote.sequence(), vote.sequence()).append(&mut body);
        if wishes {
            self.wish(view, epoch, vote, &mut body);
        }
        Some(Letter::between(self.own, self.others, body))
    }

    /// It wants another view: the next, one far away, the last of all.
    fn wish(&self, view: View, epoch: u64, vote: CheckpointVote, body: &mut Vec<u8>) {
        let wanted = [view.0 + 1, view.0 + 1000, u64::MAX][self.spoke as usize % 3];
        let change = ViewChange {
            view: View(wanted),
            stable: vote.sequence(),
            epoch,
            replica: self.own,
            checkpoints: &[vote],
            prepared: &[],
            pre_prepared: &[],
        };
        let statement = change.encode(|body| self.signatures.sign(StatementKind::ViewChange, body));
        let part = Part {
            statement: StatementKind::ViewChange,
            replica: self.own,
            view: View(wanted),
            digest: logothete_crypto::digest(&statement),
            total_bytes: statement.len(),
            index: 0,
            bytes: &statement,
        };
        part.append(body);
    }

    /// Puts a letter into the outbox; one with wrong tags as a datagram that somebody else seems to have made.
    pub fn post(&self, letter: &Letter, outbox: &mut Outbox) {
        let (true, Audience::Replicas(to)) = (!letter.spoilt.is_empty(), letter.audience) else {
            letter.messages().for_each(|(_, bytes)| outbox.add(letter.audience, bytes));
            return;
        };
        let mut datagram = [&[0; HEADER_BYTES][..], &letter.body, &[0xa5; ENTRY_BYTES]].concat();
        let message_count = letter.messages().count() as u16;
        for id in to.iter() {
            let audience = Audience::Replicas(ReplicaSet::only(id));
            let sender = Principal::Replica(self.own).code();
            let envelope = Envelope { sender, cluster: self.cluster, epoch: 0, counter: 0, audience, message_count };
            write_header(&mut datagram, letter.body.len(), &envelope);
            outbox.relay(id, &datagram);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Said;
    use super::*;
    use logothete_crypto::{Digest, os_entropy};
    use logothete_engine::cluster::init::{Generated, Plan, generate};
    use logothete_engine::numbers::{ClientId, Incarnation, RequestNumber, SequenceNumber};
    use logothete_engine::wire::agreement::{BatchEntry, append_pre_prepare};
    use logothete_engine::wire::packet::PacketParts;
    use logothete_engine::wire::request::RequestName;
    use logothete_transport::pool::{Pool, PoolConfig};

    const OWN: ReplicaId = ReplicaId(1);

    fn mouth(lie: Lie) -> (Mouth, Cluster, Vec<Identity>) {
        let Generated { cluster, mut replicas, .. } = generate(&Plan::default(), &mut os_entropy).unwrap();
        let copies = replicas.iter().map(|identity| Identity::from_secret_bytes(*identity.secret_bytes())).collect();
        let mut mouth = Mouth::new(OWN, replicas.swap_remove(usize::from(OWN.0)), &cluster);
        mouth.obey(Some(lie));
        (mouth, cluster, copies)
    }

    /// A proposal, and a vote on a state.
    fn letter(to: ReplicaSet) -> Letter {
        let mut body = Vec::new();
        let name = RequestName { client: ClientId(0), incarnation: Incarnation(5), number: RequestNumber(1) };
        let entries = [BatchEntry::new(name, Digest([2; 32]))];
        append_pre_prepare(&mut body, View(1), SequenceNumber(3), 77, &entries);
        CheckpointVote::new(SequenceNumber(128), Digest([4; 32])).append(&mut body);
        Letter::between(OWN, to, body)
    }

    /// What of a letter's messages reaches a replica as it was, and how many messages do.
    fn heard(said: &[Letter], by: ReplicaId, truth: &Letter) -> (usize, usize) {
        let to = |letter: &&Letter| matches!(letter.audience, Audience::Replicas(set) if set.contains(by));
        let good = said.iter().filter(to).filter(|letter| letter.spoilt.is_empty() && letter.delay_ns == 0);
        let heard: Vec<&[u8]> = good.flat_map(|letter| letter.messages().map(|(_, bytes)| bytes)).collect();
        (
            heard.iter().filter(|bytes| truth.messages().any(|(_, true_bytes)| true_bytes == **bytes)).count(),
            heard.len(),
        )
    }

    #[test]
    fn each_lie_is_one_to_those_whom_it_is_for() {
        let others = ReplicaSet::first(4).without(OWN);
        let truth = letter(others);
        let of = |lie| {
            let said = mouth(lie).0.say(truth.clone());
            // In the order in which they follow the liar.
            [2, 3, 0].map(|id| heard(&said, ReplicaId(id), &truth))
        };
        assert_eq!(of(Lie::Equivocate), [(2, 2), (0, 2), (0, 2)]);
        assert_eq!(of(Lie::Starve), [(0, 0), (2, 2), (2, 2)]);
        assert_eq!(of(Lie::SpoilTags), [(0, 0), (2, 2), (2, 2)]);
        assert_eq!(of(Lie::Delay), [(1, 1); 3]);
        assert_eq!(of(Lie::SpamViews), [(2, 2); 3]);
        assert_eq!(of(Lie::Storm), [(2, 2); 3]);
        assert_eq!(of(Lie::FalseResults), [(2, 2); 3]);
    }

    #[test]
    fn what_it_wishes_is_signed_and_what_it_spoils_is_refused() {
        let (mut mouth, cluster, mut identities) = mouth(Lie::SpamViews);
        assert!(mouth.speak_up(WISH_INTERVAL_NS, View(4), 9).is_none(), "it knows no state");
        mouth.say(letter(ReplicaSet::only(mouth.victim)));
        let wished = mouth.speak_up(2 * WISH_INTERVAL_NS, View(4), 9).unwrap();
        assert!(mouth.speak_up(2 * WISH_INTERVAL_NS + 1, View(4), 9).is_none(), "not so soon again");
        let keys: Vec<_> = cluster.replicas.iter().map(|replica| replica.public_key).collect();
        let signatures = Signatures::new(identities.remove(0), keys, cluster.clients.clone(), cluster.digest());
        let mut parts = wished.messages().filter_map(|(message, _)| match message {
            Message::Part(part) => Some(part),
            _ => None,
        });
        let (content, body, signature) = ViewChange::decode(parts.next().unwrap().bytes).unwrap();
        assert!(content.view > View(4) && content.stable == SequenceNumber(128) && content.epoch == 9);
        assert!(signatures.verify(OWN, StatementKind::ViewChange, body, signature));

        let pool = Pool::new(PoolConfig { frame_bytes: 1472, frames: 8 }).unwrap();
        let mut outbox = Outbox::new(pool, 1472);
        let spoilt =
            Letter { spoilt: vec![Principal::Replica(ReplicaId(2))], ..letter(ReplicaSet::only(mouth.victim)) };
        mouth.post(&spoilt, &mut outbox);
        let mut said = Said { own: OWN, letters: Vec::new(), relays: Vec::new() };
        outbox.drain_into(&mut said);
        let [(to, datagram)] = &said.relays[..] else { panic!("{:?}", said.relays) };
        assert_eq!((*to, PacketParts::parse(datagram).unwrap().body), (ReplicaId(2), &spoilt.body[..]));
        assert!(said.letters.is_empty());
    }
}
