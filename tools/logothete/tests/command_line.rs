//! The program as people and scripts use it: real processes on loopback, exit codes, and nothing left behind.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_logothete");

/// Far longer than anything here takes; a bound, not an expectation.
const PATIENCE: Duration = Duration::from_secs(60);

fn logothete(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits for `holds`, for a bounded time.
fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < PATIENCE, "{what} did not happen");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A cluster in a temporary directory, run by `logothete local`.
struct Local {
    directory: tempfile::TempDir,
    process: Child,
}

impl Local {
    /// `prefix` goes before the program, as a shell's command that executes it.
    fn start(init: &[&str], prefix: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let cluster = directory.path().join("cluster");
        let made = logothete(&[&["init", cluster.to_str().unwrap()], init].concat());
        assert!(made.status.success(), "{}", text(&made.stderr));
        let script = format!("{prefix} exec \"$0\" local --config \"$1\" 2>\"$2\"");
        let errors = directory.path().join("errors");
        let mut process = Command::new("sh")
            .args(["-c", &script, PROGRAM])
            .args([cluster.join("cluster.toml"), errors])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let local = Self { directory, process };
        let wanted = format!("session {}\n", cluster.join("driver-0.sock").display());
        assert_eq!(first, wanted, "{}", local.errors());
        local
    }

    fn config(&self) -> PathBuf {
        self.directory.path().join("cluster/cluster.toml")
    }

    fn errors(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("errors")).unwrap_or_default()
    }

    /// Runs a command on this cluster, with `input` on its standard input.
    fn run(&self, command: &str, arguments: &[&str], input: &[u8]) -> Output {
        let mut child = Command::new(PROGRAM)
            .arg(command)
            .arg("--config")
            .arg(self.config())
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // A command that ends early does not read everything.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        output
    }

    /// Its children: process id and command line.
    fn children(&self) -> Vec<(u32, String)> {
        processes()
            .into_iter()
            .filter(|(_, parent, _)| *parent == self.process.id())
            .map(|(id, _, line)| (id, line))
            .collect()
    }

    fn child(&self, part: &str) -> u32 {
        let children = self.children();
        children.iter().find(|(_, line)| line.contains(part)).unwrap_or_else(|| panic!("no {part} in {children:?}")).0
    }

    fn signal(&self, signal: &str) {
        kill(signal, self.process.id());
    }

    fn wait(&mut self) -> ExitStatus {
        let begin = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(begin.elapsed() < PATIENCE, "local did not end: {}", self.errors());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        // Its children end with it, however a test went.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn kill(signal: &str, process: u32) {
    assert!(Command::new("kill").arg(format!("-{signal}")).arg(process.to_string()).status().unwrap().success());
}

/// Every process: its id, its parent's, and its command line.
fn processes() -> Vec<(u32, u32, String)> {
    let read = |id: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let line = std::fs::read(format!("/proc/{id}/cmdline")).ok()?;
        let parent = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()?;
        Some((id, parent, text(&line).replace('\0', " ")))
    };
    let ids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter_map(read).collect()
}

/// Whether any process has the directory in its command line.
fn anything_runs_in(directory: &Path) -> bool {
    let name = directory.to_str().unwrap();
    processes().iter().any(|(_, _, line)| line.contains(name))
}

