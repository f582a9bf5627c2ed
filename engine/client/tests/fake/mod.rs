//! A driver in miniature: one thread that serves sessions, orders what they append in a list, and has no cluster behind
//! it. It follows the rules of a real one: it never blocks, reserves room for answers before it takes requests, and
//! retries entries that a slow subscriber has no room for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use logothete_client::record::{
    Eviction, Facts, FaultReason, Notice, Request, Response, ServiceKind, Status, message_footprint_bytes,
};
use logothete_transport::ring::PushError;
use logothete_transport::session::{Interest, Listener, ListenerConfig, ServerSession};

/// Requests taken from one session in one turn.
const REQUESTS_MAX: usize = 64;

/// How the driver behaves.
#[derive(Clone, Copy)]
pub struct Behaviour {
    pub service: ServiceKind,
    pub operation_bytes_max: u32,
    /// Answers every operation with this status instead of executing it.
    pub status: Status,
    /// Takes requests and never answers.
    pub mute: bool,
    /// Takes no requests at all.
    pub deaf: bool,
    /// The oldest position it still has.
    pub oldest: u64,
    /// Entries in the log at the start.
    pub entries: u64,
    /// Sends this position instead of the right one, to see whether the client notices.
    pub position_wrong: Option<u64>,
}

impl Default for Behaviour {
    fn default() -> Behaviour {
        Behaviour {
            service: ServiceKind::Log,
            operation_bytes_max: 1024,
            status: Status::Ok,
            mute: false,
            deaf: false,
            oldest: 0,
            entries: 0,
            position_wrong: None,
        }
    }
}

/// What the driver has seen, for the tests to wait for.
#[derive(Default)]
pub struct Seen {
    pub sessions: AtomicU64,
    pub operations: AtomicU64,
    pub evicted: AtomicU64,
}

