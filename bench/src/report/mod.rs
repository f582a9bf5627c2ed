//! The report of a run: one JSON object, its acceptance check, and a table for a terminal.
//!
//! What may enter: figures that a run measured, under names that stay. What must never: measuring itself, and advice.
//! The names of the JSON fields are a contract with everybody who reads such files: fields are added, never renamed.

mod table;

pub use table::{count, size, time};

use logothete_engine::replica::Quorum;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::latency::LatencySummary;
use crate::load::{Failure, LoadResult, Pace};
use crate::processes::ProcessReport;

/// What was run, and what the cluster said about itself at the end. The names are those of the JSON fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunFacts {
    /// Replicas in the cluster; 1 for the unreplicated service.
    pub replicas: u32,
    /// Byzantine replicas that the cluster tolerates.
    pub faults_tolerated: u32,
    /// Replicas that take part in the agreement.
    pub active_replicas: u32,
    /// Bytes of an operation.
    pub payload_bytes: u64,
    /// Bytes of a result.
    pub reply_bytes: u64,
    /// Sessions of the load.
    pub sessions: u32,
    /// Operations in flight a session.
    pub outstanding: u32,
    /// `log`, `kv` or `null`.
    pub service: String,
    /// The percentage of reads; absent where the service answers none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_percent: Option<u32>,
    /// `sync`, `async` or `off`.
    pub journal: String,
    /// The datagram back-end in use.
    pub transport: String,
    /// `multicast` or `unicast`.
    pub fan_out: String,
    /// How the stages lie on threads.
    pub arrangement: String,
    /// One server without a protocol.
    pub unreplicated: bool,
    /// The null protocol: PBFT's datagrams and nothing else.
    pub null_protocol: bool,
    /// Datagrams sent by all processes of the run while operations were measured.
    pub datagrams_sent: u64,
    /// View changes since the start, the highest that a replica reports.
    pub view_changes: u64,
    /// Replicas that could be asked at the end.
    pub replicas_reported: u32,
    /// Whether they had the same state at the same sequence number; see [`orders_agree`].
    pub orders_agree: bool,
    /// Whether the recorded history is one that a single copy of the service could have produced; absent where that was not checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linearizable: Option<bool>,
}

/// Reads and writes apart, where the service answers reads. The names are those of the JSON fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mix {
    /// Measured reads that were answered well.
    pub reads_acknowledged: u64,
    /// Those that a quorum answered alike at once.
    pub reads_one_round_trip: u64,
    /// Those that had to be ordered, like a write.
    pub reads_ordered: u64,
    /// Of the reads alone, as [`Report::latency_ns`] of all.
    pub read_latency_ns: LatencySummary,
    /// Of the writes alone.
    pub write_latency_ns: LatencySummary,
}

impl Mix {
    fn of(load: &LoadResult) -> Self {
        let reads = &load.reads;
        Self {
            reads_acknowledged: reads.latencies.count(),
            reads_one_round_trip: reads.one_round_trip,
            reads_ordered: reads.latencies.count() - reads.one_round_trip,
            read_latency_ns: reads.latencies.summary(),
            write_latency_ns: load.latencies.without(&reads.latencies).summary(),
        }
    }
}

/// How many operations failed in one way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailureCount {
    /// The kind.
    pub failure: Failure,
    /// How many.
    pub operations: u64,
}

