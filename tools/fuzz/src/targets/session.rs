//! The session socket and the region behind it, with an application that writes what it likes where it likes (RELIABILITY.md 2.9, I-10).
//!
//! The hostile side has the socket and the region's descriptor and nothing else: it writes to the descriptor, which is the same memory.

use crate::choices::Choices;
use crate::{Sample, Target};
use logothete_client::record::{Request, Response, Status};
use logothete_transport::session::{Geometry, Interest, Listener, ListenerConfig, ServerSession};
use rustix::fd::OwnedFd;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::path::Path;

pub const HANDSHAKE: Target = Target {
    name: "handshake",
    about: "packets and descriptors of any content at a driver's socket",
    run: handshake,
    samples: greetings,
};

pub const SHARED_MEMORY: Target = Target {
    name: "shared_memory",
    about: "an application that writes anything anywhere in its region",
    run: shared_memory,
    samples: writings,
};

const SESSIONS_MAX: usize = 3;
const RING_BYTES: usize = 4096;

fn listener(folder: &Path) -> Listener {
    let small = Geometry { requests_bytes: RING_BYTES, responses_bytes: RING_BYTES, subscription_bytes: RING_BYTES };
    let config = ListenerConfig {
        geometry: small,
        bytes_min: small,
        ring_bytes_max: 16 << 10,
        sessions_max: SESSIONS_MAX,
        ..ListenerConfig::default()
    };
    Listener::bind(folder.join("session"), config).expect("nobody else listens there")
}

fn connect(listener: &Listener) -> OwnedFd {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).expect("a socket");
    let address = SocketAddrUnix::new(listener.path()).expect("a short path");
    rustix::net::connect(&socket, &address).expect("a driver listens");
    socket
}

fn hello(subscribes: bool) -> Vec<u8> {
    let mut hello = b"LOGOSESS".to_vec();
    for word in [1, u32::from(subscribes), RING_BYTES as u32, RING_BYTES as u32, RING_BYTES as u32, 0] {
        hello.extend_from_slice(&word.to_le_bytes());
    }
    hello
}

fn send(socket: &OwnedFd, packet: &[u8], with_descriptor: bool) {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let files = [socket.as_fd()];
    if with_descriptor {
        assert!(control.push(SendAncillaryMessage::ScmRights(&files)));
    }
    // What is refused was not sent: a full or closed socket is the sender's own affair.
    let _ =
        rustix::net::sendmsg(socket, &[IoSlice::new(packet)], &mut control, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
}

/// The driver's answer, if there is one, and the region's descriptor.
fn welcome(socket: &OwnedFd) -> Option<(Vec<u8>, Option<OwnedFd>)> {
    let mut packet = [0u8; 128];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let message = rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut packet)], &mut control, flags).ok()?;
    let file = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    });
    Some((packet[..message.bytes].to_vec(), file))
}

/// Connections of any content come and go; an honest one is welcome all the same, once there is room.
fn handshake(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let folder = super::folder();
    let mut listener = listener(folder.path());
    let (mut hostile, mut sessions): (Vec<OwnedFd>, Vec<ServerSession>) = (Vec::new(), Vec::new());
    for _ in 0..24 {
        if choices.is_spent() {
            break;
        }
        match choices.byte() % 6 {
            0 if hostile.len() < 8 => hostile.push(connect(&listener)),
            1 if !hostile.is_empty() => drop(hostile.remove(choices.below(hostile.len()))),
            2 if !hostile.is_empty() => {
                let socket = &hostile[choices.below(hostile.len())];
                send(socket, &hello(choices.flag()), choices.flag());
            }
            3 if !hostile.is_empty() => {
                let mut spoilt = hello(choices.flag());
                choices.spoil(&mut spoilt);
                send(&hostile[choices.below(hostile.len())], &spoilt, choices.flag());
            }
            4 if !hostile.is_empty() => {
                let at = choices.below(hostile.len());
                send(&hostile[at], choices.bytes(200), false);
            }
            _ => {}
        }
        while let Some(session) = listener.accept() {
            sessions.push(session);
        }
        sessions.retain(ServerSession::is_alive);
        assert!(sessions.len() <= SESSIONS_MAX);
    }
    hostile.clear();
    while let Some(session) = listener.accept() {
        sessions.push(session);
    }
    // Their ends are heard in as many looks as there are events to a look.
    for _ in 0..4 {
        assert!(listener.accept().is_none_or(|session| !session.is_alive()));
    }
    sessions.clear();
    let honest = connect(&listener);
    send(&honest, &hello(true), false);
    let session = listener.accept().expect("an honest client is welcome");
    let (answer, file) = welcome(&honest).expect("it is told so");
    assert_eq!((answer.len(), answer[12]), (72, 0), "a welcome");
    assert!(file.is_some() && session.is_alive());
    let counted = listener.counters();
    assert!(counted.opened >= 1 && counted.closed <= counted.opened);
}

/// Words of the region that mean something: flags, indices of the rings, lengths of first records.
const WORDS: [u64; 12] = [0, 128, 256, 384, 512, 520, 4608, 4608 + 128, 4608 + 256, 8960, 8960 + 128, 8960 + 256];

