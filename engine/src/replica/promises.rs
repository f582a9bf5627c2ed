//! Promises and the journal: what this replica said that binds it is a record before it leaves, and its own votes count only when they
//! are durable (`protocol.md JR-1`). Without a journal a promise counts at once.

use super::disk_pace::DiskPace;
use super::output::Output;
use super::{Now, Replica};
use crate::journal::Record;
use crate::numbers::{ReplicaSet, SequenceNumber, View};
use crate::wire::agreement::Vote;
use logothete_crypto::Digest;
use std::collections::VecDeque;

/// An own vote that is not durable yet.
#[derive(Clone, Debug)]
struct OwnVote {
    record: u64,
    view: View,
    sequence: SequenceNumber,
    digest: Digest,
    commit: bool,
}

/// What was promised, and how much of it is durable.
#[derive(Clone, Debug, Default)]
pub(super) struct Promises {
    /// There is a journal.
    keeps: bool,
    /// Records handed to the host so far.
    records: u64,
    /// Up to which of them all is durable, and how the disk keeps up.
    durable: u64,
    pace: DiskPace,
    votes: VecDeque<OwnVote>,
    /// Which record says that a checkpoint is stable: oldest first.
    stable: VecDeque<(SequenceNumber, u64)>,
}

impl Promises {
    pub(super) fn new(keeps: bool) -> Self {
        // The initial state is a checkpoint, and everything comes after it.
        Self { keeps, stable: VecDeque::from([(SequenceNumber(0), 0)]), ..Self::default() }
    }

    /// Begins, or stops, to write records.
    pub(super) fn keep(&mut self, keeps: bool) {
        self.keeps = keeps;
    }

    pub(super) fn record(&mut self, record: &Record<'_>, output: &mut Output) {
        if self.keeps {
            self.records += 1;
            output.persist(record);
        }
    }

    /// Looks whether the disk keeps up, and takes note whether so many others say that theirs do not that nothing can be decided. Whether what the own
    /// does is another thing than at the last look.
    pub(super) fn look_at_disk(&mut self, now_ns: u64, others_stand: bool) -> bool {
        self.pace.look(now_ns, self.durable < self.records, others_stand)
    }

    /// Whether the own disk stood still at the last look.
    pub(super) fn disk_stands(&self) -> bool {
        self.pace.own_stands()
    }

    /// When to look again, lest it be noticed late that the disk stands still.
    pub(super) fn disk_due_ns(&self) -> u64 {
        self.pace.due_ns()
    }

    /// Since when no disk has stood still that had to be waited for.
    pub(super) fn disks_go_since_ns(&self, now_ns: u64) -> u64 {
        self.pace.goes_since_ns(now_ns)
    }

    /// Since when something waits, as far as the primary can be blamed for it.
    pub(super) fn blamable_since_ns(&mut self, now_ns: u64, since_ns: u64) -> u64 {
        self.pace.blamable_since_ns(now_ns, since_ns)
    }

    /// Notes where the journal says that a checkpoint is stable.
    pub(super) fn note_stable(&mut self, sequence: SequenceNumber) {
        self.stable.push_back((sequence, self.records));
    }

    /// The first record that a start from a checkpoint needs, counted from the first one handed over; all numbers above the checkpoint
    /// are in records from there on, since none is accepted before the window reaches it.
    fn needed_from(&mut self, checkpoint: SequenceNumber, window: u64) -> u64 {
        let reaches = |stable: SequenceNumber| stable.0 + window > checkpoint.0;
        while self.stable.len() > 1 && !reaches(self.stable[0].0) {
            self.stable.pop_front();
        }
        self.stable.front().filter(|(stable, _)| reaches(*stable)).map_or(0, |(_, record)| *record)
    }
}

impl Replica {
    /// This replica votes for a batch. The others are told before the vote counts here, so that what follows from it is said after it; with
    /// a journal both wait until the vote is durable.
    pub(super) fn vote(
        &mut self,
        now: Now,
        sequence: SequenceNumber,
        digest: Digest,
        commit: bool,
        output: &mut Output,
    ) {
        if self.is_silent() {
            return;
        }
        let view = self.view;
        if self.promises.keeps {
            let record = match commit {
                false => Record::Prepare { view, sequence, digest },
                true => Record::Commit { view, sequence, digest },
            };
            self.promises.record(&record, output);
        }
        let vote = Vote::new(view, sequence, digest);
        output.promise(
            self.others(),
            |bytes| if commit { vote.append_commit(bytes) } else { vote.append_prepare(bytes) },
        );
        if self.promises.keeps {
            let record = self.promises.records;
            self.promises.votes.push_back(OwnVote { record, view, sequence, digest, commit });
        } else {
            self.count_own(now, sequence, digest, commit, output);
        }
    }

