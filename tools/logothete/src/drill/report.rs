//! What a drill found: the JSON object, the lines for a person, and whether it passed.

use super::figures::PhaseLatencies;
use super::memory::{GROWTH_MAX_PERCENT, SETTLING_NS, median};
use super::run::Outcome;
use super::story::seconds;
use logothete_bench::report::count;
use serde_json::{Map, Value, json};

/// Problems that are told in words at most; the JSON object has all.
const TOLD_MAX: usize = 12;

/// What was done.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The drill's name.
    pub drill: &'static str,
    /// Replicas.
    pub replicas: usize,
    /// The journal mode.
    pub journal: String,
    /// Sessions of the load.
    pub sessions: usize,
    /// Operations in flight a session.
    pub outstanding: usize,
    /// Bytes of an entry.
    pub payload_bytes: usize,
    /// Whether a change of the view is a problem.
    pub view_kept: bool,
    /// Whether an operation without a position, or a session that ended, is a problem.
    pub undisturbed: bool,
}

impl Subject {
    /// Adds what the drill forbids to what a run found wrong.
    pub fn judge(&self, run: &mut Outcome) {
        if self.view_kept && run.view_changes > 0 {
            run.problems.push(format!("the view changed {} times, without a fault of the primary", run.view_changes));
        }
        if self.undisturbed && run.load.failed > 0 {
            run.problems.push(format!("{} operations failed", run.load.failed));
        }
        if self.undisturbed && run.load.reconnections > 0 {
            run.problems.push(format!("{} sessions ended and had to be opened again", run.load.reconnections));
        }
        // A shorter run does not say whether a process had settled.
        if run.memory.duration_ns() >= 2 * SETTLING_NS {
            for (name, percent) in
                run.memory.growth_percent().into_iter().filter(|(_, grown)| *grown > GROWTH_MAX_PERCENT)
            {
                run.problems.push(format!("the memory of {name} grew by {percent:.1} % after it had settled"));
            }
        }
        if run.violations.total() > run.violations.told.len() as u64 {
            run.problems.push(format!(
                "in all {} entries lost, {} duplicated, {} out of order, {} invented",
                run.violations.lost, run.violations.duplicated, run.violations.out_of_order, run.violations.invented
            ));
        }
    }
}

/// All runs of a drill.
#[derive(Debug)]
pub struct Report {
    subject: Subject,
    runs: Vec<Outcome>,
    duration_ns: u64,
}

impl Report {
    /// Puts the runs of a drill together, each judged; the drill took `duration_ns` in all.
    pub fn new(subject: Subject, runs: Vec<Outcome>, duration_ns: u64) -> Self {
        Self { subject, runs, duration_ns }
    }

    /// Everything that is wrong, in words; empty if the drill passed.
    pub fn problems(&self) -> Vec<String> {
        let several = self.runs.len() > 1;
        let runs = self.runs.iter().enumerate();
        let named =
            runs.flat_map(|(place, run)| {
                run.problems.iter().map(move |problem| {
                    if several { format!("time {}: {problem}", place + 1) } else { problem.clone() }
                })
            });
        named.collect()
    }

    /// Why the drill failed, in words; none if it passed.
    pub fn failure(&self) -> Option<String> {
        let problems = self.problems();
        if problems.is_empty() {
            return None;
        }
        let told = problems.iter().take(TOLD_MAX).map(|problem| format!("\n  {problem}")).collect::<String>();
        let more = problems.len().saturating_sub(TOLD_MAX);
        let rest = if more > 0 { format!("\n  and {more} more") } else { String::new() };
        Some(format!("drill {} failed:{told}{rest}", self.subject.drill))
    }

    /// The longest time without acknowledgements of every round.
    fn gaps_ns(&self) -> Vec<u64> {
        self.runs.iter().flat_map(|run| run.load.gaps.rounds.iter().map(|gap| gap.length_ns())).collect()
    }

    fn sum(&self, value: impl Fn(&Outcome) -> u64) -> u64 {
        self.runs.iter().map(value).sum()
    }

    fn latencies(&self) -> PhaseLatencies {
        let mut all = PhaseLatencies::default();
        self.runs.iter().for_each(|run| all.add(&run.load.latencies));
        all
    }

    fn throughput(&self) -> f64 {
        let measured_ns = self.sum(|run| run.load.measured_ns).max(1);
        self.sum(|run| run.load.latencies.count()) as f64 / measured_ns as f64 * 1e9
    }

