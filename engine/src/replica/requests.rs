//! Requests as they arrive: kept until they are executed, answered from the cache when they were (`protocol.md CL-4`).

use super::clients::Admission;
use super::output::Output;
use super::{Now, Reject, Replica};
use crate::authentication::AuthenticatedPacket;
use crate::numbers::ClientId;
use crate::wire::Audience;
use crate::wire::reply::{Mode, Refusal, RefusalReason, abridged};
use crate::wire::request::{Request, RequestName};

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
        // In its own name, and alone in its packet (`protocol.md CL-7`).
        if name.client != from {
            return Err(Reject::SenderMismatch);
        }
        if !self.clients.knows(from) {
            return Err(Reject::ClientUnknown);
        }
        if bytes.len() != packet.body().len() {
            return Err(Reject::RequestNotAlone);
        }
        self.admit_size(bytes.len())?;
        self.disputes.on_direct(from, packet.body_digest());
        match self.clients.admission(name, &self.bodies) {
            Admission::New => {
                let (digest, signed) = (packet.body_digest(), self.clients.must_sign(from));
                if signed {
                    self.admit_signed(now, name, bytes, output)?;
                }
                if !self.clients.has_room(name.client, packet.datagram().len()) {
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

    /// A request's run of the log must fit a packet to a subscriber (`BP-3`).
    pub(super) fn admit_size(&self, message_bytes: usize) -> Result<(), Reject> {
        if message_bytes > self.config.request_bytes_max { Err(Reject::RequestTooLarge) } else { Ok(()) }
    }

    /// Sends the reply to an executed request, if it is still held: with the results themselves if `full` or if they are short, otherwise
    /// with their digest (`protocol.md CL-5`).
    pub(super) fn send_reply(&self, name: RequestName, full: bool, output: &mut Output) {
        let Some(held) = self.clients.reply(name) else { return };
        let tentative = self.tentative.is_some_and(|(sequence, _)| sequence == held.sequence);
        let (view, mode) = (self.view, if tentative { Mode::Tentative } else { Mode::Committed });
        abridged(held.results, full, |results| {
            let reply = held.reply(name, view, mode, results);
            let to = Audience::Client(name.client);
            // A tentative reply promises that the batch prepared here.
            if tentative {
                output.promise(to, |bytes| reply.append(bytes))
            } else {
                output.send(to, |bytes| reply.append(bytes))
            }
        });
    }

    pub(super) fn refuse(&self, name: RequestName, reason: RefusalReason, detail: u64, output: &mut Output) {
        let refusal = Refusal::new(name.incarnation, name.number, reason, detail);
        output.send(Audience::Client(name.client), |bytes| refusal.append(bytes));
    }
}