/// The report of one run. Times in nanoseconds, sizes in bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Measured operations that were answered well.
    pub operations_acknowledged: u64,
    /// Measured operations that failed.
    pub operations_failed: u64,
    /// The same by kind; empty when none failed.
    pub failures: Vec<FailureCount>,
    /// Failures while warming up.
    pub warmup_operations_failed: u64,
    /// Length of the measured time.
    pub duration_ns: u64,
    /// Good answers a second.
    pub throughput_ops_per_s: f64,
    /// The longest time without any good answer.
    pub acknowledgement_gap_max_ns: u64,
    /// From sending (in an open loop: from when it was due) to the answer.
    pub latency_ns: LatencySummary,
    /// Reads and writes apart; absent where the service answers no reads.
    #[serde(flatten, default, skip_serializing_if = "Option::is_none")]
    pub mix: Option<Mix>,
    /// The open loop's operations a second; absent in a closed loop.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_ops_per_s: Option<f64>,
    /// Good answers in every second of the measured time, scaled to whole seconds.
    pub throughput_per_s: Vec<f64>,
    /// What was run.
    #[serde(flatten)]
    pub facts: RunFacts,
    /// Datagrams for each measured operation.
    pub datagrams_per_operation: f64,
    /// User and system time of all processes since their start.
    pub cpu_seconds: f64,
    /// The part of it that fell into the time when they were watched.
    pub cpu_seconds_watched: f64,
    /// The most memory that any replica had resident.
    pub peak_rss_bytes: u64,
    /// Resident memory of the largest replica, second by second.
    pub rss_bytes_per_s: Vec<u64>,
    /// The same of each replica by itself.
    pub rss_bytes_per_s_by_replica: Vec<Vec<u64>>,
    /// The version that was measured.
    pub version: String,
}

/// Why a run does not count as a success.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ReportFault {
    /// Replicas differ, or too few could be asked.
    #[error(
        "the order is not confirmed: {reported} of {replicas} replicas reported ({quorum} are needed), or their states \
         differ at the same sequence number; compare `logothete status`"
    )]
    Order {
        /// Replicas that were asked with success.
        reported: u32,
        /// Replicas there are.
        replicas: u32,
        /// How many have to agree.
        quorum: u32,
    },
    /// Some operations failed.
    #[error("{failed} operations failed: {kinds}")]
    Failed {
        /// How many.
        failed: u64,
        /// Which kinds, with their numbers.
        kinds: String,
    },
    /// The recorded history is not linearizable.
    #[error("the recorded history is not linearizable: some read or write saw what no single copy would have shown")]
    History,
    /// Nothing was acknowledged.
    #[error("no operation was acknowledged; look at the standard error of the replicas and the driver")]
    Nothing,
}

/// Replicas that must report and agree: `2f+1`, so that the correct ones among them are a majority of all correct ones.
fn quorum(faults_tolerated: u32) -> u32 {
    Quorum::bearing(faults_tolerated as usize).strong() as u32
}

/// Whether the replicas that reported agree: at least `2f+1` of them, all with the same state at the same sequence
/// number. A report is the last executed sequence number and the digest of the state after it.
pub fn orders_agree<D: PartialEq>(reported: &[(u64, D)], faults_tolerated: u32) -> bool {
    reported.len() >= quorum(faults_tolerated) as usize && reported.windows(2).all(|pair| pair[0] == pair[1])
}

