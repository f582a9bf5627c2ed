//! The adversary as an agent of the world: whom it owns, what it has in its drawers, and its turns.

use crate::adversary::faults::{Behaviour, Fault, receivers, spoil};
use crate::adversary::letter::Letter;
use crate::adversary::plan::Plan;
use crate::adversary::strategy::{Deed, Forgery, Strategy};
use crate::adversary::twins::Twins;
use crate::scenario::say::seal;
use crate::world::cluster::Cluster;
use crate::world::network::Packet;
use crate::world::random::Random;
use logothete_crypto::SIGNATURE_BYTES;
use logothete_engine::numbers::{ClientId, Principal, ReplicaId};
use logothete_engine::wire::view_change::StatementKind;
use logothete_engine::wire::{Audience, Messages};
use std::collections::BTreeMap;
use std::rc::Rc;

/// The shortest time between two of its turns; each lasts up to 2^[`TICK_DOUBLINGS`] times as long.
const TICK_MIN_NS: u64 = 250_000;
const TICK_DOUBLINGS: usize = 9;

/// Whose keys it has.
#[derive(Clone, Debug, Default)]
pub struct Owned {
    pub replicas: Vec<ReplicaId>,
    pub clients: Vec<ClientId>,
}

impl Owned {
    pub fn contains(&self, who: Principal) -> bool {
        match who {
            Principal::Replica(id) => self.replicas.contains(&id),
            Principal::Client(id) => self.clients.contains(&id),
        }
    }

    /// An owned replica's signature.
    ///
    /// # Panics
    /// If the replica is not owned: there is no key of it to sign with.
    pub fn sign(&self, cluster: &Cluster, by: ReplicaId, kind: StatementKind, body: &[u8]) -> [u8; SIGNATURE_BYTES] {
        assert!(self.replicas.contains(&by), "the adversary has no key of {by}");
        seal(cluster, by, kind, body)
    }

    /// An owned replica's signature under a dispute.
    ///
    /// # Panics
    /// If the replica is not owned.
    pub fn sign_dispute(&self, cluster: &Cluster, by: ReplicaId, content: &[u8]) -> [u8; SIGNATURE_BYTES] {
        assert!(self.replicas.contains(&by), "the adversary has no key of {by}");
        cluster.settings.register().signatures(by).sign_dispute(content)
    }
}

/// What is on its way with a delay of the adversary's.
enum Late {
    Letter(Letter),
    Packet(Packet),
}

/// The adversary. The default one owns nobody.
#[derive(Default)]
pub struct Adversary {
    pub owned: Owned,
    strategies: Vec<Box<dyn Strategy>>,
    pub(super) twins: BTreeMap<ReplicaId, Twins>,
    /// When one of them has something to do, as of their last turn.
    twins_ns: Option<u64>,
    /// In the order in which it was put here.
    late: Vec<(u64, Late)>,
    /// When the first of it leaves.
    late_ns: Option<u64>,
    /// When it has its next turn of its own; none while it owns nobody.
    tick_ns: Option<u64>,
    random: Option<Random>,
    /// The network is the adversary's.
    schedules: bool,
}

impl Adversary {
    pub fn owns(&self, who: Principal) -> bool {
        self.owned.contains(who)
    }

    /// Whether a replica is more than one.
    pub fn has_twins(&self, id: ReplicaId) -> bool {
        self.twins.contains_key(&id)
    }

    /// Twins had a turn.
    pub(super) fn look_at_twins(&mut self) {
        self.twins_ns = self.twins.values().map(Twins::deadline_ns).min();
    }

    fn put_aside(&mut self, until_ns: u64, late: Late) {
        self.late_ns = Some(self.late_ns.map_or(until_ns, |first_ns| first_ns.min(until_ns)));
        self.late.push((until_ns, late));
    }

