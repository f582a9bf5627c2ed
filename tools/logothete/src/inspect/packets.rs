//! Captured packets: whose they are, for whom, and which messages they hold.

use super::capture::{self, Datagram};
use super::counted;
use crate::failure::Failure;
use crate::output::print_line;
use logothete_engine::numbers::Principal;
use logothete_engine::wire::framing::{Kind, Malformed};
use logothete_engine::wire::message::Messages;
use logothete_engine::wire::packet::{Audience, MAGIC, MAGIC_ANNOUNCEMENT, PacketParts, packet_bytes};
use std::collections::BTreeMap;
use std::path::Path;

/// Prints what is in a packet capture.
///
/// # Errors
///
/// When the file is no whole capture, or a packet in it is malformed.
pub fn capture(path: &Path, list: bool) -> Result<(), Failure> {
    let bytes = std::fs::read(path).map_err(|error| Failure::of_file("read", path, &error))?;
    let frames = capture::frames(&bytes);
    let mut tally = Tally::default();
    for (index, frame) in frames.frames.iter().enumerate() {
        match capture::datagram(frame) {
            Some(datagram) => tally.datagram(index + 1, &datagram, list)?,
            None => *tally.others.entry("not UDP, or a fragment").or_default() += 1,
        }
    }
    print_line(&format!("capture {}: {} frames", path.display(), frames.frames.len()))?;
    print_line(&format!("packets: {}, announcements: {}", tally.packets, tally.announcements))?;
    print_line(&format!("messages: {}", counted(&tally.messages)))?;
    print_line(&format!("passed over: {}", counted(&tally.others)))?;
    print_line("tags are not verified: that needs the session keys, which no file holds")?;
    let broken = tally.malformed.into_iter().next().or(frames.broken);
    match broken {
        None => print_line("well-formed"),
        Some(broken) => Err(Failure::Failed(format!("{} does not verify: {broken}", path.display()))),
    }
}

#[derive(Default)]
struct Tally {
    packets: u64,
    announcements: u64,
    messages: BTreeMap<String, u64>,
    others: BTreeMap<&'static str, u64>,
    /// The first malformed packet.
    malformed: Option<String>,
}

impl Tally {
    fn datagram(&mut self, frame: usize, datagram: &Datagram<'_>, list: bool) -> Result<(), Failure> {
        let Datagram { from, to, payload, cut } = datagram;
        let said = match payload.first_chunk() {
            Some(&MAGIC_ANNOUNCEMENT) => {
                self.announcements += 1;
                String::from("announcement")
            }
            Some(&MAGIC) if *cut => {
                *self.others.entry("cut by the capture").or_default() += 1;
                return Ok(());
            }
            Some(&MAGIC) => self.packets(frame, payload),
            _ => {
                *self.others.entry("other UDP").or_default() += 1;
                return Ok(());
            }
        };
        if list { print_line(&format!("{frame}\t{from} > {to}\t{said}")) } else { Ok(()) }
    }

    /// The packets of a datagram: one, or several of one length that the kernel carried together.
    fn packets(&mut self, frame: usize, payload: &[u8]) -> String {
        let (mut rest, mut said) = (payload, Vec::new());
        while !rest.is_empty() {
            // A length beyond the end is refused by what follows.
            let length = packet_bytes(rest).unwrap_or(rest.len()).clamp(1, rest.len());
            let (packet, after) = rest.split_at(length);
            rest = after;
            match self.packet(packet) {
                Ok(words) => said.push(words),
                Err(malformed) => {
                    let words = format!("a malformed packet: {malformed}");
                    self.malformed.get_or_insert_with(|| format!("frame {frame}: {words}"));
                    said.push(words);
                    break;
                }
            }
        }
        said.join("; ")
    }

    fn packet(&mut self, packet: &[u8]) -> Result<String, Malformed> {
        let parts = PacketParts::parse(packet)?;
        let sender = Principal::from_code(parts.header.sender.get());
        let mut kinds = Vec::new();
        for message in Messages::new(parts.body, sender) {
            let (_, bytes) = message?;
            // What was decoded has a kind that is known.
            let kind = bytes.first().and_then(|byte| Kind::from_byte(*byte)).ok_or(Malformed::Kind)?;
            kinds.push(format!("{kind:?}"));
        }
        self.packets += 1;
        for kind in &kinds {
            *self.messages.entry(kind.clone()).or_default() += 1;
        }
        let audience = match parts.audience {
            Audience::Replicas(set) => format!("replicas {set:?}"),
            Audience::Client(id) => format!("client {id}"),
        };
        let (epoch, counter) = (parts.header.epoch.get(), parts.header.counter.get());
        Ok(format!("{} to {audience}, epoch {epoch:x} packet {counter}: {}", name(sender), kinds.join(", ")))
    }
}

fn name(principal: Principal) -> String {
    match principal {
        Principal::Replica(id) => format!("replica {id}"),
        Principal::Client(id) => format!("client {id}"),
    }
}
