//! Requests of which not all parts are here yet (`protocol.md LR-2` to `LR-4`).
//!
//! *For*: putting bodies together from the packets of their parts, in memory that is bounded for each client. A request is known here by its name
//! and by the digest under which its parts came: two digests under one name are two requests, of which the agreement takes at most one.
//! *Never*: a decision whether a request waits, or which is ordered.

use super::Reject;
use super::bodies::{Bodies, BodyRef, PartOutcome};
use super::clients::{Admission, Clients};
use crate::limits::{PARTS_PATIENCE_NS, PARTS_UNFINISHED_MAX, PARTS_UNPROVEN_MAX};
use crate::numbers::ClientId;
use crate::wire::parts::RequestPart;
use crate::wire::request::RequestName;
use logothete_crypto::Digest;

/// Digests under which junk came, that are remembered: as many as batches in flight may name at a time.
const SPOILED_MAX: usize = 64;

/// By which way a part came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From its client.
    Direct,
    /// From a replica that was asked for it; `authentic`: its tag for this replica verified.
    Relayed {
        /// Whether the client's tag verified.
        authentic: bool,
    },
}

#[derive(Clone, Debug)]
struct Assembly {
    body: BodyRef,
    /// Begun by its client: it counts against the client's share.
    direct: bool,
    touched_ns: u64,
}

/// The unfinished requests.
#[derive(Clone, Debug, Default)]
pub struct Assemblies {
    unfinished: Vec<Assembly>,
    /// Of what turned out to be junk when it was whole: the client's own packets are not taken for it again, only what others relay.
    spoiled: Vec<(RequestName, Digest)>,
    spoiled_next: usize,
}

