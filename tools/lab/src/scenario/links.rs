//! Links that lose, double, delay, and are slow.

use super::{FAILOVER, Scenario, When, standard};
use crate::network::rules::{Rule, for_all};
use crate::network::{Fabric, Host, Medium};
use crate::run::{Run, Setup};
use logothete::failure::Failure;
use std::time::{Duration, Instant};

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "RP-01",
        name: "clean",
        about: "no fault for 10 s: no view change, no failure",
        seconds: 22,
        when: When::Ci,
        setup: standard,
        conduct: clean,
    },
    Scenario {
        id: "RP-02",
        name: "loss-1",
        about: "1 % of all packets lost for 10 s",
        seconds: 22,
        when: When::All,
        setup: standard,
        conduct: |run| loss(run, 1, 0.8, Some(1)),
    },
    Scenario {
        id: "RP-02",
        name: "loss-5",
        about: "5 % of all packets lost for 10 s",
        seconds: 22,
        when: When::Ci,
        setup: standard,
        conduct: |run| loss(run, 5, 0.5, Some(2)),
    },
    Scenario {
        id: "RP-02",
        name: "loss-20",
        about: "20 % of all packets lost for 10 s",
        seconds: 22,
        when: When::All,
        setup: standard,
        conduct: |run| loss(run, 20, 0.05, None),
    },
    Scenario {
        id: "RP-03",
        name: "reordering",
        about: "a user-space switch doubles 10 % of all packets and delays 30 % by 1 ms on average, for 10 s",
        seconds: 24,
        when: When::All,
        setup: |seed| Setup { fabric: Fabric::Switch { seed }, ..Setup::default() },
        conduct: reordering,
    },
    Scenario {
        id: "RP-03",
        name: "doubling",
        about: "the kernel doubles 10 % of all packets for 5 s",
        seconds: 17,
        when: When::All,
        setup: standard,
        conduct: doubling,
    },
    Scenario {
        id: "RP-11",
        name: "no-multicast",
        about: "multicast stops for a backup, then for all: after 2 s packets go by unicast",
        seconds: 26,
        when: When::Ci,
        setup: standard,
        conduct: no_multicast,
    },
    Scenario {
        id: "RP-12",
        name: "slow-backup",
        about: "a backup's link takes 200 kbit/s for 6 s: the others go on without it, in the same view",
        seconds: 22,
        when: When::All,
        setup: standard,
        conduct: slow_backup,
    },
    Scenario {
        id: "RP-12",
        name: "slow-primary",
        about: "the primary's link takes 200 kbit/s for 8 s: it is replaced",
        seconds: 24,
        when: When::All,
        setup: standard,
        conduct: slow_primary,
    },
    Scenario {
        id: "RP-13",
        name: "flapping-backup",
        about: "a backup's cable is out and in every 200 ms for 8 s",
        seconds: 22,
        when: When::All,
        setup: standard,
        conduct: |run| flapping(run, false),
    },
    Scenario {
        id: "RP-13",
        name: "flapping-all",
        about: "the cables of all replicas are out and in every 200 ms for 6 s: views do not run away",
        seconds: 22,
        when: When::All,
        setup: standard,
        conduct: |run| flapping(run, true),
    },
    Scenario {
        id: "RP-27",
        name: "snooping",
        about: "a bridge that believes in memberships and asks nobody, for 320 s: they end after 260 s",
        seconds: 335,
        when: When::Named,
        setup: |_| Setup { fabric: Fabric::Bridge { snooping: true }, ..Setup::default() },
        conduct: snooping,
    },
];

fn clean(run: &mut Run<'_>) -> Result<(), Failure> {
    run.claim_views(0);
    let rate = run.goodput_over(Duration::from_secs(10))?;
    run.claim_goodput("no fault", rate, 0.5);
    Ok(())
}

fn loss(run: &mut Run<'_>, percent: u32, least: f64, views: Option<u64>) -> Result<(), Failure> {
    if let Some(views) = views {
        run.claim_views(views);
    }
    run.tell(|| format!("{percent} % of all packets are lost"));
    run.network().set_rules(&for_all(|host| Rule::loss(host, percent)))?;
    let rate = run.goodput_over(Duration::from_secs(10))?;
    run.network().set_rules(&[])?;
    run.claim_goodput("loss", rate, least);
    Ok(())
}

