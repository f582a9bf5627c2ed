//! The problem: who the generals are, and what their decisions must satisfy.

use crate::order::Order;
use std::fmt;

/// The most generals: one byte names them, and nobody draws more.
pub const GENERALS_MAX: usize = 32;

/// The most messages of a run: at OM(m) they grow with the power `m+1` of the generals.
pub const MESSAGES_MAX: u64 = 1_000_000;

/// A general's number. The commander is 0, the lieutenants are 1 to `n-1`.
pub type General = u8;

/// The general who gives the order.
pub const COMMANDER: General = 0;

/// Some of the generals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generals(u32);

impl Generals {
    /// Those whose bits are set: general 0 is the lowest.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// Whether a general is among them.
    pub const fn contains(self, general: General) -> bool {
        self.0 & (1 << general) != 0
    }

    /// Takes one in.
    pub fn insert(&mut self, general: General) {
        self.0 |= 1 << general;
    }

    /// How many they are.
    pub const fn count(self) -> usize {
        self.0.count_ones() as usize
    }

    /// All of them, in ascending order.
    pub fn iter(self) -> impl Iterator<Item = General> {
        (0..GENERALS_MAX as u8).filter(move |general| self.contains(*general))
    }
}

impl FromIterator<General> for Generals {
    fn from_iter<T: IntoIterator<Item = General>>(generals: T) -> Self {
        let mut set = Self::default();
        generals.into_iter().for_each(|general| set.insert(general));
        set
    }
}

impl fmt::Display for Generals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> = self.iter().map(|general| general.to_string()).collect();
        f.write_str(if names.is_empty() { "none" } else { "" })?;
        f.write_str(&names.join(","))
    }
}

/// Which algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// OM(m): messages that say only what they say.
    Oral,
    /// SM(m): messages that show who said it.
    Signed,
}

/// An instance of the problem.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// How many generals, the commander included: `n`.
    pub generals: usize,
    /// How many traitors the algorithm is to bear: `m`.
    pub bears: usize,
    /// Who they are; the algorithm does not know.
    pub traitors: Generals,
    /// What the commander orders. A traitorous one says what he likes.
    pub order: Order,
}

/// Why an instance makes no sense, or asks for what nobody can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsolvable {
    /// OM(m) with too few generals.
    #[error(
        "{generals} generals cannot bear {bears} traitor(s) with oral messages: it takes 3m+1 = {} (BGP82, theorem 1: of three groups of {bears} \
         at most, one that lies looks to the second like the third). Take more generals, fewer traitors, or `sm`; --any lets them try all the same",
        3 * bears + 1
    )]
    TooFew {
        /// `n`.
        generals: usize,
        /// `m`.
        bears: usize,
    },
    /// SM(m) with nobody left to agree.
    #[error(
        "with {bears} traitor(s) among {generals} generals there are no two loyal ones who could disagree: signed messages bear any number of traitors, \
         but the problem is empty below m+2 = {} generals",
        bears + 2
    )]
    Vacuous {
        /// `n`.
        generals: usize,
        /// `m`.
        bears: usize,
    },
    /// No instance at all.
    #[error("{0} general(s): there are 2 to {GENERALS_MAX}, the commander (0) and the lieutenants (1 to n-1)")]
    Generals(usize),
    /// A traitor who is no general.
    #[error("general {traitor} is no general: of {generals} the commander is 0 and the lieutenants are 1 to {}", generals - 1)]
    Traitor {
        /// Who.
        traitor: usize,
        /// `n`.
        generals: usize,
    },
    /// More traitors than the algorithm was told to bear.
    #[error("{count} traitors, and {algorithm}({bears}) is made for {bears} at most: give --rounds {count}, or fewer traitors", algorithm = name(*algorithm))]
    TooMany {
        /// How many there are.
        count: usize,
        /// `m`.
        bears: usize,
        /// Which algorithm.
        algorithm: Algorithm,
    },
    /// A run that would not end today.
    #[error(
        "OM({bears}) of {generals} generals takes {messages} messages, more than the {MESSAGES_MAX} of a run: they grow as n to the power of m+1. Take fewer, or `sm`"
    )]
    TooLong {
        /// `n`.
        generals: usize,
        /// `m`.
        bears: usize,
        /// What OM(m) sends.
        messages: u64,
    },
}

/// `OM` or `SM`.
pub const fn name(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Oral => "OM",
        Algorithm::Signed => "SM",
    }
}

