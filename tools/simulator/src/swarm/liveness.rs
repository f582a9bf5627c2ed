//! The liveness phase: a core of correct replicas is healed and everything else stays as wrong as it is for ever; all that clients asked for, and some
//! more, must complete within the bound, and views must not run away.

use crate::checks::violations::Checker;
use crate::swarm::plan::Core;
use crate::swarm::run::{Run, Stop};
use crate::swarm::strike::{begin_again, start_failed};
use crate::world::hosts::{ClientHost, ReplicaHost};
use crate::world::links::DELAY_MAX_NS;
use crate::world::random::Random;
use logothete_engine::limits::{RETRANSMIT_MAX_NS, SILENCE_MIN_NS};
use logothete_engine::numbers::{Principal, ReplicaId};

/// Distance between two looks at what completed.
const LOOK_NS: u64 = 10_000_000;

/// How long the core has to come to the same place once nobody waits for anything.
const SETTLE_NS: u64 = 10_000_000_000;

/// How long a replica that forgot has to recover, while nobody asks for anything and nothing travels for long.
const RECOVERY_NS: u64 = 100_000_000_000;

/// Views that a change to a live primary may take beyond those of the faulty, when it begins from nothing.
const VIEWS_SPARE: u64 = 8;

/// Where a core stands while views change and nothing is executed.
#[derive(Clone, Copy, Debug)]
struct Vain {
    since_ns: u64,
    executed: u64,
    view: u64,
}

impl Run<'_, '_> {
    /// Plays the phase.
    ///
    /// # Errors
    /// What does not complete, or what a checker found.
    pub fn liveness(&mut self) -> Result<(), Stop> {
        self.strikes.freeze();
        let core = self.draw_core();
        self.heal(&core)?;
        let (begin_ns, begin_view) = (self.timeline.now_ns(), self.view(&core));
        for _ in 0..self.plan.liveness_requests {
            for load in &mut self.loads {
                load.request_more(&mut self.timeline)?;
            }
            self.advance(self.timeline.now_ns() + LOOK_NS)?;
        }
        let end_ns = begin_ns + self.bound_ns();
        self.until(&core, end_ns, |run| run.timeline.cluster.clients.iter().all(|client| client.outstanding() == 0))?
            .ok_or_else(|| self.failure("what clients asked for does not complete"))?;
        self.check_views(&core, begin_ns, begin_view)?;
        let settle_ns = self.timeline.now_ns() + SETTLE_NS;
        let furthest = core.iter().map(|at| self.timeline.cluster.replicas[*at].executed).max();
        let furthest = furthest.expect("a core has members");
        self.until(&core, settle_ns, |run| run.has_come(&core, furthest))?
            .ok_or_else(|| self.failure("a correct replica stays behind"))?;
        if self.plan.core == Core::Everybody {
            let recovery_ns = self.timeline.now_ns() + self.recovery_ns();
            let recovered = |host: &ReplicaHost| !host.is_correct() || !host.recovers;
            self.until(&core, recovery_ns, |run| run.timeline.cluster.replicas.iter().all(recovered))?
                .ok_or_else(|| self.failure("a replica does not recover"))?;
            let settle_ns = self.timeline.now_ns() + SETTLE_NS;
            self.until(&core, settle_ns, |run| run.has_come(&core, furthest))?
                .ok_or_else(|| self.failure("a replica that recovered stays behind"))?;
        }
        self.check_views(&core, begin_ns, begin_view)?;
        let checks = &mut self.timeline.cluster.checks;
        checks.on_end();
        checks.verdict()?;
        self.check_demotions(&core)
    }

    /// `(f+2)` timeouts of the longest, the longest retry of a client, and the delays of four messages (RELIABILITY 0.1), by the slowest clock; and then one
    /// after the other what waits, among what faulty clients ask for. A client whose tags are not good for all costs `2f+1` views more (`protocol.md DM-3`).
    fn bound_ns(&self) -> u64 {
        let (faults, delay_ns) = (self.plan.cluster.quorum().faults() as u64, DELAY_MAX_NS + self.plan.links.base_ns.1);
        let views = faults + 2 + self.plan.spoilers().len() as u64 * (2 * faults + 1);
        let bound_ns = views * self.plan.cluster.timeout_view_max_ns + RETRANSMIT_MAX_NS + 4 * delay_ns;
        let waiting: u64 = self.timeline.cluster.clients.iter().map(ClientHost::outstanding).sum();
        bound_ns * 10 / 9 + SETTLE_NS + waiting * 8 * delay_ns
    }

