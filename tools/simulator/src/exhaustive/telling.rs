//! A finding in words.

use crate::exhaustive::Finding;
use crate::exhaustive::goals::Miss;
use crate::exhaustive::locals::Happening;
use crate::exhaustive::moves::{Move, Moves};
use crate::scenario::words::Words;
use logothete_engine::numbers::{Principal, ReplicaId};
use logothete_engine::service::ServiceKind;

/// Tells what is missed after these moves, each by one replica.
pub fn told((goal, what): Miss, path: &[(ReplicaId, Move)], moves: &Moves) -> Finding {
    let mut words = Words::of(ServiceKind::Log);
    let faulty = moves.liar.id;
    let mut steps = Vec::new();
    for (owner, made) in path {
        let mut took = Vec::new();
        for happening in made.happenings.iter() {
            took.push(match happening {
                Happening::TimeOut => "its time-out fires".to_owned(),
                Happening::Letter(id) => {
                    let letter = moves.post.letter(*id);
                    words.learn(&letter.body, Principal::Replica(letter.from));
                    let text = words.body(&letter.body, Principal::Replica(letter.from));
                    let remark = if letter.from == faulty { " (faulty)" } else { "" };
                    format!("of {}{remark}: {text}", letter.from)
                }
            });
        }
        steps.push(format!("{owner} takes {}", took.join("; then ")));
    }
    Finding { goal, what, steps }
}
