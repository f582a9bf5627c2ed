//! How the operator talks to the replicas: a network of its own, for the length of one question.

use crate::authentication::{AuthenticatedPacket, Incoming};
use crate::cluster::{Cluster, FanOut, Idle, Transport};
use crate::limits::SURVEY_RENEW_NS;
use crate::numbers::{ClientId, Principal, ReplicaSet};
use crate::pipeline::{Clock, Idler, Outbox, Pause, ProcessError, open_network};
use crate::wire::Audience;
use logothete_crypto::Identity;
use logothete_transport::counters::CounterSet;
use logothete_transport::datagram::DatagramCounters;
use std::time::Duration;

/// Sends a question to all replicas, again and again, until `take` has heard enough or the time is over. The question is one message, made
/// from the time of its first sending.
///
/// # Errors
/// The host refuses a socket or memory.
pub(super) fn ask(
    cluster: &Cluster,
    operator: Identity,
    timeout: Duration,
    question: impl FnOnce(u64, &mut Vec<u8>),
    mut take: impl FnMut(&AuthenticatedPacket<'_>) -> bool,
) -> Result<(), ProcessError> {
    let own = Principal::Client(ClientId(cluster.operator_index() as u16));
    let opened = open_network(cluster, own, operator, Transport::Mmsg, FanOut::Unicast, DatagramCounters::private())?;
    let (mut network, mut outbox) = (opened.network, Outbox::new(opened.pool, cluster.datagram_bytes_max));
    let everybody = Audience::Replicas(ReplicaSet::first(cluster.replica_count()));
    let clock = Clock::start();
    let mut message = Vec::new();
    question(clock.now().wall_ns, &mut message);
    let mut idler = Idler::new(Idle::Park);
    let (mut ask_at_ns, mut established, deadline_ns) = (u64::MAX, 0, timeout.as_nanos() as u64);
    let mut enough = false;
    while !enough {
        let now = clock.now();
        if now.monotonic_ns >= deadline_ns {
            break;
        }
        network.receive(now.monotonic_ns, |incoming| {
            if let Incoming::Packet(packet) = incoming {
                enough |= take(packet);
            }
        });
        if network.replicas_established() > established {
            established = network.replicas_established();
            ask_at_ns = now.monotonic_ns;
        }
        if ask_at_ns <= now.monotonic_ns {
            ask_at_ns = now.monotonic_ns + SURVEY_RENEW_NS;
            outbox.add_alone(everybody, &message);
            outbox.drain_into(&mut network);
        }
        network.on_duty_end(now.monotonic_ns)?;
        let next_ns = ask_at_ns.min(network.deadline_ns()).min(deadline_ns);
        if let Pause::Sleep(timeout) = idler.pause(now.monotonic_ns, next_ns) {
            network.wait(timeout)?;
        }
    }
    Ok(())
}
