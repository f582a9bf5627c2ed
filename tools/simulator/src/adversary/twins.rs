//! Twins (Bano and others, "Twins: BFT systems made robust", OPODIS 2021): two or three correct replicas with one identity and one set of keys, each with a
//! journal and a clock of its own. In each phase everyone hears, and is heard by, other peers; now and then one forgets everything.

use crate::adversary::letter::Letter;
use crate::world::clock::LocalClock;
use crate::world::cluster::Cluster;
use crate::world::disk::Disk;
use crate::world::hosts::{Departed, ReplicaHost, first_orderer, no_outbox};
use crate::world::network::Packet;
use crate::world::random::Random;
use crate::world::settings::Settings;
use crate::world::witness::{Happened, Record};
use logothete_engine::authentication::Incoming;
use logothete_engine::numbers::{Principal, ReplicaId, ReplicaSet};
use logothete_engine::pipeline::{Core, Orderer, Outbox, ReplicaFacts};
use logothete_engine::wire::Audience;

const MILLISECOND_NS: u64 = 1_000_000;

/// The most that a twin's clock is off, so that two that propose the same requests propose other batches.
const SKEW_NS: i64 = 200_000_000;

/// A replica behind another's identity.
struct Instance {
    orderer: Orderer,
    outbox: Outbox,
    disk: Disk,
    record: Record,
    clock: LocalClock,
}

impl Instance {
    fn new(id: ReplicaId, settings: &Settings, epoch: u64, random: &mut Random) -> Self {
        let disk = Disk::new(random.draw());
        let (orderer, record) = first_orderer(id, settings, epoch, &disk);
        let mut clock = LocalClock::default();
        clock.wall_offset_ns = SKEW_NS - random.below(2 * SKEW_NS as usize) as i64;
        Self { orderer, outbox: no_outbox(settings), disk, record, clock }
    }
}

/// Whom one of the twins hears, and reaches, in the present phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mask {
    replicas: ReplicaSet,
    /// A bit for each client.
    clients: u64,
}

impl Mask {
    fn has(&self, who: Principal) -> bool {
        match who {
            Principal::Replica(id) => self.replicas.contains(id),
            Principal::Client(id) => self.clients >> (id.0 % 64) & 1 == 1,
        }
    }

    fn part_of(&self, audience: Audience) -> Option<Audience> {
        match audience {
            Audience::Client(id) => self.has(Principal::Client(id)).then_some(audience),
            Audience::Replicas(all) => {
                let set = ReplicaSet(all.0 & self.replicas.0);
                (set != ReplicaSet::EMPTY).then_some(Audience::Replicas(set))
            }
        }
    }
}

/// The twins of one replica, itself not among them: it is the first, and lives where all replicas do.
pub struct Twins {
    others: Vec<Instance>,
    /// Of each, the first among them.
    masks: Vec<Mask>,
    phase_ends_ns: u64,
    random: Random,
}

impl Twins {
    pub fn new(cluster: &Cluster, of: ReplicaId, mut random: Random) -> Self {
        let settings = &cluster.settings;
        let epoch = cluster.replicas[usize::from(of.0)].epoch;
        let count = 1 + usize::from(random.percent(30));
        let others = (0..count).map(|_| Instance::new(of, settings, epoch, &mut random)).collect();
        let mut twins = Self { others, masks: Vec::new(), phase_ends_ns: 0, random };
        twins.begin_phase(of, settings, epoch, cluster.now_ns);
        twins
    }

    /// When one of the others has something to do.
    pub fn deadline_ns(&self) -> u64 {
        self.others.iter().map(|twin| twin.clock.virtual_ns(twin.orderer.deadline_ns())).min().unwrap_or(u64::MAX)
    }

    fn begin_phase(&mut self, of: ReplicaId, settings: &Settings, epoch: u64, now_ns: u64) {
        let random = &mut self.random;
        self.phase_ends_ns = now_ns + (1 + random.below(60) as u64) * 10 * MILLISECOND_NS;
        let count = 1 + self.others.len();
        self.masks = vec![Mask { replicas: ReplicaSet::EMPTY, clients: 0 }; count];
        for peer in ReplicaSet::first(settings.replicas).without(of).iter() {
            let (at, all) = (random.below(count), random.percent(15));
            let hear = self.masks.iter_mut().enumerate().filter(|(place, _)| all || *place == at);
            hear.for_each(|(_, mask)| _ = mask.replicas.insert(peer));
        }
        let common = random.percent(70);
        for client in 0..settings.clients {
            let at = random.below(count);
            let hear = self.masks.iter_mut().enumerate().filter(|(place, _)| common || *place == at);
            hear.for_each(|(_, mask)| mask.clients |= 1 << (client % 64));
        }
        if random.percent(10) {
            let at = random.below(self.others.len());
            self.others[at] = Instance::new(of, settings, epoch, random);
        }
    }
}

