//! Disputes: how a replica finds out that a client's tags are good for some replicas only, and says so (`protocol.md DM-2`, `DM-3`; Aardvark
//! describes the attack).
//!
//! ```text
//!  a copy that a peer relayed lacks a good tag ---> examination: others are asked for the copy that they had from the client itself
//!                                                     |
//!                            each that testifies, and whose copy lacks a good tag for this replica too, is a witness
//!                                                     |
//!                            f+1 witnesses in all, or replicas that dispute ---> dispute, said to each primary until the client is demoted
//! ```
//!
//! A faulty peer can spoil the tags of a copy, or make up a request altogether. It takes a replica that had the packet from the client, and verified its own
//! tag on it, to speak against the client; of `f+1` such one is correct.

use super::bodies::BodyRef;
use super::output::Output;
use super::{Now, Reject, Replica};
use crate::authentication::RelayedPacket;
use crate::limits::{DISPUTE_FRESH_NS, DISPUTE_PATIENCE_NS, DISPUTE_RETRY_NS, EXAMINE_NS, EXAMINE_TRIES, REPLICAS_MAX};
use crate::numbers::{ClientId, Principal, ReplicaId, ReplicaSet, SequenceNumber, View};
use crate::wire::agreement::BatchEntry;
use crate::wire::dispute::{Dispute, Examine, Testimony};
use crate::wire::packet::PacketParts;
use crate::wire::request::RequestName;
use logothete_crypto::{Digest, digest};

/// A packet that is looked at as others had it.
#[derive(Clone, Debug)]
struct Examination {
    name: RequestName,
    /// The request's digest.
    request: Digest,
    /// The digest of the packet's body.
    body: Digest,
    question: Examine,
    /// Who was asked last.
    asked: ReplicaId,
    tries: u32,
    due_ns: u64,
    /// Which packets others say that they had from the client itself.
    testified: [Option<Digest>; REPLICAS_MAX],
    /// Packets with this body that came here and lack a good tag.
    lacking: Vec<Digest>,
}

impl Examination {
    /// Who says of a packet that lacks a good tag that it came from the client itself.
    fn witnesses(&self) -> impl Iterator<Item = ReplicaId> {
        let lacks = |packet: &Option<Digest>| packet.is_some_and(|packet| self.lacking.contains(&packet));
        let testified = self.testified.iter().enumerate().filter(move |(_, packet)| lacks(packet));
        testified.map(|(at, _)| ReplicaId(at as u8))
    }
}

/// What speaks against one client.
#[derive(Clone, Debug, Default)]
struct Suspect {
    examination: Option<Examination>,
    /// When the last examination began.
    examined_ns: Option<u64>,
    /// Since when what came of it could not be verified here for want of a session.
    unproven_since_ns: Option<u64>,
    /// Whose copies from the client itself lack a good tag for this replica, of all requests so far.
    witnesses: ReplicaSet,
    /// Disputes whose signatures are good, of each replica one, this one's included.
    held: Vec<Dispute>,
    /// To which view's primary this replica's own was said last, and when.
    said: Option<(View, u64)>,
    /// The view in which this replica proposed the demotion.
    proposed: Option<View>,
}

impl Suspect {
    fn disputed_by(&self, replica: ReplicaId) -> Option<&Dispute> {
        self.held.iter().find(|dispute| dispute.replica() == replica)
    }
}

/// How often what happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DisputeCounts {
    /// Disputes that this replica signed.
    pub sent: u64,
    /// Disputes of others whose signature was good.
    pub received: u64,
}

/// What speaks against clients. Those of which nothing was ever heard cost nothing.
#[derive(Clone, Debug)]
pub(super) struct Disputes {
    /// By client; `None` where there is nothing.
    suspects: Box<[Option<Box<Suspect>>]>,
    /// How many there are.
    suspected: usize,
    counts: DisputeCounts,
}

impl Disputes {
    pub(super) fn new(clients: usize) -> Self {
        Self { suspects: (0..clients).map(|_| None).collect(), suspected: 0, counts: DisputeCounts::default() }
    }

    fn suspect(&mut self, client: ClientId) -> Option<&mut Suspect> {
        self.suspects.get_mut(usize::from(client.0))?.as_deref_mut()
    }

