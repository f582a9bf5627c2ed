//! The driver: the host's agent between its applications and the replicas.
//!
//! *For*: making requests of the operations of all applications on a host, and giving each application its results and the entries it
//! subscribed to. *Enters*: sessions over shared memory, whose every byte may be garbage, and packets of replicas. *Never*: a decision about
//! the order, a vote, or trust in an application. It is never part of a replica, since a faulty replica must not count its own
//! clients' votes (`protocol.md DR-1`).
//!
//! ```text
//!   application ⇄ session ⇄ ┐                  ┌ requests (numbering, replies, retransmission)
//!   application ⇄ session ⇄ ┼ batch ⇄ driver ⇄ ┼ queries (answered without being ordered) ⇄ network ⇄ replicas
//!   subscriber  ⇄ session ⇄ ┘                  ├ followers (subscriptions)
//!                                              └ surveys (bounds of the log)
//! ```

mod batch;
mod look;
mod session;

use crate::authentication::{AuthenticatedPacket, Incoming, RequestSigner};
use crate::client::{Client, ClientConfig, ClientFault, Finished, Queries, Survey};
use crate::cluster::{Arrangement, Cluster, DriverLocal};
use crate::limits::{BODIES_BYTES_MAX, LARGE_BYTES_IN_FLIGHT, SURVEY_PATIENCE_NS, SURVEY_RENEW_NS};
use crate::numbers::{ClientId, Incarnation, Principal, ReplicaSet};
use crate::pipeline::{Clock, Idler, Network, NetworkCounters, Outbox, Pause, ProcessError, StartReport, open_network};
use crate::replica::Now;
use crate::service::{ResultsView, ServiceKind};
use crate::wire::operation::{OPERATION_HEADER_BYTES, Operations};
use crate::wire::parts::reply_piece_bytes;
use crate::wire::request::SIGNED_REQUEST_OVERHEAD_BYTES;
use crate::wire::{Audience, Message};
use batch::Batch;
use logothete_client::record::{
    Eviction, Facts, ServiceKind as ServiceFact, entry_footprint_bytes, message_footprint_bytes,
};
use logothete_crypto::Identity;
use logothete_transport::session::{Geometry, Listener, ListenerConfig, SessionError};
use logothete_transport::{cores, counter_set};
use look::Look;
use session::{Session, SessionContext, Sinks};
use std::sync::atomic::{AtomicBool, Ordering};

/// Why a driver cannot run, or go on.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The host refused something.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Applications cannot be served.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The replicas no longer take this client's requests.
    #[error(transparent)]
    Client(#[from] ClientFault),
}

