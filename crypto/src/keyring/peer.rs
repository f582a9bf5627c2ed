//! What is known of one peer, and what an announcement does to it (rules AN-2 to AN-4).

use super::derive::{Binding, OwnKeys};
use super::session::Session;
use crate::announcement::{Announcement, AnnouncementError, CHALLENGE_BYTES, Challenge};
use crate::entropy::Entropy;
use crate::identity::PublicIdentity;

/// Epochs that ended and are remembered by name. A bound on work, not on safety: an epoch that is
/// forgotten here still lacks the echo.
const ENDED_MAX: usize = 8;

/// What an announcement did.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// A new epoch of the peer is established; whatever epoch it had before is over.
    Established,
    /// The epoch was established already; what the announcement says of it is up to date now.
    Refreshed,
    /// The epoch is not established, and this announcement does not show that it is fresh. Nothing
    /// changed, but the answer to it will enable the peer to show it.
    Challenged,
}

/// An announcement that was taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The sender.
    pub from: u16,
    /// The sender's epoch; established unless the outcome is [`Outcome::Challenged`].
    pub epoch: u64,
    /// What the sender's application gave to
    /// [`KeyRing::announcement`](super::KeyRing::announcement). Current only if the outcome is
    /// not [`Outcome::Challenged`], which a recording can cause.
    pub attributes: u8,
    /// What it did.
    pub outcome: Outcome,
    /// Whether it brought a newer generation of the key that was established before.
    pub rotated: bool,
    /// Whether the sender should be sent an announcement now.
    pub answer_wanted: bool,
}

/// What an announcement claims, before its signature is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// In whose name it is: a configured peer.
    pub from: u16,
    /// Whether it echoes our open challenge to that peer. Only who has seen our latest announcement
    /// to the peer can make one that does.
    pub echoes: bool,
}

pub(super) struct Peer {
    pub(super) principal: u16,
    pub(super) public: PublicIdentity,
    /// What an announcement must echo to establish a new epoch.
    pub(super) challenge: Challenge,
    /// The peer's challenge heard last, echoed in our announcements; zero if none was heard.
    pub(super) echo: Challenge,
    pub(super) session: Option<Session>,
    /// Epoch and number of the last announcement that was `Challenged`: the same bytes again need
    /// no second look.
    challenged: Option<(u64, u64)>,
    /// Epochs that were established once, the latest first; zero where there is none.
    ended: [u64; ENDED_MAX],
}

impl Peer {
    pub(super) fn new(principal: u16, public: PublicIdentity, entropy: &mut Entropy) -> Peer {
        Peer {
            principal,
            public,
            challenge: fresh_challenge(entropy),
            echo: [0; CHALLENGE_BYTES],
            session: None,
            challenged: None,
            ended: [0; ENDED_MAX],
        }
    }

    pub(super) fn is_settled(&self, generation_own: u32) -> bool {
        self.session.as_ref().is_some_and(|session| session.receipt == Some(generation_own))
    }

    pub(super) fn is_over(&self, epoch: u64) -> bool {
        self.ended.contains(&epoch)
    }

    /// The newest generation in an epoch, if that is the one established.
    pub(super) fn generation(&self, epoch: u64) -> Option<u32> {
        self.session.as_ref().filter(|session| session.epoch == epoch).map(Session::generation_peer)
    }

    /// Refuses what cannot be new, before its signature is looked at. The fields may be forged, so
    /// a refusal is all that may follow from them.
    pub(super) fn check_new(&self, announcement: &Announcement) -> Result<(), AnnouncementError> {
        let (epoch, number, sender) = (announcement.epoch.get(), announcement.number.get(), self.principal);
        if self.is_over(epoch) {
            return Err(AnnouncementError::Superseded { sender });
        }
        let number_seen = match &self.session {
            Some(session) if session.epoch == epoch => Some(session.number),
            _ => self.challenged.filter(|(challenged, _)| *challenged == epoch).map(|(_, seen)| seen),
        };
        if number_seen.is_some_and(|seen| number <= seen) {
            return Err(AnnouncementError::Repeated { sender });
        }
        Ok(())
    }

    /// Takes in an announcement whose signature and context are right.
    pub(super) fn accept(
        &mut self,
        announcement: &Announcement,
        binding: &Binding,
        own: u16,
        epoch_own: u64,
        keys: &OwnKeys,
        entropy: &mut Entropy,
    ) -> Result<Outcome, AnnouncementError> {
        let epoch = announcement.epoch.get();
        let outcome = match &mut self.session {
            Some(session) if session.epoch == epoch => {
                session.refresh(announcement, binding, own, epoch_own, keys)?;
                Outcome::Refreshed
            }
            _ if announcement.echo == self.challenge => {
                let session = Session::establish(announcement, binding, own, epoch_own, keys)?;
                if let Some(former) = self.session.replace(session) {
                    self.ended.rotate_right(1);
                    self.ended[0] = former.epoch;
                }
                self.challenge = fresh_challenge(entropy);
                self.challenged = None;
                Outcome::Established
            }
            _ => {
                self.challenged = Some((epoch, announcement.number.get()));
                Outcome::Challenged
            }
        };
        self.echo = announcement.challenge;
        Ok(outcome)
    }
}

fn fresh_challenge(entropy: &mut Entropy) -> Challenge {
    let mut challenge = [0; CHALLENGE_BYTES];
    entropy(&mut challenge);
    assert_ne!(
        challenge, [0; CHALLENGE_BYTES],
        "the source of randomness gives zeros: a challenge would stand for none"
    );
    challenge
}
