//! `logothete demo`: the whole thing at a glance.

use super::bench::{StartOptions, subtitle, write_hdr};
use crate::failure::Failure;
use crate::output::{print_line, write_json, write_text};
use crate::signals::stop_flag;
use crate::trial::local_cluster::{Behind, LocalCluster};
use crate::trial::measure::{LoadPlan, measure};
use logothete_bench::load::{Extent, LoadOptions};
use logothete_bench::plot::{self, Run};
use logothete_bench::report::Report;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Warm-up and measured time of the part with one operation at a time.
const SINGLE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(4));

/// Warm-up and measured time of the part with many operations in flight.
const MANY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(7));

/// Sessions and operations in flight each, of the part with many.
const MANY_SESSIONS: usize = 4;
const MANY_OUTSTANDING: usize = 256;

/// Bytes of an operation.
const PAYLOAD_BYTES: usize = 8;

/// Starts a throw-away cluster on this host, loads it, and reports: about 15 seconds.
///
/// 4 replica processes and a driver order operations of a load over shared memory, first one at a time, then many. The
/// exit status is 1 when an operation failed or the replicas do not agree.
#[derive(clap::Args)]
#[command(after_help = "Example: logothete demo")]
pub struct Arguments {
    #[command(flatten)]
    start: StartOptions,
    /// Write the HDR log and the plot to DIR [default: a new directory for temporary files]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write the report of the part with many operations to FILE as JSON, the other's as its field `one_at_a_time`
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
///
/// When the run could not be made, an operation failed, or the replicas do not agree.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let stop = stop_flag()?;
    let out = out_directory(arguments.out.as_deref())?;
    let started = SystemTime::now();
    let mut local = LocalCluster::start(&arguments.start.plan()?, Behind::Replicas, &stop)?;
    let subject = local.subject()?;
    eprintln!(
        "{} replica processes, a driver and this load on {}: {} over {}, arrangement {}, journal {}",
        local.cluster.replica_count(),
        local.cluster.replicas[0].address.ip(),
        subject.fan_out,
        subject.transport,
        subject.arrangement,
        local.cluster.journal,
    );
    if subject.fan_out == "unicast" {
        eprintln!("multicast is not used; `logothete doctor` says whether it works here");
    }
    let (single, single_report) = measure(&subject, &load_plan(1, 1, SINGLE), "one at a time", &stop)?;
    let (many, many_report) =
        measure(&subject, &load_plan(MANY_SESSIONS, MANY_OUTSTANDING, MANY), "many at once", &stop)?;
    local.check_alive()?;
    drop(local);
    if arguments.json.as_deref() != Some(Path::new("-")) {
        print_line(&format!("One operation at a time\n{}", single_report.to_table().trim_end()))?;
        print_line(&format!(
            "\n{} operations in flight\n{}",
            MANY_SESSIONS * MANY_OUTSTANDING,
            many_report.to_table().trim_end()
        ))?;
    }
    let (hdr, svg) = (out.join("demo.hlog"), out.join("demo.svg"));
    write_hdr(&hdr, &many, started)?;
    let runs = [Run::of("one at a time", &single), Run::of("many at once", &many)];
    write_text(&svg, &plot::render("Logothete: demo", &subtitle(&many_report), &runs))?;
    let place = format!("\nHDR log       {}\nlatency plot  {}", hdr.display(), svg.display());
    match &arguments.json {
        Some(path) => {
            write_json(path, &joined(&single_report, &many_report)?)?;
            eprintln!("{place}");
        }
        None => print_line(&place)?,
    }
    for report in [&single_report, &many_report] {
        report.check().map_err(|fault| Failure::Failed(fault.to_string()))?;
    }
    Ok(())
}

fn load_plan(sessions: usize, outstanding: usize, (warmup, duration): (Duration, Duration)) -> LoadPlan {
    let options = LoadOptions { outstanding, warmup, extent: Extent::Duration(duration), ..LoadOptions::default() };
    LoadPlan {
        payload_bytes: PAYLOAD_BYTES,
        keys: 1,
        read_percent: 0,
        sessions,
        options,
        intervals_keep: true,
        history: None,
        check: false,
    }
}

fn out_directory(wanted: Option<&Path>) -> Result<PathBuf, Failure> {
    match wanted {
        Some(path) => {
            std::fs::create_dir_all(path).map_err(|error| Failure::of_file("make", path, &error))?;
            Ok(path.to_path_buf())
        }
        None => {
            let directory = tempfile::Builder::new().prefix("logothete-demo-").tempdir();
            let directory =
                directory.map_err(|error| Failure::of_file("make a directory in", &std::env::temp_dir(), &error))?;
            Ok(directory.keep())
        }
    }
}

/// One JSON object of both reports.
fn joined(single: &Report, many: &Report) -> Result<serde_json::Value, Failure> {
    let failed = |error: serde_json::Error| Failure::Failed(format!("cannot write JSON: {error}"));
    let mut value = serde_json::to_value(many).map_err(failed)?;
    value["one_at_a_time"] = serde_json::to_value(single).map_err(failed)?;
    Ok(value)
}