/// Runs the driver of one client identity until `stop`. `announce` is called once, when applications can connect.
///
/// # Errors
/// The host refuses what the driver needs, another driver serves the same socket, or another process uses the same client key.
pub fn run_driver(
    cluster: &Cluster,
    local: &DriverLocal,
    client: ClientId,
    identity: Identity,
    stop: &AtomicBool,
    announce: &mut dyn FnMut(&StartReport),
) -> Result<(), DriverError> {
    let own = Principal::Client(client);
    let (mut counters, datagrams) = NetworkCounters::create(&local.data_directory).map_err(ProcessError::from)?;
    let signer = RequestSigner::new(Identity::from_secret_bytes(*identity.secret_bytes()), cluster.digest());
    let mut opened = open_network(cluster, own, identity, local.transport, local.fan_out, datagrams)?;
    let clock = Clock::start();
    let now = clock.now();
    let replicas = cluster.replica_count();
    let listener = Listener::bind(&local.session, listening(cluster, now))?;
    opened.network.register_waker(listener.waker_fd()).map_err(ProcessError::from)?;
    if let Some(core) = local.cores.first() {
        cores::pin_current_thread(usize::from(*core)).map_err(ProcessError::from)?;
    }
    opened.report.arrangement = Arrangement::Shared;
    opened.report.arrangement_reason = "a driver has one thread".to_owned();
    announce(&opened.report);
    let operations_bytes_max = cluster.request_packet_bytes_max() - SIGNED_REQUEST_OVERHEAD_BYTES;
    let reply_piece_bytes = reply_piece_bytes(cluster.datagram_bytes_max);
    let result_bytes = if cluster.service == ServiceKind::Null { cluster.null_reply_bytes } else { 0 };
    let client_config = ClientConfig {
        id: client,
        replicas,
        quorum_weak: cluster.quorum().weak(),
        quorum: cluster.quorum().strong(),
        reads: cluster.service.reads(),
        window: cluster.client_window as u64,
        incarnation: Incarnation(now.wall_ns.max(1)),
        request_packet_bytes_max: cluster.request_packet_bytes_max(),
        request_piece_bytes: cluster.part_shape().piece_bytes,
        large_bytes_max: LARGE_BYTES_IN_FLIGHT.min(BODIES_BYTES_MAX / 2 / cluster.clients.len()),
        reply_piece_bytes,
        reply_bytes_max: cluster.reply_bytes_max(),
    };
    let mut driver = Driver {
        client: Client::new(client_config, signer),
        queries: Queries::new(
            replicas,
            cluster.quorum().weak(),
            cluster.quorum().strong(),
            now.wall_ns,
            reply_piece_bytes,
            cluster.result_bytes_max(),
        ),
        batch: Batch::new(operations_bytes_max, cluster.reply_packet_bytes_max(), result_bytes),
        sessions: Sessions { open: Vec::new(), poll_first: 0, acknowledged_end: 0 },
        context: SessionContext {
            quorum: cluster.quorum(),
            service: cluster.service,
            operation_bytes_max: cluster.command_bytes_max(),
            query_bytes_max: operations_bytes_max - OPERATION_HEADER_BYTES,
            message_bytes_max: cluster.request_bytes_max(),
        },
        bounds: None,
        everybody: Audience::Replicas(ReplicaSet::first(replicas)),
        stream_next: 0,
        listener,
        look: Look::default(),
        message: Vec::new(),
        gauges: counters.add("driver").map_err(ProcessError::from)?,
        counters,
    };
    let (network, outbox) = (opened.network, Outbox::new(opened.pool, cluster.datagram_bytes_max));
    driver.run(network, outbox, clock, Idler::new(local.idle), stop)
}

/// The smallest rings, whatever size an application asks for: the longest result and the longest entry always fit. A request that fits no
/// ring is refused to the application at once, so that ring may be smaller (`protocol.md LR-7`).
fn geometry_min(cluster: &Cluster) -> Geometry {
    let least = (4 * cluster.datagram_bytes_max).next_power_of_two();
    Geometry {
        requests_bytes: least,
        responses_bytes: message_footprint_bytes(cluster.result_bytes_max()).next_power_of_two().max(least),
        subscription_bytes: entry_footprint_bytes(cluster.operation_bytes_max).next_power_of_two().max(least),
    }
}

/// The rings of an application that asks for no size: for operations of any size.
fn geometry(cluster: &Cluster) -> Geometry {
    let (usual, least) = (ListenerConfig::default().geometry, geometry_min(cluster));
    let longest = message_footprint_bytes(cluster.command_bytes_max()).next_power_of_two();
    Geometry {
        requests_bytes: usual.requests_bytes.max(least.requests_bytes).max(longest),
        responses_bytes: usual.responses_bytes.max(least.responses_bytes),
        subscription_bytes: usual.subscription_bytes.max(least.subscription_bytes),
    }
}

counter_set! {
    /// How a driver gets on.
    struct DriverGauges {
        /// Applications connected.
        sessions: sessions,
        /// Operations taken from applications.
        operations: operations,
        /// Operations under way.
        operations_in_flight: operations,
        /// Requests sent again for want of replies.
        requests_retransmitted: requests,
        /// Refusals by replicas that had no room.
        overloaded: refusals,
        /// 1 where requests are signed, since replicas take no others of this client.
        signs: flag,
        /// Queries that a quorum answered alike at once.
        queries_answered: queries,
        /// Queries that were ordered, since no quorum answered them alike in time.
        queries_ordered: queries,
        /// The view that the replicas are in, as their replies tell.
        view: views,
    }
}

/// A survey for applications that asked how far the log reaches.
struct BoundsSurvey {
    survey: Survey,
    begun_ns: u64,
    ask_at_ns: u64,
}

struct Sessions {
    open: Vec<Session>,
    /// Whose turn it is to be asked first.
    poll_first: usize,
    /// Of the ordered log: the position after the last that an application was told of.
    acknowledged_end: u64,
}

