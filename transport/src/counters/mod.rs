//! Counters: numbers with one writer each that anybody on the host may read while the writer runs.
//!
//! [`Counter`] is the number; [`counter_set!`](crate::counter_set) declares a group of them once, with label, unit
//! and docs; [`CountersFile`] places groups in a mapped file, one file a process; [`Counters`] opens such a file from
//! any other process.
//!
//! What belongs here: counting, and describing what is counted. What must not: an atomic read-modify-write or a lock
//! on the way of a datagram. One thread writes a counter, so a plain load and store count exactly, and readers need
//! nothing but an aligned load.
//!
//! ```
//! use logothete_transport::counters::{Counters, CountersFile};
//! logothete_transport::counter_set! {
//!     /// What a gate counts.
//!     pub struct Gate {
//!         /// Visitors that came in.
//!         entered: visitors,
//!     }
//! }
//! let folder = tempfile::tempdir()?;
//! let path = folder.path().join("counters");
//! let mut file = CountersFile::create(&path)?;
//! let gate: Gate = file.add("gate")?;
//! gate.entered.add(3);
//!
//! let counters = Counters::open(&path)?;
//! let reading = counters.readings().next().expect("one counter");
//! assert_eq!((reading.set, reading.label, reading.unit, reading.value), ("gate", "entered", "visitors", 3));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod file;
mod reader;

pub use file::CountersFile;
pub use reader::{Counters, Liveness, Reading};

use file::Mapping;
use std::fmt;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A number that one thread writes. It can move to another thread but not be shared, so there is never a second writer.
pub struct Counter {
    cell: NonNull<AtomicU64>,
    _memory: Arc<Memory>,
}

/// What keeps a counter's cell alive; cells are reached by pointer only.
enum Memory {
    Heap { _cells: Box<[AtomicU64]> },
    Mapped { _mapping: Mapping },
}

// SAFETY: the cell is atomic and `_memory` keeps it alive wherever the counter goes. Not Sync: two threads adding
// through one reference would lose counts.
unsafe impl Send for Counter {}

impl Counter {
    /// Adds `amount`; wraps around at 2^64.
    #[inline]
    pub fn add(&self, amount: u64) {
        self.set(self.value().wrapping_add(amount));
    }

    /// Replaces the value: for gauges.
    #[inline]
    pub fn set(&self, value: u64) {
        // One writer and no other data to publish: relaxed suffices.
        self.cell().store(value, Ordering::Relaxed);
    }

    /// Replaces the value when `value` is larger: for maxima.
    #[inline]
    pub fn raise(&self, value: u64) {
        if value > self.value() {
            self.set(value);
        }
    }

    /// The current value.
    #[inline]
    pub fn value(&self) -> u64 {
        self.cell().load(Ordering::Relaxed)
    }

    #[inline]
    fn cell(&self) -> &AtomicU64 {
        // SAFETY: the cell lies in `_memory`, which lives as long as this counter, and is only ever accessed
        // atomically.
        unsafe { self.cell.as_ref() }
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value().fmt(f)
    }
}

/// What a counter counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its name inside its set.
    pub label: &'static str,
    /// What one of it is.
    pub unit: &'static str,
    /// What it means, for a person.
    pub docs: &'static str,
}

/// A group of counters that one thread writes; declare it with [`counter_set!`](crate::counter_set).
pub trait CounterSet: Sized {
    /// The counters, in the order in which [`CounterSet::from_counters`] wants them.
    const DESCRIPTIONS: &'static [Description];

    /// Makes the set out of as many counters as there are descriptions.
    fn from_counters(next: &mut dyn FnMut() -> Counter) -> Self;

    /// A set in private memory, for processes without a counters file and for tests.
    fn private() -> Self {
        let cells: Box<[AtomicU64]> = Self::DESCRIPTIONS.iter().map(|_| AtomicU64::new(0)).collect();
        let pointers: Vec<NonNull<AtomicU64>> = cells.iter().map(NonNull::from).collect();
        set_of(&pointers, &Arc::new(Memory::Heap { _cells: cells }))
    }
}

/// Makes a set out of cells in `memory`.
fn set_of<S: CounterSet>(cells: &[NonNull<AtomicU64>], memory: &Arc<Memory>) -> S {
    let mut cells = cells.iter();
    S::from_counters(&mut || Counter {
        cell: *cells.next().expect("a set asks for as many counters as it describes"),
        _memory: Arc::clone(memory),
    })
}

/// Declares a [`CounterSet`](crate::counters::CounterSet): a struct of counters, each with its docs and its unit.
#[macro_export]
macro_rules! counter_set {
    ($(#[$attribute:meta])* $visibility:vis struct $set:ident {
        $($(#[doc = $docs:literal])+ $label:ident: $unit:ident),+ $(,)?
    }) => {
        $(#[$attribute])*
        #[derive(Debug)]
        $visibility struct $set {
            $($(#[doc = $docs])+ pub $label: $crate::counters::Counter,)+
        }

        impl $crate::counters::CounterSet for $set {
            const DESCRIPTIONS: &'static [$crate::counters::Description] = &[$($crate::counters::Description {
                label: stringify!($label),
                unit: stringify!($unit),
                docs: concat!($($docs),+),
            }),+];

            fn from_counters(next: &mut dyn FnMut() -> $crate::counters::Counter) -> Self {
                $set { $($label: next()),+ }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    counter_set! {
        /// For the tests.
        struct Two {
            /// The first,
            /// on two lines.
            first: things,
            /// The second.
            second: bytes,
        }
    }

    #[test]
    fn a_set_describes_its_fields_in_order() {
        let two = Two::private();
        two.first.add(2);
        two.second.set(7);
        two.second.raise(5);
        assert_eq!((two.first.value(), two.second.value()), (2, 7));
        let labels: Vec<_> = Two::DESCRIPTIONS.iter().map(|d| (d.label, d.unit, d.docs)).collect();
        assert_eq!(labels, [("first", "things", " The first, on two lines."), ("second", "bytes", " The second.")]);
    }

    #[test]
    fn counters_move_to_the_thread_that_counts() {
        let two = Two::private();
        let two = std::thread::spawn(move || {
            two.first.add(1);
            two
        });
        assert_eq!(two.join().expect("no panic").first.value(), 1);
    }
}
