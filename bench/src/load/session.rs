//! Sessions of the client library as targets of the load.

use std::path::Path;
use std::time::Duration;

use logothete_client::{ClientError, OperationError, Options, Session};

use super::target::{Access, Answer, Failure, Refusal, Target};

/// Turns of the loop without any answer, each of which gave the processor away, before several sessions are waited for
/// asleep: some hundred microseconds, longer than an answer takes while the cluster is well.
const IDLE_TURNS_MAX: u32 = 256;

/// How long the load sleeps on one of several sessions, when none has had an answer for a while. An answer to another
/// one is seen that much later at most.
const SLEEP_MAX: Duration = Duration::from_micros(100);

/// Opens `count` sessions with the driver whose socket is at `path`.
///
/// # Errors
/// The first that could not be opened.
pub fn connect(path: &Path, count: usize, options: &Options) -> Result<Vec<Session>, ClientError> {
    (0..count).map(|_| Session::connect(path, *options)).collect()
}

impl Target for Session {
    #[inline]
    fn submit(&mut self, access: Access, operation: &[u8]) -> Result<u64, Refusal> {
        let submitted = match access {
            Access::Write => self.try_call(operation),
            Access::Read => self.try_query(operation),
        };
        submitted.map_err(|error| match error {
            ClientError::Overloaded => Refusal::Full,
            error => Refusal::Failed(of_session(&error)),
        })
    }

    #[inline]
    fn poll(&mut self, mut on_answer: impl FnMut(u64, Result<Answer<'_>, Failure>)) -> Result<usize, Failure> {
        let each = |completion: logothete_client::Completion<'_>| {
            let ordered = completion.ordered;
            let answer = completion.result.map(|result| Answer { result, ordered });
            on_answer(completion.number, answer.map_err(of_operation));
        };
        Session::poll(self, each).map_err(|error| of_session(&error))
    }

    fn wait_any(targets: &mut [Self], timeout: Duration, idle_turns: u32) {
        let single = targets.len() == 1;
        if !single && idle_turns < IDLE_TURNS_MAX {
            // What was submitted has left with the last poll, or leaves here.
            targets.iter_mut().for_each(Session::flush);
            std::thread::yield_now();
            return;
        }
        // The next poll tells of a session that has ended; to the others it is no matter.
        let _ = match single {
            true => targets[0].wait(timeout),
            false => {
                let turn = idle_turns as usize % targets.len();
                targets[turn].wait(timeout.min(SLEEP_MAX))
            }
        };
    }
}

fn of_operation(error: OperationError) -> Failure {
    match error {
        OperationError::TooLarge { .. } => Failure::TooLarge,
        OperationError::Overloaded => Failure::Overloaded,
        OperationError::Unsupported => Failure::Unsupported,
        OperationError::Unavailable => Failure::Unavailable,
    }
}