/// The driver's thread. Dropped, it stops as a driver does that is told to: it says farewell.
pub struct FakeDriver {
    pub path: PathBuf,
    pub seen: Arc<Seen>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl FakeDriver {
    pub fn start(path: &Path, behaviour: Behaviour) -> FakeDriver {
        let listener = Listener::bind(path, config(&behaviour)).unwrap();
        let (seen, stop) = (Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
        let (seen_by_it, stop_seen) = (Arc::clone(&seen), Arc::clone(&stop));
        let thread = std::thread::spawn(move || serve(listener, behaviour, &seen_by_it, &stop_seen));
        FakeDriver { path: path.to_owned(), seen, stop, thread: Some(thread) }
    }
}

impl Drop for FakeDriver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

pub fn config(behaviour: &Behaviour) -> ListenerConfig {
    let facts = Facts {
        service: behaviour.service,
        operation_bytes_max: behaviour.operation_bytes_max,
        result_bytes_max: behaviour.operation_bytes_max,
    };
    ListenerConfig { facts: facts.encode(), ..ListenerConfig::default() }
}

struct Served {
    session: ServerSession,
    /// The next position that a subscriber wants.
    follows: Option<u64>,
    over: bool,
}

enum Answer {
    Result(Vec<u8>),
    Query(Vec<u8>),
    Refusal,
    Bounds(u64),
}

struct Logged {
    session: u64,
    bytes: Vec<u8>,
}

/// Serves until told to stop.
pub fn serve(mut listener: Listener, behaviour: Behaviour, seen: &Seen, stop: &AtomicBool) {
    let mut log: Vec<Logged> =
        (0..behaviour.entries).map(|position| Logged { session: 0, bytes: position.to_le_bytes().to_vec() }).collect();
    let mut sessions: Vec<Served> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        while let Some(session) = listener.accept() {
            sessions.push(Served { session, follows: None, over: false });
        }
        sessions.retain(|served| served.session.is_alive());
        let mut work = 0;
        for served in &mut sessions {
            work += answer(served, &mut log, &behaviour, seen);
        }
        for served in &mut sessions {
            work += follow(served, &log, &behaviour);
        }
        let mut index = 0;
        while index < sessions.len() {
            if sessions[index].over || sessions[index].session.fault().is_some() {
                seen.evicted.fetch_add(1, Ordering::Relaxed);
                sessions.swap_remove(index).session.evict(&Eviction::Malformed.encode());
            } else {
                index += 1;
            }
        }
        seen.sessions.store(sessions.len() as u64, Ordering::Relaxed);
        if work == 0 {
            sleep(&listener, &mut sessions, &log, &behaviour);
        }
    }
    for served in sessions {
        served.session.evict(&Eviction::Stopping.encode());
    }
}

fn room_for_one(behaviour: &Behaviour) -> usize {
    message_footprint_bytes(behaviour.operation_bytes_max as usize)
}

/// Takes as many requests as there is room for answers to.
fn answer(served: &mut Served, log: &mut Vec<Logged>, behaviour: &Behaviour, seen: &Seen) -> usize {
    let session = &mut served.session;
    let Ok(free_bytes) = session.responses.free_bytes() else {
        return 0;
    };
    let room = if behaviour.deaf { 0 } else { free_bytes / room_for_one(behaviour) };
    let id = session.id();
    let mut answers: Vec<(u64, Answer)> = Vec::new();
    let (follows, over) = (&mut served.follows, &mut served.over);
    let taken = session.poll_requests(REQUESTS_MAX.min(room), |record| {
        match Request::decode(record) {
            Ok(request) if behaviour.status != Status::Ok => {
                if let Request::Operation { number, .. }
                | Request::Query { number, .. }
                | Request::EndQuery { number } = request
                {
                    answers.push((number, Answer::Refusal));
                }
            }
            Ok(Request::Operation { number, bytes }) => {
                let result = match behaviour.service {
                    ServiceKind::Log => (log.len() as u64).to_le_bytes().to_vec(),
                    _ => bytes.iter().rev().copied().collect(),
                };
                log.push(Logged { session: id, bytes: bytes.to_vec() });
                answers.push((number, Answer::Result(result)));
                seen.operations.fetch_add(1, Ordering::Relaxed);
            }
            // A query is answered at once where it is a short one, and ordered where it is long.
            Ok(Request::Query { number, bytes }) => answers.push((number, Answer::Query(bytes.to_vec()))),
            Ok(Request::EndQuery { number }) => answers.push((number, Answer::Bounds(log.len() as u64))),
            Ok(Request::SubscribeFrom { position }) => *follows = Some(position),
            Err(_) => *over = true,
        }
        true
    });
    if behaviour.mute {
        answers.clear();
    }
    for (number, answer) in &answers {
        let number = *number;
        let response = match answer {
            Answer::Result(bytes) => Response::Result { number, status: Status::Ok, bytes },
            Answer::Query(bytes) if bytes.len() <= 8 => Response::Answer { number, bytes },
            Answer::Query(bytes) => Response::Result { number, status: Status::Ok, bytes },
            Answer::Refusal => Response::Result { number, status: behaviour.status, bytes: &[] },
            Answer::Bounds(end) => Response::Bounds { number, oldest: behaviour.oldest, end: *end },
        };
        response.push(&mut session.responses).expect("room was reserved");
    }
    session.publish();
    taken.unwrap_or(0)
}

/// Sends a subscriber what it has room for.
fn follow(served: &mut Served, log: &[Logged], behaviour: &Behaviour) -> usize {
    let (Some(position), Some(ring)) = (served.follows, &mut served.session.subscription) else {
        return 0;
    };
    let notice = if behaviour.service != ServiceKind::Log {
        Some(Notice::Fault { reason: FaultReason::Unsupported })
    } else if position < behaviour.oldest {
        Some(Notice::Trimmed { oldest: behaviour.oldest })
    } else {
        None
    };
    let mut sent = 0;
    if let Some(notice) = notice {
        notice.push(ring).expect("it is the first notice");
        served.follows = None;
        sent = 1;
    } else {
        for (index, logged) in log.iter().enumerate().skip(position as usize) {
            let position = behaviour.position_wrong.unwrap_or(index as u64);
            let entry = Notice::Entry {
                position,
                timestamp_ns: 1000 + index as u64,
                session: logged.session,
                bytes: &logged.bytes,
            };
            match entry.push(ring) {
                Ok(()) => sent += 1,
                Err(PushError::Full | PushError::Fault(_)) => break,
                Err(error) => panic!("an entry that fits no ring: {error}"),
            }
        }
        served.follows = Some(position + sent as u64);
    }
    served.session.publish();
    sent
}

fn sleep(listener: &Listener, sessions: &mut [Served], log: &[Logged], behaviour: &Behaviour) {
    let mut idle = true;
    for served in sessions.iter_mut() {
        let room = room_for_one(behaviour);
        let has_room = matches!(served.session.responses.free_bytes(), Ok(free_bytes) if free_bytes >= room);
        let behind = served.follows.is_some_and(|position| position < log.len() as u64);
        idle &= served.session.prepare_sleep(Interest {
            requests: has_room && !behaviour.deaf,
            responses_free_bytes: if has_room { 0 } else { room },
            subscription_free_bytes: if behind { 1024 } else { 0 },
        });
    }
    if idle {
        listener.wait(Duration::from_millis(50));
    }
    for served in sessions {
        served.session.cancel_sleep();
    }
}
