//! The end of a run: is everything as before, do the replicas agree, and could one copy have answered like this?

use super::{ASK_INTERVAL, CLEAN, Run};
use logothete::failure::Failure;
use logothete_engine::client::status::ReplicaStatus;
use std::time::{Duration, Instant};

/// How long an answer may take when nothing is wrong any more.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// How often the goodput is measured again where it is too little.
const RECOVERY_TRIES: usize = 4;

/// How long the replicas may take to agree.
const AGREE_WAIT: Duration = Duration::from_secs(20);

impl Run<'_> {
    /// Ends a run. `survives`: the cluster must be as before, and its replicas agree.
    ///
    /// # Errors
    ///
    /// When a process died that should not, the load has ended, or the program is asked to end.
    pub fn finish(&mut self, survives: bool) -> Result<(), Failure> {
        if survives {
            self.await_answer("at the end", ANSWER_WAIT)?;
            self.await_recovery()?;
            self.report.view_changes = self.view()?.saturating_sub(self.view_begin);
            self.end_load()?;
            self.compare_replicas()
        } else {
            self.report.clean_per_s = self.clean_per_s;
            // Nobody answers what is in flight: the clients' driver goes first, and these operations fail.
            self.report.failures_allowed = true;
            self.cluster.kill_driver()?;
            self.end_load()
        }
    }

    /// In the end the judged clients must be served as before, or nearly; other programs may have the processor for a
    /// while, so there are some tries.
    fn await_recovery(&mut self) -> Result<(), Failure> {
        let (before_per_s, least) = (self.clean_per_s, if self.ci { 0.2 } else { 0.5 });
        self.report.clean_per_s = before_per_s;
        for _ in 0..RECOVERY_TRIES {
            let after_per_s = self.goodput_over(CLEAN)?;
            self.tell(|| format!("without a fault {after_per_s:.0} operations/s"));
            self.report.clean_per_s = self.report.clean_per_s.min(after_per_s);
            if after_per_s >= least * before_per_s {
                return Ok(());
            }
        }
        self.require(false, || format!("it does not recover: before the fault it did {before_per_s:.0} operations/s"));
        Ok(())
    }

    /// The run cannot go on.
    pub fn give_up(&mut self, failure: &Failure) {
        self.require(false, || failure.to_string());
        self.report.clean_per_s = self.clean_per_s;
        let state = self.cluster.ask().map(|answers| {
            let line = |answer: &Option<ReplicaStatus>| match answer {
                None => String::from("no answer"),
                Some(own) => format!("view {}, executed {}, {:?}", own.view, own.executed, own.progress),
            };
            answers.iter().map(line).collect::<Vec<_>>().join("; ")
        });
        self.tell(|| format!("the replicas in the end: {state:?}"));
    }

    fn end_load(&mut self) -> Result<(), Failure> {
        let loaded = self.load.take().expect("it is ended once").finish()?;
        self.report.gap = Duration::from_nanos(loaded.result.acknowledgement_gap_max_ns);
        self.report.operations = loaded.result.acknowledged;
        self.report.failed = loaded.result.failures.total();
        match loaded.judged {
            Ok(judged) => {
                self.tell(|| format!("{judged} reads and writes are linearizable"));
                self.require(judged > 0, || String::from("nothing was recorded"));
            }
            Err(violation) => self.require(false, || violation),
        }
        Ok(())
    }

    /// All replicas must come to the same state at the same sequence number.
    fn compare_replicas(&mut self) -> Result<(), Failure> {
        let begin = Instant::now();
        let mut answers = self.cluster.ask()?;
        while begin.elapsed() < AGREE_WAIT && !all_agree(&answers) {
            self.pass(ASK_INTERVAL)?;
            answers = self.cluster.ask()?;
        }
        self.require(all_agree(&answers), || {
            let state = |answer: &Option<ReplicaStatus>| answer.as_ref().map(|own| (own.executed, own.state_digest));
            let states: Vec<_> = answers.iter().map(state).collect();
            format!("the replicas do not agree in the end: executed and state of each: {states:?}")
        });
        Ok(())
    }
}

/// Whether every replica answers, and all with one state at one sequence number.
fn all_agree(answers: &[Option<ReplicaStatus>]) -> bool {
    let mut states = answers.iter().map(|answer| answer.as_ref().map(|status| (status.executed, status.state_digest)));
    let first = states.next().flatten();
    first.is_some() && states.all(|state| state == first)
}