impl Report {
    /// Puts a report together. `pace` is the one that the load ran with.
    pub fn new(load: &LoadResult, pace: Pace, processes: &ProcessReport, facts: RunFacts) -> Report {
        let failures = load.failures.iter();
        let measured = load.acknowledged.max(1) as f64;
        Report {
            operations_acknowledged: load.acknowledged,
            operations_failed: load.failures.total(),
            failures: failures.map(|(failure, operations)| FailureCount { failure, operations }).collect(),
            warmup_operations_failed: load.failures_warmup.total(),
            duration_ns: load.duration_ns,
            throughput_ops_per_s: load.throughput_per_s(),
            acknowledgement_gap_max_ns: load.acknowledgement_gap_max_ns,
            latency_ns: load.latencies.summary(),
            mix: facts.read_percent.map(|_| Mix::of(load)),
            rate_ops_per_s: match pace {
                Pace::Closed => None,
                Pace::Open { rate_per_s } => Some(rate_per_s),
            },
            throughput_per_s: load.seconds.iter().map(|s| s.acknowledged_per_s()).collect(),
            datagrams_per_operation: facts.datagrams_sent as f64 / measured,
            cpu_seconds: processes.cpu_seconds(),
            cpu_seconds_watched: processes.cpu_seconds_watched(),
            peak_rss_bytes: processes.replica_rss_bytes_peak(),
            rss_bytes_per_s: processes.replica_rss_bytes_max(),
            rss_bytes_per_s_by_replica: processes.replica_rss_bytes(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            facts,
        }
    }

    /// Everything for which this run is not a success; empty when it is one.
    pub fn faults(&self) -> Vec<ReportFault> {
        let mut faults = Vec::new();
        let quorum = quorum(self.facts.faults_tolerated);
        if !self.facts.orders_agree || self.facts.replicas_reported < quorum {
            let (reported, replicas) = (self.facts.replicas_reported, self.facts.replicas);
            faults.push(ReportFault::Order { reported, replicas, quorum });
        }
        let failed = self.operations_failed + self.warmup_operations_failed;
        if failed > 0 {
            let mut kinds: Vec<String> =
                self.failures.iter().map(|f| format!("{} {}", f.operations, f.failure.name())).collect();
            if self.warmup_operations_failed > 0 {
                kinds.push(format!("{} while warming up", self.warmup_operations_failed));
            }
            faults.push(ReportFault::Failed { failed, kinds: kinds.join(", ") });
        }
        if self.facts.linearizable == Some(false) {
            faults.push(ReportFault::History);
        }
        if self.operations_acknowledged == 0 {
            faults.push(ReportFault::Nothing);
        }
        faults
    }

    /// The acceptance check.
    ///
    /// # Errors
    /// The first of [`Report::faults`].
    pub fn check(&self) -> Result<(), ReportFault> {
        self.faults().into_iter().next().map_or(Ok(()), Err)
    }

    /// The JSON text, indented, ending with a line feed.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("a report holds nothing that JSON cannot");
        text.push('\n');
        text
    }

