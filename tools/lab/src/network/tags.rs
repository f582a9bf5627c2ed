//! Packets with wrong tags: what a client does that writes good ones for some replicas only, done to a correct one's packets on their way.

use logothete_engine::numbers::{Principal, ReplicaSet};
use logothete_engine::wire::Audience;
use logothete_engine::wire::packet::{ENTRY_BYTES, PacketParts};

/// Bytes of an Ethernet header, and of a UDP header.
const ETHERNET_BYTES: usize = 14;
const UDP_BYTES: usize = 8;

const IPV4: [u8; 2] = [0x08, 0x00];
const UDP: u8 = 17;

/// Makes the tags for some replicas wrong in a frame with a packet of `sender`, and returns whether it did: the same for
/// every copy, and for one that is passed on.
pub fn spoil(frame: &mut [u8], sender: Principal, of: ReplicaSet) -> bool {
    let entries = entries(frame, sender, of);
    if entries.is_empty() {
        return false;
    }
    for at in entries {
        // An entry begins with the key's number, which stays.
        frame[at + 4..at + ENTRY_BYTES].fill(0xa5);
    }
    // Without a checksum the datagram is as good.
    let udp = ETHERNET_BYTES + header_bytes(frame);
    frame[udp + 6..udp + UDP_BYTES].fill(0);
    true
}

/// Where these replicas' entries begin.
fn entries(frame: &[u8], sender: Principal, of: ReplicaSet) -> Vec<usize> {
    let Some((vector, audience)) = vector(frame, sender) else { return Vec::new() };
    let places = of.iter().filter_map(|id| audience.position_of_replica(id));
    places.map(|place| vector + place * ENTRY_BYTES).collect()
}

/// Where the authentication vector of a packet of `sender` begins, and for whom it is.
fn vector(frame: &[u8], sender: Principal) -> Option<(usize, Audience)> {
    let ip = frame.get(ETHERNET_BYTES..)?;
    let is_udp = frame[12..ETHERNET_BYTES] == IPV4 && *ip.get(9)? == UDP;
    let is_fragment = u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff != 0;
    if !is_udp || is_fragment {
        return None;
    }
    let begin = ETHERNET_BYTES + header_bytes(frame) + UDP_BYTES;
    // A short frame is filled up to the least that Ethernet has.
    let udp_bytes = usize::from(u16::from_be_bytes([*frame.get(begin - 4)?, *frame.get(begin - 3)?]));
    let datagram = frame.get(begin..begin - UDP_BYTES + udp_bytes)?;
    let parts = PacketParts::parse(datagram).ok().filter(|parts| parts.header.sender.get() == sender.code())?;
    Some((begin + datagram.len() - parts.vector.len(), parts.audience))
}

/// Bytes of the IPv4 header.
fn header_bytes(frame: &[u8]) -> usize {
    usize::from(frame[ETHERNET_BYTES] & 0xf) * 4
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_engine::numbers::{ClientId, ReplicaId};
    use logothete_engine::wire::packet::{Envelope, HEADER_BYTES, write_header};

    /// A frame with a packet without messages, for four replicas.
    fn frame(sender: Principal, fragment: bool) -> Vec<u8> {
        let audience = Audience::Replicas(ReplicaSet::first(4));
        let mut packet = vec![0x11; HEADER_BYTES + 4 * ENTRY_BYTES];
        let envelope = Envelope { sender: sender.code(), cluster: 1, epoch: 2, counter: 3, audience, message_count: 0 };
        write_header(&mut packet, 0, &envelope);
        let mut ip = vec![0; 20];
        (ip[0], ip[9]) = (0x45, UDP);
        ip[6] = if fragment { 0x20 } else { 0x40 };
        let udp_bytes = ((UDP_BYTES + packet.len()) as u16).to_be_bytes();
        [&[0; 12][..], &IPV4, &ip, &[1, 2, 3, 4], &udp_bytes, &[9, 9], &packet].concat()
    }

    #[test]
    fn one_tag_of_one_senders_packets_becomes_wrong() {
        let client = Principal::Client(ClientId(1));
        let good = frame(client, false);
        let mut spoilt = good.clone();
        assert!(spoil(&mut spoilt, client, ReplicaSet::only(ReplicaId(2))));
        let differing: Vec<usize> = (0..good.len()).filter(|at| good[*at] != spoilt[*at]).collect();
        let vector = good.len() - 4 * ENTRY_BYTES;
        let entry = vector + 2 * ENTRY_BYTES;
        let checksum = ETHERNET_BYTES + 20 + 6;
        assert_eq!(
            differing,
            [checksum, checksum + 1].into_iter().chain(entry + 4..entry + ENTRY_BYTES).collect::<Vec<_>>()
        );
        let again = spoilt.clone();
        assert!(
            spoil(&mut spoilt, client, ReplicaSet::only(ReplicaId(2))) && spoilt == again,
            "passed on, it is as wrong as before"
        );
    }

    #[test]
    fn everything_else_passes_as_it_is() {
        let client = Principal::Client(ClientId(1));
        for (mut frame, of) in [
            (frame(Principal::Client(ClientId(0)), false), 2),
            (frame(client, true), 2),
            (frame(client, false), 5),
            (vec![0; 30], 2),
            (Vec::new(), 2),
        ] {
            let before = frame.clone();
            assert!(!spoil(&mut frame, client, ReplicaSet::only(ReplicaId(of))) && frame == before);
        }
        let whole = frame(client, false);
        for length in 0..whole.len() {
            let mut cut = whole[..length].to_vec();
            assert!(!spoil(&mut cut, client, ReplicaSet::only(ReplicaId(2))), "{length}");
        }
    }
}