    /// It votes again after a window and an interval of null batches at most, which are agreed on as many at a time as the pipeline is deep.
    fn recovery_ns(&self) -> u64 {
        let (cluster, delay_ns) = (&self.plan.cluster, DELAY_MAX_NS + self.plan.links.base_ns.1);
        let batches = (cluster.window() + cluster.checkpoint_interval).div_ceil(cluster.pipeline_depth);
        RECOVERY_NS + batches * 4 * delay_ns
    }

    /// Those that are correct and remember what they said; at most `f` do not.
    fn draw_core(&mut self) -> Vec<usize> {
        let replicas = &self.timeline.cluster.replicas;
        let remembers = |host: &ReplicaHost| {
            let may_begin_again = host.is_crashed() || self.plan.cluster.journal;
            !host.recovers && (!may_begin_again || host.disk.remembers())
        };
        let is_correct = |host: &ReplicaHost| host.is_correct() || host.is_crashed();
        let is_fit =
            |at: &usize| !self.plan.is_byzantine(*at) && is_correct(&replicas[*at]) && remembers(&replicas[*at]);
        let mut fit: Vec<usize> = (0..replicas.len()).filter(is_fit).collect();
        let quorum = self.plan.cluster.quorum().strong();
        assert!(fit.len() >= quorum, "the harness made more than f replicas faulty");
        if self.plan.core == Core::Everybody {
            let correct = |at: &usize| !self.plan.is_byzantine(*at) && is_correct(&replicas[*at]);
            return (0..replicas.len()).filter(correct).collect();
        }
        let mut random = Random::named(self.plan.seed, "core");
        // Whoever is primary now is left out half of the time, where it can be: then the others must find that it does not serve.
        let primary = (self.view(&fit) % replicas.len() as u64) as usize;
        while fit.len() > quorum {
            let place = fit.iter().position(|at| *at == primary).filter(|_| random.percent(50));
            fit.remove(place.unwrap_or_else(|| random.below(fit.len())));
        }
        fit
    }

    fn heal(&mut self, core: &[usize]) -> Result<(), Stop> {
        let now_ns = self.timeline.now_ns();
        let (replicas, clients) = (self.timeline.cluster.replicas.len(), self.timeline.cluster.clients.len());
        // About tags that are good for some replicas only others are asked while clocks agree that the proposal is new (`protocol.md DM-2`).
        let clocks_must_agree = !self.plan.spoilers().is_empty();
        let whole: Vec<usize> = core.iter().copied().chain(replicas..replicas + clients).collect();
        self.timeline.heal(&whole);
        self.timeline.cluster.end_schedule();
        for &at in core {
            self.timeline.cluster.replicas[at].disk.mend();
            begin_again(&mut self.timeline, at)?;
            let host = &mut self.timeline.cluster.replicas[at];
            host.clock.freeze(now_ns, false);
            if clocks_must_agree {
                host.clock.set_right();
            }
            let who = Principal::Replica(ReplicaId(at as u8));
            self.timeline.pause(who, false);
            self.timeline.look_at(who);
        }
        self.timeline.cluster.clients.iter_mut().for_each(|client| client.spoils.clear());
        Ok(())
    }

    /// Waits for something; `None` if it does not come in time.
    fn until(&mut self, core: &[usize], end_ns: u64, done: impl Fn(&Self) -> bool) -> Result<Option<()>, Stop> {
        let mut vain = self.vain(core);
        while !done(self) {
            if self.timeline.now_ns() >= end_ns {
                return Ok(None);
            }
            // What failed before the disk was mended is noticed a little later.
            core.iter().try_for_each(|at| start_failed(&mut self.timeline, *at))?;
            self.advance(self.timeline.now_ns() + LOOK_NS)?;
            let now = self.vain(core);
            if now.executed > vain.executed {
                vain = now;
            }
            self.check_doubling(&vain, &now)?;
        }
        Ok(Some(()))
    }

