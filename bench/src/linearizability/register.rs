//! One key: a register that is written and read, each value written once.
//!
//! Because each value is written once, it is known which write a read saw, and the question is no search. A write and the reads that saw it
//! form a *cluster*. In any order that explains the history the members of a cluster stand together, since between them no other value may
//! be there. So the clusters must be put in order, and a cluster must come before another when one of its members returned before a
//! member of the other was called. With `f`, the earliest return in a cluster, and `s`, the latest call in it, that is: A comes before B
//! if `f(A) < s(B)`.
//!
//! Such an order exists unless there is a cycle, and where there is one, the cluster of it with the smallest `f` and its predecessor in the
//! cycle are one of two: `f(A) < s(B)` and `f(B) < s(A)`. So looking at pairs is enough, and sorting by `f` finds one in `n log n`
//! steps (the zones of Gibbons and Korach, *Testing shared memories*, SIAM J. Comput. 1997).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;

/// What was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// This value was written.
    Write(Vec<u8>),
    /// This value was there, or nothing.
    Read(Option<Vec<u8>>),
}

/// One read or write, with its times on one clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Whose it was.
    pub session: u64,
    /// Which of the session's.
    pub number: u64,
    /// Read before it was handed over, nanoseconds.
    pub call_ns: u64,
    /// Read after the answer was there; `None` for a write that may have taken effect at any time since, or never.
    pub return_ns: Option<u64>,
    /// What was done.
    pub access: Access,
}

/// What a register held before the history began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initial {
    /// Nothing.
    Absent,
    /// One value, or nothing; which is not known.
    Unknown,
}

/// Why no order explains a history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Two writes of one value: it could not be told which of them a read saw.
    #[error("{first} and {second} write the same value, so the history cannot be judged")]
    WrittenTwice {
        /// One of them.
        first: Box<Told>,
        /// The other.
        second: Box<Told>,
    },
    /// A read of a value that nobody wrote.
    #[error("{read} saw what was never written")]
    NeverWritten {
        /// The read.
        read: Box<Told>,
    },
    /// A read that returned before its value's write was called.
    #[error("{read} saw what {write} wrote later")]
    BeforeWritten {
        /// The read.
        read: Box<Told>,
        /// The write.
        write: Box<Told>,
    },
    /// Each of two values must have been there before the other.
    #[error(
        "one value was there before another ({first_returned} ended before {second_called} began) and also after it \
         ({second_returned} ended before {first_called} began)"
    )]
    Contradiction {
        /// Of the first value, what ended first; `None` stands for the beginning of the history.
        first_returned: Box<Told>,
        /// Of the first value, what began last.
        first_called: Box<Told>,
        /// Of the second value, what ended first.
        second_returned: Box<Told>,
        /// Of the second value, what began last.
        second_called: Box<Told>,
    },
}

/// An operation as a violation names it; `None` is the state before the history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told(pub Option<Operation>);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(operation) = &self.0 else { return f.write_str("the initial state") };
        let (what, value) = match &operation.access {
            Access::Write(value) => ("the write", hexadecimal(value)),
            Access::Read(Some(value)) => ("the read", hexadecimal(value)),
            Access::Read(None) => ("the read", "nothing".to_owned()),
        };
        let (session, number, call_ns) = (operation.session, operation.number, operation.call_ns);
        write!(f, "{what} of {value} (session {session}, number {number}, from {call_ns} ns to ")?;
        match operation.return_ns {
            Some(return_ns) => write!(f, "{return_ns} ns)"),
            None => f.write_str("no answer)"),
        }
    }
}

/// Bytes as hexadecimal digits, shortened where there are many.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    const SHOWN: usize = 16;
    let digits: String = bytes.iter().take(SHOWN).map(|byte| format!("{byte:02x}")).collect();
    if bytes.len() > SHOWN { format!("{digits}… ({} bytes)", bytes.len()) } else { digits }
}

/// A write and the reads that saw it. Times are one more than the operations', so that the initial state is before all of them.
struct Cluster<'a> {
    /// `None`: the initial state.
    write: Option<&'a Operation>,
    returned_first_ns: u64,
    returned_first: Option<&'a Operation>,
    called_last_ns: u64,
    called_last: Option<&'a Operation>,
}

impl<'a> Cluster<'a> {
    fn of_write(write: &'a Operation) -> Self {
        Self {
            write: Some(write),
            returned_first_ns: returned_ns(write),
            returned_first: Some(write),
            called_last_ns: called_ns(write),
            called_last: Some(write),
        }
    }

    fn initial() -> Self {
        Self { write: None, returned_first_ns: 0, returned_first: None, called_last_ns: 0, called_last: None }
    }

    fn add_read(&mut self, read: &'a Operation) {
        if returned_ns(read) < self.returned_first_ns {
            (self.returned_first_ns, self.returned_first) = (returned_ns(read), Some(read));
        }
        if called_ns(read) > self.called_last_ns {
            (self.called_last_ns, self.called_last) = (called_ns(read), Some(read));
        }
    }
}

