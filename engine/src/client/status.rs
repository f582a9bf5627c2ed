//! Asking the replicas how they fare: what `logothete status` shows, and what decides whether a run's replicas agree.

use super::Survey;
use super::operator::ask;
use crate::authentication::Refused;
use crate::cluster::Cluster;
use crate::numbers::{ClientId, Principal, ReplicaId, ReplicaSet};
use crate::pipeline::ProcessError;
use crate::replica::{Progress, Quorum, Reject};
use crate::wire::Message;
use crate::wire::report::{RejectEntry, RejectsQuery, RejectsReport, ReportReply};
use logothete_crypto::{Digest, Identity};
use std::cell::{Cell, RefCell};
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
    /// The clients whose requests must be signed.
    pub demoted: Vec<ClientId>,
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
    let replicas = cluster.replica_count();
    let survey = RefCell::new(Survey::new(0, replicas));
    let question = |now_ns: u64, out: &mut Vec<u8>| {
        *survey.borrow_mut() = Survey::new(now_ns, replicas);
        survey.borrow().append_question(out);
    };
    ask(cluster, operator, timeout, question, |packet| {
        let mut survey = survey.borrow_mut();
        survey.on_packet(packet);
        survey.count() == replicas
    })?;
    let survey = survey.into_inner();
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
        demoted: report.demoted().collect(),
    }
}

/// Which part of a replica rejected something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectedBy {
    /// The verifier, a datagram: before the tag has verified, nobody can be named.
    Verifier,
    /// The core, an authentic message.
    Core,
}

/// How often a replica rejected something of one sender for one reason, in its own word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RejectCount {
    /// Which part of it.
    pub by: RejectedBy,
    /// Whose; `None` where that is not proven.
    pub about: Option<Principal>,
    /// The reason's name.
    pub reason: String,
    /// How often since its start.
    pub count: u64,
}

/// Whom one replica rejected for what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RejectCounts {
    /// The most frequent first.
    pub counts: Vec<RejectCount>,
    /// Rejects in none of them, for want of room in the answer.
    pub omitted: u64,
}

impl RejectCounts {
    fn of(report: &RejectsReport<'_>) -> Self {
        let count = |entry: &RejectEntry| {
            let index = usize::from(entry.reason);
            let (by, label) = if entry.by == RejectEntry::BY_CORE {
                (RejectedBy::Core, Reject::ALL.get(index).map(|reason| reason.label()))
            } else {
                (RejectedBy::Verifier, Refused::ALL.get(index).map(|reason| reason.label()))
            };
            let about = entry.about.get();
            RejectCount {
                by,
                about: (about != RejectEntry::NOBODY).then(|| Principal::from_code(about)),
                // A replica of another release may have reasons that this one does not know.
                reason: label.map_or_else(|| format!("reason {index}"), str::to_owned),
                count: entry.count.get(),
            }
        };
        Self { counts: report.entries.iter().map(count).collect(), omitted: report.omitted }
    }
}

/// Asks all replicas, as the operator, whom they reject for what, and waits until all have answered or the time is over. `None` where
/// there was no answer.
///
/// # Errors
/// The host refuses a socket or memory.
pub fn query_rejects(
    cluster: &Cluster,
    operator: Identity,
    timeout: Duration,
) -> Result<Vec<Option<RejectCounts>>, ProcessError> {
    let mut answers: Vec<Option<RejectCounts>> = vec![None; cluster.replica_count()];
    let nonce = Cell::new(0);
    let question = |now_ns: u64, out: &mut Vec<u8>| {
        nonce.set(now_ns);
        RejectsQuery { nonce: now_ns.into() }.append(out);
    };
    ask(cluster, operator, timeout, question, |packet| {
        let Principal::Replica(from) = packet.sender() else { return false };
        for (message, _) in packet.messages().flatten() {
            if let (Message::RejectsReport(report), Some(answer)) = (message, answers.get_mut(usize::from(from.0)))
                && report.nonce == nonce.get()
            {
                *answer = Some(RejectCounts::of(&report));
            }
        }
        answers.iter().all(Option::is_some)
    })?;
    Ok(answers)
}
