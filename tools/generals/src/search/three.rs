//! Why three generals cannot bear one traitor (BGP82 section 2; the notes' figures 1 and 2): all deterministic rules of two lieutenants, one by one.
//!
//! A lieutenant hears an order from the commander, tells the other one what his rule says, hears what the other one says, and obeys what his rule says. Both
//! rules are tables: what to tell (2 entries), what to obey (4 entries); 64 rules each, 4096 pairs. Each pair is played against
//!
//! - a loyal commander of either order and a traitor among the lieutenants, who tells what he likes;
//! - a traitorous commander, who orders what he likes.
//!
//! More rounds of talk do not help, since the argument does not depend on what is said: [`Alike`].

use crate::order::Order;

/// The two orders.
const ORDERS: [Order; 2] = [Order::ATTACK, Order::RETREAT];

/// A lieutenant's rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule(u8);

impl Rule {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Rule> {
        (0..64).map(Rule)
    }

    fn bit(self, at: usize) -> Order {
        ORDERS[usize::from(self.0 >> at & 1)]
    }

    /// What it tells the other lieutenant, whom the commander told `ordered`.
    pub fn tells(self, ordered: Order) -> Order {
        self.bit(index(ordered))
    }

    /// What it obeys, if the commander said `ordered` and the other lieutenant `told`.
    pub fn obeys(self, ordered: Order, told: Order) -> Order {
        self.bit(2 + 2 * index(ordered) + index(told))
    }
}

fn index(order: Order) -> usize {
    usize::from(order != Order::ATTACK)
}

/// A play that breaks a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// IC2: the commander is loyal, lieutenant `loyal` is loyal, the other tells him `told`, and he does not obey.
    Disobeyed {
        /// What the commander orders.
        order: Order,
        /// The loyal lieutenant, 1 or 2.
        loyal: u8,
        /// What the traitor tells him.
        told: Order,
    },
    /// IC1: the commander orders `first` of lieutenant 1 and `second` of lieutenant 2, and they do different things.
    Disagreed {
        /// What lieutenant 1 hears.
        first: Order,
        /// What lieutenant 2 hears.
        second: Order,
    },
}

/// The first play in which a pair of rules breaks a condition.
pub fn broken(rules: [Rule; 2]) -> Option<Broken> {
    for order in ORDERS {
        for told in ORDERS {
            for (loyal, rule) in (1..).zip(rules) {
                if rule.obeys(order, told) != order {
                    return Some(Broken::Disobeyed { order, loyal, told });
                }
            }
        }
    }
    for first in ORDERS {
        for second in ORDERS {
            let does = [rules[0].obeys(first, rules[1].tells(second)), rules[1].obeys(second, rules[0].tells(first))];
            if does[0] != does[1] {
                return Some(Broken::Disagreed { first, second });
            }
        }
    }
    None
}

/// What became of all pairs of rules.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exhausted {
    /// How many pairs there are.
    pub pairs: usize,
    /// Those that disobey a loyal commander in some play.
    pub disobey: usize,
    /// Those that never do, and disagree under a traitorous one.
    pub disagree: usize,
    /// Those that satisfy both conditions.
    pub satisfy: usize,
}

/// Tries all of them.
pub fn exhaust() -> Exhausted {
    let mut exhausted = Exhausted::default();
    for one in Rule::all() {
        for two in Rule::all() {
            exhausted.pairs += 1;
            match broken([one, two]) {
                Some(Broken::Disobeyed { .. }) => exhausted.disobey += 1,
                Some(Broken::Disagreed { .. }) => exhausted.disagree += 1,
                None => exhausted.satisfy += 1,
            }
        }
    }
    exhausted
}

/// Three plays of one rule, of which two look the same to each lieutenant: whatever is said, and for however long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alike {
    /// What lieutenant 1 hears from the commander and from lieutenant 2, where the commander is loyal and orders retreat, and lieutenant 2
    /// acts as if he had been ordered to attack.
    pub first_with_lieutenant: (Order, Order),
    /// What lieutenant 2 hears, where the commander is loyal and orders attack, and lieutenant 1 acts as if he had been ordered to retreat.
    pub second_with_lieutenant: (Order, Order),
    /// What the two hear where the commander is the traitor: he orders retreat of 1, and attack of 2.
    pub with_commander: [(Order, Order); 2],
}

/// What a pair of rules hears in the three plays.
pub fn alike(rules: [Rule; 2]) -> Alike {
    let (attack, retreat) = (Order::ATTACK, Order::RETREAT);
    let told = [rules[0].tells(retreat), rules[1].tells(attack)];
    Alike {
        first_with_lieutenant: (retreat, rules[1].tells(attack)),
        second_with_lieutenant: (attack, rules[0].tells(retreat)),
        with_commander: [(retreat, told[1]), (attack, told[0])],
    }
}
