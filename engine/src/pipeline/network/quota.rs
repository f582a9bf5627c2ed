//! Ingress quotas: how much verification each sender can cause, decided by what costs nothing to look at (`protocol.md RB-3` to `RB-5`).
//!
//! Nothing is proven yet when a quota is asked: a header claims a sender, and an address says where the datagram came from. So what a
//! sender's own address sends has one lane, and what others send in its name another: whoever does not know, or cannot forge, the address of a
//! sender takes nothing from it.

use super::Received;
use crate::limits::{
    FLOOD_FACTOR, FLOOD_FLOOR_PACKETS, FLOOD_WINDOW_NS, ISOLATION_NS, QUOTA_BAD_TAG_NS, QUOTA_BURST_NS,
    QUOTA_BYTES_PER_NS, QUOTA_PACKET_NS, QUOTA_SHARE, REPLICAS_MAX,
};
use crate::numbers::{Principal, ReplicaId};
use std::net::SocketAddr;

/// Where in a packet's header the sender's number is.
const SENDER_AT: usize = 6;

/// Whose share a datagram is taken from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// A replica's, from its address.
    Replica(ReplicaId),
    /// In a replica's name, from elsewhere.
    ReplicaElsewhere(ReplicaId),
    /// A client's packet, from a replica's address: relayed.
    Relay(ReplicaId),
    /// A client's, from the address of its last authentic packet.
    Client(usize),
    /// In a client's name, from elsewhere.
    ClientElsewhere(usize),
    /// Of nobody that the cluster has.
    Nobody,
}

impl Lane {
    /// Whether it is verified before what clients sent.
    pub(super) fn goes_first(self) -> bool {
        matches!(self, Self::Replica(_) | Self::ReplicaElsewhere(_) | Self::Relay(_))
    }

    /// Whose share a datagram is to be taken from.
    pub(super) fn of(datagram: &Received, replicas: &[SocketAddr], clients: &[Option<SocketAddr>]) -> Self {
        let code = datagram.frame.get(SENDER_AT..).and_then(|rest| rest.first_chunk());
        let from = datagram.from;
        match code.map(|code| Principal::from_code(u16::from_le_bytes(*code))) {
            Some(Principal::Replica(id)) => match replicas.get(usize::from(id.0)) {
                Some(address) if *address == from => Self::Replica(id),
                Some(_) => Self::ReplicaElsewhere(id),
                None => Self::Nobody,
            },
            Some(Principal::Client(id)) => match clients.get(usize::from(id.0)) {
                Some(Some(address)) if *address == from => Self::Client(usize::from(id.0)),
                Some(_) => match replicas.iter().position(|address| *address == from) {
                    Some(replica) => Self::Relay(ReplicaId(replica as u8)),
                    None => Self::ClientElsewhere(usize::from(id.0)),
                },
                None => Self::Nobody,
            },
            None => Self::Nobody,
        }
    }
}

/// Why a datagram is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Excess {
    /// Its lane's share is used up.
    Quota,
    /// Its sender is isolated.
    Isolated,
}

/// A share of the verifier's time: what was taken is given back with time, and a burst may be owed.
#[derive(Clone, Copy, Debug, Default)]
struct Share {
    owed_until_ns: u64,
}

impl Share {
    /// Takes what verification of a datagram costs; `false` if too much is owed already.
    fn take(&mut self, cost_ns: u64, now_ns: u64) -> bool {
        let owes = self.owed_until_ns.max(now_ns);
        let may = owes - now_ns <= QUOTA_BURST_NS;
        if may {
            self.owed_until_ns = owes + cost_ns * QUOTA_SHARE;
        }
        may
    }

    /// Takes something in any case.
    fn fine(&mut self, cost_ns: u64, now_ns: u64) {
        self.owed_until_ns = (self.owed_until_ns.max(now_ns) + cost_ns * QUOTA_SHARE).min(now_ns + 2 * QUOTA_BURST_NS);
    }
}

/// All shares, and who floods.
#[derive(Debug)]
pub(super) struct Quotas {
    replicas: [Share; REPLICAS_MAX],
    replicas_elsewhere: [Share; REPLICAS_MAX],
    relays: [Share; REPLICAS_MAX],
    clients: Box<[[Share; 2]]>,
    nobody: Share,
    /// Authentic packets of each replica in the present window of time.
    counts: [u64; REPLICAS_MAX],
    window_since_ns: u64,
    isolated_until_ns: [u64; REPLICAS_MAX],
    /// Datagrams of each replica that were dropped because it was isolated.
    isolated: [u64; REPLICAS_MAX],
    isolated_max: usize,
}

