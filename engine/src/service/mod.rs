//! The services: what the replicas replicate.
//!
//! A service is a deterministic state machine. It receives requests in the one order that the replicas agreed on, and
//! every replica's copy must give the same results and reach the same state digest. What enters here are checked
//! requests with their agreed time; what leaves are results in a buffer that the caller owns.
//!
//! All that a service remembers stands in the pages of its [`State`] (`protocol.md SP-1`), so that whoever holds the pages can
//! copy it, go back to it and prove what it is, without knowing the service. What a service keeps beside them follows from
//! them, and [`Service::restored`] makes it anew.
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
pub(crate) mod testing;

pub use self::kv::KeyValue;
pub use self::log::{LogSettings, OrderedLog};
pub use self::null::Null;
pub use self::results::{RESULT_BYTES_RESERVED, RESULT_HEADER_BYTES, Results, ResultsError, ResultsIter, ResultsView};
use crate::limits::DATAGRAM_BYTES_MAX;
use crate::state::State;
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

    /// The pages with all that decides future results (`protocol.md SP-1`): the service's own from
    /// [`crate::state::ENGINE_PAGES`] on, the engine's before.
    fn state(&self) -> &State;

    /// The same, for the engine's own pages and for putting earlier or fetched pages in place of the present ones; after the
    /// latter, [`Self::restored`] is called before anything else.
    fn state_mut(&mut self) -> &mut State;

    /// The pages were replaced: makes anew what the service keeps beside them (`protocol.md SP-3`). It costs in proportion to
    /// what changed where the service can tell.
    ///
    /// # Errors
    /// [`RestoreError`] when the pages are not this service's. It is then good for nothing until other pages are there.
    fn restored(&mut self) -> Result<(), RestoreError>;

    /// Answers an operation that reads, from the present state: writes exactly the result that [`Self::execute`] would.
    /// `results` must have room for one.
    ///
    /// # Errors
    /// [`QueryError`] when the operation could change something, or is none of this service's; nothing is written, and it
    /// must be ordered.
    fn query(&self, operation: &[u8], results: &mut Results<'_>) -> Result<(), QueryError> {
        let _ = (operation, results);
        Err(QueryError)
    }

    /// The ordered log, where the service is one: subscribers read it.
    fn ordered_log(&self) -> Option<&OrderedLog> {
        None
    }
}

/// An operation that cannot be answered without being ordered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the operation is not one that only reads; have it ordered")]
pub struct QueryError;

/// Pages that a service cannot have written with its settings.
///
/// A digest that `f+1` replicas vouch for names pages that a correct one wrote: then this replica runs another version, or
/// another configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("page {page} of the state is not what this service writes: {what}; check version and configuration")]
pub struct RestoreError {
    /// The page.
    pub page: u64,
    /// What is wrong with it.
    pub what: &'static str,
}

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

impl ServiceSettings {
    fn log(&self) -> LogSettings {
        LogSettings::for_retention(self.state_bytes_max, self.message_bytes_max)
    }

    /// The most memory that a service of this kind takes, pages and what it keeps beside them, in bytes. A checkpoint that
    /// is kept beside the present state comes to this by what was changed since.
    pub fn memory_bytes_max(&self, kind: ServiceKind) -> u64 {
        match kind {
            ServiceKind::Log => self.log().memory_bytes_max(),
            ServiceKind::KeyValue => KeyValue::memory_bytes_max(self.state_bytes_max),
            ServiceKind::Null => Null::MEMORY_BYTES,
        }
    }
}