fn reordering(run: &mut Run<'_>) -> Result<(), Failure> {
    run.tell(|| String::from("packets are doubled and delayed"));
    run.network().set_medium(Medium {
        doubled_per_mille: 100,
        delayed_per_mille: 300,
        delay_mean_ns: 1_000_000,
        ..Medium::default()
    });
    let rate = run.goodput_over(Duration::from_secs(10))?;
    run.network().set_medium(Medium::default());
    run.claim_goodput("reordering", rate, 0.05);
    Ok(())
}

fn doubling(run: &mut Run<'_>) -> Result<(), Failure> {
    run.claim_views(0);
    run.network().set_rules(&for_all(|host| Rule::doubling(host, 10)))?;
    let rate = run.goodput_over(Duration::from_secs(5))?;
    run.network().set_rules(&[])?;
    run.claim_goodput("doubling", rate, 0.5);
    Ok(())
}

fn no_multicast(run: &mut Run<'_>) -> Result<(), Failure> {
    let backup = run.any_backup()?;
    run.tell(|| format!("no group reaches replica {backup}"));
    run.network().set_rules(&[Rule::no_groups(Host::Replica(backup))])?;
    run.pass(Duration::from_secs(2))?;
    let rate = run.goodput_over(Duration::from_secs(3))?;
    run.claim_goodput("no multicast to a backup", rate, 0.3);
    run.tell(|| String::from("no group reaches anybody"));
    run.network().set_rules(&for_all(Rule::no_groups))?;
    run.pass(Duration::from_secs(2))?;
    let rate = run.goodput_over(Duration::from_secs(3))?;
    run.claim_goodput("no multicast at all", rate, 0.3);
    run.network().set_rules(&[])
}

fn slow_backup(run: &mut Run<'_>) -> Result<(), Failure> {
    run.claim_views(0);
    let backup = run.any_backup()?;
    run.tell(|| format!("replica {backup}, a backup, has a slow link"));
    run.network().cap(Host::Replica(backup), 200)?;
    let rate = run.goodput_over(Duration::from_secs(6))?;
    run.network().uncap(Host::Replica(backup))?;
    run.claim_goodput("slow backup", rate, 0.5);
    run.await_back(backup, super::CATCH_UP)
}

fn slow_primary(run: &mut Run<'_>) -> Result<(), Failure> {
    let (primary, view) = (run.primary()?, run.view()?);
    run.tell(|| format!("replica {primary}, the primary, has a slow link"));
    run.network().cap(Host::Replica(primary), 200)?;
    run.pass(Duration::from_secs(5))?;
    let rate = run.goodput_over(Duration::from_secs(3))?;
    let changed = run.view()? > view;
    run.require(changed, || format!("replica {primary} is still the primary after 8 s"));
    run.network().uncap(Host::Replica(primary))?;
    run.claim_goodput("after the slow primary was replaced", rate, 0.3);
    run.await_back(primary, super::CATCH_UP)
}

fn flapping(run: &mut Run<'_>, all: bool) -> Result<(), Failure> {
    let backup = run.any_backup()?;
    let flapping: Vec<Host> = if all { (0..4).map(Host::Replica).collect() } else { vec![Host::Replica(backup)] };
    // Time-outs double: in six seconds a view cannot change more often than this.
    run.claim_views(if all { 12 } else { 2 });
    run.tell(|| format!("the cables of {flapping:?} are loose"));
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(if all { 6 } else { 8 }) {
        for up in [false, true] {
            for host in &flapping {
                run.network().set_link(*host, up)?;
            }
            run.pass(Duration::from_millis(200))?;
        }
    }
    if !all {
        let rate = run.goodput_between(begin, Instant::now())?;
        run.claim_goodput("flapping", rate, 0.3);
    }
    run.await_answer("after the flapping", FAILOVER * 2)?;
    run.await_back(backup, super::CATCH_UP)
}

fn snooping(run: &mut Run<'_>) -> Result<(), Failure> {
    run.pass(Duration::from_secs(300))?;
    let rate = run.goodput_over(Duration::from_secs(20))?;
    run.claim_goodput("memberships have ended", rate, 0.3);
    Ok(())
}
