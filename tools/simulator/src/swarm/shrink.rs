//! Making a plan that fails smaller, as long as it fails in the same way (RELIABILITY 3.6): what is left is what it takes.
//!
//! Whole features go first, then replicas, clients and operations, then single faults (delta debugging: Zeller and Hildebrandt, "Simplifying and
//! isolating failure-inducing input", IEEE TSE 2002), then delays and times. Everything in a plan draws from a stream of its own name, so
//! that what stays goes on as before.

use crate::swarm::fault::{Fault, Target};
use crate::swarm::load::Load;
use crate::swarm::plan::{ClockSettings, Plan};
use crate::world::disk::faults::DiskFaults;
use crate::world::links::{LinkSettings, Tail};
use crate::world::settings::Settings;
use logothete_engine::replica::Quorum;

/// The delay of every packet in a plan whose delays do not matter.
const DELAY_NS: u64 = 50_000;

/// Packets that wait for an agent in a plan in which none is lost for want of room.
const INBOX_PACKETS: usize = 4096;

/// What failed, of a violation in words: the checker that said so.
pub fn property(violation: &str) -> &str {
    let line = violation.lines().next().unwrap_or_default();
    line.split(':').next().unwrap_or_default()
}

/// The smallest plan that is found to fail as `plan` does, which fails. `fails` plays a plan; `None` means that there is no time left.
pub fn shrink(plan: &Plan, mut fails: impl FnMut(&Plan) -> Option<bool>) -> Plan {
    let mut best = plan.clone();
    loop {
        let before = best.clone();
        for step in STEPS {
            while let Some(smaller) = first_that_fails(step(&best), &best, &mut fails) {
                match smaller {
                    Some(plan) => best = plan,
                    None => return best,
                }
            }
        }
        match without_faults(&best, &mut fails) {
            Some(plan) => best = plan,
            None => return best,
        }
        if best == before {
            return best;
        }
    }
}

/// What one way to make a plan smaller comes to, the smallest first.
type Step = fn(&Plan) -> Vec<Plan>;

const STEPS: [Step; 8] = [features, strategies, replicas, clients, operations, options, times, delays];

/// The first of these that is another plan than `best`, makes sense, and fails: `None` if none does, `Some(None)` if there is no time left.
fn first_that_fails(
    candidates: Vec<Plan>,
    best: &Plan,
    fails: &mut impl FnMut(&Plan) -> Option<bool>,
) -> Option<Option<Plan>> {
    for candidate in candidates.into_iter().filter(|candidate| candidate != best && makes_sense(candidate)) {
        match fails(&candidate) {
            None => return Some(None),
            Some(true) => return Some(Some(candidate)),
            Some(false) => {}
        }
    }
    None
}

/// Whole features, all at once and one at a time.
fn features(plan: &Plan) -> Vec<Plan> {
    changed(
        plan,
        &[
            |plan| plan.faults.clear(),
            drop_adversary,
            |plan| plan.links = LinkSettings { base_ns: plan.links.base_ns, ..LinkSettings::default() },
            |plan| plan.clocks.fill(ClockSettings::default()),
            |plan| plan.disks = DiskFaults::NONE,
            |plan| plan.inbox_packets_max = INBOX_PACKETS,
            |plan| plan.cluster.operation_bytes_max = 0,
            |plan| plan.cluster.bodies_bytes_least = Settings::default().bodies_bytes_least,
        ],
    )
}

fn drop_adversary(plan: &mut Plan) {
    plan.adversary = None;
    plan.cluster.clients = plan.loads.len();
}

/// One of the adversary's strategies less, one of its replicas, one of its clients.
fn strategies(plan: &Plan) -> Vec<Plan> {
    let Some(adversary) = &plan.adversary else { return Vec::new() };
    let with = |adversary| Plan { adversary: Some(adversary), ..plan.clone() };
    let mut smaller: Vec<Plan> = adversary.strategies.iter().map(|name| with(adversary.without(name))).collect();
    for at in 0..adversary.replicas.len() {
        let mut less = adversary.clone();
        less.replicas.remove(at);
        smaller.push(with(less));
    }
    if !adversary.clients.is_empty() {
        let mut less = adversary.clone();
        less.clients.pop();
        let mut plan = with(less);
        plan.cluster.clients -= 1;
        smaller.push(plan);
    }
    smaller
}

