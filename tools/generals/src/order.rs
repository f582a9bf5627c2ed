//! Orders: what the commander says, and what lieutenants decide on.

use std::fmt;
use std::str::FromStr;

/// The longest name of an order, in bytes.
const NAME_BYTES: usize = 8;

/// An order: `attack`, `retreat`, or any other word of up to eight letters and digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Order([u8; NAME_BYTES]);

impl Order {
    /// Attack.
    pub const ATTACK: Self = Self(*b"attack\0\0");
    /// Retreat: what a general does who was told nothing, or nothing that he can follow (BGP82: the default).
    pub const RETREAT: Self = Self(*b"retreat\0");

    /// The bytes that stand for it in a message.
    pub fn bytes(self) -> [u8; NAME_BYTES] {
        self.0
    }

    /// The order that these bytes stand for; none if they are no word.
    pub fn from_bytes(bytes: [u8; NAME_BYTES]) -> Option<Self> {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES);
        let word = &bytes[..end];
        let sound = end > 0 && word.iter().all(u8::is_ascii_alphanumeric) && bytes[end..].iter().all(|byte| *byte == 0);
        sound.then_some(Self(bytes))
    }

    /// Another order than this one: what a traitor says in its place.
    pub fn contrary(self) -> Self {
        if self == Self::RETREAT { Self::ATTACK } else { Self::RETREAT }
    }

    fn word(&self) -> &str {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES);
        std::str::from_utf8(&self.0[..end]).expect("an order is ASCII")
    }

    /// Its first letter as a capital, as the figures have it: `A`, `R`, `X`.
    pub fn letter(&self) -> String {
        self.word()[..1].to_ascii_uppercase()
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// No order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no order: say attack, retreat, or another word of up to {NAME_BYTES} letters and digits")]
pub struct NoOrder(String);

impl FromStr for Order {
    type Err = NoOrder;

    fn from_str(word: &str) -> Result<Self, NoOrder> {
        let mut bytes = [0; NAME_BYTES];
        let place = bytes.get_mut(..word.len()).ok_or_else(|| NoOrder(word.to_owned()))?;
        place.copy_from_slice(word.as_bytes());
        Self::from_bytes(bytes).ok_or_else(|| NoOrder(word.to_owned()))
    }
}

/// What more than half of the values say, or else the default (BGP82 section 2: `majority`).
pub fn majority(values: &[Order]) -> Order {
    let most = values.iter().find(|value| 2 * values.iter().filter(|other| other == value).count() > values.len());
    most.copied().unwrap_or(Order::RETREAT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_words() {
        assert_eq!("attack".parse(), Ok(Order::ATTACK));
        assert_eq!("X".parse::<Order>().unwrap().to_string(), "X");
        for word in ["", "at tack", "retreating", "é"] {
            assert_eq!(word.parse::<Order>(), Err(NoOrder(word.to_owned())));
        }
        assert_eq!(Order::from_bytes(*b"a\0b\0\0\0\0\0"), None, "one order has one form");
    }

    #[test]
    fn a_majority_is_more_than_half() {
        let (a, r, x) = (Order::ATTACK, Order::RETREAT, "X".parse().unwrap());
        assert_eq!(majority(&[a, a, r]), a);
        assert_eq!(majority(&[a, a, r, x]), r, "half is not enough");
        assert_eq!(majority(&[]), r);
        assert_eq!(majority(&[x]), x);
    }
}