impl Sessions {
    /// The session of a number; they are in ascending order, since numbers count up.
    fn find(&mut self, id: u64) -> Option<&mut Session> {
        let at = self.open.binary_search_by_key(&id, Session::id).ok()?;
        Some(&mut self.open[at])
    }

    /// Gives each operation's result to its session.
    fn complete(&mut self, operations: Operations<'_>, results: &[u8], log: bool, batch: &mut Batch) {
        // `f+1` replicas said this, so a correct one did: it has one result an operation.
        let Ok(results) = ResultsView::parse(results, operations.count()) else { return };
        if log && let Some(position) = results.iter().last().and_then(|last| last.first_chunk()) {
            self.acknowledged_end = self.acknowledged_end.max(u64::from_le_bytes(*position) + 1);
        }
        let mut operations = operations.iter().zip(results.iter()).peekable();
        while let Some((first, _)) = operations.peek() {
            let id = first.session;
            let mut session = self.find(id);
            while let Some((operation, result)) = operations.next_if(|(operation, _)| operation.session == id) {
                batch.expect_results(result.len());
                if let Some(session) = &mut session {
                    session.complete(operation.number, result);
                }
            }
        }
    }

    /// Gives a query's answer to its session.
    fn finish(&mut self, finished: &Finished<'_>) {
        if let Some(session) = self.find(finished.session) {
            session.finish(finished.number, finished.result);
        }
    }
}

/// How a driver that starts now listens.
fn listening(cluster: &Cluster, now: Now) -> ListenerConfig {
    let facts = Facts {
        service: match cluster.service {
            ServiceKind::Log => ServiceFact::Log,
            ServiceKind::KeyValue => ServiceFact::KeyValue,
            ServiceKind::Null => ServiceFact::Null,
        },
        operation_bytes_max: cluster.command_bytes_max() as u32,
        result_bytes_max: cluster.result_bytes_max() as u32,
    };
    ListenerConfig {
        // Session numbers of one start never meet those of another (`protocol.md DR-5`): they count up from the time of
        // the start.
        session_first: now.wall_ns,
        facts: facts.encode(),
        geometry: geometry(cluster),
        bytes_min: geometry_min(cluster),
        ..ListenerConfig::default()
    }
}

struct Driver {
    client: Client,
    queries: Queries,
    batch: Batch,
    sessions: Sessions,
    context: SessionContext,
    bounds: Option<BoundsSurvey>,
    everybody: Audience,
    stream_next: u32,
    listener: Listener,
    look: Look,
    message: Vec<u8>,
    gauges: DriverGauges,
    counters: NetworkCounters,
}

impl Driver {
    fn run(
        &mut self,
        mut network: Network,
        mut outbox: Outbox,
        clock: Clock,
        mut idler: Idler,
        stop: &AtomicBool,
    ) -> Result<(), DriverError> {
        while !stop.load(Ordering::Relaxed) {
            let now = clock.now();
            let mut fault = None;
            let received = network.receive(now.monotonic_ns, |incoming| {
                if let Incoming::Packet(packet) = incoming
                    && let Err(found) = self.on_packet(now, packet)
                {
                    fault = Some(found);
                }
            });
            if let Some(fault) = fault {
                return Err(fault.into());
            }
            if self.look.is_due(now.monotonic_ns) {
                self.look_for_sessions();
                self.look.looked(now.monotonic_ns, clock.now().monotonic_ns);
            }
            let taken = self.take_operations(now, &mut outbox);
            self.do_due(now, &mut outbox);
            outbox.drain_into(&mut network);
            network.on_duty_end(now.monotonic_ns).map_err(ProcessError::from)?;
            for session in &mut self.sessions.open {
                session.publish();
            }
            self.counters.publish(now.monotonic_ns, &network);
            self.gauges.operations.add(taken as u64);
            if received + taken > 0 {
                self.counters.worked(now.monotonic_ns, clock.now().monotonic_ns);
                idler.worked();
            } else if let Pause::Sleep(timeout) =
                idler.pause(now.monotonic_ns, self.deadline_ns().min(network.deadline_ns()))
            {
                let may_sleep = self.sessions.open.iter_mut().all(Session::prepare_sleep);
                if may_sleep {
                    network.wait(timeout).map_err(ProcessError::from)?;
                    self.look.hasten();
                }
                self.sessions.open.iter_mut().for_each(Session::cancel_sleep);
            }
        }
        self.sessions.open.drain(..).for_each(|session| session.evict(Eviction::Stopping));
        Ok(())
    }

