//! The load of a drill: sessions that append numbered entries, and say what was acknowledged where.
//!
//! One thread drives all sessions. Unlike the load generator of `bench`, whose run ends with its sessions, this one
//! survives its driver: what was in flight is reported as unknown, and the session is opened again, under a new number.

use super::entry::EntryWriter;
use super::figures::{Gaps, PhaseLatencies};
use super::shared::{Phase, Shared};
use logothete_client::{ClientError, OperationError, Options, Session};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// Between two attempts to open a session again.
const RECONNECT_NS: u64 = 5_000_000;

/// How long one attempt to open a session may take: the driver answers at once or is not there.
const CONNECT_WAIT: Duration = Duration::from_millis(250);

/// Turns without any answer, each of which gave the processor away, before the load sleeps.
const IDLE_TURNS_MAX: u32 = 256;

/// How long the load sleeps on one of its sessions: an answer to another one is seen that much later at most.
const SLEEP: Duration = Duration::from_micros(100);

/// What a load shall do.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// The driver's socket.
    pub driver: PathBuf,
    /// Rings and time-outs of the sessions.
    pub options: Options,
    /// Sessions.
    pub sessions: usize,
    /// Operations in flight a session.
    pub outstanding: usize,
    /// Bytes of an entry.
    pub payload_bytes: usize,
    /// Operations a second over all sessions; none: as many as the window lets through.
    pub rate_per_s: Option<f64>,
    /// With subscribers so many positions behind, a session has one operation in flight until they have caught up: what
    /// is trimmed before it is read could not be checked.
    pub lag_max: u64,
}

/// What the load tells the checker. Entries of one note are of one session.
#[derive(Debug)]
pub struct Note {
    /// Which session, by the drill's numbers.
    pub session: u32,
    /// How many entries it has appended.
    pub appended: u64,
    /// Counter and position of what was acknowledged.
    pub acknowledged: Vec<(u64, u64)>,
    /// Counters of what nobody will ever acknowledge, and that may be ordered all the same.
    pub unknown: Vec<u64>,
}

/// What a load measured.
#[derive(Debug, Default)]
pub struct LoadFigures {
    /// Times without acknowledgements.
    pub gaps: Gaps,
    /// Latencies by phase.
    pub latencies: PhaseLatencies,
    /// From the begin of the measured time to the end of sending.
    pub measured_ns: u64,
    /// Operations that ended without a position, and may be in the order all the same.
    pub failed: u64,
    /// Operations that the cluster refused for lack of capacity. The checker does not take its word for it.
    pub refused: u64,
    /// Sessions that ended, and were opened again.
    pub reconnections: u64,
    /// How long sessions had one operation in flight only, for the subscribers' sake.
    pub held_back_ns: u64,
    /// What went wrong in a way that has nothing to do with the cluster.
    pub misuse: Option<String>,
}

/// One operation in flight.
#[derive(Clone, Copy, Debug)]
struct Flight {
    due_ns: u64,
    answered: bool,
}

/// One place in the load, with one session at a time.
struct Lane {
    session: Option<Session>,
    /// The session's number in the drill.
    id: u32,
    writer: EntryWriter,
    /// The number that the client library gave to the session's first operation.
    number_first: u64,
    /// Entries appended by this session.
    appended: u64,
    /// From the oldest operation without an answer on.
    flights: VecDeque<Flight>,
    in_flight: usize,
    reconnect_at_ns: u64,
}

impl Lane {
    /// The counter of the oldest flight.
    fn counter_first(&self) -> u64 {
        self.appended - self.flights.len() as u64
    }

    /// The answer to operation `counter` has come. `None` when it was not awaited.
    fn answer(&mut self, counter: u64) -> Option<Flight> {
        let place = counter.checked_sub(self.counter_first())?;
        let flight = self.flights.get_mut(place as usize).filter(|flight| !flight.answered)?;
        flight.answered = true;
        let answered = *flight;
        self.in_flight -= 1;
        while self.flights.front().is_some_and(|first| first.answered) {
            self.flights.pop_front();
        }
        Some(answered)
    }

    /// Gives up everything in flight; returns its counters.
    fn give_up(&mut self) -> Vec<u64> {
        let counters = self.counter_first()..;
        let unknown = counters.zip(&self.flights).filter(|(_, flight)| !flight.answered);
        let unknown = unknown.map(|(counter, _)| counter).collect();
        self.flights.clear();
        self.in_flight = 0;
        unknown
    }
}

