//! Work beside the caller's: on a thread, or in simulated time.

use super::event::EventFd;
use crate::HostError;
use std::collections::VecDeque;
use std::fmt::{self, Debug};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// How a worker's time passes where it is simulated. The worker does its work at once, as far as control flow goes; the file system
/// takes what it asks for meanwhile as done in the time that follows, step by step, and loses the steps to come when the process ends.
pub trait Pace: Debug + Send {
    /// What is asked of the file system from now on, this worker asks, when what it asked before is done.
    fn begin(&mut self);

    /// So much it asked. Returns the moment at which it is done, as a number for this worker.
    fn end(&mut self) -> u64;

    /// Whether a moment is over.
    fn is_over(&mut self, moment: u64) -> bool;

    /// Lets time pass until a moment is over.
    fn wait(&mut self, moment: u64);

    /// Whether nothing was asked for so long.
    fn rested(&mut self, pause: Duration) -> bool;
}

/// What takes jobs one at a time, and waits for the disk with each.
pub trait Worker: Send + 'static {
    /// What it is given.
    type Job: Send;
    /// What it gives back.
    type Outcome: Send;

    /// Does a job.
    fn work(&mut self, job: Self::Job) -> Option<Self::Outcome>;

    /// After how long it tries again what could not be done, if no job comes.
    fn tries_again_after(&self) -> Option<Duration> {
        None
    }

    /// Tries again.
    fn try_again(&mut self) -> Option<Self::Outcome> {
        None
    }
}

/// A worker at work. Dropping it waits until what was begun is done.
pub struct Background<W: Worker>(Form<W>);

enum Form<W: Worker> {
    Thread(Thread<W>),
    Paced(Paced<W>),
}

impl<W: Worker> Background<W> {
    /// Starts a worker: on a thread, unless its time is simulated. It may have so many jobs waiting; `waker` is signalled after each.
    ///
    /// # Errors
    ///
    /// When the host gives no thread.
    pub fn start(
        name: &'static str,
        jobs_max: usize,
        worker: W,
        waker: Option<EventFd>,
        pace: Option<Box<dyn Pace>>,
    ) -> Result<Self, HostError> {
        Ok(Self(match pace {
            None => Form::Thread(Thread::start(name, jobs_max, worker, waker)?),
            Some(pace) => Form::Paced(Paced { worker, pace, outcomes: VecDeque::new() }),
        }))
    }

    /// Gives it a job; waits where too many are waiting.
    ///
    /// # Panics
    ///
    /// When the worker has panicked.
    pub fn send(&mut self, job: W::Job) {
        match &mut self.0 {
            Form::Thread(thread) => thread.jobs().send(job).expect("the thread ends only when this end is dropped"),
            Form::Paced(paced) => paced.turn(|worker| worker.work(job)),
        }
    }

    /// Gives it a job; false where too many are waiting.
    ///
    /// # Panics
    ///
    /// When the worker has panicked.
    pub fn try_send(&mut self, job: W::Job) -> bool {
        match &mut self.0 {
            Form::Thread(thread) => match thread.jobs().try_send(job) {
                Ok(()) => true,
                Err(TrySendError::Full(_)) => false,
                Err(TrySendError::Disconnected(_)) => panic!("a worker's thread has died"),
            },
            Form::Paced(paced) => {
                paced.turn(|worker| worker.work(job));
                true
            }
        }
    }

    /// The next outcome, if it is there. Never blocks.
    ///
    /// # Panics
    ///
    /// When the worker has panicked.
    pub fn poll(&mut self) -> Option<W::Outcome> {
        match &mut self.0 {
            Form::Thread(thread) => match thread.outcomes.try_recv() {
                Ok(outcome) => Some(outcome),
                Err(TryRecvError::Empty) => None,
                Err(TryRecvError::Disconnected) => panic!("a worker's thread has died"),
            },
            Form::Paced(paced) => paced.poll(),
        }
    }

    /// Waits for the next outcome, for so long.
    ///
    /// # Panics
    ///
    /// When the worker has panicked.
    pub fn wait_for(&mut self, patience: Duration) -> Option<W::Outcome> {
        match &mut self.0 {
            Form::Thread(thread) => match thread.outcomes.recv_timeout(patience) {
                Ok(outcome) => Some(outcome),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => panic!("a worker's thread has died"),
            },
            Form::Paced(paced) => paced.wait(),
        }
    }

    /// Waits for the outcome of a job that has one.
    ///
    /// # Panics
    ///
    /// When the worker has panicked.
    pub fn wait(&mut self) -> W::Outcome {
        match &mut self.0 {
            Form::Thread(thread) => thread.outcomes.recv().expect("the thread ends only when this end is dropped"),
            Form::Paced(paced) => paced.wait().expect("a job was given, and each has an outcome"),
        }
    }
}

impl<W: Worker> Debug for Background<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Form::Thread(_) => "a thread",
            Form::Paced(_) => "in simulated time",
        })
    }
}

struct Thread<W: Worker> {
    /// Closed by drop, which ends the thread.
    jobs: Option<SyncSender<W::Job>>,
    outcomes: Receiver<W::Outcome>,
    thread: Option<JoinHandle<()>>,
}

