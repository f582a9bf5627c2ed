use super::*;
use crate::replica::bodies::PartShape;
use crate::wire::request::RequestName;
use logothete_crypto::Digest;
use proptest::collection::vec;
use proptest::prelude::*;

const WINDOW: u64 = 4;
const REPLY_BYTES: usize = 2 * PAGE_BYTES;
const HEADER: EngineHeader = EngineHeader { sequence: SequenceNumber(1000), timestamp_ns: 77 };

fn table() -> Clients {
    Clients::new(3, WINDOW, 1 << 16, REPLY_BYTES, REPLY_BYTES)
}

fn bodies() -> Bodies {
    Bodies::new(1 << 20, 1024, PartShape::of(1472, 4))
}

fn name(client: u16, incarnation: u64, number: u64) -> RequestName {
    let (incarnation, number) = (Incarnation(incarnation), RequestNumber(number));
    RequestName { client: ClientId(client), incarnation, number }
}

fn state_of(table: &Clients) -> State {
    let mut state = State::new(ENGINE_PAGES + 1);
    table.write_to(&mut state, HEADER);
    state
}

fn digest_of(state: &State) -> Digest {
    state.snapshot().digest()
}

/// A client's next request, or a new incarnation of it, and the size of the results.
#[derive(Clone, Debug)]
enum Step {
    Next(u16, usize),
    Open(u16),
    Write,
}

fn step() -> impl Strategy<Value = Step> {
    let bytes = prop_oneof![
        0_usize..40,
        SHORT_BYTES_MAX - 2..SHORT_BYTES_MAX + 3,
        PAGE_BYTES - 2..PAGE_BYTES + 3,
        0..REPLY_BYTES + 1
    ];
    prop_oneof![
        8 => (0_u16..3, bytes).prop_map(|(client, bytes)| Step::Next(client, bytes)),
        1 => (0_u16..3).prop_map(Step::Open),
        1 => Just(Step::Write),
    ]
}

