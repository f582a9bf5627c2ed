//! The network between the agents: datagrams in flight, and what the script does to them.

use crate::scenario::words::kind;
use crate::world::random::Random;
use logothete_engine::numbers::Principal;
use logothete_engine::wire::packet::{HEADER_BYTES, PacketParts};
use logothete_engine::wire::{Message, Messages};
use std::rc::Rc;

/// One datagram on its way to one receiver.
#[derive(Clone, Debug)]
pub struct Packet {
    /// Who transmitted it; of a relayed packet not who made it.
    pub from: Principal,
    pub to: Principal,
    pub bytes: Rc<[u8]>,
}

impl Packet {
    /// Who made it, as its header says.
    pub fn sender(&self) -> Principal {
        PacketParts::parse(&self.bytes).map_or(self.from, |parts| Principal::from_code(parts.header.sender.get()))
    }

    /// Its messages, as bytes.
    pub fn body(&self) -> &[u8] {
        PacketParts::parse(&self.bytes).map_or(&[], |parts| parts.body)
    }

    /// A client's packet that a replica passes on.
    pub fn is_relay(&self) -> bool {
        self.sender() != self.from
    }
}

/// Which packets a command means; what is not said does not matter.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub from: Option<Vec<Principal>>,
    pub to: Option<Vec<Principal>>,
    pub kinds: Option<Vec<String>>,
    pub sequence: Option<u64>,
    /// Which parts of requests, results or runs.
    pub parts: Option<Vec<u64>>,
}

impl Filter {
    pub fn matches(&self, packet: &Packet) -> bool {
        let among = |list: &Option<Vec<Principal>>, who| list.as_ref().is_none_or(|list| list.contains(&who));
        among(&self.from, packet.from) && among(&self.to, packet.to) && self.matches_messages(packet)
    }

    fn matches_messages(&self, packet: &Packet) -> bool {
        if self.kinds.is_none() && self.sequence.is_none() && self.parts.is_none() {
            return true;
        }
        let relay = packet.is_relay();
        Messages::new(packet.body(), packet.sender()).flatten().any(|(message, _)| {
            let kind = if relay { "relay" } else { kind(&message) };
            self.kinds.as_ref().is_none_or(|kinds| kinds.iter().any(|wanted| wanted == kind))
                && self.sequence.is_none_or(|wanted| sequence(&message) == Some(wanted))
                && self.parts.as_ref().is_none_or(|wanted| part(&message).is_some_and(|part| wanted.contains(&part)))
        })
    }
}

fn sequence(message: &Message<'_>) -> Option<u64> {
    match message {
        Message::PrePrepare(proposal) => Some(proposal.sequence.0),
        Message::Prepare(vote) | Message::Commit(vote) => Some(vote.sequence().0),
        Message::Checkpoint(vote) => Some(vote.sequence().0),
        Message::Fetch(fetch) => Some(fetch.sequence().0),
        Message::Reply(reply) => Some(reply.sequence.0),
        _ => None,
    }
}

fn part(message: &Message<'_>) -> Option<u64> {
    match message {
        Message::RequestPart(part) => Some(part.index as u64),
        Message::ReplyPart(part) => Some(part.index as u64),
        Message::RunPart(part) => Some((part.offset / part.bytes.len()) as u64),
        _ => None,
    }
}

/// What became of a packet that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    InFlight,
    Held,
    Lost,
}

/// The network.
#[derive(Debug)]
pub struct Network {
    in_flight: Vec<Packet>,
    held: Vec<Packet>,
    /// Everything ever sent: what an eavesdropper may send again.
    recorded: Vec<Packet>,
    holds: Vec<Filter>,
    blocks: Vec<Filter>,
    delays: Vec<(Filter, u64)>,
    /// What travels for longer than others, and when it is with them.
    delayed: Vec<(u64, Packet)>,
    pub loss_percent: u32,
    pub duplicate_percent: u32,
    pub random: Random,
}

impl Network {
    pub fn new(seed: u64) -> Self {
        Self {
            in_flight: Vec::new(),
            held: Vec::new(),
            recorded: Vec::new(),
            holds: Vec::new(),
            blocks: Vec::new(),
            delays: Vec::new(),
            delayed: Vec::new(),
            loss_percent: 0,
            duplicate_percent: 0,
            random: Random::new(seed),
        }
    }

