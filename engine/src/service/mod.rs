//! The services: what the replicas replicate.
//!
//! A service is a deterministic state machine. It receives requests in the one order that the replicas agreed on, and
//! every replica's copy must give the same results and reach the same state digest. What enters here are checked
//! requests with their agreed time; what leaves are results in a buffer that the caller owns.
//!
//! A service must never look at a clock, a random source, a thread, the order of a seeded hash map, the view or the
//! replica's own number; it must never panic on the content of an operation, which comes from an application that
//! nobody vouches for: what it cannot do it answers with a result that says so.
//!
//! - [`log`]: the ordered log, which the project exists for; appends answer with their position
//! - [`kv`]: byte strings under byte strings: put, get, delete, compare-and-set
//! - [`null`]: does nothing, answers with zeros; measures everything else

pub mod kv;
pub mod log;
pub mod null;
mod results;
#[cfg(test)]
mod testing;

pub use self::kv::KeyValue;
pub use self::log::{LogSettings, OrderedLog};
pub use self::null::Null;
pub use self::results::{RESULT_BYTES_RESERVED, RESULT_HEADER_BYTES, Results, ResultsError, ResultsIter, ResultsView};
use crate::limits::DATAGRAM_BYTES_MAX;
use crate::wire::operation::Operations;
use core::fmt;
use core::str::FromStr;
use logothete_crypto::Digest;
use thiserror::Error;

/// One request at its place in the order, as the executor hands it to the service.
#[derive(Clone, Copy, Debug)]
pub struct OrderedRequest<'a> {
    /// The sequence number of the batch that holds the request.
    pub sequence: u64,
    /// The time that the replicas agreed on for that batch, in nanoseconds since the Unix epoch; it strictly increases
    /// from batch to batch.
    pub timestamp_ns: u64,
    /// The index of the client whose request it is.
    pub client: u16,
    /// The digest of `message`: computed when the request arrived, and what the replicas agreed on.
    pub digest: Digest,
    /// The whole encoded request message.
    pub message: &'a [u8],
    /// The operations in it: a view of the last bytes of `message`.
    pub operations: Operations<'a>,
}

/// A deterministic state machine; see the module's own text for what it must not do.
pub trait Service: Send {
    /// Executes the operations of one request in order and writes exactly one result an operation.
    fn execute(&mut self, request: &OrderedRequest<'_>, results: &mut Results<'_>);

    /// Answers an operation that reads, from the present state: writes exactly the result that [`Self::execute`] would. `results` must have
    /// room for one.
    ///
    /// # Errors
    /// [`QueryError`] when the operation could change something, or is none of this service's; nothing is written then.
    fn query(&self, operation: &[u8], results: &mut Results<'_>) -> Result<(), QueryError> {
        let _ = (operation, results);
        Err(QueryError)
    }

    /// The digest of the whole state: equal at two replicas exactly when all that decides future results is equal.
    /// Costs in proportion to what changed since the last call.
    fn digest(&mut self) -> Digest;

    /// The ordered log, where the service is one: subscribers read it.
    fn ordered_log(&self) -> Option<&OrderedLog> {
        None
    }
}

/// A query that a service does not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the operation could change something, or is none of this service's")]
pub struct QueryError;

/// Which built-in service a cluster runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ServiceKind {
    /// [`OrderedLog`].
    Log,
    /// [`KeyValue`].
    KeyValue,
    /// [`Null`].
    Null,
}

impl ServiceKind {
    /// Whether the service answers any query at all: then every operation needs the replies of a quorum (`protocol.md RD-3`).
    pub fn reads(self) -> bool {
        self == Self::KeyValue
    }

    /// Whether an operation is one that [`Service::query`] answers. It follows from the operation alone, so that a client can refuse to
    /// ask for anything else: a query that the replicas do not answer in time is ordered, and must not change anything then.
    pub fn answers(self, operation: &[u8]) -> bool {
        self.reads() && matches!(kv::Command::decode(operation), Ok(kv::Command::Get { .. }))
    }
}

impl fmt::Display for ServiceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Log => "log",
            Self::KeyValue => "kv",
            Self::Null => "null",
        })
    }
}

/// A name that is no service's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("there is no service `{name}`; choose `log`, `kv` or `null`")]
pub struct ServiceKindError {
    name: String,
}

impl FromStr for ServiceKind {
    type Err = ServiceKindError;

