//! The loop that sends, receives and counts.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::clock::BatchedClock;
use super::collect::{Collected, LoadResult, Phase, Slice, SliceSink};
use super::history::HistoryWriter;
use super::lane::{Flight, Lane};
use super::schedule::{Schedule, nanoseconds};
use super::target::{Access, Failure, Failures, Refusal, Target};
use super::workload::Workload;
use super::{Clock, LoadOptions};

/// One run of the load; everything that it depends on is an argument, time included.
#[derive(Debug)]
pub struct Generator<'a, T, W, C, H: Write> {
    targets: &'a mut [T],
    workload: &'a mut W,
    clock: BatchedClock<'a, C>,
    history: Option<&'a mut HistoryWriter<H>>,
    lanes: Vec<Lane>,
    /// The lane that gets the next operation, so that an open loop spreads them.
    lane_next: usize,
    schedule: Schedule,
    silence_max_ns: u64,
    slice_ns: u64,
    tally: Tally,
}

/// The figures that the generator's own thread keeps.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    acknowledged: u64,
    failures: Failures,
    failures_warmup: Failures,
    duration_ns: u64,
    gap_max_ns: u64,
    stopped: bool,
}

impl Figures {
    /// Puts them together with what the collector added up.
    pub fn with(self, collected: Collected) -> LoadResult {
        LoadResult {
            acknowledged: self.acknowledged,
            failures: self.failures,
            failures_warmup: self.failures_warmup,
            duration_ns: self.duration_ns,
            acknowledgement_gap_max_ns: self.gap_max_ns,
            latencies: collected.latencies,
            reads: collected.reads,
            seconds: collected.seconds,
            intervals: collected.intervals,
            stopped: self.stopped,
        }
    }
}

/// Counters of the generator's thread.
#[derive(Debug)]
struct Tally {
    measured_from_ns: u64,
    acknowledged: u64,
    failures: Failures,
    failures_warmup: Failures,
    /// The last good answer, not before the start of the measured time.
    acknowledged_last_ns: u64,
    /// The last good answer to a measured operation.
    measured_last_ns: u64,
    gap_max_ns: u64,
    slice: Slice,
}

impl Tally {
    #[inline]
    fn acknowledge(&mut self, flight: Flight, ordered: bool, now_ns: u64) {
        if now_ns > self.acknowledged_last_ns {
            self.gap_max_ns = self.gap_max_ns.max(now_ns - self.acknowledged_last_ns);
            self.acknowledged_last_ns = now_ns;
        }
        self.slice.acknowledged += 1;
        if flight.intended_ns >= self.measured_from_ns {
            self.acknowledged += 1;
            self.measured_last_ns = now_ns;
            let latency_ns = now_ns.saturating_sub(flight.intended_ns);
            self.slice.latencies.record(latency_ns);
            if flight.access == Access::Read {
                self.slice.reads.record(latency_ns, ordered);
            }
        }
    }

    fn fail(&mut self, intended_ns: u64, failure: Failure) {
        self.slice.failed += 1;
        if intended_ns >= self.measured_from_ns {
            self.failures.add(failure, 1);
        } else {
            self.failures_warmup.add(failure, 1);
        }
    }
}

impl<'a, T: Target, W: Workload, C: Clock, H: Write> Generator<'a, T, W, C, H> {
    /// Prepares a run over `targets`; the run's time starts here.
    ///
    /// # Panics
    /// When there is no target, nothing may be outstanding, or the rate of an open loop is not positive.
    pub fn new(
        targets: &'a mut [T],
        workload: &'a mut W,
        options: &LoadOptions,
        clock: &'a C,
        history: Option<&'a mut HistoryWriter<H>>,
    ) -> Self {
        assert!(!targets.is_empty() && options.outstanding > 0, "a load needs a session and an outstanding operation");
        let mut clock = BatchedClock::new(clock, history.is_some());
        let start_ns = clock.read();
        let schedule = Schedule::new(options, start_ns);
        let measured_from_ns = schedule.measured_from_ns;
        let lanes = targets.iter().map(|_| Lane::new(options.outstanding)).collect();
        let tally = Tally {
            measured_from_ns,
            acknowledged: 0,
            failures: Failures::default(),
            failures_warmup: Failures::default(),
            acknowledged_last_ns: measured_from_ns,
            measured_last_ns: measured_from_ns,
            gap_max_ns: 0,
            slice: Slice {
                start_ns,
                phase: if start_ns < measured_from_ns { Phase::Warmup } else { Phase::Measured },
                ..Slice::default()
            },
        };
        let silence_max_ns = nanoseconds(options.silence_max);
        let slice_ns = nanoseconds(options.slice).max(1);
        Self { targets, workload, clock, history, lanes, lane_next: 0, schedule, silence_max_ns, slice_ns, tally }
    }

