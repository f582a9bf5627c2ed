//! Liveness over a network that loses packets: status messages say what a replica lacks, whoever has it sends it again; missing request bodies
//! are fetched (`protocol.md RT-1` to `RT-6`, PBFT-02 section 5.2). There is no other retransmission between replicas.

use super::allowances::{Reached, Standpoint};
use super::assemblies::Way;
use super::log::Stage;
use super::output::{Event, Output};
use super::{Now, Reject, Replica};
use crate::authentication::RelayedPacket;
use crate::limits::{FETCH_RETRY_NS, STATUS_ANSWER_BYTES, STATUS_IDLE_NS};
use crate::numbers::{Principal, ReplicaId, SequenceNumber};
use crate::planted::{self, Bug};
use crate::round_trip::{Bounds, RoundTrip};
use crate::wire::Message;
use crate::wire::agreement::{Batch, CommitClaim, Vote, append_pre_prepare, batch_digest};
use crate::wire::parts::{FetchParts, RequestPart};
use crate::wire::request::RequestName;
use crate::wire::retransmission::{Fetch, FetchBatch, Status};
use logothete_crypto::Digest;

/// When the next status message is due.
#[derive(Clone, Debug, Default)]
pub(super) struct Pulse {
    pub(super) due_ns: u64,
    /// Since when there is work and no progress.
    pub(super) stuck_since_ns: Option<u64>,
    /// When a batch was executed last.
    pub(super) progressed_ns: u64,
    /// How long that lasts.
    gaps: RoundTrip,
    /// How far it got, and since when.
    reached: Reached,
    reached_ns: u64,
    sent_ns: u64,
    sent_while_stuck: u32,
    hastened: bool,
}

impl Pulse {
    /// A batch was executed.
    pub(super) fn progressed(&mut self, now_ns: u64) {
        self.progressed_ns = now_ns;
        if let Some(since_ns) = self.stuck_since_ns.take() {
            self.gaps.measured(now_ns.saturating_sub(since_ns));
        }
        self.restart();
    }

    /// What is lacking is of another kind from now on: statuses are as frequent as at first.
    pub(super) fn restart(&mut self) {
        self.sent_while_stuck = 0;
    }

    /// The others are to hear soon how this replica stands.
    pub(super) fn hasten(&mut self) {
        self.hastened = true;
        self.due_ns = 0;
    }

    fn update(&mut self, now_ns: u64, work: bool, reached: Reached) {
        if std::mem::replace(&mut self.reached, reached) != reached {
            // If it was asked for, it came: what is lacking next is asked for like anything new.
            if self.sent_while_stuck > 0 {
                self.reached_ns = now_ns;
            }
            self.restart();
        }
        if self.hastened {
            return;
        }
        if !work {
            self.stuck_since_ns = None;
            self.restart();
            self.due_ns = self.sent_ns + STATUS_IDLE_NS;
            return;
        }
        let since = *self.stuck_since_ns.get_or_insert(now_ns);
        let wait = self.gaps.timeout_ns(Bounds::STATUSES, self.sent_while_stuck + 1);
        self.due_ns = since.max(self.reached_ns).max(if self.sent_while_stuck == 0 { 0 } else { self.sent_ns }) + wait;
        self.due_ns = self.due_ns.min(self.sent_ns + STATUS_IDLE_NS);
    }
}

impl Replica {
    /// Multicasts a status message when one is due: soon when there is work and no progress, now and then otherwise.
    pub(super) fn send_status(&mut self, now: Now, output: &mut Output) {
        // What was executed tentatively still lacks its commits.
        // What is being undone is not executed either.
        let committed = self.committed();
        // A primary that lacks parts of what the others have whole says that it lives, or it would be suspected for a lost packet.
        let unfinished = !self.assemblies.is_empty();
        let work = self.highest_seen > committed || self.clients.work_waits(&self.bodies) || unfinished || !self.active;
        let reached = self.reached(committed);
        self.pulse.update(now.monotonic_ns, work, reached);
        if now.monotonic_ns < self.pulse.due_ns {
            return;
        }
        self.pulse.hastened = false;
        self.pulse.sent_ns = now.monotonic_ns;
        self.pulse.sent_while_stuck += u32::from(work);
        self.pulse.update(now.monotonic_ns, work, reached);
        // Whoever lacks the state of its stable checkpoint has to hear who has it.
        let stable = self.stable().min(committed);
        let mut status = Status::new(self.standing(), stable, committed, self.highest_seen);
        for (offset, sequence) in (committed.0 + 1..=self.highest_seen.0).enumerate() {
            let Some(slot) = self.log.slot(SequenceNumber(sequence)).filter(|_| (offset as u64) < self.log.window())
            else {
                break;
            };
            if slot.proposal.is_none() {
                status.lacks_proposal.set(offset);
            }
            if slot.stage < Stage::Prepared {
                status.lacks_prepared.set(offset);
            }
            if slot.committed.is_none() {
                status.lacks_committed.set(offset);
            }
        }
        output.send(self.others(), |bytes| status.append(bytes));
    }