    /// The worst growth of each process over all runs.
    fn growth(&self) -> Map<String, Value> {
        let mut growth: Map<String, Value> = Map::new();
        for (name, percent) in self.runs.iter().flat_map(|run| run.memory.growth_percent()) {
            let known = growth.get(&name).and_then(Value::as_f64).unwrap_or(f64::NEG_INFINITY);
            growth.insert(name, json!(known.max(percent)));
        }
        growth
    }

    /// The JSON object.
    pub fn to_json(&self) -> Value {
        let Subject { drill, replicas, journal, sessions, outstanding, payload_bytes, .. } = &self.subject;
        let gaps = self.gaps_ns();
        let latencies = self.latencies();
        let phases: Map<String, Value> = latencies
            .summaries()
            .map(|(name, operations, summary)| {
                let value =
                    json!({ "operations": operations, "p50": summary.p50, "p99": summary.p99, "max": summary.max });
                (name.to_owned(), value)
            })
            .collect();
        let explained: Vec<_> = self.runs.iter().flat_map(|run| &run.gaps_explained).collect();
        let catch_up: Vec<u64> = self.runs.iter().flat_map(|run| run.catch_up_ns.iter().copied()).collect();
        let memory: Vec<_> = self.runs.iter().map(|run| run.memory.series()).collect();
        json!({
            "drill": drill,
            "passed": self.problems().is_empty(),
            "problems": self.problems(),
            "journal": journal,
            "replicas": replicas,
            "sessions": sessions,
            "outstanding": outstanding,
            "payload_bytes": payload_bytes,
            "times": self.runs.iter().map(|run| run.load.gaps.rounds.len().max(1)).sum::<usize>(),
            "gaps_ns": gaps,
            "acknowledgement_gap_max_ns": {
                "median": if gaps.is_empty() { 0 } else { median(&gaps) },
                "worst": gaps.iter().max().copied().unwrap_or(0),
            },
            "gaps_explained": explained,
            "latency_ns": phases,
            "operations_acknowledged": latencies.count(),
            "operations_failed": self.sum(|run| run.load.failed),
            "operations_refused": self.sum(|run| run.load.refused),
            "reconnections": self.sum(|run| run.load.reconnections),
            "entries_checked": self.sum(|run| run.entries_checked),
            "load_held_back_ns": self.sum(|run| run.load.held_back_ns),
            "view_changes": self.sum(|run| run.view_changes),
            "lost": self.sum(|run| run.violations.lost),
            "duplicated": self.sum(|run| run.violations.duplicated),
            "out_of_order": self.sum(|run| run.violations.out_of_order),
            "invented": self.sum(|run| run.violations.invented),
            "catch_up_ns": catch_up,
            "rss_growth_percent_by_process": self.growth(),
            "rss_bytes_by_process": memory,
            "orders_agree": self.runs.iter().all(|run| run.orders_agree),
            "duration_ns": self.duration_ns,
            "throughput_ops_per_s": self.throughput(),
            "version": env!("CARGO_PKG_VERSION"),
        })
    }

