//! What the session socket carries. Little endian; each message is one packet.
//!
//! The first twelve bytes of a hello and of a welcome are the same in every version, so that two versions that do not
//! understand each other can still say so.

use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::Geometry;
use crate::ring::{CAPACITY_BYTES_MAX, CAPACITY_BYTES_MIN};

/// Version of the handshake, of the region's layout and of the rings. Both sides must have the same.
pub const SESSION_VERSION: u32 = 1;

/// Bytes of a driver's own that travel with its welcome; this crate does not look at them.
pub const FACTS_BYTES: usize = 32;

/// Longest farewell, bytes.
pub const FAREWELL_BYTES_MAX: usize = 64;

/// "LOGOSESS": tells a driver from any other program that might listen at the path.
const MAGIC: u64 = u64::from_le_bytes(*b"LOGOSESS");

/// First byte of a packet that only wakes.
pub(super) const PACKET_BELL: u8 = 1;

/// First byte of the last packet of a driver that evicts; its reason follows.
pub(super) const PACKET_FAREWELL: u8 = 2;

/// Longest packet that either side expects.
pub(super) const PACKET_BYTES_MAX: usize = 128;

/// A client's first packet.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Hello {
    magic: U64,
    version: U32,
    /// 1: the session subscribes; 0: it does not.
    subscribes: U32,
    /// Wanted capacities, bytes; zero leaves the choice to the driver, which bounds them anyway.
    requests_bytes: U32,
    responses_bytes: U32,
    subscription_bytes: U32,
    reserved: U32,
}

const _: () = assert!(size_of::<Hello>() == 32 && size_of::<Hello>() <= PACKET_BYTES_MAX);

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) subscribes: bool,
    pub(super) requests_bytes: u32,
    pub(super) responses_bytes: u32,
    pub(super) subscription_bytes: u32,
}

/// Why a first packet is not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HelloError {
    /// Nothing of ours.
    Malformed,
    /// Ours, of another version.
    Version(u32),
}

impl Hello {
    pub(super) fn new(wanted: Wanted) -> Hello {
        Hello {
            magic: MAGIC.into(),
            version: SESSION_VERSION.into(),
            subscribes: u32::from(wanted.subscribes).into(),
            requests_bytes: wanted.requests_bytes.into(),
            responses_bytes: wanted.responses_bytes.into(),
            subscription_bytes: wanted.subscription_bytes.into(),
            reserved: 0.into(),
        }
    }

    pub(super) fn decode(packet: &[u8]) -> Result<Wanted, HelloError> {
        match version_of(packet) {
            None => return Err(HelloError::Malformed),
            Some(SESSION_VERSION) => {}
            Some(version) => return Err(HelloError::Version(version)),
        }
        let hello = Hello::read_from_bytes(packet).map_err(|_| HelloError::Malformed)?;
        if hello.subscribes.get() > 1 || hello.reserved.get() != 0 {
            return Err(HelloError::Malformed);
        }
        Ok(Wanted {
            subscribes: hello.subscribes.get() == 1,
            requests_bytes: hello.requests_bytes.get(),
            responses_bytes: hello.responses_bytes.get(),
            subscription_bytes: hello.subscription_bytes.get(),
        })
    }
}

/// The driver's answer. The region's descriptor comes with it when the verdict is [`VERDICT_WELCOME`].
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Welcome {
    magic: U64,
    version: U32,
    verdict: U32,
    session: U64,
    requests_bytes: U32,
    responses_bytes: U32,
    subscription_bytes: U32,
    reserved: U32,
    pub(super) facts: [u8; FACTS_BYTES],
}

const _: () = assert!(size_of::<Welcome>() == 72 && size_of::<Welcome>() <= PACKET_BYTES_MAX);

pub(super) const VERDICT_WELCOME: u32 = 0;
pub(super) const VERDICT_VERSION: u32 = 1;
pub(super) const VERDICT_FORBIDDEN: u32 = 2;
pub(super) const VERDICT_EXHAUSTED: u32 = 3;