/// A load, on the thread that runs it.
pub struct Load<'a> {
    plan: &'a LoadPlan,
    shared: &'a Shared,
    checker: Sender<Note>,
    lanes: Vec<Lane>,
    lane_next: usize,
    sessions_opened: u32,
    /// Operations handed over since the start, which an open loop is paced by.
    sent: u64,
    figures: LoadFigures,
}

impl<'a> Load<'a> {
    /// A load that tells `checker` what it did. Its sessions are opened by [`Load::run`].
    pub fn new(plan: &'a LoadPlan, shared: &'a Shared, checker: Sender<Note>) -> Self {
        let mut load = Self {
            plan,
            shared,
            checker,
            lanes: Vec::new(),
            lane_next: 0,
            sessions_opened: 0,
            sent: 0,
            figures: LoadFigures::default(),
        };
        load.lanes = (0..plan.sessions).map(|_| load.closed_lane()).collect();
        load
    }

    /// A lane without a session, which is opened at once.
    fn closed_lane(&mut self) -> Lane {
        let id = self.sessions_opened;
        self.sessions_opened += 1;
        Lane {
            session: None,
            id,
            writer: EntryWriter::new(id, self.plan.payload_bytes),
            number_first: 0,
            appended: 0,
            flights: VecDeque::with_capacity(self.plan.outstanding),
            in_flight: 0,
            reconnect_at_ns: 0,
        }
    }

    /// Runs until the drill drains the load and nothing is in flight, or abandons it.
    pub fn run(mut self) -> LoadFigures {
        let (mut idle_turns, mut turn_ns, mut measured_from_ns) = (0, self.shared.now_ns(), None);
        let started_ns = turn_ns;
        let mut sending_ended = false;
        loop {
            let now_ns = self.shared.now_ns();
            let phase = self.shared.phase();
            if phase != Phase::Warmup && measured_from_ns.is_none() {
                measured_from_ns = Some(now_ns);
                self.figures.gaps.begin(now_ns);
            }
            if self.shared.draining() {
                if !std::mem::replace(&mut sending_ended, true) {
                    // What comes from here on is the drill's end, not an outage.
                    self.figures.gaps.on_acknowledged(now_ns, self.shared.round());
                    self.figures.measured_ns = now_ns - measured_from_ns.unwrap_or(now_ns);
                }
                if self.shared.abandoned() || self.lanes.iter().all(|lane| lane.in_flight == 0) {
                    break;
                }
            }
            let held_back = self.shared.lag() > self.plan.lag_max;
            if held_back && !sending_ended {
                self.figures.held_back_ns += now_ns - turn_ns;
            }
            turn_ns = now_ns;
            let window = if held_back { 1 } else { self.plan.outstanding };
            let mut moved = 0;
            for step in 0..self.lanes.len() {
                let place = (self.lane_next + step) % self.lanes.len();
                if sending_ended {
                    if self.lanes[place].session.is_none() {
                        continue;
                    }
                } else if !self.connected(place, now_ns) {
                    continue;
                }
                let turn = if sending_ended { Ok(0) } else { self.send(place, window, now_ns, started_ns) };
                let turn = turn.and_then(|sent| Ok(sent + self.receive(place, phase, !sending_ended)?));
                match turn {
                    Ok(count) => moved += count,
                    Err(_) => self.close(place, now_ns),
                }
            }
            self.lane_next = (self.lane_next + 1) % self.lanes.len().max(1);
            if self.figures.misuse.is_some() {
                break;
            }
            idle_turns = if moved > 0 { 0 } else { idle_turns + 1 };
            self.pause(idle_turns);
        }
        for place in 0..self.lanes.len() {
            self.tell_given_up(place);
        }
        self.figures
    }

    /// Whether the lane has a session; tries to open one, now and then.
    fn connected(&mut self, place: usize, now_ns: u64) -> bool {
        let lane = &mut self.lanes[place];
        if lane.session.is_some() {
            return true;
        }
        if now_ns < lane.reconnect_at_ns {
            return false;
        }
        let options = Options { timeout_connect: CONNECT_WAIT, ..self.plan.options };
        // A driver that is not there is what drills are about: the lane tries again.
        lane.session = Session::connect(&self.plan.driver, options).ok();
        lane.reconnect_at_ns = self.shared.now_ns() + RECONNECT_NS;
        lane.session.is_some()
    }

