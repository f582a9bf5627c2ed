//! Sets of letters, by number: the same set has the same number.

use crate::exhaustive::post::LetterId;
use std::collections::HashMap;
use std::rc::Rc;

/// A set's number.
pub type SetId = u32;

/// The empty set.
pub const NOTHING: SetId = 0;

/// All sets that were ever needed.
pub struct Sets {
    sets: Vec<Rc<[LetterId]>>,
    known: HashMap<Rc<[LetterId]>, SetId>,
}

impl Sets {
    pub fn new() -> Self {
        let mut sets = Self { sets: Vec::new(), known: HashMap::new() };
        assert_eq!(sets.of(Vec::new()), NOTHING);
        sets
    }

    pub fn get(&self, id: SetId) -> Rc<[LetterId]> {
        self.sets[id as usize].clone()
    }

    /// The set of letters that ascend.
    pub fn of(&mut self, letters: Vec<LetterId>) -> SetId {
        debug_assert!(letters.is_sorted_by(|one, other| one < other));
        let letters: Rc<[LetterId]> = letters.into();
        if let Some(known) = self.known.get(&letters) {
            return *known;
        }
        let id = self.sets.len() as SetId;
        self.sets.push(letters.clone());
        self.known.insert(letters, id);
        id
    }

    /// A set with some more letters.
    pub fn with(&mut self, id: SetId, more: &[LetterId]) -> SetId {
        let held = self.get(id);
        if more.iter().all(|letter| held.binary_search(letter).is_ok()) {
            return id;
        }
        let mut letters = [&held[..], more].concat();
        letters.sort_unstable();
        letters.dedup();
        self.of(letters)
    }
}