    fn vain(&self, core: &[usize]) -> Vain {
        let executed = core.iter().map(|at| self.timeline.cluster.replicas[*at].executed).max();
        let (executed, view) = (executed.expect("a core has members"), self.view(core));
        Vain { since_ns: self.timeline.now_ns(), executed, view }
    }

    /// While nothing is executed each replica gives up fewer views than make its time-outs longer than that, beginning with the shortest.
    fn check_doubling(&self, since: &Vain, now: &Vain) -> Result<(), Stop> {
        let (views, elapsed_ns) = (now.view.saturating_sub(since.view), now.since_ns - since.since_ns);
        let each = 2 + u64::from((elapsed_ns / SILENCE_MIN_NS).max(1).ilog2());
        let capped = elapsed_ns / self.plan.cluster.timeout_view_max_ns;
        if views <= VIEWS_SPARE + self.plan.cluster.replicas as u64 * (each + capped) {
            return Ok(());
        }
        Err(self.failure(&format!("{views} views in {elapsed_ns} ns in which nothing was executed")))
    }

    fn view(&self, core: &[usize]) -> u64 {
        let views = core.iter().map(|at| self.timeline.cluster.replicas[*at].orderer.replica().view().0);
        views.max().expect("a core has members")
    }

    /// No view is given up before the shortest timeout, apart from those that a change may skip at once.
    fn check_views(&self, core: &[usize], begin_ns: u64, begin_view: u64) -> Result<(), Stop> {
        // Who was away may have wanted a view that it had told nobody of, and does not remember.
        let (views, elapsed_ns) = (self.view(core).saturating_sub(begin_view), self.timeline.now_ns() - begin_ns);
        let most = VIEWS_SPARE + self.plan.cluster.quorum().faults() as u64 + elapsed_ns / SILENCE_MIN_NS;
        match views <= most {
            true => Ok(()),
            false => Err(self.failure(&format!("{views} views in {elapsed_ns} ns: at most {most} have a reason"))),
        }
    }

    /// Whether all of the core that remember what they promised have come to a number, and what clients accepted has committed. They may go on: the
    /// adversary's clients do.
    fn has_come(&self, core: &[usize], number: u64) -> bool {
        !self.timeline.cluster.checks.awaits_commits()
            && core
                .iter()
                .map(|at| &self.timeline.cluster.replicas[*at])
                .all(|host| host.recovers || host.executed >= number)
    }

    /// Nobody is demoted who never spoilt a tag.
    fn check_demotions(&self, core: &[usize]) -> Result<(), Stop> {
        let spoilers = self.plan.spoilers();
        for at in core {
            let host = &self.timeline.cluster.replicas[*at];
            if let Some(client) = host.orderer.replica().demoted_clients().find(|id| !spoilers.contains(&id.0)) {
                return Err(self.failure(&format!("{} has c{client} demoted, which never spoilt a tag", host.id)));
            }
        }
        Ok(())
    }

    /// Where everybody is: what a failure has to say.
    fn failure(&self, what: &str) -> Stop {
        let cluster = &self.timeline.cluster;
        let mut text = format!("{}: {what}\n", Checker::Liveness);
        for host in &cluster.replicas {
            let (replica, fault) = (host.orderer.replica(), host.fault.as_ref().map(|fault| fault.behaviour));
            let active = if replica.is_active() { "in" } else { "wants" };
            let (view, executed, stable) = (replica.view(), replica.executed(), replica.stable());
            text += &format!("  {}: {active} v{view}, executed {executed}, stable {stable}", host.id);
            text += if host.recovers { ", recovers" } else { "" };
            text += &fault.map_or(String::new(), |fault| format!(", {fault:?}"));
            text += "\n";
        }
        for host in &cluster.clients {
            let stopped = if host.stopped { ", stopped" } else { "" };
            text += &format!("  c{}: accepted {}, waits for {}{stopped}\n", host.id, host.accepted, host.outstanding());
        }
        Stop::Violated(text.trim_end().to_owned())
    }
}