impl Assemblies {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.unfinished.is_empty()
    }

    /// What is here of a request that a batch names.
    pub fn find(&self, name: RequestName, whole: &Digest, bodies: &Bodies) -> Option<BodyRef> {
        let same = |held: &&Assembly| bodies.name(held.body) == name && bodies.digest(held.body) == *whole;
        self.unfinished.iter().find(same).map(|held| held.body)
    }

    /// Keeps a part's packet, of a request that is to be had. Returns the body, with one reference, when it is whole.
    ///
    /// # Errors
    /// It fits nothing, or there is no room.
    pub fn take(
        &mut self,
        now_ns: u64,
        part: &RequestPart<'_>,
        packet: &[u8],
        way: Way,
        clients: &mut Clients,
        bodies: &mut Bodies,
    ) -> Result<Option<BodyRef>, Reject> {
        let direct = way == Way::Direct;
        let authentic = way != Way::Relayed { authentic: false };
        let known = (part.name, part.digest);
        if direct && self.spoiled.contains(&known) {
            return Err(Reject::PartsUnsound);
        }
        let shape = *bodies.shape();
        if part.index >= shape.count(part.total_bytes)
            || part.bytes.len() != shape.piece(part.total_bytes, part.index).len()
        {
            return Err(Reject::PartMisfit);
        }
        let same = |held: &Assembly| (bodies.name(held.body), bodies.digest(held.body)) == known;
        let mut at = self.unfinished.iter().position(same);
        if let Some(held) = at.filter(|at| bodies.message_bytes(self.unfinished[*at].body) != part.total_bytes) {
            // Of two lengths one is wrong. The client's word, once it is proven, stands against anybody else's.
            if !authentic || bodies.has_proven_part(self.unfinished[held].body) {
                return Err(Reject::PartConflict);
            }
            self.let_go(held, clients, bodies);
            at = None;
        }
        let at = match at {
            Some(at) => at,
            None => self.begin(now_ns, part, way, clients, bodies)?,
        };
        let held = &mut self.unfinished[at];
        held.touched_ns = now_ns;
        let body = held.body;
        match bodies.put_part(body, part.index, part.total_bytes, packet, authentic) {
            PartOutcome::Kept => {}
            PartOutcome::Known => return Err(Reject::RequestDuplicate),
            PartOutcome::Misfit => return Err(Reject::PartMisfit),
        }
        if bodies.parts_missing(body) > 0 {
            return Ok(None);
        }
        if bodies.finish(body, now_ns) {
            let whole = self.unfinished.swap_remove(at);
            if whole.direct {
                clients.unreserve(part.name.client, bodies.packet_bytes(body));
            }
            return Ok(Some(body));
        }
        if bodies.is_authentic(body) && !self.spoiled.contains(&known) {
            self.note_spoiled(known);
        }
        self.let_go(at, clients, bodies);
        Err(Reject::PartsUnsound)
    }

    /// Makes room for a request of which this is the first part here.
    fn begin(
        &mut self,
        now_ns: u64,
        part: &RequestPart<'_>,
        way: Way,
        clients: &mut Clients,
        bodies: &mut Bodies,
    ) -> Result<usize, Reject> {
        let (name, client) = (part.name, part.name.client);
        let bytes = bodies.shape().body_bytes(part.total_bytes);
        match way {
            Way::Direct => {
                // A correct client gives a name to one request.
                if self.own(client, bodies).any(|held| bodies.name(held.body) == name) {
                    return Err(Reject::PartConflict);
                }
                while self.own(client, bodies).count() >= PARTS_UNFINISHED_MAX {
                    if !self.displace(name, clients, bodies) {
                        return Err(Reject::Overloaded);
                    }
                }
                if !self.make_room(name, bytes, clients, bodies) {
                    return Err(Reject::Overloaded);
                }
            }
            Way::Relayed { authentic: true } => {}
            Way::Relayed { authentic: false } => {
                let unproven = self.unfinished.iter().filter(|held| !bodies.has_proven_part(held.body));
                if unproven.count() >= PARTS_UNPROVEN_MAX {
                    return Err(Reject::Overloaded);
                }
            }
        }
        let body = bodies.begin(name, part.digest, part.total_bytes, now_ns).ok_or(Reject::Overloaded)?;
        let direct = way == Way::Direct;
        if direct {
            clients.reserve(client, bodies.packet_bytes(body));
        }
        self.unfinished.push(Assembly { body, direct, touched_ns: now_ns });
        Ok(self.unfinished.len() - 1)
    }

    /// Makes room in a client's share for one of its requests, if it can be had by letting go of what comes after it in the client's order:
    /// that cannot be executed before it, and the client sends it again (`protocol.md LR-3`).
    pub fn make_room(&mut self, name: RequestName, bytes: usize, clients: &mut Clients, bodies: &mut Bodies) -> bool {
        while !clients.has_room(name.client, bytes) {
            if !self.displace(name, clients, bodies) && !clients.displace(name, bodies) {
                return false;
            }
        }
        true
    }

    /// Lets go of what the client began last of what comes after a request of it.
    fn displace(&mut self, name: RequestName, clients: &mut Clients, bodies: &mut Bodies) -> bool {
        let own = |held: &Assembly| held.direct && bodies.name(held.body).client == name.client;
        let yields = |held: &Assembly| own(held) && bodies.name(held.body).yields_to(name);
        let unfinished = self.unfinished.iter().enumerate().filter(|(_, held)| yields(held));
        let last = unfinished.max_by_key(|(_, held)| bodies.name(held.body).number).map(|(at, _)| at);
        last.inspect(|at| self.let_go(*at, clients, bodies)).is_some()
    }

    /// What a client began.
    fn own<'a>(&'a self, client: ClientId, bodies: &'a Bodies) -> impl Iterator<Item = &'a Assembly> {
        self.unfinished.iter().filter(move |held| held.direct && bodies.name(held.body).client == client)
    }

    /// Forgets what is executed, void, or was waited for in vain.
    pub fn sweep(&mut self, now_ns: u64, clients: &mut Clients, bodies: &mut Bodies) {
        for at in (0..self.unfinished.len()).rev() {
            let held = &self.unfinished[at];
            let late = held.touched_ns.saturating_add(PARTS_PATIENCE_NS) <= now_ns;
            let past = matches!(
                clients.admission(bodies.name(held.body), bodies),
                Admission::Executed | Admission::Superseded(_)
            );
            if late || past {
                self.let_go(at, clients, bodies);
            }
        }
    }

    fn let_go(&mut self, at: usize, clients: &mut Clients, bodies: &mut Bodies) {
        let held = self.unfinished.swap_remove(at);
        if held.direct {
            clients.unreserve(bodies.name(held.body).client, bodies.packet_bytes(held.body));
        }
        bodies.release(held.body);
    }

    fn note_spoiled(&mut self, known: (RequestName, Digest)) {
        if self.spoiled.len() < SPOILED_MAX {
            self.spoiled.push(known);
        } else {
            self.spoiled[self.spoiled_next] = known;
            self.spoiled_next = (self.spoiled_next + 1) % SPOILED_MAX;
        }
    }
}

#[cfg(test)]
mod tests;
