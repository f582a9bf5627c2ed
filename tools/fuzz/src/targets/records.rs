//! Records: of the shared-memory rings between application and driver, and of the journal. What is read is written back the same
//! (RELIABILITY.md M-17, I-05, I-07).

use crate::{Sample, Target};
use logothete_client::record::{Eviction, Facts, Notice, Request, Response};
use logothete_crypto::Digest;
use logothete_engine::journal::Record;
use logothete_engine::numbers::{ReplicaId, SequenceNumber, View};
use logothete_engine::wire::agreement::BatchEntry;
use logothete_transport::ring::{Producer, PushError, pair};

use crate::hostile::request_name;

pub const CLIENT_RECORDS: Target = Target {
    name: "client_records",
    about: "records of the rings between application and driver",
    run: client_records,
    samples: client_samples,
};

pub const JOURNAL_RECORD: Target =
    Target { name: "journal_record", about: "records of the journal", run: journal_records, samples: journal_samples };

/// The first byte says of which ring the record is.
fn client_records(bytes: &[u8]) {
    let Some((ring, record)) = bytes.split_first() else { return };
    let same = |push: &dyn Fn(&mut Producer) -> Result<(), PushError>| {
        let (mut producer, mut consumer) = pair(16 << 10);
        push(&mut producer).expect("what fitted an input fits a ring");
        producer.publish();
        let taken = consumer.poll(1, |again| assert_eq!(again, record, "one value has one encoding"));
        assert_eq!(taken, Ok(1));
    };
    match ring % 5 {
        0 => drop(Request::decode(record).map(|request| same(&|ring| request.push(ring)))),
        1 => drop(Response::decode(record).map(|response| same(&|ring| response.push(ring)))),
        2 => drop(Notice::decode(record).map(|notice| same(&|ring| notice.push(ring)))),
        3 => {
            let _ = Eviction::decode(record).map(|eviction| (eviction.reason(), eviction.remedy()));
        }
        _ => {
            let mut facts = [0; 32];
            record.iter().zip(&mut facts).for_each(|(byte, place)| *place = *byte);
            let read = Facts::decode(&facts);
            assert_eq!(Facts::decode(&read.encode()), read);
        }
    }
}

fn journal_records(bytes: &[u8]) {
    let mut rest = bytes;
    while let Ok((record, after)) = Record::decode(rest) {
        let taken = &rest[..rest.len() - after.len()];
        assert!(!taken.is_empty() && !record.name().is_empty());
        let mut again = vec![0; record.encoded_bytes()];
        let length = record.encode(&mut again);
        assert_eq!(&again[..length], taken, "one value has one encoding");
        rest = after;
    }
}

fn client_samples() -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut record = |name: &str, ring: u8, push: &dyn Fn(&mut Producer) -> Result<(), PushError>| {
        let (mut producer, mut consumer) = pair(4096);
        push(&mut producer).expect("it fits");
        producer.publish();
        let mut bytes = vec![ring];
        consumer.poll(1, |record| bytes.extend_from_slice(record)).expect("it is there");
        samples.push((name.to_owned(), bytes));
    };
    record("operation", 0, &|ring| Request::Operation { number: 1, bytes: b"append me" }.push(ring));
    record("query", 0, &|ring| Request::Query { number: 2, bytes: b"end" }.push(ring));
    record("subscribe", 0, &|ring| Request::SubscribeFrom { position: 9 }.push(ring));
    record("end-query", 0, &|ring| Request::EndQuery { number: 3 }.push(ring));
    record("result", 1, &|ring| {
        Response::Result { number: 1, status: logothete_client::record::Status::Ok, bytes: &[9; 8] }.push(ring)
    });
    record("answer", 1, &|ring| Response::Answer { number: 2, bytes: &[1; 8] }.push(ring));
    record("bounds", 1, &|ring| Response::Bounds { number: 3, oldest: 0, end: 10 }.push(ring));
    samples.push(("eviction".to_owned(), vec![3, 1, 0, 0, 0]));
    samples.push(("facts".to_owned(), [&[4][..], &[1; 32]].concat()));
    samples
}

fn journal_samples() -> Vec<Sample> {
    let (view, sequence, digest) = (View(1), SequenceNumber(2), Digest([3; 32]));
    let entries = [BatchEntry::new(request_name(7, 1), digest)];
    let records = [
        Record::Proposal { view, sequence, timestamp_ns: 5, entries: &entries },
        Record::Batch { sequence, timestamp_ns: 5, entries: &entries },
        Record::Body { packet: &[7; 40] },
        Record::Prepare { view, sequence, digest },
        Record::Commit { view, sequence, digest },
        Record::ViewChange { bytes: &[1; 50] },
        Record::NewView { bytes: &[2; 50] },
        Record::ViewEntered { view },
        Record::Committed { sequence, digest },
        Record::Stable { sequence, digest },
        Record::EpochAcknowledged { replica: ReplicaId(2), epoch: 8 },
    ];
    let encode = |record: &Record<'_>| {
        let mut bytes = vec![0; record.encoded_bytes()];
        record.encode(&mut bytes);
        bytes
    };
    let mut samples: Vec<Sample> =
        records.iter().map(|record| (record.name().replace(' ', "-"), encode(record))).collect();
    samples.push(("all".to_owned(), records.iter().flat_map(encode).collect()));
    samples
}
