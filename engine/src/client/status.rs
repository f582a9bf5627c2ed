//! Asking the replicas how they fare: what `logothete status` shows, and what decides whether a run's replicas agree.

use super::Survey;
use crate::authentication::Incoming;
use crate::cluster::{Cluster, FanOut, Transport};
use crate::limits::SURVEY_RENEW_NS;
use crate::numbers::{ClientId, Principal, ReplicaId, ReplicaSet};
use crate::pipeline::{Clock, Idler, Outbox, Pause, ProcessError, open_network};
use crate::replica::{Progress, Quorum};
use crate::wire::Audience;
use crate::wire::report::ReportReply;
use logothete_crypto::{Digest, Identity};
use logothete_transport::counters::CounterSet;
use logothete_transport::datagram::DatagramCounters;
use std::time::Duration;

/// What a replica says of itself.
#[derive(Clone, Debug)]
pub struct ReplicaStatus {
    /// Which replica.
    pub id: ReplicaId,
    /// The view that it is in.
    pub view: u64,
    /// Whether it is that view's primary.
    pub primary: bool,
    /// The last batch that it executed.
    pub executed: u64,
    /// Its last stable checkpoint.
    pub checkpoint_stable: u64,
    /// The digest of its state after `executed`.
    pub state_digest: Digest,
    /// The replicas that it heard from in the last second, itself included.
    pub peers_reachable: ReplicaSet,
    /// How it gets on.
    pub progress: Progress,
    /// Datagrams sent since its start.
    pub datagrams_sent: u64,
    /// Datagrams received since its start.
    pub datagrams_received: u64,
    /// Packets and messages rejected since its start.
    pub rejects: u64,
    /// The oldest position of its ordered log.
    pub log_oldest: u64,
    /// The position after the last of its ordered log.
    pub log_end: u64,
}

/// Asks all replicas as the operator, and waits until all have answered or the time is over. `None` where there was no answer.
///
/// # Errors
/// The host refuses a socket or memory.
pub fn query(
    cluster: &Cluster,
    operator: Identity,
    timeout: Duration,
) -> Result<Vec<Option<ReplicaStatus>>, ProcessError> {
    let own = Principal::Client(ClientId(cluster.operator_index() as u16));
    let opened = open_network(cluster, own, operator, Transport::Mmsg, FanOut::Unicast, DatagramCounters::private())?;
    let (mut network, mut outbox) = (opened.network, Outbox::new(opened.pool, cluster.datagram_bytes_max));
    let replicas = cluster.replica_count();
    let everybody = Audience::Replicas(ReplicaSet::first(replicas));
    let clock = Clock::start();
    let mut survey = Survey::new(clock.now().wall_ns, replicas);
    let mut question = Vec::new();
    survey.append_question(&mut question);
    let mut idler = Idler::new(crate::cluster::Idle::Park);
    let (mut ask_at_ns, mut established, deadline_ns) = (u64::MAX, 0, timeout.as_nanos() as u64);
    while survey.count() < replicas {
        let now = clock.now();
        if now.monotonic_ns >= deadline_ns {
            break;
        }
        network.receive(now.monotonic_ns, |incoming| {
            if let Incoming::Packet(packet) = incoming {
                survey.on_packet(packet);
            }
        });
        if network.replicas_established() > established {
            established = network.replicas_established();
            ask_at_ns = now.monotonic_ns;
        }
        if ask_at_ns <= now.monotonic_ns {
            ask_at_ns = now.monotonic_ns + SURVEY_RENEW_NS;
            outbox.add(everybody, &question);
            outbox.drain_into(&mut network);
        }
        network.on_duty_end(now.monotonic_ns)?;
        let next_ns = ask_at_ns.min(network.deadline_ns()).min(deadline_ns);
        if let Pause::Sleep(timeout) = idler.pause(now.monotonic_ns, next_ns) {
            network.wait(timeout)?;
        }
    }
    let statuses = survey.answers().iter().enumerate();
    Ok(statuses.map(|(id, answer)| answer.as_ref().map(|report| status(cluster, id, report))).collect())
}

fn status(cluster: &Cluster, id: usize, report: &ReportReply) -> ReplicaStatus {
    let replicas = cluster.replica_count();
    let view = report.view.get();
    // The baseline of one server has no quorums, and is its own primary.
    let primary = Quorum::of(replicas).is_none() || view % replicas as u64 == id as u64;
    ReplicaStatus {
        id: ReplicaId(id as u8),
        view,
        primary,
        executed: report.executed.get(),
        checkpoint_stable: report.checkpoint_stable.get(),
        state_digest: report.state_digest,
        peers_reachable: ReplicaSet(report.peers_reachable.get()),
        progress: Progress::from_code(report.progress),
        datagrams_sent: report.datagrams_sent.get(),
        datagrams_received: report.datagrams_received.get(),
        rejects: report.rejects.get(),
        log_oldest: report.log_oldest.get(),
        log_end: report.log_end.get(),
    }
}