    /// Runs to the end. `stop` ends the sending early; outstanding answers are still awaited.
    pub fn run(mut self, stop: &AtomicBool, sink: &mut impl SliceSink) -> Figures {
        let mut slice_to_ns = self.slice_end(self.tally.slice.start_ns, true);
        // When sending ended, and whether that was before its time.
        let mut sent_to_ns: Option<u64> = None;
        let mut stopped = false;
        let mut active_last_ns = self.tally.slice.start_ns;
        let mut idle_turns = 0;
        loop {
            let now_ns = self.clock.read();
            if sent_to_ns.is_none() {
                stopped = stop.load(Ordering::Relaxed);
                let silent = self.in_flight() && now_ns - active_last_ns > self.silence_max_ns;
                let ended = self.lanes.iter().all(|lane| lane.ended);
                if stopped || silent || ended || self.schedule.over(now_ns, self.silence_max_ns) {
                    sent_to_ns = Some(now_ns);
                }
            }
            let sent = if sent_to_ns.is_none() { self.send() } else { 0 };
            let answered = self.receive();
            if now_ns >= slice_to_ns || sent_to_ns == Some(now_ns) {
                self.slice_cut(now_ns, sent_to_ns.is_none(), sink);
                slice_to_ns = self.slice_end(now_ns, sent_to_ns.is_none());
            }
            if let Some(sent_to_ns) = sent_to_ns
                && (!self.in_flight() || now_ns - sent_to_ns > self.silence_max_ns)
            {
                return self.finish(sent_to_ns, stopped, sink);
            }
            if sent + answered > 0 {
                active_last_ns = now_ns;
                idle_turns = 0;
            } else {
                idle_turns += 1;
                let until_ns = self.wake_ns(slice_to_ns, sent_to_ns.is_none());
                let timeout = Duration::from_nanos(until_ns.saturating_sub(now_ns));
                T::wait_any(self.targets, timeout, idle_turns);
            }
        }
    }

    fn in_flight(&self) -> bool {
        self.lanes.iter().any(|lane| lane.in_flight() > 0)
    }

    /// Sends what is due and has room; returns how many operations were handed over or refused for good.
    fn send(&mut self) -> usize {
        let mut sent = 0;
        let (lanes, lane_first) = (self.lanes.len(), self.lane_next);
        for step in 0..lanes {
            let session = (lane_first + step) % lanes;
            let (lane, target) = (&mut self.lanes[session], &mut self.targets[session]);
            // Bounded even where every operation is refused for good and the window never fills.
            let mut attempts_left = lane.outstanding();
            while attempts_left > 0 && lane.has_room() {
                attempts_left -= 1;
                let now_ns = self.clock.now();
                let Some(intended_ns) = self.schedule.next(now_ns) else {
                    break;
                };
                let access = self.workload.access();
                let operation = self.workload.operation();
                match target.submit(access, operation) {
                    Ok(number) => {
                        if let Some(history) = &mut self.history {
                            history.call(session, number, now_ns, operation);
                        }
                        lane.sent(number, intended_ns, access);
                    }
                    Err(Refusal::Full) => break,
                    Err(Refusal::Failed(failure)) => self.tally.fail(intended_ns, failure),
                }
                self.workload.advance();
                self.schedule.sent(intended_ns);
                sent += 1;
                if self.schedule.is_open() {
                    self.lane_next = (session + 1) % lanes;
                }
            }
        }
        sent
    }

