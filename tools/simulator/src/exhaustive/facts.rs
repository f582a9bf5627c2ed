//! What the goals go by: what one correct replica holds and has said, whoever heard it and in whatever order it came.

use crate::exhaustive::post::{Round, Said};
use crate::exhaustive::quorums::CORRECT;
use crate::exhaustive::subject::Standing;
use logothete_crypto::{Digest, digest};
use logothete_engine::numbers::{ClientId, ReplicaId, SequenceNumber, View};
use logothete_engine::wire::reply::Mode;
use std::collections::HashMap;
use std::rc::Rc;

/// The number of what a replica holds and has said.
pub type FactsId = u32;

/// Something that a replica said, or did for all to judge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fact {
    Vote {
        round: Round,
        view: View,
        sequence: SequenceNumber,
        batch: Digest,
    },
    Claim {
        sequence: SequenceNumber,
        batch: Digest,
    },
    /// It opened a view, as its primary.
    Opened {
        view: View,
        selection: Selection,
    },
    /// It entered a view with this selection.
    Entered {
        view: View,
        selection: Selection,
    },
    /// It told a client a result: for good, or tentatively in a view.
    Reply {
        client: ClientId,
        sequence: SequenceNumber,
        result: Digest,
        tentative_in: Option<View>,
    },
}

/// What a new view takes over, by number.
pub type Selection = Vec<(SequenceNumber, Digest)>;

impl Fact {
    /// What of a letter counts as said.
    pub fn of(said: &Said) -> Option<Self> {
        match said {
            Said::Vote { round, view, sequence, batch } => {
                Some(Self::Vote { round: *round, view: *view, sequence: *sequence, batch: *batch })
            }
            Said::Claim { sequence, batch } => Some(Self::Claim { sequence: *sequence, batch: *batch }),
            Said::NewView { view, selection, .. } => Some(Self::Opened { view: *view, selection: selection.clone() }),
            Said::Reply { client, sequence, result, mode, view } => {
                let tentative_in = Some(*view).filter(|_| *mode == Mode::Tentative);
                Some(Self::Reply { client: *client, sequence: *sequence, result: *result, tentative_in })
            }
            Said::Suspicion { .. } | Said::ViewChange { .. } | Said::Content => None,
        }
    }
}

/// One replica, as the goals see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Facts {
    pub owner: ReplicaId,
    pub view: View,
    pub blamed: Option<View>,
    /// By number, from 1.
    pub committed: Vec<Option<Digest>>,
    /// The results of what is executed and committed, by number, from 1.
    pub results: Vec<Digest>,
    /// In ascending order.
    pub said: Vec<Fact>,
}

impl Facts {
    /// Of a replica that stands so, and has said this in ascending order.
    pub fn new(owner: ReplicaId, standing: &Standing, said: Vec<Fact>) -> Self {
        debug_assert!(said.is_sorted_by(|one, other| one < other));
        let executed = &standing.chain[1..=standing.final_prefix()];
        Self {
            owner,
            view: standing.view,
            blamed: standing.blamed,
            committed: standing.committed.clone(),
            results: executed.iter().map(|state| digest(&state.0)).collect(),
            said,
        }
    }

    /// Whether it voted for a batch before a view, or proposed it.
    pub fn knows(&self, at: SequenceNumber, wanted: Digest, before: View) -> bool {
        self.said.iter().any(|said| match said {
            Fact::Vote { view, sequence, batch, .. } => (*sequence, *batch) == (at, wanted) && *view < before,
            Fact::Opened { view, selection } => *view < before && selection.contains(&(at, wanted)),
            _ => false,
        })
    }

    /// Whether it said so.
    pub fn says(&self, fact: &Fact) -> bool {
        self.said.binary_search(fact).is_ok()
    }
}

/// The facts of all correct replicas.
pub type AllFacts<'a> = [&'a Facts; CORRECT];

/// All facts that were ever true of a replica.
#[derive(Default)]
pub struct FactTable {
    facts: Vec<Rc<Facts>>,
    known: HashMap<Rc<Facts>, FactsId>,
}

impl FactTable {
    pub fn get(&self, id: FactsId) -> &Facts {
        &self.facts[id as usize]
    }

    pub fn enter(&mut self, facts: Facts) -> FactsId {
        if let Some(known) = self.known.get(&facts) {
            return *known;
        }
        let (id, facts) = (self.facts.len() as FactsId, Rc::new(facts));
        self.facts.push(facts.clone());
        self.known.insert(facts, id);
        id
    }
}