    fn suspect_or_new(&mut self, client: ClientId) -> &mut Suspect {
        let place = &mut self.suspects[usize::from(client.0)];
        self.suspected += usize::from(place.is_none());
        place.get_or_insert_default()
    }

    /// What speaks against a client, if anything does.
    fn against_client(&self, client: ClientId) -> Option<&Suspect> {
        self.suspects.get(usize::from(client.0)).filter(|_| self.suspected > 0)?.as_deref()
    }

    /// It is settled.
    fn forget(&mut self, client: ClientId) {
        if self.suspects.get_mut(usize::from(client.0)).is_some_and(|suspect| suspect.take().is_some()) {
            self.suspected -= 1;
        }
    }

    /// Whether nothing speaks against a client any more.
    fn is_blank(&self, client: ClientId, now_ns: u64) -> bool {
        self.against_client(client).is_some_and(|suspect| {
            let rests = suspect.examined_ns.is_none_or(|at_ns| now_ns.saturating_sub(at_ns) >= EXAMINE_NS);
            let heard = suspect.held.is_empty() && suspect.witnesses == ReplicaSet::EMPTY;
            rests && heard && suspect.examination.is_none() && suspect.unproven_since_ns.is_none()
        })
    }

    /// A packet came from a client itself, with a good tag, and this request in it.
    pub(super) fn on_direct(&mut self, client: ClientId, request: Digest) {
        let Some(suspect) = self.suspect(client) else { return };
        suspect.unproven_since_ns = None;
        suspect.examination.take_if(|examination| examination.body == request);
    }

    /// Whom `weak` replicas dispute, and whose demotion was not proposed in a view yet.
    pub(super) fn convicted(&self, view: View, weak: usize) -> impl Iterator<Item = ClientId> {
        let suspects = self.suspects.iter().enumerate();
        let convicted = suspects.filter(move |(_, suspect)| {
            suspect.as_deref().is_some_and(|suspect| suspect.held.len() >= weak && suspect.proposed != Some(view))
        });
        convicted.map(|(at, _)| ClientId(at as u16))
    }

    /// Whether a client is disputed by a replica, or by `weak` of them: no primary proposes more of it that nobody else may be able to check.
    pub(super) fn disputed(&self, client: ClientId, by: ReplicaId, weak: usize) -> bool {
        self.against_client(client)
            .is_some_and(|suspect| suspect.disputed_by(by).is_some() || suspect.held.len() >= weak)
    }

    /// Whether a witness speaks against a client, so that what is good for one replica need not be good for another (`DM-8`).
    pub(super) fn doubts(&self, client: ClientId) -> bool {
        self.against_client(client).is_some_and(|suspect| suspect.witnesses != ReplicaSet::EMPTY)
    }

    /// So many of the disputes against a client, ascending by replica.
    pub(super) fn against(&mut self, client: ClientId, count: usize) -> Vec<Dispute> {
        let mut disputes = self.suspect(client).map_or_else(Vec::new, |suspect| suspect.held.clone());
        disputes.sort_unstable_by_key(Dispute::replica);
        disputes.truncate(count);
        disputes
    }

    /// A client's demotion is proposed in a view.
    pub(super) fn note_proposed(&mut self, client: ClientId, view: View) {
        if let Some(suspect) = self.suspect(client) {
            suspect.proposed = Some(view);
        }
    }

    fn all(&self) -> impl Iterator<Item = &Suspect> {
        self.suspects.iter().flatten().map(|suspect| &**suspect)
    }
}

impl Replica {
    /// How often what happened between this replica and clients whose tags are not good for all.
    pub fn dispute_counts(&self) -> DisputeCounts {
        self.disputes.counts
    }

    /// When [`Replica::pursue_disputes`] is to be called at the latest.
    pub(super) fn disputes_due_ns(&self) -> u64 {
        if self.disputes.suspected == 0 || self.is_silent() {
            return u64::MAX;
        }
        let says = self.active && !self.is_primary();
        let due = |suspect: &Suspect| {
            let examines_ns = suspect.examination.as_ref().map_or(u64::MAX, |examination| examination.due_ns);
            let own = suspect.disputed_by(self.config.id).filter(|_| says);
            examines_ns.min(own.map_or(u64::MAX, |_| self.dispute_due_ns(suspect)))
        };
        self.disputes.all().map(due).min().unwrap_or(u64::MAX)
    }

