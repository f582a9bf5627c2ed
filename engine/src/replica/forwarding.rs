//! Forwarding: when half of its time is over, a backup passes the oldest request that waits on to the primary (`protocol.md RB-1`,
//! `RB-2`; PBFT-99 section 4.1).
//!
//! It helps where a client's packet reached everybody but the primary, and where its tag is bad at the primary alone, be it by mistake or to have
//! the primary suspected. What a backup forwards it has verified itself, so that of `f+1` that forward the same one is correct.

use super::assemblies::Way;
use super::bodies::BodyRef;
use super::clients::{Admission, Waiting};
use super::output::Output;
use super::{Now, Reject, Replica};
use crate::authentication::RelayedPacket;
use crate::limits::{FAIR_AFTER_NS, FORWARD_BURST_PACKETS, FORWARD_RETRY_NS};
use crate::numbers::ReplicaId;
use crate::planted::{self, Bug};
use crate::wire::forward::Forward;
use crate::wire::parts::RequestPart;
use crate::wire::request::{RequestName, signed_parts};
use logothete_crypto::Digest;
use std::hash::{Hash, Hasher};

/// What is forwarded, and by whom.
#[derive(Clone, Debug)]
pub(super) struct Forwarding {
    replicas: usize,
    /// As a backup: the last request forwarded, and when.
    sent: Option<(RequestName, u64)>,
    /// As the primary: the one request of each client that each replica forwards, by client and then by replica.
    open: Box<[Option<(RequestName, Digest)>]>,
}

impl Forwarding {
    /// Nothing is forwarded yet.
    pub(super) fn new(clients: usize, replicas: usize) -> Self {
        Self { replicas, sent: None, open: vec![None; clients * replicas].into() }
    }

    /// Of [`Replica::fingerprint`].
    pub(super) fn fingerprint(&self, state: &mut impl Hasher) {
        let Self { sent, open, replicas: _ } = self;
        (sent.map(|(name, _)| name), open).hash(state);
    }

    fn of_client(&mut self, name: RequestName) -> Option<&mut [Option<(RequestName, Digest)>]> {
        self.open.chunks_exact_mut(self.replicas).nth(usize::from(name.client.0))
    }

    /// How many replicas forward a request.
    fn count(&mut self, name: RequestName, digest: Digest) -> usize {
        let of_client = self.of_client(name).unwrap_or_default();
        of_client.iter().filter(|open| **open == Some((name, digest))).count()
    }

    /// What is forwarded is known here.
    fn close(&mut self, name: RequestName) {
        for open in self.of_client(name).unwrap_or_default() {
            open.take_if(|(held, _)| *held == name);
        }
    }

    /// A view begins: whoever waits forwards to its primary.
    pub(super) fn begin_view(&mut self) {
        self.sent = None;
        self.open.fill(None);
    }
}

impl Replica {
    /// When the oldest request that waits is to be forwarded. Who promises nothing vouches for nothing either.
    pub(super) fn forward_due_ns(&self, oldest: Option<Waiting>) -> u64 {
        let Some(oldest) = oldest.filter(|_| !self.is_primary() && self.undoing.is_none() && !self.is_silent()) else {
            return u64::MAX;
        };
        let due_ns = self.synchroniser.half_time_ns(oldest.since_ns);
        match self.forwarding.sent {
            Some((name, at)) if name == self.bodies.name(oldest.body) => {
                due_ns.max(at + FORWARD_RETRY_NS * self.forward_bursts(oldest.body))
            }
            _ => due_ns,
        }
    }

    /// A request of many packets is sent again as seldom as so many bursts of small ones would be.
    fn forward_bursts(&self, body: BodyRef) -> u64 {
        self.bodies.packet_count(body).div_ceil(FORWARD_BURST_PACKETS) as u64
    }

    /// Forwards the oldest request that waits here, and no other: what waits behind it waits for it.
    pub(super) fn forward_oldest(&mut self, now: Now, oldest: Option<Waiting>, output: &mut Output) {
        let Some(Waiting { body, .. }) = oldest.filter(|_| self.forward_due_ns(oldest) <= now.monotonic_ns) else {
            return;
        };
        let (name, primary) = (self.bodies.name(body), self.primary());
        self.forwarding.sent = Some((name, now.monotonic_ns));
        self.goodput.on_forwarded(name, now.monotonic_ns + FAIR_AFTER_NS * self.forward_bursts(body));
        let forward = Forward::new(name, self.bodies.digest(body));
        output.send(Self::only(primary), |bytes| forward.append(bytes));
        for packet in 0..self.bodies.packet_count(body) {
            output.relay(primary, self.bodies.packet(body, packet));
        }
    }

    /// A backup says that it verified a request; the packet follows.
    pub(super) fn on_forward(&mut self, from: ReplicaId, forward: &Forward) -> Result<(), Reject> {
        let name = forward.name();
        if !self.clients.knows(name.client) {
            return Err(Reject::ClientUnknown);
        }
        if !self.is_primary() || !self.active {
            return Err(Reject::RoleWrong);
        }
        self.admit_forwarded(name)?;
        let of_client = self.forwarding.of_client(name).expect("the client is known");
        of_client[usize::from(from.0)] = Some((name, forward.digest()));
        Ok(())
    }