    /// Appends as many entries as the window and the pace allow; returns how many.
    fn send(&mut self, place: usize, window: usize, now_ns: u64, started_ns: u64) -> Result<usize, ClientError> {
        let lane = &mut self.lanes[place];
        let Some(session) = &mut lane.session else {
            return Ok(0);
        };
        let mut count = 0;
        while lane.in_flight < window {
            let due_ns = match self.plan.rate_per_s {
                None => now_ns,
                Some(rate_per_s) => {
                    let due_ns = started_ns + (self.sent as f64 / rate_per_s * 1e9) as u64;
                    if due_ns > now_ns {
                        break;
                    }
                    due_ns
                }
            };
            match session.try_append(lane.writer.entry(lane.appended)) {
                Ok(number) => {
                    if lane.appended == 0 {
                        lane.number_first = number;
                    }
                    lane.flights.push_back(Flight { due_ns, answered: false });
                    lane.in_flight += 1;
                    lane.appended += 1;
                    self.sent += 1;
                    count += 1;
                }
                Err(ClientError::Overloaded) => break,
                Err(error @ (ClientError::Disconnected | ClientError::Evicted { .. })) => return Err(error),
                Err(error) => {
                    self.figures.misuse.get_or_insert_with(|| format!("the load cannot append: {error}"));
                    break;
                }
            }
        }
        Ok(count)
    }

    /// Takes the answers that have come; returns how many.
    fn receive(&mut self, place: usize, phase: Phase, measured: bool) -> Result<usize, ClientError> {
        let lane = &mut self.lanes[place];
        let Some(mut session) = lane.session.take() else {
            return Ok(0);
        };
        let (mut acknowledged, mut unknown, mut end) = (Vec::new(), Vec::new(), 0);
        // Read once a turn: the answers of one turn have come together.
        let mut now_ns = None;
        let (shared, figures) = (self.shared, &mut self.figures);
        let polled = session.poll(|completion| {
            let now_ns = *now_ns.get_or_insert_with(|| shared.now_ns());
            let counter = completion.number.wrapping_sub(lane.number_first);
            let Some(flight) = lane.answer(counter) else {
                // The checker knows what to make of an answer that nobody awaits.
                acknowledged.extend(completion.position().map(|position| (counter, position.0)));
                return;
            };
            match (completion.position(), completion.result) {
                (Some(position), _) => {
                    acknowledged.push((counter, position.0));
                    end = end.max(position.0 + 1);
                    if measured {
                        figures.latencies.record(phase, now_ns.saturating_sub(flight.due_ns));
                    }
                }
                (None, result) => {
                    match result {
                        Err(OperationError::Overloaded) => figures.refused += 1,
                        _ => figures.failed += 1,
                    }
                    unknown.push(counter);
                    if let Err(error @ (OperationError::TooLarge { .. } | OperationError::Unsupported)) = result {
                        figures.misuse.get_or_insert_with(|| format!("the cluster takes no entries: {error}"));
                    }
                }
            }
        });
        lane.session = Some(session);
        if let Some(now_ns) = now_ns {
            if measured && !acknowledged.is_empty() {
                figures.gaps.on_acknowledged(now_ns, shared.round());
            }
            shared.add_acknowledged(acknowledged.len() as u64, end);
            let note = Note { session: lane.id, appended: lane.appended, acknowledged, unknown };
            // The checker ends before the load only where the drill has failed.
            let _ = self.checker.send(note);
        }
        polled
    }

    /// The lane's session is over: what was in flight will never be known, and another session takes its place.
    fn close(&mut self, place: usize, now_ns: u64) {
        self.tell_given_up(place);
        self.figures.reconnections += 1;
        self.lanes[place] = Lane { reconnect_at_ns: now_ns, ..self.closed_lane() };
    }

    /// Tells the checker the end of a session.
    fn tell_given_up(&mut self, place: usize) {
        let lane = &mut self.lanes[place];
        let unknown = lane.give_up();
        let note = Note { session: lane.id, appended: lane.appended, acknowledged: Vec::new(), unknown };
        let _ = self.checker.send(note);
    }

    fn pause(&mut self, idle_turns: u32) {
        if idle_turns == 0 {
            return;
        }
        let place = idle_turns as usize % self.lanes.len();
        match &mut self.lanes[place].session {
            // The next poll tells of a session that has ended.
            Some(session) if idle_turns >= IDLE_TURNS_MAX => {
                let _ = session.wait(SLEEP);
            }
            None if idle_turns >= IDLE_TURNS_MAX => std::thread::sleep(SLEEP),
            _ => std::thread::yield_now(),
        }
    }
}
