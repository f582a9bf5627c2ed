//! Coming back with a journal: the records of what this replica promised, taken in their order on top of its last durable checkpoint, put it
//! where it was (`protocol.md RC-1`). Votes of others are not among them; they are asked for again (`RT-1`).

use super::bodies::BodyRef;
use super::log::Stage;
use super::output::Output;
use super::{Now, Replica};
use crate::journal::Record;
use crate::numbers::{Principal, SequenceNumber, View};
use crate::planted::{self, Bug};
use crate::replica::engine_pages::EnginePagesError;
use crate::state::State;
use crate::wire::Message;
use crate::wire::agreement::{BatchEntry, batch_digest};
use crate::wire::packet::{HEADER_BYTES, PacketParts};
use crate::wire::parts::RequestPart;
use logothete_crypto::{Digest, digest};
use std::collections::BTreeMap;

/// The bodies of a journal, until the proposals that name them were read.
#[derive(Clone, Debug, Default)]
pub(super) struct Recalled {
    bodies: BTreeMap<Digest, BodyRef>,
}

impl Replica {
    /// Starts from a durable checkpoint whose pages the host has installed.
    ///
    /// # Errors
    /// The pages are not this engine's.
    pub fn recall_checkpoint(
        &mut self,
        digest: Digest,
        state: &State,
        output: &mut Output,
    ) -> Result<(), EnginePagesError> {
        self.recalling = true;
        self.read_engine_pages(state)?;
        let sequence = self.executed;
        self.checkpoints.note_own(sequence, digest);
        self.make_stable(sequence, output);
        self.highest_seen = sequence;
        Ok(())
    }

    /// Takes one record of the journal. The actions that follow are to be done before the next one; they execute what committed, and nothing
    /// is to be sent.
    pub fn recall(&mut self, now: Now, record: &Record<'_>, output: &mut Output) {
        self.recalling = true;
        match *record {
            Record::Body { packet } => self.recall_body(packet),
            Record::Proposal { view, sequence, timestamp_ns, entries } => {
                self.recall_view(view);
                if self.log.in_window(sequence) {
                    let digest = self.recall_batch(now, sequence, timestamp_ns, entries);
                    self.recall_proposal(sequence, digest);
                }
            }
            Record::Batch { sequence, timestamp_ns, entries } => {
                if self.log.in_window(sequence) {
                    self.recall_batch(now, sequence, timestamp_ns, entries);
                    self.execute_committed(now, output);
                }
            }
            Record::Prepare { view, sequence, digest } => {
                self.recall_view(view);
                let id = self.config.id;
                if let Some(slot) = self.log.slot_mut(sequence).filter(|slot| slot.proposal == Some(digest)) {
                    slot.stage = slot.stage.max(Stage::PrePrepared);
                    slot.prepares.record(id, digest);
                    self.accepted = self.accepted.max(sequence);
                }
            }
            Record::Commit { view, sequence, digest } => {
                self.recall_view(view);
                let id = self.config.id;
                if let Some(slot) = self.log.slot_mut(sequence).filter(|slot| slot.proposal == Some(digest)) {
                    slot.prepared = Some((view, digest));
                    slot.stage = slot.stage.max(Stage::Prepared);
                    slot.commits.record(id, digest);
                }
            }
            Record::ViewChange { bytes } => self.recall_view_change(bytes),
            Record::NewView { bytes } => self.recall_new_view(now, bytes),
            Record::ViewEntered { view } => {
                // Recorded anew beside a checkpoint, it changes nothing.
                let enters = view > self.view || !self.active;
                self.recall_view(view);
                if enters {
                    self.recall_entry(now);
                }
            }
            Record::EpochAcknowledged { replica, epoch } => self.peers.acknowledge_epoch(replica, epoch),
            Record::Committed { sequence, digest } => {
                if self.log.in_window(sequence) {
                    self.commit(now, sequence, digest, output);
                }
            }
            Record::Stable { sequence, digest } => {
                if sequence > self.stable() {
                    // What was fetched from others, and was not on the disk yet, is fetched again: the state lags behind the log then.
                    self.checkpoints.note_own(sequence, digest);
                    self.make_stable(sequence, output);
                }
                let bodies = &mut self.bodies;
                self.recalled.bodies.retain(|_, body| {
                    let named = bodies.is_shared(*body);
                    if !named {
                        bodies.release(*body);
                    }
                    named
                });
            }
        }
    }

