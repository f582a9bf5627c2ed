//! What a run found: for people a line of a table, for programs a line of JSON.

use crate::scenario::Scenario;
use serde_json::{Value, json};
use std::time::Duration;

/// What the goodput had to be for some time.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    /// During what.
    pub what: &'static str,
    /// Good answers a second.
    pub rate_per_s: f64,
    /// At least this part of the goodput without a fault.
    pub least: f64,
}

/// What a run found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which scenario.
    pub scenario: &'static str,
    /// Its name in words.
    pub name: &'static str,
    /// What decided its choices.
    pub seed: u64,
    /// Operations of the judged clients that were answered well.
    pub operations: u64,
    /// Operations that failed.
    pub failed: u64,
    /// Whether some may fail.
    pub failures_allowed: bool,
    /// Good answers a second without a fault.
    pub clean_per_s: f64,
    /// What the goodput was and had to be.
    pub claims: Vec<Claim>,
    /// How often the view changed, and how often it may have.
    pub view_changes: u64,
    /// At most.
    pub view_changes_most: Option<u64>,
    /// The longest time without any answer,
    pub gap: Duration,
    /// at most.
    pub gap_most: Option<Duration>,
    /// Everything that is wrong.
    pub problems: Vec<String>,
    /// What happened.
    pub story: Vec<String>,
}

impl Report {
    /// Nothing found yet.
    pub fn new(scenario: &Scenario, seed: u64) -> Self {
        Self {
            scenario: scenario.id,
            name: scenario.name,
            seed,
            operations: 0,
            failed: 0,
            failures_allowed: false,
            clean_per_s: 0.0,
            claims: Vec::new(),
            view_changes: 0,
            view_changes_most: None,
            gap: Duration::ZERO,
            gap_most: None,
            problems: Vec::new(),
            story: Vec::new(),
        }
    }

    /// Holds the figures against what they may be.
    pub fn judge(&mut self) {
        for claim in &self.claims {
            let ratio = self.ratio(claim);
            if ratio < claim.least {
                let Claim { what, least, .. } = claim;
                self.problems.push(format!("{what}: goodput {ratio:.2} of that without a fault, {least} wanted"));
            }
        }
        let changes = self.view_changes;
        if let Some(most) = self.view_changes_most.filter(|most| changes > *most) {
            self.problems.push(format!("{changes} view changes, {most} allowed"));
        }
        let gap = self.gap;
        if let Some(most) = self.gap_most.filter(|most| gap > *most) {
            self.problems.push(format!("{gap:.1?} without any answer, {most:?} allowed"));
        }
        if self.failed > 0 && !self.failures_allowed {
            self.problems.push(format!("{} operations failed", self.failed));
        }
    }

    fn ratio(&self, claim: &Claim) -> f64 {
        claim.rate_per_s / self.clean_per_s.max(1.0)
    }

    /// The least ratio of those that were held against a bound.
    pub fn ratio_least(&self) -> Option<f64> {
        self.claims.iter().map(|claim| self.ratio(claim)).min_by(f64::total_cmp)
    }

    /// Whether nothing is wrong.
    pub fn passed(&self) -> bool {
        self.problems.is_empty()
    }

    /// The verdict, in a word.
    fn verdict(&self) -> &'static str {
        if self.passed() { "passed" } else { "failed" }
    }

    /// One line of JSON.
    pub fn to_json(&self) -> Value {
        let claims = self.claims.iter().map(
            |claim| json!({"during": claim.what, "goodput_ratio": self.ratio(claim), "goodput_ratio_least": claim.least}),
        );
        json!({
            "scenario": self.scenario,
            "name": self.name,
            "seed": self.seed,
            "operations_acknowledged": self.operations,
            "operations_failed": self.failed,
            "goodput_clean_per_s": self.clean_per_s,
            "goodput_ratio": self.ratio_least(),
            "goodput": claims.collect::<Vec<_>>(),
            "view_changes": self.view_changes,
            "acknowledgement_gap_max_ns": self.gap.as_nanos() as u64,
            "problems": self.problems,
            "verdict": self.verdict(),
        })
    }

    /// The heading of the table.
    pub fn heading() -> String {
        format!(
            "{:<6} {:<26} {:>6} {:>10} {:>9} {:>7} {:>6} {:>9}  verdict",
            "", "scenario", "seed", "operations", "clean/s", "goodput", "views", "gap"
        )
    }

    /// One line of the table, and what is wrong below it.
    pub fn to_lines(&self) -> Vec<String> {
        let ratio = self.ratio_least().map_or(String::from("-"), |ratio| format!("{ratio:.2}"));
        let line = format!(
            "{:<6} {:<26} {:>6} {:>10} {:>9.0} {:>7} {:>6} {:>6} ms  {}",
            self.scenario,
            self.name,
            self.seed,
            self.operations,
            self.clean_per_s,
            ratio,
            self.view_changes,
            self.gap.as_millis(),
            self.verdict()
        );
        [line].into_iter().chain(self.problems.iter().map(|problem| format!("       {problem}"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::all;

    fn report() -> Report {
        let mut report = Report::new(&all()[0], 7);
        (report.clean_per_s, report.view_changes, report.gap) = (1000.0, 2, Duration::from_millis(80));
        report.claims = vec![
            Claim { what: "one", rate_per_s: 900.0, least: 0.5 },
            Claim { what: "other", rate_per_s: 600.0, least: 0.6 },
        ];
        report
    }

    #[test]
    fn what_is_within_its_bounds_passes() {
        let mut report = report();
        (report.view_changes_most, report.gap_most) = (Some(2), Some(Duration::from_millis(80)));
        report.judge();
        assert!(report.passed());
        assert_eq!(report.to_json()["verdict"], "passed");
        assert_eq!(report.to_json()["goodput_ratio"], 0.6);
        assert_eq!(report.to_lines().len(), 1);
    }

    #[test]
    fn every_bound_can_be_broken() {
        let broken = |change: fn(&mut Report)| {
            let mut report = report();
            change(&mut report);
            report.judge();
            assert!(!report.passed());
            assert_eq!(report.to_json()["verdict"], "failed");
            report.problems.concat()
        };
        assert!(broken(|report| report.view_changes_most = Some(1)).contains("2 view changes"));
        assert!(broken(|report| report.gap_most = Some(Duration::from_millis(79))).contains("without any answer"));
        assert!(broken(|report| report.claims[1].rate_per_s = 599.0).contains("other: goodput 0.60"));
        assert!(broken(|report| report.failed = 1).contains("1 operations failed"));
    }
}
