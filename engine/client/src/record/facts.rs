//! What a driver tells a client outside the rings: with its welcome, and with its farewell.

use logothete_transport::session::FACTS_BYTES;
use zerocopy::little_endian::U32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// What the replicas of a cluster execute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    /// The ordered log: the result of an operation is its position.
    Log,
    /// The key-value store.
    KeyValue,
    /// The service that does nothing, for measurements.
    Null,
    /// A service of somebody's own, by its number.
    Other(u32),
}

impl ServiceKind {
    fn number(self) -> u32 {
        match self {
            ServiceKind::Log => 1,
            ServiceKind::KeyValue => 2,
            ServiceKind::Null => 3,
            ServiceKind::Other(number) => number,
        }
    }

    fn from_number(number: u32) -> ServiceKind {
        match number {
            1 => ServiceKind::Log,
            2 => ServiceKind::KeyValue,
            3 => ServiceKind::Null,
            other => ServiceKind::Other(other),
        }
    }
}

/// What every session of a driver is told when it opens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// What the cluster executes.
    pub service: ServiceKind,
    /// The longest operation that the cluster takes, bytes.
    pub operation_bytes_max: u32,
    /// The longest result that it gives, bytes.
    pub result_bytes_max: u32,
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct FactsLayout {
    service: U32,
    operation_bytes_max: U32,
    result_bytes_max: U32,
    reserved: [u8; 20],
}

const _: () = assert!(size_of::<FactsLayout>() == FACTS_BYTES);

impl Facts {
    /// For [`ListenerConfig::facts`](logothete_transport::session::ListenerConfig::facts).
    pub fn encode(&self) -> [u8; FACTS_BYTES] {
        let layout = FactsLayout {
            service: self.service.number().into(),
            operation_bytes_max: self.operation_bytes_max.into(),
            result_bytes_max: self.result_bytes_max.into(),
            reserved: [0; 20],
        };
        zerocopy::transmute!(layout)
    }

    /// Reads what the driver told.
    pub fn decode(bytes: &[u8; FACTS_BYTES]) -> Facts {
        let layout: FactsLayout = zerocopy::transmute!(*bytes);
        Facts {
            service: ServiceKind::from_number(layout.service.get()),
            operation_bytes_max: layout.operation_bytes_max.get(),
            result_bytes_max: layout.result_bytes_max.get(),
        }
    }
}

/// Why a driver ends a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Eviction {
    /// The session's shared memory holds what no correct client writes there.
    Malformed = 1,
    /// The client did not read its responses or entries for too long.
    Stalled = 2,
    /// The driver stops.
    Stopping = 3,
}

impl Eviction {
    /// For [`ServerSession::evict`](logothete_transport::session::ServerSession::evict).
    pub fn encode(self) -> [u8; 4] {
        (self as u32).to_le_bytes()
    }

    /// Reads a farewell; `None` when it is none that this version knows.
    pub fn decode(farewell: &[u8]) -> Option<Eviction> {
        let number = u32::from_le_bytes(farewell.try_into().ok()?);
        [Eviction::Malformed, Eviction::Stalled, Eviction::Stopping].into_iter().find(|known| *known as u32 == number)
    }

    /// What happened, for a person.
    pub fn reason(self) -> &'static str {
        match self {
            Eviction::Malformed => "this program wrote what no correct client writes into the shared memory",
            Eviction::Stalled => "this program did not read its responses or entries for too long",
            Eviction::Stopping => "the driver stops",
        }
    }

    /// What to do about it, for a person.
    pub fn remedy(self) -> &'static str {
        match self {
            Eviction::Malformed => "look for a stray write, or for one session used by two threads or processes",
            Eviction::Stalled => "poll more often, ask for larger rings, and reconnect",
            Eviction::Stopping => "reconnect when it runs again",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_survive_the_welcome() {
        for service in [ServiceKind::Log, ServiceKind::KeyValue, ServiceKind::Null, ServiceKind::Other(77)] {
            let facts = Facts { service, operation_bytes_max: 1024, result_bytes_max: 4096 };
            assert_eq!(Facts::decode(&facts.encode()), facts);
        }
    }

    #[test]
    fn evictions_survive_the_farewell() {
        for eviction in [Eviction::Malformed, Eviction::Stalled, Eviction::Stopping] {
            assert_eq!(Eviction::decode(&eviction.encode()), Some(eviction));
        }
        assert_eq!(Eviction::decode(&[9, 0, 0, 0]), None);
        assert_eq!(Eviction::decode(&[1]), None);
    }
}
