//! Whose disk may be damaged: together with whoever is faulty otherwise at most `f` replicas at a time, until they have recovered. What is durable at
//! all others, the protocol relies on.

use super::Damaged;
use super::faults::DiskFault;
use crate::world::cluster::Cluster;
use logothete_engine::numbers::ReplicaId;
use std::fmt;

/// The damage that was done in a run.
#[derive(Clone, Debug, Default)]
pub struct FaultAtlas {
    /// Whether more is done than the protocol bears: to see that it is noticed.
    beyond: bool,
    done: Vec<(u64, ReplicaId, Damaged)>,
}

impl FaultAtlas {
    /// For damage that the protocol bears.
    pub fn within() -> Self {
        Self::default()
    }

    /// For damage that it need not bear.
    pub fn beyond() -> Self {
        Self { beyond: true, ..Self::default() }
    }

    /// Damages a replica's disk while its process is down for it, if that is admissible, and says whether it was done.
    ///
    /// # Errors
    /// The damage was not noticed, and could have been.
    pub fn damage(&mut self, cluster: &mut Cluster, at: usize, kind: DiskFault) -> Result<bool, String> {
        let host = &cluster.replicas[at];
        let stands = (host.is_correct() || host.is_crashed()) && !host.recovers && host.disk.remembers();
        if !stands || (!self.beyond && !cluster.bears_loss_of(at)) {
            return Ok(false);
        }
        let (now_ns, id) = (cluster.now_ns, host.id);
        let damaged = cluster.restart_damaged(at, kind)?;
        let done = damaged.is_some();
        self.done.extend(damaged.map(|damaged| (now_ns, id, damaged)));
        Ok(done)
    }

    /// How often something was damaged.
    pub fn count(&self) -> usize {
        self.done.len()
    }
}

impl fmt::Display for FaultAtlas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (now_ns, id, Damaged { kind, path, at }) in &self.done {
            writeln!(f, "{} ms, {id}: {}, {} byte {at}", now_ns / 1_000_000, kind.name(), path.display())?;
        }
        Ok(())
    }
}
