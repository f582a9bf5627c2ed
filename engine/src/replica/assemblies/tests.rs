use super::*;
use crate::numbers::{Incarnation, RequestNumber};
use crate::replica::bodies::PartShape;
use crate::wire::packet::HEADER_BYTES;
use crate::wire::parts::REQUEST_PART_OVERHEAD_BYTES;
use logothete_crypto::digest;

const CLIENT: ClientId = ClientId(0);
const SHAPE: PartShape = PartShape { piece_bytes: 1000, vector_bytes: 80 };
/// Each client's share.
const SHARE: usize = 64 << 10;

struct Table {
    assemblies: Assemblies,
    clients: Clients,
    bodies: Bodies,
}

/// A request that a client sends in parts.
struct Sent {
    name: RequestName,
    message: Vec<u8>,
    digest: Digest,
}

impl Sent {
    fn new(number: u64, bytes: usize) -> Self {
        let message: Vec<u8> = (0..bytes).map(|at| (at as u64 / 3 + number) as u8).collect();
        let digest = digest(&message);
        Self { name: name(1, number), message, digest }
    }

    fn count(&self) -> usize {
        SHAPE.count(self.message.len())
    }

    fn part(&self, index: usize) -> RequestPart<'_> {
        let bytes = &self.message[SHAPE.piece(self.message.len(), index)];
        RequestPart { name: self.name, digest: self.digest, total_bytes: self.message.len(), index, bytes }
    }
}

fn name(incarnation: u64, number: u64) -> RequestName {
    RequestName { client: CLIENT, incarnation: Incarnation(incarnation), number: RequestNumber(number) }
}

/// What a packet of a part looks like from here.
fn packet(part: &RequestPart<'_>) -> Vec<u8> {
    [&[1; HEADER_BYTES + REQUEST_PART_OVERHEAD_BYTES][..], part.bytes, &[2; 80]].concat()
}

impl Table {
    fn new() -> Self {
        Self {
            assemblies: Assemblies::new(),
            clients: Clients::new(2, 32, SHARE, 64, 64),
            bodies: Bodies::new(1 << 20, 1024, SHAPE),
        }
    }

    fn take(&mut self, now_ns: u64, part: &RequestPart<'_>, way: Way) -> Result<Option<BodyRef>, Reject> {
        self.assemblies.take(now_ns, part, &packet(part), way, &mut self.clients, &mut self.bodies)
    }

    fn direct(&mut self, part: &RequestPart<'_>) -> Result<Option<BodyRef>, Reject> {
        self.take(0, part, Way::Direct)
    }

    /// All but the last part; then the last.
    fn whole(&mut self, sent: &Sent, way: Way) -> Result<Option<BodyRef>, Reject> {
        for index in 0..sent.count() - 1 {
            assert_eq!(self.take(0, &sent.part(index), way), Ok(None));
        }
        self.take(0, &sent.part(sent.count() - 1), way)
    }

    fn is_clean(&self) -> bool {
        self.assemblies.is_empty() && self.clients.has_room(CLIENT, SHARE)
    }
}

/// `protocol.md LR-2`
#[test]
fn a_request_is_whole_when_all_its_parts_are_here() {
    let mut table = Table::new();
    let sent = Sent::new(1, 4321);
    let body = table.whole(&sent, Way::Direct).unwrap().unwrap();
    assert_eq!((table.bodies.message(body), table.bodies.is_authentic(body)), (&sent.message[..], true));
    assert!(table.is_clean());
    // What others relay without the client's proof is whole, but proves nothing.
    let relayed = table.whole(&Sent::new(2, 4321), Way::Relayed { authentic: false }).unwrap().unwrap();
    assert!(!table.bodies.is_authentic(relayed));
}

/// `protocol.md LR-3`: parts that contradict what is here: another length, another digest under the same name, another cut.
#[test]
fn parts_that_contradict_are_rejected() {
    let mut table = Table::new();
    let (sent, other) = (Sent::new(1, 4321), Sent::new(2, 4321));
    assert_eq!(table.direct(&sent.part(0)), Ok(None));
    let part = sent.part(1);
    let longer = RequestPart { total_bytes: 4999, ..part };
    assert_eq!(table.direct(&longer), Err(Reject::PartConflict));
    let same_name = RequestPart { name: sent.name, ..other.part(1) };
    assert_eq!(table.direct(&same_name), Err(Reject::PartConflict));
    for odd in [
        RequestPart { index: 5, ..part },
        RequestPart { index: usize::MAX, ..part },
        RequestPart { bytes: &part.bytes[1..], ..part },
    ] {
        assert_eq!(table.direct(&odd), Err(Reject::PartMisfit));
    }
    assert_eq!(table.direct(&sent.part(0)), Err(Reject::RequestDuplicate));
    for index in 1..4 {
        assert_eq!(table.direct(&sent.part(index)), Ok(None));
    }
    assert!(table.direct(&sent.part(4)).unwrap().is_some(), "none of it did harm");
}

/// `protocol.md LR-4`: a client that gives a name to two requests cannot keep the one that the others agreed on from being fetched.
#[test]
fn another_digest_under_the_same_name_is_another_request() {
    let mut table = Table::new();
    let (sent, other) = (Sent::new(1, 4321), Sent::new(2, 2345));
    assert_eq!(table.direct(&sent.part(0)), Ok(None));
    let agreed = Sent { name: sent.name, ..other };
    assert!(table.whole(&agreed, Way::Relayed { authentic: true }).unwrap().is_some());
    assert!(table.assemblies.find(sent.name, &sent.digest, &table.bodies).is_some());
}