    /// When this replica's own dispute is said to the primary.
    fn dispute_due_ns(&self, suspect: &Suspect) -> u64 {
        match suspect.said {
            Some((view, at_ns)) if view == self.view => at_ns + DISPUTE_RETRY_NS,
            _ => 0,
        }
    }

    /// Others are asked for their copies of what a proposal is held for: also of what came before the view was entered, and where nobody answered yet.
    pub(super) fn examine_unproven(&mut self, now: Now, sequence: SequenceNumber) {
        let Some(batch) = self.log.slot(sequence).and_then(|slot| slot.proposed_batch()) else { return };
        // A backup may have it from the client as well; what a primary proposes waits there, however it came.
        let waits = |entry: &BatchEntry| self.clients.waiting_body(entry.name(), &entry.digest, &self.bodies).is_some();
        let unproven = |(entry, body): (&BatchEntry, &Option<BodyRef>)| {
            body.filter(|body| !self.bodies.is_authentic(*body) && (self.is_primary() || !waits(entry)))
        };
        let unproven: Vec<BodyRef> = batch.entries.iter().zip(&batch.bodies).filter_map(unproven).collect();
        unproven.into_iter().for_each(|body| self.examine_body(now, body, sequence));
    }

    /// The body of a proposal came by way of a peer, with no good tag for this replica: others are asked for theirs, if the proposal was made just now.
    pub(super) fn examine_body(&mut self, now: Now, body: BodyRef, sequence: SequenceNumber) {
        let (name, request) = (self.bodies.name(body), self.bodies.digest(body));
        let (client, now_ns, weak) = (name.client, now.monotonic_ns, self.config.quorum.weak());
        if !self.clients.knows(client) || self.clients.must_sign(client) || self.is_silent() || !self.active {
            return;
        }
        let Some((batch, at)) = self.fresh_proposal(now, sequence, name, &request) else { return };
        let (own, replicas) = (self.config.id, self.config.quorum.replicas() as u8);
        // The primary is asked first: it has proposed what it had.
        let before = ReplicaId((self.primary().0 + replicas - 1) % replicas);
        let suspect = self.disputes.suspect_or_new(client);
        let spoilt = self.bodies.spoilt(body);
        if spoilt.is_none() {
            suspect.unproven_since_ns.get_or_insert(now_ns);
        }
        let soon = suspect.examined_ns.is_some_and(|examined| now_ns.saturating_sub(examined) < EXAMINE_NS);
        let settled = suspect.disputed_by(own).is_some() || suspect.witnesses.count() >= weak;
        if soon || settled || suspect.examination.is_some() || !suspect.holds_against(spoilt.is_some(), now_ns) {
            return;
        }
        let packet = spoilt.unwrap_or(0);
        let bytes = self.bodies.packet(body, packet).concat();
        let parts = PacketParts::parse(&bytes).expect("what is stored was taken apart before");
        suspect.examined_ns = Some(now_ns);
        suspect.examination = Some(Examination {
            name,
            request,
            body: digest(parts.body),
            question: Examine::new(sequence, batch, at, packet),
            asked: before,
            tries: 0,
            due_ns: now_ns,
            testified: [None; REPLICAS_MAX],
            lacking: vec![digest(&bytes)],
        });
    }

    /// The batch that the present view's primary proposed for a number just now, and where in it a request stands.
    fn fresh_proposal(
        &self,
        now: Now,
        sequence: SequenceNumber,
        name: RequestName,
        request: &Digest,
    ) -> Option<(Digest, usize)> {
        let slot = self.log.slot(sequence).filter(|slot| !slot.carried)?;
        let batch = slot.proposed_batch()?;
        let fresh = now.wall_ns.abs_diff(batch.timestamp_ns) <= DISPUTE_FRESH_NS;
        let at = batch.entries.iter().position(|entry| entry.name() == name && entry.digest == *request)?;
        fresh.then_some((batch.digest, at))
    }