fn called_ns(operation: &Operation) -> u64 {
    operation.call_ns.saturating_add(1)
}

fn returned_ns(operation: &Operation) -> u64 {
    operation.return_ns.map_or(u64::MAX, |return_ns| return_ns.saturating_add(1))
}

fn told(operation: Option<&Operation>) -> Box<Told> {
    Box::new(Told(operation.cloned()))
}

/// Checks the operations of one key, in any order. Reads without an answer say nothing and do not belong here.
///
/// # Errors
/// [`Violation`] when no order of the operations explains them, or when a value was written twice.
pub fn check(operations: &[Operation], initial: Initial) -> Result<(), Violation> {
    let mut clusters: HashMap<Option<&[u8]>, Cluster<'_>> = HashMap::new();
    for operation in operations {
        if let Access::Write(value) = &operation.access {
            let former = clusters.insert(Some(value), Cluster::of_write(operation));
            if let Some(former) = former {
                return Err(Violation::WrittenTwice { first: told(former.write), second: told(Some(operation)) });
            }
        }
    }
    let mut initial_seen = false;
    for operation in operations {
        let Access::Read(value) = &operation.access else { continue };
        let value = value.as_deref();
        let cluster = match clusters.entry(value) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(unknown) => {
                let possible = match initial {
                    Initial::Absent => value.is_none(),
                    Initial::Unknown => !initial_seen,
                };
                if !possible {
                    return Err(Violation::NeverWritten { read: told(Some(operation)) });
                }
                initial_seen = true;
                unknown.insert(Cluster::initial())
            }
        };
        if let Some(write) = cluster.write.filter(|write| returned_ns(operation) < called_ns(write)) {
            return Err(Violation::BeforeWritten { read: told(Some(operation)), write: told(Some(write)) });
        }
        cluster.add_read(operation);
    }
    check_order(clusters.into_values().collect())
}