    fn on_packet(&mut self, now: Now, packet: &AuthenticatedPacket<'_>) -> Result<(), ClientFault> {
        let Principal::Replica(from) = packet.sender() else { return Ok(()) };
        let (sessions, batch, log) = (&mut self.sessions, &mut self.batch, self.context.is_log());
        self.client.on_packet(now, packet, |operations, results| sessions.complete(operations, results, log, batch))?;
        self.queries.on_packet(now, packet, |finished| sessions.finish(&finished));
        if let Some(bounds) = &mut self.bounds {
            bounds.survey.on_packet(packet);
        }
        if self.sessions.open.iter().any(Session::follows) {
            for (message, _) in packet.messages().flatten() {
                if matches!(message, Message::Runs(_) | Message::RunPart(_) | Message::ChainAnswer(_)) {
                    for session in &mut self.sessions.open {
                        session.on_log_message(now.monotonic_ns, from, &message);
                    }
                }
            }
        }
        Ok(())
    }

    /// Takes in new sessions, and lets go of those whose application left.
    fn look_for_sessions(&mut self) {
        while let Some(session) = self.listener.accept() {
            self.sessions.open.push(Session::new(session));
        }
        self.sessions.open.retain(Session::is_alive);
        self.gauges.sessions.set(self.sessions.open.len() as u64);
        self.gauges.operations_in_flight.set(self.client.operations_in_flight() as u64);
        self.gauges.requests_retransmitted.set(self.client.retransmitted());
        self.gauges.overloaded.set(self.client.overloaded());
        self.gauges.signs.set(u64::from(self.client.signs()));
        self.gauges.queries_answered.set(self.queries.answered());
        self.gauges.queries_ordered.set(self.queries.ordered());
        self.gauges.view.set(self.client.view().0);
    }

    /// Moves operations from the sessions' rings into requests, as many as the window and the batching rule allow. Returns how many.
    fn take_operations(&mut self, now: Now, outbox: &mut Outbox) -> usize {
        let mut taken = 0;
        loop {
            let before = self.batch.operations().count();
            self.order_queries();
            taken += self.fill_batch();
            taken += self.batch.operations().count() - before;
            let due = self.batch.is_due(self.client.operations_in_flight());
            if !due || !self.client.may_submit_bytes(self.batch.operations().bytes().len()) {
                let everybody = self.everybody;
                self.queries.send(now, |query| outbox.add(everybody, query));
                return taken;
            }
            let everybody = self.everybody;
            self.client.submit(now, self.batch.operations(), |request| outbox.add_alone(everybody, request));
            self.batch.clear();
        }
    }

    /// Puts queries that no quorum answered in time into the next request (`protocol.md RD-4`).
    fn order_queries(&mut self) {
        if self.queries.has_to_order() {
            // Its result needs the room in the reply that a query's needs.
            self.batch.expect_results(self.queries.result_bytes_max());
            let batch = &mut self.batch;
            self.queries.order(|session, number, operation| batch.add(session, number, operation));
        }
    }

    /// Each session in turn adds what it has; the first turn goes round. Returns how many queries they had.
    fn fill_batch(&mut self) -> usize {
        let count = self.sessions.open.len();
        let asked = self.queries.asked();
        let mut broken = false;
        for step in 0..count {
            if self.batch.is_full() {
                break;
            }
            let at = (self.sessions.poll_first + step) % count;
            let sinks =
                Sinks { batch: &mut self.batch, queries: &mut self.queries, stream_next: &mut self.stream_next };
            broken |= !self.sessions.open[at].take_requests(&self.context, sinks);
        }
        if count > 0 {
            self.sessions.poll_first = (self.sessions.poll_first + 1) % count;
        }
        if broken {
            self.evict_broken();
        }
        (self.queries.asked() - asked) as usize
    }

