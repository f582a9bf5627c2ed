//! What the tests of several services share: requests as the executor would hand them on, and results as a client
//! would read them.

use super::{OrderedRequest, Results, ResultsView, Service};
use crate::wire::operation::{Operations, OperationsWriter};
use logothete_crypto::{Digest, digest};

/// The operations of every test request, and their results, are at most this large.
pub(crate) const REPLY_BYTES: usize = 4096;

/// An encoded request: some bytes in front, as a real message has, and the operations behind them.
pub(crate) struct TestRequest {
    message: Vec<u8>,
    operations_offset: usize,
    count: usize,
}

impl TestRequest {
    pub(crate) fn new(front: &[u8], operations: &[&[u8]]) -> Self {
        let mut writer = OperationsWriter::new(REPLY_BYTES);
        for (number, bytes) in (1..).zip(operations) {
            assert!(writer.try_push(7, number, bytes));
        }
        let message = [front, writer.bytes()].concat();
        Self { message, operations_offset: front.len(), count: writer.count() }
    }

    pub(crate) fn message(&self) -> &[u8] {
        &self.message
    }

    pub(crate) fn ordered(&self, sequence: u64, timestamp_ns: u64) -> OrderedRequest<'_> {
        let operations = Operations::parse(&self.message[self.operations_offset..], self.count);
        OrderedRequest {
            sequence,
            timestamp_ns,
            client: 3,
            digest: digest(&self.message),
            message: &self.message,
            operations: operations.expect("the writer wrote it"),
        }
    }
}

/// Executes a request and returns its results.
pub(crate) fn execute(service: &mut dyn Service, request: &OrderedRequest<'_>) -> Vec<Vec<u8>> {
    let mut reply = [0; REPLY_BYTES];
    let count = request.operations.count();
    let mut results = Results::new(&mut reply, count);
    service.execute(request, &mut results);
    let view = ResultsView::parse(results.finish(), count).expect("the service wrote them");
    view.iter().map(<[u8]>::to_vec).collect()
}

/// The digest of a service's state.
pub(crate) fn digest_of(service: &dyn Service) -> Digest {
    service.state().snapshot().digest()
}

/// What a service answers to a query, if it does.
pub(crate) fn query(service: &dyn Service, operation: &[u8]) -> Option<Vec<u8>> {
    let mut reply = [0; REPLY_BYTES];
    let mut results = Results::new(&mut reply, 1);
    service.query(operation, &mut results).ok()?;
    let view = ResultsView::parse(results.finish(), 1).expect("the service wrote it");
    view.iter().next().map(<[u8]>::to_vec)
}