    fn recall_batch(
        &mut self,
        now: Now,
        sequence: SequenceNumber,
        timestamp_ns: u64,
        entries: &[BatchEntry],
    ) -> Digest {
        let digest = batch_digest(timestamp_ns, entries);
        self.learn_batch(now, sequence, digest, timestamp_ns, entries);
        for entry in entries {
            let recalled = self.recalled.bodies.get(&entry.digest).copied();
            if let Some(body) = recalled.filter(|body| self.bodies.parts_missing(*body) == 0) {
                self.bind_body(entry.name(), body);
            }
        }
        let slot = self.log.slot_mut(sequence).expect("only numbers of the window are recalled");
        slot.batch_mut(&digest).expect("it was just learned").persisted = true;
        digest
    }

    fn recall_body(&mut self, packet: &[u8]) {
        // A journal is this replica's own, and its checksums hold: what it has accepted once can be read.
        let parts = PacketParts::parse(packet).expect("the journal has packets that were accepted");
        let sender = Principal::from_code(parts.header.sender.get());
        let request = match Message::decode(parts.body, sender) {
            Ok(Message::Request(request)) => request,
            Ok(Message::RequestPart(part)) => return self.recall_part(&part, packet),
            _ => panic!("the journal has requests that were accepted"),
        };
        let (of, range) = (digest(parts.body), HEADER_BYTES..HEADER_BYTES + parts.body.len());
        // Whether its tag was good is forgotten; others vouch for it, should it have to be accepted again.
        if let Some(body) = self.bodies.store(packet, range, request.name, of, false, 0)
            && let Some(former) = self.recalled.bodies.insert(of, body)
        {
            self.bodies.release(former);
        }
    }

    /// A part of a request: its body is of use when all are here (`protocol.md LR-2`).
    fn recall_part(&mut self, part: &RequestPart<'_>, packet: &[u8]) {
        let whole = part.digest;
        let held = self.recalled.bodies.get(&whole).copied();
        let Some(body) = held.or_else(|| self.bodies.begin(part.name, whole, part.total_bytes, 0)) else { return };
        self.recalled.bodies.insert(whole, body);
        // Recorded again in a later view, or in this one.
        if self.bodies.parts_missing(body) == 0 {
            return;
        }
        self.bodies.put_part(body, part.index, part.total_bytes, packet, false);
        if self.bodies.parts_missing(body) == 0 {
            assert!(self.bodies.finish(body, 0), "the journal has the parts of requests that were accepted");
        }
    }

    /// A record of a view says that the replica was in it: what it entered before is older than the records that are kept.
    fn recall_view(&mut self, view: View) {
        if view > self.view && !planted::is(Bug::ViewNotRestored) {
            self.leave_for(view);
        }
        self.active |= view == self.view;
    }

    /// The proposal of a number in the present view; a backup has accepted it when its prepare is there too.
    pub(super) fn recall_proposal(&mut self, sequence: SequenceNumber, digest: Digest) {
        let (view, primary, carried) = (self.view, self.is_primary(), sequence <= self.carried_last);
        if primary && planted::is(Bug::ProposalsNotRestored) {
            return;
        }
        let slot = self.log.slot_mut(sequence).expect("only numbers of the window are recalled");
        slot.proposal = Some(digest);
        slot.carried = carried;
        slot.note_pre_prepared(view, digest);
        self.highest_seen = self.highest_seen.max(sequence);
        if primary {
            slot.stage = Stage::PrePrepared;
            let batch = slot.proposed_batch().expect("it was just learned");
            self.proposed_timestamp_ns = self.proposed_timestamp_ns.max(batch.timestamp_ns);
            self.accepted = self.accepted.max(sequence);
            self.proposed = self.proposed.max(sequence);
            let batch = self.log.slot(sequence).and_then(|slot| slot.proposed_batch()).expect("it was just learned");
            batch.entries.iter().for_each(|entry| self.clients.mark_proposed(entry.name()));
        }
    }

    /// The journal is read: the replica goes on from here. One that had left its view says so again, under its new epoch.
    pub fn on_recalled(&mut self, now: Now, output: &mut Output) {
        for (_, body) in std::mem::take(&mut self.recalled.bodies) {
            self.bodies.release(body);
        }
        self.recalling = false;
        self.promises.keep(true);
        // What prepared here may have been acknowledged: no query is answered before it has committed again.
        let window = self.stable().0 + 1..=self.stable().0 + self.log.window();
        let is_prepared =
            |sequence: &u64| self.log.slot(SequenceNumber(*sequence)).is_some_and(|slot| slot.prepared.is_some());
        let prepared = window.rev().find(is_prepared).map_or(SequenceNumber(0), SequenceNumber);
        self.unread_last = prepared;
        self.entered_ns = now.monotonic_ns;
        self.goodput.begin_view(now.monotonic_ns);
        self.pulse.hasten();
        if !self.active {
            self.say_view_change(now, output);
        }
    }

    /// The log is ahead of the state: what is missing is fetched from others.
    pub(super) fn lacks_state(&self) -> bool {
        self.executed < self.stable()
    }
}

#[cfg(test)]
mod tests;