/// Fewer replicas.
fn replicas(plan: &Plan) -> Vec<Plan> {
    let before = plan.cluster.replicas;
    let of = |replicas: usize| {
        let mut plan = plan.clone();
        plan.cluster.replicas = replicas;
        plan.clocks.truncate(replicas);
        // Clients come after replicas; of a link one end must not be gone.
        let number = |agent: usize| match agent < before {
            true => (agent < replicas).then_some(agent),
            false => Some(agent - before + replicas),
        };
        plan.faults.retain_mut(|event| {
            let (Fault::Burst { from, to } | Fault::Clog { from, to }) = &mut event.fault else { return true };
            let ends = (number(*from), number(*to));
            (*from, *to) = (ends.0.unwrap_or_default(), ends.1.unwrap_or_default());
            ends.0.is_some() && ends.1.is_some()
        });
        plan
    };
    (4..before).step_by(3).map(of).collect()
}

/// One client less.
fn clients(plan: &Plan) -> Vec<Plan> {
    if plan.loads.len() == 1 {
        return Vec::new();
    }
    let without = |client: usize| {
        let mut plan = plan.clone();
        plan.loads.remove(client);
        plan.cluster.clients -= 1;
        let gone = client as u16;
        let later = |held: u16| if held > gone { held - 1 } else { held };
        plan.adversary.iter_mut().flat_map(|adversary| &mut adversary.clients).for_each(|held| *held = later(*held));
        plan
    };
    (0..plan.loads.len()).rev().map(without).collect()
}

/// Fewer and simpler operations.
fn operations(plan: &Plan) -> Vec<Plan> {
    let each = |change: fn(&mut Load)| {
        let mut plan = plan.clone();
        plan.loads.iter_mut().for_each(change);
        plan
    };
    let changes: [fn(&mut Load); 6] = [
        |load| load.operations = 1,
        |load| load.operations = load.operations.div_ceil(2),
        |load| load.read_percent = 0,
        |load| load.subscribes = false,
        |load| (load.request_operations_max, load.burst_requests_max, load.idle_percent) = (1, 1, 0),
        |load| load.operation_bytes_max = 1,
    ];
    let mut smaller: Vec<Plan> = changes.into_iter().map(each).collect();
    smaller.extend(changed(plan, &[|plan| plan.liveness_requests = 1]));
    smaller
}

/// What a cluster can be without.
fn options(plan: &Plan) -> Vec<Plan> {
    changed(
        plan,
        &[
            |plan| plan.cluster.journal = false,
            |plan| plan.cluster.tentative = false,
            |plan| plan.cluster.key_value = false,
            |plan| plan.cluster.reads = plan.cluster.key_value,
            |plan| plan.cluster.batch_requests_max = 1,
            |plan| plan.cluster.client_window = 1,
            |plan| plan.cluster.pipeline_depth = 1,
        ],
    )
}

/// A shorter phase with faults, and shorter faults.
fn times(plan: &Plan) -> Vec<Plan> {
    let mut smaller = changed(
        plan,
        &[
            |plan| plan.safety_ns /= 2,
            |plan| plan.safety_ns -= plan.safety_ns / 8,
            |plan| plan.faults.iter_mut().for_each(|event| event.for_ns /= 2),
        ],
    );
    for at in 0..plan.faults.len() {
        let mut plan = plan.clone();
        plan.faults[at].for_ns /= 2;
        smaller.push(plan);
    }
    smaller
}

/// All delays the same.
fn delays(plan: &Plan) -> Vec<Plan> {
    changed(
        plan,
        &[
            |plan| (plan.links.base_ns, plan.links.tail) = ((DELAY_NS, DELAY_NS), Tail::Narrow),
            |plan| plan.links.tail = Tail::Narrow,
            |plan| plan.links.loss_per_mille = 0,
            |plan| plan.links.duplicate_per_mille = 0,
            |plan| plan.links.replay_per_mille = 0,
            |plan| plan.links.capacity = u32::MAX,
        ],
    )
}

fn changed(plan: &Plan, changes: &[fn(&mut Plan)]) -> Vec<Plan> {
    let with = |change: &fn(&mut Plan)| {
        let mut plan = plan.clone();
        change(&mut plan);
        plan
    };
    changes.iter().map(with).collect()
}

/// As few faults as it takes: halves, quarters and so on are left out, down to single ones. `None` when there is no time left.
fn without_faults(plan: &Plan, fails: &mut impl FnMut(&Plan) -> Option<bool>) -> Option<Plan> {
    let mut best = plan.clone();
    let mut chunk = best.faults.len();
    while chunk > 0 {
        let mut from = 0;
        while from < best.faults.len() {
            let mut candidate = best.clone();
            candidate.faults.drain(from..(from + chunk).min(best.faults.len()));
            if fails(&candidate)? { best = candidate } else { from += chunk }
        }
        chunk /= 2;
    }
    Some(best)
}