impl Quotas {
    /// For so many clients; at most `isolated_max` replicas are isolated at a time, as many as may be faulty.
    pub(super) fn new(clients: usize, isolated_max: usize) -> Self {
        let none = [Share::default(); REPLICAS_MAX];
        Self {
            replicas: none,
            replicas_elsewhere: none,
            relays: none,
            clients: vec![[Share::default(); 2]; clients].into(),
            nobody: Share::default(),
            counts: [0; REPLICAS_MAX],
            window_since_ns: 0,
            isolated_until_ns: [0; REPLICAS_MAX],
            isolated: [0; REPLICAS_MAX],
            isolated_max,
        }
    }

    /// Takes what a datagram costs from its lane's share.
    ///
    /// # Errors
    /// It is not to be looked at.
    pub(super) fn take(&mut self, lane: Lane, bytes: usize, now_ns: u64) -> Result<(), Excess> {
        if let Lane::Replica(id) | Lane::ReplicaElsewhere(id) = lane
            && self.isolated_until_ns[usize::from(id.0)] > now_ns
        {
            self.isolated[usize::from(id.0)] += 1;
            return Err(Excess::Isolated);
        }
        let cost_ns = QUOTA_PACKET_NS + bytes as u64 / QUOTA_BYTES_PER_NS;
        if self.share(lane).take(cost_ns, now_ns) { Ok(()) } else { Err(Excess::Quota) }
    }

    /// A datagram's tag was wrong. A replica is not fined for what comes from its address: what spoils a packet on its way must not silence it.
    pub(super) fn on_tag_bad(&mut self, lane: Lane, now_ns: u64) {
        if !matches!(lane, Lane::Replica(_) | Lane::Relay(_)) {
            self.share(lane).fine(QUOTA_BAD_TAG_NS, now_ns);
        }
    }

    /// An authentic packet of a replica came that this process did not ask for.
    pub(super) fn on_authentic(&mut self, id: ReplicaId) {
        self.counts[usize::from(id.0)] += 1;
    }