    /// Takes what is to leave now.
    fn take_due(&mut self, now_ns: u64) -> Vec<Late> {
        if self.late_ns.is_none_or(|late_ns| late_ns > now_ns) {
            return Vec::new();
        }
        let due = self.late.extract_if(.., |(due_ns, _)| *due_ns <= now_ns).map(|(_, late)| late).collect();
        self.late_ns = self.late.iter().map(|(due_ns, _)| *due_ns).min();
        due
    }

    /// When it has something to do.
    pub fn deadline_ns(&self) -> u64 {
        [self.tick_ns, self.late_ns, self.twins_ns].into_iter().flatten().min().unwrap_or(u64::MAX)
    }
}

impl Cluster {
    /// Gives an adversary what its plan says that it owns.
    pub fn admit(&mut self, plan: &Plan) {
        let owned = Owned {
            replicas: plan.replicas.iter().copied().map(ReplicaId).collect(),
            clients: plan.clients.iter().copied().map(ClientId).collect(),
        };
        for id in &owned.replicas {
            self.replicas[usize::from(id.0)].fault = Some(Fault::new(Behaviour::Owned));
            self.checks.on_faulty(*id);
        }
        let mut twins = BTreeMap::new();
        for id in owned.replicas.iter().filter(|_| plan.twins()) {
            twins.insert(*id, Twins::new(self, *id, plan.random(&format!("twins of {id}"))));
        }
        self.adversary = Adversary {
            owned,
            strategies: plan.strategies(&self.settings),
            twins_ns: None,
            twins,
            late: Vec::new(),
            late_ns: None,
            tick_ns: Some(self.now_ns),
            random: Some(plan.random("ticks")),
            schedules: plan.schedules(),
        };
        self.adversary.look_at_twins();
    }

    /// From now on the network delivers what is sent as fast as it can (the owned stay as they are).
    pub fn end_schedule(&mut self) {
        self.adversary.schedules = false;
    }

    /// Asks the adversary, which sees everything but itself.
    fn consult<R>(&mut self, ask: impl FnOnce(&mut Adversary, &Self) -> R) -> R {
        let mut adversary = std::mem::take(&mut self.adversary);
        let answer = ask(&mut adversary, self);
        self.adversary = adversary;
        answer
    }

    /// Whether a packet reaches an owned replica.
    pub(crate) fn is_heard(&mut self, own: ReplicaId, packet: &Packet) -> bool {
        self.consult(|adversary, cluster| {
            adversary.strategies.iter_mut().all(|strategy| strategy.hears(cluster, own, packet))
        })
    }

    /// What an owned one's correct inside would say goes through all strategies.
    pub(crate) fn send_owned(&mut self, letter: Letter) {
        let letters = self.consult(|adversary, cluster| {
            let mut letters = vec![letter];
            for strategy in &mut adversary.strategies {
                let mut out = Vec::new();
                letters.drain(..).for_each(|letter| strategy.on_outgoing(cluster, letter, &mut out));
                letters = out;
            }
            letters
        });
        letters.into_iter().for_each(|letter| self.post(letter));
    }

    /// A client's packet that an owned replica's inside relays. `None` where it does not.
    pub(crate) fn relay_owned(&mut self, to: ReplicaId, mut datagram: Vec<u8>) -> Option<Vec<u8>> {
        let relayed = self.consult(|adversary, cluster| {
            adversary.strategies.iter_mut().all(|strategy| strategy.on_relay(cluster, to, &mut datagram))
        });
        relayed.then_some(datagram)
    }