fn check_order(mut clusters: Vec<Cluster<'_>>) -> Result<(), Violation> {
    clusters.sort_unstable_by_key(|cluster| (cluster.returned_first_ns, cluster.called_last_ns));
    // For each cluster the one up to it that is called last.
    let mut latest: Vec<usize> = Vec::with_capacity(clusters.len());
    for (at, cluster) in clusters.iter().enumerate() {
        // Those before this one: of them only such as begin to return before this one's last call, and of these the one called last.
        let candidates = clusters[..at].partition_point(|other| other.returned_first_ns < cluster.called_last_ns);
        if let Some(other) = candidates.checked_sub(1).map(|last| &clusters[latest[last]])
            && cluster.returned_first_ns < other.called_last_ns
        {
            return Err(Violation::Contradiction {
                first_returned: told(other.returned_first),
                first_called: told(other.called_last),
                second_returned: told(cluster.returned_first),
                second_called: told(cluster.called_last),
            });
        }
        let best = latest.last().copied().filter(|best| clusters[*best].called_last_ns >= cluster.called_last_ns);
        latest.push(best.unwrap_or(at));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use Initial::{Absent, Unknown};

    fn write(value: u8, call_ns: u64, return_ns: u64) -> Operation {
        Operation { session: 0, number: 0, call_ns, return_ns: Some(return_ns), access: Access::Write(vec![value]) }
    }

    fn read(value: Option<u8>, call_ns: u64, return_ns: u64) -> Operation {
        let access = Access::Read(value.map(|value| vec![value]));
        Operation { session: 1, number: 0, call_ns, return_ns: Some(return_ns), access }
    }

    fn unanswered(value: u8, call_ns: u64) -> Operation {
        Operation { return_ns: None, ..write(value, call_ns, 0) }
    }

    #[test]
    fn what_one_register_does_passes() {
        let history = [
            read(None, 0, 5),
            write(1, 3, 10),
            read(Some(1), 4, 6),
            read(None, 3, 6),
            read(Some(1), 11, 12),
            write(2, 20, 40),
            write(3, 20, 40),
            read(Some(3), 21, 22),
            read(Some(2), 30, 50),
            read(Some(2), 60, 70),
        ];
        assert_eq!(check(&history, Absent), Ok(()));
        assert_eq!(check(&[], Absent), Ok(()));
    }

    #[test]
    fn a_stale_read_fails() {
        let history = [write(1, 0, 1), write(2, 2, 3), read(Some(1), 4, 5)];
        let violation = check(&history, Absent).unwrap_err();
        assert!(matches!(violation, Violation::Contradiction { .. }), "{violation}");
        let text = violation.to_string();
        assert!(text.contains("the read of 01 (session 1, number 0, from 4 ns to 5 ns)"), "{text}");
        // A read that began before the second write ended may still see the first value.
        assert_eq!(check(&[write(1, 0, 1), write(2, 2, 6), read(Some(1), 4, 5)], Absent), Ok(()));
    }

    #[test]
    fn a_lost_update_fails() {
        assert!(check(&[write(1, 0, 1), read(None, 2, 3)], Absent).is_err());
        assert!(check(&[write(1, 0, 2), write(2, 1, 3), read(Some(2), 4, 5), read(Some(1), 6, 7)], Absent).is_err());
        assert!(check(&[write(1, 0, 1), read(Some(1), 2, 3), read(None, 4, 5)], Unknown).is_err());
    }

    #[test]
    fn a_value_that_was_never_written_fails() {
        let violation = check(&[write(1, 0, 1), read(Some(9), 2, 3)], Absent).unwrap_err();
        assert!(matches!(violation, Violation::NeverWritten { .. }));
        // Where it is not known what was there, one such value is what was there, and it must be the first.
        assert_eq!(check(&[read(Some(9), 0, 1), write(1, 2, 3)], Unknown), Ok(()));
        assert!(check(&[write(1, 0, 1), read(Some(9), 2, 3)], Unknown).is_err());
        assert!(check(&[read(Some(9), 0, 1), read(Some(8), 0, 1)], Unknown).is_err());
        assert!(check(&[read(Some(9), 0, 1), read(None, 0, 1)], Unknown).is_err());
    }

    #[test]
    fn real_time_is_kept() {
        let violation = check(&[read(Some(1), 0, 1), write(1, 2, 3)], Absent).unwrap_err();
        assert!(matches!(violation, Violation::BeforeWritten { .. }));
        // Two reads see the values in different orders, one wholly after the other.
        let swapped = [write(1, 0, 10), write(2, 0, 10), read(Some(1), 1, 2), read(Some(2), 3, 4), read(Some(1), 5, 6)];
        assert!(check(&swapped, Absent).is_err());
        // Two reads at a time may see either.
        let overlapping =
            [write(1, 0, 9), write(2, 0, 10), read(Some(1), 1, 4), read(Some(2), 3, 4), read(Some(1), 3, 6)];
        assert_eq!(check(&overlapping, Absent), Ok(()));
    }

    #[test]
    fn a_write_without_an_answer_took_effect_once_or_never() {
        assert_eq!(check(&[write(1, 0, 1), unanswered(2, 2), read(Some(1), 100, 101)], Absent), Ok(()));
        assert_eq!(
            check(&[write(1, 0, 1), unanswered(2, 2), read(Some(1), 5, 6), read(Some(2), 7, 8)], Absent),
            Ok(())
        );
        let undone = [write(1, 0, 1), unanswered(2, 2), read(Some(2), 5, 6), read(Some(1), 7, 8)];
        assert!(check(&undone, Absent).is_err());
        assert!(check(&[read(Some(2), 0, 1), unanswered(2, 2)], Absent).is_err());
    }

    #[test]
    fn a_value_written_twice_is_not_judged() {
        let violation = check(&[write(1, 0, 1), write(1, 2, 3)], Absent).unwrap_err();
        assert!(matches!(violation, Violation::WrittenTwice { .. }));
    }

    /// The definition itself: an order in which each operation that must have taken effect stands once, before everything that was called
    /// after it returned, and each read sees what was written last.
    fn is_explained(left: &[&Operation], value: Option<&[u8]>) -> bool {
        if left.iter().all(|operation| operation.return_ns.is_none()) {
            return true;
        }
        let returned_first = left.iter().map(|operation| returned_ns(operation)).min().unwrap_or(u64::MAX);
        (0..left.len()).filter(|at| called_ns(left[*at]) <= returned_first).any(|at| {
            let rest: Vec<&Operation> =
                left.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, operation)| *operation).collect();
            match &left[at].access {
                Access::Write(written) => is_explained(&rest, Some(written)),
                Access::Read(seen) => seen.as_deref() == value && is_explained(&rest, value),
            }
        })
    }

    #[test]
    fn the_verdict_is_that_of_an_exhaustive_search() {
        let mut state = 1u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % below
        };
        let (mut good, mut bad) = (0, 0);
        for _ in 0..4_000 {
            let writes = 1 + random(3) as u8;
            let mut history = Vec::new();
            for value in 0..writes {
                let call = random(12);
                let operation = write(value, call, call + random(6));
                history.push(if random(8) == 0 { unanswered(value, call) } else { operation });
            }
            for _ in 0..random(4) {
                let call = random(14);
                let value = random(u64::from(writes) + 1) as u8;
                history.push(read((value < writes).then_some(value), call, call + random(6)));
            }
            let explained = is_explained(&history.iter().collect::<Vec<_>>(), None);
            assert_eq!(check(&history, Absent).is_ok(), explained, "{history:?}");
            if explained { good += 1 } else { bad += 1 }
        }
        assert!(good > 500 && bad > 500, "{good} good histories and {bad} bad ones");
    }
}