    fn evict_broken(&mut self) {
        for at in (0..self.sessions.open.len()).rev() {
            if self.sessions.open[at].is_broken() {
                self.sessions.open.remove(at).evict(Eviction::Malformed);
            }
        }
    }

    /// Retransmissions, subscriptions, surveys.
    fn do_due(&mut self, now: Now, outbox: &mut Outbox) {
        let everybody = self.everybody;
        if self.client.deadline_ns() <= now.monotonic_ns {
            self.client.on_due(now, |request| outbox.add_alone(everybody, request));
        }
        self.queries.on_due(now);
        for session in &mut self.sessions.open {
            session.deliver();
            session.on_due(now.monotonic_ns, &mut self.message, outbox);
        }
        if self.bounds.is_none() && self.sessions.open.iter().any(Session::wants_bounds) {
            let survey = Survey::new(now.wall_ns, self.context.quorum.replicas());
            self.bounds = Some(BoundsSurvey { survey, begun_ns: now.monotonic_ns, ask_at_ns: now.monotonic_ns });
            self.sessions.open.iter_mut().for_each(Session::bounds_asked);
        }
        let Some(bounds) = &mut self.bounds else { return };
        let (count, waited_ns) = (bounds.survey.count(), now.monotonic_ns - bounds.begun_ns);
        // All replicas where they answer at once, else a quorum. A quorum may miss what only f+1 replicas have executed yet; what this
        // driver has acknowledged is known here.
        let enough = count == self.context.quorum.replicas()
            || (count >= self.context.quorum.strong() && waited_ns >= SURVEY_PATIENCE_NS);
        if enough && let Some((oldest, end)) = bounds.survey.log_bounds(self.context.quorum.weak()) {
            let end = end.max(self.sessions.acknowledged_end);
            self.sessions.open.iter_mut().for_each(|session| session.answer_bounds(oldest, end));
            self.bounds = None;
        } else if bounds.ask_at_ns <= now.monotonic_ns {
            bounds.ask_at_ns = now.monotonic_ns + SURVEY_RENEW_NS;
            self.message.clear();
            bounds.survey.append_question(&mut self.message);
            outbox.add(everybody, &self.message);
        }
    }

    fn deadline_ns(&self) -> u64 {
        let bounds = self.bounds.as_ref().map_or(u64::MAX, |bounds| {
            let patience_ns = bounds.begun_ns + SURVEY_PATIENCE_NS;
            let may_do = bounds.survey.count() >= self.context.quorum.strong();
            bounds.ask_at_ns.min(if may_do { patience_ns } else { u64::MAX })
        });
        let sessions = self.sessions.open.iter().map(Session::deadline_ns).min().unwrap_or(u64::MAX);
        bounds.min(sessions).min(self.client.deadline_ns()).min(self.queries.deadline_ns())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::init::{Plan, generate};
    use logothete_transport::session::{ClientSession, ConnectOptions};
    use std::time::{Duration, Instant};

    /// Ends a wait of this test; it measures nothing.
    const LIMIT: Duration = Duration::from_secs(20);

    /// `protocol.md DR-5`
    #[test]
    fn two_starts_of_a_driver_share_no_session_number() {
        let plan = Plan { port_base: Some(7400), ..Plan::default() };
        let cluster = generate(&plan, &mut logothete_crypto::os_entropy).unwrap().cluster;
        let folder = tempfile::tempdir().unwrap();
        let sessions = |wall_ns| {
            let path = folder.path().join(format!("session-{wall_ns}"));
            let mut listener = Listener::bind(&path, listening(&cluster, Now { monotonic_ns: 5, wall_ns })).unwrap();
            [(); 2].map(|()| {
                let path = path.clone();
                let client = std::thread::spawn(move || ClientSession::connect(path, &ConnectOptions::default()));
                let until = Instant::now() + LIMIT;
                loop {
                    if let Some(session) = listener.accept() {
                        client.join().unwrap().unwrap();
                        return session.id();
                    }
                    assert!(Instant::now() < until, "the application never came");
                    listener.wait(Duration::from_millis(20));
                }
            })
        };
        assert_eq!(sessions(1_700_000_000), [1_700_000_000, 1_700_000_001]);
        assert_eq!(sessions(1_700_000_002), [1_700_000_002, 1_700_000_003]);
    }
}
