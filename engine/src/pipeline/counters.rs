//! What a process shows of itself while it runs: one counters file, read by whoever may read its data directory (`logothete status --counters`).
//!
//! Datagrams are counted where they pass. Everything else is copied here now and then, off the hot path.

use super::network::Network;
use crate::authentication::Refused;
use crate::numbers::ReplicaId;
use crate::replica::{Now, Progress, Reject, Replica};
use logothete_transport::HostError;
use logothete_transport::counter_set;
use logothete_transport::counters::{Counter, CounterSet, CountersFile, Description};
use logothete_transport::datagram::DatagramCounters;
use std::path::{Path, PathBuf};

/// How often the copies are made.
const PUBLISH_NS: u64 = 20_000_000;

/// The file's name in a data directory.
const FILE: &str = "counters";

counter_set! {
    /// How busy a thread is.
    pub struct DutyCounters {
        /// Duty cycles that found something to do.
        cycles_busy: cycles,
        /// Time spent in them.
        busy: ns,
        /// The longest of them.
        cycle_max: ns,
    }
}

counter_set! {
    /// What could not be sent.
    pub struct UnsentGauges {
        /// Times that no frame was free: for sending, a lost packet; for receiving, a datagram that waits.
        frames_exhausted: times,
        /// Packets for a client that was never heard from.
        client_unknown: packets,
    }
}

counter_set! {
    /// Session keys, and the way of packets for all.
    pub struct LinkGauges {
        /// The generation of this process's key since its start.
        key_generation: generations,
        /// Announcements of peers' keys taken in.
        announcements_accepted: announcements,
        /// Announcements refused: forged, repeated, for somebody else.
        announcements_refused: announcements,
        /// Announcements dropped because too many came.
        announcements_unchecked: announcements,
        /// 1 while packets for all replicas go out by multicast.
        multicast: flag,
    }
}

counter_set! {
    /// Contradictions of other replicas, written to evidence.log.
    pub struct EvidenceCounters {
        /// Lines written since the start.
        written: lines,
        /// Lines lost: the file is full, or the host refused to write.
        lost: lines,
    }
}

impl EvidenceCounters {
    /// Counts what became of a line.
    pub(super) fn count(&self, written: bool) {
        if written { self.written.add(1) } else { self.lost.add(1) }
    }
}

counter_set! {
    /// How a replica gets on.
    pub struct ReplicaGauges {
        /// The view that it is in.
        view: views,
        /// 1 if it is the view's primary.
        primary: flag,
        /// The last batch executed.
        executed: batches,
        /// The last stable checkpoint.
        checkpoint_stable: batches,
        /// 0 normal, 1 stalled, 2 fallen behind.
        progress: code,
        /// Replicas heard from in the last second, itself included.
        peers_reachable: replicas,
        /// Clients that it disputed since its start: their tags are good for others only.
        disputes_sent: clients,
        /// Disputes of other replicas that it took.
        disputes_received: disputes,
        /// Clients whose requests must be signed.
        clients_demoted: clients,
        /// Memory of the requests that it keeps, those of which parts are missing included.
        requests_held: bytes,
    }
}

