//! C3, linearizability: what correct clients saw could have come from one copy of the service that does one operation after the other, each at some
//! moment between its call and its return (Herlihy and Wing, TOPLAS 1990).
//!
//! The order that the replicas agreed on is the witness, so that no search is needed: it has to explain every result ([`model`]), what returned before
//! something else was called must stand before it, and what a query returned must have been there at some place of the order that fits its interval.
//! On small histories a search that knows of no order says the same besides ([`search`]): it would find a witness at fault.

pub mod model;
pub mod search;

use super::violations::{Checker, Violations};
use crate::world::witness::Appended;
use logothete_engine::numbers::ClientId;
use model::Model;
use std::collections::{BTreeMap, BTreeSet};

/// The longest history that is searched, and how many operations of others stand in between at most: each operation is a bit of a word.
const SEARCHED_MAX: usize = 48;
const OTHERS_MAX: usize = u64::BITS as usize - SEARCHED_MAX;

/// What became of one operation of a correct client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    pub bytes: Vec<u8>,
    pub called_ns: u64,
    /// When it was answered, with what, and whether without its being ordered. Without an answer it may have been done at any time since, or never.
    pub answer: Option<Answer>,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub returned_ns: u64,
    pub result: Vec<u8>,
    pub ordered: bool,
}

impl Operation {
    fn returned_ns(&self) -> u64 {
        self.answer.as_ref().map_or(u64::MAX, |answer| answer.returned_ns)
    }
}

/// What correct clients asked and were told.
#[derive(Debug, Default)]
pub struct History(BTreeMap<(u16, u64, u64), Operation>);

impl History {
    pub fn on_asked(&mut self, client: ClientId, (session, number): (u64, u64), bytes: &[u8], now_ns: u64) {
        let operation = Operation { bytes: bytes.to_vec(), called_ns: now_ns, answer: None };
        self.0.insert((client.0, session, number), operation);
    }

    pub fn on_answered(&mut self, operation: (u16, u64, u64), answer: Answer) {
        if let Some(operation) = self.0.get_mut(&operation) {
            operation.answer.get_or_insert(answer);
        }
    }

    /// Compares the whole history with the order that the replicas agreed on, `n log n` steps long.
    pub fn check(&self, model: Model, order: &[(u16, Appended)], violations: &mut Violations) {
        let replay = Replay::new(self, model, order, violations);
        replay.check_order(violations);
        replay.check_queries(violations);
    }

    /// Searches an order that explains the first operations, without a witness. What others did in between, which say nothing of when they asked for it, may stand
    /// anywhere; nothing is said where that is too much.
    pub fn search(&self, model: Model, order: &[(u16, Appended)], violations: &mut Violations) {
        let mut operations: Vec<(&(u16, u64, u64), &Operation)> = self.0.iter().collect();
        operations.sort_by_key(|(_, operation)| operation.called_ns);
        // What returned after the next was called was under way when the part that is looked at ends.
        let end_ns = operations.get(SEARCHED_MAX).map_or(u64::MAX, |(_, next)| next.called_ns);
        operations.truncate(SEARCHED_MAX);
        let searched = operations.len();
        let cut = |operation: &Operation| Operation {
            answer: operation.answer.clone().filter(|answer| answer.returned_ns < end_ns),
            ..operation.clone()
        };
        let name = |(client, appended): &(u16, Appended)| (*client, appended.session, appended.number);
        // What stands behind something that was called later was not there yet.
        let is_later = |entry: &(u16, Appended)| self.0.get(&name(entry)).is_some_and(|held| held.called_ns >= end_ns);
        let others = order.iter().take_while(|entry| !is_later(entry));
        let others = others.filter(|entry| !self.0.contains_key(&name(entry)));
        let other =
            |(_, appended): &(u16, Appended)| Operation { bytes: appended.bytes.clone(), called_ns: 0, answer: None };
        let others: Vec<Operation> = others.map(other).collect();
        if others.len() > OTHERS_MAX {
            return;
        }
        let operations = operations.into_iter().map(|(_, operation)| cut(operation)).chain(others);
        let operations: Vec<Operation> = operations.collect();
        if search::is_explained(&operations, model) == Some(false) {
            let text = format!("no order explains the first {searched} operations of correct clients");
            violations.add(Checker::Linearizability, text);
        }
    }
}