    /// The adversary's own turn: what is late leaves, twins who are due have theirs, and strategies do what they want.
    pub(crate) fn turn_adversary(&mut self) {
        let now_ns = self.now_ns;
        for late in self.adversary.take_due(now_ns) {
            match late {
                Late::Letter(letter) => self.post(Letter { delay_ns: 0, ..letter }),
                Late::Packet(packet) => self.put_in_flight(packet.from, &[packet.to], &packet.bytes),
            }
        }
        if self.adversary.twins_ns.is_some_and(|twins_ns| twins_ns <= now_ns) {
            let due = self.adversary.twins.iter().filter(|(_, twins)| twins.deadline_ns() <= now_ns);
            let due: Vec<ReplicaId> = due.map(|(id, _)| *id).collect();
            due.into_iter().for_each(|id| self.turn_twins(id, &[]));
            self.adversary.look_at_twins();
        }
        if self.adversary.tick_ns.is_none_or(|tick_ns| tick_ns > now_ns) {
            return;
        }
        let random = self.adversary.random.as_mut().expect("whoever ticks has randomness");
        let doublings = random.below(TICK_DOUBLINGS);
        self.adversary.tick_ns = Some(now_ns + (TICK_MIN_NS << doublings) + random.below(TICK_MIN_NS as usize) as u64);
        let deeds = self.consult(|adversary, cluster| {
            let Adversary { strategies, owned, .. } = adversary;
            strategies.iter_mut().flat_map(|strategy| strategy.on_tick(cluster, owned)).collect::<Vec<_>>()
        });
        for deed in deeds {
            match deed {
                Deed::Say(letter) => self.post(letter),
                Deed::Replay(packet) => self.put_in_flight(packet.from, &[packet.to], &packet.bytes),
                Deed::Forge(forgery) => self.post_forgery(forgery),
                Deed::Rekey(id) => self.rekey(id),
            }
        }
    }

    /// Seals what the adversary says, with the keys that it has, and sends it.
    ///
    /// # Panics
    /// If it has no key of whoever is to have said it.
    pub fn post(&mut self, letter: Letter) {
        if letter.delay_ns > 0 {
            self.adversary.put_aside(self.now_ns + letter.delay_ns, Late::Letter(letter));
            return;
        }
        let Letter { from, audience, body, spoilt, .. } = letter;
        let message_count = Messages::new(&body, from).count() as u16;
        let seat = match from {
            Principal::Replica(id) => {
                let host = &mut self.replicas[usize::from(id.0)];
                assert!(!host.is_correct(), "the adversary has no key of {id}");
                &mut host.seat
            }
            Principal::Client(id) => {
                assert!(self.adversary.owned.clients.contains(&id), "the adversary has no key of c{id}");
                &mut self.clients[usize::from(id.0)].seat
            }
        };
        let mut datagram = seat.seal(audience, &body, message_count);
        spoil(&mut datagram, audience, |receiver| spoilt.contains(&receiver));
        self.learn(&body, from);
        if matches!(audience, Audience::Client(id) if usize::from(id.0) >= self.clients.len()) {
            return;
        }
        self.say_and_launch(from, audience, &body, datagram, if spoilt.is_empty() { "" } else { " (tags wrong)" });
    }

    /// Sends a packet in somebody else's name.
    fn post_forgery(&mut self, forgery: Forgery) {
        let Forgery { by, name, relayed, audience, body } = forgery;
        let epoch = match name {
            Principal::Replica(id) => self.replicas[usize::from(id.0)].seat.epoch(),
            Principal::Client(id) => self.clients[usize::from(id.0)].seat.epoch(),
        };
        let host = &mut self.replicas[usize::from(by.0)];
        assert!(!host.is_correct(), "the adversary has no key of {by}");
        let datagram = host.seat.forge(name, epoch, audience, &body);
        let from = if relayed { Principal::Replica(by) } else { name };
        self.put_in_flight(from, &receivers(Audience::Replicas(audience.without(by))), &datagram.into());
    }