impl Welcome {
    pub(super) fn new(session: u64, geometry: Geometry, facts: [u8; FACTS_BYTES]) -> Welcome {
        // Capacities are at most CAPACITY_BYTES_MAX, which fits.
        let bytes = |capacity: usize| (capacity as u32).into();
        Welcome {
            magic: MAGIC.into(),
            version: SESSION_VERSION.into(),
            verdict: VERDICT_WELCOME.into(),
            session: session.into(),
            requests_bytes: bytes(geometry.requests_bytes),
            responses_bytes: bytes(geometry.responses_bytes),
            subscription_bytes: bytes(geometry.subscription_bytes),
            reserved: 0.into(),
            facts,
        }
    }

    pub(super) fn refusal(verdict: u32) -> Welcome {
        let geometry = Geometry { requests_bytes: 0, responses_bytes: 0, subscription_bytes: 0 };
        Welcome { verdict: verdict.into(), ..Welcome::new(0, geometry, [0; FACTS_BYTES]) }
    }

    pub(super) fn verdict(&self) -> u32 {
        self.verdict.get()
    }

    pub(super) fn session(&self) -> u64 {
        self.session.get()
    }

    /// The capacities, or `None` when they are none that rings can have.
    pub(super) fn geometry(&self, subscribes: bool) -> Option<Geometry> {
        let capacity = |bytes: U32| {
            let bytes = bytes.get() as usize;
            (bytes.is_power_of_two() && (CAPACITY_BYTES_MIN..=CAPACITY_BYTES_MAX).contains(&bytes)).then_some(bytes)
        };
        let subscription_bytes = match (subscribes, self.subscription_bytes.get()) {
            (false, 0) => 0,
            (false, _) => return None,
            (true, _) => capacity(self.subscription_bytes)?,
        };
        Some(Geometry {
            requests_bytes: capacity(self.requests_bytes)?,
            responses_bytes: capacity(self.responses_bytes)?,
            subscription_bytes,
        })
    }
}

/// The version in a hello or a welcome of any version; `None` when it is neither.
pub(super) fn version_of(packet: &[u8]) -> Option<u32> {
    let (magic, rest) = U64::read_from_prefix(packet).ok()?;
    let (version, _) = U32::read_from_prefix(rest).ok()?;
    (magic.get() == MAGIC).then_some(version.get())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hello_survives_the_wire() {
        let wanted = Wanted { subscribes: true, requests_bytes: 1, responses_bytes: 2, subscription_bytes: 3 };
        assert_eq!(Hello::decode(Hello::new(wanted).as_bytes()), Ok(wanted));
    }

    #[test]
    fn a_hello_of_another_version_is_told_from_garbage() {
        let wanted = Wanted { subscribes: false, requests_bytes: 0, responses_bytes: 0, subscription_bytes: 0 };
        let mut later = Hello::new(wanted);
        later.version = 9.into();
        let mut longer = later.as_bytes().to_vec();
        longer.extend_from_slice(&[7; 20]);
        assert_eq!(Hello::decode(&longer), Err(HelloError::Version(9)));

        let bytes = Hello::new(wanted);
        for length in 0..size_of::<Hello>() {
            assert_eq!(Hello::decode(&bytes.as_bytes()[..length]), Err(HelloError::Malformed), "{length} bytes");
        }
        assert_eq!(Hello::decode(&[0; size_of::<Hello>()]), Err(HelloError::Malformed));
    }

    #[test]
    fn a_welcome_with_impossible_rings_is_refused() {
        let good = Geometry { requests_bytes: 4096, responses_bytes: 4096, subscription_bytes: 0 };
        let welcome = |geometry| Welcome::new(1, geometry, [0; FACTS_BYTES]);
        assert_eq!(welcome(good).geometry(false), Some(good));
        assert_eq!(welcome(good).geometry(true), None);
        assert_eq!(welcome(Geometry { subscription_bytes: 4096, ..good }).geometry(false), None);
        for capacity in [0, 8, 4095, 4097, CAPACITY_BYTES_MAX * 2] {
            assert_eq!(welcome(Geometry { requests_bytes: capacity, ..good }).geometry(false), None, "{capacity}");
        }
    }
}
