//! What happened when: so that a time without acknowledgements can be explained.

use super::figures::Gap;

/// Events that an explanation names at most.
const NAMED_MAX: usize = 4;

/// The events of one run, in their order.
#[derive(Clone, Debug, Default)]
pub struct Story {
    events: Vec<(u64, String)>,
}

impl Story {
    /// Something happens, or is heard of that happened `at_ns` by the drill's clock.
    pub fn tell(&mut self, at_ns: u64, what: impl Into<String>) {
        let place = self.events.partition_point(|(before_ns, _)| *before_ns <= at_ns);
        self.events.insert(place, (at_ns, what.into()));
    }

    /// When a gap was and what was going on, in words.
    pub fn explain(&self, gap: Gap) -> String {
        let before = self.events.iter().rev().find(|(at_ns, _)| *at_ns <= gap.begin_ns);
        let within: Vec<_> =
            self.events.iter().filter(|(at_ns, _)| *at_ns > gap.begin_ns && *at_ns <= gap.end_ns).collect();
        let mut text = format!("{} from {} on", seconds(gap.length_ns()), seconds(gap.begin_ns));
        if let Some((at_ns, what)) = before {
            text.push_str(&format!(", {} after: {what}", seconds(gap.begin_ns - at_ns)));
        }
        for (at_ns, what) in within.iter().take(NAMED_MAX) {
            text.push_str(&format!("; {} into it: {what}", seconds(at_ns - gap.begin_ns)));
        }
        if within.len() > NAMED_MAX {
            text.push_str(&format!("; and {} more events", within.len() - NAMED_MAX));
        }
        text
    }

    /// All of it, a line an event.
    pub fn text(&self) -> String {
        self.events.iter().map(|(at_ns, what)| format!("{:>12}  {what}\n", seconds(*at_ns))).collect()
    }
}

/// A time in words.
pub fn seconds(time_ns: u64) -> String {
    match time_ns {
        0..10_000_000 => format!("{:.3} ms", time_ns as f64 / 1e6),
        10_000_000..1_000_000_000 => format!("{:.1} ms", time_ns as f64 / 1e6),
        _ => format!("{:.3} s", time_ns as f64 / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_explained_by_what_happened_before_and_in_it() {
        let mut story = Story::default();
        story.tell(1_000_000_000, "the load begins");
        story.tell(2_000_000_000, "SIGKILL of replica 0");
        story.tell(2_040_000_000, "replica 0 is started again");
        let text = story.explain(Gap { begin_ns: 2_001_000_000, end_ns: 2_061_000_000 });
        assert_eq!(
            text,
            "60.0 ms from 2.001 s on, 1.000 ms after: SIGKILL of replica 0; 39.0 ms into it: replica 0 is started again"
        );
        let first = story.explain(Gap { begin_ns: 0, end_ns: 500_000_000 });
        assert_eq!(first, "500.0 ms from 0.000 ms on");
        assert_eq!(story.text().lines().count(), 3);
    }

    #[test]
    fn a_long_list_is_cut() {
        let mut story = Story::default();
        for at_ns in 1..=10 {
            story.tell(at_ns, "x");
        }
        assert!(story.explain(Gap { begin_ns: 0, end_ns: 10 }).ends_with("; and 6 more events"));
    }
}
