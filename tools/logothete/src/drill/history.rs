//! What was acknowledged against what is in the order: the check that a drill is about.
//!
//! A [`History`] hears two stories. The load tells what it submitted, which position each acknowledgement named, and of
//! which entries it will never know the outcome (in flight when a connection broke, or given up by the driver). A
//! subscriber tells the order. Nothing that the engine says of itself is used. What must hold:
//!
//! - an acknowledged entry is in the order at the position acknowledged;
//! - no entry is in the order twice, and each connection's entries are there in the order in which it appended them;
//! - nothing is in the order that nobody appended;
//! - positions have no gaps.
//!
//! Memory is what lies between the two stories: an entry of which both have told is forgotten.

use super::entry::EntryName;
use std::collections::{BTreeSet, VecDeque};
use std::fmt;

/// Connections that one drill can have: far more than its reconnections make.
const SESSIONS_MAX: u32 = 1 << 16;

/// Entries of one connection of which only one story has told, at most: far more than a load's lag allows. Beyond it an
/// entry's number is taken for an invention.
const OPEN_MAX: u64 = 1 << 24;

/// Passed-over entries that are remembered of a connection, to tell a late one from a second one.
const PASSED_MAX: usize = 1 << 16;

/// Violations that are told in words; the rest is counted.
const TOLD_MAX: usize = 8;

/// How the order breaks what was promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Violation {
    /// Acknowledged at `position`, where the order has something else, or nothing.
    Lost { entry: EntryName, position: u64 },
    /// Acknowledged at `acknowledged`, and in the order elsewhere.
    Misplaced { entry: EntryName, acknowledged: u64, position: u64 },
    /// In the order a second time.
    Duplicated { entry: EntryName, position: u64 },
    /// In the order after a later entry of its connection.
    OutOfOrder { entry: EntryName, position: u64 },
    /// In the order, and never appended.
    Invented { session: u32, appended: u64, ordered: u64 },
    /// In the order, and not an entry of this load.
    Damaged { position: u64 },
    /// A subscriber was handed `found` where `expected` follows.
    Gap { expected: u64, found: u64 },
    /// One entry was acknowledged twice, or after it was given up.
    AcknowledgedAgain { entry: EntryName, position: u64 },
}

impl fmt::Display for EntryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "entry {} of session {}", self.counter, self.session)
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { entry, position } => {
                write!(f, "{entry} was acknowledged at position {position} and is not in the order there")
            }
            Self::Misplaced { entry, acknowledged, position } => {
                write!(f, "{entry} was acknowledged at position {acknowledged} and is in the order at {position}")
            }
            Self::Duplicated { entry, position } => write!(f, "{entry} is in the order again at position {position}"),
            Self::OutOfOrder { entry, position } => {
                write!(f, "{entry} is in the order at position {position}, after a later entry of that session")
            }
            Self::Invented { session, appended, ordered } => write!(
                f,
                "the order has entry {} of session {session}, which appended {appended} entries",
                ordered.saturating_sub(1)
            ),
            Self::Damaged { position } => write!(f, "what is at position {position} is not what anybody appended"),
            Self::Gap { expected, found } => write!(f, "position {found} came where {expected} follows"),
            Self::AcknowledgedAgain { entry, position } => {
                write!(f, "{entry} was acknowledged again, at position {position}")
            }
        }
    }
}

/// Violations, counted, and the first of them in full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations {
    /// Acknowledged and not where it was acknowledged, or nowhere.
    pub lost: u64,
    /// More than once in the order, or acknowledged more than once.
    pub duplicated: u64,
    /// Not in its session's order, or positions with gaps.
    pub out_of_order: u64,
    /// In the order, and never appended like that.
    pub invented: u64,
    /// The first ones.
    pub told: Vec<Violation>,
}

impl Violations {
    fn add(&mut self, violation: Violation) {
        *match violation {
            Violation::Lost { .. } | Violation::Misplaced { .. } => &mut self.lost,
            Violation::Duplicated { .. } | Violation::AcknowledgedAgain { .. } => &mut self.duplicated,
            Violation::OutOfOrder { .. } | Violation::Gap { .. } => &mut self.out_of_order,
            Violation::Invented { .. } | Violation::Damaged { .. } => &mut self.invented,
        } += 1;
        if self.told.len() < TOLD_MAX {
            self.told.push(violation);
        }
    }

    /// How many there are.
    pub fn total(&self) -> u64 {
        self.lost + self.duplicated + self.out_of_order + self.invented
    }
}

/// What the load knows of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Awaited,
    Acknowledged(u64),
    Unknown,
}

/// An entry of which one story has not told yet.
#[derive(Clone, Copy, Debug)]
struct Open {
    answer: Answer,
    ordered: Option<u64>,
}

/// One connection.
#[derive(Debug, Default)]
struct SessionHistory {
    appended: u64,
    /// One after the last of its entries in the order.
    ordered_next: u64,
    /// The number of the first entry in `open`; those before are settled.
    open_first: u64,
    open: VecDeque<Open>,
    /// Settled entries that the order passed over.
    passed: BTreeSet<u64>,
}

impl SessionHistory {
    /// The open entry `counter`; `None` when it is settled, or lies absurdly far ahead.
    fn open(&mut self, counter: u64) -> Option<&mut Open> {
        let place = counter.checked_sub(self.open_first).filter(|place| *place < OPEN_MAX)? as usize;
        if place >= self.open.len() {
            self.open.resize(place + 1, Open { answer: Answer::Awaited, ordered: None });
        }
        Some(&mut self.open[place])
    }

