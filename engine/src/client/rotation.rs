//! Wishing for new session keys as the operator (`protocol.md KY-4`): what `logothete rotate-keys` does.

use super::operator::ask;
use crate::cluster::Cluster;
use crate::numbers::{Principal, ReplicaId};
use crate::pipeline::ProcessError;
use crate::wire::Message;
use crate::wire::keys::{KeyReport, RotateKeys};
use logothete_crypto::Identity;
use std::cell::Cell;
use std::time::Duration;

/// What a replica says of its keys after the wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyStatus {
    /// Which replica.
    pub id: ReplicaId,
    /// Its newest generation.
    pub generation: u32,
    /// The wished generation comes after this time: two others still overlap. `None`: it is made.
    pub due_in: Option<Duration>,
    /// The other replicas with which it has a session, and those of them that confirmed the newest generation.
    pub replicas: (u16, u16),
    /// The same of the drivers, whether they still run or not.
    pub drivers: (u16, u16),
    /// How long it took until all those replicas had confirmed it; `None` where they have not.
    pub in_use_after: Option<Duration>,
}

impl KeyStatus {
    fn of(id: usize, report: &KeyReport) -> Self {
        let due_ms = u64::from(report.due_ms.get());
        let in_use_ns = report.in_use_after_ns.get();
        Self {
            id: ReplicaId(id as u8),
            generation: report.generation.get(),
            due_in: (due_ms > 0).then(|| Duration::from_millis(due_ms)),
            replicas: (report.replicas.get(), report.replicas_confirmed.get()),
            drivers: (report.clients.get(), report.clients_confirmed.get()),
            in_use_after: (in_use_ns > 0).then(|| Duration::from_nanos(in_use_ns)),
        }
    }

    /// Whether nothing is left to wait for.
    fn is_final(&self) -> bool {
        self.due_in.is_some() || (self.replicas.0 == self.replicas.1 && self.drivers.0 == self.drivers.1)
    }
}

/// Wishes for new keys at all replicas, and waits until each says that its new generation is in use everywhere or when it will be made,
/// or the time is over. `None` where there was no answer.
///
/// # Errors
/// The host refuses a socket or memory.
pub fn rotate_keys(
    cluster: &Cluster,
    operator: Identity,
    timeout: Duration,
) -> Result<Vec<Option<KeyStatus>>, ProcessError> {
    let mut answers: Vec<Option<KeyStatus>> = vec![None; cluster.replica_count()];
    let nonce = Cell::new(0);
    let question = |now_ns: u64, out: &mut Vec<u8>| {
        nonce.set(now_ns);
        RotateKeys { nonce: now_ns.into() }.append(out);
    };
    ask(cluster, operator, timeout, question, |packet| {
        let Principal::Replica(from) = packet.sender() else { return false };
        for (message, _) in packet.messages().flatten() {
            if let (Message::KeyReport(report), Some(answer)) = (message, answers.get_mut(usize::from(from.0)))
                && report.nonce.get() == nonce.get()
            {
                *answer = Some(KeyStatus::of(usize::from(from.0), report));
            }
        }
        answers.iter().all(|answer| answer.is_some_and(|status| status.is_final()))
    })?;
    Ok(answers)
}