#[test]
fn wrong_usage_has_status_2_and_names_what_is_wrong() {
    let place = tempfile::tempdir().unwrap();
    let new = place.path().join("new");
    let new = new.to_str().unwrap();
    for (arguments, part) in [
        (&["init", new, "--journal", "none"][..], "use one of: sync, async, off"),
        (&["init", new, "--active", "3f"], "\"3f\" is not built yet; use one of: all"),
        (&["init", new, "--active", "2f+1"], "\"2f+1\" is not built yet; use one of: all"),
        (
            &["init", new, "--arrangement", "dedicated"],
            "\"dedicated\" is not built yet; use one of: auto, shared, split",
        ),
        (&["init", new, "--replicas", "5"], "n = 3f+1"),
        (&["init", new, "--replicas", "4", "--faults", "1"], "cannot be used with"),
        (&["bench", "--read-percent", "101"], "101 is not in 0..=100"),
        (&["bench", "--read-percent", "10"], "--read-percent is for --service kv"),
        (&["bench", "--check"], "--check is for --service kv"),
        (&["bench", "--service", "kv", "--payload", "7", "--check"], "from 8 bytes on"),
        (&["bench", "--reply", "8"], "--reply is for --service null"),
        (&["drill"], "<DRILL>"),
        (&["drill", "quiet", "--pause", "1s"], "--pause is not for the drill quiet"),
        (&["drill", "power-cut", "--journal", "off"], "only --journal sync promises"),
        (&["drill", "quiet", "--payload", "8"], "has at least 16 bytes"),
        (&["drill", "quiet", "--replicas", "5"], "n = 3f+1"),
        (&["generals", "om", "--generals", "3", "--traitors", "1,"], "it takes 3m+1 = 4"),
        (&["generals", "om", "--generals", "4", "--traitors", "4,"], "general 4 is no general"),
        (&["generals", "om", "--strategy", "cunning"], "`cunning` is no strategy of traitors"),
        (&["generals", "sm", "--generals", "3", "--traitors", "2"], "empty below m+2 = 4 generals"),
        (&["generals", "pbft", "--replicas", "5"], "PBFT takes n = 3f+1"),
        (&["conspire"], "unrecognized subcommand"),
        (&[], "Usage"),
    ] {
        let output = logothete(arguments);
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
        assert!(errors.contains(part), "{arguments:?}: {errors}");
        assert!(output.stdout.is_empty(), "{arguments:?}");
    }
    assert!(!Path::new(new).exists());
}

#[test]
fn failures_have_status_1_and_name_file_and_mend() {
    let place = tempfile::tempdir().unwrap();
    let missing = place.path().join("cluster.toml");
    let missing = missing.to_str().unwrap();
    for command in [&["status"][..], &["local"], &["replica", "--id", "0"], &["driver", "--client", "0"], &["doctor"]] {
        let output = logothete(&[command, &["--config", missing]].concat());
        let said = text(&output.stderr) + &text(&output.stdout);
        assert_eq!(output.status.code(), Some(1), "{command:?}: {said}");
        assert!(said.contains(missing) && said.contains("logothete init DIR"), "{command:?}: {said}");
    }
}