impl<W: Worker> Thread<W> {
    fn start(name: &'static str, jobs_max: usize, worker: W, waker: Option<EventFd>) -> Result<Self, HostError> {
        let (jobs, taken) = sync_channel(jobs_max);
        // The next outcome is asked for only when the one before was taken.
        let (done, outcomes) = sync_channel(1);
        let run = move || run(worker, &taken, &done, waker.as_ref());
        let thread = std::thread::Builder::new().name(name.into()).spawn(run);
        let thread = thread.map_err(|error| HostError::from_io("clone", &error, format!("the thread {name}")))?;
        Ok(Self { jobs: Some(jobs), outcomes, thread: Some(thread) })
    }

    fn jobs(&self) -> &SyncSender<W::Job> {
        self.jobs.as_ref().expect("it is closed by drop only")
    }
}

impl<W: Worker> Drop for Thread<W> {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic of it was reported where it happened.
            let _ = thread.join();
        }
    }
}

fn run<W: Worker>(mut worker: W, jobs: &Receiver<W::Job>, outcomes: &SyncSender<W::Outcome>, waker: Option<&EventFd>) {
    loop {
        let job = match worker.tries_again_after() {
            None => jobs.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(pause) => jobs.recv_timeout(pause),
        };
        let outcome = match job {
            Ok(job) => worker.work(job),
            Err(RecvTimeoutError::Timeout) => worker.try_again(),
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if let Some(outcome) = outcome
            && outcomes.send(outcome).is_err()
        {
            return;
        }
        if let Some(waker) = waker {
            waker.signal();
        }
    }
}

struct Paced<W: Worker> {
    worker: W,
    pace: Box<dyn Pace>,
    /// What is done already, and when it will have been.
    outcomes: VecDeque<(u64, W::Outcome)>,
}

impl<W: Worker> Paced<W> {
    fn turn(&mut self, work: impl FnOnce(&mut W) -> Option<W::Outcome>) {
        self.pace.begin();
        let outcome = work(&mut self.worker);
        let moment = self.pace.end();
        self.outcomes.extend(outcome.map(|outcome| (moment, outcome)));
    }

    fn poll(&mut self) -> Option<W::Outcome> {
        if self.worker.tries_again_after().is_some_and(|pause| self.pace.rested(pause)) {
            self.turn(W::try_again);
        }
        let moment = self.outcomes.front()?.0;
        self.pace.is_over(moment).then(|| self.outcomes.pop_front().expect("it was just looked at").1)
    }

    fn wait(&mut self) -> Option<W::Outcome> {
        let (moment, outcome) = self.outcomes.pop_front()?;
        self.pace.wait(moment);
        Some(outcome)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Doubles what it is given; what is odd it does at the second try.
    struct Doubler(Option<u64>);

    impl Worker for Doubler {
        type Job = u64;
        type Outcome = u64;

        fn work(&mut self, job: u64) -> Option<u64> {
            if job % 2 == 1 {
                self.0 = Some(job);
                return None;
            }
            Some(2 * job)
        }

        fn tries_again_after(&self) -> Option<Duration> {
            self.0.map(|_| Duration::from_millis(1))
        }

        fn try_again(&mut self) -> Option<u64> {
            self.0.take().map(|job| 2 * job)
        }
    }

    /// Each turn takes one unit of a time that the test drives.
    #[derive(Debug, Default)]
    struct Metronome {
        asked: u64,
        now: Arc<Mutex<u64>>,
    }

    impl Pace for Metronome {
        fn begin(&mut self) {
            self.asked += 1;
        }

        fn end(&mut self) -> u64 {
            self.asked
        }

        fn is_over(&mut self, moment: u64) -> bool {
            *self.now.lock().unwrap() >= moment
        }

        fn wait(&mut self, moment: u64) {
            *self.now.lock().unwrap() = moment;
        }

        fn rested(&mut self, _pause: Duration) -> bool {
            *self.now.lock().unwrap() > self.asked
        }
    }

    #[test]
    fn a_thread_does_jobs_in_their_order_and_tries_again() {
        let mut doubler = Background::start("doubler", 4, Doubler(None), None, None).unwrap();
        doubler.send(2);
        assert!(doubler.try_send(4));
        assert_eq!((doubler.wait(), doubler.wait()), (4, 8));
        doubler.send(3);
        assert_eq!(doubler.wait_for(Duration::from_secs(60)), Some(6));
        assert_eq!((doubler.poll(), doubler.wait_for(Duration::ZERO)), (None, None));
    }

    #[test]
    fn what_is_paced_is_over_in_its_time() {
        let metronome = Metronome::default();
        let now = Arc::clone(&metronome.now);
        let mut doubler = Background::start("doubler", 1, Doubler(None), None, Some(Box::new(metronome))).unwrap();
        doubler.send(2);
        doubler.send(4);
        assert_eq!(doubler.poll(), None);
        *now.lock().unwrap() = 1;
        assert_eq!((doubler.poll(), doubler.poll()), (Some(4), None));
        assert_eq!((doubler.wait(), *now.lock().unwrap()), (8, 2));
        doubler.send(3);
        assert_eq!((doubler.poll(), doubler.wait_for(Duration::ZERO)), (None, None));
        *now.lock().unwrap() = 4;
        assert_eq!((doubler.poll(), doubler.poll()), (Some(6), None));
    }
}
