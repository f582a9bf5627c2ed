//! A plan in words, for whoever reads what a seed was.

use crate::scenario::words::{duration, list};
use crate::swarm::fault::{Fault, FaultEvent, Hearing, Target};
use crate::swarm::plan::{Core, Plan};
use crate::world::disk::faults::DiskFaults;
use crate::world::links::Tail;
use logothete_engine::numbers::{Principal, ReplicaSet};
use std::fmt;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cluster = &self.cluster;
        let (replicas, faults) = (cluster.replicas, cluster.quorum().faults());
        let operations: u32 = self.loads.iter().map(|load| load.operations).sum();
        let clients = cluster.clients;
        writeln!(f, "cluster   {replicas} replicas (f = {faults}), {clients} clients with {operations} operations")?;
        let journal = if cluster.journal { "journals" } else { "no journals" };
        let tentative = if cluster.tentative { ", executes tentatively" } else { "" };
        let reads = match (cluster.key_value, cluster.reads) {
            (true, _) => ", keys and values",
            (false, true) => ", answers queries",
            (false, false) => "",
        };
        let tags = if cluster.stand_in_keys { ", tags stand in" } else { ", real tags" };
        let (window, depth, batch) = (cluster.window(), cluster.pipeline_depth, cluster.batch_requests_max);
        writeln!(f, "          window {window}, pipeline {depth}, batch {batch}, {journal}{tentative}{reads}{tags}")?;
        writeln!(f, "          views time out after {} at the latest", duration(cluster.timeout_view_max_ns))?;
        writeln!(f, "network   {}", Network(self))?;
        if self.disks != DiskFaults::NONE {
            writeln!(f, "disks     {}", self.disks)?;
        }
        match &self.adversary {
            Some(adversary) => writeln!(f, "adversary {adversary}")?,
            None => writeln!(f, "adversary has nobody")?,
        }
        for (id, clock) in self.clocks.iter().enumerate().filter(|(_, clock)| **clock != Default::default()) {
            let (rate, wall) = (clock.rate_ppm as f64 / 1e4, clock.wall_offset_ns as f64 / 1e6);
            writeln!(f, "clock     of {id}: {rate:+.1} %, wall clock {wall:+.1} ms off")?;
        }
        for event in &self.faults {
            writeln!(f, "fault     {event}")?;
        }
        let core = match self.core {
            Core::Quorum => format!("a core of {}", 2 * faults + 1),
            Core::Everybody => "everybody correct".to_owned(),
        };
        write!(f, "then      after {} {core} is healed, and must be live", duration(self.safety_ns))
    }
}

struct Network<'a>(&'a Plan);

impl fmt::Display for Network<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let links = &self.0.links;
        write!(f, "delays from {} to {}", duration(links.base_ns.0), duration(links.base_ns.1))?;
        match links.tail {
            Tail::Narrow => {}
            Tail::Exponential { mean_ns } => write!(f, " and exponentially more, {} on average", duration(mean_ns))?,
            Tail::Pareto { scale_ns } => write!(f, " and by Pareto's law more, from {}", duration(scale_ns))?,
        }
        let parts = [("lost", links.loss_per_mille), ("doubled", links.duplicate_per_mille)];
        for (what, per_mille) in parts.into_iter().chain([("replayed", links.replay_per_mille)]) {
            if per_mille > 0 {
                write!(f, ", {:.1} % {what}", f64::from(per_mille) / 10.0)?;
            }
        }
        if links.capacity < u32::MAX {
            write!(f, ", {} packets a link", links.capacity)?;
        }
        write!(f, "; turns of {} µs and more", self.0.pace.turn_ns as f64 / 1e3)
    }
}

impl fmt::Display for FaultEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}: {}", self.number, duration(self.at_ns), self.fault)?;
        if self.for_ns > 0 { write!(f, ", for {}", duration(self.for_ns)) } else { Ok(()) }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replica(id) => write!(f, "replica {id}"),
            Self::Primary => write!(f, "the primary"),
        }
    }
}

impl fmt::Display for Hearing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Neither => "cut off",
            Self::Outside => "deaf",
            Self::Inside => "mute",
        })
    }
}

fn among(replicas: u16) -> String {
    let all: Vec<Principal> = ReplicaSet(replicas).iter().map(Principal::Replica).collect();
    list(&all)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Partition { inside, hearing, clients_too } => {
                let clients = if clients_too { ", for clients as well" } else { "" };
                write!(f, "replicas {} are {hearing}{clients}", among(inside))
            }
            Self::IsolatePrimary { hearing } => write!(f, "the primary is {hearing}"),
            Self::Burst { from, to } => write!(f, "all is lost on the link from agent {from} to {to}"),
            Self::Clog { from, to } => write!(f, "the link from agent {from} to {to} is clogged"),
            Self::Outage { group: true } => write!(f, "packets to groups are lost"),
            Self::Outage { group: false } => write!(f, "packets to single receivers are lost"),
            Self::Silence { of } => write!(f, "every {} is lost", of.word()),
            Self::Pause { who } => write!(f, "{who} stands still"),
            Self::Crash { who, lost: false } => write!(f, "{who} crashes"),
            Self::Crash { who, lost: true } => write!(f, "{who} crashes and its disk is lost"),
            Self::CrashWriting { who, steps } => write!(f, "{who} crashes after {steps} steps of its disk"),
            Self::PowerLoss => write!(f, "the power fails"),
            Self::RollingRestart => write!(f, "the replicas are restarted in turn"),
            Self::RestartClient { client } => write!(f, "client {client} restarts"),
            Self::DiskStall { who } => write!(f, "the disk of {who} stalls"),
            Self::DiskFails { who, kind } => write!(f, "the disk of {who} fails: {}", kind.name()),
            Self::DiskDamage { who, kind } => write!(f, "{who} crashes and its disk is damaged: {}", kind.name()),
            Self::ClockFreeze { who } => write!(f, "the clocks of {who} stand still"),
            Self::ClockLeap { who, by_ns } => write!(f, "the clocks of {who} leap by {}", duration(by_ns)),
            Self::ClockRate { who, rate_ppm } => {
                write!(f, "the clocks of {who} go {:+.1} % faster", rate_ppm as f64 / 1e4)
            }
            Self::RotateKeys { who } => write!(f, "{who} takes new keys"),
            Self::SpoilTags { client, replicas } => {
                write!(f, "client {client} spoils its tags for {}", among(replicas))
            }
        }
    }
}
