//! Clients that want too much, strangers that flood, and applications that abuse their memory.

use super::{Scenario, When, standard};
use crate::hostile::application::Abuse;
use crate::hostile::flood::{Flood, Kind};
use crate::load::{Load, LoadPlan};
use crate::network::{Fabric, Medium};
use crate::process;
use crate::run::{Run, Setup};
use clap::ValueEnum;
use logothete::failure::Failure;
use logothete_bench::load::{Access, Pace, Workload};
use logothete_engine::numbers::{ClientId, Principal, ReplicaId, ReplicaSet};
use logothete_engine::service::kv::Command;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// Packets a second of a flood: what a small machine can send beside a cluster.
const FLOOD_PER_S: u32 = 5_000;

/// The clients of another host, to the replicas.
const GUEST: ClientId = ClientId(1);

/// How long after a fault the cluster may take to be as before.
const RECOVERY: Duration = Duration::from_secs(2);

pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "RP-16",
        name: "greedy-client",
        about: "another host's clients keep 512 operations in flight for 6 s: the judged clients are served",
        seconds: 22,
        when: When::Ci,
        setup: standard,
        conduct: greedy_client,
    },
    Scenario {
        id: "RP-16",
        name: "partial-tags",
        about: "another host's tags are wrong for a backup, the primary, two: in the end it must sign",
        seconds: 30,
        when: When::All,
        setup: |seed| Setup { fabric: Fabric::Switch { seed }, ..Setup::default() },
        conduct: partial_tags,
    },
    Scenario {
        id: "RP-17",
        name: "garbage-flood",
        about: "a stranger sends random bytes to the replicas, 5,000 packets a second for 6 s",
        seconds: 22,
        when: When::All,
        setup: standard,
        conduct: |run| flood(run, Kind::Garbage),
    },
    Scenario {
        id: "RP-17",
        name: "spoofed-flood",
        about: "a stranger sends what it heard with a changed bit, under the senders' addresses",
        seconds: 22,
        when: When::All,
        setup: standard,
        conduct: |run| flood(run, Kind::Spoofed),
    },
    Scenario {
        id: "RP-17",
        name: "replay-flood",
        about: "a stranger sends again what it heard, under the senders' addresses",
        seconds: 22,
        when: When::All,
        setup: standard,
        conduct: |run| flood(run, Kind::Replayed),
    },
    Scenario {
        id: "RP-18",
        name: "hostile-applications",
        about: "applications write into their session's memory, never read, die, and storm the driver",
        seconds: 32,
        when: When::Ci,
        setup: standard,
        conduct: hostile_applications,
    },
    Scenario {
        id: "RP-20",
        name: "overload",
        about: "five times more operations than the cluster can do for 5 s, then as before",
        seconds: 26,
        when: When::Ci,
        setup: standard,
        conduct: overload,
    },
];

/// Puts of a client whose answers nobody judges: under keys that the judged clients do not use.
pub struct GuestWorkload {
    command: Vec<u8>,
    value: Vec<u8>,
    turn: u32,
    keys: u32,
}

impl GuestWorkload {
    /// Values of so many bytes under so many keys.
    pub fn new(value_bytes: usize, keys: u32) -> Self {
        let mut this = Self { command: Vec::new(), value: vec![7; value_bytes], turn: 0, keys };
        this.encode();
        this
    }

    fn encode(&mut self) {
        // Four bytes: the judged clients' keys have eight.
        let key = (self.turn % self.keys).to_be_bytes();
        self.command.clear();
        Command::Put { key: &key, value: &self.value }.encode(&mut self.command);
    }
}

impl Workload for GuestWorkload {
    fn operation(&mut self) -> &[u8] {
        &self.command
    }

    fn advance(&mut self) {
        self.turn = self.turn.wrapping_add(1);
        self.encode();
    }

    fn accepts(&self, access: Access, _: &[u8]) -> bool {
        access == Access::Write
    }
}

