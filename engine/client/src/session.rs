//! A session: operations out, results in.

use std::collections::VecDeque;
use std::path::Path;
use std::time::Duration;

use logothete_transport::ring::PushError;
use logothete_transport::session::{ClientSession, ConnectOptions};

use crate::link::{Link, Wait};
use crate::record::{
    Facts, HEADER_BYTES, RecordError, Request, Response, ServiceKind, Status, message_footprint_bytes,
};
use crate::{ClientError, OperationError, Options, Position};

/// Completions handed out by one poll at most, so that an application in a loop of its own gets its turn.
const POLL_MAX: usize = 256;

/// How one operation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion<'a> {
    /// The number that [`Session::try_append`], [`Session::try_call`] or [`Session::try_query`] returned.
    pub number: u64,
    /// Whether it has a place in the order. A query has none where enough replicas answered it alike at once, and one where they did not
    /// and it was ordered like any other operation. What failed may have one, as its error says.
    pub ordered: bool,
    /// Its result, or why there is none. The result of an append to the ordered log is its position
    /// ([`Completion::position`]).
    pub result: Result<&'a [u8], OperationError>,
}

impl Completion<'_> {
    /// The position that an append got; `None` when it failed or the service is not the ordered log.
    pub fn position(&self) -> Option<Position> {
        self.result.ok().and_then(position)
    }
}

/// How far the order reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest position that can still be read.
    pub oldest: Position,
    /// The position that the next entry will get.
    pub end: Position,
}

/// A completion that arrived while a blocking call waited for another.
struct Kept {
    number: u64,
    ordered: bool,
    result: Result<Vec<u8>, OperationError>,
}

/// A connection to the host's driver, for one thread.
///
/// [`try_append`](Session::try_append), [`try_query`](Session::try_query) and [`poll`](Session::poll) never block. Operations travel in batches: what
/// `try_append` took leaves at the next [`poll`](Session::poll), [`flush`](Session::flush) or [`wait`](Session::wait).
/// The blocking calls submit and wait for one operation; completions of others that arrive meanwhile are kept for the
/// next `poll`.
///
/// Each operation is numbered and executed at most once. Completions come in no particular order.
pub struct Session {
    link: Link,
    facts: Facts,
    number_next: u64,
    outstanding: u64,
    timeout_call: Duration,
    kept: VecDeque<Kept>,
}

impl Session {
    /// Opens a session with the driver whose socket is at `path`.
    ///
    /// # Errors
    ///
    /// [`ClientError::Connect`].
    pub fn connect(path: impl AsRef<Path>, options: Options) -> Result<Session, ClientError> {
        let transport = ClientSession::connect(
            path,
            &ConnectOptions {
                requests_bytes: options.requests_bytes,
                responses_bytes: options.responses_bytes,
                subscription_bytes: 0,
                subscribes: false,
                timeout: options.timeout_connect,
            },
        )?;
        Ok(Session {
            facts: Facts::decode(transport.facts()),
            link: Link::new(transport),
            number_next: 1,
            outstanding: 0,
            timeout_call: options.timeout_call,
            kept: VecDeque::new(),
        })
    }

    /// This session's number, which subscribers see on its entries.
    pub fn id(&self) -> u64 {
        self.link.transport.id()
    }

    /// What the driver told about the cluster.
    pub fn facts(&self) -> Facts {
        self.facts
    }

    /// The longest operation that this session takes, bytes.
    pub fn operation_bytes_max(&self) -> usize {
        let ring = self.link.transport.requests.record_length_max() - HEADER_BYTES;
        ring.min(self.facts.operation_bytes_max as usize)
    }

    /// Operations and queries submitted whose answer has not arrived yet.
    pub fn outstanding(&self) -> u64 {
        self.outstanding
    }

    /// How long a blocking call may take from now on.
    pub fn set_timeout_call(&mut self, timeout: Duration) {
        self.timeout_call = timeout;
    }

    /// Takes one operation and returns its number; its completion comes by [`poll`](Session::poll). Never blocks. It
    /// leaves at the next `poll`, [`flush`](Session::flush) or [`wait`](Session::wait).
    ///
    /// # Errors
    ///
    /// [`ClientError::Overloaded`] when the request ring is full: poll, then try again. [`ClientError::TooLarge`];
    /// [`ClientError::Disconnected`] or [`ClientError::Evicted`]. Nothing was submitted then.
    #[inline]
    pub fn try_append(&mut self, operation: &[u8]) -> Result<u64, ClientError> {
        self.admit(operation)?;
        self.submit(|number| Request::Operation { number, bytes: operation })
    }