/// The driver's end of a session whose application writes as the input says.
fn shared_memory(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let folder = super::folder();
    let mut listener = listener(folder.path());
    let socket = connect(&listener);
    send(&socket, &hello(true), false);
    let mut session = listener.accept().expect("it is welcome");
    let (_, file) = welcome(&socket).expect("it is told so");
    let file = file.expect("with the region");
    let mut tail = 0u64;
    for _ in 0..200 {
        if choices.is_spent() {
            break;
        }
        match choices.byte() % 8 {
            0 => write(&file, choices.of(&WORDS), &choices.near(tail).to_le_bytes()),
            1 => write(&file, choices.number() % 13_312, choices.bytes(64)),
            2 => tail = request(&file, tail, &mut choices),
            3 => send(&socket, choices.bytes(140), choices.byte() == 9),
            4 => {
                let interest = Interest {
                    requests: choices.flag(),
                    responses_free_bytes: choices.below(RING_BYTES),
                    subscription_free_bytes: choices.below(RING_BYTES),
                };
                session.prepare_sleep(interest);
                session.cancel_sleep();
            }
            5 => answer(&mut session, choices.bytes(600)),
            _ => serve(&mut session, choices.below(9)),
        }
    }
    serve(&mut session, 1);
    if let Some(fault) = session.fault() {
        session.evict(fault.to_string().as_bytes());
    }
}

fn write(file: &OwnedFd, at: u64, bytes: &[u8]) {
    // What would make it longer is refused: its size is sealed.
    let _ = rustix::io::pwrite(file, bytes, at);
}

/// A record as a correct application writes it, spoilt perhaps, and published.
fn request(file: &OwnedFd, tail: u64, choices: &mut Choices<'_>) -> u64 {
    const DATA: u64 = 512;
    let mut record = Vec::new();
    let operation = choices.bytes(300);
    record.extend_from_slice(&(16 + operation.len() as u64).to_le_bytes());
    record.extend_from_slice(&u64::from(choices.of(&[1u32, 2, 3, 9, 77])).to_le_bytes());
    record.extend_from_slice(&choices.near(1).to_le_bytes());
    record.extend_from_slice(operation);
    record.resize(record.len().next_multiple_of(8), 0);
    if choices.byte() % 8 == 7 {
        choices.spoil(&mut record);
    }
    let at = tail % RING_BYTES as u64;
    let room = (RING_BYTES as u64 - at) as usize;
    write(file, DATA + at, &record[..record.len().min(room)]);
    write(file, DATA, &record[record.len().min(room)..]);
    let tail = tail + record.len() as u64;
    write(file, 256, &tail.to_le_bytes());
    tail
}

fn serve(session: &mut ServerSession, most: usize) {
    let before = session.fault();
    let mut given = 0;
    let outcome = session.poll_requests(most, |record| {
        given += 1;
        assert!(record.len() <= RING_BYTES - 8, "no record is longer than the ring");
        let _ = Request::decode(record);
        true
    });
    assert!(given <= most);
    match outcome {
        Ok(taken) => assert_eq!(taken, given),
        Err(fault) => assert_eq!(session.fault().is_some(), before.is_some() || session.fault() == Some(fault)),
    }
}

fn answer(session: &mut ServerSession, bytes: &[u8]) {
    let response = Response::Result { number: 1, status: Status::Ok, bytes };
    let _ = response.push(&mut session.responses);
    if let Some(ring) = &mut session.subscription {
        let _ = ring.try_push(bytes);
    }
    session.publish();
}

fn greetings() -> Vec<Sample> {
    vec![
        ("honest".to_owned(), vec![0, 2, 0, 1, 0, 5, 5]),
        ("with-descriptor".to_owned(), vec![0, 2, 1, 1, 0, 0, 2, 0, 1, 1]),
        ("many".to_owned(), [0u8, 2, 0, 0, 0].repeat(8)),
        ("other-version".to_owned(), vec![0, 3, 0, 1, 8, 0, 7, 0, 0]),
        ("garbage".to_owned(), [&[0, 4, 0, 200][..], &[7; 200]].concat()),
    ]
}

fn writings() -> Vec<Sample> {
    let request = [2u8, 20, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 0, 0, 0];
    vec![
        ("requests".to_owned(), [&request[..], &[6, 3], &request, &[7, 8]].concat()),
        ("index-far".to_owned(), [&request[..], &[0, 2, 7, 2, 6, 1]].concat()),
        ("index-back".to_owned(), [&request[..], &[6, 1, 0, 2, 7, 0, 6, 1]].concat()),
        ("length".to_owned(), [&request[..], &[0, 4, 7, 3, 6, 1]].concat()),
        ("sleeps".to_owned(), vec![4, 1, 9, 9, 9, 9, 0, 0, 7, 1, 5, 40, 1, 2, 3, 4, 5]),
        ("responses".to_owned(), [5u8, 200, 0].repeat(30)),
    ]
}
