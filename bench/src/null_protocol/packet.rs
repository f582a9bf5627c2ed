//! The datagrams: as long as the engine's, but with the few fields that the null protocol needs.
//!
//! ```text
//! packet  = header 48 | messages | room for a tag (20) for each addressee
//! message = kind u8, zero (3), length u32 | layout
//!
//! request      number u64, client (16)              | operations: 20 + payload each
//! pre-prepare  sequence u64, count u32, (20)        | number u64, (48) for each request
//! vote         sequence u64, (8), digest (32)
//! reply        sequence u64, number u64, (16)       | results: length u32 + result each
//! greeting     (32)
//! ```
//!
//! Numbers are little endian; what stands in brackets is sent but means nothing. Digests are a multiple of what they stand
//! for: enough to notice damage, at no cost.

/// The packet's header.
pub(super) const HEADER_BYTES: usize = 48;
/// One addressee's tag with its key id.
pub(super) const ENTRY_BYTES: usize = 20;
/// A message's header.
const MESSAGE_BYTES: usize = 8;
/// A request's fields in front of its operations.
const REQUEST_BYTES: usize = 24;
/// Session, number and length in front of an operation's bytes.
const OPERATION_BYTES: usize = 20;
/// A pre-prepare's fields in front of the requests that it names.
const PRE_PREPARE_BYTES: usize = 32;
/// A request's name and digest.
const BATCH_ENTRY_BYTES: usize = 56;
/// View, sequence number and digest.
const VOTE_BYTES: usize = 48;
/// A reply's fields in front of its results.
const REPLY_BYTES: usize = 72;
/// A result's length field.
const RESULT_BYTES: usize = 4;
/// A greeting's layout.
const GREETING_BYTES: usize = 32;

const MAGIC: [u8; 4] = *b"LGNP";

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    Request = 1,
    PrePrepare = 2,
    Prepare = 3,
    Commit = 4,
    Reply = 5,
    Greeting = 6,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [Self::Request, Self::PrePrepare, Self::Prepare, Self::Commit, Self::Reply, Self::Greeting]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }
}

pub(super) const fn request_bytes(operations: usize, payload_bytes: usize) -> usize {
    MESSAGE_BYTES + REQUEST_BYTES + operations * (OPERATION_BYTES + payload_bytes)
}

pub(super) const fn pre_prepare_bytes(requests: usize) -> usize {
    MESSAGE_BYTES + PRE_PREPARE_BYTES + requests * BATCH_ENTRY_BYTES
}

pub(super) const fn vote_bytes() -> usize {
    MESSAGE_BYTES + VOTE_BYTES
}

pub(super) const fn reply_bytes(operations: usize, payload_bytes: usize) -> usize {
    MESSAGE_BYTES + REPLY_BYTES + operations * (RESULT_BYTES + payload_bytes)
}

pub(super) const fn greeting_bytes() -> usize {
    MESSAGE_BYTES + GREETING_BYTES
}