/// The history beside the order. A *place* is a number of operations of the order: the state after so many of them.
struct Replay<'a> {
    history: &'a History,
    /// The operations of correct clients that are in the order, with the place before each.
    ordered: Vec<(usize, &'a Operation)>,
    /// The latest call among the operations up to each place.
    called_ns: Vec<u64>,
    model: Model,
}

impl<'a> Replay<'a> {
    fn new(history: &'a History, mut model: Model, order: &[(u16, Appended)], violations: &mut Violations) -> Self {
        let (mut ordered, mut called_ns, mut called_max_ns) = (Vec::new(), vec![0], 0);
        let mut missing: BTreeMap<_, _> =
            history.0.iter().filter(|(_, held)| held.answer.as_ref().is_some_and(|answer| answer.ordered)).collect();
        for (place, (client, appended)) in order.iter().enumerate() {
            let result = model.execute(&appended.bytes);
            let name = (*client, appended.session, appended.number);
            if let Some(operation) = history.0.get(&name) {
                missing.remove(&name);
                let told = operation.answer.as_ref().filter(|answer| answer.ordered);
                if let Some(answer) = told.filter(|answer| answer.result != result) {
                    let text = format!("{name:?} was told {:?} of its operation, not {result:?}", answer.result);
                    violations.add(Checker::Linearizability, text);
                }
                called_max_ns = called_max_ns.max(operation.called_ns);
                ordered.push((place, operation));
            }
            called_ns.push(called_max_ns);
        }
        if let Some((name, _)) = missing.first_key_value() {
            violations.add(Checker::Linearizability, format!("{name:?} was told of its operation, and nobody did it"));
        }
        Self { history, ordered, called_ns, model }
    }

    /// What returned before another was called stands before it.
    fn check_order(&self, violations: &mut Violations) {
        for (place, operation) in &self.ordered {
            if operation.returned_ns() < self.called_ns[*place] {
                let text =
                    format!("what returned at {} ns stands behind what was called later", operation.returned_ns());
                violations.add(Checker::Linearizability, text);
            }
        }
    }

    /// Puts each query at the first place that explains it: not before what had returned when it was called, and not behind what was called
    /// after it had returned.
    fn check_queries(&self, violations: &mut Violations) {
        // What had returned, by time: up to which place it reaches.
        let mut returned: Vec<(u64, usize)> =
            self.ordered.iter().map(|(place, operation)| (operation.returned_ns(), place + 1)).collect();
        let mut queries: Vec<&Operation> = self.history.0.values().filter(|held| is_query(held)).collect();
        queries.sort_by_key(|query| query.called_ns);
        returned.sort_unstable();
        // Queries that were placed and had not returned when the last one was called.
        let mut placed: BTreeSet<(u64, usize)> = BTreeSet::new();
        let (mut reached, mut next) = (0, 0);
        for query in queries {
            let answer = query.answer.as_ref().expect("queries without an answer say nothing");
            while let Some((_, place)) = returned.get(next).filter(|(returned_ns, _)| *returned_ns < query.called_ns) {
                (reached, next) = (reached.max(*place), next + 1);
            }
            while placed.first().is_some_and(|(returned_ns, _)| *returned_ns < query.called_ns) {
                reached = placed.pop_first().map_or(reached, |(_, place)| reached.max(place));
            }
            // The last place at which nothing stands before that was called after the return.
            let last = self.called_ns.partition_point(|called_ns| *called_ns <= answer.returned_ns) - 1;
            match self.model.place_of(&query.bytes, &answer.result, reached..=last) {
                Some(place) => _ = placed.insert((answer.returned_ns, place)),
                None => {
                    let text = format!(
                        "a query from {} ns to {} ns was answered {:?}, which was so at none of the places {reached} to {last}",
                        query.called_ns, answer.returned_ns, answer.result
                    );
                    violations.add(Checker::Linearizability, text);
                }
            }
        }
    }
}

fn is_query(operation: &Operation) -> bool {
    operation.answer.as_ref().is_some_and(|answer| !answer.ordered)
}

#[cfg(test)]
mod tests;
