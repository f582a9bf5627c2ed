//! What came of many seeds, for people and as JSON.

use logothete_simulator::marks::{Mark, Marks};
use logothete_simulator::swarm::run::Outcome;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// A seed that failed.
#[derive(Clone, Debug, Serialize)]
pub struct Failed {
    pub seed: u64,
    /// What was violated.
    pub property: String,
    /// The virtual time then.
    pub virtual_ns: u64,
}

/// Sums over seeds.
#[derive(Debug, Default)]
pub struct Report {
    pub seeds: u64,
    /// How many were to be played, where a signal ended it before.
    pub interrupted_of: Option<u64>,
    pub failed: Vec<Failed>,
    pub marks: Marks,
    cut_short: u64,
    deliveries: u64,
    operations: u64,
    virtual_ns: u64,
    view_changes: u64,
}

/// The JSON object.
#[derive(Serialize)]
struct Json<'a> {
    seeds: u64,
    failures: &'a [Failed],
    cut_short: u64,
    deliveries: u64,
    deliveries_per_s: f64,
    operations: u64,
    virtual_ns: u64,
    duration_ns: u64,
    marks: BTreeMap<&'static str, u64>,
    marks_missed: Vec<String>,
    version: &'static str,
}

impl Report {
    /// Adds one.
    pub fn add(&mut self, outcome: Outcome) {
        self.seeds += 1;
        self.cut_short += u64::from(outcome.cut_short);
        self.deliveries += outcome.deliveries;
        self.operations += outcome.operations;
        self.virtual_ns += outcome.virtual_ns;
        self.view_changes += outcome.view;
        self.marks.merge(&outcome.marks);
        let seed = outcome.seed;
        self.failed.extend(outcome.violation.map(|(property, virtual_ns)| Failed { seed, property, virtual_ns }));
    }

    fn rate(&self, elapsed: Duration) -> f64 {
        self.deliveries as f64 / elapsed.as_secs_f64()
    }

    /// In a few words, while it goes on.
    pub fn progress(&self, of: u64, elapsed: Duration) -> String {
        let rate = self.rate(elapsed) / 1e3;
        format!("{} of {of} seeds, {} failed, {rate:.0} k deliveries/s", self.seeds, self.failed.len())
    }

    /// For people.
    pub fn lines(&self, elapsed: Duration) -> Vec<String> {
        let hours = self.virtual_ns as f64 / 3.6e12;
        let (rate, seconds) = (self.rate(elapsed) / 1e3, elapsed.as_secs_f64());
        let (hit, all) = (Mark::ALL.iter().filter(|mark| self.marks.hits(**mark) > 0).count(), Mark::ALL.len());
        let mut lines = vec![
            format!("seeds       {}, of which {} failed", self.seeds, self.failed.len()),
            format!("operations  {} answered, {} views left", self.operations, self.view_changes),
            format!("deliveries  {}, {rate:.0} k/s", self.deliveries),
            format!("time        {seconds:.1} s, in which {hours:.2} virtual hours passed"),
            format!("marks       {hit} of {all} hit"),
        ];
        if self.cut_short > 0 {
            lines.push(format!("cut short   {} seeds", self.cut_short));
        }
        lines
    }

    /// For programs.
    pub fn json(&self, elapsed: Duration) -> impl Serialize {
        Json {
            seeds: self.seeds,
            failures: &self.failed,
            cut_short: self.cut_short,
            deliveries: self.deliveries,
            deliveries_per_s: self.rate(elapsed),
            operations: self.operations,
            virtual_ns: self.virtual_ns,
            duration_ns: elapsed.as_nanos() as u64,
            marks: Mark::ALL.iter().map(|mark| (mark.name(), self.marks.hits(*mark))).collect(),
            marks_missed: self.marks.missed(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}
