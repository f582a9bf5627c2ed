//! The verifier: what was changed on the way is nobody's, and what was not is its sender's (RELIABILITY.md I-02, N-13, N-16, B-05).

use crate::choices::Choices;
use crate::hostile::{Scene, body};
use crate::table::{CLIENT, HOSTILE, receive, seal};
use crate::{Sample, Target};
use logothete_engine::authentication::Incoming;
use logothete_engine::numbers::{Principal, ReplicaId, ReplicaSet};
use logothete_engine::wire::Audience;
use logothete_engine::wire::packet::{ENTRY_BYTES, PacketParts};

pub const VERIFIER: Target = Target {
    name: "verifier",
    about: "a datagram with good tags, changed on the way, and the same once more",
    run: verify,
    samples,
};

const RECEIVER: Principal = Principal::Replica(ReplicaId(1));

/// The input decides on a body and its audience, then on what happens to the datagram.
fn verify(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    if choices.byte() % 4 == 3 {
        // Bytes of nobody: no key of this table sealed them.
        let transmitter = if choices.flag() { HOSTILE } else { CLIENT };
        return receive(RECEIVER, transmitter, choices.rest(), |incoming| {
            assert!(!matches!(incoming, Some(Incoming::Packet(_))), "nobody sealed it");
        });
    }
    let sender = if choices.flag() { HOSTILE } else { CLIENT };
    let members = ReplicaSet(u16::from(choices.byte())).without(ReplicaId(3));
    let audience = Audience::Replicas(if members == ReplicaSet::EMPTY { ReplicaSet(0b0111) } else { members });
    let spoken = body(&mut choices, &Scene::default(), sender);
    let datagram = seal(sender, audience, &spoken);
    let mut arrived = datagram.clone();
    choices.spoil(&mut arrived);
    arrived.truncate(arrived.len() - if choices.byte() == 255 { 1 } else { 0 });
    let addressed = audience.position_of_replica(ReplicaId(1));
    // What is under the receiver's tag, and the tag itself; other receivers' tags are not its business.
    let is_same = arrived.len() == datagram.len() && {
        let vector = datagram.len() - audience.tag_count() * ENTRY_BYTES;
        let own = addressed.map_or(0..0, |at| vector + at * ENTRY_BYTES..vector + (at + 1) * ENTRY_BYTES);
        arrived[..vector] == datagram[..vector] && arrived[own.clone()] == datagram[own]
    };
    let sound = PacketParts::parse(&datagram).is_ok();
    let accepted = receive(RECEIVER, sender, &arrived, |incoming| match incoming {
        Some(Incoming::Packet(packet)) => {
            assert_eq!(packet.sender(), sender);
            assert_eq!(packet.body(), spoken, "what was verified is what was sealed");
            assert_eq!(packet.body_digest(), logothete_crypto::digest(&spoken));
            packet.messages().for_each(drop);
            true
        }
        Some(Incoming::Relayed(_)) => panic!("its own sender transmitted it"),
        None => false,
    });
    assert_eq!(accepted, sound && is_same && addressed.is_some(), "accepted: {accepted}");
    let again = receive(RECEIVER, sender, &arrived, |incoming| incoming.is_some());
    assert!(!again, "what was accepted is not accepted again, nor what was not");
}

fn samples() -> Vec<Sample> {
    let bytes =
        |first: u8, step: u8| (0..120u8).map(|at| if at == 0 { first } else { at.wrapping_mul(step) }).collect();
    let mut samples: Vec<Sample> =
        (0..6).map(|step| (format!("sealed-{step}"), bytes(step, step.wrapping_mul(37)))).collect();
    let mut datagram = seal(HOSTILE, Audience::Replicas(ReplicaSet(0b0111)), &[]);
    // Under no tags.
    let vector = datagram.len() - 3 * ENTRY_BYTES;
    datagram[vector..].fill(0);
    samples.push(("nobodys".to_owned(), [&[3, 1], &datagram[..]].concat()));
    samples
}
