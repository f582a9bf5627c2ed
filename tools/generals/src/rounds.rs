//! Generals that take turns in one process: the synchronous network of BGP82. What is sent in a round arrives in it (A1), its receiver
//! knows who sent it (A2), and a message that does not come is missed (A3).

use crate::order::Order;
use crate::problem::General;

/// One general's part in an algorithm of rounds, loyal or not.
pub trait Participant {
    /// What generals say to each other.
    type Message: Clone;

    /// What it sends in a round, counted from 1, given what it received in those before.
    fn send(&mut self, round: usize) -> Vec<(General, Self::Message)>;

    /// Takes a message of this round.
    fn receive(&mut self, round: usize, from: General, message: Self::Message);

    /// What it does when the rounds are over.
    fn decide(&self) -> Order;
}

/// A message on its way.
#[derive(Clone, Debug)]
pub struct Sent<M> {
    /// In which round.
    pub round: usize,
    /// Who sent it.
    pub from: General,
    /// To whom.
    pub to: General,
    /// What it says.
    pub message: M,
}

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Outcome<M> {
    /// What each general decided, in the order of their numbers.
    pub decisions: Vec<Order>,
    /// Everything that was sent, in order.
    pub sent: Vec<Sent<M>>,
}

impl<M> Outcome<M> {
    /// How many messages each round had.
    pub fn messages_a_round(&self) -> Vec<usize> {
        let rounds = self.sent.iter().map(|sent| sent.round).max().unwrap_or(0);
        (1..=rounds).map(|round| self.sent.iter().filter(|sent| sent.round == round).count()).collect()
    }
}

/// Plays so many rounds.
pub fn play<P: Participant + ?Sized>(generals: &mut [Box<P>], rounds: usize) -> Outcome<P::Message> {
    let mut sent = Vec::new();
    for round in 1..=rounds {
        let first = sent.len();
        for (from, general) in generals.iter_mut().enumerate() {
            let from = from as General;
            sent.extend(general.send(round).into_iter().map(|(to, message)| Sent { round, from, to, message }));
        }
        for Sent { from, to, message, .. } in &sent[first..] {
            generals[usize::from(*to)].receive(round, *from, message.clone());
        }
    }
    Outcome { decisions: generals.iter().map(|general| general.decide()).collect(), sent }
}