fn of_session(error: &ClientError) -> Failure {
    match error {
        ClientError::Overloaded => Failure::Overloaded,
        ClientError::TooLarge { .. } => Failure::TooLarge,
        ClientError::Unsupported => Failure::Unsupported,
        ClientError::Unavailable => Failure::Unavailable,
        ClientError::Disconnected => Failure::Disconnected,
        ClientError::Evicted { .. } => Failure::Evicted,
        _ => Failure::Other,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use logothete_client::record::{Facts, Request, Response, ServiceKind, Status};
    use logothete_transport::session::{Listener, ListenerConfig, ServerSession};

    use super::*;
    use crate::load::history::HistoryWriter;
    use crate::load::{Extent, LoadOptions, LogWorkload, Outlets, Pace, run};

    /// A driver without a cluster: every operation gets the next position, as one ordered log would give it.
    fn drive(mut listener: Listener, stop: &AtomicBool) -> u64 {
        let mut sessions: Vec<ServerSession> = Vec::new();
        let mut position = 0u64;
        while !stop.load(Ordering::Relaxed) {
            while let Some(session) = listener.accept() {
                sessions.push(session);
            }
            let mut answered = 0;
            for session in &mut sessions {
                let mut numbers = Vec::with_capacity(64);
                let taken = session.poll_requests(64, |record| {
                    let Ok(Request::Operation { number, .. }) = Request::decode(record) else {
                        panic!("only operations are expected")
                    };
                    numbers.push(number);
                    true
                });
                answered += taken.unwrap();
                for number in numbers {
                    let response = Response::Result { number, status: Status::Ok, bytes: &position.to_le_bytes() };
                    response.push(&mut session.responses).unwrap();
                    position += 1;
                }
                session.publish();
            }
            if answered == 0 {
                std::thread::yield_now();
            }
        }
        position
    }

    fn listen(folder: &tempfile::TempDir) -> Listener {
        let facts = Facts { service: ServiceKind::Log, operation_bytes_max: 1024, result_bytes_max: 1024 };
        let config = ListenerConfig { facts: facts.encode(), ..ListenerConfig::default() };
        Listener::bind(folder.path().join("driver"), config).unwrap()
    }

    /// Runs the load over `sessions` real sessions; returns the answers counted, and the positions given out.
    fn load(sessions: usize, options: &LoadOptions) -> (u64, u64) {
        let folder = tempfile::tempdir().unwrap();
        let listener = listen(&folder);
        let path = listener.path().to_path_buf();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let driver = scope.spawn(|| drive(listener, &stop));
            let mut targets = connect(&path, sessions, &Options::default()).unwrap();
            let mut history = HistoryWriter::new(Vec::new());
            let outlets = Outlets { on_progress: Box::new(|_| ()), history: Some(&mut history), intervals_keep: false };
            let mut workload = LogWorkload::new(8, 0);
            let result = run(&mut targets, &mut workload, options, outlets, &AtomicBool::new(false)).unwrap();
            assert_eq!(result.failures.total() + result.failures_warmup.total(), 0);
            assert_eq!(result.latencies.count(), result.acknowledged);
            stop.store(true, Ordering::Relaxed);
            let lines = history.finish().unwrap().iter().filter(|&&byte| byte == b'\n').count() as u64;
            let positions = driver.join().unwrap();
            assert_eq!(lines, 2 * positions, "a call and an answer for each operation");
            (result.acknowledged, positions)
        })
    }

    #[test]
    fn real_sessions_answer_every_operation_in_a_closed_loop() {
        let options = LoadOptions {
            outstanding: 16,
            extent: Extent::Operations(5_000),
            warmup: Duration::ZERO,
            ..LoadOptions::default()
        };
        assert_eq!(load(1, &options), (5_000, 5_000));
        assert_eq!(load(3, &options), (5_000, 5_000));
    }

    #[test]
    fn real_sessions_answer_every_operation_in_an_open_loop() {
        let options = LoadOptions {
            outstanding: 64,
            pace: Pace::Open { rate_per_s: 20_000.0 },
            extent: Extent::Operations(2_000),
            warmup: Duration::from_millis(10),
            ..LoadOptions::default()
        };
        let (acknowledged, positions) = load(2, &options);
        assert_eq!(acknowledged, 2_000);
        assert!(positions >= 2_000);
    }

    #[test]
    fn a_driver_that_goes_away_fails_what_was_outstanding() {
        let folder = tempfile::tempdir().unwrap();
        let mut listener = listen(&folder);
        let path = listener.path().to_path_buf();
        let mut targets = std::thread::scope(|scope| {
            let connected = scope.spawn(|| connect(&path, 1, &Options::default()).unwrap());
            let session = loop {
                if let Some(session) = listener.accept() {
                    break session;
                }
                std::thread::yield_now();
            };
            let targets = connected.join().unwrap();
            drop((session, listener));
            targets
        });
        let options = LoadOptions {
            outstanding: 4,
            extent: Extent::Operations(100),
            warmup: Duration::ZERO,
            ..LoadOptions::default()
        };
        let mut workload = LogWorkload::new(8, 0);
        let result = run(&mut targets, &mut workload, &options, Outlets::none(), &AtomicBool::new(false)).unwrap();
        assert_eq!(result.acknowledged, 0);
        assert!(result.failures.count(Failure::Disconnected) > 0);
        assert_eq!(result.failures.total(), result.failures.count(Failure::Disconnected));
    }
}
