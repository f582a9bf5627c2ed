//! The bytes of a key announcement; what they mean is the business of [`keyring`](crate::keyring).
//!
//! All integers little-endian, nothing aligned:
//!
//! ```text
//!   0 ┌─────────┬────────────┬─────────┬─────────┬────────────────┬────────────────┐
//!     │ format  │ attributes │  flags  │    0    │  sender   u16  │ receiver  u16  │
//!   8 ├─────────┴────────────┴─────────┴─────────┴────────────────┴────────────────┤
//!     │ context        32 bytes   the configuration that both must share           │
//!  40 ├───────────────────────────────────────────────────────────────────────────┤
//!     │ epoch          u64        the sender's process start, never zero           │
//!  48 │ number         u64        announcements of this epoch, strictly increasing │
//!  56 │ generation     u32        of the sender's X25519 key                       │
//!  60 │ receipt gen.   u32   ┐    what the sender has established of the receiver  │
//!  64 │ receipt epoch  u64   ┘    (epoch zero: nothing)                            │
//!  72 ├───────────────────────────────────────────────────────────────────────────┤
//!     │ exchange key   32 bytes   X25519                                           │
//! 104 │ challenge      16 bytes   the sender's open challenge to the receiver      │
//! 120 │ echo           16 bytes   the receiver's challenge heard last (or zero)    │
//! 136 ├───────────────────────────────────────────────────────────────────────────┤
//!     │ signature      64 bytes   Ed25519 by the sender's identity, over all above │
//! 200 └───────────────────────────────────────────────────────────────────────────┘
//! ```

use crate::digest::Digest;
use crate::identity::{Identity, PublicIdentity, SIGNATURE_BYTES};
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Size of an announcement in bytes.
pub const ANNOUNCEMENT_BYTES: usize = 200;

/// Size of a challenge in bytes: guessing one has a chance of 2^-128.
pub(crate) const CHALLENGE_BYTES: usize = 16;

/// An unpredictable value that the other side must send back. All zero: none.
pub(crate) type Challenge = [u8; CHALLENGE_BYTES];

const FORMAT: u8 = 1;
const DOMAIN: &str = "logothete key announcement";

/// The sender lacks the receiver's keys, or does not know yet that the receiver has its own: it
/// wants an answer.
pub(crate) const FLAG_UNSETTLED: u8 = 1;

/// Why an announcement was refused. Nothing of the key ring changed; each is worth a counter, none
/// an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AnnouncementError {
    /// The length, the format version, a reserved byte, a flag or a zero epoch is not as defined.
    #[error(
        "not an announcement of this format ({ANNOUNCEMENT_BYTES} bytes, version {FORMAT}); do all principals run the same release?"
    )]
    Malformed,
    /// It names this process as its sender: a reflection, or a second process under this identity.
    #[error("an announcement under this process's own identity; is a second process running with the same key file?")]
    OwnIdentity,
    /// It is addressed to another principal.
    #[error("an announcement for principal {receiver:#x}; are addresses swapped in the configuration?")]
    OtherReceiver {
        /// To whom it is addressed.
        receiver: u16,
    },
    /// The sender is in no configuration known here.
    #[error("an announcement from principal {sender:#x}, who is not configured here")]
    UnknownSender {
        /// Who claims to have sent it.
        sender: u16,
    },
    /// An epoch that a newer one has replaced: a recording, or a very late datagram.
    #[error("an announcement of an epoch of principal {sender:#x} that is over")]
    Superseded {
        /// Whose epoch it was.
        sender: u16,
    },
    /// Not newer than the last announcement of the same epoch: a duplicate, or one overtaken by a
    /// later one.
    #[error("an announcement of principal {sender:#x} that is not newer than one already seen")]
    Repeated {
        /// Who sent it.
        sender: u16,
    },
    /// Not signed by the configured identity of the sender.
    #[error(
        "a forged announcement in the name of principal {sender:#x}; is its public key in the configuration the right one?"
    )]
    BadSignature {
        /// In whose name it came.
        sender: u16,
    },
    /// Made for another configuration, as it says itself; its signature is not looked at.
    #[error("principal {sender:#x} runs with another configuration; compare the cluster files of both hosts")]
    ContextDiffers {
        /// Who sent it.
        sender: u16,
    },
    /// The X25519 key is a point of low order, with which everyone could compute the shared secret.
    #[error("principal {sender:#x} announced an exchange key that keeps no secret; its process is faulty or hostile")]
    WeakKey {
        /// Who sent it.
        sender: u16,
    },
    /// Properly signed, but at odds with an earlier announcement of the same epoch: a lower
    /// generation, or another key for the same one. No correct process does this.
    #[error("principal {sender:#x} contradicts its earlier announcement; its process is faulty or hostile")]
    Contradiction {
        /// Who sent it.
        sender: u16,
    },
}

