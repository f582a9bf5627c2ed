//! Networks that fall apart.

use super::{CATCH_UP, FAILOVER, Scenario, When, standard};
use crate::network::Host::{self, Driver, Replica};
use crate::network::rules::{Rule, partition};
use crate::run::Run;
use logothete::failure::Failure;
use std::time::Duration;

/// How long each lasts.
const LENGTH: Duration = Duration::from_secs(4);

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "RP-10",
        name: "isolated-primary",
        about: "nobody hears the primary and it hears nobody: replaced; it comes back without a view change",
        seconds: 20,
        when: When::Ci,
        setup: standard,
        conduct: isolated_primary,
    },
    Scenario {
        id: "RP-10",
        name: "halves",
        about: "two and two replicas: nothing is ordered; the cluster goes on when it is whole again",
        seconds: 20,
        when: When::Ci,
        setup: standard,
        conduct: halves,
    },
    Scenario {
        id: "RP-10",
        name: "deaf-backup",
        about: "a backup sends and hears nothing: its wish for another view moves nobody",
        seconds: 20,
        when: When::Ci,
        setup: standard,
        conduct: deaf_backup,
    },
    Scenario {
        id: "RP-10",
        name: "mute-primary",
        about: "the primary hears and cannot send: replaced",
        seconds: 20,
        when: When::Ci,
        setup: standard,
        conduct: mute_primary,
    },
    Scenario {
        id: "RP-10",
        name: "missing-edge",
        about: "the primary and one backup do not hear each other: the others carry on",
        seconds: 20,
        when: When::Ci,
        setup: standard,
        conduct: missing_edge,
    },
];

/// Everybody whom the faults concern, but those who are named.
fn others(named: &[Host]) -> Vec<Host> {
    (0..4).map(Replica).chain([Driver]).filter(|host| !named.contains(host)).collect()
}

fn isolated_primary(run: &mut Run<'_>) -> Result<(), Failure> {
    run.claim_views(1);
    run.claim_gap(FAILOVER);
    let primary = run.primary()?;
    let alone = [Replica(primary)];
    run.tell(|| format!("replica {primary}, the primary, is alone"));
    run.network().set_rules(&partition(&alone, &others(&alone)))?;
    run.await_answer("without the primary", FAILOVER)?;
    let rate = run.goodput_over(LENGTH)?;
    run.claim_goodput("without the former primary", rate, 0.4);
    run.network().set_rules(&[])?;
    run.await_back(primary, CATCH_UP)
}

fn halves(run: &mut Run<'_>) -> Result<(), Failure> {
    let executed = run.executed()?;
    let order = run.chance.order(4);
    let (one, other) = order.split_at(2);
    run.tell(|| format!("replicas {one:?} and {other:?} do not hear each other"));
    let hosts = |ids: &[usize]| ids.iter().map(|id| Replica(*id)).collect::<Vec<_>>();
    run.network().set_rules(&partition(&hosts(one), &hosts(other)))?;
    run.pass(Duration::from_secs(1))?;
    let before = run.executed()?;
    run.require(before >= executed, || String::from("what was executed is no longer"));
    run.pass(LENGTH)?;
    let after = run.executed()?;
    run.require(after == before, || format!("halves went from number {before} to {after}"));
    run.network().set_rules(&[])?;
    run.await_answer("whole again", CATCH_UP)?;
    // Time-outs double while nobody can be chosen.
    run.claim_views(12);
    Ok(())
}

fn deaf_backup(run: &mut Run<'_>) -> Result<(), Failure> {
    run.claim_views(0);
    let backup = run.any_backup()?;
    let deaf = Replica(backup);
    run.tell(|| format!("replica {backup}, a backup, is deaf"));
    let rules: Vec<Rule> = others(&[deaf]).into_iter().map(|host| Rule::cut(host, deaf)).collect();
    run.network().set_rules(&rules)?;
    let rate = run.goodput_over(LENGTH)?;
    run.claim_goodput("a deaf backup", rate, 0.4);
    run.network().set_rules(&[])?;
    run.await_back(backup, CATCH_UP)
}

fn mute_primary(run: &mut Run<'_>) -> Result<(), Failure> {
    run.claim_views(1);
    run.claim_gap(FAILOVER);
    let primary = run.primary()?;
    let mute = Replica(primary);
    run.tell(|| format!("replica {primary}, the primary, is mute"));
    let rules: Vec<Rule> = others(&[mute]).into_iter().map(|host| Rule::cut(mute, host)).collect();
    run.network().set_rules(&rules)?;
    run.await_answer("without the primary", FAILOVER)?;
    let rate = run.goodput_over(LENGTH)?;
    run.claim_goodput("without the former primary", rate, 0.4);
    run.network().set_rules(&[])?;
    run.await_back(primary, CATCH_UP)
}

fn missing_edge(run: &mut Run<'_>) -> Result<(), Failure> {
    run.claim_views(1);
    let (primary, backup) = (run.primary()?, run.any_backup()?);
    run.tell(|| format!("replicas {primary}, the primary, and {backup} do not hear each other"));
    run.network().set_rules(&partition(&[Replica(primary)], &[Replica(backup)]))?;
    let rate = run.goodput_over(LENGTH)?;
    run.claim_goodput("a missing edge", rate, 0.2);
    run.network().set_rules(&[])?;
    run.await_back(backup, CATCH_UP)
}
