//! What was found wrong, and which checker found it.

use std::fmt;

macro_rules! checkers {
    ($($(#[doc = $doc:literal])+ $checker:ident => $label:literal,)*) => {
        /// A checker, by the number that RELIABILITY.md section 3.4 gives it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Checker { $($(#[doc = $doc])+ $checker,)* }

        impl fmt::Display for Checker {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Self::$checker => $label,)* })
            }
        }
    };
}

checkers! {
    /// One batch a number.
    Agreement => "C1 agreement",
    /// Equal states after equal numbers.
    State => "C2 state",
    /// What correct clients see could have come from one copy of the service.
    Linearizability => "C3 linearizability",
    /// Each request once.
    ExactlyOnce => "C4 exactly once",
    /// Only what clients asked for, as they asked for it.
    Validity => "C5 validity",
    /// What is asked for completes.
    Liveness => "C6 liveness",
    /// Nothing grows without bound.
    Bounds => "C7 bounds",
    /// What only rises does.
    Monotonicity => "C8 monotonicity",
    /// No correct replica says two things that exclude each other.
    Contradiction => "C9 contradiction",
    /// A promise is durable before it leaves.
    Durability => "C10 durability",
    /// Certificates have the votes that they stand for.
    Certificates => "C11 certificates",
    /// What a client accepts has the replies that it takes.
    Acceptance => "C12 acceptance",
    /// Nothing stops a process.
    Panics => "C13 panic",
    /// What is rejected is counted, and what is beyond the promise raises the alarm.
    Counters => "C15 counters",
}

/// Everything found wrong since it was last looked at.
#[derive(Debug, Default)]
pub struct Violations(Vec<(Checker, String)>);

impl Violations {
    pub fn add(&mut self, checker: Checker, text: impl Into<String>) {
        self.0.push((checker, text.into()));
    }

    /// Takes what was found.
    ///
    /// # Errors
    /// All of it, one a line.
    pub fn take(&mut self) -> Result<(), String> {
        if self.0.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = self.0.drain(..).map(|(checker, text)| format!("{checker}: {text}")).collect();
        Err(lines.join("\n"))
    }

    /// Who found something.
    #[cfg(test)]
    pub fn checkers(&self) -> Vec<Checker> {
        self.0.iter().map(|(checker, _)| *checker).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_is_told_once_and_by_whom() {
        let mut violations = Violations::default();
        assert_eq!(violations.take(), Ok(()));
        violations.add(Checker::Agreement, "two batches");
        violations.add(Checker::Bounds, "too much");
        assert_eq!(violations.checkers(), [Checker::Agreement, Checker::Bounds]);
        assert_eq!(violations.take(), Err("C1 agreement: two batches\nC7 bounds: too much".to_owned()));
        assert_eq!(violations.take(), Ok(()));
    }
}
