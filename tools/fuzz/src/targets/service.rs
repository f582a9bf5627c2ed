//! Operations of any content into the built-in services, at two replicas that must not come apart (RELIABILITY.md K-13, I-12, K-09).

use crate::choices::Choices;
use crate::hostile::request_name;
use crate::table::CLIENT;
use crate::{Sample, Target};
use logothete_crypto::digest;
use logothete_engine::service::kv::{Command, Outcome};
use logothete_engine::service::{
    OrderedRequest, Results, ResultsView, Service, ServiceKind, ServiceSettings, built_in,
};
use logothete_engine::wire::operation::OperationsWriter;
use logothete_engine::wire::{Message, request};

pub const SERVICE: Target =
    Target { name: "service", about: "operations of any content, executed at two replicas", run: service, samples };

const REPLY_BYTES: usize = 700;

fn service(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let kind = choices.of(&[ServiceKind::KeyValue, ServiceKind::KeyValue, ServiceKind::Log, ServiceKind::Null]);
    let settings = ServiceSettings { state_bytes_max: 64 * 1024, message_bytes_max: 1200, null_reply_bytes: 8 };
    let (mut one, mut other) = (built_in(kind, &settings), built_in(kind, &settings));
    let mut sequence = 0;
    while !choices.is_spent() {
        sequence += 1;
        let mut writer = OperationsWriter::new(1000);
        for number in 0..1 + choices.below(4) as u64 {
            let operation = command(&mut choices);
            writer.try_push(1, number, &operation);
        }
        if writer.is_empty() {
            continue;
        }
        let mut message = Vec::new();
        request::append(&mut message, request_name(7, sequence), writer.count(), writer.bytes());
        let Ok(Message::Request(sent)) = Message::decode(&message, CLIENT) else { panic!("it was encoded here") };
        let ordered = OrderedRequest {
            sequence,
            timestamp_ns: sequence,
            client: 0,
            digest: digest(&message),
            message: &message,
            operations: sent.operations,
        };
        let (first, second) = (execute(&mut *one, &ordered), execute(&mut *other, &ordered));
        assert_eq!(first, second, "the same operations have the same results");
        let before = one.state().snapshot().digest();
        assert_eq!(before, other.state().snapshot().digest(), "and lead to the same state");
        let question = command(&mut choices);
        let mut room = [0; REPLY_BYTES];
        let _ = one.query(&question, &mut Results::new(&mut room, 1));
        assert_eq!(one.state().snapshot().digest(), before, "a query changes nothing");
        if choices.byte() == 200 {
            let state = one.state().snapshot();
            other.state_mut().restore(&state);
            other.restored().expect("the pages are a service's own");
        }
    }
}

fn execute(service: &mut dyn Service, ordered: &OrderedRequest<'_>) -> Vec<u8> {
    let mut room = vec![0; REPLY_BYTES];
    let mut results = Results::new(&mut room, ordered.operations.count());
    service.execute(ordered, &mut results);
    let bytes = results.finish().to_vec();
    let view = ResultsView::parse(&bytes, ordered.operations.count()).expect("one result an operation");
    assert_eq!(view.iter().count(), ordered.operations.count());
    bytes
}

/// A command of few keys, or bytes that may be none.
fn command(choices: &mut Choices<'_>) -> Vec<u8> {
    let key = [choices.byte() % 4; 3];
    let key = &key[..choices.below(4)];
    let command = match choices.byte() % 6 {
        0 => Command::Put { key, value: choices.bytes(300) },
        1 => Command::Get { key },
        2 => Command::Delete { key },
        3 => Command::CompareAndSet { key, expected: None, value: choices.bytes(100) },
        4 => {
            let expected = choices.bytes(20);
            Command::CompareAndSet { key, expected: Some(expected), value: choices.bytes(100) }
        }
        _ => return check(choices.bytes(300)),
    };
    let mut bytes = command.encode_to_vec();
    if choices.byte() % 8 == 7 {
        choices.spoil(&mut bytes);
    }
    check(&bytes)
}

/// What is a command, or its outcome, has one encoding.
fn check(bytes: &[u8]) -> Vec<u8> {
    if let Ok(command) = Command::decode(bytes) {
        assert_eq!(command.encode_to_vec(), bytes);
    }
    if let Ok(outcome) = Outcome::decode(bytes) {
        let mut again = vec![0; outcome.size()];
        outcome.encode(&mut again);
        assert_eq!(again, bytes);
    }
    bytes.to_vec()
}

fn samples() -> Vec<Sample> {
    let stepping =
        |kind: u8, step: u8| (0..200u8).map(|at| if at == 0 { kind } else { at.wrapping_mul(step) }).collect();
    (0..4).flat_map(|kind| [5, 13].map(|step| (format!("kind{kind}-{step}"), stepping(kind, step)))).collect()
}