fn put(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

fn take(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn put_short(bytes: &mut [u8], at: usize, value: usize) {
    let value = u32::try_from(value).expect("lengths and counts of a datagram fit");
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

fn take_short(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes")) as usize
}

/// Stands for a digest of `value`: the odd factor is that of Fibonacci hashing, 2^64 divided by the golden ratio.
const fn digest(value: u64) -> u64 {
    (value ^ 0x4c47_4e50).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// Writes the packet's header. The body of `body_bytes` stands behind it.
pub(super) fn write_header(packet: &mut [u8], run: u64, sender: usize, body_bytes: usize) {
    packet[..HEADER_BYTES].fill(0);
    packet[..4].copy_from_slice(&MAGIC);
    packet[4] = sender as u8;
    put(packet, 8, run);
    put_short(packet, 36, body_bytes);
}

/// Writes a message's header; its layout stands behind it.
fn write_message(message: &mut [u8], kind: Kind) {
    let length = message.len();
    message[..4].copy_from_slice(&[kind as u8, 0, 0, 0]);
    put_short(message, 4, length);
}

/// One operation's bytes: different for each, and their complement is the result.
fn operation(number: u64, index: usize) -> [u8; 8] {
    digest(number.wrapping_mul(4096).wrapping_add(index as u64)).to_le_bytes()
}

pub(super) fn write_request(message: &mut [u8], number: u64, operations: usize, payload_bytes: usize) {
    write_message(message, Kind::Request);
    let layout = &mut message[MESSAGE_BYTES..];
    layout[..REQUEST_BYTES].fill(0);
    put(layout, 0, number);
    let mut at = REQUEST_BYTES;
    for index in 0..operations {
        put(layout, at, 0);
        put(layout, at + 8, index as u64);
        put_short(layout, at + 16, payload_bytes);
        at += OPERATION_BYTES;
        fill(&mut layout[at..at + payload_bytes], operation(number, index));
        at += payload_bytes;
    }
}

/// Repeats eight bytes over a payload.
fn fill(payload: &mut [u8], pattern: [u8; 8]) {
    for chunk in payload.chunks_mut(8) {
        chunk.copy_from_slice(&pattern[..chunk.len()]);
    }
}

pub(super) fn write_pre_prepare(message: &mut [u8], sequence: u64, numbers: &[u64]) {
    write_message(message, Kind::PrePrepare);
    let layout = &mut message[MESSAGE_BYTES..];
    layout[..PRE_PREPARE_BYTES].fill(0);
    put(layout, 0, sequence);
    put_short(layout, 8, numbers.len());
    for (entry, &number) in layout[PRE_PREPARE_BYTES..].chunks_exact_mut(BATCH_ENTRY_BYTES).zip(numbers) {
        put(entry, 0, number);
        put(entry, 24, digest(number));
    }
}

pub(super) fn write_vote(message: &mut [u8], kind: Kind, sequence: u64) {
    write_message(message, kind);
    let layout = &mut message[MESSAGE_BYTES..];
    put(layout, 0, sequence);
    put(layout, 16, digest(sequence));
}

/// `operations` is the body of the request that is answered.
pub(super) fn write_reply(message: &mut [u8], sequence: u64, request: &RequestView<'_>) {
    write_message(message, Kind::Reply);
    let layout = &mut message[MESSAGE_BYTES..];
    layout[..REPLY_BYTES].fill(0);
    put(layout, 0, sequence);
    put(layout, 8, request.number);
    let mut at = REPLY_BYTES;
    for payload in request.payloads() {
        put_short(layout, at, payload.len());
        at += RESULT_BYTES;
        for (result, byte) in layout[at..at + payload.len()].iter_mut().zip(payload) {
            *result = !byte;
        }
        at += payload.len();
    }
}

pub(super) fn write_greeting(message: &mut [u8]) {
    write_message(message, Kind::Greeting);
    message[MESSAGE_BYTES..].fill(0);
}

/// A packet of this run: who says to have sent it, and its messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct PacketView<'a> {
    pub(super) sender: usize,
    body: &'a [u8],
}

impl<'a> PacketView<'a> {
    /// Cuts a datagram; nothing when it belongs to something else.
    pub(super) fn of_run(datagram: &'a [u8], run: u64) -> Option<Result<Self, &'static str>> {
        if datagram.len() < HEADER_BYTES || datagram[..4] != MAGIC || take(datagram, 8) != run {
            return None;
        }
        let body_bytes = take_short(datagram, 36);
        let Some(body) = datagram[HEADER_BYTES..].get(..body_bytes) else {
            return Some(Err("it is shorter than its header says"));
        };
        Some(Ok(Self { sender: usize::from(datagram[4]), body }))
    }

    /// The messages in order; the first malformed one ends them.
    pub(super) fn messages(&self) -> impl Iterator<Item = Result<MessageView<'a>, &'static str>> + use<'a> {
        let mut rest = self.body;
        std::iter::from_fn(move || {
            if rest.is_empty() {
                return None;
            }
            let length = if rest.len() < MESSAGE_BYTES { 0 } else { take_short(rest, 4) };
            if length < MESSAGE_BYTES || length > rest.len() {
                rest = &[];
                return Some(Err("a message is cut off"));
            }
            let (message, behind) = rest.split_at(length);
            rest = behind;
            Some(MessageView::read(message))
        })
    }
}

/// A message, cut and checked as far as it can be without knowing the state.
#[derive(Clone, Copy, Debug)]
pub(super) enum MessageView<'a> {
    Request(RequestView<'a>),
    PrePrepare { sequence: u64, entries: &'a [u8] },
    Prepare { sequence: u64 },
    Commit { sequence: u64 },
    Reply { sequence: u64, number: u64, results: &'a [u8] },
    Greeting,
}

/// A request; also as replicas keep it.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestView<'a> {
    pub(super) number: u64,
    /// All operations, one after the other.
    pub(super) operations: &'a [u8],
}

impl<'a> RequestView<'a> {
    /// The operations' bytes, up to the first that is cut off.
    pub(super) fn payloads(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.operations;
        std::iter::from_fn(move || {
            let (header, behind) = rest.split_at_checked(OPERATION_BYTES)?;
            let (payload, behind) = behind.split_at_checked(take_short(header, 16))?;
            rest = behind;
            Some(payload)
        })
    }
}

impl<'a> MessageView<'a> {
    fn read(message: &'a [u8]) -> Result<Self, &'static str> {
        let layout = &message[MESSAGE_BYTES..];
        let kind = Kind::from_byte(message[0]).ok_or("a message is of no known kind")?;
        let long_enough = match kind {
            Kind::Request => layout.len() >= REQUEST_BYTES,
            Kind::PrePrepare => {
                layout.len() >= PRE_PREPARE_BYTES
                    && layout.len() == PRE_PREPARE_BYTES + take_short(layout, 8) * BATCH_ENTRY_BYTES
            }
            Kind::Prepare | Kind::Commit => layout.len() == VOTE_BYTES,
            Kind::Reply => layout.len() >= REPLY_BYTES,
            Kind::Greeting => layout.len() == GREETING_BYTES,
        };
        if !long_enough {
            return Err("a message has the wrong length");
        }
        let sequence = || take(layout, 0);
        match kind {
            Kind::Request => {
                Ok(Self::Request(RequestView { number: take(layout, 0), operations: &layout[REQUEST_BYTES..] }))
            }
            Kind::PrePrepare => Ok(Self::PrePrepare { sequence: sequence(), entries: &layout[PRE_PREPARE_BYTES..] }),
            Kind::Prepare | Kind::Commit if take(layout, 16) != digest(sequence()) => {
                Err("a vote is for something else")
            }
            Kind::Prepare => Ok(Self::Prepare { sequence: sequence() }),
            Kind::Commit => Ok(Self::Commit { sequence: sequence() }),
            Kind::Reply => {
                Ok(Self::Reply { sequence: sequence(), number: take(layout, 8), results: &layout[REPLY_BYTES..] })
            }
            Kind::Greeting => Ok(Self::Greeting),
        }
    }
}

/// The requests that a pre-prepare names.
pub(super) fn batch_numbers(entries: &[u8]) -> impl Iterator<Item = Result<u64, &'static str>> + '_ {
    entries.chunks_exact(BATCH_ENTRY_BYTES).map(|entry| {
        let number = take(entry, 0);
        if take(entry, 24) == digest(number) { Ok(number) } else { Err("a pre-prepare names a damaged request") }
    })
}

/// Whether `results` are exactly those of request `number`.
pub(super) fn results_right(results: &[u8], number: u64, operations: usize, payload_bytes: usize) -> bool {
    if results.len() != operations * (RESULT_BYTES + payload_bytes) {
        return false;
    }
    results.chunks_exact(RESULT_BYTES + payload_bytes).enumerate().all(|(index, result)| {
        let expected = operation(number, index).map(|byte| !byte);
        let right = |chunk: &[u8]| *chunk == expected[..chunk.len()];
        take_short(result, 0) == payload_bytes && result[RESULT_BYTES..].chunks(8).all(right)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: u64 = 77;

    fn packet(messages: &[Vec<u8>]) -> Vec<u8> {
        let body = messages.concat();
        let mut packet = vec![0; HEADER_BYTES];
        write_header(&mut packet, RUN, 3, body.len());
        packet.extend_from_slice(&body);
        packet.resize(packet.len() + 4 * ENTRY_BYTES, 0xaa);
        packet
    }

    fn request(number: u64, operations: usize, payload_bytes: usize) -> Vec<u8> {
        let mut message = vec![0xff; request_bytes(operations, payload_bytes)];
        write_request(&mut message, number, operations, payload_bytes);
        message
    }

    #[test]
    fn every_message_reads_back() {
        let mut pre_prepare = vec![0xff; pre_prepare_bytes(3)];
        write_pre_prepare(&mut pre_prepare, 9, &[5, 6, 7]);
        let vote = |kind| {
            let mut vote = vec![0xff; vote_bytes()];
            write_vote(&mut vote, kind, 9);
            vote
        };
        let mut greeting = vec![0xff; greeting_bytes()];
        write_greeting(&mut greeting);
        let packet = packet(&[request(5, 2, 13), pre_prepare, vote(Kind::Prepare), vote(Kind::Commit), greeting]);
        let view = PacketView::of_run(&packet, RUN).unwrap().unwrap();
        assert_eq!(view.sender, 3);
        let messages: Vec<MessageView<'_>> = view.messages().map(Result::unwrap).collect();
        let [
            MessageView::Request(request),
            MessageView::PrePrepare { sequence: 9, entries },
            MessageView::Prepare { sequence: 9 },
            MessageView::Commit { sequence: 9 },
            MessageView::Greeting,
        ] = messages[..]
        else {
            panic!("{messages:?}")
        };
        assert_eq!((request.number, request.payloads().map(<[u8]>::len).collect::<Vec<_>>()), (5, vec![13, 13]));
        assert_eq!(batch_numbers(entries).collect::<Vec<_>>(), [Ok(5), Ok(6), Ok(7)]);
    }

    #[test]
    fn a_reply_holds_the_complement_and_any_changed_bit_is_wrong() {
        for payload_bytes in [0, 1, 8, 21] {
            let body = request(11, 3, payload_bytes);
            let view = RequestView { number: 11, operations: &body[MESSAGE_BYTES + REQUEST_BYTES..] };
            let mut reply = vec![0xff; reply_bytes(3, payload_bytes)];
            write_reply(&mut reply, 4, &view);
            let Ok(MessageView::Reply { sequence: 4, number: 11, results }) = MessageView::read(&reply) else {
                panic!("no reply")
            };
            assert!(results_right(results, 11, 3, payload_bytes));
            assert!(!results_right(results, 11, 2, payload_bytes));
            for bit in 0..results.len() * 8 {
                let mut changed = results.to_vec();
                changed[bit / 8] ^= 1 << (bit % 8);
                assert!(!results_right(&changed, 11, 3, payload_bytes), "bit {bit}");
            }
        }
    }

    #[test]
    fn sizes_are_those_of_the_engine() {
        use logothete_engine::numbers::{ClientId, Incarnation, RequestNumber, SequenceNumber, View};
        use logothete_engine::wire::agreement::{BatchEntry, Vote, append_pre_prepare};
        use logothete_engine::wire::reply::{Answer, Mode, REPLY_OVERHEAD_BYTES, Reply};
        use logothete_engine::wire::request::{self, REQUEST_OVERHEAD_BYTES, RequestName};
        use logothete_engine::wire::{operation, packet};

        assert_eq!((HEADER_BYTES, ENTRY_BYTES), (packet::HEADER_BYTES, packet::ENTRY_BYTES));
        assert_eq!(MESSAGE_BYTES + REQUEST_BYTES, REQUEST_OVERHEAD_BYTES);
        assert_eq!(MESSAGE_BYTES + REPLY_BYTES, REPLY_OVERHEAD_BYTES);
        assert_eq!(OPERATION_BYTES, operation::OPERATION_HEADER_BYTES);
        let (client, incarnation, number) = (ClientId(0), Incarnation(1), RequestNumber(2));
        let name = RequestName { client, incarnation, number };
        let written = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut bytes = Vec::new();
            write(&mut bytes);
            bytes.len()
        };
        let entries = [BatchEntry::new(name, Default::default()); 3];
        let (view, sequence) = (View(0), SequenceNumber(1));
        let operations = [0; 2 * (OPERATION_BYTES + 8)];
        assert_eq!(written(&|out| request::append(out, name, 2, &operations)), request_bytes(2, 8));
        assert_eq!(written(&|out| append_pre_prepare(out, view, sequence, 9, &entries)), pre_prepare_bytes(3));
        let vote = Vote::new(view, sequence, Default::default());
        assert_eq!(written(&|out| vote.append_prepare(out)), vote_bytes());
        let results = [0; 2 * (RESULT_BYTES + 8)];
        let (request, mode, results) = (Default::default(), Mode::Committed, Answer::Full(&results));
        let reply = Reply { view, sequence, incarnation, number, request, mode, results };
        assert_eq!(written(&|out| reply.append(out)), reply_bytes(2, 8));
    }

    #[test]
    fn foreign_and_damaged_datagrams_are_told_apart() {
        let good = packet(&[request(1, 1, 8)]);
        assert!(PacketView::of_run(&good, RUN + 1).is_none());
        assert!(PacketView::of_run(&good[..20], RUN).is_none());
        assert!(PacketView::of_run(&good[..HEADER_BYTES + 5], RUN).unwrap().is_err());
        let mut kind = good.clone();
        kind[HEADER_BYTES] = 99;
        let first =
            |packet: &[u8]| PacketView::of_run(packet, RUN).unwrap().unwrap().messages().next().unwrap().is_err();
        assert!(first(&kind));
        for length in [0, 7, 1_000_000] {
            let mut cut = good.clone();
            put_short(&mut cut, HEADER_BYTES + 4, length);
            assert!(first(&cut));
        }
    }
}