    /// A relayed packet may be one that is examined; whether it is.
    pub(super) fn on_examined(&mut self, now: Now, packet: &RelayedPacket<'_>) -> bool {
        let Principal::Client(client) = packet.client() else { return false };
        let Some(suspect) = self.disputes.suspect(client) else { return false };
        let holds = suspect.holds_against(packet.is_spoilt(), now.monotonic_ns);
        let Some(examination) = &mut suspect.examination else { return false };
        if examination.body != packet.body_digest() {
            return false;
        }
        if packet.is_authentic() {
            // Whoever spoilt the other copy, the client did not.
            suspect.examination = None;
        } else if holds {
            let whole = digest(packet.datagram());
            if !examination.lacking.contains(&whole) {
                // Anybody may send copies that nobody testifies to: the oldest of those goes.
                if examination.lacking.len() == REPLICAS_MAX {
                    examination.lacking.remove(0);
                }
                examination.lacking.push(whole);
            }
            self.weigh_testimonies(client);
        }
        true
    }

    /// Another replica says which packet it had from the client itself.
    pub(super) fn on_testimony(&mut self, from: ReplicaId, testimony: &Testimony) -> Result<(), Reject> {
        let examined = |suspect: &Suspect| {
            suspect.examination.as_ref().is_some_and(|examination| examination.body == testimony.body)
        };
        let at = self.disputes.suspects.iter().position(|suspect| suspect.as_deref().is_some_and(examined));
        let client = ClientId(at.ok_or(Reject::TestimonyUnasked)? as u16);
        let suspect = self.disputes.suspect(client).expect("it was just found");
        let examination = suspect.examination.as_mut().expect("it was just found");
        examination.testified[usize::from(from.0)] = Some(testimony.packet);
        self.weigh_testimonies(client);
        Ok(())
    }

    /// Counts the witnesses that an examination has found.
    fn weigh_testimonies(&mut self, client: ClientId) {
        let Some(suspect) = self.disputes.suspect(client) else { return };
        let Some(examination) = &suspect.examination else { return };
        for witness in examination.witnesses() {
            suspect.witnesses.insert(witness);
        }
        let about = (examination.name, examination.request);
        self.conclude_dispute(client, about);
    }

    /// Where `f+1` replicas are witnesses against a client, or dispute it, this replica disputes it too. Who disputes proposes nothing of the client any
    /// more, and so makes no witness of itself: without its word those whose own proposals made it dispute would never have enough.
    fn conclude_dispute(&mut self, client: ClientId, (name, request): (RequestName, Digest)) {
        let (own, epoch, weak) = (self.config.id, self.config.epoch, self.config.quorum.weak());
        let Some(suspect) = self.disputes.suspect(client).filter(|suspect| suspect.disputed_by(own).is_none()) else {
            return;
        };
        let mut against = suspect.witnesses;
        for dispute in &suspect.held {
            against.insert(dispute.replica());
        }
        if against.count() < weak {
            return;
        }
        let dispute = Dispute::new(own, epoch, name, request, |content| self.signatures.sign_dispute(content));
        let suspect = self.disputes.suspect(client).expect("it was just looked at");
        suspect.examination = None;
        suspect.held.push(dispute);
        self.disputes.counts.sent += 1;
    }

    /// Goes on with examinations, and says to the primary what this replica disputes.
    pub(super) fn pursue_disputes(&mut self, now: Now, output: &mut Output) {
        if self.disputes.suspected == 0 || self.is_silent() {
            return;
        }
        for at in 0..self.disputes.suspects.len() {
            let client = ClientId(at as u16);
            if self.clients.must_sign(client) || self.disputes.is_blank(client, now.monotonic_ns) {
                // What was executed tentatively may be undone.
                if self.undoable().is_none() {
                    self.disputes.forget(client);
                }
            } else if self.disputes.suspects[at].is_some() {
                self.go_on_examining(client, now, output);
                self.say_dispute(client, now, output);
            }
        }
    }

    fn go_on_examining(&mut self, client: ClientId, now: Now, output: &mut Output) {
        let (own, weak) = (self.config.id, self.config.quorum.weak());
        let after = |id: ReplicaId| ReplicaId((id.0 + 1) % self.config.quorum.replicas() as u8);
        let Some(suspect) = self.disputes.suspect(client) else { return };
        let Some(examination) = suspect.examination.as_mut().filter(|open| open.due_ns <= now.monotonic_ns) else {
            return;
        };
        if examination.tries == EXAMINE_TRIES {
            suspect.examination = None;
            return;
        }
        examination.tries += 1;
        examination.due_ns = now.monotonic_ns + EXAMINE_NS;
        for _ in 0..weak {
            examination.asked = after(examination.asked);
            if examination.asked == own {
                examination.asked = after(own);
            }
            let (question, asked) = (examination.question, examination.asked);
            output.send(Self::only(asked), |bytes| question.append(bytes));
        }
    }

