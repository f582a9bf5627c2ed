//! Sealing: header in front, authentication vector behind.

use super::PacketKeys;
use crate::limits::REPLICAS_MAX;
use crate::numbers::{Principal, ReplicaId};
use crate::wire::Audience;
use crate::wire::packet::{ENTRY_BYTES, Envelope, HEADER_BYTES, write_header};

/// Seals the packets of one process. Its counter runs on over all audiences, so that no (key, counter) is ever used
/// twice (`protocol.md PK-8`).
#[derive(Debug)]
pub struct Sealer {
    own: Principal,
    cluster: u64,
    counter: u64,
}

impl Sealer {
    /// For a principal of a cluster; one for each process and epoch.
    pub fn new(own: Principal, cluster: u64) -> Self {
        Self { own, cluster, counter: 0 }
    }

    /// How many packets it has sealed.
    pub fn sealed(&self) -> u64 {
        self.counter
    }

    /// Seals the body that stands behind the header's room in `packet`; returns the datagram's length.
    ///
    /// # Panics
    /// If `packet` has no room for the vector: the packer left it.
    pub fn seal(
        &mut self,
        keys: &mut (impl PacketKeys + ?Sized),
        packet: &mut [u8],
        body_bytes: usize,
        audience: Audience,
        message_count: u16,
    ) -> usize {
        self.counter += 1;
        let envelope = Envelope {
            sender: self.own.code(),
            cluster: self.cluster,
            epoch: keys.epoch(),
            counter: self.counter,
            audience,
            message_count,
        };
        let digest = write_header(packet, body_bytes, &envelope);
        let mut addressees = [0u16; REPLICAS_MAX];
        let addressees = match audience {
            Audience::Client(id) => {
                addressees[0] = Principal::Client(id).code();
                &addressees[..1]
            }
            Audience::Replicas(set) => {
                let mut count = 0;
                for id in (0..REPLICAS_MAX as u8).map(ReplicaId).filter(|id| set.contains(*id)) {
                    addressees[count] = Principal::Replica(id).code();
                    count += 1;
                }
                &addressees[..count]
            }
        };
        let end = HEADER_BYTES + body_bytes + addressees.len() * ENTRY_BYTES;
        keys.seal(addressees, &digest, self.counter, &mut packet[HEADER_BYTES + body_bytes..end]);
        end
    }
}
