//! Requests as they arrive: kept until they are executed, answered from the cache when they were (`protocol.md CL-4`).

use super::assemblies::Way;
use super::bodies::BodyRef;
use super::clients::Admission;
use super::output::Output;
use super::{Now, Reject, Replica};
use crate::authentication::AuthenticatedPacket;
use crate::numbers::{ClientId, Principal, ReplicaSet};
use crate::wire::parts::RequestPart;
use crate::wire::reply::{Mode, Refusal, RefusalReason, abridged};
use crate::wire::request::{Request, RequestName};
use crate::wire::{Audience, Message};

impl Replica {
    pub(super) fn on_request(
        &mut self,
        now: Now,
        from: ClientId,
        request: &Request<'_>,
        packet: &AuthenticatedPacket<'_>,
        bytes: &[u8],
        output: &mut Output,
    ) -> Result<(), Reject> {
        let name = request.name;
        // In its own name, alone in its packet, and for all replicas, so that each can have it from any other (`protocol.md CL-7`).
        if name.client != from {
            return Err(Reject::SenderMismatch);
        }
        if !self.clients.knows(from) {
            return Err(Reject::ClientUnknown);
        }
        if bytes.len() != packet.body().len() {
            return Err(Reject::RequestNotAlone);
        }
        if packet.audience() != Audience::Replicas(ReplicaSet::first(self.config.quorum.replicas())) {
            return Err(Reject::RequestNotForAll);
        }
        self.admit_size(bytes.len())?;
        self.disputes.on_direct(from, packet.body_digest());
        match self.clients.admission(name, &self.bodies) {
            Admission::New => {
                let (digest, signed) = (packet.body_digest(), self.clients.must_sign(from));
                if signed {
                    self.admit_signed(now, name, bytes, output)?;
                }
                let packet_bytes = packet.datagram().len();
                if !self.assemblies.make_room(name, packet_bytes, &mut self.clients, &mut self.bodies) {
                    self.refuse(name, RefusalReason::Overloaded, 0, output);
                    return Err(Reject::Overloaded);
                }
                let (datagram, range) = (packet.datagram(), packet.body_range());
                let Some(body) = self.bodies.store(datagram, range, name, digest, true, now.monotonic_ns) else {
                    self.refuse(name, RefusalReason::Overloaded, 0, output);
                    return Err(Reject::Overloaded);
                };
                self.bodies.note_direct(body);
                if signed {
                    self.bodies.note_proof(body, true);
                }
                self.clients.hold(name, body, &mut self.bodies);
                self.bind_body(name, body);
                Ok(())
            }
            Admission::Waits(body) if self.bodies.digest(body) == packet.body_digest() => Err(Reject::RequestDuplicate),
            Admission::Waits(_) => Err(Reject::RequestConflict),
            Admission::Executed => {
                if self.clients.reply(name).is_none() {
                    return Err(Reject::ReplyGone);
                }
                // The client asks again: it lacks replies, or the results themselves, so everybody gives them (`CL-5`).
                self.send_reply(name, true, output);
                Err(Reject::RequestDuplicate)
            }
            Admission::Superseded(current) => {
                self.refuse(name, RefusalReason::Superseded, current.0, output);
                Err(Reject::RequestSuperseded)
            }
            Admission::BeyondWindow => Err(Reject::RequestBeyondWindow),
        }
    }

    /// A part of a longer request: it waits when all are here (`protocol.md LR-1` to `LR-3`). Whatever has an answer is answered once for all parts.
    pub(super) fn on_request_part(
        &mut self,
        now: Now,
        from: ClientId,
        part: &RequestPart<'_>,
        packet: &AuthenticatedPacket<'_>,
        bytes: &[u8],
        output: &mut Output,
    ) -> Result<(), Reject> {
        let (name, answers) = (part.name, part.index == 0);
        if name.client != from {
            return Err(Reject::SenderMismatch);
        }
        if !self.clients.knows(from) {
            return Err(Reject::ClientUnknown);
        }
        if bytes.len() != packet.body().len() {
            return Err(Reject::RequestNotAlone);
        }
        self.admit_total(part.total_bytes)?;
        self.disputes.on_direct(from, packet.body_digest());
        match self.clients.admission(name, &self.bodies) {
            Admission::New => {
                let (clients, bodies) = (&mut self.clients, &mut self.bodies);
                let taken =
                    self.assemblies.take(now.monotonic_ns, part, packet.datagram(), Way::Direct, clients, bodies);
                match taken {
                    Ok(None) => Ok(()),
                    Ok(Some(body)) => {
                        self.bodies.note_direct(body);
                        let held = self.hold_whole(now, name, body, false);
                        if held == Err(Reject::SignatureRequired) {
                            self.refuse(name, RefusalReason::SignatureRequired, 0, output);
                        }
                        held
                    }
                    Err(reason) => {
                        if reason == Reject::Overloaded && answers {
                            self.refuse(name, RefusalReason::Overloaded, 0, output);
                        }
                        Err(reason)
                    }
                }
            }
            Admission::Waits(body) if self.bodies.digest(body) == part.digest => Err(Reject::RequestDuplicate),
            Admission::Waits(_) => Err(Reject::RequestConflict),
            Admission::Executed => {
                if self.clients.reply(name).is_none() {
                    return Err(Reject::ReplyGone);
                }
                if answers {
                    self.send_reply(name, true, output);
                }
                Err(Reject::RequestDuplicate)
            }
            Admission::Superseded(current) => {
                if answers {
                    self.refuse(name, RefusalReason::Superseded, current.0, output);
                }
                Err(Reject::RequestSuperseded)
            }
            Admission::BeyondWindow => Err(Reject::RequestBeyondWindow),
        }
    }

