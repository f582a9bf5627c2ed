//! Reasons for refusing what others sent: an enumeration, and a counter for each (`protocol.md RJ-1`).

/// Declares a list of reasons with their names in reports, and its counters.
macro_rules! reasons {
    (
        $(#[$of_reason:meta])* $reason:ident,
        $(#[$of_counters:meta])* $counters:ident:
        $($(#[doc = $doc:literal])+ $name:ident => $label:literal,)*
    ) => {
        $(#[$of_reason])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $reason {
            $($(#[doc = $doc])+ $name,)*
        }

        impl $reason {
            /// Every reason, in the order of their counters.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// How reports name it.
            pub const fn label(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }

            /// What it means, for a person.
            pub const fn docs(self) -> &'static str {
                match self {
                    $(Self::$name => concat!($($doc),+),)*
                }
            }
        }

        $(#[$of_counters])*
        #[derive(Clone, Copy, Debug)]
        pub struct $counters([u64; $reason::ALL.len()]);

        impl Default for $counters {
            fn default() -> Self {
                Self::new()
            }
        }

        impl $counters {
            pub(crate) fn new() -> Self {
                Self([0; $reason::ALL.len()])
            }

            pub(crate) fn count(&mut self, reason: $reason) {
                self.0[reason as usize] += 1;
            }

            /// How often it occurred.
            #[inline]
            pub fn of(&self, reason: $reason) -> u64 {
                self.0[reason as usize]
            }

            /// All together.
            #[inline]
            pub fn total(&self) -> u64 {
                self.0.iter().sum()
            }
        }
    };
}

pub(crate) use reasons;