/// Lets clients of the driver at `session` write 4 KiB at a time, 2,000 times a second at most.
///
/// # Errors
///
/// When the driver does not take them.
pub fn fill(session: &Path) -> Result<Load, Failure> {
    let plan = LoadPlan { clients: 2, outstanding: 32, pace: Pace::Open { rate_per_s: 2000.0 }, ..LoadPlan::default() };
    Load::start_unjudged(session, plan, GuestWorkload::new(4096, 8192))
}

fn greedy_client(run: &mut Run<'_>) -> Result<(), Failure> {
    run.claim_views(0);
    let (guest, session) = run.start_guest()?;
    run.tell(|| String::from("a greedy host"));
    let plan = LoadPlan { clients: 8, outstanding: 64, ..LoadPlan::default() };
    let greedy = Load::start_unjudged(&session, plan, GuestWorkload::new(64, 1024))?;
    run.pass(Duration::from_secs(2))?;
    let rate = run.goodput_over(Duration::from_secs(4))?;
    run.claim_goodput("a greedy host", rate, 0.1);
    drop(greedy);
    drop(guest);
    recovers(run)
}

fn partial_tags(run: &mut Run<'_>) -> Result<(), Failure> {
    // A primary that cannot check what all others can loses its place, once (`protocol.md DM-3`).
    run.claim_views(1);
    let (host, session) = run.start_guest()?;
    let plan = LoadPlan { clients: 4, outstanding: 8, ..LoadPlan::default() };
    let guest = Load::start_unjudged(&session, plan, GuestWorkload::new(64, 1024))?;
    run.pass(Duration::from_secs(1))?;
    let (primary, count) = (run.primary()?, run.cluster.cluster.replica_count());
    let after = |step: usize| ReplicaSet::only(ReplicaId(((primary + step) % count) as u8));
    for of in [after(1), after(0), ReplicaSet(after(1).0 | after(2).0)] {
        run.tell(|| format!("another host's tags for {of:?} are wrong"));
        run.network().set_medium(Medium { spoils: Some((Principal::Client(GUEST), of)), ..Medium::default() });
        run.pass(Duration::from_secs(1))?;
        let begin = Instant::now();
        let rate = run.goodput_over(Duration::from_secs(3))?;
        run.claim_goodput("another host spoils tags", rate, 0.3);
        let served = guest.goodput(begin, Instant::now())?;
        run.require(served > 0.0, || format!("whose tags are wrong for {of:?} is not served"));
    }
    let demoted = run.count(|status| status.demoted == [GUEST])?;
    run.require(demoted == count, || format!("at {demoted} of {count} replicas the other host must sign"));
    run.network().set_medium(Medium::default());
    drop(guest);
    drop(host);
    recovers(run)
}

fn flood(run: &mut Run<'_>, kind: Kind) -> Result<(), Failure> {
    run.claim_views(0);
    run.tell(|| format!("{kind:?} packets"));
    let chance = run.chance.clone();
    let flood = Flood::start(run.network(), &run.cluster.cluster, kind, FLOOD_PER_S, chance)?;
    let begin = Instant::now();
    run.pass(Duration::from_secs(2))?;
    let rate = run.goodput_over(Duration::from_secs(4))?;
    let sent = flood.sent();
    run.tell(|| format!("{sent} packets were sent"));
    let least = (begin.elapsed().as_secs_f64() * f64::from(FLOOD_PER_S) / 4.0) as u64;
    run.require(sent >= least, || format!("the stranger came to send {sent} packets only"));
    drop(flood);
    run.claim_goodput("a flood", rate, 0.3);
    recovers(run)
}

/// After an attack the judged clients are served as before, soon.
fn recovers(run: &mut Run<'_>) -> Result<(), Failure> {
    run.pass(RECOVERY)?;
    let rate = run.goodput_over(Duration::from_secs(2))?;
    run.claim_goodput("after the attack", rate, 0.5);
    Ok(())
}

/// A process of this program that abuses a session; killed when it is dropped.
struct Abuser(Child);