    /// What [`try_append`](Session::try_append) is to [`append`](Session::append), for [`call`](Session::call): takes one operation of any
    /// service and returns its number. Never blocks.
    ///
    /// # Errors
    ///
    /// As [`try_append`](Session::try_append).
    #[inline]
    pub fn try_call(&mut self, operation: &[u8]) -> Result<u64, ClientError> {
        self.try_append(operation)
    }

    /// Takes one query, as [`query`](Session::query) asks it, and returns its number; its completion comes by
    /// [`poll`](Session::poll). Never blocks.
    ///
    /// A query may overtake operations of this session that have not completed, and be overtaken by them: what it must see has to be
    /// complete before it is asked.
    ///
    /// # Errors
    ///
    /// As [`try_append`](Session::try_append).
    #[inline]
    pub fn try_query(&mut self, operation: &[u8]) -> Result<u64, ClientError> {
        self.admit(operation)?;
        self.submit(|number| Request::Query { number, bytes: operation })
    }

    /// Lets everything taken so far leave. Never blocks.
    #[inline]
    pub fn flush(&mut self) {
        self.link.transport.publish();
    }

    /// Lets operations leave, and hands the completions that have arrived to `each`, some hundreds at most. Returns how
    /// many there were. Never blocks.
    ///
    /// # Errors
    ///
    /// [`ClientError::Disconnected`] or [`ClientError::Evicted`] once the driver is gone and everything that it
    /// published has been handed out; [`ClientError::Ring`] or [`ClientError::Record`] when it wrote garbage.
    #[inline]
    pub fn poll(&mut self, mut each: impl FnMut(Completion<'_>)) -> Result<usize, ClientError> {
        self.flush();
        let mut count = 0;
        while let Some(kept) = self.kept.pop_front() {
            let result = kept.result.as_deref().map_err(|error| *error);
            each(Completion { number: kept.number, ordered: kept.ordered, result });
            count += 1;
        }
        count += self.take(|response| {
            if let Arrived::Completion(completion) = response {
                each(completion);
            }
        })?;
        Ok(count)
    }

    /// Lets operations leave, and waits until there are completions to poll (true) or `timeout` is over (false).
    ///
    /// # Errors
    ///
    /// As [`poll`](Session::poll).
    pub fn wait(&mut self, timeout: Duration) -> Result<bool, ClientError> {
        self.flush();
        let wait = Wait::new(timeout);
        loop {
            if !self.kept.is_empty() || !self.link.transport.is_idle()? {
                return Ok(true);
            }
            if !self.link.is_alive() {
                // What it published before it went is still there to poll.
                return if self.link.transport.is_idle()? { Err(self.link.ended()) } else { Ok(true) };
            }
            if !wait.pause(&mut self.link, 0) {
                return Ok(false);
            }
        }
    }

    /// Appends to the ordered log and waits for the position.
    ///
    /// # Errors
    ///
    /// [`ClientError::TimedOut`] after [`Options::timeout_call`]; [`ClientError::ApiMisuse`] when the cluster's service
    /// is not the ordered log; otherwise as [`try_append`](Session::try_append), [`poll`](Session::poll) and
    /// [`OperationError`].
    pub fn append(&mut self, operation: &[u8]) -> Result<Position, ClientError> {
        if self.facts.service != ServiceKind::Log {
            return Err(ClientError::ApiMisuse { reason: "this cluster keeps no ordered log; use `call`" });
        }
        let request = |number| Request::Operation { number, bytes: operation };
        self.execute(operation, request, |result| position(result).ok_or(ClientError::Unsupported))?
    }

    /// Has an operation ordered and executed, and waits for its result.
    ///
    /// # Errors
    ///
    /// As [`append`](Session::append).
    pub fn call(&mut self, operation: &[u8]) -> Result<Vec<u8>, ClientError> {
        self.execute(operation, |number| Request::Operation { number, bytes: operation }, <[u8]>::to_vec)
    }

    /// Asks an operation that changes nothing, and waits for its result. It takes one round trip to the replicas and no place in the order,
    /// unless their answers differ or are missing; then it is ordered. Either way it sees everything that any application was told of
    /// before it was asked, and no later query sees less.
    ///
    /// # Errors
    ///
    /// [`ClientError::Unsupported`] when the service answers no such query: the operation could change something, or the service reads in
    /// its order only; use [`call`](Session::call). Otherwise as [`append`](Session::append).
    pub fn query(&mut self, operation: &[u8]) -> Result<Vec<u8>, ClientError> {
        self.execute(operation, |number| Request::Query { number, bytes: operation }, <[u8]>::to_vec)
    }

    /// Asks how far the order reaches, as a quorum confirms it, and waits for the answer.
    ///
    /// # Errors
    ///
    /// [`ClientError::TimedOut`]; [`ClientError::Unsupported`] when the service keeps no ordered log; otherwise as
    /// [`poll`](Session::poll).
    pub fn bounds(&mut self) -> Result<Bounds, ClientError> {
        let wait = Wait::new(self.timeout_call);
        let number = self.submit_waiting(&wait, message_footprint_bytes(0), |number| Request::EndQuery { number })?;
        self.await_number(&wait, number, |arrived| match arrived {
            Arrived::Bounds { bounds, .. } => Ok(bounds),
            Arrived::Completion(completion) => Err(failure(completion.result.err(), 0)),
        })?
    }

    #[inline]
    fn admit(&self, operation: &[u8]) -> Result<(), ClientError> {
        let limit = self.operation_bytes_max();
        if operation.len() > limit {
            return Err(ClientError::TooLarge { bytes: operation.len(), limit });
        }
        Ok(())
    }

    /// Submits one operation or query, waiting for room and then for its result.
    fn execute<'a, R>(
        &mut self,
        operation: &'a [u8],
        request: impl Fn(u64) -> Request<'a>,
        result: impl Fn(&[u8]) -> R,
    ) -> Result<R, ClientError> {
        self.admit(operation)?;
        let wait = Wait::new(self.timeout_call);
        let number = self.submit_waiting(&wait, message_footprint_bytes(operation.len()), request)?;
        self.await_number(&wait, number, |arrived| match arrived {
            Arrived::Completion(Completion { result: Ok(bytes), .. }) => Ok(result(bytes)),
            Arrived::Completion(Completion { result: Err(error), .. }) => Err(failure(Some(error), operation.len())),
            Arrived::Bounds { .. } => Err(failure(None, operation.len())),
        })?
    }

