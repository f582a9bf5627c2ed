//! A switch in user space: what this kernel's queues cannot do to packets, and the same choices for the same seed.
//!
//! One thread reads the frames that the hosts send, decides for every receiver whether, when and how often the frame
//! arrives, and hands it over when it is due. The choices follow from the seed and the order of the frames; when frames
//! come is up to the processes.

use super::tags::spoil;
use logothete::failure::Failure;
use logothete_engine::numbers::{Principal, ReplicaSet};
use logothete_simulator::world::random::Random;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// The longest frame: the standard 1,500 bytes and an Ethernet header, and room for a tag.
const FRAME_BYTES_MAX: usize = 1522;

/// Frames on their way at most; what comes then is lost, as in a switch whose memory is full.
const FRAMES_MAX: usize = 20_000;

/// Frames that are read from one port before the others have their turn.
const BURST_MAX: usize = 64;

/// How long the thread sleeps while nothing is due: it looks whether it shall end.
const SLEEP_NS_MAX: u64 = 20_000_000;

/// How frames are treated. All of it concerns each receiver alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Medium {
    /// Of a thousand frames so many are lost.
    pub lost_per_mille: u32,
    /// Of a thousand frames so many arrive twice.
    pub doubled_per_mille: u32,
    /// Of a thousand frames so many are delayed; the others overtake them.
    pub delayed_per_mille: u32,
    /// How long on average, exponentially distributed.
    pub delay_mean_ns: u64,
    /// Whose packets have wrong tags, and for which replicas: whoever gets a copy gets that one.
    pub spoils: Option<(Principal, ReplicaSet)>,
}

impl Medium {
    /// How long the copies of one frame take to one receiver; none: it is lost.
    fn delays_ns(&self, chance: &mut Random) -> impl Iterator<Item = u64> {
        let copies = match (chance.per_mille(self.lost_per_mille), chance.per_mille(self.doubled_per_mille)) {
            (true, _) => 0,
            (false, doubled) => 1 + usize::from(doubled),
        };
        let mut delays = [0; 2];
        for delay in &mut delays[..copies] {
            if chance.per_mille(self.delayed_per_mille) {
                *delay = chance.exponential(self.delay_mean_ns);
            }
        }
        delays.into_iter().take(copies)
    }
}

/// A running switch. Dropping it ends it.
#[derive(Debug)]
pub struct Switch {
    medium: Arc<Mutex<Medium>>,
    end: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Switch {
    /// Starts a switch between ports; those that are not to be touched get everything at once.
    ///
    /// # Errors
    ///
    /// When there is no thread.
    pub fn start(ports: Vec<(OwnedFd, bool)>, seed: u64) -> Result<Self, Failure> {
        let medium = Arc::new(Mutex::new(Medium::default()));
        let end = Arc::new(AtomicBool::new(false));
        let (its_medium, its_end) = (Arc::clone(&medium), Arc::clone(&end));
        let thread = std::thread::Builder::new()
            .name(String::from("switch"))
            .spawn(move || Forwarder::new(ports, seed).run(&its_medium, &its_end))
            .map_err(|error| Failure::Failed(format!("no thread for the switch: {error}")))?;
        Ok(Self { medium, end, thread: Some(thread) })
    }

    /// Treats frames like this from now on.
    pub fn set(&self, medium: Medium) {
        *self.medium.lock().unwrap_or_else(PoisonError::into_inner) = medium;
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // Had it panicked, every check of the run would have failed.
            let _ = thread.join();
        }
    }
}

/// A frame on its way; ordered by when it is due, and by when it came.
type Flight = Reverse<(u64, u64, usize, Rc<[u8]>)>;

/// An Ethernet address.
type Station = [u8; 6];

struct Forwarder {
    ports: Vec<(OwnedFd, bool)>,
    chance: Random,
    /// Behind which port a station is.
    stations: BTreeMap<Station, usize>,
    flights: BinaryHeap<Flight>,
    came: u64,
    started: Instant,
}

impl Forwarder {
    fn new(ports: Vec<(OwnedFd, bool)>, seed: u64) -> Self {
        let (stations, flights) = (BTreeMap::new(), BinaryHeap::new());
        Self { ports, chance: Random::new(seed), stations, flights, came: 0, started: Instant::now() }
    }

    fn run(mut self, medium: &Mutex<Medium>, end: &AtomicBool) {
        while !end.load(Ordering::Relaxed) {
            let medium = *medium.lock().unwrap_or_else(PoisonError::into_inner);
            let received = (0..self.ports.len()).map(|port| self.receive(port, &medium)).sum::<usize>();
            let next_ns = self.deliver();
            if received == 0 {
                self.sleep(next_ns);
            }
        }
    }

    fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// Takes what a port's host has sent; returns how many frames.
    fn receive(&mut self, from: usize, medium: &Medium) -> usize {
        let mut buffer = [0; FRAME_BYTES_MAX];
        for count in 0..BURST_MAX {
            // A port without a frame says that it would block; one that is down has nothing either.
            let Ok(length) = rustix::io::read(&self.ports[from].0, &mut buffer) else {
                return count;
            };
            self.accept(from, &buffer[..length], medium);
        }
        BURST_MAX
    }