fn run(table: &mut Clients, state: &mut State, steps: &[Step], sequence: &mut u64) {
    let mut bodies = bodies();
    for step in steps {
        *sequence += 1;
        let (name, bytes) = match *step {
            Step::Write => {
                table.write_to(state, HEADER);
                continue;
            }
            Step::Open(client) => (name(client, table.states[usize::from(client)].incarnation.0 + 1, 0), 0),
            Step::Next(client, bytes) => {
                let own = &table.states[usize::from(client)];
                (name(client, own.incarnation.0, own.last.next().0), bytes)
            }
        };
        if name.incarnation > Incarnation(0) {
            assert!(table.schedule(name, &mut bodies, 0));
            table.keep_reply(
                name,
                Digest([*sequence as u8; 32]),
                SequenceNumber(*sequence),
                &vec![*sequence as u8 | 1; bytes],
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// `protocol.md SP-2`: the pages depend on the table alone, not on when they were written, and a table reads back from them.
    #[test]
    fn pages_are_canonical_and_read_back(steps in vec(step(), 0..60), later in vec(step(), 0..20)) {
        let (mut own, mut sequence) = (table(), 0);
        let mut state = State::new(ENGINE_PAGES + 1);
        run(&mut own, &mut state, &steps, &mut sequence);
        own.write_to(&mut state, HEADER);
        prop_assert_eq!(digest_of(&state), digest_of(&state_of(&own)));

        let snapshot = state.snapshot();
        let mut read = table();
        prop_assert_eq!(read.read_from(&state, &mut bodies()), Ok(HEADER));
        prop_assert_eq!(digest_of(&state_of(&read)), snapshot.digest());

        // On into a future, back, and into another: as if the first had never been.
        run(&mut own, &mut state, &later, &mut sequence.clone());
        own.write_to(&mut state, HEADER);
        state.restore(&snapshot);
        own.read_from(&state, &mut bodies()).unwrap();
        for table in [&mut own, &mut read] {
            let mut state = State::of(&snapshot);
            run(table, &mut state, &later[later.len() / 2..], &mut sequence.clone());
            table.write_to(&mut state, HEADER);
            prop_assert_eq!(digest_of(&state), digest_of(&state_of(table)));
        }
        prop_assert_eq!(digest_of(&state_of(&own)), digest_of(&state_of(&read)));
    }
}

/// `protocol.md SP-2`, `CK-1`
#[test]
fn the_pages_have_replies_and_numbers_but_not_what_waits() {
    let (mut table, mut bodies) = (table(), bodies());
    let digest = |table: &Clients| digest_of(&state_of(table));
    let empty = digest(&table);
    let opens = name(0, 5, 0);
    let body = bodies.store(&[0; 128], 48..100, opens, Digest([1; 32]), true, 0).unwrap();
    table.hold(opens, body, &mut bodies);
    assert_eq!(digest(&table), empty);
    assert!(table.schedule(opens, &mut bodies, 0));
    let opened = digest(&table);
    assert_ne!(opened, empty);
    table.keep_reply(opens, Digest([1; 32]), SequenceNumber(1), b"");
    assert_ne!(digest(&table), opened);
    let mut other = State::new(ENGINE_PAGES + 1);
    table.write_to(&mut other, EngineHeader { timestamp_ns: 78, ..HEADER });
    assert_ne!(digest_of(&other), digest(&table));
}

/// `protocol.md SP-3`: what the restored table executed no longer waits; what it did not goes on waiting.
#[test]
fn what_was_executed_elsewhere_no_longer_waits() {
    let (mut ahead, mut behind, mut bodies) = (table(), table(), bodies());
    for number in 0..=2 {
        assert!(ahead.schedule(name(0, 5, number), &mut bodies, 0));
    }
    let mut hold = |table: &mut Clients, name: RequestName| {
        let body = bodies.store(&[0; 128], 48..100, name, Digest([1; 32]), true, 0).unwrap();
        table.hold(name, body, &mut bodies);
        body
    };
    let held = [(4, 1), (5, 0), (5, 2), (5, 3), (6, 0)].map(|(e, t)| hold(&mut behind, name(0, e, t)));
    behind.read_from(&state_of(&ahead), &mut bodies).unwrap();
    // The opening of incarnation 6 had displaced that of 5.
    let waits = [(5, 3), (6, 0)].map(|(e, t)| behind.waiting_body(name(0, e, t), &Digest([1; 32]), &bodies));
    assert_eq!(waits, [Some(held[3]), Some(held[4])]);
    assert_eq!(behind.waiting_body(name(0, 5, 2), &Digest([1; 32]), &bodies), None);
    assert_eq!(behind.waiting_body(name(0, 4, 1), &Digest([1; 32]), &bodies), None);
    assert_eq!(behind.states[0].waiting_bytes, 2 * 128);
    assert_eq!(behind.reply(name(0, 5, 2)), None);
}

/// `protocol.md SP-3`
#[test]
fn pages_that_contradict_themselves_are_refused() {
    let (mut own, mut sequence) = (table(), 0);
    let mut state = State::new(ENGINE_PAGES + 1);
    let steps = [Step::Open(1), Step::Next(1, 3), Step::Next(1, 9), Step::Next(1, 9)];
    run(&mut own, &mut state, &steps, &mut sequence);
    own.write_to(&mut state, HEADER);
    let snapshot = state.snapshot();
    let shape = own.shape();
    let before = digest_of(&state_of(&own));
    let mut refusal = |offset: u64, bytes: &[u8]| {
        state.restore(&snapshot);
        state.write(offset, bytes);
        let refused = own.read_from(&state, &mut bodies()).unwrap_err();
        assert_eq!(digest_of(&state_of(&own)), before, "a refused table changes nothing");
        refused
    };
    assert_eq!(refusal(0, b"x"), EnginePagesError::Format);
    for field in [24, 32, 40] {
        assert_eq!(refusal(field, &[9]), EnginePagesError::Shape);
    }
    let wrong = |place| EnginePagesError::Reply { client: ClientId(1), place };
    let second = shape.reply_offset(1, 2);
    // Its number is of another place, or above the last; its sequence number above the state's; it is too long.
    for (field, bytes) in [(0, [1, 0, 0]), (0, [6, 0, 0]), (8, [0, 0, 1]), (48, [1, 0x20, 0]), (52, [1, 0, 0])] {
        assert_eq!(refusal(second + field, &bytes), wrong(2), "{bytes:?} at {field}");
    }
    assert_eq!(refusal(shape.client_offset(1), &[0; 8]), wrong(0));
    assert_eq!(table().read_from(&State::new(ENGINE_PAGES), &mut bodies()), Err(EnginePagesError::Format));
}

#[test]
fn as_many_clients_fit_as_are_said_to() {
    for (window, reply_bytes) in [(1, 1), (32, 60 * 1024), (1024, 1200), (31, 4096), (32, 4097)] {
        let clients = engine_pages::clients_fitting(window, reply_bytes);
        let shape = TableShape { clients, window, reply_bytes_max: reply_bytes };
        let end = |clients: u64| shape.client_page(clients as usize);
        assert!(end(clients) <= ENGINE_PAGES && end(clients + 1) > ENGINE_PAGES);
        let places_end = shape.reply_offset(1, window as usize);
        assert!(places_end <= shape.results_page(1, 0) * PAGE_BYTES as u64);
    }
}

/// `protocol.md DM-5`: a demotion is part of the state, so a checkpoint, a way back and a transfer keep it.
#[test]
fn the_pages_say_who_is_demoted() {
    let (mut table, mut bodies) = (table(), bodies());
    let before = state_of(&table);
    // Also of a client that was never heard from.
    assert!(table.demote(ClientId(2), &mut bodies));
    let after = state_of(&table);
    assert_ne!(digest_of(&before), digest_of(&after));
    let mut other = Clients::new(3, WINDOW, 1 << 16, REPLY_BYTES, REPLY_BYTES);
    let waits = name(2, 9, 0);
    let body = bodies.store(&[0; 128], 48..100, waits, Digest::ZERO, true, 0).unwrap();
    other.hold(waits, body, &mut bodies);
    other.read_from(&after, &mut bodies).unwrap();
    assert_eq!(other.demoted().collect::<Vec<_>>(), [ClientId(2)]);
    assert!(other.next_to_propose(&bodies, |_| true).is_none(), "what waited is not proposed any more");
    other.read_from(&before, &mut bodies).unwrap();
    assert!(!other.must_sign(ClientId(2)), "what was undone does not last");
    let mut wrong = state_of(&table);
    wrong.write(other.shape().client_offset(2) + 16, &[2]);
    assert_eq!(other.read_from(&wrong, &mut bodies), Err(EnginePagesError::Client { client: ClientId(2) }));
}