impl Cluster {
    /// One duty cycle of a replica that has twins, and of them.
    pub(crate) fn turn_twins(&mut self, of: ReplicaId, packets: &[Packet]) {
        let mut twins = self.adversary.twins.remove(&of).expect("it has twins");
        let host = &mut self.replicas[usize::from(of.0)];
        if twins.phase_ends_ns <= self.now_ns {
            twins.begin_phase(of, &self.settings, host.epoch, self.now_ns);
        }
        let heard: Vec<&Packet> = packets.iter().filter(|packet| self.is_heard(of, packet)).collect();
        let host = &mut self.replicas[usize::from(of.0)];
        for packet in heard {
            // One epoch, one replay window: whichever of them hears it, it is the same packet.
            let Ok(incoming) = host.seat.verify(packet.from, &packet.bytes) else { continue };
            let hears = |place: usize| twins.masks[place].has(packet.from);
            if hears(0) {
                host.orderer.on_incoming(host.clock.now(self.now_ns), &incoming);
            }
            let others = twins.others.iter_mut().enumerate().filter(|(place, _)| hears(place + 1));
            others.for_each(|(_, twin)| twin.take(self.now_ns, &incoming));
        }
        let ReplicaHost { orderer, outbox, disk, record, clock, .. } = host;
        let mut all = vec![end_cycle((orderer, outbox, disk, record), self.now_ns, clock)];
        all.extend(twins.others.iter_mut().map(|twin| twin.end_cycle(self.now_ns)));
        let masks = twins.masks.clone();
        self.adversary.twins.insert(of, twins);
        self.adversary.look_at_twins();
        for (departed, mask) in all.into_iter().zip(masks) {
            for (audience, body, _) in departed.packets {
                if let Some(audience) = mask.part_of(audience) {
                    self.send_owned(Letter::new(Principal::Replica(of), audience, body));
                }
            }
            self.send_relays(of, departed.relays.into_iter().filter(|(to, _)| mask.replicas.contains(*to)));
        }
    }
}

impl Instance {
    fn take(&mut self, now_ns: u64, incoming: &Incoming<'_>) {
        self.orderer.on_incoming(self.clock.now(now_ns), incoming);
    }

    fn end_cycle(&mut self, now_ns: u64) -> Departed {
        let Self { orderer, outbox, disk, record, clock } = self;
        end_cycle((orderer, outbox, disk, record), now_ns, clock)
    }
}

/// Ends a duty cycle of a replica whose inside nobody looks at.
fn end_cycle(
    (orderer, outbox, disk, record): (&mut Orderer, &mut Outbox, &Disk, &Record),
    now_ns: u64,
    clock: &LocalClock,
) -> Departed {
    disk.set_time(now_ns);
    orderer.on_duty_end(clock.now(now_ns), &ReplicaFacts::default(), outbox);
    let mut departed = Departed::default();
    outbox.drain_into(&mut departed);
    orderer.take_events(&mut |_| {});
    *record.lock().expect("one thread") = Happened::default();
    departed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adversary::plan::{Level, Plan};

    #[test]
    fn each_peer_hears_one_of_the_twins_and_both_are_the_same_to_it() {
        let mut cluster = Cluster::new(Settings { clients: 2, ..Settings::default() });
        let mut plan = Plan::draw(Level::Twins, &mut Random::new(5), &cluster.settings, 0);
        plan.replicas = vec![0];
        cluster.open_clients().expect("four correct replicas open clients");
        cluster.admit(&plan);
        let twins = &cluster.adversary.twins[&ReplicaId(0)];
        let reached = twins.masks.iter().fold(0, |all, mask| all | mask.replicas.0);
        assert_eq!(ReplicaSet(reached), ReplicaSet::first(4).without(ReplicaId(0)));
        cluster.append(0, vec![b"a".to_vec()]).expect("nothing is wrong");
        cluster.run(3_000 * MILLISECOND_NS).expect("nothing is wrong");
        assert_eq!(cluster.clients[0].outstanding(), 0);
    }
}