    pub fn send(&mut self, packet: Packet, now_ns: u64) -> Fate {
        self.recorded.push(packet.clone());
        if self.blocks.iter().any(|filter| filter.matches(&packet)) || self.random.percent(self.loss_percent) {
            return Fate::Lost;
        }
        if self.holds.iter().any(|filter| filter.matches(&packet)) {
            self.held.push(packet);
            return Fate::Held;
        }
        if let Some((_, delay_ns)) = self.delays.iter().rev().find(|(filter, _)| filter.matches(&packet)) {
            self.delayed.push((now_ns + delay_ns, packet));
            return Fate::Held;
        }
        if self.random.percent(self.duplicate_percent) {
            self.in_flight.push(packet.clone());
        }
        self.in_flight.push(packet);
        Fate::InFlight
    }

    pub fn is_quiet(&self) -> bool {
        self.in_flight.is_empty()
    }

    pub fn count(&self) -> usize {
        self.in_flight.len()
    }

    /// Takes the packets in flight that match, in the order in which they were sent.
    pub fn take(&mut self, filter: &Filter) -> Vec<Packet> {
        let (taken, left) = self.in_flight.drain(..).partition(|packet| filter.matches(packet));
        self.in_flight = left;
        taken
    }

    /// Takes one packet, whichever chance picks.
    pub fn take_any(&mut self) -> Option<Packet> {
        if self.in_flight.is_empty() {
            return None;
        }
        let at = self.random.below(self.in_flight.len());
        Some(self.in_flight.swap_remove(at))
    }

    /// From now on matching packets wait, those in flight included. Returns how many of those there are.
    pub fn hold(&mut self, filter: Filter) -> usize {
        let taken = self.take(&filter);
        let count = taken.len();
        self.held.extend(taken);
        self.holds.push(filter);
        count
    }

    /// What was held goes on, and nothing is held any more.
    pub fn release(&mut self) -> usize {
        self.holds.clear();
        let count = self.held.len();
        self.in_flight.append(&mut self.held);
        count
    }

    /// From now on matching packets travel for so much longer; what was said last counts.
    pub fn delay(&mut self, filter: Filter, delay_ns: u64) {
        self.delays.push((filter, delay_ns));
    }

    /// Puts what was delayed for long enough with the others.
    pub fn ripen(&mut self, now_ns: u64) {
        let ripe = self.delayed.extract_if(.., |(due_ns, _)| *due_ns <= now_ns);
        self.in_flight.extend(ripe.map(|(_, packet)| packet));
    }

    /// When the next that is delayed is with the others.
    pub fn ripe_ns(&self) -> u64 {
        self.delayed.iter().map(|(due_ns, _)| *due_ns).min().unwrap_or(u64::MAX)
    }

    /// From now on matching packets are lost as they are sent.
    pub fn block(&mut self, filter: Filter) {
        self.blocks.push(filter);
    }

    pub fn unblock(&mut self) {
        self.blocks.clear();
    }

    /// Doubles what matches and is in flight.
    pub fn duplicate(&mut self, filter: &Filter) -> usize {
        let copies: Vec<_> = self.in_flight.iter().filter(|packet| filter.matches(packet)).cloned().collect();
        let count = copies.len();
        self.in_flight.extend(copies);
        count
    }

    /// Changes the last bit of the body of what matches and is in flight.
    pub fn corrupt(&mut self, filter: &Filter) -> usize {
        let mut matching: Vec<_> = self.in_flight.iter_mut().filter(|packet| filter.matches(packet)).collect();
        for packet in &mut matching {
            let mut bytes = packet.bytes.to_vec();
            bytes[HEADER_BYTES + packet.body().len() - 1] ^= 1;
            packet.bytes = bytes.into();
        }
        matching.len()
    }

    /// Brings what matches and is in flight to somebody else.
    pub fn misdirect(&mut self, filter: &Filter, to: Principal) -> usize {
        let mut matching: Vec<_> = self.in_flight.iter_mut().filter(|packet| filter.matches(packet)).collect();
        matching.iter_mut().for_each(|packet| packet.to = to);
        matching.len()
    }

    /// How much of all that was ever sent matches.
    pub fn recorded_count(&self, filter: &Filter) -> usize {
        self.recorded.iter().filter(|packet| filter.matches(packet)).count()
    }

    /// Sends again what matches of all that was ever sent.
    pub fn replay(&mut self, filter: &Filter) -> usize {
        let copies: Vec<_> = self.recorded.iter().filter(|packet| filter.matches(packet)).cloned().collect();
        let count = copies.len();
        self.in_flight.extend(copies);
        count
    }
}
