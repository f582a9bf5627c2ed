//! The report as text for a terminal.

use std::fmt::Write;

use super::Report;
use crate::latency::LatencySummary;

/// Nanoseconds with a unit that leaves one to three digits before the point.
pub fn time(ns: u64) -> String {
    let ns = ns as f64;
    for (unit, scale) in [("s", 1e9), ("ms", 1e6), ("µs", 1e3)] {
        if ns >= scale {
            let value = ns / scale;
            let decimals = if value >= 100.0 {
                0
            } else if value >= 10.0 {
                1
            } else {
                2
            };
            return format!("{value:.decimals$} {unit}");
        }
    }
    format!("{ns} ns")
}

/// A whole number with a thin comma between groups of three digits.
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Bytes with a binary unit.
pub fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    for (unit, scale) in [("GiB", 1073741824.0), ("MiB", 1048576.0), ("KiB", 1024.0)] {
        if bytes >= scale {
            return format!("{:.1} {unit}", bytes / scale);
        }
    }
    format!("{bytes} B")
}

/// Lines of `label  value`, in groups.
pub(super) fn table(report: &Report) -> String {
    let facts = &report.facts;
    let mut text = String::new();
    let mut line = |label: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", format!("  {label:<18} {value}").trim_end());
    };
    let protocol = match (facts.null_protocol, facts.unreplicated) {
        (true, _) => "null protocol",
        (_, true) => "unreplicated",
        _ => "replicated",
    };
    line(
        "service",
        format!("{}, {protocol}, payload {} B, reply {} B", facts.service, facts.payload_bytes, facts.reply_bytes),
    );
    line(
        "replicas",
        format!("{} ({} active, {} may be faulty)", facts.replicas, facts.active_replicas, facts.faults_tolerated),
    );
    line(
        "transport",
        format!("{}, {}, arrangement {}, journal {}", facts.transport, facts.fan_out, facts.arrangement, facts.journal),
    );
    let pace = report
        .rate_ops_per_s
        .map_or("closed loop".to_string(), |rate| format!("{} operations/s due", count(rate.round() as u64)));
    line("load", format!("{} sessions, {} outstanding each, {pace}", facts.sessions, facts.outstanding));
    line("", String::new());
    line(
        "acknowledged",
        format!("{} operations in {}", count(report.operations_acknowledged), time(report.duration_ns)),
    );
    let kinds: Vec<String> =
        report.failures.iter().map(|f| format!("{} {}", count(f.operations), f.failure.name())).collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    line("failed", format!("{}{kinds}", count(report.operations_failed)));
    line("throughput", format!("{} operations/s", count(report.throughput_ops_per_s.round() as u64)));
    line("longest silence", time(report.acknowledgement_gap_max_ns));
    if let Some(mix) = &report.mix {
        let reads = count(mix.reads_acknowledged);
        let (once, ordered) = (count(mix.reads_one_round_trip), count(mix.reads_ordered));
        line("reads", format!("{reads}, of which {once} in one round trip and {ordered} ordered"));
        line("", format!("{:<12} {:<12} writes", "all", "reads"));
    }
    let beside = |pick: fn(&LatencySummary) -> u64| match &report.mix {
        None => time(pick(&report.latency_ns)),
        Some(mix) => {
            let [all, reads, writes] =
                [&report.latency_ns, &mix.read_latency_ns, &mix.write_latency_ns].map(|summary| time(pick(summary)));
            format!("{all:<12} {reads:<12} {writes}")
        }
    };
    line("latency p50", beside(|latency| latency.p50));
    line("latency p90", beside(|latency| latency.p90));
    line("latency p99", beside(|latency| latency.p99));
    line("latency p99.9", beside(|latency| latency.p99_9));
    line("latency max", beside(|latency| latency.max));
    line("latency mean", beside(|latency| latency.mean));
    line("", String::new());
    let per_operation_ns = report.cpu_seconds_watched * 1e9 / report.operations_acknowledged.max(1) as f64;
    line("processor", format!("{:.1} s, {} an operation", report.cpu_seconds, time(per_operation_ns.round() as u64)));
    line("memory", format!("{} in the largest replica", size(report.peak_rss_bytes)));
    line("datagrams", format!("{:.3} an operation", report.datagrams_per_operation));
    line("view changes", count(facts.view_changes));
    if let Some(linearizable) = facts.linearizable {
        line("history", (if linearizable { "linearizable" } else { "NOT LINEARIZABLE" }).to_owned());
    }
    let agree = if facts.orders_agree { "the same order" } else { "THE ORDER IS NOT CONFIRMED" };
    line("at the end", format!("{} of {} replicas reported: {agree}", facts.replicas_reported, facts.replicas));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        assert_eq!(
            [time(0), time(999), time(27_340), time(1_204_000), time(345_600_000), time(12_000_000_000)],
            ["0 ns", "999 ns", "27.3 µs", "1.20 ms", "346 ms", "12.0 s"]
        );
        assert_eq!([count(0), count(999), count(1_000), count(1_234_567)], ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([size(512), size(1536), size(5 << 20), size(3 << 30)], ["512 B", "1.5 KiB", "5.0 MiB", "3.0 GiB"]);
    }

    #[test]
    fn the_table_says_what_matters_and_never_hides_disagreement() {
        let mut report = super::super::tests::report();
        let table = table(&report);
        for part in
            ["20,000 operations/s", "10,000 operations in 500 ms", "500 µs", "4 of 4 replicas reported: the same order"]
        {
            assert!(table.contains(part), "{part} is not in\n{table}");
        }
        report.facts.orders_agree = false;
        assert!(super::table(&report).contains("NOT CONFIRMED"));
        assert!(!table.contains("reads"));
    }

    #[test]
    fn reads_and_writes_stand_beside_each_other() {
        let mut report = super::super::tests::mixed();
        let table = table(&report);
        for part in ["1,000, of which 990 in one round trip and 10 ordered", "reads        writes", "linearizable"] {
            assert!(table.contains(part), "{part} is not in\n{table}");
        }
        report.facts.linearizable = Some(false);
        assert!(super::table(&report).contains("NOT LINEARIZABLE"));
    }
}
