//! The decision procedure of a view change once more, written from the paper (PBFT-02, figure 4) and not from the engine: what a new view must
//! take over, given the view changes that it names.

use logothete_crypto::Digest;
use logothete_engine::wire::view_change::{ViewChange, null_batch};
use std::collections::{BTreeMap, BTreeSet};

/// What a set of view changes decides: the starting checkpoint and the batches after it.
pub type Verdict = ((u64, Digest), Vec<Digest>);

/// `None` where the set decides nothing yet.
pub fn judge(set: &[ViewChange<'_>], faults: usize, window: u64) -> Option<Verdict> {
    let mut candidates = BTreeSet::new();
    for message in set {
        candidates.extend(message.checkpoints.iter().map(|held| (held.sequence().0, held.digest)));
    }
    let begins = |at: u64| set.iter().filter(|message| message.stable.0 <= at).count();
    let holders = |wanted: (u64, Digest)| {
        let holds = |message: &&ViewChange<'_>| {
            message.checkpoints.iter().any(|held| (held.sequence().0, held.digest) == wanted)
        };
        set.iter().filter(holds).count()
    };
    candidates.retain(|candidate| begins(candidate.0) > 2 * faults && holders(*candidate) > faults);
    let start = *candidates.last()?;
    // Of each message: what it says prepared, by number.
    let claims: Vec<BTreeMap<u64, (u64, Digest)>> = set
        .iter()
        .map(|message| message.prepared.iter().map(|vote| (vote.sequence().0, (vote.view().0, vote.digest))).collect())
        .collect();
    let top = claims.iter().filter_map(|claims| claims.keys().last()).max().copied().unwrap_or(0);
    let (mut batches, mut kept) = (Vec::new(), 0);
    for number in (start.0..top.min(start.0.saturating_add(window))).map(|below| below + 1) {
        let below = || set.iter().zip(&claims).filter(|(message, _)| message.stable.0 < number);
        let mut best: Option<(bool, u64, std::cmp::Reverse<Digest>)> = None;
        for (view, batch) in claims.iter().filter_map(|claims| claims.get(&number)) {
            let disputes = |(_, claims): &(&ViewChange<'_>, &BTreeMap<u64, (u64, Digest)>)| {
                claims.get(&number).is_some_and(|(other, held)| other > view || (other == view && held != batch))
            };
            let a1 = below().filter(|pair| !disputes(pair)).count() > 2 * faults;
            let vouches = |message: &&ViewChange<'_>| {
                let mut entries = message.pre_prepared.iter();
                entries.any(|vote| vote.sequence().0 == number && vote.digest == *batch && vote.view().0 >= *view)
            };
            let a2 = set.iter().filter(vouches).count() > faults;
            if a1 && a2 {
                best = best.max(Some((*batch != null_batch(), *view, std::cmp::Reverse(*batch))));
            }
        }
        match best {
            Some((_, _, batch)) => {
                batches.push(batch.0);
                kept = batches.len();
            }
            None if below().filter(|(_, claims)| !claims.contains_key(&number)).count() > 2 * faults => {
                batches.push(null_batch());
            }
            None => return None,
        }
    }
    batches.truncate(kept);
    Some((start, batches))
}
