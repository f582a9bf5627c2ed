//! How a replica fares, and whom it rejects for what: what the operator's `status` asks and is told.

use super::framing::{self, Kind, MESSAGE_HEADER_BYTES, Malformed};
use super::packet::{ENTRY_BYTES, HEADER_BYTES};
use crate::limits::{CLIENTS_MAX, DATAGRAM_BYTES_MIN};
use crate::numbers::ClientId;
use logothete_crypto::Digest;
use zerocopy::little_endian::{U16, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// ReportQuery(nonce).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ReportQuery {
    /// Returned in the answer, so that a late answer is not taken for a fresh one.
    pub nonce: U64,
}

impl ReportQuery {
    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::ReportQuery, &[self.as_bytes()]);
    }
}

/// What a replica says of itself; only what several say alike is more than its word.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ReportReply {
    /// Of the query.
    pub nonce: U64,
    /// The view that it is in.
    pub view: U64,
    /// The last batch that it executed.
    pub executed: U64,
    /// Its last stable checkpoint.
    pub checkpoint_stable: U64,
    /// The digest of its state after `executed`.
    pub state_digest: Digest,
    /// Datagrams sent since its start.
    pub datagrams_sent: U64,
    /// Datagrams received since its start.
    pub datagrams_received: U64,
    /// Packets and messages rejected since its start.
    pub rejects: U64,
    /// The oldest position of its ordered log.
    pub log_oldest: U64,
    /// The position after the last of its ordered log.
    pub log_end: U64,
    /// The replicas heard from in the last second, itself included: one bit each.
    pub peers_reachable: U16,
    /// How it gets on ([`crate::replica::Progress`]).
    pub progress: u8,
    /// Zero.
    pub reserved: [u8; 5],
    /// The clients whose requests must be signed: one bit each.
    pub demoted: [U64; CLIENTS_MAX / 64],
}

impl ReportReply {
    pub(super) fn decode(layout: &[u8]) -> Result<&Self, Malformed> {
        let report: &Self = framing::fixed(layout)?;
        if report.reserved == [0; 5] { Ok(report) } else { Err(Malformed::Field) }
    }

    /// Notes that a client's requests must be signed.
    pub fn set_demoted(&mut self, client: ClientId) {
        let at = usize::from(client.0);
        let word = &mut self.demoted[at / 64];
        word.set(word.get() | 1 << (at % 64));
    }

    /// The clients whose requests must be signed.
    pub fn demoted(&self) -> impl Iterator<Item = ClientId> {
        let is_set = |at: &u16| self.demoted[usize::from(*at) / 64].get() & 1 << (at % 64) != 0;
        (0..CLIENTS_MAX as u16).filter(is_set).map(ClientId)
    }

    /// An answer in which everything is zero yet.
    pub fn empty(nonce: u64) -> Self {
        Self { nonce: nonce.into(), ..Self::new_zeroed() }
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::ReportReply, &[self.as_bytes()]);
    }
}

/// The most entries of a [`RejectsReport`]: with those the message fits the smallest datagram.
pub const REJECTS_LISTED_MAX: usize = 60;

/// RejectsQuery(nonce).
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RejectsQuery {
    /// Returned in the answer.
    pub nonce: U64,
}

impl RejectsQuery {
    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        framing::append(out, Kind::RejectsQuery, &[self.as_bytes()]);
    }
}

/// How often a replica rejected something for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct RejectEntry {
    /// Whose message it was ([`crate::numbers::Principal::code`]), or [`RejectEntry::NOBODY`].
    pub about: U16,
    /// Who rejected it: [`RejectEntry::BY_VERIFIER`] or [`RejectEntry::BY_CORE`].
    pub by: u8,
    /// The reason's place in the list of that part.
    pub reason: u8,
    /// Zero.
    pub reserved: [u8; 4],
    /// How often.
    pub count: U64,
}

impl RejectEntry {
    /// Before a tag has verified, nobody can be named.
    pub const NOBODY: u16 = u16::MAX;
    /// A datagram, refused before its messages were looked at.
    pub const BY_VERIFIER: u8 = 0;
    /// An authentic message.
    pub const BY_CORE: u8 = 1;
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RejectsHeader {
    nonce: U64,
    count: U16,
    reserved: [u8; 6],
    omitted: U64,
}

/// Whom a replica rejected for what, the most frequent first: its own word.
#[derive(Clone, Copy, Debug)]
pub struct RejectsReport<'a> {
    /// Of the query.
    pub nonce: u64,
    /// How many rejects are in no entry, for want of room.
    pub omitted: u64,
    /// At most [`REJECTS_LISTED_MAX`].
    pub entries: &'a [RejectEntry],
}

