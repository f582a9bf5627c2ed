//! `logothete bench`: the load generator.

use super::init::faults;
use crate::failure::Failure;
use crate::options::{parse_duration, parse_rate};
use crate::output::{print_line, write_text};
use crate::signals::stop_flag;
use crate::trial::local_cluster::{Behind, LocalCluster, own_process};
use crate::trial::measure::{LoadPlan, Subject, counters_files, measure};
use crate::trial::null_protocol::{self, Traffic};
use logothete_bench::load::{Extent, LoadOptions, LoadResult, Pace};
use logothete_bench::plot::{self, Run};
use logothete_bench::report::Report;
use logothete_crypto::MacAlgorithm;
use logothete_engine::cluster::init::Plan;
use logothete_engine::cluster::{Active, Arrangement, Cluster, DriverLocal, FanOut, Journal, ReplicaLocal, Transport};
use logothete_engine::service::ServiceKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime};

/// Loads a cluster and measures latency and throughput.
///
/// Without --config a cluster is started for the run, as `demo` starts it: replicas and a driver as child processes on
/// loopback. Without --rate the loop is closed: each session sends when an answer makes room. With it operations are
/// due at a constant rate, and latencies count from when they were due. The exit status is 1 when an operation failed,
/// the replicas do not agree, or a history that was checked is not linearizable.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  logothete bench --sessions 4 --outstanding 256
  logothete bench --rate 20000 --outstanding 1000 --duration 10s --plot latency.svg
  logothete bench --service kv --read-percent 90 --outstanding 64 --check
  logothete bench --config /tmp/cluster/cluster.toml --operations 1000000 --json -")]
pub struct Arguments {
    /// Load the running cluster of this cluster.toml, by driver 0 of this host
    #[arg(long, value_name = "DIR/cluster.toml", conflicts_with_all = ["local", "start"])]
    config: Option<PathBuf>,
    /// Start a cluster for the run; the default
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    start: StartOptions,
    /// What is replicated [default: log; with --config, what the cluster has]
    #[arg(long, value_name = "log|null|kv")]
    service: Option<ServiceKind>,
    /// Keys of the key-value service
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,
    /// Bytes of an operation; of a value with --service kv, whose header and key come on top. At most the cluster's operation_bytes_max, 1 MiB
    /// if it does not say less
    #[arg(long, value_name = "BYTES", default_value_t = 8)]
    payload: usize,
    /// Bytes of a result; for --service null
    #[arg(long, value_name = "BYTES")]
    reply: Option<usize>,
    /// Sessions
    #[arg(long, value_name = "S", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    sessions: u32,
    /// Operations in flight a session
    #[arg(long, value_name = "W", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    outstanding: u32,
    /// Operations a second of an open loop, over all sessions [default: a closed loop]
    #[arg(long, value_name = "R", value_parser = parse_rate)]
    rate: Option<f64>,
    /// Percentage of reads, asked as queries; for --service kv
    #[arg(long, value_name = "P", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100))]
    read_percent: u32,
    /// Time before measuring begins
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    warmup: Duration,
    /// Measured time
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration, conflicts_with = "operations")]
    duration: Duration,
    /// Measured operations, instead of a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    operations: Option<u64>,
    /// Write every call and answer with its times to FILE, for a linearizability checker; with --service kv it is checked
    #[arg(long, value_name = "FILE")]
    history: Option<PathBuf>,
    /// Check that the answers of --service kv are linearizable
    #[arg(long)]
    check: bool,
    /// The same service, driver and transport behind one server with no protocol
    #[arg(long, conflicts_with_all = ["config", "replicas", "faults"])]
    unreplicated: bool,
    /// The null protocol over the same transport: the datagrams of the protocol and nothing behind them
    #[arg(long, conflicts_with_all = ["config", "unreplicated", "rate", "operations", "history", "check", "service", "reply", "hdr"])]
    null: bool,
    /// With --null: four delays instead of five; replicas answer when prepared
    #[arg(long, requires = "null")]
    tentative: bool,
    /// With --null: operations of a full request
    #[arg(long, value_name = "N", default_value_t = 32, requires = "null")]
    pack: usize,
    #[command(flatten)]
    outputs: Outputs,
}

/// The least size of values that are all different.
const VALUE_BYTES_UNIQUE: usize = 8;

/// What the log of a measured cluster keeps.
const RETENTION_BYTES: u64 = 64 << 20;