    /// Whether a request that is forwarded is wanted: not where it is executed, or on its way.
    fn admit_forwarded(&self, name: RequestName) -> Result<(), Reject> {
        match self.clients.admission(name, &self.bodies) {
            Admission::New => Ok(()),
            Admission::Executed | Admission::Waits(_) => Err(Reject::RequestDuplicate),
            Admission::Superseded(_) => Err(Reject::RequestSuperseded),
            Admission::BeyondWindow => Err(Reject::RequestBeyondWindow),
        }
    }

    /// Whether a client's packet that no batch lacks counts: if a replica forwards it, and its tag is good or `f+1` verified theirs. Returns
    /// whether so many vouch for it.
    fn vouched(&mut self, name: RequestName, digest: Digest, authentic: bool) -> Result<bool, Reject> {
        let forwarders = self.forwarding.count(name, digest);
        let vouched = forwarders >= self.config.quorum.weak() || planted::is(Bug::ForwardUnproven);
        match forwarders {
            0 => Err(Reject::RelayUnasked),
            _ if authentic || vouched => Ok(vouched),
            _ => Err(Reject::RelayUnvouched),
        }
    }

    /// A client's packet that no batch lacks.
    pub(super) fn on_forwarded(
        &mut self,
        now: Now,
        name: RequestName,
        packet: &RelayedPacket<'_>,
    ) -> Result<(), Reject> {
        let (digest, authentic) = (packet.body_digest(), packet.is_authentic());
        // What its client signed needs nobody else's word (`DM-1`); the signature is looked at when it is here.
        let signed = signed_parts(&packet.datagram()[packet.body_range()]).is_some();
        let vouched = self.vouched(name, digest, authentic || signed)?;
        if let Err(past) = self.admit_forwarded(name) {
            self.forwarding.close(name);
            return Err(past);
        }
        let (datagram, range) = (packet.datagram(), packet.body_range());
        if !self.clients.has_room(name.client, datagram.len()) {
            return Err(Reject::Overloaded);
        }
        let stored = self.bodies.store(datagram, range, name, digest, authentic, now.monotonic_ns);
        let body = stored.ok_or(Reject::Overloaded)?;
        if packet.is_spoilt() {
            self.bodies.note_spoilt(body, 0);
        }
        // Who forwards it may not know yet that its client was demoted.
        if self.clients.must_sign(name.client) && self.try_signature(now, body) != Some(true) {
            self.bodies.release(body);
            return Err(Reject::SignatureRequired);
        }
        if !authentic && !vouched && self.try_signature(now, body) != Some(true) {
            self.bodies.release(body);
            return Err(Reject::RelayUnvouched);
        }
        self.forwarding.close(name);
        self.clients.hold(name, body, &mut self.bodies);
        self.bind_body(name, body);
        Ok(())
    }

    /// A part of a longer request that no batch lacks (`LR-2`).
    pub(super) fn on_forwarded_part(
        &mut self,
        now: Now,
        part: &RequestPart<'_>,
        packet: &RelayedPacket<'_>,
    ) -> Result<(), Reject> {
        let (name, authentic) = (part.name, packet.is_authentic());
        let vouched = self.vouched(name, part.digest, authentic)?;
        self.admit_forwarded(name)?;
        // What proves to be the client's counts against its share, as if it had come directly.
        let way = if authentic { Way::Direct } else { Way::Relayed { authentic: false } };
        let (clients, bodies) = (&mut self.clients, &mut self.bodies);
        let taken = self.assemblies.take(now.monotonic_ns, part, packet.datagram(), way, clients, bodies)?;
        self.note_relayed_part(part, packet, taken);
        let Some(body) = taken else { return Ok(()) };
        self.forwarding.close(name);
        self.hold_whole(now, name, body, vouched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::{ClientId, Incarnation, RequestNumber};

    fn name(client: u16, number: u64) -> RequestName {
        RequestName { client: ClientId(client), incarnation: Incarnation(1), number: RequestNumber(number) }
    }

    /// `protocol.md RB-2`: one open forward a client and replica, whatever is forwarded.
    #[test]
    fn what_is_open_is_bounded() {
        let mut forwarding = Forwarding::new(2, 4);
        let (one, other) = (Digest([1; 32]), Digest([2; 32]));
        let mut open = |number, digest, from: usize| {
            let of_client = forwarding.of_client(name(1, number)).unwrap();
            of_client[from] = Some((name(1, number), digest));
            [one, other].map(|digest| forwarding.count(name(1, number), digest))
        };
        assert_eq!(open(1, one, 0), [1, 0]);
        assert_eq!(open(1, one, 2), [2, 0]);
        assert_eq!(open(1, other, 3), [2, 1]);
        assert_eq!(open(2, one, 0), [1, 0], "it takes the place of the one before");
        assert_eq!(forwarding.count(name(1, 1), one), 1);
        assert_eq!(forwarding.count(name(0, 1), one), 0, "another client's");
        assert_eq!(forwarding.count(name(9, 1), one), 0, "a client that there is not");
        forwarding.close(name(1, 1));
        assert_eq!((forwarding.count(name(1, 1), one), forwarding.count(name(1, 2), one)), (0, 1));
        forwarding.begin_view();
        assert_eq!(forwarding.count(name(1, 2), one), 0);
    }
}
