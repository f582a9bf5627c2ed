//! The definition of linearizability itself, as a search (Wing and Gong, "Testing and verifying concurrent objects", 1993): an order in which every operation
//! that returned stands once, before everything that was called after it returned, and has the result that one copy of the service gives there. States
//! that were tried in vain are remembered (Lowe, "Testing for linearizability", 2017).

use super::Operation;
use super::model::Model;
use logothete_crypto::Digest;
use std::collections::BTreeSet;

/// States after which a search gives up: it is a second look at what the witness explained already.
const TRIED_MAX: usize = 100_000;

/// Whether some order explains a history of at most 64 operations; `None` where that takes too long to say. Those without an answer may stand in the
/// order or not.
///
/// # Panics
/// If it is longer.
pub fn is_explained(operations: &[Operation], model: Model) -> Option<bool> {
    assert!(operations.len() <= u64::BITS as usize, "each operation is a bit of a word");
    let mut search = Search { operations, tried: BTreeSet::new() };
    let explained = search.go_on(0, &model);
    (explained || search.tried.len() < TRIED_MAX).then_some(explained)
}

struct Search<'a> {
    operations: &'a [Operation],
    /// Which operations stood in the order, and the digest of what there was then.
    tried: BTreeSet<(u64, Digest)>,
}

impl Search<'_> {
    fn go_on(&mut self, done: u64, model: &Model) -> bool {
        let left = || (0..self.operations.len()).filter(|at| done & 1 << at == 0);
        if left().all(|at| self.operations[at].answer.is_none()) {
            return true;
        }
        if self.tried.len() >= TRIED_MAX || !self.tried.insert((done, model.digest())) {
            return false;
        }
        let first_ns = left().map(|at| self.operations[at].returned_ns()).min().unwrap_or(u64::MAX);
        let candidates: Vec<usize> = left().filter(|at| self.operations[*at].called_ns <= first_ns).collect();
        candidates.into_iter().any(|at| {
            let operation = &self.operations[at];
            let mut next = model.clone();
            let right = match &operation.answer {
                Some(answer) if !answer.ordered => {
                    let place = next.place();
                    next.place_of(&operation.bytes, &answer.result, place..=place).is_some()
                }
                Some(answer) => next.execute(&operation.bytes) == answer.result,
                None => {
                    next.execute(&operation.bytes);
                    true
                }
            };
            right && self.go_on(done | 1 << at, &next)
        })
    }
}
