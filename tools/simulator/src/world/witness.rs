//! The service as the checkers see it: a wrapper that writes down what a replica executes, independent of what the replica says of itself.

use crate::world::operations::END;
use logothete_crypto::Digest;
use logothete_engine::service::{OrderedLog, OrderedRequest, QueryError, RestoreError, Results, Service};
use logothete_engine::state::State;
use std::sync::{Arc, Mutex};

/// An operation: who asked for it, and what it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    pub session: u64,
    pub number: u64,
    pub bytes: Vec<u8>,
}

/// One request that a replica executed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Executed {
    pub sequence: u64,
    pub timestamp_ns: u64,
    pub client: u16,
    pub digest: Digest,
    pub operations: Vec<Appended>,
}

/// What happened to the service since it was last looked at.
#[derive(Debug, Default)]
pub struct Happened {
    pub executed: Vec<Executed>,
    /// Its pages were replaced, last when so many of these had been executed: the replica fetched a state, or went back to one.
    pub restored: Option<usize>,
}

/// What happened, shared with whoever looks.
pub type Record = Arc<Mutex<Happened>>;

pub struct Witness {
    service: Box<dyn Service>,
    record: Record,
}

impl Witness {
    pub fn new(service: Box<dyn Service>) -> (Self, Record) {
        let record = Record::default();
        (Self { service, record: record.clone() }, record)
    }
}

impl Service for Witness {
    fn execute(&mut self, request: &OrderedRequest<'_>, results: &mut Results<'_>) {
        let appended = |operation: logothete_engine::wire::operation::Operation<'_>| Appended {
            session: operation.session,
            number: operation.number,
            bytes: operation.bytes.to_vec(),
        };
        self.record.lock().expect("one thread").executed.push(Executed {
            sequence: request.sequence,
            timestamp_ns: request.timestamp_ns,
            client: request.client,
            digest: request.digest,
            operations: request.operations.iter().map(appended).collect(),
        });
        self.service.execute(request, results);
    }

    fn state(&self) -> &State {
        self.service.state()
    }

    fn state_mut(&mut self) -> &mut State {
        self.service.state_mut()
    }

    fn restored(&mut self) -> Result<(), RestoreError> {
        let mut record = self.record.lock().expect("one thread");
        record.restored = Some(record.executed.len());
        drop(record);
        self.service.restored()
    }

    fn query(&self, operation: &[u8], results: &mut Results<'_>) -> Result<(), QueryError> {
        match (operation, self.service.ordered_log()) {
            (END, Some(log)) => results.push(&log.end().to_le_bytes()),
            _ => return self.service.query(operation, results),
        }
        Ok(())
    }

    fn ordered_log(&self) -> Option<&OrderedLog> {
        self.service.ordered_log()
    }
}
