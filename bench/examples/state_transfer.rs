//! A state transfer over the loopback device, beside as many bytes in the same datagrams without one.
//!
//! `cargo run --release -p logothete-bench --example state_transfer -- [MIB 256] [STALE PERCENT 1] [DATAGRAM BYTES 32768]`
//!
//! One thread fetches, another one serves for four sources, each with a socket of its own. The messages travel without packets around them:
//! what is measured is the tree, the checks and the sockets, not the tags.

use logothete_engine::limits::STATE_CREDIT_BYTES;
use logothete_engine::numbers::{Principal, ReplicaId, ReplicaSet, SequenceNumber};
use logothete_engine::state::transfer::{AnswerLimits, CheckpointName, Progress, Transfer, TransferConfig, answer};
use logothete_engine::state::{PAGE_BYTES, Snapshot, State};
use logothete_engine::wire::Message;
use socket2::{Domain, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const SOURCES: usize = 4;

/// A packet's header and one tag, which are not sent here.
const PACKET_BYTES: usize = 68;

const SENDER: Principal = Principal::Replica(ReplicaId(0));

fn main() -> io::Result<()> {
    let arguments: Vec<u64> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let argument = |at: usize, otherwise| arguments.get(at).copied().unwrap_or(otherwise);
    let (mebibytes, percent, datagram_bytes) = (argument(0, 256), argument(1, 1), argument(2, 32 * 1024) as usize);
    let message_bytes_max = datagram_bytes - PACKET_BYTES;
    let pages = (mebibytes << 20) / PAGE_BYTES as u64;

    let mut state = State::new(pages);
    (0..pages).for_each(|index| fill(&mut state, index, 1));
    let base = state.snapshot();
    base.digest();
    let stale = pages * percent / 100;
    // Spread by a step that meets every page once: it is odd, and shares no factor with a power of two.
    (0..stale).for_each(|at| fill(&mut state, at * 40_503 % pages, 2));
    let newer = state.snapshot();
    let target = CheckpointName { sequence: SequenceNumber(128), digest: newer.digest() };

    let busy_before = busy_ns()?;
    let (progress, took) = transfer(&base, &newer, target, message_bytes_max)?;
    let busy = Duration::from_nanos(busy_ns()? - busy_before);
    let stale_bytes = stale * PAGE_BYTES as u64;
    let rate = |bytes: u64, took: Duration| bytes as f64 / took.as_secs_f64() / 1e6;
    println!(
        "state             {mebibytes} MiB, {stale} pages stale ({stale_bytes} B), datagrams of {datagram_bytes} B"
    );
    println!("received          {} B: {} pages and {} nodes", progress.bytes_received, progress.pages, progress.nodes);
    println!("                  {:.3} of the stale bytes", progress.bytes_received as f64 / stale_bytes as f64);
    println!("sent              {} B; {} things asked for in vain", progress.bytes_sent, progress.expired);
    println!("transfer          {took:.1?}, {:.0} MB/s", rate(progress.bytes_received, took));
    println!("  its thread ran  {busy:.1?}, {:.0} MB/s", rate(progress.bytes_received, busy));
    let busy_before = busy_ns()?;
    let took = plain(progress.bytes_received, message_bytes_max)?;
    let busy = Duration::from_nanos(busy_ns()? - busy_before);
    println!("plain datagrams   {took:.1?}, {:.0} MB/s", rate(progress.bytes_received, took));
    println!("  its thread ran  {busy:.1?}, {:.0} MB/s", rate(progress.bytes_received, busy));
    Ok(())
}

/// How long this thread has been on a processor: what counts where others want it too.
fn busy_ns() -> io::Result<u64> {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let busy = statistics.split_whitespace().next().and_then(|field| field.parse().ok());
    busy.ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "/proc/thread-self/schedstat begins with no number"))
}

fn fill(state: &mut State, index: u64, seed: u64) {
    for (word, at) in state.page_mut(index).chunks_mut(8).zip(0u64..) {
        word.copy_from_slice(&((index + seed) * 0x9e37_79b9_7f4a_7c15 + at).rotate_left(at as u32).to_le_bytes());
    }
}

fn socket() -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None)?;
    socket.set_recv_buffer_size(SOURCES * STATE_CREDIT_BYTES * 2)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    Ok(socket.into())
}

