//! The generals of OM(m).

use super::{Lies, Oral, Party, Path, Received, expected_paths};
use crate::order::Order;
use crate::problem::{COMMANDER, General, Problem};
use crate::rounds::Participant;

/// What a general says.
enum Spoken {
    /// The truth.
    Truth,
    /// What a traitor likes.
    Lies(Box<dyn Lies>),
}

struct OralGeneral {
    own: General,
    problem: Problem,
    received: Received,
    spoken: Spoken,
}

/// A loyal general.
pub(super) fn loyal(own: General, problem: &Problem) -> Box<Party> {
    general(own, problem, Spoken::Truth)
}

/// A traitor: as a loyal general, but what it says goes through its lies.
pub(super) fn traitor(own: General, problem: &Problem, lies: Box<dyn Lies>) -> Box<Party> {
    general(own, problem, Spoken::Lies(lies))
}

fn general(own: General, problem: &Problem, spoken: Spoken) -> Box<Party> {
    let received = Received::new(own, problem.generals, problem.bears);
    Box::new(OralGeneral { own, problem: *problem, received, spoken })
}

impl OralGeneral {
    /// Says a value to everybody who is not on its path.
    fn tell(&mut self, path: &Path, truth: Order, out: &mut Vec<(General, Oral)>) {
        for to in self.problem.lieutenants().filter(|to| !path.contains(to)) {
            let value = match &mut self.spoken {
                Spoken::Truth => Some(truth),
                Spoken::Lies(lies) => lies.say(path, to, truth),
            };
            out.extend(value.map(|value| (to, Oral { path: path.clone(), value })));
        }
    }
}

impl Participant for OralGeneral {
    type Message = Oral;

    fn send(&mut self, round: usize) -> Vec<(General, Oral)> {
        let mut out = Vec::new();
        match (self.own, round) {
            (COMMANDER, 1) => self.tell(&vec![COMMANDER], self.problem.order, &mut out),
            (COMMANDER, _) | (_, 1) => {}
            // What came in the round before, or did not come, is passed on.
            _ => {
                for path in expected_paths(self.problem.generals, round - 1, self.own) {
                    let truth = self.received.value(&path);
                    self.tell(&[&path[..], &[self.own]].concat(), truth, &mut out);
                }
            }
        }
        out
    }

    fn receive(&mut self, round: usize, from: General, message: Oral) {
        self.received.take(round, from, &message.path, message.value);
    }

    fn decide(&self) -> Order {
        if self.own == COMMANDER { self.problem.order } else { self.received.settled(&[COMMANDER]) }
    }
}