    /// Puts aside what the adversary wants to be late, and returns for whom it is not.
    pub(crate) fn delay_by_adversary(
        &mut self,
        from: Principal,
        receivers: &[Principal],
        bytes: &Rc<[u8]>,
    ) -> Vec<Principal> {
        let mut punctual = receivers.to_vec();
        if !self.adversary.schedules {
            return punctual;
        }
        let now_ns = self.now_ns;
        self.consult(|adversary, cluster| {
            punctual.retain(|to| {
                let packet = Packet { from, to: *to, bytes: bytes.clone() };
                let delays = adversary.strategies.iter_mut().map(|strategy| strategy.delay_ns(cluster, &packet));
                let delay_ns = delays.max().unwrap_or(0);
                if delay_ns > 0 {
                    adversary.put_aside(now_ns + delay_ns, Late::Packet(packet));
                }
                delay_ns == 0
            });
            punctual
        })
    }

    /// An owned replica announces a new epoch to everybody, as if it had been restarted.
    fn rekey(&mut self, id: ReplicaId) {
        let (earlier, rest) = self.replicas.split_at_mut(usize::from(id.0));
        let (host, later) = rest.split_first_mut().expect("it is one of the replicas");
        assert!(!host.is_correct(), "the adversary has no key of {id}");
        host.renew_seat(&self.settings, &mut self.random);
        let peers = earlier.iter_mut().chain(later).map(|other| &mut other.seat);
        let clients = self.clients.iter_mut().map(|client| &mut client.seat);
        peers.chain(clients).for_each(|seat| host.seat.introduce(seat));
        host.seat.introduce(&mut self.operator);
        host.keep_question(&mut self.operator, self.settings.operator());
    }

    /// Whether what this principal says is what the protocol says.
    pub fn is_honest(&self, who: Principal) -> bool {
        match who {
            Principal::Replica(id) => self.replicas.get(usize::from(id.0)).is_some_and(|host| host.fault.is_none()),
            Principal::Client(_) => !self.adversary.owns(who),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adversary::plan::Level;
    use crate::world::settings::Settings;
    use logothete_engine::numbers::{ReplicaSet, SequenceNumber, View};
    use logothete_engine::wire::agreement::Vote;

    fn besieged() -> Cluster {
        let mut cluster = Cluster::new(Settings::default());
        let mut plan = Plan::draw(Level::Omission, &mut Random::new(1), &cluster.settings, 0);
        (plan.replicas, plan.strategies) = (vec![3], Vec::new());
        cluster.admit(&plan);
        cluster
    }

    fn prepare(from: u8) -> Letter {
        let mut body = Vec::new();
        Vote::new(View(0), SequenceNumber(1), logothete_crypto::Digest([1; 32])).append_prepare(&mut body);
        Letter::between(ReplicaId(from), ReplicaSet::first(3), body)
    }

    #[test]
    fn what_is_owned_speaks_with_its_own_keys() {
        let mut cluster = besieged();
        cluster.post(prepare(3));
        assert_eq!(cluster.network.count(), 3);
        cluster.deliver_all().expect("a vote without a proposal harms nobody");
    }

    #[test]
    #[should_panic(expected = "the adversary has no key of 1")]
    fn nobody_speaks_for_a_correct_replica() {
        besieged().post(prepare(1));
    }

    #[test]
    #[should_panic(expected = "the adversary has no key of 2")]
    fn nobody_signs_for_a_correct_replica() {
        let cluster = besieged();
        cluster.adversary.owned.clone().sign(&cluster, ReplicaId(2), StatementKind::ViewChange, b"a view change");
    }

    #[test]
    fn a_tag_made_without_its_key_is_found() {
        let mut cluster = besieged();
        let bytes =
            cluster.replicas[1].seat.seal(Audience::Replicas(ReplicaSet::only(ReplicaId(0))), &prepare(1).body, 1);
        let (from, to) = (Principal::Replica(ReplicaId(1)), Principal::Replica(ReplicaId(0)));
        cluster.put_in_flight(from, &[to], &bytes.into());
        let found = cluster.deliver_all().expect_err("nobody has that key");
        assert!(found.starts_with("C5 validity: ") && found.contains("never sent it"), "{found}");
    }
}
