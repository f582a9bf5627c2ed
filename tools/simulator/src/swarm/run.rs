//! One run: a plan is played, first its safety phase, then its liveness phase (`liveness`), and an outcome comes out.

use crate::marks::Marks;
use crate::scenario::report::Detail;
use crate::swarm::load::Loading;
use crate::swarm::plan::Plan;
use crate::swarm::strike::{Strikes, start_failed};
use crate::trace::lanes::Lanes;
use crate::world::cluster::Cluster;
use crate::world::fingerprint::Fingerprint;
use crate::world::timeline::Timeline;
use logothete_engine::numbers::Principal;

/// Where a run says what happens, line by line.
pub type Tell<'a> = dyn FnMut(&str) + 'a;

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub seed: u64,
    /// What was violated, and the virtual time then.
    pub violation: Option<(String, u64)>,
    /// It was stopped at its bound of events, before its end.
    pub cut_short: bool,
    pub deliveries: u64,
    pub turns: u64,
    pub virtual_ns: u64,
    /// Operations that clients had answers to.
    pub operations: u64,
    /// The highest view that a correct replica came to.
    pub view: u64,
    pub fingerprint: Fingerprint,
    /// What the run came through.
    pub marks: Marks,
}

/// Why a run ends before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    Violated(String),
    CutShort,
}

impl From<String> for Stop {
    fn from(text: String) -> Self {
        Self::Violated(text)
    }
}

/// Plays a plan up to so many events, and tells it if there is somebody to listen.
pub fn play(plan: &Plan, steps_max: u64, tell: Option<&mut Tell<'_>>) -> Outcome {
    Run::new(plan, steps_max, tell).conduct()
}

/// Plays a plan, tells it, and keeps what happened for a picture.
pub fn play_drawn(plan: &Plan, steps_max: u64, tell: &mut Tell<'_>) -> (Outcome, Lanes) {
    let mut run = Run::new(plan, steps_max, Some(tell));
    let cluster = &mut run.timeline.cluster;
    let replicas = cluster.replicas.iter().map(|host| Principal::Replica(host.id));
    let agents: Vec<Principal> =
        replicas.chain(cluster.clients.iter().map(|host| Principal::Client(host.id))).collect();
    cluster.report.lanes = Some(Lanes::of(&agents));
    let outcome = run.conduct();
    (outcome, run.timeline.cluster.report.lanes.take().expect("they were given to it"))
}

/// A run under way.
pub struct Run<'a, 'b> {
    pub plan: &'a Plan,
    pub timeline: Timeline,
    pub strikes: Strikes,
    pub loads: Vec<Loading>,
    steps_left: u64,
    tell: Option<&'a mut Tell<'b>>,
}

impl<'a, 'b> Run<'a, 'b> {
    fn new(plan: &'a Plan, steps_max: u64, tell: Option<&'a mut Tell<'b>>) -> Self {
        let mut cluster = Cluster::new(plan.cluster);
        for (host, clock) in cluster.replicas.iter_mut().zip(&plan.clocks) {
            host.clock.set_rate(0, clock.rate_ppm);
            host.clock.wall_offset_ns = clock.wall_offset_ns;
        }
        cluster.replicas.iter().for_each(|host| host.disk.set_faults(plan.disks));
        if plan.is_calm() {
            cluster.checks.expect_no_view_change();
        }
        cluster.canary = plan.canary.then_some(1);
        if tell.is_some() {
            cluster.begin(Detail::Full);
        }
        let mut timeline = Timeline::new(cluster, plan.links, (plan.inbox_packets_max, plan.pace), plan.seed);
        if let Some(adversary) = &plan.adversary {
            timeline.cluster.admit(adversary);
        }
        let loads = plan.loads.iter().enumerate();
        let loads = loads.map(|(client, load)| Loading::new(client, *load, &plan.cluster, plan.seed)).collect();
        Self { plan, timeline, strikes: Strikes::default(), loads, steps_left: steps_max, tell }
    }

    fn conduct(&mut self) -> Outcome {
        let stop = self.safety().and_then(|()| self.liveness()).err();
        self.say();
        let (timeline, cluster) = (&self.timeline, &self.timeline.cluster);
        let views =
            cluster.replicas.iter().filter(|host| host.is_correct()).map(|host| host.orderer.replica().view().0);
        Outcome {
            seed: self.plan.seed,
            cut_short: stop == Some(Stop::CutShort),
            violation: match stop {
                Some(Stop::Violated(text)) => Some((text, timeline.now_ns())),
                _ => None,
            },
            deliveries: timeline.deliveries(),
            turns: timeline.turns(),
            virtual_ns: timeline.now_ns(),
            operations: cluster.clients.iter().map(|client| client.accepted).sum(),
            view: views.max().unwrap_or(0),
            fingerprint: timeline.fingerprint(),
            marks: cluster.checks.marks().clone(),
        }
    }

    fn safety(&mut self) -> Result<(), Stop> {
        for load in &self.loads {
            load.open(&mut self.timeline)?;
        }
        let plan = self.plan;
        let mut faults = plan.faults.iter().peekable();
        loop {
            let fault_ns = faults.peek().map_or(u64::MAX, |event| event.at_ns);
            let loads_ns = self.loads.iter().map(Loading::due_ns).min().unwrap_or(u64::MAX);
            let next_ns = fault_ns.min(loads_ns).min(self.strikes.due_ns()).min(self.plan.safety_ns);
            self.advance(next_ns)?;
            let now_ns = self.timeline.now_ns();
            if now_ns >= self.plan.safety_ns {
                return Ok(());
            }
            while let Some(event) = faults.next_if(|event| event.at_ns <= now_ns) {
                self.strikes.strike(&mut self.timeline, event)?;
            }
            self.strikes.go_on(&mut self.timeline)?;
            for at in 0..self.plan.cluster.replicas {
                start_failed(&mut self.timeline, at)?;
            }
            for load in self.loads.iter_mut().filter(|load| load.due_ns() <= now_ns) {
                load.burst(&mut self.timeline)?;
            }
        }
    }

    /// The time goes on to a moment, with all that happens by itself until then.
    ///
    /// # Errors
    /// What a checker found, or the bound of events was reached.
    pub fn advance(&mut self, until_ns: u64) -> Result<(), Stop> {
        while self.timeline.step(until_ns)? {
            self.say();
            self.steps_left -= 1;
            if self.steps_left == 0 {
                return Err(Stop::CutShort);
            }
        }
        Ok(())
    }

    /// Hands on what happened.
    fn say(&mut self) {
        if let Some(tell) = &mut self.tell {
            self.timeline.cluster.report.take_lines().iter().for_each(|line| tell(line));
        }
    }
}