/// The cluster that is started for a run.
#[derive(clap::Args, Clone, Debug)]
#[group(id = "start", multiple = true)]
pub struct StartOptions {
    /// Number of replicas: 4, 7, 10, 13 or 16 [default: 4]
    #[arg(long, value_name = "N")]
    replicas: Option<usize>,
    /// Faulty replicas to tolerate, instead of --replicas
    #[arg(long, value_name = "F", conflicts_with = "replicas")]
    faults: Option<u8>,
    /// Replicas that take part in ordering while nothing fails [default: all]
    #[arg(long, value_name = "all")]
    active: Option<Active>,
    /// Whether what a replica promised survives its restart [default: off, as in the literature]
    #[arg(long, value_name = "off")]
    journal: Option<Journal>,
    /// Bytes of entries that the ordered log keeps, or of state that the key-value service stores. The default of 64 MiB is full after
    /// the warm-up, so that a run shows what a cluster does in the long run, with memory that is used again, and not how fast the host
    /// gives out fresh memory
    #[arg(long, value_name = "BYTES", default_value_t = RETENTION_BYTES)]
    retention: u64,
    /// How packets are authenticated [default: blake3]
    #[arg(long, value_name = "blake3|hmac-sha256|aes-256-gmac")]
    mac: Option<MacAlgorithm>,
    /// How datagrams reach the kernel [default: auto]
    #[arg(long, value_name = "auto|io_uring|mmsg")]
    transport: Option<Transport>,
    /// How a packet for many reaches them [default: auto]
    #[arg(long, value_name = "auto|multicast|unicast")]
    fan_out: Option<FanOut>,
    /// How a replica's agents are put on threads [default: auto]
    #[arg(long, value_name = "auto|shared|split")]
    arrangement: Option<Arrangement>,
}

/// Where a report goes, beside the table on standard output.
#[derive(clap::Args, Clone, Debug)]
pub struct Outputs {
    /// Write the report to FILE as JSON (- for standard output, instead of the table)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the latencies of every second to FILE as an HdrHistogram interval log
    #[arg(long, value_name = "FILE")]
    hdr: Option<PathBuf>,
    /// Write a latency and throughput plot to FILE
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

impl StartOptions {
    /// The cluster that the options describe.
    ///
    /// # Errors
    ///
    /// Wrong usage: a number of replicas that is not `3f+1`.
    pub fn plan(&self) -> Result<Plan, Failure> {
        let plan = Plan::default();
        Ok(Plan {
            faults: faults(self.replicas, self.faults)?,
            active: self.active.unwrap_or(plan.active),
            journal: self.journal.unwrap_or(Journal::Off),
            retention_bytes: self.retention,
            mac: self.mac.unwrap_or(plan.mac),
            transport: self.transport.unwrap_or(plan.transport),
            fan_out: self.fan_out.unwrap_or(plan.fan_out),
            arrangement: self.arrangement.unwrap_or(plan.arrangement),
            ..plan
        })
    }
}

/// Runs the command.
///
/// # Errors
///
/// When the run could not be made, an operation failed, or the replicas do not agree.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let started = SystemTime::now();
    let (result, report) = if arguments.null {
        run_null(arguments)?
    } else {
        let stop = stop_flag()?;
        match &arguments.config {
            Some(config) => run_on(arguments, config, &stop)?,
            None => run_local(arguments, &stop)?,
        }
    };
    arguments.outputs.write(&report, &[Run::of("measured", &result)], &result, started)?;
    report.check().map_err(|fault| Failure::Failed(fault.to_string()))
}

fn run_null(arguments: &Arguments) -> Result<(LoadResult, Report), Failure> {
    let plan = arguments.start.plan()?;
    let outstanding = (arguments.sessions * arguments.outstanding) as usize;
    let traffic = Traffic::of(arguments.payload, outstanding, arguments.pack, arguments.tentative);
    null_protocol::measure(&plan, traffic, arguments.sessions, arguments.warmup, arguments.duration)
}

fn run_local(arguments: &Arguments, stop: &AtomicBool) -> Result<(LoadResult, Report), Failure> {
    let service = arguments.service.unwrap_or(ServiceKind::Log);
    // Before anything is started.
    arguments.check(service)?;
    let plan = Plan { service, null_reply_bytes: reply_bytes(arguments.reply, service)?, ..arguments.start.plan()? };
    let behind = if arguments.unreplicated { Behind::Unreplicated } else { Behind::Replicas };
    let mut local = LocalCluster::start(&plan, behind, stop)?;
    let subject = local.subject()?;
    let measured = measure(&subject, &arguments.load_plan(&local.cluster)?, "load", stop)?;
    local.check_alive()?;
    Ok(measured)
}