    /// How far this replica got, which has executed up to `executed` for good.
    fn reached(&self, executed: SequenceNumber) -> Reached {
        let next = self.log.slot(executed.next());
        let stage = next.map_or(0, |slot| match slot.proposal {
            _ if slot.committed.is_some() => 3,
            _ if slot.stage >= Stage::Prepared => 2,
            proposal => u8::from(proposal.is_some()),
        });
        Reached { view: self.view, executed, stage }
    }

    /// Sends a peer what it lacks and this replica has: its own votes, and proposals if it is the primary (`RT-2`).
    pub(super) fn on_status(
        &mut self,
        now: Now,
        from: ReplicaId,
        status: &Status,
        output: &mut Output,
    ) -> Result<(), Reject> {
        let standing = status.standing();
        self.peers.stands(from, &standing);
        self.peers.recovers(from, standing.recovers);
        self.peers.progressed(from, status.executed(), self.executed, now.monotonic_ns);
        self.notice_fallen_behind(from, status, output);
        self.seek_state(now, output);
        // A peer is further on: there is work that this replica may know nothing of.
        let reachable = SequenceNumber(self.stable().0 + self.log.window());
        self.highest_seen = self.highest_seen.max(status.executed().min(reachable));
        if self.is_silent() {
            return Ok(());
        }
        self.answer_standing(now, from, &standing, output);
        // What it says of views and numbers that this replica does not know is no progress here.
        let reached = Reached {
            view: standing.view.min(self.view),
            executed: status.executed().min(self.executed),
            stage: status.stage_of_next(),
        };
        let standpoint = Standpoint { reached, stable: status.stable().min(self.stable()) };
        if !self.peers.allowances(from).may_answer(standpoint, now.monotonic_ns) {
            return Err(Reject::RateLimited);
        }
        let to = Self::only(from);
        for vote in self.checkpoints.own_from(SequenceNumber(status.stable().0.saturating_add(1))) {
            output.promise(to, |bytes| vote.append(bytes));
        }
        // Votes count in their view only; what committed counts in any.
        let votes = self.active && standing.view == self.view;
        let mut bytes_left = STATUS_ANSWER_BYTES;
        for offset in 0..self.log.window() as usize {
            let sequence = SequenceNumber(status.executed().0.saturating_add(1 + offset as u64));
            if sequence.0 > status.stable().0.saturating_add(self.log.window()) {
                // Beyond its window it takes nothing.
                break;
            }
            let Some(slot) = self.log.slot(sequence) else { continue };
            let mut send = |append: &dyn Fn(&mut Vec<u8>)| {
                // A vote that is said again is as much a promise as at first.
                output.promise(to, |bytes| {
                    let before = bytes.len();
                    append(bytes);
                    bytes_left = bytes_left.saturating_sub(bytes.len() - before);
                });
            };
            if let Some(digest) = slot.committed
                && status.lacks(&status.lacks_committed, offset)
            {
                send(&|bytes| CommitClaim::new(sequence, digest).append(bytes));
            }
            if let Some(batch) = slot.proposed_batch().filter(|_| votes && slot.stage >= Stage::PrePrepared) {
                let vote = Vote::new(self.view, sequence, batch.digest);
                if self.is_primary() && !slot.carried && status.lacks(&status.lacks_proposal, offset) {
                    send(&|bytes| append_pre_prepare(bytes, self.view, sequence, batch.timestamp_ns, &batch.entries));
                }
                if !self.is_primary() && status.lacks(&status.lacks_prepared, offset) {
                    send(&|bytes| vote.append_prepare(bytes));
                }
                let claimed = slot.committed == Some(batch.digest);
                if slot.stage >= Stage::Prepared && !claimed && status.lacks(&status.lacks_committed, offset) {
                    send(&|bytes| vote.append_commit(bytes));
                }
            }
            if bytes_left == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Says so, once, when `f+1` replicas no longer keep what this one lacks (`RT-6`).
    fn notice_fallen_behind(&mut self, from: ReplicaId, status: &Status, output: &mut Output) {
        self.peers.stabilised(from, status.stable());
        let vouched = self.peers.stable_of_weak_quorum(self.config.quorum.weak());
        let behind = vouched.0.saturating_sub(self.log.window()) > self.executed.0;
        if behind && !self.fell_behind {
            output.event(Event::FellBehind { checkpoint: vouched });
        }
        self.fell_behind = behind;
    }

    /// Asks for what is lacking of the batches that are wanted, content or bodies: the primary first, then one replica after the other
    /// (`RT-3`).
    pub(super) fn fetch_missing(&mut self, now: Now, output: &mut Output) {
        let replicas = self.config.quorum.replicas() as u32;
        let primary = u32::from(self.primary().0);
        for (sequence, digest) in &self.incomplete {
            let slot = self.log.slot_mut(*sequence).expect("what is incomplete is in the window");
            let batch = slot.batch_mut(digest).expect("what is incomplete is named");
            if batch.fetch_at_ns > now.monotonic_ns {
                continue;
            }
            let mut target = ReplicaId(((primary + batch.fetch_tries) % replicas) as u8);
            if target == self.config.id {
                batch.fetch_tries += 1;
                target = ReplicaId(((primary + batch.fetch_tries) % replicas) as u8);
            }
            batch.fetch_at_ns = now.monotonic_ns + (FETCH_RETRY_NS << (batch.fetch_tries / replicas).min(6));
            batch.fetch_tries += 1;
            if planted::is(Bug::BodiesNotFetched) {
                continue;
            }
            if !batch.known {
                let fetch = FetchBatch::new(*sequence, *digest);
                output.send(Self::only(target), |bytes| fetch.append(bytes));
                continue;
            }
            let (mut fetch, mut wanted) = (Fetch::new(*sequence, *digest), false);
            for (index, (entry, _)) in
                batch.entries.iter().zip(&batch.bodies).enumerate().filter(|(_, (_, body))| body.is_none())
            {
                // Of what is here in part, the parts that are not (`LR-4`).
                let Some(unfinished) = self.assemblies.find(entry.name(), &entry.digest, &self.bodies) else {
                    fetch.set(index);
                    wanted = true;
                    continue;
                };
                let mut parts = FetchParts::new(*sequence, *digest, index);
                self.bodies.missing_parts(unfinished).for_each(|part| parts.set(part));
                output.send(Self::only(target), |bytes| parts.append(bytes));
            }
            if wanted {
                output.send(Self::only(target), |bytes| fetch.append(bytes));
            }
        }
    }

    /// Of a batch that is wanted: whom it is asked for next, counted from the primary (`RT-3`).
    pub(super) fn asked_next(&self, (sequence, digest): &(SequenceNumber, Digest)) -> Option<u32> {
        let tries = self.log.slot(*sequence)?.batch(digest)?.fetch_tries;
        Some(tries % self.config.quorum.replicas() as u32)
    }

    /// When the next fetch is due.
    pub(super) fn fetch_due_ns(&self) -> u64 {
        let due = |(sequence, digest): &(SequenceNumber, Digest)| {
            self.log.slot(*sequence)?.batch(digest).map(|batch| batch.fetch_at_ns)
        };
        self.incomplete.iter().filter_map(due).min().unwrap_or(u64::MAX)
    }

    /// Sends the content of a batch, by which it proves itself (`RT-4`).
    pub(super) fn on_fetch_batch(
        &mut self,
        now: Now,
        from: ReplicaId,
        fetch: &FetchBatch,
        output: &mut Output,
    ) -> Result<(), Reject> {
        let slot = self.log.slot(fetch.sequence()).ok_or(Reject::FetchUnknown)?;
        let batch = slot.batch(&fetch.digest).filter(|batch| batch.known && !batch.entries.is_empty());
        let batch = batch.ok_or(Reject::FetchUnknown)?;
        let bytes = size_of_val(&batch.entries[..]);
        self.peers.allowances(from).spend_fetch(now.monotonic_ns, bytes)?;
        let content = Batch { sequence: fetch.sequence(), timestamp_ns: batch.timestamp_ns, entries: &batch.entries };
        output.send(Self::only(from), |bytes| content.append(bytes));
        Ok(())
    }

    /// Takes the content of a batch that is wanted: its digest says whether it is the one.
    pub(super) fn on_batch(&mut self, now: Now, content: &Batch<'_>) -> Result<(), Reject> {
        let digest = batch_digest(content.timestamp_ns, content.entries);
        if !self.incomplete.contains(&(content.sequence, digest)) {
            return Err(Reject::BatchUnasked);
        }
        let slot = self.log.slot(content.sequence).expect("what is incomplete is in the window");
        if slot.batch(&digest).is_some_and(|batch| batch.known) {
            return Err(Reject::Duplicate);
        }
        self.learn_batch(now, content.sequence, digest, content.timestamp_ns, content.entries);
        Ok(())
    }

    /// Relays the clients' own packets that a peer lacks, so that it checks its own tag on them (`RT-4`), as far as its
    /// allowance goes (`RT-5`).
    pub(super) fn on_fetch(
        &mut self,
        now: Now,
        from: ReplicaId,
        fetch: &Fetch,
        output: &mut Output,
    ) -> Result<(), Reject> {
        let slot = self.log.slot(fetch.sequence()).ok_or(Reject::FetchUnknown)?;
        let batch = slot.batch(&fetch.digest).filter(|batch| batch.known).ok_or(Reject::FetchUnknown)?;
        let allowances = self.peers.allowances(from);
        for (index, body) in batch.bodies.iter().enumerate() {
            let Some(body) = body.filter(|_| fetch.contains(index)) else { continue };
            // Of a body in parts as many as the allowance has room for: the others are asked for by name then (`LR-4`).
            for packet in 0..self.bodies.packet_count(body) {
                let packet = self.bodies.packet(body, packet);
                allowances.spend_fetch(now.monotonic_ns, packet.iter().map(|piece| piece.len()).sum())?;
                output.relay(from, packet);
            }
        }
        Ok(())
    }

    /// Relays parts of one body (`LR-4`), as far as the allowance goes.
    pub(super) fn on_fetch_parts(
        &mut self,
        now: Now,
        from: ReplicaId,
        fetch: &FetchParts,
        output: &mut Output,
    ) -> Result<(), Reject> {
        let slot = self.log.slot(fetch.sequence()).ok_or(Reject::FetchUnknown)?;
        let batch = slot.batch(&fetch.digest).filter(|batch| batch.known).ok_or(Reject::FetchUnknown)?;
        let body = batch.bodies.get(fetch.request()).copied().flatten().ok_or(Reject::FetchUnknown)?;
        let allowances = self.peers.allowances(from);
        for packet in (0..self.bodies.packet_count(body)).filter(|packet| fetch.contains(*packet)) {
            let packet = self.bodies.packet(body, packet);
            allowances.spend_fetch(now.monotonic_ns, packet.iter().map(|piece| piece.len()).sum())?;
            output.relay(from, packet);
        }
        Ok(())
    }

    /// A client's packet that a peer relayed: taken only if a wanted batch lacks exactly it. Its tag for this replica may be wrong (the client
    /// had no session here when it sealed it, or lies); then [`Replica::accept_in_order`] waits for others to vouch for it (`RT-4`, `NC-4`).
    pub(super) fn on_relayed(&mut self, now: Now, packet: &RelayedPacket<'_>) -> Result<(), Reject> {
        let mut messages = packet.messages();
        let Some(Ok((message, bytes))) = messages.next() else { return Err(Reject::Malformed) };
        if bytes.len() != packet.body_range().len() {
            return Err(Reject::RequestNotAlone);
        }
        let request = match message {
            Message::Request(request) => request,
            Message::RequestPart(part) => return self.on_relayed_part(now, &part, packet),
            _ => return Err(Reject::Malformed),
        };
        self.admit_size(bytes.len())?;
        let name = request.name;
        if Principal::Client(name.client) != packet.client() {
            return Err(Reject::SenderMismatch);
        }
        let digest = packet.body_digest();
        let examined = self.on_examined(now, packet);
        let Some((sequence, _)) = self.lacking_batch(name, &digest) else {
            return if examined { Ok(()) } else { self.on_forwarded(now, name, packet) };
        };
        let (datagram, range) = (packet.datagram(), packet.body_range());
        let authentic = packet.is_authentic();
        let Some(body) = self.bodies.store(datagram, range, name, digest, authentic, now.monotonic_ns) else {
            return Err(Reject::Overloaded);
        };
        if packet.is_spoilt() {
            self.bodies.note_spoilt(body, 0);
        }
        if !authentic && self.try_signature(now, body) != Some(true) {
            self.examine_body(now, body, sequence);
        }
        self.bind_body(name, body);
        self.bodies.release(body);
        Ok(())
    }

    /// The number of a wanted batch that lacks exactly this body, and how many requests it names.
    fn lacking_batch(&self, name: RequestName, digest: &Digest) -> Option<(SequenceNumber, usize)> {
        self.incomplete.iter().find_map(|(sequence, wanted)| {
            let slot = self.log.slot(*sequence).expect("what is incomplete is in the window");
            let batch = slot.batch(wanted).expect("what is incomplete is named");
            let mut lacking = batch.entries.iter().zip(&batch.bodies).filter(|(_, body)| body.is_none());
            let lacks = lacking.any(|(entry, _)| entry.digest == *digest && entry.name() == name);
            lacks.then_some((*sequence, batch.entries.len()))
        })
    }

    /// A part of a client's request that a peer relayed: taken only if a wanted batch lacks the request (`LR-4`).
    fn on_relayed_part(&mut self, now: Now, part: &RequestPart<'_>, packet: &RelayedPacket<'_>) -> Result<(), Reject> {
        let name = part.name;
        if Principal::Client(name.client) != packet.client() {
            return Err(Reject::SenderMismatch);
        }
        self.admit_total(part.total_bytes)?;
        let examined = self.on_examined(now, packet);
        let Some((sequence, requests)) = self.lacking_batch(name, &part.digest) else {
            return if examined { Ok(()) } else { self.on_forwarded_part(now, part, packet) };
        };
        if !self.config.is_batch_size(requests, part.total_bytes) {
            return Err(Reject::RequestTooLarge);
        }
        let way = Way::Relayed { authentic: packet.is_authentic() };
        let (clients, bodies) = (&mut self.clients, &mut self.bodies);
        let taken = self.assemblies.take(now.monotonic_ns, part, packet.datagram(), way, clients, bodies)?;
        self.note_relayed_part(part, packet, taken);
        let Some(body) = taken else { return Ok(()) };
        let sound = self.is_request(name, body);
        if sound && !self.bodies.is_authentic(body) && self.try_signature(now, body) != Some(true) {
            self.examine_body(now, body, sequence);
        }
        if sound {
            self.bind_body(name, body);
        }
        self.bodies.release(body);
        if sound { Ok(()) } else { Err(Reject::PartsUnsound) }
    }

    /// Notes how a part came to its body, which is whole if it was just `taken`.
    pub(super) fn note_relayed_part(
        &mut self,
        part: &RequestPart<'_>,
        packet: &RelayedPacket<'_>,
        taken: Option<super::BodyRef>,
    ) {
        let body = taken.or_else(|| self.assemblies.find(part.name, &part.digest, &self.bodies));
        let Some(body) = body else { return };
        self.bodies.note_relayed(body);
        if packet.is_spoilt() {
            self.bodies.note_spoilt(body, part.index);
        }
    }

    /// Gives a body to the wanted batches that name it.
    pub(super) fn bind_body(&mut self, name: RequestName, body: super::BodyRef) {
        let digest = self.bodies.digest(body);
        let (log, bodies) = (&mut self.log, &mut self.bodies);
        self.incomplete.retain(|(sequence, wanted)| {
            let slot = log.slot_mut(*sequence).expect("what is incomplete is in the window");
            let batch = slot.batch_mut(wanted).expect("what is incomplete is named");
            for (entry, place) in batch.entries.iter().zip(&mut batch.bodies) {
                if place.is_none() && entry.digest == digest && entry.name() == name {
                    bodies.retain(body);
                    *place = Some(body);
                    batch.bodies_missing -= 1;
                }
            }
            !batch.is_complete()
        });
    }
}