    /// Takes the answers that have come; returns how many.
    fn receive(&mut self) -> usize {
        let Self { targets, workload, clock, history, lanes, tally, .. } = self;
        let mut answered = 0;
        for (session, (target, lane)) in targets.iter_mut().zip(lanes).enumerate() {
            if lane.in_flight() == 0 {
                continue;
            }
            let mut first = true;
            let polled = target.poll(|number, answer| {
                // The first answer of a turn may have come long after the last reading.
                let now_ns = if std::mem::take(&mut first) { clock.read() } else { clock.now() };
                let Some(flight) = lane.answered(number) else {
                    // An answer that nobody waits for, such as a second one, is never right.
                    tally.fail(now_ns, Failure::Other);
                    return;
                };
                let outcome = match answer {
                    Ok(answer) if workload.accepts(flight.access, answer.result) => Ok(answer),
                    Ok(_) => Err(Failure::WrongResult),
                    Err(failure) => Err(failure),
                };
                match outcome {
                    Ok(answer) => tally.acknowledge(flight, answer.ordered, now_ns),
                    Err(failure) => tally.fail(flight.intended_ns, failure),
                }
                if let Some(history) = history {
                    match outcome {
                        Ok(answer) => history.answer(session, number, now_ns, answer.result),
                        Err(failure) => history.failure(session, number, now_ns, failure),
                    }
                }
            });
            match polled {
                Ok(count) => answered += count,
                Err(failure) => {
                    lane.ended = true;
                    abandon(session, lane, failure, clock.read(), tally, history);
                }
            }
        }
        answered
    }

    /// When there is something to do even if no answer comes.
    fn wake_ns(&self, slice_to_ns: u64, sending: bool) -> u64 {
        let room = sending && self.lanes.iter().any(Lane::has_room);
        let due_ns = self.schedule.due_next_ns().filter(|_| room).unwrap_or(u64::MAX);
        slice_to_ns.min(due_ns)
    }

    /// The end of a slice that starts now: after the usual time, or where a phase ends.
    fn slice_end(&self, start_ns: u64, sending: bool) -> u64 {
        let mut end_ns = start_ns.saturating_add(self.slice_ns);
        let phase_ends = [Some(self.schedule.measured_from_ns), self.schedule.measured_to_ns];
        for phase_end_ns in phase_ends.into_iter().flatten().filter(|&end| sending && end > start_ns) {
            end_ns = end_ns.min(phase_end_ns);
        }
        end_ns
    }

    /// Ends the current slice and begins the next. `sending`: whether new operations are still sent in it.
    fn slice_cut(&mut self, now_ns: u64, sending: bool, sink: &mut impl SliceSink) {
        let slice = &mut self.tally.slice;
        slice.end_ns = now_ns;
        sink.exchange(slice);
        slice.start_ns = now_ns;
        slice.phase = if !sending || self.schedule.measured_to_ns.is_some_and(|to| now_ns >= to) {
            Phase::Drain
        } else if now_ns < self.schedule.measured_from_ns {
            Phase::Warmup
        } else {
            Phase::Measured
        };
    }

    fn finish(mut self, sent_to_ns: u64, stopped: bool, sink: &mut impl SliceSink) -> Figures {
        let now_ns = self.clock.read();
        let unanswered = self.in_flight();
        for (session, lane) in self.lanes.iter_mut().enumerate() {
            abandon(session, lane, Failure::NotAnswered, now_ns, &mut self.tally, &mut self.history);
        }
        let unsent = self.schedule.unsent(sent_to_ns);
        self.tally.failures.add(Failure::NotSent, unsent);
        self.tally.slice.failed += unsent;
        self.slice_cut(now_ns.max(self.tally.slice.start_ns), false, sink);

        let measured_from_ns = self.schedule.measured_from_ns;
        let measured_to_ns = self.schedule.measured_to_ns.map_or(sent_to_ns, |to| to.min(sent_to_ns));
        let tally = self.tally;
        let end_ns = measured_to_ns.max(tally.measured_last_ns);
        // Silence at the end counts as far as it belongs to the measured time, or to operations that it swallowed.
        let silent_to_ns = if unanswered { end_ns.max(now_ns) } else { measured_to_ns };
        Figures {
            acknowledged: tally.acknowledged,
            failures: tally.failures,
            failures_warmup: tally.failures_warmup,
            duration_ns: end_ns.saturating_sub(measured_from_ns),
            gap_max_ns: tally.gap_max_ns.max(silent_to_ns.saturating_sub(tally.acknowledged_last_ns)),
            stopped,
        }
    }
}

/// Counts everything in flight on one lane as failed.
fn abandon<H: Write>(
    session: usize,
    lane: &mut Lane,
    failure: Failure,
    now_ns: u64,
    tally: &mut Tally,
    history: &mut Option<&mut HistoryWriter<H>>,
) {
    for flight in lane.abandon() {
        tally.fail(flight.intended_ns, failure);
        if let Some(history) = history {
            history.failure(session, flight.number, now_ns, failure);
        }
    }
}

#[cfg(test)]
#[path = "generator_tests.rs"]
mod tests;