    fn count_own(&mut self, now: Now, sequence: SequenceNumber, digest: Digest, commit: bool, output: &mut Output) {
        let id = self.config.id;
        let Some(slot) = self.log.slot_mut(sequence).filter(|slot| slot.proposal == Some(digest)) else { return };
        if commit {
            slot.commits.record(id, digest)
        } else {
            slot.prepares.record(id, digest)
        };
        self.advance(now, sequence, output);
    }

    /// Everything handed over up to a record, counted from the first one, is durable.
    pub fn on_persisted(&mut self, now: Now, record: u64, output: &mut Output) {
        let promises = &mut self.promises;
        promises.durable = promises.durable.max(record);
        promises.pace.on_persisted(now.monotonic_ns, promises.durable < promises.records);
        while self.promises.votes.front().is_some_and(|vote| vote.record <= record) {
            let vote = self.promises.votes.pop_front().expect("it was just looked at");
            // One of a view that was left meanwhile counts for nothing; it stays a promise.
            if vote.view == self.view && self.log.in_window(vote.sequence) {
                self.count_own(now, vote.sequence, vote.digest, vote.commit, output);
            }
        }
    }

    /// How many records were handed over.
    pub fn records(&self) -> u64 {
        self.promises.records
    }

    /// The first record, counted from the first one handed over, that a start from a checkpoint needs.
    pub fn records_needed_from(&mut self, checkpoint: SequenceNumber) -> u64 {
        self.promises.needed_from(checkpoint, self.config.window())
    }

    /// Records how this replica stands to its view, and what of others it no longer counts, so that the records before are not needed for it.
    pub fn persist_standing(&mut self, output: &mut Output) {
        for replica in ReplicaSet::first(self.config.quorum.replicas()).iter() {
            if let Some(epoch) = self.peers.acknowledged(replica) {
                self.promises.record(&Record::EpochAcknowledged { replica, epoch }, output);
            }
        }
        self.persist_new_view(output);
        match self.active {
            true => self.promises.record(&Record::ViewEntered { view: self.view }, output),
            false => self.persist_view_change(output),
        }
    }

    /// Records a batch that is accepted, with the bodies that are not in the journal yet.
    pub(super) fn persist_proposal(&mut self, sequence: SequenceNumber, digest: Digest, output: &mut Output) {
        self.persist_content(sequence, digest, Some(self.view), output);
    }

    /// Records the content of a batch that committed without being accepted here, so that it can be executed again.
    pub(super) fn persist_committed(&mut self, sequence: SequenceNumber, digest: Digest, output: &mut Output) {
        if !self.promises.keeps {
            return;
        }
        let slot = self.log.slot(sequence).expect("only numbers of the log are executed");
        if !slot.batch(&digest).expect("what is executed is here").persisted {
            self.persist_content(sequence, digest, None, output);
        }
    }

    fn persist_content(
        &mut self,
        sequence: SequenceNumber,
        digest: Digest,
        accepted: Option<View>,
        output: &mut Output,
    ) {
        if !self.promises.keeps {
            return;
        }
        let stable = self.stable();
        let slot = self.log.slot_mut(sequence).expect("only numbers of the log are recorded");
        let batch = slot.batch_mut(&digest).expect("what is recorded is here");
        batch.persisted = true;
        for body in batch.bodies.iter().flatten() {
            if self.bodies.note_persisted(*body, (self.view, stable)) {
                // Each packet of a longer request is a record (`protocol.md LR-2`).
                for packet in 0..self.bodies.packet_count(*body) {
                    match self.bodies.packet(*body, packet) {
                        [packet, &[], _] => self.promises.record(&Record::Body { packet }, output),
                        pieces => self.promises.record(&Record::Body { packet: &pieces.concat() }, output),
                    }
                }
            }
        }
        let (timestamp_ns, entries) = (batch.timestamp_ns, &batch.entries[..]);
        let record = match accepted {
            Some(view) => Record::Proposal { view, sequence, timestamp_ns, entries },
            None => Record::Batch { sequence, timestamp_ns, entries },
        };
        self.promises.record(&record, output);
    }
}
