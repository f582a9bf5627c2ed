//! Replicas that lie with their own keys, one at a time: as backups, and as primaries.

use super::{CATCH_UP, FAILOVER, Scenario, When};
use crate::hostile::liar::Lie;
use crate::run::{Run, Setup};
use logothete::failure::Failure;
use std::time::Duration;

/// How long a lie is told before anything is measured, and while.
const BEGIN: Duration = Duration::from_secs(1);
const LENGTH: Duration = Duration::from_secs(3);

/// How long a primary that is slow may stay: its successor is not judged for the first seconds.
const SLOW_WAIT: Duration = Duration::from_secs(20);

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "RP-14",
        name: "lying-backup",
        about: "a backup equivocates, starves one, spoils tags, spams views, storms, lies to clients: nobody moves",
        seconds: 38,
        when: When::Ci,
        setup: liars,
        conduct: lying_backup,
    },
    Scenario {
        id: "RP-14",
        name: "lying-primary",
        about: "the primary does all that, and delays its proposals: tolerated or replaced",
        seconds: 50,
        when: When::All,
        setup: liars,
        conduct: lying_primary,
    },
];

fn liars(_: u64) -> Setup {
    Setup { liars: true, ..Setup::default() }
}

/// All lies, in an order that chance decides but for the last.
///
/// Whoever asked for the last view of all has signed it: its next view changes count for nobody, and a second liar would be one too many.
fn lies(run: &mut Run<'_>) -> Vec<Lie> {
    let mut lies: Vec<Lie> = run.chance.order(Lie::ALL.len()).into_iter().map(|at| Lie::ALL[at]).collect();
    lies.sort_by_key(|lie| *lie == Lie::SpamViews);
    lies
}

fn lying_backup(run: &mut Run<'_>) -> Result<(), Failure> {
    run.claim_views(0);
    for lie in lies(run) {
        // A backup proposes nothing.
        if lie == Lie::Delay {
            continue;
        }
        let liar = run.any_backup()?;
        run.order(liar, Some(lie))?;
        run.pass(BEGIN)?;
        let rate = run.goodput_over(LENGTH)?;
        run.claim_goodput("a lying backup", rate, 0.3);
        run.order(liar, None)?;
        run.await_back(liar, CATCH_UP)?;
    }
    Ok(())
}

fn lying_primary(run: &mut Run<'_>) -> Result<(), Failure> {
    // Each may lose its place once.
    run.claim_views(Lie::ALL.len() as u64);
    for lie in lies(run) {
        let (view, liar) = (run.view()?, run.primary()?);
        run.order(liar, Some(lie))?;
        run.await_answer("under a lying primary", FAILOVER)?;
        match lie {
            // Its batches prepare nowhere, or too late.
            Lie::Equivocate | Lie::Delay => run.await_view(view + 1, SLOW_WAIT)?,
            _ => run.pass(BEGIN)?,
        }
        let rate = run.goodput_over(LENGTH)?;
        run.claim_goodput("a primary that lies, or did", rate, 0.3);
        run.order(liar, None)?;
        run.await_back(liar, CATCH_UP)?;
    }
    Ok(())
}
