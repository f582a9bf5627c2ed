//! A stranger on the cluster's segment: it hears what goes to the groups, sends under any address, and has no key.

use crate::network::{Host, Network, address};
use logothete::failure::Failure;
use logothete_engine::cluster::Cluster;
use logothete_simulator::world::random::Random;
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the stranger sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Random bytes, from its own address.
    Garbage,
    /// What it heard with a bit changed, from the address of whom it heard it.
    Spoofed,
    /// What it heard, again, from the address of whom it heard it.
    Replayed,
}

/// How long it listens before it sends what it heard.
const LISTEN: Duration = Duration::from_millis(500);

/// Packets that it keeps.
const HEARD_MAX: usize = 2000;

/// Between two bursts: what is due is sent at once then.
const BURST_INTERVAL: Duration = Duration::from_millis(1);

/// The headers of IPv4 and UDP.
const HEADERS_BYTES: usize = 28;
const PROTOCOL_UDP: u8 = 17;

/// A packet and who sent it.
type Heard = (SocketAddrV4, Vec<u8>);

/// A flood that goes on. Dropping it ends it.
#[derive(Debug)]
pub struct Flood {
    end: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// Lets the stranger send so many packets a second to the replicas, in turn.
    ///
    /// # Errors
    ///
    /// When the system refuses its sockets, or it heard nothing that it could send again.
    pub fn start(
        network: &Network,
        cluster: &Cluster,
        kind: Kind,
        packets_per_s: u32,
        chance: Random,
    ) -> Result<Self, Failure> {
        let _inside = network.enter(Host::Stranger)?;
        let heard = if kind == Kind::Garbage { Vec::new() } else { listen(cluster)? };
        if kind != Kind::Garbage && heard.is_empty() {
            return Err(Failure::Failed(String::from("the stranger heard nothing that went to the groups")));
        }
        // A raw socket takes packets with their headers, whatever address they claim to be from.
        let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::RAW))
            .map_err(|error| Failure::Failed(format!("no raw socket: {error}")))?;
        let targets = cluster.replicas.iter().filter_map(|replica| match replica.address {
            SocketAddr::V4(address) => Some(address),
            SocketAddr::V6(_) => None,
        });
        let sender = Sender { socket, targets: targets.collect(), kind, heard, chance };
        let (end, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (its_end, its_sent) = (Arc::clone(&end), Arc::clone(&sent));
        let thread = std::thread::Builder::new()
            .name(String::from("stranger"))
            .spawn(move || sender.run(packets_per_s, &its_end, &its_sent))
            .map_err(|error| Failure::Failed(format!("no thread for the stranger: {error}")))?;
        Ok(Self { end, sent, thread: Some(thread) })
    }

    /// How many packets have left.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Had it panicked, the count of what it sent would have shown it.
            let _ = thread.join();
        }
    }
}

/// Hears what goes to the cluster's groups for a while.
fn listen(cluster: &Cluster) -> Result<Vec<Heard>, Failure> {
    let failed = |error: std::io::Error| Failure::Failed(format!("the stranger cannot listen: {error}"));
    let IpAddr::V4(first) = cluster.multicast.group else {
        return Err(Failure::Failed(String::from("the lab's groups are of IPv4")));
    };
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, cluster.multicast.port)).map_err(failed)?;
    // A group a sender: the replicas, and one for the drivers.
    for offset in 0..=cluster.replica_count() as u32 {
        let group = Ipv4Addr::from(u32::from(first) + offset);
        socket.join_multicast_v4(&group, &address(Host::Stranger)).map_err(failed)?;
    }
    socket.set_read_timeout(Some(LISTEN / 10)).map_err(failed)?;
    let (begin, mut heard, mut buffer) = (Instant::now(), Vec::new(), [0; 2048]);
    while begin.elapsed() < LISTEN && heard.len() < HEARD_MAX {
        // Silence is no failure, and what is not IPv4 is not the cluster's.
        if let Ok((length, SocketAddr::V4(from))) = socket.recv_from(&mut buffer) {
            heard.push((from, buffer[..length].to_vec()));
        }
    }
    Ok(heard)
}

struct Sender {
    socket: OwnedFd,
    targets: Vec<SocketAddrV4>,
    kind: Kind,
    heard: Vec<Heard>,
    chance: Random,
}

impl Sender {
    fn run(mut self, packets_per_s: u32, end: &AtomicBool, sent: &AtomicU64) {
        let begin = Instant::now();
        let mut count: u64 = 0;
        while !end.load(Ordering::Relaxed) {
            let due = (begin.elapsed().as_secs_f64() * f64::from(packets_per_s)) as u64;
            while count < due && !end.load(Ordering::Relaxed) {
                let packet = self.packet(count as usize);
                let to = self.targets[count as usize % self.targets.len()];
                // What the kernel has no room for is lost, like anything on a network.
                if sendto(&self.socket, &packet, SendFlags::empty(), &to).is_ok() {
                    sent.fetch_add(1, Ordering::Relaxed);
                }
                count += 1;
            }
            std::thread::sleep(BURST_INTERVAL);
        }
    }

    fn packet(&mut self, turn: usize) -> Vec<u8> {
        let to = self.targets[turn % self.targets.len()];
        let own = SocketAddrV4::new(address(Host::Stranger), 4242);
        let (from, mut payload) = match self.kind {
            Kind::Garbage => {
                let length = 16 + self.chance.below(1200);
                (own, (0..length).map(|_| self.chance.draw() as u8).collect())
            }
            Kind::Spoofed | Kind::Replayed => self.heard[turn % self.heard.len()].clone(),
        };
        if self.kind == Kind::Spoofed {
            let bit = self.chance.below(payload.len() * 8);
            payload[bit / 8] ^= 1 << (bit % 8);
        }
        with_headers(from, to, &payload)
    }
}

/// A datagram with its headers. The kernel fills in the total length and the checksum of IPv4; UDP over it needs none.
fn with_headers(from: SocketAddrV4, to: SocketAddrV4, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(HEADERS_BYTES + payload.len()).expect("packets fit a datagram");
    let mut packet = vec![0; HEADERS_BYTES];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[8] = 64;
    packet[9] = PROTOCOL_UDP;
    packet[12..16].copy_from_slice(&from.ip().octets());
    packet[16..20].copy_from_slice(&to.ip().octets());
    packet[20..22].copy_from_slice(&from.port().to_be_bytes());
    packet[22..24].copy_from_slice(&to.port().to_be_bytes());
    packet[24..26].copy_from_slice(&(length - 20).to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_say_who_sends_to_whom_and_how_much() {
        let (from, to) = ("10.83.0.1:7400".parse().unwrap(), "10.83.0.2:7401".parse().unwrap());
        let packet = with_headers(from, to, b"abc");
        assert_eq!(packet.len(), 31);
        assert_eq!(packet[12..20], [10, 83, 0, 1, 10, 83, 0, 2]);
        assert_eq!(packet[20..26], [0x1c, 0xe8, 0x1c, 0xe9, 0, 11]);
        assert_eq!(packet[28..], *b"abc");
    }
}
