//! Everybody at a table, each with the keys of a process: four replicas, a client and the operator. Who is hostile is the same everywhere.
//!
//! Keys are exchanged once a thread: that takes longer than an input. Packet counters go on from one input to the next, and nothing else does.

use logothete_engine::authentication::Incoming;
use logothete_engine::numbers::{ClientId, Principal, ReplicaId};
use logothete_engine::wire::Audience;
use logothete_engine::wire::framing::MESSAGE_HEADER_BYTES;
use logothete_simulator::world::random::Random;
use logothete_simulator::world::seat::{Register, Seat};
use std::cell::RefCell;

/// Who has keys; the last client is the operator.
pub const REGISTER: Register = Register { replicas: 4, clients: 2, stand_ins: false };

/// The replica that lies, of the one that a cluster of four withstands.
pub const HOSTILE_ID: ReplicaId = ReplicaId(3);
pub const HOSTILE: Principal = Principal::Replica(HOSTILE_ID);

/// The client that lies.
pub const CLIENT: Principal = Principal::Client(ClientId(0));
pub const OPERATOR: Principal = Principal::Client(ClientId(1));

pub const fn client_id() -> ClientId {
    ClientId(0)
}

/// The replicas that do not lie.
pub const CORRECT: [ReplicaId; 3] = [ReplicaId(0), ReplicaId(1), ReplicaId(2)];

thread_local! {
    static SEATS: RefCell<Vec<(Principal, Seat)>> = RefCell::new(seats());
}

fn seats() -> Vec<(Principal, Seat)> {
    let mut random = Random::new(1);
    let replicas = (0..4).map(|id| Principal::Replica(ReplicaId(id)));
    let everybody = replicas.chain([CLIENT, OPERATOR]);
    let mut seats: Vec<_> = everybody.map(|who| (who, Seat::new(who, REGISTER, &mut random))).collect();
    for at in 0..seats.len() {
        let (earlier, later) = seats.split_at_mut(at);
        let (who, seat) = &mut later[0];
        for (other, other_seat) in earlier {
            if matches!(who, Principal::Replica(_)) || matches!(other, Principal::Replica(_)) {
                seat.introduce(other_seat);
            }
        }
    }
    seats
}

fn with<R>(who: Principal, act: impl FnOnce(&mut Seat) -> R) -> R {
    SEATS.with_borrow_mut(|seats| {
        let (_, seat) = seats.iter_mut().find(|(seated, _)| *seated == who).expect("who plays sits at the table");
        act(seat)
    })
}

/// The epoch that a process's packets name.
pub fn epoch(of: Principal) -> u64 {
    with(of, |seat| seat.epoch())
}

/// A datagram of a body, whose messages are counted as far as they can be.
pub fn seal(from: Principal, audience: Audience, body: &[u8]) -> Vec<u8> {
    with(from, |seat| seat.seal(audience, body, messages_in(body)))
}

/// Gives a datagram that `transmitter` sent to `to`, which looks at it as production does.
pub fn receive<R>(
    to: Principal,
    transmitter: Principal,
    datagram: &[u8],
    act: impl FnOnce(Option<Incoming<'_>>) -> R,
) -> R {
    let incoming = with(to, |seat| seat.verify(transmitter, datagram).ok());
    act(incoming)
}

/// How many messages a body claims to have, by their lengths.
fn messages_in(body: &[u8]) -> u16 {
    let (mut at, mut count) = (0usize, 0);
    while let Some(length) = body.get(at + 4..at + 8) {
        let length = u32::from_le_bytes(length.try_into().expect("four bytes")) as usize;
        at = at.saturating_add(length.max(MESSAGE_HEADER_BYTES));
        count += 1;
    }
    count
}