impl<'a> RejectsReport<'a> {
    pub(super) fn decode(layout: &'a [u8]) -> Result<Self, Malformed> {
        let (header, rest) = RejectsHeader::ref_from_prefix(layout).map_err(|_| Malformed::Length)?;
        let entries = <[RejectEntry]>::ref_from_bytes(rest).map_err(|_| Malformed::Length)?;
        if entries.len() != usize::from(header.count.get()) {
            return Err(Malformed::Length);
        }
        let plain = |entry: &RejectEntry| entry.reserved == [0; 4] && entry.by <= RejectEntry::BY_CORE;
        if header.reserved != [0; 6] || entries.len() > REJECTS_LISTED_MAX || !entries.iter().all(plain) {
            return Err(Malformed::Field);
        }
        Ok(Self { nonce: header.nonce.get(), omitted: header.omitted.get(), entries })
    }

    /// Appends it.
    pub fn append(&self, out: &mut Vec<u8>) {
        let header = RejectsHeader {
            nonce: self.nonce.into(),
            count: (self.entries.len() as u16).into(),
            reserved: [0; 6],
            omitted: self.omitted.into(),
        };
        framing::append(out, Kind::RejectsReport, &[header.as_bytes(), self.entries.as_bytes()]);
    }
}

const _: () = {
    let message = MESSAGE_HEADER_BYTES + size_of::<RejectsHeader>() + REJECTS_LISTED_MAX * size_of::<RejectEntry>();
    assert!(HEADER_BYTES + message + ENTRY_BYTES <= DATAGRAM_BYTES_MIN);
};

#[cfg(test)]
mod tests {
    use super::*;

    /// `protocol.md DM-7`
    #[test]
    fn a_report_names_demoted_clients() {
        let mut report = ReportReply::empty(1);
        assert_eq!(report.demoted().count(), 0);
        let demoted = [0, 63, 64, CLIENTS_MAX as u16 - 1].map(ClientId);
        demoted.into_iter().for_each(|client| report.set_demoted(client));
        assert_eq!(report.demoted().collect::<Vec<_>>(), demoted);
    }

    /// `protocol.md EV-4`, `RJ-3`
    #[test]
    fn a_list_of_rejects_survives_the_wire_and_only_exactly() {
        let entry = |about: u16, reason, count: u64| RejectEntry {
            about: about.into(),
            by: RejectEntry::BY_CORE,
            reason,
            reserved: [0; 4],
            count: count.into(),
        };
        let entries = [entry(2, 7, 900), entry(RejectEntry::NOBODY, 0, 1)];
        let mut bytes = Vec::new();
        RejectsReport { nonce: 5, omitted: 3, entries: &entries }.append(&mut bytes);
        let layout = &bytes[MESSAGE_HEADER_BYTES..];
        let read = RejectsReport::decode(layout).unwrap();
        assert_eq!((read.nonce, read.omitted, read.entries), (5, 3, &entries[..]));
        assert_eq!(RejectsReport::decode(&layout[..layout.len() - 1]).err(), Some(Malformed::Length));
        assert_eq!(RejectsReport::decode(&layout[..layout.len() - 16]).err(), Some(Malformed::Length));
        // Reserved, in the header and in an entry, and a part that is none.
        let head = size_of::<RejectsHeader>();
        for (at, value) in [(10, 1), (head + 4, 1), (head + 2, RejectEntry::BY_CORE + 1)] {
            let mut changed = layout.to_vec();
            changed[at] = value;
            assert_eq!(RejectsReport::decode(&changed).err(), Some(Malformed::Field), "{at}");
        }
        for (count, sound) in [(REJECTS_LISTED_MAX, true), (REJECTS_LISTED_MAX + 1, false)] {
            let entries = vec![entry(2, 7, 1); count];
            let mut bytes = Vec::new();
            RejectsReport { nonce: 5, omitted: 0, entries: &entries }.append(&mut bytes);
            assert_eq!(RejectsReport::decode(&bytes[MESSAGE_HEADER_BYTES..]).is_ok(), sound, "{count}");
        }
    }
}