    /// Writes a request to the ring, if there is room.
    #[inline]
    fn submit<'a>(&mut self, request: impl Fn(u64) -> Request<'a>) -> Result<u64, ClientError> {
        if self.link.transport.is_closed() {
            return Err(self.link.ended());
        }
        let number = self.number_next;
        match request(number).push(&mut self.link.transport.requests) {
            Ok(()) => {
                self.number_next += 1;
                self.outstanding += 1;
                Ok(number)
            }
            Err(PushError::Full) => {
                // The driver can only make room for what it sees; and it may be gone.
                self.flush();
                Err(if self.link.is_alive() { ClientError::Overloaded } else { self.link.ended() })
            }
            Err(PushError::TooLong { length, limit }) => Err(ClientError::TooLarge {
                bytes: length.saturating_sub(HEADER_BYTES),
                limit: limit.saturating_sub(HEADER_BYTES),
            }),
            Err(PushError::Fault(fault)) => Err(fault.into()),
        }
    }

    /// Writes a request to the ring, waiting for room.
    fn submit_waiting<'a>(
        &mut self,
        wait: &Wait,
        footprint_bytes: usize,
        request: impl Fn(u64) -> Request<'a>,
    ) -> Result<u64, ClientError> {
        loop {
            match self.submit(&request) {
                Err(ClientError::Overloaded) => {}
                outcome => return outcome,
            }
            // A driver that has no room for answers takes no requests: make room on both sides.
            self.keep_arrived()?;
            if !wait.pause(&mut self.link, footprint_bytes) {
                return Err(ClientError::TimedOut { waited: wait.timeout(), number: None });
            }
        }
    }

    /// Waits for the answer to one request; keeps the others.
    fn await_number<R>(
        &mut self,
        wait: &Wait,
        number: u64,
        answer: impl Fn(Arrived<'_>) -> R,
    ) -> Result<R, ClientError> {
        self.flush();
        loop {
            let mut answered = None;
            let mut kept = std::mem::take(&mut self.kept);
            let taken = self.take(|arrived| match arrived {
                arrived if arrived.number() == number => answered = Some(answer(arrived)),
                Arrived::Completion(completion) => kept.push_back(Kept::new(completion)),
                Arrived::Bounds { .. } => {}
            });
            self.kept = kept;
            if let Some(answered) = answered {
                return Ok(answered);
            }
            if taken? == 0 && !wait.pause(&mut self.link, 0) {
                return Err(ClientError::TimedOut { waited: wait.timeout(), number: Some(number) });
            }
        }
    }

    /// Takes what has arrived out of the ring, for a later poll.
    fn keep_arrived(&mut self) -> Result<(), ClientError> {
        let mut kept = std::mem::take(&mut self.kept);
        let taken = self.take(|arrived| {
            if let Arrived::Completion(completion) = arrived {
                kept.push_back(Kept::new(completion));
            }
        });
        self.kept = kept;
        taken.map(|_| ())
    }

    /// Takes responses out of the ring. Returns how many; an error only when there was none and never will be.
    #[inline]
    fn take(&mut self, mut each: impl FnMut(Arrived<'_>)) -> Result<usize, ClientError> {
        let count = self.take_published(&mut each)?;
        if count > 0 || self.link.is_alive() {
            return Ok(count);
        }
        match self.take_published(&mut each)? {
            0 => Err(self.link.ended()),
            count => Ok(count),
        }
    }

    #[inline]
    fn take_published(&mut self, each: &mut impl FnMut(Arrived<'_>)) -> Result<usize, ClientError> {
        let limit = self.facts.operation_bytes_max as usize;
        let mut outcome = Ok(());
        let count = self.link.transport.poll_responses(POLL_MAX, |record| match Response::decode(record) {
            Ok(Response::Result { number, status, bytes }) => {
                let ordered = status == Status::Ok;
                each(Arrived::Completion(Completion { number, ordered, result: result(status, bytes, limit) }));
            }
            Ok(Response::Answer { number, bytes }) => {
                each(Arrived::Completion(Completion { number, ordered: false, result: Ok(bytes) }));
            }
            Ok(Response::Bounds { number, oldest, end }) => {
                let bounds = Bounds { oldest: Position(oldest), end: Position(end) };
                each(Arrived::Bounds { number, bounds });
            }
            Err(error) => outcome = Err(error),
        })?;
        self.outstanding = self.outstanding.saturating_sub(count as u64);
        outcome?;
        Ok(count)
    }
}

/// A response, in this library's terms.
enum Arrived<'a> {
    Completion(Completion<'a>),
    Bounds { number: u64, bounds: Bounds },
}

impl Arrived<'_> {
    fn number(&self) -> u64 {
        match self {
            Arrived::Completion(completion) => completion.number,
            Arrived::Bounds { number, .. } => *number,
        }
    }
}

impl Kept {
    fn new(completion: Completion<'_>) -> Kept {
        let result = completion.result.map(<[u8]>::to_vec);
        Kept { number: completion.number, ordered: completion.ordered, result }
    }
}

#[inline]
fn result(status: Status, bytes: &[u8], limit: usize) -> Result<&[u8], OperationError> {
    match status {
        Status::Ok => Ok(bytes),
        Status::TooLarge => Err(OperationError::TooLarge { limit }),
        Status::Overloaded => Err(OperationError::Overloaded),
        Status::Unsupported => Err(OperationError::Unsupported),
        Status::Unavailable => Err(OperationError::Unavailable),
    }
}

/// What a blocking call returns for an answer without a result; `None` is an answer to another question.
fn failure(error: Option<OperationError>, bytes: usize) -> ClientError {
    match error {
        Some(OperationError::TooLarge { limit }) => ClientError::TooLarge { bytes, limit },
        Some(OperationError::Overloaded) => ClientError::Overloaded,
        Some(OperationError::Unsupported) => ClientError::Unsupported,
        Some(OperationError::Unavailable) => ClientError::Unavailable,
        None => RecordError { reason: "an answer to another question" }.into(),
    }
}

/// The position that is the result of an append.
fn position(result: &[u8]) -> Option<Position> {
    result.try_into().ok().map(|bytes| Position(u64::from_le_bytes(bytes)))
}
