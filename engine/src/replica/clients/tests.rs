//! The client table: order, turns, replies, shares, demotion.

use super::*;
use crate::replica::bodies::PartShape;

const CLIENT: ClientId = ClientId(0);

fn name(incarnation: u64, number: u64) -> RequestName {
    RequestName { client: CLIENT, incarnation: Incarnation(incarnation), number: RequestNumber(number) }
}

struct Table {
    clients: Clients,
    bodies: Bodies,
}

impl Table {
    fn new() -> Self {
        let shape = PartShape::of(1472, 4);
        Self { clients: Clients::new(2, 4, 1 << 16, 64, 64), bodies: Bodies::new(1 << 20, 1024, shape) }
    }

    fn arrive(&mut self, name: RequestName) -> Admission {
        let admission = self.clients.admission(name, &self.bodies);
        if admission == Admission::New {
            let body = self.bodies.store(&[0; 128], 48..100, name, Digest([name.number.0 as u8; 32]), true, 0).unwrap();
            self.clients.hold(name, body, &mut self.bodies);
        }
        admission
    }

    fn execute(&mut self, name: RequestName) -> bool {
        self.clients.schedule(name, &mut self.bodies, 0)
    }

    fn propose(&mut self) -> Option<RequestName> {
        self.clients.next_to_propose(&self.bodies, |_| true).map(|body| self.bodies.name(body))
    }
}

/// `protocol.md CL-3`: in the client's order, each once.
#[test]
fn requests_execute_once_and_in_order() {
    let mut table = Table::new();
    assert!(table.execute(name(5, 0)));
    assert!(!table.execute(name(5, 2)), "out of order");
    assert!(table.execute(name(5, 1)));
    assert!(!table.execute(name(5, 1)), "twice");
    assert!(table.execute(name(5, 2)));
    assert!(!table.execute(name(4, 3)), "an older incarnation");
    assert!(!table.execute(name(5, 0)), "the same incarnation opened again");
    assert!(table.execute(name(6, 0)));
    assert!(!table.execute(name(5, 3)));
    assert!(table.execute(name(6, 1)));
    assert!(!table.execute(RequestName { client: ClientId(9), ..name(1, 0) }), "an unknown client");
}

/// `protocol.md NC-2`, `CL-4`
#[test]
fn a_primary_proposes_in_the_clients_order_and_each_once() {
    let mut table = Table::new();
    assert_eq!(table.arrive(name(5, 2)), Admission::New);
    assert_eq!(table.propose(), None, "its incarnation is not open");
    assert_eq!(table.arrive(name(5, 0)), Admission::New);
    assert_eq!(table.propose(), Some(name(5, 0)));
    assert_eq!(table.propose(), None, "number 1 is missing");
    assert_eq!(table.arrive(name(5, 1)), Admission::New);
    assert!(matches!(table.arrive(name(5, 1)), Admission::Waits(_)));
    assert_eq!((table.propose(), table.propose(), table.propose()), (Some(name(5, 1)), Some(name(5, 2)), None));
    for number in 0..=2 {
        assert!(table.execute(name(5, number)));
    }
    assert_eq!(table.arrive(name(5, 1)), Admission::Executed);
    assert_eq!(table.arrive(name(4, 9)), Admission::Superseded(Incarnation(5)));
    assert_eq!(table.arrive(name(5, 2 + 16)), Admission::New);
    assert_eq!(table.arrive(name(5, 2 + 17)), Admission::BeyondWindow);
}

/// `protocol.md NC-2`
#[test]
fn clients_take_turns() {
    let mut table = Table::new();
    for client in [0, 1] {
        for number in 0..3 {
            table.arrive(RequestName { client: ClientId(client), ..name(1, number) });
        }
    }
    let order: Vec<_> = std::iter::from_fn(|| table.propose()).map(|name| name.client.0).collect();
    assert_eq!(order, [1, 0, 1, 0, 1, 0]);
}

/// `protocol.md CL-4`
#[test]
fn replies_are_held_for_a_window_and_forgotten_by_a_new_incarnation() {
    let mut table = Table::new();
    table.execute(name(5, 0));
    for number in 1..=6 {
        assert!(table.execute(name(5, number)));
        table.clients.keep_reply(name(5, number), Digest([9; 32]), SequenceNumber(number), &[number as u8]);
    }
    assert_eq!(table.clients.reply(name(5, 2)), None);
    let held = HeldReply { request: Digest([9; 32]), sequence: SequenceNumber(3), results: &[3] };
    assert_eq!(table.clients.reply(name(5, 3)), Some(held));
    table.execute(name(6, 0));
    assert_eq!(table.clients.reply(name(5, 6)), None);
    assert_eq!(table.clients.reply(name(6, 6)), None);
}

/// `protocol.md BP-3`: what a client lets wait takes nothing from the others, and room comes back.
#[test]
fn a_client_has_a_share_of_its_own() {
    let mut table = Table::new();
    table.clients.waiting_bytes_max = 300;
    assert!(table.clients.has_room(CLIENT, 128));
    table.arrive(name(5, 0));
    table.arrive(name(5, 1));
    assert!(!table.clients.has_room(CLIENT, 128));
    assert!(table.clients.has_room(ClientId(1), 128));
    assert!(table.execute(name(5, 0)) && table.execute(name(5, 1)));
    assert!(table.clients.has_room(CLIENT, 256));
    assert_eq!(table.clients.states[0].waiting_bytes, 0);
}

/// `protocol.md DM-5`: what waits without a signature goes, and its numbers can be proposed again.
#[test]
fn a_demotion_lets_go_of_what_waits() {
    let mut table = Table::new();
    table.execute(name(5, 0));
    table.arrive(name(5, 1));
    table.arrive(name(5, 2));
    table.arrive(name(6, 0));
    assert_eq!(table.propose(), Some(name(6, 0)));
    assert!(table.clients.demote(CLIENT, &mut table.bodies) && !table.clients.demote(CLIENT, &mut table.bodies));
    assert!(!table.clients.demote(ClientId(9), &mut table.bodies) && !table.clients.must_sign(ClientId(9)));
    assert!(table.clients.must_sign(CLIENT) && !table.clients.must_sign(ClientId(1)));
    assert_eq!(table.clients.demoted().collect::<Vec<_>>(), [CLIENT]);
    assert_eq!((table.clients.states[0].waiting_bytes, table.propose()), (0, None));
    assert!(table.clients.is_next(name(5, 1)) && table.clients.is_next(name(6, 0)));
    assert!(!table.clients.is_next(name(5, 2)) && !table.clients.is_next(name(5, 0)));
    // Proposed without a signature by somebody else, void, and there to be proposed again.
    assert_eq!(table.arrive(name(5, 1)), Admission::New);
    table.clients.mark_proposed(name(5, 1));
    assert_eq!(table.propose(), None);
    table.clients.pass_over(name(5, 1));
    assert_eq!(table.propose(), Some(name(5, 1)));
    assert!(table.execute(name(5, 1)), "nothing was burnt");
}
