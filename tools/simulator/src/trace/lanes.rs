//! What happened in a run, as it is drawn: packets with their ways, and notes.

use crate::scenario::words::name_of;
use crate::world::network::Packet;
use logothete_engine::numbers::Principal;
use serde::Serialize;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A packet on its ways.
#[derive(Debug, Serialize)]
pub struct Sent {
    pub at_ns: u64,
    pub from: usize,
    /// To whom, and when it arrived there; it may arrive more than once.
    pub arrived: Vec<(usize, u64)>,
    /// Those for whom it was lost.
    pub lost: Vec<usize>,
    pub text: String,
}

/// Something that an agent did, or that was done to it.
#[derive(Debug, Serialize)]
pub struct Note {
    pub at_ns: u64,
    pub who: usize,
    pub text: String,
}

/// Everything that a picture shows.
#[derive(Debug, Default, Serialize)]
pub struct Lanes {
    /// Names, a lane each.
    pub agents: Vec<String>,
    pub sent: Vec<Sent>,
    pub notes: Vec<Note>,
    #[serde(skip)]
    now_ns: u64,
    #[serde(skip)]
    places: BTreeMap<Principal, usize>,
    /// Which of those sent has these bytes, by their address: they live as long as the packet is under way.
    #[serde(skip)]
    under_way: BTreeMap<usize, usize>,
}

impl Lanes {
    /// Lanes for these, in this order.
    pub fn of(agents: &[Principal]) -> Self {
        let places = agents.iter().copied().zip(0..).collect();
        Self { agents: agents.iter().copied().map(name_of).collect(), places, ..Self::default() }
    }

    /// What comes from now on happens at this time.
    pub fn set_time(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    /// The operator has no lane.
    fn place(&self, who: Principal) -> Option<usize> {
        self.places.get(&who).copied()
    }

    /// A packet was sent.
    pub fn sent(&mut self, from: Principal, bytes: &Rc<[u8]>, text: String) {
        if let Some(from) = self.place(from) {
            self.under_way.insert(address(bytes), self.sent.len());
            self.sent.push(Sent { at_ns: self.now_ns, from, arrived: Vec::new(), lost: Vec::new(), text });
        }
    }

    /// A packet arrived.
    pub fn arrived(&mut self, packet: &Packet) {
        let (to, now_ns) = (self.place(packet.to), self.now_ns);
        let sent = self.under_way.get(&address(&packet.bytes)).and_then(|at| self.sent.get_mut(*at));
        if let (Some(to), Some(sent)) = (to, sent) {
            sent.arrived.push((to, now_ns));
        }
    }

    /// A packet was lost on its way to somebody.
    pub fn lost(&mut self, packet: &Packet) {
        let to = self.place(packet.to);
        let sent = self.under_way.get(&address(&packet.bytes)).and_then(|at| self.sent.get_mut(*at));
        if let (Some(to), Some(sent)) = (to, sent) {
            sent.lost.push(to);
        }
    }

    /// Something happened to an agent.
    pub fn note(&mut self, who: Principal, text: &str) {
        if let Some(who) = self.place(who) {
            self.notes.push(Note { at_ns: self.now_ns, who, text: text.to_owned() });
        }
    }
}

fn address(bytes: &Rc<[u8]>) -> usize {
    bytes.as_ptr().addr()
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_engine::numbers::{ClientId, ReplicaId};

    #[test]
    fn a_packet_keeps_its_ways_and_the_operator_has_none() {
        let (one, other) = (Principal::Replica(ReplicaId(0)), Principal::Client(ClientId(0)));
        let mut lanes = Lanes::of(&[one, other]);
        let bytes: Rc<[u8]> = vec![1].into();
        let packet = Packet { from: one, to: other, bytes: bytes.clone() };
        lanes.set_time(5);
        lanes.sent(one, &bytes, "hello".to_owned());
        lanes.sent(Principal::Client(ClientId(1)), &vec![2].into(), "not drawn".to_owned());
        lanes.lost(&packet);
        lanes.set_time(7);
        lanes.arrived(&packet);
        lanes.arrived(&packet);
        lanes.note(other, "heard");
        assert_eq!(lanes.sent.len(), 1);
        assert_eq!((&lanes.sent[0].arrived, &lanes.sent[0].lost), (&vec![(1, 7), (1, 7)], &vec![1]));
        assert_eq!((lanes.notes[0].at_ns, lanes.notes[0].who), (7, 1));
    }
}