/// A gauge for each reason of a list, in the list's order.
macro_rules! gauges_of {
    ($(#[$doc:meta])* $set:ident of $reason:ident in $unit:literal) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub struct $set(Vec<Counter>);

        impl $set {
            const ALL: [Description; $reason::ALL.len()] = {
                let mut all = [Description { label: "", unit: $unit, docs: "" }; $reason::ALL.len()];
                let mut index = 0;
                while index < all.len() {
                    all[index].label = $reason::ALL[index].label();
                    all[index].docs = $reason::ALL[index].docs();
                    index += 1;
                }
                all
            };

            fn publish(&self, count: impl Fn($reason) -> u64) {
                for (gauge, reason) in self.0.iter().zip($reason::ALL) {
                    gauge.set(count(*reason));
                }
            }
        }

        impl CounterSet for $set {
            const DESCRIPTIONS: &'static [Description] = &Self::ALL;

            fn from_counters(next: &mut dyn FnMut() -> Counter) -> Self {
                Self(Self::DESCRIPTIONS.iter().map(|_| next()).collect())
            }
        }
    };
}

gauges_of! {
    /// Datagrams that the verifier refused, by reason.
    RefusedGauges of Refused in "datagrams"
}

gauges_of! {
    /// Messages that the replica rejected, by reason.
    RejectGauges of Reject in "messages"
}

/// The counters of the network's thread, and the file.
pub struct NetworkCounters {
    file: CountersFile,
    duty: DutyCounters,
    refused: RefusedGauges,
    unsent: UnsentGauges,
    link: LinkGauges,
    published_ns: u64,
}

impl NetworkCounters {
    /// Opens the file in a data directory, which is made if it is missing. Also gives the counters that the endpoint counts in.
    ///
    /// # Errors
    /// The directory cannot be written, or another process uses it.
    pub fn create(data_directory: &Path) -> Result<(Self, DatagramCounters), HostError> {
        std::fs::create_dir_all(data_directory)
            .map_err(|error| HostError::from_io("mkdir", &error, data_directory.display().to_string()))?;
        let mut file = CountersFile::create(&counters_path(data_directory))?;
        let datagrams = file.add("datagrams")?;
        let (duty, refused, unsent) = (file.add("network")?, file.add("refused")?, file.add("unsent")?);
        let link = file.add("link")?;
        Ok((Self { file, duty, refused, unsent, link, published_ns: 0 }, datagrams))
    }

    /// A place for another set of the same process.
    ///
    /// # Errors
    /// The file is full.
    pub fn add<S: CounterSet>(&mut self, name: &str) -> Result<S, HostError> {
        self.file.add(name)
    }

    /// A duty cycle that found something to do is over.
    pub fn worked(&self, started_ns: u64, ended_ns: u64) {
        self.duty.worked(started_ns, ended_ns);
    }

    /// Copies what is due.
    pub fn publish(&mut self, now_ns: u64, network: &Network) {
        if now_ns.saturating_sub(self.published_ns) >= PUBLISH_NS {
            self.published_ns = now_ns;
            self.file.heartbeat();
            self.refused.publish(|reason| network.refused().of(reason));
            self.unsent.frames_exhausted.set(network.frames_exhausted());
            self.unsent.client_unknown.set(network.unsendable());
            let announcements = network.announcements();
            self.link.key_generation.set(u64::from(network.key_generation()));
            self.link.announcements_accepted.set(announcements.accepted);
            self.link.announcements_refused.set(announcements.refused);
            self.link.announcements_unchecked.set(announcements.unchecked);
            self.link.multicast.set(u64::from(network.multicasts()));
        }
    }
}

impl DutyCounters {
    /// A duty cycle that found something to do is over.
    pub fn worked(&self, started_ns: u64, ended_ns: u64) {
        let took_ns = ended_ns.saturating_sub(started_ns);
        self.cycles_busy.add(1);
        self.busy.add(took_ns);
        self.cycle_max.raise(took_ns);
    }
}

/// The counters of a replica's ordering agents.
#[derive(Debug)]
pub struct OrdererCounters {
    gauges: ReplicaGauges,
    rejects: RejectGauges,
    /// The same of each replica alone.
    rejects_of: Vec<RejectGauges>,
    published_ns: u64,
}

impl OrdererCounters {
    /// In a process's file, for one of so many replicas.
    ///
    /// # Errors
    /// The file is full.
    pub fn create(process: &mut NetworkCounters, replicas: usize) -> Result<Self, HostError> {
        let (gauges, rejects) = (process.add("replica")?, process.add("rejects")?);
        let rejects_of = (0..replicas).map(|id| process.add(&format!("rejects of {id}"))).collect::<Result<_, _>>()?;
        Ok(Self { gauges, rejects, rejects_of, published_ns: 0 })
    }

    /// In private memory, for a replica that is no process.
    pub fn private() -> Self {
        let (gauges, rejects) = (ReplicaGauges::private(), RejectGauges::private());
        Self { gauges, rejects, rejects_of: Vec::new(), published_ns: 0 }
    }

    /// Copies what is due.
    pub fn publish(&mut self, now: Now, replica: &Replica) {
        if now.monotonic_ns.saturating_sub(self.published_ns) < PUBLISH_NS {
            return;
        }
        self.published_ns = now.monotonic_ns;
        self.gauges.view.set(replica.view().0);
        self.gauges.primary.set(u64::from(replica.is_primary()));
        self.gauges.executed.set(replica.executed().0);
        self.gauges.checkpoint_stable.set(replica.stable().0);
        self.gauges.progress.set(replica.progress(now) as Progress as u64);
        self.gauges.peers_reachable.set(replica.peers_reachable(now).count() as u64);
        self.gauges.disputes_sent.set(replica.dispute_counts().sent);
        self.gauges.disputes_received.set(replica.dispute_counts().received);
        self.gauges.clients_demoted.set(replica.demoted_clients().count() as u64);
        self.gauges.requests_held.set(replica.requests_held_bytes() as u64);
        self.rejects.publish(|reason| replica.rejects().of(reason));
        for (id, rejects) in self.rejects_of.iter().enumerate() {
            let of_replica = replica.rejects_by_sender().of_replica(ReplicaId(id as u8));
            rejects.publish(|reason| of_replica.of(reason));
        }
    }
}

/// Where a process with this data directory keeps its counters.
pub fn counters_path(data_directory: &Path) -> PathBuf {
    data_directory.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::REPLICAS_MAX;
    use logothete_transport::counters::Counters;

    #[test]
    fn every_reason_has_a_counter_of_its_own_name() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("replica-0");
        let (mut process, datagrams) = NetworkCounters::create(&data).unwrap();
        // Of the largest cluster.
        let _orderer = OrdererCounters::create(&mut process, REPLICAS_MAX).unwrap();
        datagrams.sent.add(3);
        process.worked(10, 25);
        process.worked(30, 35);
        let counters = Counters::open(&counters_path(&data)).unwrap();
        let value = |set: &str, label: &str| {
            let mut found = counters.readings().filter(|reading| reading.set == set && reading.label == label);
            let value = found.next().unwrap_or_else(|| panic!("no {set} {label}")).value;
            assert!(found.next().is_none());
            value
        };
        assert_eq!(value("datagrams", "sent"), 3);
        assert_eq!((value("network", "busy"), value("network", "cycle_max")), (20, 15));
        Refused::ALL.iter().for_each(|reason| assert_eq!(value("refused", reason.label()), 0));
        Reject::ALL.iter().for_each(|reason| assert_eq!(value("rejects", reason.label()), 0));
        // `protocol.md EV-4`
        Reject::ALL.iter().for_each(|reason| assert_eq!(value("rejects of 15", reason.label()), 0));
        assert!(NetworkCounters::create(&data).is_err(), "one process a data directory");
    }
}
