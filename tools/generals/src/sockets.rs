//! The same generals on real sockets: one thread each, datagrams over loopback, and time in place of rounds (BGP82 section 4).
//!
//! All begin at `T0`. What has `k` signatures, or names `k` generals on its path, is awaited until `T0 + k(mu + tau)`: `mu` is the longest that a
//! message takes to be made and to arrive, `tau` the most by which two clocks differ. What comes later does not count, and that is how an absent
//! message is seen (A3). Who sent a datagram is told by its address (A2).

use crate::order::Order;
use crate::problem::{GENERALS_MAX, General};
use crate::rounds::{Outcome, Participant, Sent};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How long generals have until `T0`: all of them are to run by then.
const MUSTER: Duration = Duration::from_millis(30);

/// The longest datagram: an order, and a signature of each general.
const DATAGRAM_BYTES_MAX: usize = 16 + GENERALS_MAX * 65;

/// A message that can travel in a datagram.
pub trait Travels: Sized + Clone {
    /// Its bytes.
    fn to_bytes(&self) -> Vec<u8>;
    /// The message of these bytes, if they are one.
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
    /// In which round it counts: the length of its path.
    fn round(&self) -> usize;
}

/// How fast generals must be.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// The longest that a message takes, `mu`.
    pub delivery: Duration,
    /// The most by which two clocks differ, `tau`.
    pub skew: Duration,
    /// A general that is late by so much with all that it sends: no loyal one.
    pub slow: Option<(General, Duration)>,
}

impl Default for Timing {
    fn default() -> Self {
        Self { delivery: Duration::from_millis(50), skew: Duration::from_millis(5), slow: None }
    }
}

/// What happened, and how many messages came too late to count.
#[derive(Clone, Debug)]
pub struct Timed<M> {
    /// As in one process.
    pub outcome: Outcome<M>,
    /// Messages that came later than they were awaited.
    pub late: usize,
    /// How long it took from `T0` on.
    pub took: Duration,
}

/// One general's story.
struct Story<M> {
    decision: Order,
    sent: Vec<Sent<M>>,
    late: usize,
}

/// Lets generals talk over loopback for so many rounds.
///
/// # Errors
/// The host gives no sockets, or refuses a datagram.
pub fn play<P>(generals: Vec<Box<P>>, rounds: usize, timing: Timing) -> io::Result<Timed<P::Message>>
where
    P: Participant + Send + ?Sized,
    P::Message: Travels + Send,
{
    let sockets: Vec<UdpSocket> =
        generals.iter().map(|_| UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))).collect::<io::Result<_>>()?;
    let addresses: Vec<SocketAddr> = sockets.iter().map(UdpSocket::local_addr).collect::<io::Result<_>>()?;
    let begin = Instant::now() + MUSTER;
    let stories: Vec<io::Result<Story<P::Message>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(generals.into_iter().zip(sockets))
            .map(|(own, (mut general, socket))| {
                let addresses = &addresses;
                scope.spawn(move || act(own, &mut *general, &socket, addresses, rounds, begin, timing))
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("a general does not panic")).collect()
    });
    let took = begin.elapsed();
    let stories = stories.into_iter().collect::<io::Result<Vec<_>>>()?;
    let decisions = stories.iter().map(|story| story.decision).collect();
    let late = stories.iter().map(|story| story.late).sum();
    let mut sent: Vec<_> = stories.into_iter().flat_map(|story| story.sent).collect();
    sent.sort_by_key(|sent| sent.round);
    Ok(Timed { outcome: Outcome { decisions, sent }, late, took })
}