/// Whether a plan is one that the swarm could have drawn: it names nobody who is not there, and has no more than `f` faulty.
fn makes_sense(plan: &Plan) -> bool {
    let (replicas, clients) = (plan.cluster.replicas, plan.cluster.clients);
    let Some(quorum) = Quorum::of(replicas) else { return false };
    let owned = plan.adversary.iter().flat_map(|adversary| &adversary.replicas);
    let (count, are_there) = (owned.clone().count(), owned.clone().all(|id| usize::from(*id) < replicas));
    let is_there = |who: Target| !matches!(who, Target::Replica(id) if usize::from(id) >= replicas);
    let faults_fit = plan.faults.iter().all(|event| match event.fault {
        Fault::Partition { inside, .. } => usize::from(inside) < 1 << replicas,
        Fault::Burst { from, to } | Fault::Clog { from, to } => from.max(to) < replicas + clients,
        Fault::RestartClient { client } => usize::from(client) < clients,
        Fault::SpoilTags { client, replicas: spoilt } => {
            usize::from(client) < clients && usize::from(spoilt) < 1 << replicas
        }
        Fault::Pause { who }
        | Fault::Crash { who, .. }
        | Fault::CrashWriting { who, .. }
        | Fault::DiskStall { who }
        | Fault::DiskFails { who, .. }
        | Fault::DiskDamage { who, .. }
        | Fault::ClockFreeze { who }
        | Fault::ClockLeap { who, .. }
        | Fault::ClockRate { who, .. }
        | Fault::RotateKeys { who } => is_there(who),
        Fault::IsolatePrimary { .. }
        | Fault::Outage { .. }
        | Fault::Silence { .. }
        | Fault::PowerLoss
        | Fault::RollingRestart => true,
    });
    plan.safety_ns > 0 && are_there && count <= quorum.faults() && faults_fit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::fault::FaultEvent;
    use crate::swarm::mix::Mix;
    use crate::swarm::run::play;

    #[test]
    fn what_it_takes_is_left_and_nothing_else() {
        // Fails where the primary pauses while somebody's keys are replaced, among seven replicas or more.
        let pauses = |event: &FaultEvent| matches!(event.fault, Fault::Pause { who: Target::Primary });
        let rotates = |event: &FaultEvent| matches!(event.fault, Fault::RotateKeys { .. });
        let fails = |plan: &Plan| {
            plan.cluster.replicas >= 7 && plan.faults.iter().any(pauses) && plan.faults.iter().any(rotates)
        };
        let mut plans = (0..).map(|seed| Plan::draw(seed, Mix::All, 300, Some(10)));
        let plan = plans.find(|plan| fails(plan) && plan.faults.len() > 10 && plan.adversary.is_some()).expect("some");
        let mut played = 0;
        let least = shrink(&plan, |plan| {
            played += 1;
            Some(fails(plan))
        });
        assert!(fails(&least));
        assert_eq!((least.cluster.replicas, least.faults.len(), least.loads.len()), (7, 2, 1));
        assert_eq!((&least.adversary, least.links.loss_per_mille, least.loads[0].operations), (&None, 0, 1));
        assert!(played < 1000, "{played}");
    }

    #[test]
    fn a_real_failure_stays_one() {
        let plan = Plan { canary: true, ..Plan::draw(2, Mix::All, 60, Some(4)) };
        let violation = |plan: &Plan| play(plan, 1_000_000, None).violation.map(|(text, _)| property(&text).to_owned());
        let found = violation(&plan).expect("the alarm works");
        let mut left = 40;
        let least = shrink(&plan, |plan| {
            left -= 1;
            (left > 0).then(|| violation(plan).as_ref() == Some(&found))
        });
        assert_eq!(violation(&least), Some(found));
        assert!(least.faults.is_empty() && least.adversary.is_none(), "{least}");
    }

    #[test]
    fn a_plan_that_names_somebody_who_is_not_there_makes_no_sense() {
        for seed in 0..100 {
            let plan = Plan::draw(seed, Mix::All, 300, None);
            assert!(makes_sense(&plan), "{plan}");
        }
        let mut plan = Plan::draw(1, Mix::None, 300, Some(4));
        plan.faults.push(FaultEvent {
            number: 0,
            at_ns: 0,
            for_ns: 1,
            fault: Fault::Pause { who: Target::Replica(4) },
        });
        assert!(!makes_sense(&plan));
    }
}