    /// Ends a duty cycle: isolates whoever floods.
    pub(super) fn on_duty_end(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.window_since_ns) < FLOOD_WINDOW_NS {
            return;
        }
        let counts = std::mem::take(&mut self.counts);
        let whole = now_ns.saturating_sub(self.window_since_ns) < 2 * FLOOD_WINDOW_NS;
        self.window_since_ns = now_ns;
        let busiest = (0..REPLICAS_MAX).max_by_key(|at| counts[*at]).expect("there are some");
        let next = (0..REPLICAS_MAX).filter(|at| *at != busiest).map(|at| counts[at]).max().expect("there are some");
        let floods = counts[busiest] > FLOOD_FACTOR * next.max(FLOOD_FLOOR_PACKETS);
        let isolated = self.isolated_until_ns.iter().filter(|until| **until > now_ns).count();
        // A window that lasted for longer, because this process did not run, says nothing of rates.
        if floods && whole && isolated < self.isolated_max {
            self.isolated_until_ns[busiest] = now_ns + ISOLATION_NS;
        }
    }

    /// Datagrams of each replica that were dropped because it was isolated.
    pub(super) fn isolated(&self) -> [u64; REPLICAS_MAX] {
        self.isolated
    }

    fn share(&mut self, lane: Lane) -> &mut Share {
        match lane {
            Lane::Replica(id) => &mut self.replicas[usize::from(id.0)],
            Lane::ReplicaElsewhere(id) => &mut self.replicas_elsewhere[usize::from(id.0)],
            Lane::Relay(id) => &mut self.relays[usize::from(id.0)],
            Lane::Client(id) => &mut self.clients[id][0],
            Lane::ClientElsewhere(id) => &mut self.clients[id][1],
            Lane::Nobody => &mut self.nobody,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// How many datagrams of a lane are looked at in a second in which they come every `every_ns`.
    fn taken(quotas: &mut Quotas, lane: Lane, bytes: usize, every_ns: u64) -> usize {
        (SECOND..2 * SECOND).step_by(every_ns as usize).filter(|now| quotas.take(lane, bytes, *now).is_ok()).count()
    }

    /// `protocol.md RB-3`: a flood takes its own share, and nobody else's.
    #[test]
    fn a_flood_takes_no_more_than_its_share() {
        let mut quotas = Quotas::new(2, 1);
        let every_ns = 200;
        let share = SECOND / (QUOTA_PACKET_NS + 1472 / QUOTA_BYTES_PER_NS) / QUOTA_SHARE;
        let flood = taken(&mut quotas, Lane::Client(0), 1472, every_ns) as u64;
        assert!(flood < share + share * QUOTA_BURST_NS / SECOND + 2, "{flood} of {}", SECOND / every_ns);
        assert!(flood >= share - 1);
        assert_eq!(quotas.take(Lane::Client(0), 64, 2 * SECOND), Err(Excess::Quota));
        for lane in [Lane::ClientElsewhere(0), Lane::Client(1), Lane::Replica(ReplicaId(0)), Lane::Nobody] {
            assert_eq!(quotas.take(lane, 64, 2 * SECOND), Ok(()), "{lane:?}");
        }
        assert_eq!(quotas.take(Lane::Client(0), 64, 3 * SECOND), Ok(()), "it comes back");
    }

    /// `protocol.md RB-4`
    #[test]
    fn bad_tags_cost_more_than_good_ones_and_a_replica_nothing() {
        let mut quotas = Quotas::new(2, 1);
        let (client, replica) = (Lane::Client(0), Lane::Replica(ReplicaId(2)));
        let mut checked = [0; 2];
        for now_ns in (SECOND..2 * SECOND).step_by(100_000) {
            for (checked, lane) in checked.iter_mut().zip([client, replica]) {
                if quotas.take(lane, 1472, now_ns).is_ok() {
                    *checked += 1;
                    quotas.on_tag_bad(lane, now_ns);
                }
            }
        }
        let most = (SECOND + QUOTA_BURST_NS) / (QUOTA_BAD_TAG_NS * QUOTA_SHARE) + 2;
        assert!(checked[0] <= most && checked[1] == 10_000, "{checked:?}, {most}");
        // However long it went on, it is soon forgotten.
        assert_eq!(quotas.take(client, 1472, 2 * SECOND + 2 * QUOTA_BURST_NS), Ok(()));
    }

    /// `protocol.md RB-5`
    #[test]
    fn who_floods_is_isolated_for_a_while_and_who_is_merely_busier_is_not() {
        let mut quotas = Quotas::new(2, 1);
        let window = |quotas: &mut Quotas, counts: [u64; 4], now_ns: u64| {
            for (id, count) in (0..).map(ReplicaId).zip(counts) {
                (0..count).for_each(|_| quotas.on_authentic(id));
            }
            quotas.on_duty_end(now_ns);
            let looked_at = |id| quotas.take(Lane::Replica(ReplicaId(id)), 64, now_ns).is_ok();
            [0, 1, 2, 3].map(looked_at)
        };
        let floor = FLOOD_FLOOR_PACKETS * FLOOD_FACTOR;
        let at = |count: u64| SECOND + count * FLOOD_WINDOW_NS;
        window(&mut quotas, [0; 4], at(0));
        assert_eq!(window(&mut quotas, [floor, 0, 0, 0], at(1)), [true; 4], "alone, and not so many");
        let busy = floor / 10;
        assert_eq!(window(&mut quotas, [busy * FLOOD_FACTOR, busy, 0, 0], at(2)), [true; 4], "twenty times as busy");
        assert_eq!(window(&mut quotas, [0, 3 * floor, 0, 0], at(4)), [true; 4], "the process did not run in between");
        assert_eq!(window(&mut quotas, [busy, 1, floor * 3, 1], at(5)), [true, true, false, true]);
        assert_eq!(window(&mut quotas, [0, floor * 3, 0, 0], at(6)), [true, true, false, true], "no more than f");
        assert_eq!(quotas.isolated()[..4], [0, 0, 2, 0]);
        assert_eq!(window(&mut quotas, [0; 4], at(5) + ISOLATION_NS), [true; 4]);
    }

    #[test]
    fn lanes_are_by_claimed_sender_and_address() {
        use logothete_transport::pool::{Pool, PoolConfig};
        let pool = Pool::new(PoolConfig { frame_bytes: 4096, frames: 16 }).unwrap();
        let address = |port: u16| SocketAddr::from(([127, 0, 0, 1], port));
        let (replicas, clients) = ([address(10), address(11)], [None, Some(address(20))]);
        let lane = |sender: Principal, port| {
            let mut frame = pool.take().unwrap();
            frame.fill(&[&[0; SENDER_AT][..], &sender.code().to_le_bytes(), &[0; 40]].concat());
            Lane::of(&Received { frame, from: address(port), group: false }, &replicas, &clients)
        };
        let (replica, client) =
            (|id| Principal::Replica(ReplicaId(id)), |id| Principal::Client(crate::numbers::ClientId(id)));
        assert_eq!(lane(replica(1), 11), Lane::Replica(ReplicaId(1)));
        assert_eq!(lane(replica(1), 10), Lane::ReplicaElsewhere(ReplicaId(1)));
        assert_eq!(lane(replica(2), 10), Lane::Nobody);
        assert_eq!(lane(client(1), 20), Lane::Client(1));
        assert_eq!(lane(client(1), 21), Lane::ClientElsewhere(1));
        assert_eq!(lane(client(0), 20), Lane::ClientElsewhere(0));
        assert_eq!(lane(client(0), 10), Lane::Relay(ReplicaId(0)));
        assert_eq!(lane(client(2), 10), Lane::Nobody);
        let mut frame = pool.take().unwrap();
        frame.fill(&[1; SENDER_AT + 1]);
        assert_eq!(Lane::of(&Received { frame, from: address(10), group: false }, &replicas, &clients), Lane::Nobody);
    }
}
