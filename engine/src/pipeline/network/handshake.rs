//! Announcements: taking them in, and making them (`protocol.md AN-1` to `AN-8`); and replacing this process's key (`KY-1` to `KY-5`).

use super::Network;
use super::rotation::{Change, Rotation};
use crate::numbers::Principal;
use crate::replica::Quorum;
use crate::wire::packet::MAGIC_ANNOUNCEMENT;
use logothete_crypto::{ANNOUNCEMENT_BYTES, Outcome, digest};
use logothete_transport::datagram::Received;

impl Network {
    pub(super) fn on_announcement(&mut self, datagram: &Received, now_ns: u64) {
        let bytes = &datagram.frame[MAGIC_ANNOUNCEMENT.len()..];
        // What costs next to nothing comes first, and it decides from whose budget the signature is checked (`protocol.md AN-8`).
        let Some((claim, peer)) =
            self.keys.claim(bytes).ok().and_then(|claim| Some((claim, self.peer_index(claim.from)?)))
        else {
            self.announcements.refused += 1;
            return;
        };
        if !self.introductions.may_check(peer, claim.echoes, now_ns) {
            self.announcements.unchecked += 1;
            // The peer may be among those who cannot be heard for the noise: with this process's challenge it can make one that echoes.
            if peer < self.replicas.len() {
                self.introductions.want_slowly(peer, now_ns);
            }
            return;
        }
        let Ok(accepted) = self.keys.accept_announcement(bytes) else {
            self.announcements.refused += 1;
            return;
        };
        self.announcements.accepted += 1;
        let replica = match Principal::from_code(accepted.from) {
            Principal::Client(id) => {
                self.clients_announced[usize::from(id.0)] = Some(datagram.from);
                None
            }
            Principal::Replica(id) => Some(id),
        };
        if accepted.outcome == Outcome::Established {
            self.rotation(now_ns).peer_established(peer);
            if let Some(id) = replica {
                self.group_path.begin(id, now_ns);
            }
        }
        if accepted.rotated {
            self.rotation(now_ns).peer_rotated(peer, replica, now_ns);
        }
        if self.all_replicas_confirmed() {
            self.rotation(now_ns).confirmed(now_ns);
        }
        if accepted.answer_wanted {
            self.introductions.want(peer, now_ns);
        }
    }

    pub(super) fn announce(&mut self, now_ns: u64) {
        for peer in 0..self.peers() {
            if !self.introductions.is_due(peer, now_ns) {
                continue;
            }
            let principal = self.principal(peer);
            let address = match principal {
                Principal::Replica(id) => Some(self.replicas[usize::from(id.0)]),
                Principal::Client(id) => self.clients_announced[usize::from(id.0)],
            };
            let Some(address) = address.filter(|_| principal != self.own) else {
                self.introductions.rest(peer);
                continue;
            };
            let announcement = self.keys.announcement(principal.code(), 0);
            if let (Some(announcement), Some(mut frame)) = (announcement, self.pool.take()) {
                let bytes = frame.capacity_bytes_mut();
                bytes[..4].copy_from_slice(&MAGIC_ANNOUNCEMENT);
                bytes[4..4 + ANNOUNCEMENT_BYTES].copy_from_slice(&announcement);
                frame.set_len(4 + ANNOUNCEMENT_BYTES);
                self.endpoint.send(frame, address);
            }
            // A client that wants a session asks again; one that went away is called after for the length of an overlap only.
            let called_after = matches!(principal, Principal::Replica(_)) || self.rotation(now_ns).overlaps();
            if self.keys.settled(principal.code()) || !called_after {
                self.introductions.rest(peer);
            } else {
                self.introductions.sent(peer, now_ns);
            }
        }
    }

    /// Makes a new key when it is time, and lets go of former ones.
    pub(super) fn rotate_where_due(&mut self, now_ns: u64) {
        let packets = self.sealer.sealed();
        while let Some(change) = self.rotation(now_ns).poll(now_ns, packets) {
            match change {
                Change::Rotate => {
                    self.keys.rotate();
                    for peer in 0..self.peers() {
                        if self.keys.established(self.principal(peer).code()).is_some() {
                            self.introductions.want(peer, now_ns);
                        }
                    }
                }
                Change::Retire => self.keys.retire(),
                Change::RetireOf(peer) => self.keys.retire_of(self.principal(peer).code()),
            }
        }
    }

    /// The schedule of this process's key; it begins with the first duty cycle.
    pub(super) fn rotation(&mut self, now_ns: u64) -> &mut Rotation {
        let (own, policy, peers) = (self.own, self.rotation_policy, self.peers());
        let follows = match own {
            Principal::Replica(_) => None,
            // One of so many replicas is correct (`protocol.md KY-5`).
            Principal::Client(_) => Some(Quorum::of(self.replicas.len()).map_or(1, |quorum| quorum.weak())),
        };
        let cluster = self.cluster;
        self.rotation.get_or_insert_with(|| {
            let mut identity = [0; 10];
            identity[..8].copy_from_slice(&cluster.to_le_bytes());
            identity[8..].copy_from_slice(&own.code().to_le_bytes());
            let seed = digest(&identity).0.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
            Rotation::new(policy, seed, peers, follows, now_ns)
        })
    }

    /// Whether every replica with a session confirmed the newest generation of this process's key.
    pub(super) fn all_replicas_confirmed(&self) -> bool {
        self.established().iter().all(|id| self.keys.settled(Principal::Replica(id).code()))
    }

    pub(super) fn peers(&self) -> usize {
        self.replicas.len() + self.clients.len()
    }
}
