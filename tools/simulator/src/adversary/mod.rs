//! How the faulty speak: [`faults`] changes what a real replica says, [`liar`] says what none would.

pub mod faults;
pub mod liar;