fn act<P>(
    own: General,
    general: &mut P,
    socket: &UdpSocket,
    addresses: &[SocketAddr],
    rounds: usize,
    begin: Instant,
    timing: Timing,
) -> io::Result<Story<P::Message>>
where
    P: Participant + ?Sized,
    P::Message: Travels,
{
    let step = timing.delivery + timing.skew;
    let end_of = |round: usize| begin + step * round as u32;
    let mut story = Story { decision: Order::RETREAT, sent: Vec::new(), late: 0 };
    let mut early: Vec<(General, P::Message)> = Vec::new();
    std::thread::sleep(begin.saturating_duration_since(Instant::now()));
    for round in 1..=rounds {
        let due = general.send(round);
        if let Some((_, late)) = timing.slow.filter(|(slow, _)| *slow == own && !due.is_empty()) {
            std::thread::sleep(late);
        }
        for (to, message) in due {
            socket.send_to(&message.to_bytes(), addresses[usize::from(to)])?;
            story.sent.push(Sent { round, from: own, to, message });
        }
        // What others, whose clocks are ahead, said already.
        let (now, later) = std::mem::take(&mut early).into_iter().partition(|(_, message)| message.round() <= round);
        early = later;
        let now: Vec<(General, P::Message)> = now;
        now.into_iter().for_each(|(from, message)| general.receive(round, from, message));
        while let Some((from, message)) = hear::<P::Message>(socket, addresses, end_of(round))? {
            match message.round() {
                // It has more names on its path than rounds have passed: it counts in its own.
                later if later > round => early.push((from, message)),
                earlier if earlier < round => story.late += 1,
                _ => general.receive(round, from, message),
            }
        }
    }
    story.decision = general.decide();
    Ok(story)
}

/// The next message of a general, up to a moment.
fn hear<M: Travels>(socket: &UdpSocket, addresses: &[SocketAddr], until: Instant) -> io::Result<Option<(General, M)>> {
    let mut bytes = [0; DATAGRAM_BYTES_MAX];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left))?;
        let (length, address) = match socket.recv_from(&mut bytes) {
            Ok(received) => received,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Ok(None);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        // Whoever else sends to this port is no general.
        let from = addresses.iter().position(|known| *known == address);
        if let (Some(from), Some(message)) = (from, M::from_bytes(&bytes[..length])) {
            return Ok(Some((from as General, message)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oral::{self, Oral};
    use crate::problem::Problem;
    use crate::signed::{self, Army, Signed};
    use crate::strategy::Strategy;
    use std::sync::Arc;

    fn problem(generals: usize, traitor: General) -> Problem {
        Problem { generals, bears: 1, traitors: [traitor].into_iter().collect(), order: Order::ATTACK }
    }

    fn patient() -> Timing {
        Timing { delivery: Duration::from_millis(300), ..Timing::default() }
    }

    #[test]
    fn oral_orders_over_sockets_are_those_of_one_process() {
        let problem = problem(4, 3);
        let lies = |traitor| oral::of_strategy(Strategy::Split, &problem, traitor, 1);
        let timed = play(oral::generals(&problem, lies), 2, patient()).unwrap();
        let at_once = oral::run(&problem, lies);
        assert_eq!((timed.outcome.decisions, timed.outcome.sent.len(), timed.late), (at_once.decisions, 9, 0));
    }

    #[test]
    fn a_late_general_is_missed_and_nothing_else() {
        let problem = problem(4, 2);
        let army = Arc::new(Army::new(4, 1));
        let loyal = Problem { traitors: std::iter::empty().collect(), ..problem };
        let timing = Timing { slow: Some((2, Duration::from_millis(700))), ..patient() };
        let generals = signed::generals(&loyal, &army, |_| unreachable!("there are no traitors"));
        let timed = play(generals, 2, timing).unwrap();
        let decisions = &timed.outcome.decisions;
        assert!(problem.judge(decisions).is_good(), "{decisions:?}: who is late counts as a traitor");
    }

    #[test]
    fn messages_travel_as_they_are() {
        let oral = Oral { path: vec![0, 3], value: Order::RETREAT };
        assert_eq!(Oral::from_bytes(&oral.to_bytes()), Some(oral.clone()));
        let outcome =
            signed::run(&problem(4, 3), 1, |traitor| signed::of_strategy(Strategy::Split, &problem(4, 3), traitor, 1));
        for sent in outcome.sent {
            assert_eq!(Signed::from_bytes(&sent.message.to_bytes()), Some(sent.message));
        }
        // An order alone has no path, and no signer.
        for length in 0..=oral.value.bytes().len() {
            assert_eq!(Oral::from_bytes(&oral.to_bytes()[..length]), None);
            assert_eq!(Signed::from_bytes(&oral.to_bytes()[..length]), None);
        }
    }
}
