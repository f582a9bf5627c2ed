//! `logothete replica`: one replica in the foreground.

use super::process::{ArrangementOverride, NetworkOverrides, Parent, announce};
use crate::failure::Failure;
use crate::signals::stop_flag;
use logothete_engine::cluster::{Cluster, ReplicaLocal};
use logothete_engine::journal::Trouble;
use logothete_engine::numbers::ReplicaId;
use logothete_engine::pipeline::{Core, Orderer, ReplicaProcess, run_replica};
use logothete_engine::replica::Event;
use std::path::PathBuf;

/// Runs one replica in the foreground, until SIGINT or SIGTERM.
///
/// Prints one line that begins with `ready` once it receives. A replica that has forgotten what it promised, because its
/// data directory is empty or its journal is damaged, is refused without --rejoin.
#[derive(clap::Args)]
#[command(after_help = "Example: logothete replica --config /tmp/cluster/cluster.toml --id 0")]
pub struct Arguments {
    /// The cluster.toml, with the replica's local file and key beside it
    #[arg(long, value_name = "DIR/cluster.toml")]
    pub config: PathBuf,
    /// Which replica
    #[arg(long, value_name = "I")]
    pub id: u8,
    #[command(flatten)]
    network: NetworkOverrides,
    #[command(flatten)]
    threads: ArrangementOverride,
    /// Recover from the other replicas: for a replica whose journal was lost or is damaged, or that keeps none and ran before
    #[arg(long)]
    rejoin: bool,
    #[command(flatten)]
    parent: Parent,
}

/// Runs the command.
///
/// # Errors
///
/// When the configuration is refused, or the host refuses what the replica needs.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    run_within(arguments, |core| core)
}

/// The same, with something between the replica and its network.
///
/// # Errors
///
/// As [`run`].
pub fn run_within<C: Core + Send>(arguments: &Arguments, around: impl FnOnce(Orderer) -> C) -> Result<(), Failure> {
    arguments.parent.bind()?;
    let stop = stop_flag()?;
    let cluster = Cluster::load(&arguments.config)?;
    let mut local = ReplicaLocal::load(&ReplicaLocal::file(&arguments.config, arguments.id))?;
    arguments.network.apply(&mut local.transport, &mut local.fan_out);
    local.arrangement = arguments.threads.arrangement.unwrap_or(local.arrangement);
    let id = arguments.id;
    let identity = local.identity(&cluster, id)?;
    let name = format!("role=replica id={id}");
    let mut on_event = |event| {
        if let Some(line) = text(event) {
            eprintln!("{line}");
        }
    };
    let mut announce = |report: &_| announce(&name, report);
    let process =
        ReplicaProcess { cluster: &cluster, local: &local, id: ReplicaId(id), identity, rejoin: arguments.rejoin };
    run_replica(process, around, &stop, &mut announce, &mut on_event)
        .map_err(|error| Failure::Failed(error.to_string()))
}

/// The line that an operator wants to see of an event; none where it is routine.
fn text(event: Event) -> Option<String> {
    match event {
        Event::Stable(_) => None,
        Event::Contradiction(evidence) => Some(format!(
            "replica {} contradicted itself about sequence number {}; it is faulty or its key is used twice: {evidence}",
            evidence.replica, evidence.sequence
        )),
        Event::RolledBack { .. } => None,
        Event::RecoveryPoint(sequence) => Some(format!(
            "does not remember what it promised: it follows the others, and votes again after sequence number {}",
            sequence.0
        )),
        Event::TooManyForgot(who) => Some(format!(
            "more than f replicas have forgotten what they promised ({}): nobody can vote, and the cluster has stopped for good unless \
             they come back with their journals; form a new cluster",
            who.iter().map(|id| id.0.to_string()).collect::<Vec<_>>().join(", ")
        )),
        Event::Recovered => Some("has recovered, and votes again".to_owned()),
        Event::MemoryTrouble(Trouble::Full) => {
            Some("the disk has no room for the journal: promises wait until there is some".to_owned())
        }
        Event::MemoryTrouble(Trouble::Failed) => {
            Some("the journal failed: this replica promises nothing until it is started again".to_owned())
        }
        Event::MemoryTrouble(Trouble::Checkpoint) => {
            Some("a checkpoint could not be written: the journal grows to its bound; look at the disk".to_owned())
        }
        Event::MemoryTrouble(Trouble::Unmade) => Some(
            "no journal could be made after the recovery: this replica promises nothing; look at the disk".to_owned(),
        ),
        Event::StateFetched(sequence) => {
            Some(format!("fetched the state after sequence number {} from other replicas", sequence.0))
        }
        Event::ViewLeft { wanted, why } => Some(format!("left its view for view {}: {why}", wanted.0)),
        Event::ViewEntered(view) => Some(format!("entered view {}", view.0)),
        Event::NewViewWrong { replica, view } => Some(format!(
            "replica {} signed a new view {} that does not follow from what it is made of; it is faulty",
            replica.0, view.0
        )),
        Event::Demoted { client, .. } => Some(format!(
            "client {client} must sign its requests from now on: its tags were good for some replicas only"
        )),
        Event::Diverged(sequence) => Some(format!(
            "a quorum has another state at sequence number {} than this replica, which is faulty",
            sequence.0
        )),
        Event::FellBehind { checkpoint } => Some(format!(
            "this replica fell behind: the others discarded what it lacks before their checkpoint at sequence number {}",
            checkpoint.0
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_engine::numbers::{ReplicaSet, SequenceNumber, View};
    use logothete_engine::replica::{Departure, Suspicion, Wait};

    #[test]
    fn what_is_routine_is_not_told() {
        assert_eq!(text(Event::Stable(SequenceNumber(128))), None);
        let zeros = "00".repeat(32);
        let line = format!("v1 replica=2 kind=commit view=0 number=7 held={zeros} other={zeros} proof=mac");
        let told = text(Event::Contradiction(line.parse().unwrap())).unwrap();
        assert!(told.contains("replica 2") && told.contains("number 7"), "{told}");
        assert!(text(Event::Diverged(SequenceNumber(9))).unwrap().contains('9'));
        let forgot = text(Event::TooManyForgot(ReplicaSet::first(2))).unwrap();
        assert!(forgot.contains("(0, 1)") && forgot.contains("form a new cluster"), "{forgot}");
        let wait = Wait { blamed_ns: 260_000_000, borne_ns: 250_000_000, excused_ns: 40_000_000 };
        let why = Departure::Suspicion(Suspicion::Latency(wait));
        let left = text(Event::ViewLeft { wanted: View(3), why }).unwrap();
        for part in ["view 3", "260.0 ms", "250.0 are borne", "besides 40.0 in which disks stood still"] {
            assert!(left.contains(part), "{left}");
        }
        assert!(text(Event::FellBehind { checkpoint: SequenceNumber(256) }).unwrap().contains("256"));
    }
}
