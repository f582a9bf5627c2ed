//! The traitors' strategies by name; what each makes of the two kinds of messages is in [`crate::oral`] and [`crate::signed`].

use std::str::FromStr;

/// What traitors do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// They say nothing.
    Silent,
    /// Each message says something, or nothing, by chance.
    Random,
    /// Each tells the lower half of its hearers the truth and the upper half the contrary, or nothing where that cannot be signed.
    Split,
    /// All together: the lower half of the loyal hears one order from all of them, the upper half the other; what only signatures can show is
    /// shown as late as it counts, and to one alone.
    Collude,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Silent, Self::Random, Self::Split, Self::Collude];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Silent => "silent",
            Self::Random => "random",
            Self::Split => "split",
            Self::Collude => "collude",
        }
    }
}

/// No strategy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no strategy of traitors: there are silent, random, split and collude, and script=FILE, which says each message"
)]
pub struct NoStrategy(String);

impl FromStr for Strategy {
    type Err = NoStrategy;

    fn from_str(name: &str) -> Result<Self, NoStrategy> {
        Self::ALL.into_iter().find(|strategy| strategy.name() == name).ok_or_else(|| NoStrategy(name.to_owned()))
    }
}

/// Whether a hearer belongs to the upper half of so many generals.
pub fn is_upper(hearer: u8, generals: usize) -> bool {
    usize::from(hearer) * 2 > generals
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strategies_have_names() {
        for strategy in Strategy::ALL {
            assert_eq!(strategy.name().parse(), Ok(strategy));
        }
        let text = "cunning".parse::<Strategy>().unwrap_err().to_string();
        assert!(text.starts_with("`cunning` is no strategy of traitors: there are silent"), "{text}");
    }
}