    fn accept(&mut self, from: usize, frame: &[u8], medium: &Medium) {
        let (Some((to, rest)), now_ns) = (frame.split_first_chunk::<6>(), self.now_ns()) else {
            return;
        };
        if let Some(station) = rest.first_chunk::<6>() {
            self.stations.insert(*station, from);
        }
        // The lowest bit of the first byte marks groups and broadcast.
        let group = to[0] & 1 != 0;
        let known = if group { None } else { self.stations.get(to).copied() };
        let mut bytes: Rc<[u8]> = frame.into();
        if let (Some((sender, of)), Some(frame)) = (medium.spoils, Rc::get_mut(&mut bytes)) {
            spoil(frame, sender, of);
        }
        for port in (0..self.ports.len()).filter(|port| *port != from && known.is_none_or(|known| known == *port)) {
            let touched = self.ports[from].1 && self.ports[port].1;
            let medium = if touched { *medium } else { Medium::default() };
            for delay_ns in medium.delays_ns(&mut self.chance) {
                if self.flights.len() < FRAMES_MAX {
                    self.came += 1;
                    self.flights.push(Reverse((now_ns + delay_ns, self.came, port, Rc::clone(&bytes))));
                }
            }
        }
    }

    /// Hands over what is due; returns when the next frame is.
    fn deliver(&mut self) -> Option<u64> {
        let now_ns = self.now_ns();
        while let Some(Reverse((due_ns, ..))) = self.flights.peek() {
            if *due_ns > now_ns {
                return Some(*due_ns);
            }
            if let Some(Reverse((_, _, port, frame))) = self.flights.pop() {
                // What a host has no room for is lost.
                let _ = rustix::io::write(&self.ports[port].0, &frame);
            }
        }
        None
    }

    fn sleep(&self, next_ns: Option<u64>) {
        let wait_ns = next_ns.map_or(SLEEP_NS_MAX, |next| next.saturating_sub(self.now_ns()).min(SLEEP_NS_MAX));
        let mut ports: Vec<PollFd<'_>> = self.ports.iter().map(|(port, _)| PollFd::new(port, PollFlags::IN)).collect();
        let timeout = Timespec::try_from(Duration::from_nanos(wait_ns)).expect("milliseconds fit");
        // An interruption is as good as a time-out.
        let _ = poll(&mut ports, Some(&timeout));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

    #[test]
    fn the_medium_loses_doubles_and_delays_as_often_as_it_says() {
        let medium = Medium {
            lost_per_mille: 100,
            doubled_per_mille: 200,
            delayed_per_mille: 500,
            delay_mean_ns: 1000,
            spoils: None,
        };
        let mut chance = Random::new(1);
        let counts = (0..10_000).map(|_| medium.delays_ns(&mut chance).collect::<Vec<_>>());
        let (mut copies, mut delayed) = ([0; 3], 0);
        for delays in counts {
            copies[delays.len()] += 1;
            delayed += delays.iter().filter(|delay| **delay > 0).count();
        }
        assert!((900..1100).contains(&copies[0]), "{copies:?}");
        assert!((1650..1950).contains(&copies[2]), "{copies:?}");
        let share = delayed as f64 / (copies[1] + 2 * copies[2]) as f64;
        assert!((0.47..0.53).contains(&share), "{share}");
        assert_eq!(Medium::default().delays_ns(&mut chance).collect::<Vec<_>>(), [0]);
    }

    /// Three hosts behind datagram sockets in place of devices.
    fn hosts() -> (Vec<(OwnedFd, bool)>, Vec<OwnedFd>) {
        let pair = || socketpair(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::NONBLOCK, None).unwrap();
        let (ports, hosts): (Vec<_>, Vec<_>) = (0..3).map(|_| pair()).unzip();
        (ports.into_iter().map(|port| (port, true)).collect(), hosts)
    }

    fn frame(to: u8, from: u8) -> Vec<u8> {
        [[to; 6], [from; 6]].concat()
    }

    fn arrived(host: &OwnedFd) -> usize {
        let mut buffer = [0; 64];
        (0..100).take_while(|_| rustix::io::read(host, &mut buffer).is_ok()).count()
    }

    #[test]
    fn groups_go_to_all_others_and_stations_are_learned() {
        let (ports, hosts) = hosts();
        let mut switch = Forwarder::new(ports, 1);
        let mut pass = |from: usize, bytes: &[u8]| {
            rustix::io::write(&hosts[from], bytes).unwrap();
            assert_eq!(switch.receive(from, &Medium::default()), 1);
            assert_eq!(switch.deliver(), None);
            hosts.iter().map(arrived).collect::<Vec<_>>()
        };
        assert_eq!(pass(0, &frame(0xff, 2)), [0, 1, 1]);
        assert_eq!(pass(1, &frame(2, 4)), [1, 0, 0], "the station is behind port 0");
        assert_eq!(pass(0, &frame(6, 2)), [0, 1, 1], "nobody knows where it is");
        assert_eq!(pass(2, &[1, 2, 3]), [0, 0, 0], "no frame at all");
    }

    #[test]
    fn delayed_frames_are_overtaken() {
        let (ports, hosts) = hosts();
        let mut switch = Forwarder::new(ports, 1);
        let slow = Medium { delayed_per_mille: 1000, delay_mean_ns: 1 << 40, ..Medium::default() };
        switch.accept(0, &frame(0xff, 2), &slow);
        switch.accept(0, &frame(0xff, 2), &Medium::default());
        assert!(switch.deliver().is_some(), "two are still to come");
        assert_eq!((arrived(&hosts[1]), switch.flights.len()), (1, 2));
        let full = Medium { doubled_per_mille: 1000, ..slow };
        for _ in 0..FRAMES_MAX {
            switch.accept(0, &frame(0xff, 2), &full);
        }
        assert_eq!(switch.flights.len(), FRAMES_MAX);
    }
}