    /// The table for a terminal.
    pub fn to_table(&self) -> String {
        table::table(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latency::Latencies;
    use crate::load::{Failures, Reads, Second};

    pub(super) fn facts() -> RunFacts {
        RunFacts {
            replicas: 4,
            faults_tolerated: 1,
            active_replicas: 4,
            payload_bytes: 8,
            reply_bytes: 8,
            sessions: 2,
            outstanding: 64,
            service: "log".into(),
            read_percent: None,
            journal: "off".into(),
            transport: "mmsg".into(),
            fan_out: "multicast".into(),
            arrangement: "shared".into(),
            unreplicated: false,
            null_protocol: false,
            datagrams_sent: 4_000,
            view_changes: 0,
            replicas_reported: 4,
            orders_agree: true,
            linearizable: None,
        }
    }

    pub(super) fn load() -> LoadResult {
        let mut latencies = Latencies::new();
        (1..=10_000u64).for_each(|v| latencies.record(v * 100));
        let second = Second {
            start_ns: 0,
            duration_ns: 500_000_000,
            acknowledged: 10_000,
            failed: 0,
            p50_ns: 1,
            p99_ns: 1,
            max_ns: 1,
        };
        LoadResult {
            acknowledged: 10_000,
            failures: Failures::default(),
            failures_warmup: Failures::default(),
            duration_ns: 500_000_000,
            acknowledgement_gap_max_ns: 77_000,
            latencies,
            reads: Reads::default(),
            seconds: vec![second],
            intervals: Vec::new(),
            stopped: false,
        }
    }

    pub(super) fn report() -> Report {
        Report::new(&load(), Pace::Closed, &ProcessReport::default(), facts())
    }

    #[test]
    fn the_fields_are_those_of_the_contract() {
        let value: serde_json::Value = serde_json::from_str(&report().to_json()).unwrap();
        let fields = "operations_acknowledged operations_failed duration_ns throughput_ops_per_s \
            acknowledgement_gap_max_ns latency_ns replicas faults_tolerated active_replicas payload_bytes reply_bytes \
            sessions outstanding service journal transport arrangement unreplicated cpu_seconds peak_rss_bytes \
            rss_bytes_per_s datagrams_per_operation view_changes replicas_reported orders_agree version";
        for field in fields.split_whitespace() {
            assert!(value.get(field).is_some(), "{field} is missing");
        }
        for field in ["p50", "p90", "p99", "p99_9", "max", "mean"] {
            assert!(value["latency_ns"][field].is_u64(), "latency_ns.{field}");
        }
        assert_eq!(value["operations_acknowledged"], 10_000);
        assert_eq!(value["throughput_ops_per_s"], 20_000.0);
        assert_eq!(value["throughput_per_s"][0], 20_000.0);
        assert_eq!(value["datagrams_per_operation"], 0.4);
        assert!(value["rss_bytes_per_s"].is_array());
        assert_eq!(value["orders_agree"], true);
        for absent in ["rate_ops_per_s", "read_percent", "read_latency_ns", "write_latency_ns", "linearizable"] {
            assert!(value.get(absent).is_none(), "{absent}");
        }
    }

    pub(super) fn mixed() -> Report {
        let mut load = load();
        (1..=1_000u64).for_each(|latency| load.reads.latencies.record(latency * 100));
        load.reads.one_round_trip = 990;
        let facts = RunFacts { read_percent: Some(10), linearizable: Some(true), ..facts() };
        Report::new(&load, Pace::Closed, &ProcessReport::default(), facts)
    }

    #[test]
    fn reads_and_writes_have_latencies_of_their_own() {
        let report = mixed();
        let value: serde_json::Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!((&value["reads_acknowledged"], &value["read_percent"]), (&1_000.into(), &10.into()));
        assert_eq!((&value["reads_one_round_trip"], &value["reads_ordered"]), (&990.into(), &10.into()));
        let (read, write) = (&value["read_latency_ns"]["max"], &value["write_latency_ns"]["p50"]);
        assert!(read.as_u64().unwrap() <= 100_100 && write.as_u64().unwrap() > 500_000, "{read} {write}");
        assert_eq!(value["linearizable"], true);
        assert_eq!(serde_json::from_str::<Report>(&report.to_json()).unwrap(), report);
    }

    #[test]
    fn a_report_reads_back() {
        let mut written = report();
        written.rate_ops_per_s = Some(1_000.0);
        written.failures.push(FailureCount { failure: Failure::NotSent, operations: 3 });
        let read: Report = serde_json::from_str(&written.to_json()).unwrap();
        assert_eq!(read, written);
    }

    #[test]
    fn the_check_fails_for_each_reason() {
        assert_eq!(report().check(), Ok(()));
        let fault = |change: &dyn Fn(&mut Report)| {
            let mut report = report();
            change(&mut report);
            report.check().unwrap_err()
        };
        assert!(matches!(fault(&|r| r.facts.orders_agree = false), ReportFault::Order { quorum: 3, .. }));
        assert!(matches!(fault(&|r| r.facts.replicas_reported = 2), ReportFault::Order { reported: 2, .. }));
        assert_eq!(fault(&|r| r.operations_acknowledged = 0), ReportFault::Nothing);
        assert_eq!(fault(&|r| r.facts.linearizable = Some(false)), ReportFault::History);
        let failed = fault(&|r| {
            r.operations_failed = 3;
            r.failures.push(FailureCount { failure: Failure::Unavailable, operations: 3 });
        });
        assert_eq!(failed.to_string(), "3 operations failed: 3 unavailable");
        assert!(matches!(fault(&|r| r.warmup_operations_failed = 1), ReportFault::Failed { failed: 1, .. }));
    }

    #[test]
    fn orders_agree_needs_a_quorum_at_one_sequence_number() {
        assert!(orders_agree(&[(9, "a"), (9, "a"), (9, "a")], 1));
        assert!(!orders_agree(&[(9, "a"), (9, "a")], 1));
        assert!(!orders_agree(&[(9, "a"), (9, "a"), (8, "a"), (9, "a")], 1));
        assert!(!orders_agree(&[(9, "a"), (9, "a"), (9, "b"), (9, "a")], 1));
        assert!(orders_agree(&[(9, "a")], 0));
        assert!(!orders_agree::<u8>(&[], 0));
    }
}