impl Abuser {
    fn start(session: &Path, abuse: Abuse, seed: u64, duration: Duration) -> Result<Self, Failure> {
        let (name, session) = (abuse.to_possible_value().expect("none is skipped"), session.display().to_string());
        let (seed, seconds, parent) =
            (seed.to_string(), duration.as_secs().to_string(), std::process::id().to_string());
        let arguments = ["abuse", name.get_name(), "--session", &session, "--seed", &seed, "--seconds", &seconds];
        let child = process::program(&arguments)?
            .args(["--child-of", &parent])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        child.map(Self).map_err(|error| Failure::Failed(format!("no process for an abuser: {error}")))
    }
}

impl Drop for Abuser {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn hostile_applications(run: &mut Run<'_>) -> Result<(), Failure> {
    run.claim_views(0);
    // At the judged clients' own driver: an application may harm itself and nobody else.
    let session = run.cluster.session()?;
    let long = Duration::from_secs(30);
    for abuse in [Abuse::Racer, Abuse::Indices, Abuse::Deaf, Abuse::Storm] {
        run.tell(|| format!("an application: {abuse:?}"));
        let abuser = Abuser::start(&session, abuse, run.chance.draw(), long)?;
        run.pass(Duration::from_millis(500))?;
        let rate = run.goodput_over(Duration::from_secs(3))?;
        run.claim_goodput("a hostile application", rate, 0.15);
        drop(abuser);
    }
    run.tell(|| String::from("applications that die in the middle of it"));
    for _ in 0..10 {
        let abuser = Abuser::start(&session, Abuse::Victim, run.chance.draw(), long)?;
        run.pass(Duration::from_millis(150))?;
        drop(abuser);
    }
    recovers(run)
}

fn overload(run: &mut Run<'_>) -> Result<(), Failure> {
    run.claim_views(0);
    let (guest, session) = run.start_guest()?;
    let saturating = LoadPlan { clients: 8, outstanding: 64, ..LoadPlan::default() };
    let peak = Load::start_unjudged(&session, saturating, GuestWorkload::new(64, 1024))?;
    run.pass(Duration::from_secs(1))?;
    let peak_per_s = goodput_of(run, &peak, Duration::from_secs(3))?;
    run.tell(|| format!("at most {peak_per_s:.0} operations/s"));
    peak.finish()?;
    let pace = Pace::Open { rate_per_s: 5.0 * peak_per_s };
    let offered = LoadPlan { clients: 8, outstanding: 4096, pace, ..LoadPlan::default() };
    let offered = Load::start_unjudged(&session, offered, GuestWorkload::new(64, 1024))?;
    run.pass(Duration::from_secs(2))?;
    let overloaded_per_s = goodput_of(run, &offered, Duration::from_secs(3))?;
    run.tell(|| format!("with five times as much offered: {overloaded_per_s:.0} operations/s"));
    run.require(overloaded_per_s >= 0.5 * peak_per_s, || {
        format!("{overloaded_per_s:.0} operations/s under overload, {peak_per_s:.0} before")
    });
    drop(offered);
    drop(guest);
    recovers(run)
}

/// Good answers a second of the guest's clients and the judged ones.
fn goodput_of(run: &mut Run<'_>, guest: &Load, duration: Duration) -> Result<f64, Failure> {
    let begin = Instant::now();
    run.pass(duration)?;
    let end = Instant::now();
    Ok(guest.goodput(begin, end)? + run.goodput_between(begin, end)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn guests_keep_to_keys_of_their_own() {
        let mut workload = GuestWorkload::new(16, 10);
        let mut keys = BTreeSet::new();
        for _ in 0..100 {
            match Command::decode(workload.operation()) {
                Ok(Command::Put { key, value }) => {
                    assert_eq!((key.len(), value.len()), (4, 16));
                    keys.insert(key.to_vec());
                }
                other => panic!("{other:?}"),
            }
            workload.advance();
        }
        assert_eq!(keys.len(), 10);
    }
}
