//! A driver for tests: it serves sessions from memory, with no cluster behind it, and misbehaves on demand.

use logothete_client::record::{Facts, Notice, Request, Response, ServiceKind, Status};
use logothete_transport::session::{Listener, ListenerConfig, ServerSession};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The time of the entry at position 0; each next one is a nanosecond later.
pub const TIMESTAMP_FIRST_NS: u64 = 1_700_000_000_000_000_000;

/// How the driver breaks what it promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lie {
    /// It acknowledges an entry and does not append it.
    Lose,
    /// It appends an entry twice.
    Double,
    /// It appends an entry and the one after it in each other's place.
    Swap,
    /// It appends other bytes.
    Damage,
    /// Every subscriber but the first gets another session's number with the entry.
    Differ,
}

/// What the driver does.
#[derive(Clone, Debug)]
pub struct Script {
    /// The longest operation that it says it takes.
    pub operation_bytes_max: u32,
    /// What it says that the cluster executes.
    pub service: ServiceKind,
    /// Refuses every so manyth operation with `Overloaded`.
    pub refuse_every: Option<u64>,
    /// Answers this operation, counted from 0, with `Unavailable`, and does not append it.
    pub unavailable_at: Option<u64>,
    /// Leaves when this operation, counted from 0, comes.
    pub leave_at: Option<u64>,
    /// The oldest position that can be read.
    pub oldest: u64,
    /// What the log holds at the start.
    pub log: Vec<Vec<u8>>,
    /// Lies about this operation, counted from 0.
    pub lie: Option<(Lie, u64)>,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            operation_bytes_max: 1000,
            service: ServiceKind::Log,
            refuse_every: None,
            unavailable_at: None,
            leave_at: None,
            oldest: 0,
            log: Vec::new(),
            lie: None,
        }
    }
}

/// A running scripted driver; it ends when it is dropped.
pub struct ScriptedDriver {
    directory: tempfile::TempDir,
    log: Arc<Mutex<Vec<Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl ScriptedDriver {
    /// Starts one.
    pub fn start(script: Script) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let facts =
            Facts { service: script.service, operation_bytes_max: script.operation_bytes_max, result_bytes_max: 8 };
        let config = ListenerConfig { facts: facts.encode(), ..ListenerConfig::default() };
        let listener = Listener::bind(directory.path().join("driver.sock"), config).unwrap();
        let log = Arc::new(Mutex::new(script.log.clone()));
        let stop = Arc::new(AtomicBool::new(false));
        let served = Served { script, log: Arc::clone(&log), operations: 0, subscribers: 0 };
        let ended = Arc::clone(&stop);
        let thread = std::thread::spawn(move || served.run(listener, &ended));
        Self { directory, log, stop, thread: Some(thread) }
    }

    /// Where sessions are opened.
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("driver.sock")
    }

    /// What the log holds now.
    pub fn log(&self) -> Vec<Vec<u8>> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for ScriptedDriver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let outcome = self.thread.take().map(std::thread::JoinHandle::join);
        if !std::thread::panicking() {
            assert!(matches!(outcome, Some(Ok(()))), "the scripted driver panicked");
        }
    }
}

struct Served {
    script: Script,
    log: Arc<Mutex<Vec<Vec<u8>>>>,
    operations: u64,
    subscribers: u64,
}

/// One session and the next position that it subscribes to.
struct Client {
    session: ServerSession,
    position: Option<u64>,
    /// How many subscribed before it.
    subscriber: u64,
}

impl Served {
    fn run(mut self, mut listener: Listener, stop: &AtomicBool) {
        let mut clients: Vec<Client> = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            while let Some(session) = listener.accept() {
                clients.push(Client { session, position: None, subscriber: 0 });
            }
            clients.retain(|client| client.session.is_alive());
            for client in &mut clients {
                if !self.serve(client) {
                    return;
                }
            }
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// Serves one session. False: the driver leaves.
    fn serve(&mut self, client: &mut Client) -> bool {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answers = Vec::new();
        let (script, operations, subscribers) = (&self.script, &mut self.operations, &mut self.subscribers);
        let mut leaves = false;
        client
            .session
            .poll_requests(256, |record| {
                match Request::decode(record).unwrap() {
                    Request::Operation { number, bytes } => {
                        let count = *operations;
                        *operations += 1;
                        leaves |= script.leave_at == Some(count);
                        if script.refuse_every.is_some_and(|every| count % every == every - 1) {
                            answers.push((number, Status::Overloaded, 0));
                        } else if script.unavailable_at == Some(count) {
                            answers.push((number, Status::Unavailable, 0));
                        } else {
                            answers.push((number, Status::Ok, log.len() as u64));
                            append(&mut log, bytes, script.lie.filter(|(_, at)| *at == count).map(|(lie, _)| lie));
                            // The one before changes places with this one.
                            if count > 0 && script.lie == Some((Lie::Swap, count - 1)) {
                                let last = log.len() - 1;
                                log.swap(last - 1, last);
                            }
                        }
                    }
                    Request::SubscribeFrom { position } => {
                        client.position = Some(position);
                        client.subscriber = *subscribers;
                        *subscribers += 1;
                    }
                    Request::EndQuery { number } => answers.push((number, Status::Ok, u64::MAX)),
                    // It is a driver of the ordered log, which answers no queries.
                    Request::Query { number, .. } => answers.push((number, Status::Unsupported, 0)),
                }
                !leaves
            })
            .unwrap();
        if leaves {
            return false;
        }
        for (number, status, position) in answers {
            let pushed = match (status, position) {
                (Status::Ok, u64::MAX) => {
                    Response::Bounds { number, oldest: self.script.oldest, end: log.len() as u64 }
                        .push(&mut client.session.responses)
                }
                (Status::Ok, position) => Response::Result { number, status, bytes: &position.to_le_bytes() }
                    .push(&mut client.session.responses),
                _ => Response::Result { number, status, bytes: &[] }.push(&mut client.session.responses),
            };
            pushed.unwrap();
        }
        if let (Some(position), Some(ring)) = (&mut client.position, &mut client.session.subscription) {
            if *position < self.script.oldest {
                // Said again at each turn; the client takes the first.
                let _ = Notice::Trimmed { oldest: self.script.oldest }.push(ring);
            } else {
                while let Some(bytes) = log.get(*position as usize) {
                    let timestamp_ns = TIMESTAMP_FIRST_NS + *position;
                    let differs = client.subscriber > 0 && self.script.lie == Some((Lie::Differ, *position));
                    let session = if differs { 8 } else { 7 };
                    if (Notice::Entry { position: *position, timestamp_ns, session, bytes }).push(ring).is_err() {
                        break;
                    }
                    *position += 1;
                }
            }
        }
        client.session.publish();
        true
    }
}

/// Appends an entry, or what the driver makes of it.
fn append(log: &mut Vec<Vec<u8>>, bytes: &[u8], lie: Option<Lie>) {
    match lie {
        Some(Lie::Lose) => {}
        Some(Lie::Double) => log.extend([bytes.to_vec(), bytes.to_vec()]),
        Some(Lie::Damage) => log.push(bytes.iter().map(|byte| byte ^ 1).collect()),
        Some(Lie::Swap | Lie::Differ) | None => log.push(bytes.to_vec()),
    }
}