/// `protocol.md LR-4`: junk under a digest is found out when it is whole; then only what others relay is taken for it.
#[test]
fn junk_does_not_keep_the_right_parts_away() {
    let mut table = Table::new();
    let mut junk = Sent::new(1, 2500);
    let right = Sent::new(1, 2500);
    junk.message[7] ^= 1;
    assert_eq!(table.whole(&junk, Way::Direct), Err(Reject::PartsUnsound));
    assert!(table.is_clean());
    assert_eq!(table.direct(&junk.part(0)), Err(Reject::PartsUnsound));
    // Unproven junk, of another length too, gives way to what is proven.
    let longer = RequestPart { total_bytes: 2999, ..right.part(0) };
    assert_eq!(table.take(0, &longer, Way::Relayed { authentic: false }), Ok(None));
    assert_eq!(table.take(0, &right.part(0), Way::Relayed { authentic: true }), Ok(None));
    assert_eq!(table.take(0, &longer, Way::Relayed { authentic: false }), Err(Reject::PartConflict));
    assert_eq!(table.take(0, &junk.part(1), Way::Relayed { authentic: false }), Ok(None));
    assert_eq!(table.take(0, &right.part(1), Way::Relayed { authentic: true }), Ok(None));
    assert!(table.take(0, &right.part(2), Way::Relayed { authentic: true }).unwrap().is_some());
}

/// `protocol.md LR-3`: whatever a client begins and does not finish stays in its share, and what comes first in its order has room there.
#[test]
fn a_flood_of_unfinished_requests_stays_in_its_clients_share() {
    let mut table = Table::new();
    let mut refused = 0;
    for number in 2..100 {
        match table.direct(&Sent::new(number, 10_000).part(0)) {
            Ok(None) => {}
            Err(Reject::Overloaded) => refused += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(table.assemblies.unfinished.len(), SHARE / SHAPE.body_bytes(10_000));
    assert_eq!(refused, 98 - table.assemblies.unfinished.len());
    assert!(table.clients.has_room(ClientId(1), SHARE), "the other client's share is its own");
    let (first, last) = (Sent::new(1, 10_000), name(1, 6));
    assert!(table.assemblies.unfinished.iter().any(|held| table.bodies.name(held.body) == last));
    assert!(table.whole(&first, Way::Direct).unwrap().is_some());
    assert!(!table.assemblies.unfinished.iter().any(|held| table.bodies.name(held.body) == last), "the last gave way");
    // A new start of the client makes room for itself.
    let restarted = Sent { name: name(2, 5), ..Sent::new(5, 50_000) };
    assert_eq!(table.direct(&restarted.part(0)), Ok(None));
    assert_eq!(table.direct(&Sent::new(1, 30_000).part(0)), Err(Reject::Overloaded));
    // Short ones are bounded by their number.
    let mut table = Table::new();
    table.clients = Clients::new(2, 32, 1 << 20, 64, 64);
    table.bodies = Bodies::new(4 << 20, 1024, SHAPE);
    for number in (100..200).rev() {
        let begun = table.direct(&Sent::new(number, 1001).part(0));
        assert!(matches!(begun, Ok(None) | Err(Reject::Overloaded)));
    }
    assert_eq!(table.assemblies.unfinished.len(), PARTS_UNFINISHED_MAX);
}

/// `protocol.md LR-3`: without a client's proof little is begun, so that a faulty replica cannot fill the store.
#[test]
fn what_nobody_proves_is_bounded() {
    let mut table = Table::new();
    let unproven = Way::Relayed { authentic: false };
    let begun = (1..40).filter(|number| table.take(0, &Sent::new(*number, 5000).part(0), unproven).is_ok()).count();
    assert_eq!(begun, PARTS_UNPROVEN_MAX);
    assert_eq!(table.take(0, &Sent::new(50, 5000).part(0), Way::Relayed { authentic: true }), Ok(None));
}

/// `protocol.md LR-3`
#[test]
fn what_is_waited_for_in_vain_or_executed_is_forgotten() {
    let mut table = Table::new();
    assert!(table.clients.schedule(name(1, 0), &mut table.bodies, 0));
    let (one, two) = (Sent::new(1, 5000), Sent::new(2, 5000));
    assert_eq!(table.take(0, &one.part(0), Way::Direct), Ok(None));
    assert_eq!(table.take(0, &two.part(0), Way::Direct), Ok(None));
    let sweep = |table: &mut Table, now_ns| table.assemblies.sweep(now_ns, &mut table.clients, &mut table.bodies);
    sweep(&mut table, PARTS_PATIENCE_NS - 1);
    assert_eq!(table.assemblies.unfinished.len(), 2);
    // Others executed it: the rest of its parts is of no use.
    assert!(table.clients.schedule(one.name, &mut table.bodies, 0));
    sweep(&mut table, PARTS_PATIENCE_NS - 1);
    assert_eq!(table.assemblies.unfinished.len(), 1);
    // A part that comes again keeps it alive: its client is still there.
    assert_eq!(table.take(PARTS_PATIENCE_NS - 1, &two.part(0), Way::Direct), Err(Reject::RequestDuplicate));
    sweep(&mut table, 2 * PARTS_PATIENCE_NS - 2);
    assert_eq!(table.assemblies.unfinished.len(), 1);
    sweep(&mut table, 2 * PARTS_PATIENCE_NS - 1);
    assert!(table.is_clean());
}
