//! The host's part of state transfer: fetching the checkpoint that the core wants, and answering those who lack one that is held here
//! (`protocol.md ST-4` to `ST-7`, `CK-5`, `CK-6`).

use super::checkpoints::Checkpoints;
use crate::limits::{REPLICAS_MAX, STATE_ANSWER_BYTES, STATE_REFILL_NS};
use crate::numbers::{ReplicaId, ReplicaSet, SequenceNumber};
use crate::replica::Output;
use crate::state::Snapshot;
use crate::state::transfer::{AnswerLimits, CheckpointName, Finding, Transfer, TransferConfig, answer};
use crate::wire::state::StateQuery;
use crate::wire::{Audience, Message};
use logothete_crypto::Digest;

/// How much a peer was sent since when.
#[derive(Clone, Copy, Debug, Default)]
struct Allowance {
    since_ns: u64,
    bytes: usize,
}

/// Both sides of state transfer at one replica.
#[derive(Debug)]
pub(super) struct StateTransfer {
    message_bytes_max: usize,
    fetching: Option<Transfer>,
    allowances: [Allowance; REPLICAS_MAX],
}

impl StateTransfer {
    /// Nothing is fetched yet; messages have at most so many bytes.
    pub(super) fn new(message_bytes_max: usize) -> Self {
        Self { message_bytes_max, fetching: None, allowances: [Allowance::default(); REPLICAS_MAX] }
    }

    /// Fetches a checkpoint, on the base of what is here; what was fetched of an earlier one serves as well, and its sources are asked too.
    pub(super) fn fetch(&mut self, target: CheckpointName, sources: ReplicaSet, base: impl FnOnce() -> Snapshot) {
        match &mut self.fetching {
            Some(transfer) => transfer.retarget(target, sources),
            None => {
                let config = TransferConfig::new(self.message_bytes_max);
                self.fetching = Some(Transfer::new(base(), target, sources, config));
            }
        }
    }

    /// Takes what a replica says of states. Returns whether it does not hold what is being fetched from it.
    pub(super) fn on_message(
        &mut self,
        now_ns: u64,
        from: ReplicaId,
        message: &Message<'_>,
        checkpoints: &mut Checkpoints,
        output: &mut Output,
    ) -> bool {
        match message {
            Message::StateQuery(query) => self.answer(now_ns, from, query, checkpoints, output),
            Message::StateNodes(nodes) => {
                let finding = self.fetching.as_mut().and_then(|transfer| transfer.on_nodes(now_ns, from, nodes));
                return matches!(finding, Some(Finding::Refused { .. }));
            }
            Message::StatePages(pages) => {
                if let Some(transfer) = &mut self.fetching {
                    transfer.on_pages(now_ns, from, pages);
                }
            }
            _ => {}
        }
        false
    }

    fn answer(
        &mut self,
        now_ns: u64,
        from: ReplicaId,
        query: &StateQuery<'_>,
        checkpoints: &mut Checkpoints,
        output: &mut Output,
    ) {
        let allowance = &mut self.allowances[usize::from(from.0)];
        if now_ns.saturating_sub(allowance.since_ns) >= STATE_REFILL_NS {
            *allowance = Allowance { since_ns: now_ns, bytes: 0 };
        }
        let none = CheckpointName { sequence: SequenceNumber(0), digest: Digest::default() };
        let newest = checkpoints.stable_name().unwrap_or(none);
        let limits = AnswerLimits {
            message_bytes_max: self.message_bytes_max,
            bytes_max: STATE_ANSWER_BYTES.saturating_sub(allowance.bytes),
        };
        if limits.bytes_max == 0 {
            return;
        }
        let held = checkpoints.ask(query.checkpoint, now_ns);
        let to = Audience::Replicas(ReplicaSet::only(from));
        allowance.bytes +=
            answer(query, held, newest, limits, &mut |bytes| output.send(to, |out| out.extend_from_slice(bytes)));
    }

    /// Ends a duty cycle: asks for more. Returns the state when it is complete.
    pub(super) fn on_duty_end(&mut self, now_ns: u64, output: &mut Output) -> Option<(CheckpointName, Snapshot)> {
        let transfer = self.fetching.as_mut()?;
        transfer.on_duty_end(now_ns, &mut |to, bytes| {
            output.send(Audience::Replicas(ReplicaSet::only(to)), |out| out.extend_from_slice(bytes));
        });
        let complete = transfer.finished().cloned().map(|snapshot| (transfer.target(), snapshot))?;
        self.fetching = None;
        Some(complete)
    }

    /// What is being fetched is of no use any more.
    pub(super) fn give_up_below(&mut self, executed: SequenceNumber) {
        self.fetching.take_if(|transfer| transfer.target().sequence <= executed);
    }

    /// When [`StateTransfer::on_duty_end`] is to be called at the latest.
    pub(super) fn deadline_ns(&self) -> u64 {
        self.fetching.as_ref().map_or(u64::MAX, Transfer::deadline_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::Principal;
    use crate::replica::Action;
    use crate::state::State;
    use crate::wire::Messages;
    use crate::wire::state::{StateItem, append_query};

    /// `protocol.md ST-7`: who has no checkpoint to give says so, so that the asker need not wait in vain.
    #[test]
    fn who_has_no_checkpoint_yet_refuses() {
        let mut transfer = StateTransfer::new(1400);
        let mut checkpoints = Checkpoints::new(SequenceNumber(0), State::new(4).snapshot());
        let (mut query, mut output) = (Vec::new(), Output::new());
        let wanted = CheckpointName { sequence: SequenceNumber(8), digest: Digest([4; 32]) };
        append_query(&mut query, wanted, &[StateItem::node(1, 0)]);
        let asker = ReplicaId(2);
        let (message, _) = Messages::new(&query, Principal::Replica(asker)).next().unwrap().unwrap();
        transfer.on_message(0, asker, &message, &mut checkpoints, &mut output);
        let [Action::Send { audience, bytes, .. }] = output.actions() else { panic!("{:?}", output.actions()) };
        assert_eq!(*audience, Audience::Replicas(ReplicaSet::only(asker)));
        let sent = output.message(bytes.clone());
        let (answer, _) = Messages::new(sent, Principal::Replica(ReplicaId(1))).next().unwrap().unwrap();
        let Message::StateNodes(nodes) = answer else { panic!("{answer:?}") };
        assert_eq!((nodes.nodes.len(), nodes.checkpoint.sequence), (0, SequenceNumber(0)));
    }
}
