//! Whose messages were rejected for what (`protocol.md EV-4`): a row of counters for each replica and each client, fixed at start.

use super::{Reject, RejectCounters};
use crate::numbers::{ClientId, Principal, ReplicaId};

/// Rejects by sender.
#[derive(Clone, Debug)]
pub struct RejectTable {
    total: RejectCounters,
    replicas: Box<[RejectCounters]>,
    clients: Box<[RejectCounters]>,
    /// Of messages whose sender is not proven.
    nobody: RejectCounters,
}

impl RejectTable {
    /// For so many replicas and clients.
    pub(super) fn new(replicas: usize, clients: usize) -> Self {
        let rows = |count| vec![RejectCounters::new(); count].into();
        Self {
            total: RejectCounters::new(),
            replicas: rows(replicas),
            clients: rows(clients),
            nobody: RejectCounters::new(),
        }
    }

    /// A message of whoever authenticated it was rejected; `None` where nobody did.
    pub(super) fn count(&mut self, sender: Option<Principal>, reason: Reject) {
        self.total.count(reason);
        let row = match sender {
            Some(Principal::Replica(id)) => self.replicas.get_mut(usize::from(id.0)),
            Some(Principal::Client(id)) => self.clients.get_mut(usize::from(id.0)),
            None => None,
        };
        row.unwrap_or(&mut self.nobody).count(reason);
    }

    /// All senders together.
    pub fn total(&self) -> &RejectCounters {
        &self.total
    }

    /// What was rejected of one replica.
    pub fn of_replica(&self, id: ReplicaId) -> &RejectCounters {
        &self.replicas[usize::from(id.0)]
    }

    /// Every row with its sender, `None` for the one of nobody.
    pub fn rows(&self) -> impl Iterator<Item = (Option<Principal>, &RejectCounters)> {
        let replicas = self.replicas.iter().enumerate();
        let clients = self.clients.iter().enumerate();
        replicas
            .map(|(id, row)| (Some(Principal::Replica(ReplicaId(id as u8))), row))
            .chain(clients.map(|(id, row)| (Some(Principal::Client(ClientId(id as u16))), row)))
            .chain([(None, &self.nobody)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `protocol.md EV-4`
    #[test]
    fn rows_add_up_to_the_total() {
        let mut table = RejectTable::new(4, 2);
        let senders = [
            Some(Principal::Replica(ReplicaId(3))),
            Some(Principal::Client(ClientId(1))),
            None,
            Some(Principal::Replica(ReplicaId(3))),
        ];
        senders.into_iter().for_each(|sender| table.count(sender, Reject::Duplicate));
        table.count(senders[0], Reject::VoteConflict);
        assert_eq!(table.of_replica(ReplicaId(3)).of(Reject::Duplicate), 2);
        assert_eq!(table.of_replica(ReplicaId(3)).of(Reject::VoteConflict), 1);
        assert_eq!(table.of_replica(ReplicaId(0)).total(), 0);
        for reason in Reject::ALL {
            let sum: u64 = table.rows().map(|(_, row)| row.of(*reason)).sum();
            assert_eq!(sum, table.total().of(*reason));
        }
        assert_eq!(table.rows().count(), 7);
        // A sender that the table does not have is nobody in particular.
        table.count(Some(Principal::Replica(ReplicaId(9))), Reject::Duplicate);
        assert_eq!(table.rows().last().unwrap().1.total(), 2);
    }
}
