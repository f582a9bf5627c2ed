//! The settings that are chosen by name.
//!
//! Each is an enumeration of what is built. A name that the documentation knows but that is not built yet is refused by
//! that name, so that nobody believes to have what is not there.

use std::fmt;

/// A name that is not a choice.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingError {
    /// The name belongs to something that is planned and not built.
    #[error("\"{name}\" is not built yet; use one of: {choices}")]
    NotBuilt {
        /// The name as given.
        name: String,
        /// The names that can be used, separated by commas.
        choices: String,
    },
    /// Nothing has this name.
    #[error("\"{name}\" is not known; use one of: {choices}")]
    Unknown {
        /// The name as given.
        name: String,
        /// The names that can be used, separated by commas.
        choices: String,
    },
}

/// Declares an enumeration whose variants have fixed names in files, options and reports.
macro_rules! named_setting {
    (
        $(#[$outer:meta])*
        $setting:ident {
            $( $(#[$inner:meta])* $variant:ident = $name:literal, )+
        }
        $( not built: $( $planned:literal ),+ ; )?
    ) => {
        $(#[$outer])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $setting {
            $( $(#[$inner])* $variant, )+
        }

        impl $setting {
            /// Every choice, in the order in which the documentation lists them.
            pub const ALL: &'static [Self] = &[ $( Self::$variant, )+ ];

            /// Names that are known and refused because what they stand for is not built.
            const PLANNED: &'static [&'static str] = &[ $( $( $planned, )+ )? ];

            /// The name in files, options and reports.
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $name, )+ }
            }
        }

        impl fmt::Display for $setting {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.name())
            }
        }

        impl std::str::FromStr for $setting {
            type Err = SettingError;

            fn from_str(name: &str) -> Result<Self, SettingError> {
                if let Some(choice) = Self::ALL.iter().find(|choice| choice.name() == name) {
                    return Ok(*choice);
                }
                let choices = Self::ALL.iter().map(|choice| choice.name()).collect::<Vec<_>>().join(", ");
                let name = name.to_owned();
                Err(if Self::PLANNED.contains(&name.as_str()) {
                    SettingError::NotBuilt { name, choices }
                } else {
                    SettingError::Unknown { name, choices }
                })
            }
        }
    };
}

named_setting! {
    /// How many replicas take part in ordering while nothing fails.
    Active {
        /// All `3f+1`.
        All = "all",
    }
    not built: "3f", "2f+1";
}

named_setting! {
    /// Whether what a replica promised survives its restart.
    Journal {
        /// What a replica promises is on its disk before the promise leaves: a power cut of the whole cluster loses nothing acknowledged.
        Sync = "sync",
        /// Written in the background: a replica that was not stopped in order recovers from the others.
        Async = "async",
        /// Nothing is written: a restarted replica recovers from the others.
        Off = "off",
    }
}

named_setting! {
    /// How datagrams reach the kernel.
    Transport {
        /// io_uring where the host has it and cores enough for it, else `recvmmsg` and `sendmmsg`.
        Auto = "auto",
        /// io_uring, or an error.
        IoUring = "io_uring",
        /// `recvmmsg` and `sendmmsg`.
        Mmsg = "mmsg",
    }
}

named_setting! {
    /// How a packet for many reaches them.
    FanOut {
        /// Multicast where a probe at the start shows that it works, else unicast.
        Auto = "auto",
        /// One datagram to a group, or an error at the start.
        Multicast = "multicast",
        /// One datagram a receiver.
        Unicast = "unicast",
    }
}

named_setting! {
    /// How a replica's agents are put on threads.
    Arrangement {
        /// By the cores that the process may use.
        Auto = "auto",
        /// All agents in turn on one thread.
        Shared = "shared",
        /// Network and verification on one thread, ordering and execution on another.
        Split = "split",
    }
    not built: "dedicated";
}

named_setting! {
    /// What a thread does while it has nothing to do.
    Idle {
        /// Spins, then yields, then parks.
        Adaptive = "adaptive",
        /// Gives the core to others, and stays runnable.
        Yield = "yield",
        /// Keeps the core.
        Spin = "spin",
        /// Sleeps in the kernel until there is work.
        Park = "park",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_reads_back() {
        fn reads_back<S>(all: &[S])
        where
            S: Copy + PartialEq + fmt::Debug + fmt::Display + std::str::FromStr<Err = SettingError>,
        {
            for choice in all {
                assert_eq!(choice.to_string().parse(), Ok(*choice));
            }
        }
        reads_back(Active::ALL);
        reads_back(Journal::ALL);
        reads_back(Transport::ALL);
        reads_back(FanOut::ALL);
        reads_back(Arrangement::ALL);
        reads_back(Idle::ALL);
    }

    #[test]
    fn planned_names_are_refused_by_name() {
        for (error, text) in [
            ("3f".parse::<Active>().unwrap_err(), "\"3f\" is not built yet; use one of: all"),
            ("2f+1".parse::<Active>().unwrap_err(), "\"2f+1\" is not built yet; use one of: all"),
            (
                "dedicated".parse::<Arrangement>().unwrap_err(),
                "\"dedicated\" is not built yet; use one of: auto, shared, split",
            ),
            ("uring".parse::<Transport>().unwrap_err(), "\"uring\" is not known; use one of: auto, io_uring, mmsg"),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }
}