/// An announcement, field by field as on the wire.
#[derive(Clone, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(crate) struct Announcement {
    format: u8,
    pub(crate) attributes: u8,
    pub(crate) flags: u8,
    reserved: u8,
    pub(crate) sender: U16,
    pub(crate) receiver: U16,
    pub(crate) context: Digest,
    pub(crate) epoch: U64,
    pub(crate) number: U64,
    pub(crate) generation: U32,
    pub(crate) receipt_generation: U32,
    pub(crate) receipt_epoch: U64,
    pub(crate) exchange_key: [u8; 32],
    pub(crate) challenge: Challenge,
    pub(crate) echo: Challenge,
    signature: [u8; SIGNATURE_BYTES],
}

const _: () = assert!(size_of::<Announcement>() == ANNOUNCEMENT_BYTES);

impl Announcement {
    /// One with every field zero but those that identify the format, the pair and the
    /// configuration.
    pub(crate) fn new(sender: u16, receiver: u16, context: Digest) -> Announcement {
        Announcement {
            format: FORMAT,
            sender: U16::new(sender),
            receiver: U16::new(receiver),
            context,
            ..Announcement::new_zeroed()
        }
    }

    /// Reads the fields; everything but the format still has to be checked.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Announcement, AnnouncementError> {
        let announcement = Announcement::read_from_bytes(bytes).map_err(|_| AnnouncementError::Malformed)?;
        let known = announcement.format == FORMAT
            && announcement.reserved == 0
            && announcement.flags & !FLAG_UNSETTLED == 0
            && announcement.epoch.get() != 0;
        if known { Ok(announcement) } else { Err(AnnouncementError::Malformed) }
    }

    /// Signs the fields; the bytes to send.
    pub(crate) fn sign(mut self, identity: &Identity) -> [u8; ANNOUNCEMENT_BYTES] {
        self.signature = identity.sign(DOMAIN, self.signed_bytes());
        zerocopy::transmute!(self)
    }

    /// Whether `identity` signed these fields.
    pub(crate) fn is_signed_by(&self, identity: &PublicIdentity) -> bool {
        identity.verify(DOMAIN, self.signed_bytes(), &self.signature)
    }

    fn signed_bytes(&self) -> &[u8] {
        &self.as_bytes()[..ANNOUNCEMENT_BYTES - SIGNATURE_BYTES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::offset_of;

    #[test]
    fn the_layout_is_as_drawn() {
        assert_eq!(offset_of!(Announcement, sender), 4);
        assert_eq!(offset_of!(Announcement, context), 8);
        assert_eq!(offset_of!(Announcement, epoch), 40);
        assert_eq!(offset_of!(Announcement, number), 48);
        assert_eq!(offset_of!(Announcement, generation), 56);
        assert_eq!(offset_of!(Announcement, receipt_generation), 60);
        assert_eq!(offset_of!(Announcement, receipt_epoch), 64);
        assert_eq!(offset_of!(Announcement, exchange_key), 72);
        assert_eq!(offset_of!(Announcement, challenge), 104);
        assert_eq!(offset_of!(Announcement, echo), 120);
        assert_eq!(offset_of!(Announcement, signature), 136);
    }

    #[test]
    fn every_byte_is_covered_by_the_format_or_the_signature() {
        let identity = Identity::from_secret_bytes([5; 32]);
        let mut announcement = Announcement::new(1, 2, Digest([3; 32]));
        announcement.epoch = U64::new(4);
        let bytes = announcement.sign(&identity);
        assert!(Announcement::parse(&bytes).unwrap().is_signed_by(&identity.public()));
        for byte in 0..ANNOUNCEMENT_BYTES {
            for bit in 0..8 {
                let mut changed = bytes;
                changed[byte] ^= 1 << bit;
                let accepted = Announcement::parse(&changed).is_ok_and(|a| a.is_signed_by(&identity.public()));
                assert!(!accepted, "byte {byte}, bit {bit}");
            }
        }
        assert_eq!(Announcement::parse(&bytes[1..]).err(), Some(AnnouncementError::Malformed));
        assert_eq!(Announcement::parse(&[bytes.as_slice(), &[0]].concat()).err(), Some(AnnouncementError::Malformed));
    }
}