    /// A request whose parts are all here waits, if what they make is what they were said to be, and each came from its client, or others vouch
    /// for it (`NC-4`, `RB-2`).
    pub(super) fn hold_whole(
        &mut self,
        now: Now,
        name: RequestName,
        body: BodyRef,
        vouched: bool,
    ) -> Result<(), Reject> {
        if !self.is_request(name, body) {
            self.bodies.release(body);
            return Err(Reject::PartsUnsound);
        }
        self.bind_body(name, body);
        if self.clients.must_sign(name.client) && self.try_signature(now, body) != Some(true) {
            self.bodies.release(body);
            return Err(Reject::SignatureRequired);
        }
        // What was begun by relayed parts has no room in the client's share yet.
        let packet_bytes = self.bodies.packet_bytes(body);
        let room = self.assemblies.make_room(name, packet_bytes, &mut self.clients, &mut self.bodies);
        if (vouched || self.bodies.is_authentic(body)) && room {
            self.clients.hold(name, body, &mut self.bodies);
        } else {
            self.bodies.release(body);
        }
        Ok(())
    }

    /// Whether a message that was put together is a request, of this name.
    pub(super) fn is_request(&self, name: RequestName, body: BodyRef) -> bool {
        let message = Message::decode(self.bodies.message(body), Principal::Client(name.client));
        matches!(message, Ok(Message::Request(request)) if request.name == name)
    }

    /// The length of a request in parts: one that fits a packet travels in one (`protocol.md LR-1`).
    pub(super) fn admit_total(&self, message_bytes: usize) -> Result<(), Reject> {
        let parts = self.config.request_packet_bytes_max + 1..=self.config.request_bytes_max;
        if parts.contains(&message_bytes) { Ok(()) } else { Err(Reject::RequestTooLarge) }
    }

    /// Forgets unfinished requests of which nothing is to be expected (`protocol.md LR-3`).
    pub(super) fn sweep_parts(&mut self, now: Now) {
        if !self.assemblies.is_empty() {
            self.assemblies.sweep(now.monotonic_ns, &mut self.clients, &mut self.bodies);
        }
    }

    /// The length of a request that travels in one packet (`BP-3`).
    pub(super) fn admit_size(&self, message_bytes: usize) -> Result<(), Reject> {
        if message_bytes > self.config.request_packet_bytes_max { Err(Reject::RequestTooLarge) } else { Ok(()) }
    }

    /// Sends the reply to an executed request, if it is still held: with the results themselves if `full` or if they are short, otherwise
    /// with their digest (`protocol.md CL-5`).
    pub(super) fn send_reply(&mut self, name: RequestName, full: bool, output: &mut Output) {
        // What is being undone is in the table until the host has gone back.
        let undone = |sequence| self.undoing.is_some_and(|(undoing, _)| undoing == sequence);
        let Some(held) = self.clients.reply(name).filter(|held| !undone(held.sequence)) else { return };
        let tentative = self.tentative.is_some_and(|(sequence, _)| sequence == held.sequence);
        let (view, mode) = (self.view, if tentative { Mode::Tentative } else { Mode::Committed });
        let to = Audience::Client(name.client);
        let in_parts = held.results.len() > self.config.reply_packet_bytes_max;
        abridged(held.results, full && !in_parts, |results| {
            let reply = held.reply(name, view, mode, results);
            // A tentative reply promises that the batch prepared here; the parts of its results promise nothing.
            if tentative {
                output.promise(to, |bytes| reply.append(bytes));
            } else {
                output.send(to, |bytes| reply.append(bytes));
            }
            if full && in_parts {
                self.long_results.add_reply(name, results.digest());
            }
        });
    }

    /// Sends parts of results that fit no packet, as it is their turn (`protocol.md LR-5`).
    pub(super) fn send_long_results(&mut self, now: Now, output: &mut Output) {
        self.long_results.send(now.monotonic_ns, &self.clients, |client, part| {
            output.send(Audience::Client(client), |bytes| part.append(bytes));
        });
    }

    pub(super) fn refuse(&self, name: RequestName, reason: RefusalReason, detail: u64, output: &mut Output) {
        let refusal = Refusal::new(name.incarnation, name.number, reason, detail);
        output.send(Audience::Client(name.client), |bytes| refusal.append(bytes));
    }
}