/// Takes a datagram if there is one.
fn receive<'a>(socket: &UdpSocket, buffer: &'a mut [u8]) -> io::Result<Option<(&'a [u8], SocketAddr)>> {
    match socket.recv_from(buffer) {
        Ok((bytes, from)) => Ok(Some((&buffer[..bytes], from))),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Calls `serve` with each datagram that comes to one of the sources, until it is over.
fn serve_all(sources: &[UdpSocket], over: &AtomicBool, mut serve: impl FnMut(&UdpSocket, &[u8], SocketAddr)) {
    let mut buffer = vec![0; 1 << 16];
    // SYNC: nothing but the flag itself is passed on.
    while !over.load(Ordering::Relaxed) {
        let mut idle = true;
        for socket in sources {
            while let Ok(Some((bytes, from))) = receive(socket, &mut buffer) {
                serve(socket, bytes, from);
                idle = false;
            }
        }
        if idle {
            std::thread::yield_now();
        }
    }
}

fn transfer(
    base: &Snapshot,
    newer: &Snapshot,
    target: CheckpointName,
    message_bytes_max: usize,
) -> io::Result<(Progress, Duration)> {
    let (fetcher, over) = (socket()?, AtomicBool::new(false));
    let sources = (0..SOURCES).map(|_| socket()).collect::<io::Result<Vec<_>>>()?;
    let addresses = sources.iter().map(UdpSocket::local_addr).collect::<io::Result<Vec<_>>>()?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            serve_all(&sources, &over, |socket, bytes, from| {
                let Ok(Message::StateQuery(query)) = Message::decode(bytes, SENDER) else { return };
                let limits = AnswerLimits { message_bytes_max, bytes_max: 2 * STATE_CREDIT_BYTES };
                // What the device does not take is lost, as on any network.
                answer(&query, Some(newer), target, limits, &mut |message: &[u8]| _ = socket.send_to(message, from));
            });
        });
        let start = Instant::now();
        let config = TransferConfig::new(message_bytes_max);
        let mut transfer = Transfer::new(base.clone(), target, ReplicaSet::first(SOURCES), config);
        let outcome = fetch(&mut transfer, &fetcher, &addresses, start);
        let took = start.elapsed();
        over.store(true, Ordering::Relaxed);
        outcome.map(|()| (transfer.progress(), took))
    })
}

fn fetch(transfer: &mut Transfer, socket: &UdpSocket, sources: &[SocketAddr], start: Instant) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    let now_ns = || start.elapsed().as_nanos() as u64;
    while transfer.finished().is_none() {
        transfer.on_duty_end(now_ns(), &mut |to, message: &[u8]| {
            _ = socket.send_to(message, sources[usize::from(to.0)]);
        });
        // As many as an agent takes in a duty cycle.
        for _ in 0..64 {
            let Some((bytes, from)) = receive(socket, &mut buffer)? else {
                std::thread::yield_now();
                break;
            };
            let Some(at) = sources.iter().position(|address| *address == from) else { continue };
            let finding = match Message::decode(bytes, SENDER) {
                Ok(Message::StateNodes(nodes)) => transfer.on_nodes(now_ns(), ReplicaId(at as u8), &nodes),
                Ok(Message::StatePages(pages)) => transfer.on_pages(now_ns(), ReplicaId(at as u8), &pages),
                _ => None,
            };
            assert_eq!(finding, None, "all sources are honest and hold the checkpoint");
        }
    }
    Ok(())
}

/// The same bytes, from the same sockets, asked for a credit at a time.
fn plain(bytes: u64, message_bytes: usize) -> io::Result<Duration> {
    let (fetcher, over) = (socket()?, AtomicBool::new(false));
    let sources = (0..SOURCES).map(|_| socket()).collect::<io::Result<Vec<_>>>()?;
    let addresses = sources.iter().map(UdpSocket::local_addr).collect::<io::Result<Vec<_>>>()?;
    let burst = (STATE_CREDIT_BYTES / 2 / message_bytes).max(1);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let message = vec![7; message_bytes];
            serve_all(&sources, &over, |socket, _, from| {
                (0..burst).for_each(|_| _ = socket.send_to(&message, from));
            });
        });
        let start = Instant::now();
        let outcome = drain(&fetcher, &addresses, bytes, burst);
        over.store(true, Ordering::Relaxed);
        outcome.map(|()| start.elapsed())
    })
}

/// Takes bytes until there were enough; whenever half of a source's credit has come, or nothing for a while, it is asked for more.
fn drain(socket: &UdpSocket, sources: &[SocketAddr], bytes: u64, burst: usize) -> io::Result<()> {
    let mut buffer = vec![0; 1 << 16];
    let (mut received, mut counts, mut last) = (0, [0; SOURCES], Instant::now());
    for source in sources.iter().chain(sources) {
        socket.send_to(b"more", source)?;
    }
    while received < bytes {
        let Some((datagram, from)) = receive(socket, &mut buffer)? else {
            if last.elapsed() > Duration::from_millis(20) {
                sources.iter().try_for_each(|source| socket.send_to(b"more", source).map(drop))?;
                last = Instant::now();
            }
            std::thread::yield_now();
            continue;
        };
        received += datagram.len() as u64;
        last = Instant::now();
        let Some(at) = sources.iter().position(|address| *address == from) else { continue };
        counts[at] += 1;
        if counts[at] % burst == 0 {
            socket.send_to(b"more", from)?;
        }
    }
    Ok(())
}