    fn from_str(name: &str) -> Result<Self, ServiceKindError> {
        match name {
            "log" => Ok(Self::Log),
            "kv" => Ok(Self::KeyValue),
            "null" => Ok(Self::Null),
            _ => Err(ServiceKindError { name: name.to_owned() }),
        }
    }
}

/// What the built-in services need to know; the same at every replica, since it decides results and state digests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceSettings {
    /// The most bytes of state: what the log retains, or what the key-value service stores.
    pub state_bytes_max: u64,
    /// The largest encoded request message that can be ordered, in bytes.
    pub message_bytes_max: usize,
    /// The size of each result of the null service, in bytes.
    pub null_reply_bytes: usize,
}

impl Default for ServiceSettings {
    /// 1 GiB of state, messages of up to the largest datagram, null results of 8 bytes (what an append answers).
    fn default() -> Self {
        Self { state_bytes_max: 1 << 30, message_bytes_max: DATAGRAM_BYTES_MAX, null_reply_bytes: 8 }
    }
}

/// Makes an empty service of the kind that the cluster's configuration names.
pub fn built_in(kind: ServiceKind, settings: &ServiceSettings) -> Box<dyn Service> {
    match kind {
        ServiceKind::Log => {
            Box::new(OrderedLog::new(LogSettings::for_retention(settings.state_bytes_max, settings.message_bytes_max)))
        }
        ServiceKind::KeyValue => Box::new(KeyValue::new(settings.state_bytes_max)),
        ServiceKind::Null => Box::new(Null::new(settings.null_reply_bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{TestRequest, execute};
    use super::*;

    const KINDS: [ServiceKind; 3] = [ServiceKind::Log, ServiceKind::KeyValue, ServiceKind::Null];

    #[test]
    fn names_read_back() {
        for kind in KINDS {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let error = "LOG".parse::<ServiceKind>().unwrap_err();
        assert_eq!(error.to_string(), "there is no service `LOG`; choose `log`, `kv` or `null`");
    }

    #[test]
    fn every_kind_answers_every_operation_and_repeats_itself() {
        let settings = ServiceSettings { state_bytes_max: 1 << 20, ..ServiceSettings::default() };
        let put = kv::Command::Put { key: b"k", value: b"v" }.encode_to_vec();
        let request = TestRequest::new(b"header", &[b"not a command", &put, b""]);
        for kind in KINDS {
            let mut first = built_in(kind, &settings);
            let mut second = built_in(kind, &settings);
            assert_eq!(first.digest(), second.digest());
            let empty = first.digest();
            let results = execute(&mut *first, &request.ordered(1, 10));
            assert_eq!(results.len(), 3);
            assert_ne!(first.digest(), empty, "{kind}: the state changed, its digest did not");
            assert_eq!(execute(&mut *second, &request.ordered(1, 10)), results);
            assert_eq!(first.digest(), second.digest());
            assert_eq!(first.ordered_log().is_some(), kind == ServiceKind::Log);
        }
    }

    /// `protocol.md RD-1`: what a client takes for a query and what a service answers are the same.
    #[test]
    fn a_query_is_what_changes_nothing() {
        let (put, get) = (
            kv::Command::Put { key: b"k", value: b"v" }.encode_to_vec(),
            kv::Command::Get { key: b"k" }.encode_to_vec(),
        );
        let delete = kv::Command::Delete { key: b"k" }.encode_to_vec();
        for kind in KINDS {
            let mut service =
                built_in(kind, &ServiceSettings { state_bytes_max: 1 << 20, ..ServiceSettings::default() });
            execute(&mut *service, &TestRequest::new(b"header", &[&put]).ordered(1, 10));
            let before = service.digest();
            for operation in [&put[..], &get, &delete, b"", b"not a command"] {
                let mut buffer = [0; 64];
                let mut results = Results::new(&mut buffer, 1);
                let answered = service.query(operation, &mut results).is_ok();
                assert_eq!(answered, kind.answers(operation), "{kind}");
                assert!(!answered || kind.reads());
                if answered {
                    let asked = results.finish().to_vec();
                    let ordered = execute(&mut *service, &TestRequest::new(b"", &[operation]).ordered(2, 20));
                    assert_eq!(asked[RESULT_HEADER_BYTES..], ordered[0], "ordered or not, the answer is the same");
                }
            }
            if kind == ServiceKind::KeyValue {
                assert_eq!(service.digest(), before);
            }
        }
    }
}
