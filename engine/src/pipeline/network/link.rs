//! The messages that are about the link itself, which the network's agents deal with: probes of the multicast path and their answers
//! (`protocol.md PK-7`), and the operator's wish for new keys (`KY-4`). Each travels alone in its packet; a packet of the core never begins
//! with one.

use super::Network;
use crate::authentication::{Incoming, PacketFacts};
use crate::limits::CLIENTS_MAX;
use crate::numbers::{ClientId, Principal, ReplicaSet};
use crate::pipeline::outbox::{Departures, Outgoing};
use crate::wire::keys::KeyReport;
use crate::wire::packet::HEADER_BYTES;
use crate::wire::probe::{Probe, ProbeHeard};
use crate::wire::{Audience, Kind, Message};
use logothete_transport::datagram::Received;

/// Where a packet of the link's own goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Group,
    Unicast,
}

impl Network {
    /// Deals with a packet if it is the link's own; whether it was.
    pub(super) fn on_link_packet(&mut self, datagram: &Received, facts: PacketFacts, now_ns: u64) -> bool {
        let Incoming::Packet(packet) = facts.incoming(&datagram.frame) else { return false };
        // The first byte is the first message's kind: the core's packets cost one comparison here.
        let own_kinds = [Kind::Probe as u8, Kind::ProbeHeard as u8, Kind::RotateKeys as u8];
        if !packet.body().first().is_some_and(|kind| own_kinds.contains(kind)) {
            return false;
        }
        let sender = packet.sender();
        match (sender, packet.messages().next()) {
            (_, Some(Ok((Message::Probe(probe), _)))) => self.on_probe(sender, *probe, datagram.group),
            (Principal::Replica(id), Some(Ok((Message::ProbeHeard(heard), _)))) => {
                self.group_path.answered(id, heard.number.get(), heard.through_group == 1);
            }
            (Principal::Client(id), Some(Ok((Message::RotateKeys(wish), _)))) if id == self.operator() => {
                let nonce = wish.nonce.get();
                self.rotation(now_ns).wish(nonce);
                self.rotate_where_due(now_ns);
                self.report_keys(nonce, now_ns);
            }
            // What is malformed, or not for this sender to ask, is rejected and counted with its sender's name by the core.
            _ => return false,
        }
        true
    }

    /// The operator is the last client.
    fn operator(&self) -> ClientId {
        const _: () = assert!(CLIENTS_MAX <= u16::MAX as usize);
        ClientId(self.clients.len().saturating_sub(1) as u16)
    }

    /// Tells the prober that its datagram arrived, and which way. A copy of one to the group that came by unicast is no such thing.
    fn on_probe(&mut self, sender: Principal, probe: Probe, through_group: bool) {
        if (probe.to_group == 1) != through_group {
            return;
        }
        let audience = match sender {
            Principal::Replica(id) => Audience::Replicas(ReplicaSet::only(id)),
            Principal::Client(id) => Audience::Client(id),
        };
        let heard = ProbeHeard { number: probe.number, through_group: probe.to_group, reserved: [0; 7] };
        self.send_own(audience, Way::Unicast, |out| heard.append(out));
    }

    /// Sends the next probe to the group, and to those by unicast whose answer to the last one is wanting.
    pub(super) fn probe(&mut self, now_ns: u64) {
        let replicas = self.established();
        let doubtful = self.group_path.doubtful(replicas);
        let Some(number) = self.group_path.poll(replicas, now_ns) else { return };
        for (to, way) in [(replicas, Way::Group), (doubtful, Way::Unicast)] {
            if to != ReplicaSet::EMPTY {
                let to_group = u8::from(way == Way::Group);
                let probe = Probe { number: number.into(), to_group, reserved: [0; 7] };
                self.send_own(Audience::Replicas(to), way, |out| probe.append(out));
            }
        }
    }

    fn report_keys(&mut self, nonce: u64, now_ns: u64) {
        let mut report = KeyReport::empty(nonce);
        report.generation = self.keys.generation().into();
        let due_ms = self.rotation(now_ns).wished_in_ns(now_ns).map_or(0, |due_ns| due_ns.div_ceil(1_000_000).max(1));
        report.due_ms = u32::try_from(due_ms).unwrap_or(u32::MAX).into();
        let operator = Principal::Client(self.operator());
        for peer in 0..self.peers() {
            let principal = self.principal(peer);
            let code = principal.code();
            // The operator asks; it is no client whose traffic counts.
            if self.keys.established(code).is_none() || principal == operator {
                continue;
            }
            let (sessions, confirmed) = match principal {
                Principal::Replica(_) => (&mut report.replicas, &mut report.replicas_confirmed),
                Principal::Client(_) => (&mut report.clients, &mut report.clients_confirmed),
            };
            *sessions += 1;
            *confirmed += u16::from(self.keys.settled(code));
        }
        report.in_use_after_ns = self.rotation(now_ns).in_use_after_ns().into();
        self.send_own(Audience::Client(self.operator()), Way::Unicast, |out| report.append(out));
    }

    /// Sends one message of the link's own, alone in its packet. Without a free frame it is lost, like any packet.
    fn send_own(&mut self, audience: Audience, way: Way, append: impl FnOnce(&mut Vec<u8>)) {
        self.message.clear();
        append(&mut self.message);
        let Some(mut frame) = self.pool.take() else { return };
        let end = HEADER_BYTES + self.message.len();
        frame.capacity_bytes_mut()[HEADER_BYTES..end].copy_from_slice(&self.message);
        let outgoing = Outgoing { frame, body_bytes: self.message.len(), audience, message_count: 1 };
        match (audience, way) {
            (Audience::Client(_), _) => self.depart(outgoing),
            (Audience::Replicas(set), way) => {
                let frame = self.seal(outgoing);
                match self.group {
                    Some(group) if way == Way::Group => self.endpoint.send(frame, group),
                    _ => self.unicast_to_replicas(set, frame),
                }
            }
        }
    }
}