fn run_on(arguments: &Arguments, config: &Path, stop: &AtomicBool) -> Result<(LoadResult, Report), Failure> {
    let cluster = Cluster::load(config)?;
    if let Some(service) = arguments.service.filter(|service| *service != cluster.service) {
        return Err(Failure::Usage(format!("--service {service}: the cluster's service is {}", cluster.service)));
    }
    if arguments.reply.is_some_and(|reply| reply != cluster.null_reply_bytes) {
        return Err(Failure::Usage(format!("--reply: the cluster's null_reply_bytes is {}", cluster.null_reply_bytes)));
    }
    let driver = DriverLocal::load(&DriverLocal::file(config, 0))?;
    // What replicas on other hosts run is not known here; replica 0 is asked of its file, where it is on this host.
    let arrangement =
        ReplicaLocal::load(&ReplicaLocal::file(config, 0)).map_or("unknown", |local| local.arrangement.name());
    let subject = Subject {
        cluster: &cluster,
        fresh: false,
        config: config.to_path_buf(),
        session: driver.session.clone(),
        counters: counters_files(config, &cluster),
        watched: &[own_process()],
        transport: driver.transport.to_string(),
        fan_out: driver.fan_out.to_string(),
        arrangement: arrangement.to_owned(),
    };
    measure(&subject, &arguments.load_plan(&cluster)?, "load", stop)
}

impl Arguments {
    /// Whether the history is to be checked, which only reads and writes of different values can be.
    fn check(&self, service: ServiceKind) -> Result<bool, Failure> {
        if !service.reads() && (self.read_percent > 0 || self.check) {
            let option = if self.check { "--check" } else { "--read-percent" };
            return Err(Failure::Usage(format!("{option} is for --service kv; the service is {service}")));
        }
        let check = service.reads() && (self.check || self.history.is_some());
        if check && self.payload < VALUE_BYTES_UNIQUE {
            return Err(Failure::Usage(format!(
                "--payload {}: a history is checked by its values, which differ from {VALUE_BYTES_UNIQUE} bytes on",
                self.payload
            )));
        }
        Ok(check)
    }

    fn load_plan(&self, cluster: &Cluster) -> Result<LoadPlan, Failure> {
        let limit = cluster.operation_bytes_max;
        if self.payload > limit {
            return Err(Failure::Usage(format!(
                "--payload {}: an entry or value has at most {limit} bytes in this cluster (operation_bytes_max)",
                self.payload
            )));
        }
        let options = LoadOptions {
            outstanding: self.outstanding as usize,
            pace: self.rate.map_or(Pace::Closed, |rate_per_s| Pace::Open { rate_per_s }),
            extent: self.operations.map_or(Extent::Duration(self.duration), Extent::Operations),
            warmup: self.warmup,
            ..LoadOptions::default()
        };
        Ok(LoadPlan {
            payload_bytes: self.payload,
            keys: self.keys,
            read_percent: self.read_percent,
            sessions: self.sessions as usize,
            options,
            intervals_keep: self.outputs.hdr.is_some(),
            history: self.history.clone(),
            check: self.check(cluster.service)?,
        })
    }
}

impl Outputs {
    /// Prints the table and writes the files; `runs` are drawn into the plot, and the intervals are those of `result`.
    fn write(
        &self,
        report: &Report,
        runs: &[Run<'_>],
        result: &LoadResult,
        started: SystemTime,
    ) -> Result<(), Failure> {
        match &self.json {
            Some(path) if path == Path::new("-") => print_line(report.to_json().trim_end())?,
            Some(path) => {
                write_text(path, &report.to_json())?;
                print_line(report.to_table().trim_end())?;
            }
            None => print_line(report.to_table().trim_end())?,
        }
        if let Some(path) = &self.hdr {
            write_hdr(path, result, started)?;
        }
        if let Some(path) = &self.plot {
            write_text(path, &plot::render("Logothete", &subtitle(report), runs))?;
        }
        Ok(())
    }
}

/// Writes the latencies of every second.
///
/// # Errors
///
/// When the file cannot be written.
pub fn write_hdr(path: &Path, result: &LoadResult, started: SystemTime) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::of_file("write", path, &error);
    let file = std::io::BufWriter::new(std::fs::File::create(path).map_err(failed)?);
    logothete_bench::latency::write_interval_log(file, "operations", started, &result.intervals).map_err(failed)
}

/// What was measured, in one line under a plot's title.
pub fn subtitle(report: &Report) -> String {
    let facts = &report.facts;
    format!(
        "{} replicas (f = {}), service {}, {} bytes, journal {}, {}, {}, arrangement {}",
        facts.replicas,
        facts.faults_tolerated,
        facts.service,
        facts.payload_bytes,
        facts.journal,
        facts.transport,
        facts.fan_out,
        facts.arrangement
    )
}

fn reply_bytes(reply: Option<usize>, service: ServiceKind) -> Result<usize, Failure> {
    match (reply, service) {
        (reply, ServiceKind::Null) => Ok(reply.unwrap_or(8)),
        (None, _) => Ok(0),
        (Some(_), service) => {
            Err(Failure::Usage(format!("--reply is for --service null; results of {service} have their own size")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_checked() {
        assert_eq!(reply_bytes(None, ServiceKind::Null).unwrap(), 8);
        assert_eq!(reply_bytes(Some(0), ServiceKind::Null).unwrap(), 0);
        assert!(matches!(reply_bytes(Some(8), ServiceKind::Log), Err(Failure::Usage(_))));
    }
}