#[test]
fn a_replica_without_enough_memory_ends_and_says_so() {
    let place = tempfile::tempdir().unwrap();
    let cluster = place.path().join("cluster");
    assert!(logothete(&["init", cluster.to_str().unwrap()]).status.success());
    let config = cluster.join("cluster.toml");
    for (refused, limit_kib) in (40_000..1_000_000).step_by(15_000).enumerate() {
        let limited = format!("ulimit -v {limit_kib}; exec timeout 20 \"$@\"");
        let replica = Command::new("sh")
            .args(["-c", &limited, "sh", PROGRAM, "replica", "--config", config.to_str().unwrap(), "--id", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut replica = replica.unwrap();
        let mut line = String::new();
        BufReader::new(replica.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.starts_with("ready ") {
            kill("TERM", replica.id());
            assert!(replica.wait_with_output().is_ok());
            assert!(refused >= 2, "{refused} limits were too small");
            return;
        }
        let output = replica.wait_with_output().unwrap();
        let errors = text(&output.stderr);
        assert!(output.status.code() != Some(124) && !output.status.success(), "{limit_kib} KiB: {errors}");
        assert!(errors.contains("memory"), "{limit_kib} KiB: {errors}");
    }
    panic!("a gigabyte is not enough");
}

#[test]
fn every_command_explains_itself() {
    let help = logothete(&["--help"]);
    assert!(help.status.success());
    let help = text(&help.stdout);
    for command in [
        "demo",
        "init",
        "replica",
        "driver",
        "local",
        "publish",
        "subscribe",
        "bench",
        "drill",
        "status",
        "rotate-keys",
        "doctor",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
        let own = logothete(&[command, "--help"]);
        assert!(own.status.success() && text(&own.stdout).contains(&format!("logothete {command}")), "{command}");
    }
    assert!(!help.contains("null-replica") && !help.contains("unreplicated"), "{help}");
}

#[test]
fn what_is_published_is_what_subscribers_read() {
    let mut local = Local::start(&[], "");
    let lines: Vec<u8> =
        (0..5000).flat_map(|line| format!("line {line}\t\u{1}\n").into_bytes()).chain(*b"last").collect();
    let acknowledged = local.directory.path().join("acknowledged");
    let published = local.run("publish", &["--acknowledged", acknowledged.to_str().unwrap()], &lines);
    assert!(published.status.success(), "{}", text(&published.stderr));
    assert_eq!(text(&published.stdout), "published 5001, first position 0, last position 5000\n");
    let wanted = |bytes: &[u8]| {
        let mut lines: Vec<_> = bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
        lines.sort_unstable();
        lines
    };
    assert_eq!(wanted(&std::fs::read(&acknowledged).unwrap()), wanted(&lines));

    let raw = local.run("subscribe", &["--until-end", "--raw"], b"");
    assert!(raw.status.success(), "{}", text(&raw.stderr));
    assert!(raw.stdout == lines, "subscribers read what was published");
    let some = local.run("subscribe", &["--from", "4999", "--count", "2"], b"");
    let some = text(&some.stdout);
    let entries: Vec<Vec<&str>> = some.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!((entries[0][0], entries[0][3]), ("4999", "line 4999\\t\\x01\\n"));
    assert_eq!((entries[1][0], entries[1][3]), ("5000", "last"));

    let binary = local.run("publish", &["--binary", "7"], &[0; 15]);
    assert_eq!(text(&binary.stdout), "published 3, first position 5001, last position 5003\n");
    let long = local.run("publish", &[], &[b"fits\n".to_vec(), vec![b'x'; (1 << 20) + 1]].concat());
    assert_eq!(long.status.code(), Some(1));
    assert!(text(&long.stderr).contains("line 2 is longer than the "), "{}", text(&long.stderr));
    assert_eq!(text(&long.stdout), "published 1, first position 5004, last position 5004\n");

    let status = local.run("status", &["--json", "-"], b"");
    assert!(status.status.success(), "{}", text(&status.stderr));
    assert!(text(&status.stdout).contains("\"log_end\": 5005"), "{}", text(&status.stdout));

    let rotated = local.run("rotate-keys", &[], b"");
    let said = text(&rotated.stdout);
    assert!(rotated.status.success() && said.lines().count() == 4, "{said}{}", text(&rotated.stderr));
    for (id, line) in said.lines().enumerate() {
        assert!(line.starts_with(&format!("replica {id}: generation 1, ")), "{line}");
    }
    let after = local.run("publish", &[], b"under new keys\n");
    assert!(after.status.success(), "{}", text(&after.stderr));
    let rejects = local.run("status", &["--rejects"], b"");
    let said = text(&rejects.stdout);
    assert!(rejects.status.success() && said.contains("replica  part      rejects of  for"), "{said}");
    assert!(said.contains("(each line is that replica's own word)"), "{said}");

    local.signal("INT");
    assert!(local.wait().success(), "{}", local.errors());
    assert!(!anything_runs_in(local.directory.path()));
    assert!(!local.directory.path().join("cluster/driver-0.sock").exists());
}

#[test]
fn dead_replicas_are_reported() {
    let mut local = Local::start(&[], "");
    let published = local.run("publish", &[], b"before\n");
    assert!(published.status.success(), "{}", text(&published.stderr));
    let victim = local.child("--id 3");
    kill("KILL", victim);
    await_that("the report", || local.errors().contains(&format!("replica 3 (process {victim}) ended by signal 9")));
    let published = local.run("publish", &[], b"after\n");
    assert!(published.status.success(), "one of four may fail: {}", text(&published.stderr));
    let status = local.run("status", &[], b"");
    let said = text(&status.stdout);
    assert!(
        status.status.success() && said.contains("unreachable") && said.contains("3 of 4 replicas answer"),
        "{said}"
    );

    kill("KILL", local.child("--id 2"));
    await_that("the second report", || local.errors().contains("replica 2 (process"));
    let status = local.run("status", &["--timeout", "500ms"], b"");
    assert_eq!(status.status.code(), Some(1));
    assert!(text(&status.stdout).contains("the cluster makes no progress"), "{}", text(&status.stdout));
    assert!(text(&status.stderr).contains("2 of 3 needed replicas answer; missing: 2, 3"), "{}", text(&status.stderr));

    local.signal("TERM");
    assert!(local.wait().success());
    assert!(!anything_runs_in(local.directory.path()));
}

#[test]
fn children_end_with_a_parent_that_is_killed() {
    let mut local = Local::start(&[], "");
    assert_eq!(local.children().len(), 5);
    local.signal("KILL");
    local.wait();
    await_that("the children's end", || !anything_runs_in(local.directory.path()));
}

#[test]
fn sigint_works_where_it_is_inherited_as_ignored() {
    let mut local = Local::start(&[], "trap '' INT;");
    local.signal("INT");
    assert!(local.wait().success(), "{}", local.errors());
    assert!(!anything_runs_in(local.directory.path()));
}

#[test]
fn a_cluster_runs_over_ipv6() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        return;
    }
    let local = Local::start(&["--hosts", "::1", "--transport", "mmsg"], "");
    let published = local.run("publish", &[], b"one\ntwo\n");
    assert_eq!(
        text(&published.stdout),
        "published 2, first position 0, last position 1\n",
        "{}",
        text(&published.stderr)
    );
}

#[test]
fn a_measured_run_reports_in_json() {
    for (arguments, replicas) in [
        (&["--sessions", "2", "--outstanding", "8", "--operations", "20000"][..], 4),
        (&["--unreplicated", "--operations", "20000"], 1),
        (&["--service", "kv", "--operations", "20000"], 4),
    ] {
        let output = logothete(&[&["bench", "--warmup", "100ms", "--json", "-"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["operations_acknowledged"], 20000, "{arguments:?}");
        assert_eq!(report["operations_failed"], 0, "{arguments:?}");
        assert_eq!(report["replicas"], replicas, "{arguments:?}");
        assert_eq!(report["replicas_reported"], replicas, "{arguments:?}");
        assert_eq!(report["orders_agree"], true, "{arguments:?}");
        assert!(report["datagrams_per_operation"].as_f64().unwrap() > 0.0, "{arguments:?}");
        assert!(report["peak_rss_bytes"].as_u64().unwrap() > 0, "{arguments:?}");
    }
}

#[test]
fn the_null_protocol_is_reported_like_any_other_load() {
    let output = logothete(&["bench", "--null", "--warmup", "100ms", "--duration", "500ms", "--json", "-"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(report["operations_acknowledged"].as_u64().unwrap() > 0, "{report}");
    assert_eq!((&report["replicas_reported"], &report["orders_agree"]), (&4.into(), &true.into()));
    for figure in ["acknowledgement_gap_max_ns", "throughput_ops_per_s", "datagrams_per_operation"] {
        assert!(report[figure].as_f64().unwrap() > 0.0, "{figure}");
    }
}

#[test]
fn reads_are_measured_apart_and_their_history_is_checked() {
    for arguments in [&["--sessions", "2", "--outstanding", "8"][..], &["--unreplicated"]] {
        let mix = ["--service", "kv", "--read-percent", "50", "--keys", "3", "--operations", "2000", "--check"];
        let output = logothete(&[&["bench", "--warmup", "0s", "--json", "-"], &mix[..], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let number = |name: &str| report[name].as_u64().unwrap();
        assert_eq!(number("operations_acknowledged"), 2000);
        let reads = number("reads_acknowledged");
        assert!((700..1300).contains(&reads), "{reads} of 2000");
        assert_eq!(number("reads_one_round_trip") + number("reads_ordered"), reads);
        assert!(number("reads_one_round_trip") > 0);
        for latency in ["latency_ns", "read_latency_ns", "write_latency_ns"] {
            assert!(report[latency]["p50"].as_u64().unwrap() > 0, "{latency}");
        }
        assert_eq!((&report["linearizable"], &report["orders_agree"]), (&true.into(), &true.into()));
    }
}

#[test]
fn a_load_on_a_running_cluster_writes_its_files() {
    let local = Local::start(&[], "");
    let file = |name: &str| local.directory.path().join(name);
    let (json, hdr, plot, history) =
        (file("report.json"), file("latency.hlog"), file("latency.svg"), file("history.jsonl"));
    let mut arguments = vec!["--operations", "300", "--warmup", "0s"];
    for (option, path) in [("--json", &json), ("--hdr", &hdr), ("--plot", &plot), ("--history", &history)] {
        arguments.extend([option, path.to_str().unwrap()]);
    }
    let output = local.run("bench", &arguments, b"");
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("the same order"), "{}", text(&output.stdout));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(report["operations_acknowledged"], 300);
    assert!(std::fs::read_to_string(hdr).unwrap().starts_with('#'));
    assert!(std::fs::read_to_string(plot).unwrap().starts_with("<svg"));
    let history = std::fs::read_to_string(history).unwrap();
    assert_eq!(history.lines().filter(|line| line.contains("\"call\"")).count(), 300);
    assert_eq!(history.lines().filter(|line| line.contains("\"answer\"")).count(), 300);
}

/// Runs a drill with `place` for temporary files; returns its outcome and its report.
fn drill(place: &Path, arguments: &[&str]) -> (Output, serde_json::Value) {
    let report = place.join("report.json");
    let temporary = place.join("temporary");
    std::fs::create_dir_all(&temporary).unwrap();
    let output = Command::new(PROGRAM)
        .arg("drill")
        .args(arguments)
        .arg("--json")
        .arg(&report)
        .env("TMPDIR", &temporary)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let report = std::fs::read(report).unwrap_or_else(|_| panic!("no report: {}", text(&output.stderr)));
    (output, serde_json::from_slice(&report).unwrap())
}

#[test]
fn drills_check_everything_and_leave_nothing() {
    let place = tempfile::tempdir().unwrap();
    for arguments in [
        &["quiet", "--duration", "2s", "--busy-host"][..],
        &["kill-driver", "--settle", "500ms", "--sessions", "2", "--busy-host"],
        &["stop-backup", "--pause", "300ms", "--settle", "500ms", "--rate", "5000", "--payload", "100", "--busy-host"],
    ] {
        let (output, report) = drill(place.path(), arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        assert_eq!(report["drill"], arguments[0]);
        assert_eq!((&report["passed"], &report["orders_agree"]), (&true.into(), &true.into()), "{arguments:?}");
        for field in ["lost", "duplicated", "out_of_order", "invented"] {
            assert_eq!(report[field], 0, "{arguments:?}: {field}");
        }
        let acknowledged = report["operations_acknowledged"].as_u64().unwrap();
        assert!(acknowledged > 0 && report["entries_checked"].as_u64().unwrap() >= acknowledged, "{arguments:?}");
        let stopped = arguments[0] == "stop-backup";
        assert_eq!(report["catch_up_ns"].as_array().unwrap().len(), usize::from(stopped), "{arguments:?}");
        assert_eq!(report["reconnections"].as_u64().unwrap() > 0, arguments[0] == "kill-driver", "{arguments:?}");
        assert!(text(&output.stdout).contains("the same at all replicas"), "{}", text(&output.stdout));
        let temporary = place.path().join("temporary");
        assert_eq!(std::fs::read_dir(&temporary).unwrap().count(), 0, "{arguments:?}");
        assert!(!anything_runs_in(&temporary), "{arguments:?}");
    }
}

#[test]
fn a_drill_that_fails_says_why_and_keeps_the_cluster() {
    let place = tempfile::tempdir().unwrap();
    // No cluster does anything in no time.
    let (output, report) = drill(
        place.path(),
        &["stop-backup", "--pause", "1ms", "--settle", "100ms", "--patience", "0s", "--sessions", "1"],
    );
    assert_eq!(output.status.code(), Some(1));
    let errors = text(&output.stderr);
    assert!(errors.contains("drill stop-backup failed") && errors.contains("within 0 s"), "{errors}");
    assert_eq!(report["passed"], false);
    assert!(!report["problems"].as_array().unwrap().is_empty());
    let kept: Vec<_> = std::fs::read_dir(place.path().join("temporary")).unwrap().collect();
    let kept = kept.into_iter().next().expect("the cluster is kept").unwrap().path();
    assert!(errors.contains(&format!("the cluster's directory is kept: {}", kept.display())), "{errors}");
    let story = std::fs::read_to_string(kept.join("drill.txt")).unwrap();
    assert!(story.contains("SIGCONT of replica") && story.contains("replica 0 (process"), "{story}");
    assert!(!anything_runs_in(&kept));
}