/// Makes an empty service of the kind that the cluster's configuration names.
pub fn built_in(kind: ServiceKind, settings: &ServiceSettings) -> Box<dyn Service> {
    match kind {
        ServiceKind::Log => Box::new(OrderedLog::new(settings.log())),
        ServiceKind::KeyValue => Box::new(KeyValue::new(settings.state_bytes_max)),
        ServiceKind::Null => Box::new(Null::new(settings.null_reply_bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{TestRequest, digest_of, execute};
    use super::*;
    use crate::state::{ENGINE_PAGES, PAGE_BYTES};

    const KINDS: [ServiceKind; 3] = [ServiceKind::Log, ServiceKind::KeyValue, ServiceKind::Null];

    #[test]
    fn names_read_back() {
        for kind in KINDS {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        let error = "LOG".parse::<ServiceKind>().unwrap_err();
        assert_eq!(error.to_string(), "there is no service `LOG`; choose `log`, `kv` or `null`");
    }

    /// `protocol.md SP-1`
    #[test]
    fn every_kind_answers_every_operation_and_repeats_itself() {
        let settings = ServiceSettings { state_bytes_max: 1 << 20, ..ServiceSettings::default() };
        let put = kv::Command::Put { key: b"k", value: b"v" }.encode_to_vec();
        let request = TestRequest::new(b"header", &[b"not a command", &put, b""]);
        for kind in KINDS {
            let mut first = built_in(kind, &settings);
            let mut second = built_in(kind, &settings);
            let empty = digest_of(&*first);
            assert_eq!(digest_of(&*second), empty);
            let results = execute(&mut *first, &request.ordered(1, 10));
            assert_eq!(results.len(), 3);
            assert_ne!(digest_of(&*first), empty, "{kind}: the state changed, its digest did not");
            assert_eq!(execute(&mut *second, &request.ordered(1, 10)), results);
            assert_eq!(digest_of(&*first), digest_of(&*second));
            assert_eq!(first.ordered_log().is_some(), kind == ServiceKind::Log);
        }
    }

    /// `protocol.md SP-1`, `SP-3`: going back and going on again gives what going on would have given.
    #[test]
    fn every_kind_can_be_put_back_and_moved_to_another_replica() {
        let settings = ServiceSettings { state_bytes_max: 1 << 20, ..ServiceSettings::default() };
        let put = |value: &[u8]| kv::Command::Put { key: b"k", value }.encode_to_vec();
        let requests = [b"a", b"b", b"c"].map(|value| TestRequest::new(b"header", &[&put(value), b"noise"]));
        for kind in KINDS {
            let mut service = built_in(kind, &settings);
            execute(&mut *service, &requests[0].ordered(1, 10));
            let checkpoint = service.state().snapshot();
            let expected = execute(&mut *service, &requests[1].ordered(2, 20));
            let after = digest_of(&*service);

            execute(&mut *service, &requests[2].ordered(3, 30));
            service.state_mut().restore(&checkpoint);
            service.restored().unwrap();
            assert_eq!(digest_of(&*service), checkpoint.digest());
            assert_eq!(execute(&mut *service, &requests[1].ordered(2, 20)), expected);
            assert_eq!(digest_of(&*service), after);

            let mut other = built_in(kind, &settings);
            other.state_mut().restore(&checkpoint);
            other.restored().unwrap();
            assert_eq!(execute(&mut *other, &requests[1].ordered(2, 20)), expected);
            assert_eq!(digest_of(&*other), after);
        }
    }

    /// `protocol.md SP-3`
    #[test]
    fn pages_of_another_service_are_refused() {
        let settings = ServiceSettings { state_bytes_max: 1 << 20, ..ServiceSettings::default() };
        for (kind, foreign) in KINDS.into_iter().flat_map(|kind| KINDS.map(|foreign| (kind, foreign))) {
            let mut service = built_in(kind, &settings);
            let page = *built_in(foreign, &settings).state().page(ENGINE_PAGES);
            service.state_mut().write(ENGINE_PAGES * PAGE_BYTES as u64, &page);
            assert_eq!(service.restored().is_ok(), kind == foreign, "{kind} over the pages of {foreign}");
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
            let before = digest_of(&*service);
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
                assert_eq!(digest_of(&*service), before);
            }
        }
    }
}