    fn say_dispute(&mut self, client: ClientId, now: Now, output: &mut Output) {
        if !self.active || self.is_primary() {
            return;
        }
        let (own, view, primary) = (self.config.id, self.view, self.primary());
        let suspect = self.disputes.suspects[usize::from(client.0)].as_deref().expect("there is something to say");
        let due = self.dispute_due_ns(suspect) <= now.monotonic_ns;
        let Some(dispute) = suspect.disputed_by(own).filter(|_| due).copied() else { return };
        self.disputes.suspect(client).expect("it was just looked at").said = Some((view, now.monotonic_ns));
        output.send(Self::only(primary), |bytes| dispute.append(bytes));
    }

    /// A replica disputes a client. Whoever may become primary keeps that.
    pub(super) fn on_dispute(&mut self, now: Now, from: ReplicaId, dispute: &Dispute) -> Result<(), Reject> {
        let client = dispute.client();
        if dispute.replica() != from {
            return Err(Reject::SenderMismatch);
        }
        if !self.clients.knows(client) {
            return Err(Reject::ClientUnknown);
        }
        let known = self.disputes.suspect(client).is_some_and(|suspect| suspect.disputed_by(from).is_some());
        if known || self.clients.must_sign(client) {
            return Err(Reject::DisputeKnown);
        }
        if !self.peers.may_check(from, now.monotonic_ns) {
            return Err(Reject::RateLimited);
        }
        if !self.signatures.verify_dispute(dispute) {
            return Err(Reject::SignatureBad);
        }
        self.disputes.suspect_or_new(client).held.push(*dispute);
        self.disputes.counts.received += 1;
        if !self.is_silent() {
            self.conclude_dispute(client, (dispute.name(), dispute.request()));
        }
        Ok(())
    }

    /// Gives a peer a client's packet as it came from the client itself, and says so, as far as the peer's allowance goes (`RT-5`).
    pub(super) fn on_examine(
        &mut self,
        now: Now,
        from: ReplicaId,
        examine: &Examine,
        output: &mut Output,
    ) -> Result<(), Reject> {
        let slot = self.log.slot(examine.sequence()).ok_or(Reject::FetchUnknown)?;
        let batch = slot.batch(&examine.batch).filter(|batch| batch.known).ok_or(Reject::FetchUnknown)?;
        let (entry, held) = batch
            .entries
            .get(examine.request())
            .zip(batch.bodies.get(examine.request()))
            .ok_or(Reject::FetchUnknown)?;
        let waiting = || self.clients.waiting_body(entry.name(), &entry.digest, &self.bodies);
        let direct = |body: &BodyRef| self.bodies.is_direct(*body);
        let body = held.filter(direct).or_else(|| waiting().filter(direct));
        let body = body.ok_or(Reject::FetchUnknown)?;
        if examine.packet() >= self.bodies.packet_count(body) {
            return Err(Reject::FetchUnknown);
        }
        let pieces = self.bodies.packet(body, examine.packet());
        let packet = pieces.concat();
        let parts = PacketParts::parse(&packet).expect("what is stored was taken apart before");
        self.peers.allowances(from).spend_fetch(now.monotonic_ns, packet.len())?;
        let testimony = Testimony { body: digest(parts.body), packet: digest(&packet) };
        output.send(Self::only(from), |bytes| testimony.append(bytes));
        output.relay(from, pieces);
        Ok(())
    }
}

impl Suspect {
    /// Whether a copy without a good tag counts: its client had what it takes to make one, or has not made itself known here for long.
    fn holds_against(&self, spoilt: bool, now_ns: u64) -> bool {
        let since = self.unproven_since_ns.unwrap_or(now_ns);
        spoilt || now_ns.saturating_sub(since) >= DISPUTE_PATIENCE_NS
    }
}

#[cfg(test)]
mod tests;