impl Problem {
    /// Whether an algorithm is made for it; `any` lets generals try who are too few.
    ///
    /// # Errors
    /// [`Unsolvable`], which names the bound and why it is there.
    pub fn check(&self, algorithm: Algorithm, any: bool) -> Result<(), Unsolvable> {
        let (generals, bears) = (self.generals, self.bears);
        if !(2..=GENERALS_MAX).contains(&generals) {
            return Err(Unsolvable::Generals(generals));
        }
        if let Some(traitor) = self.traitors.iter().find(|traitor| usize::from(*traitor) >= generals) {
            return Err(Unsolvable::Traitor { traitor: traitor.into(), generals });
        }
        let count = self.traitors.count();
        if count > bears && !any {
            return Err(Unsolvable::TooMany { count, bears, algorithm });
        }
        match algorithm {
            Algorithm::Oral if generals < 3 * bears + 1 && !any => Err(Unsolvable::TooFew { generals, bears }),
            Algorithm::Signed if generals < bears + 2 && !any => Err(Unsolvable::Vacuous { generals, bears }),
            _ => match crate::oral::messages(generals, bears) {
                messages if messages > MESSAGES_MAX && algorithm == Algorithm::Oral => {
                    Err(Unsolvable::TooLong { generals, bears, messages })
                }
                _ => Ok(()),
            },
        }
    }

    /// All who are not the commander.
    pub fn lieutenants(&self) -> impl Iterator<Item = General> + use<> {
        1..self.generals as General
    }

    /// Whether a general is a traitor.
    pub fn is_traitor(&self, general: General) -> bool {
        self.traitors.contains(general)
    }

    /// Judges decisions, one of each general in the order of their numbers; what traitors decided does not matter.
    pub fn judge(&self, decisions: &[Order]) -> Verdict {
        let loyal: Vec<Order> = self
            .lieutenants()
            .filter(|lieutenant| !self.is_traitor(*lieutenant))
            .map(|lieutenant| decisions[usize::from(lieutenant)])
            .collect();
        let agree = loyal.windows(2).all(|pair| pair[0] == pair[1]);
        let obey = self.is_traitor(COMMANDER) || loyal.iter().all(|decision| *decision == self.order);
        Verdict { agree, obey }
    }
}

/// What must hold (BGP82 section 1). The lecture notes call IC1 "validity" and IC2 "agreement", against their own section 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// IC1: all loyal lieutenants obey the same order.
    pub agree: bool,
    /// IC2: if the commander is loyal, every loyal lieutenant obeys the order he sends.
    pub obey: bool,
}

impl Verdict {
    /// Both hold.
    pub const fn is_good(self) -> bool {
        self.agree && self.obey
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(generals: usize, bears: usize, traitors: &[General]) -> Problem {
        Problem { generals, bears, traitors: traitors.iter().copied().collect(), order: Order::ATTACK }
    }

    #[test]
    fn bounds_are_told_with_their_reason() {
        let said = |problem: Problem, algorithm| problem.check(algorithm, false).unwrap_err().to_string();
        let text = said(problem(3, 1, &[1]), Algorithm::Oral);
        assert!(
            text.starts_with("3 generals cannot bear 1 traitor(s) with oral messages: it takes 3m+1 = 4"),
            "{text}"
        );
        let text = said(problem(3, 2, &[1, 2]), Algorithm::Signed);
        assert!(text.contains("empty below m+2 = 4 generals"), "{text}");
        let text = said(problem(4, 1, &[4]), Algorithm::Oral);
        assert!(text.starts_with("general 4 is no general"), "{text}");
        let text = said(problem(7, 1, &[4, 5]), Algorithm::Oral);
        assert!(text.starts_with("2 traitors, and OM(1) is made for 1"), "{text}");
        let text = said(problem(16, 5, &[]), Algorithm::Oral);
        assert!(text.starts_with("OM(5) of 16 generals takes 3999675 messages"), "{text}");
        assert_eq!(problem(1, 0, &[]).check(Algorithm::Oral, true), Err(Unsolvable::Generals(1)));
        assert_eq!(problem(3, 1, &[1]).check(Algorithm::Oral, true), Ok(()));
        assert_eq!(problem(13, 4, &[0, 1, 2, 3]).check(Algorithm::Oral, false), Ok(()));
        assert_eq!(problem(4, 2, &[0, 3]).check(Algorithm::Signed, false), Ok(()));
    }

    #[test]
    fn loyal_lieutenants_alone_are_judged() {
        let (a, r) = (Order::ATTACK, Order::RETREAT);
        let good = |traitors: &[General], decisions: &[Order]| problem(4, 1, traitors).judge(decisions);
        assert!(good(&[3], &[a, a, a, r]).is_good());
        assert_eq!(good(&[3], &[a, r, r, a]), Verdict { agree: true, obey: false });
        assert_eq!(good(&[3], &[a, a, r, a]), Verdict { agree: false, obey: false });
        assert!(good(&[0], &[a, r, r, r]).is_good(), "whatever a traitorous commander said");
        assert_eq!(good(&[0], &[a, r, a, r]), Verdict { agree: false, obey: true });
    }
}
