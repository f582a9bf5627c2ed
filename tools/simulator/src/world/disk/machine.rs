//! A disk in virtual time: who asks what of it, when that is done, and what goes wrong meanwhile.
//!
//! The process itself waits for what it asks (at a start, that is), and its time is not reckoned. Each of its workers has a course of steps
//! that follow one another: waiting for the disk takes time, the rest is done when its turn comes. What a crash finds undone on a course never
//! happens.

use super::faults::{DiskFault, DiskFaults};
use super::image::{Image, Step, Written};
use super::loss::Loss;
use super::records::Records;
use crate::world::random::Random;
use std::collections::{BTreeMap, VecDeque};

/// How long a disk is waited for.
const WRITE_NS: u64 = 50_000;

/// How long a slow one is waited for at most.
const WRITE_SLOW_NS: u64 = 100 * WRITE_NS;

/// The worker that writes the journal's groups.
pub(super) const WRITER: &str = "logothete-disk";

/// How often a call of a worker fails where calls fail.
const FAILS_PERCENT: u32 = 5;

/// The steps of one worker.
#[derive(Clone, Debug, Default)]
pub(super) struct Course {
    /// Each with when it is done, once it has begun.
    pub(super) steps: VecDeque<(Step, Option<u64>)>,
    pub(super) asked: u64,
    pub(super) done: u64,
    /// When the step before was done.
    pub(super) free_at_ns: u64,
}

#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) now_ns: u64,
    /// Nothing becomes durable while a script wants it so.
    pub(super) held: bool,
    pub(super) faults: DiskFaults,
    pub(super) random: Random,
    pub(super) image: Image,
    pub(super) records: Records,
    pub(super) courses: BTreeMap<&'static str, Course>,
    /// The worker whose turn it is; otherwise the process itself asks.
    pub(super) asking: Option<&'static str>,
    /// The last power cut left a part of a group of records.
    pub(super) torn: bool,
    /// Steps done so far, and after how many of them the power fails.
    pub(super) steps: u64,
    pub(super) cut_after: u64,
}

impl Machine {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            now_ns: 0,
            held: false,
            faults: DiskFaults::NONE,
            random: Random::new(seed),
            image: Image::default(),
            records: Records::default(),
            courses: BTreeMap::new(),
            asking: None,
            torn: false,
            steps: 0,
            cut_after: u64::MAX,
        }
    }

    /// Whether the power has failed: nothing is done any more.
    pub(super) fn is_cut(&self) -> bool {
        self.steps >= self.cut_after
    }

    /// The time as it is now; what was to be done until now is.
    pub(super) fn set_time(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        self.advance();
    }

    pub(super) fn advance(&mut self) {
        if self.courses.values().all(|course| course.steps.is_empty()) {
            return;
        }
        let workers: Vec<_> = self.courses.keys().copied().collect();
        for worker in workers {
            while self.advance_one(worker) {}
        }
    }

    /// Does the next step of a worker, if its time has come.
    fn advance_one(&mut self, worker: &'static str) -> bool {
        let slow = self.faults.has(DiskFault::Slow);
        // On a disk without faults, as scripts have it, only promises wait.
        let wait_ns = if self.faults == DiskFaults::NONE && worker != WRITER { 0 } else { WRITE_NS };
        let course = self.courses.get_mut(worker).expect("it has a course");
        let Some((step, due_ns)) = course.steps.front_mut() else { return false };
        // A disk that stalls takes what it is given, and nothing of it becomes durable.
        if self.held && step.waits() {
            return false;
        }
        let due_ns = *due_ns.get_or_insert_with(|| {
            let longest_ns = if slow && self.random.percent(20) { WRITE_SLOW_NS } else { WRITE_NS };
            let spread_ns = if slow { self.random.below(longest_ns as usize) as u64 } else { 0 };
            course.free_at_ns + if step.waits() { wait_ns + spread_ns } else { 0 }
        });
        if due_ns > self.now_ns || self.is_cut() {
            return false;
        }
        self.finish_one(worker);
        self.courses.get_mut(worker).expect("it has a course").free_at_ns = due_ns;
        true
    }

    fn finish_one(&mut self, worker: &'static str) {
        let course = self.courses.get_mut(worker).expect("it has a course");
        let Some((step, _)) = course.steps.pop_front() else { return };
        course.done += 1;
        self.perform(step);
    }

    /// Does what a worker has to do up to a moment, at once.
    pub(super) fn finish(&mut self, worker: &'static str, moment: u64) {
        while self.courses[worker].done < moment && !self.is_cut() {
            self.finish_one(worker);
        }
    }

    /// Something is asked, by the worker whose turn it is or by the process itself.
    pub(super) fn ask(&mut self, step: Step) {
        self.image.ask(&step);
        match self.asking {
            None => self.perform(step),
            Some(worker) => {
                let course = self.courses.get_mut(worker).expect("it has a course");
                if course.steps.is_empty() {
                    course.free_at_ns = course.free_at_ns.max(self.now_ns);
                }
                course.asked += 1;
                course.steps.push_back((step, None));
            }
        }
    }

    fn perform(&mut self, step: Step) {
        if self.is_cut() {
            return;
        }
        self.steps += 1;
        let kept = self.image.perform(step, &mut self.random);
        self.note(&kept);
    }

    fn note(&mut self, kept: &[Written]) {
        for written in kept {
            if self.image.file(written.file).directory.ends_with("journal") {
                self.records.take(written.file, written.at, &written.bytes);
            }
        }
    }

    /// Whether a call that is made now fails.
    pub(super) fn fails(&mut self, kind: DiskFault) -> bool {
        self.faults.has(kind) && self.asking.is_some() && self.random.percent(FAILS_PERCENT)
    }

    /// Whether there is no room for anything new.
    pub(super) fn is_full(&self) -> bool {
        self.faults.has(DiskFault::NoRoom) && self.asking.is_some()
    }

    /// Whether a group of records is on its way, and will arrive.
    pub(super) fn is_writing(&self) -> bool {
        !self.held && self.courses.get(WRITER).is_some_and(|course| !course.steps.is_empty())
    }

    /// The process ended, or the host did.
    pub(super) fn crash(&mut self, loss: Loss) {
        self.advance();
        self.cut_after = u64::MAX;
        self.courses.clear();
        let (kept, parts) = self.image.crash(loss, &mut self.random);
        self.note(&kept);
        self.torn |= parts.iter().any(|written| Records::is_group(&written.bytes));
    }

    /// What a crash loses, where chance says.
    pub(super) fn draw_loss(&mut self) -> Loss {
        let (torn, reordered) = (self.faults.has(DiskFault::Torn), self.faults.has(DiskFault::Reordered));
        let among = [
            (true, Loss::Everything),
            (torn || reordered, Loss::Nothing),
            (torn, Loss::End),
            (reordered, Loss::Sectors),
        ];
        let among: Vec<Loss> = among.into_iter().filter_map(|(is, loss)| is.then_some(loss)).collect();
        // Where there is no choice none is drawn.
        if among.len() == 1 { among[0] } else { among[self.random.below(among.len())] }
    }
}