    /// The lines for a person.
    pub fn to_lines(&self) -> Vec<String> {
        let Subject { drill, replicas, journal, sessions, outstanding, payload_bytes, .. } = &self.subject;
        let line = |label: &str, value: String| format!("{label:<18} {value}");
        let gaps = self.gaps_ns();
        let latencies = self.latencies();
        let mut lines = vec![
            line("drill", format!("{drill}, {replicas} replicas, journal {journal}")),
            line("load", format!("{sessions} sessions of {outstanding} outstanding, {payload_bytes} bytes")),
            line(
                "operations",
                format!("{} acknowledged, {}/s", count(latencies.count()), count(self.throughput() as u64)),
            ),
            line(
                "checked",
                format!(
                    "{} entries: {} lost, {} duplicated, {} out of order, {} invented",
                    count(self.sum(|run| run.entries_checked)),
                    self.sum(|run| run.violations.lost),
                    self.sum(|run| run.violations.duplicated),
                    self.sum(|run| run.violations.out_of_order),
                    self.sum(|run| run.violations.invented)
                ),
            ),
        ];
        if !gaps.is_empty() {
            let worst = gaps.iter().max().copied().unwrap_or(0);
            let median = seconds(median(&gaps));
            lines.push(line("no acknowledgement", format!("{} at worst, median {median}", seconds(worst))));
            let all: Vec<_> = gaps.iter().map(|gap| seconds(*gap)).collect();
            if all.len() > 1 {
                lines.push(line("", all.join(", ")));
            }
        }
        let worst = self.runs.iter().max_by_key(|run| run.load.gaps.longest.first().map(|gap| gap.length_ns()));
        if let Some(text) = worst.and_then(|run| run.gaps_explained.first()) {
            lines.push(line("", text.clone()));
        }
        for (name, _, summary) in latencies.summaries() {
            let text = format!("p50 {}, p99 {}", seconds(summary.p50), seconds(summary.p99));
            lines.push(line(&format!("latency {name}"), text));
        }
        let catch_up: Vec<_> = self.runs.iter().flat_map(|run| &run.catch_up_ns).map(|took| seconds(*took)).collect();
        if !catch_up.is_empty() {
            lines.push(line("back after", catch_up.join(", ")));
        }
        let growth = self.growth();
        if !growth.is_empty() {
            let growth = growth.iter().map(|(name, value)| {
                let percent = value.as_f64().unwrap_or_default();
                format!("{name} {percent:+.1} %")
            });
            lines.push(line("memory", growth.collect::<Vec<_>>().join(", ")));
        }
        lines.push(line("view changes", self.sum(|run| run.view_changes).to_string()));
        let agree = if self.runs.iter().all(|run| run.orders_agree) { "the same" } else { "NOT the same" };
        lines.push(line("order", format!("{agree} at all replicas")));
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::Gaps;
    use super::super::load::LoadFigures;
    use super::super::memory::Memory;
    use super::super::shared::Phase;
    use super::*;

    fn subject() -> Subject {
        Subject {
            drill: "kill-primary",
            replicas: 4,
            journal: String::from("off"),
            sessions: 2,
            outstanding: 8,
            payload_bytes: 16,
            view_kept: false,
            undisturbed: false,
        }
    }

    fn run(gap_ns: u64) -> Outcome {
        let mut gaps = Gaps::default();
        gaps.begin(100);
        gaps.on_acknowledged(100 + gap_ns, 0);
        let mut latencies = PhaseLatencies::default();
        latencies.record(Phase::Before, 1000);
        Outcome {
            load: LoadFigures { gaps, latencies, measured_ns: 500_000_000, ..LoadFigures::default() },
            gaps_explained: vec![String::from("because")],
            view_changes: 1,
            orders_agree: true,
            catch_up_ns: vec![7],
            ..Outcome::default()
        }
    }

    #[test]
    fn every_field_that_is_promised_is_there() {
        let report = Report::new(subject(), vec![run(10), run(30), run(20)], 9);
        let json = report.to_json();
        assert_eq!(json["gaps_ns"], json!([10, 30, 20]));
        assert_eq!(json["acknowledgement_gap_max_ns"], json!({ "median": 20, "worst": 30 }));
        assert_eq!(json["times"], 3);
        assert_eq!(json["view_changes"], 3);
        assert_eq!(json["catch_up_ns"], json!([7, 7, 7]));
        assert_eq!(json["throughput_ops_per_s"], 2.0);
        assert_eq!((&json["passed"], &json["orders_agree"]), (&json!(true), &json!(true)));
        for field in ["drill", "journal", "lost", "duplicated", "out_of_order", "duration_ns", "version"] {
            assert!(!json[field].is_null(), "{field}");
        }
        assert!(json["rss_growth_percent_by_process"].is_object());
        assert_eq!(report.failure(), None);
        let text = report.to_lines().join("\n");
        assert!(text.contains("0.000 ms at worst") && text.contains("because"), "{text}");
    }

    #[test]
    fn what_a_drill_forbids_is_a_problem() {
        let strict = Subject { view_kept: true, undisturbed: true, ..subject() };
        let mut disturbed = run(10);
        (disturbed.load.failed, disturbed.load.reconnections) = (3, 2);
        strict.judge(&mut disturbed);
        let failure = Report::new(strict, vec![disturbed], 9).failure().expect("a failure");
        for part in ["the view changed 1 times", "3 operations failed", "2 sessions ended"] {
            assert!(failure.contains(part), "{failure}");
        }
        let mut memory = Memory::default();
        (0..700).for_each(|second| memory.add("replica 2", second * 1_000_000_000, 7, 1000 + second / 400 * 21));
        let mut grown = Outcome { memory, ..run(10) };
        subject().judge(&mut grown);
        let failure = Report::new(subject(), vec![grown], 9).failure().expect("a failure");
        assert!(failure.contains("the memory of replica 2 grew by 2.1 %"), "{failure}");
        let many = Outcome { problems: vec![String::from("x"); 20], ..run(10) };
        let failure = Report::new(subject(), vec![run(1), many], 9).failure().expect("a failure");
        assert!(failure.contains("time 2: x") && failure.ends_with("and 8 more"), "{failure}");
    }
}