    /// Forgets entries from the first on, as long as everything is known of them. The order has been read up to
    /// `order_end`. Returns the first that is lost, if one is: call again then.
    fn settle(&mut self, order_end: u64) -> Option<(u64, u64)> {
        while let Some(first) = self.open.front() {
            let counter = self.open_first;
            let mut lost = None;
            match (first.answer, first.ordered) {
                (Answer::Acknowledged(_) | Answer::Unknown, Some(_)) => {}
                (Answer::Acknowledged(position), None) if position < order_end => lost = Some((counter, position)),
                (Answer::Unknown, None) if counter < self.ordered_next => {}
                _ => return None,
            }
            if first.ordered.is_none() {
                if self.passed.len() == PASSED_MAX {
                    self.passed.pop_first();
                }
                self.passed.insert(counter);
            }
            self.open.pop_front();
            self.open_first += 1;
            if lost.is_some() {
                return lost;
            }
        }
        None
    }
}

/// Both stories, as far as they have been told.
#[derive(Debug, Default)]
pub struct History {
    sessions: Vec<SessionHistory>,
    /// One after the last position of the order that was told.
    order_end: u64,
    entries_ordered: u64,
    violations: Violations,
}

impl History {
    /// Nothing told yet; the order will be told from position 0 on.
    pub fn new() -> Self {
        Self::default()
    }

    /// The load: connection `session` has appended the entries before `appended`.
    pub fn on_appended(&mut self, session: u32, appended: u64) {
        if let Some(session) = self.session(session) {
            session.appended = session.appended.max(appended);
        }
    }

    /// The load: an entry was acknowledged at a position.
    pub fn on_acknowledged(&mut self, entry: EntryName, position: u64) {
        let Some(open) = self.session(entry.session).and_then(|session| session.open(entry.counter)) else {
            self.violations.add(Violation::AcknowledgedAgain { entry, position });
            return;
        };
        if open.answer != Answer::Awaited {
            self.violations.add(Violation::AcknowledgedAgain { entry, position });
            return;
        }
        open.answer = Answer::Acknowledged(position);
        if let Some(ordered) = open.ordered.filter(|ordered| *ordered != position) {
            self.violations.add(Violation::Misplaced { entry, acknowledged: position, position: ordered });
        }
        self.settle(entry.session);
    }

    /// The load: nobody will tell whether this entry was ordered.
    pub fn on_unknown(&mut self, entry: EntryName) {
        if let Some(open) = self.session(entry.session).and_then(|session| session.open(entry.counter))
            && open.answer == Answer::Awaited
        {
            open.answer = Answer::Unknown;
            self.settle(entry.session);
        }
    }

    /// The subscriber: what is at `position`; `None` where the bytes there do not verify.
    pub fn on_ordered(&mut self, position: u64, entry: Option<EntryName>) {
        if position != self.order_end {
            self.violations.add(Violation::Gap { expected: self.order_end, found: position });
        }
        self.order_end = position + 1;
        self.entries_ordered += 1;
        let Some(entry) = entry.filter(|entry| entry.session < SESSIONS_MAX) else {
            self.violations.add(Violation::Damaged { position });
            return;
        };
        let Some(session) = self.session(entry.session) else {
            return;
        };
        let ordered_next = session.ordered_next;
        if entry.counter < session.open_first {
            let late = session.passed.remove(&entry.counter);
            self.violations.add(if late {
                Violation::OutOfOrder { entry, position }
            } else {
                Violation::Duplicated { entry, position }
            });
            return;
        }
        let Some(open) = session.open(entry.counter) else {
            self.violations.add(Violation::Damaged { position });
            return;
        };
        if open.ordered.is_some() {
            self.violations.add(Violation::Duplicated { entry, position });
            return;
        }
        open.ordered = Some(position);
        let answer = open.answer;
        session.ordered_next = ordered_next.max(entry.counter + 1);
        if entry.counter < ordered_next {
            self.violations.add(Violation::OutOfOrder { entry, position });
        }
        if let Answer::Acknowledged(acknowledged) = answer
            && acknowledged != position
        {
            self.violations.add(Violation::Misplaced { entry, acknowledged, position });
        }
        self.settle(entry.session);
    }

    /// Both stories are over: what is acknowledged and was not told by now is lost. Returns what was found, and how many
    /// entries the order had.
    pub fn finish(mut self) -> (Violations, u64) {
        for (id, session) in (0..).zip(std::mem::take(&mut self.sessions)) {
            for (counter, open) in (session.open_first..).zip(&session.open) {
                if let (Answer::Acknowledged(position), None) = (open.answer, open.ordered) {
                    self.violations.add(Violation::Lost { entry: EntryName { session: id, counter }, position });
                }
            }
            if session.ordered_next > session.appended {
                self.violations.add(Violation::Invented {
                    session: id,
                    appended: session.appended,
                    ordered: session.ordered_next,
                });
            }
        }
        (self.violations, self.entries_ordered)
    }

    /// A connection, which may be told of by either story first.
    fn session(&mut self, id: u32) -> Option<&mut SessionHistory> {
        if id >= SESSIONS_MAX {
            return None;
        }
        let place = id as usize;
        if place >= self.sessions.len() {
            self.sessions.resize_with(place + 1, SessionHistory::default);
        }
        Some(&mut self.sessions[place])
    }

    fn settle(&mut self, id: u32) {
        while let Some((counter, position)) = self.sessions[id as usize].settle(self.order_end) {
            self.violations.add(Violation::Lost { entry: EntryName { session: id, counter }, position });
        }
    }
}

#[cfg(test)]
#[path = "history_tests.rs"]
mod tests;
