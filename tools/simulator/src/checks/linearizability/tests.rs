use super::*;
use crate::world::operations::END;
use crate::world::random::Random;
use logothete_engine::service::ServiceKind;
use logothete_engine::service::kv::{Command, Outcome};

/// What one client did: number, bytes, call, return and result, and whether it was ordered.
type Done<'a> = (u64, &'a [u8], u64, Option<(u64, Vec<u8>, bool)>);

fn history(done: &[Done<'_>]) -> History {
    let mut history = History::default();
    for (number, bytes, called_ns, answer) in done {
        history.on_asked(ClientId(0), (0, *number), bytes, *called_ns);
        if let Some((returned_ns, result, ordered)) = answer.clone() {
            history.on_answered((0, 0, *number), Answer { returned_ns, result, ordered });
        }
    }
    history
}

fn is_linearizable(kind: ServiceKind, done: &[Done<'_>], order: &[u64]) -> bool {
    let appended = |number: &u64| {
        let bytes = done.iter().find(|done| done.0 == *number).map_or(b"another's".to_vec(), |done| done.1.to_vec());
        (0, Appended { session: 0, number: *number, bytes })
    };
    let order: Vec<_> = order.iter().map(appended).collect();
    let mut violations = Violations::default();
    history(done).check(Model::of(kind, u64::MAX), &order, &mut violations);
    assert!(violations.checkers().iter().all(|checker| *checker == Checker::Linearizability));
    violations.checkers().is_empty()
}

fn log(done: &[Done<'_>], order: &[u64]) -> bool {
    is_linearizable(ServiceKind::Log, done, order)
}

fn number(number: u64) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

#[test]
fn results_are_those_of_the_order() {
    let done: [Done<'_>; 2] = [(1, b"a", 0, Some((10, number(0), true))), (2, b"b", 5, Some((20, number(1), true)))];
    assert!(log(&done, &[1, 2]));
    assert!(!log(&done, &[2, 1]), "other positions");
    assert!(!log(&done, &[1]), "one is not there");
    assert!(log(&[done[0].clone(), (2, b"b", 5, None)], &[1, 2]), "who was told nothing may have done it");
    assert!(log(&[done[0].clone(), (2, b"b", 5, None)], &[1]), "or not");
}

#[test]
fn what_returned_before_a_call_stands_before_it() {
    let done: [Done<'_>; 2] = [(1, b"a", 0, Some((10, number(1), true))), (2, b"b", 11, Some((20, number(0), true)))];
    assert!(!log(&done, &[2, 1]));
    let overlapping: [Done<'_>; 2] = [done[0].clone(), (2, b"b", 10, Some((20, number(0), true)))];
    assert!(log(&overlapping, &[2, 1]));
}

#[test]
fn a_query_sees_what_had_returned_and_nothing_from_later() {
    let query = |called, returned, end| (9, END, called, Some((returned, number(end), false)));
    let appends: [Done<'_>; 2] =
        [(1, b"a", 0, Some((10, number(0), true))), (2, b"b", 20, Some((30, number(1), true)))];
    let sees = |query: Done<'_>| log(&[appends[0].clone(), appends[1].clone(), query], &[1, 2]);
    assert!(sees(query(11, 15, 1)) && !sees(query(11, 15, 0)), "the first had returned");
    assert!(!sees(query(11, 15, 2)), "the second had not been called");
    assert!(sees(query(5, 25, 0)) && sees(query(5, 25, 1)) && sees(query(5, 25, 2)), "all of it overlaps");
    assert!(!sees(query(31, 40, 1)) && sees(query(31, 40, 2)), "both had returned");
}

/// A query that returned is seen by the next.
#[test]
fn queries_do_not_go_back() {
    let append: Done<'_> = (1, b"a", 0, Some((100, number(0), true)));
    let query = |number_, called, returned, end| (number_, END, called, Some((returned, number(end), false)));
    assert!(log(&[append.clone(), query(8, 10, 20, 0), query(9, 21, 30, 1)], &[1]));
    assert!(!log(&[append.clone(), query(8, 10, 20, 1), query(9, 21, 30, 0)], &[1]));
    assert!(log(&[append, query(8, 10, 20, 1), query(9, 15, 30, 0)], &[1]), "at one time either may be first");
}

#[test]
fn a_stale_read_of_a_key_is_found() {
    let put = |value: &'static [u8]| Command::Put { key: b"k", value }.encode_to_vec();
    let (one, two, get) = (put(b"one"), put(b"two"), Command::Get { key: b"k" }.encode_to_vec());
    let outcome = |outcome: Outcome<'_>| {
        let mut bytes = vec![0; outcome.size()];
        outcome.encode(&mut bytes);
        bytes
    };
    let reads = |called, value: Outcome<'_>| {
        let done: [Done<'_>; 3] = [
            (1, &one, 0, Some((10, outcome(Outcome::Done), true))),
            (2, &two, 20, Some((30, outcome(Outcome::Done), true))),
            (3, &get, called, Some((60, outcome(value), false))),
        ];
        is_linearizable(ServiceKind::KeyValue, &done, &[1, 2])
    };
    assert!(reads(40, Outcome::Value(b"two")) && !reads(40, Outcome::Value(b"one")));
    assert!(reads(25, Outcome::Value(b"one")) && !reads(25, Outcome::Absent));
    assert!(!reads(40, Outcome::Value(b"three")));
}

/// Histories of one copy of a service, and the same with one result changed: the search accepts each of the former, and the witness with it; and of the
/// latter it never accepts one that the witness refuses for real time alone.
#[test]
fn a_search_without_a_witness_agrees() {
    let (mut good, mut bad) = (0, 0);
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let mut model = Model::of(ServiceKind::Log, u64::MAX);
        let (mut operations, mut now_ns) = (Vec::new(), 0);
        for place in 0..2 + random.below(8) as u64 {
            now_ns += 1 + random.below(10) as u64;
            let (called_ns, returned_ns) =
                (now_ns - random.below(now_ns as usize) as u64, now_ns + random.below(20) as u64);
            let query = random.percent(40);
            let result = if query { number(model.place() as u64) } else { model.execute(b"x") };
            let bytes = if query { END.to_vec() } else { vec![place as u8] };
            let answer = Some(Answer { returned_ns, result, ordered: !query }).filter(|_| query || !random.percent(10));
            operations.push(Operation { bytes, called_ns, answer });
        }
        assert_eq!(
            search::is_explained(&operations, Model::of(ServiceKind::Log, u64::MAX)),
            Some(true),
            "{operations:?}"
        );
        let at = random.below(operations.len());
        let Some(answer) = &mut operations[at].answer else { continue };
        answer.result = number(random.below(10) as u64 + 1);
        match search::is_explained(&operations, Model::of(ServiceKind::Log, u64::MAX)).unwrap() {
            true => good += 1,
            false => bad += 1,
        }
    }
    assert!(good > 20 && bad > 100, "{good} still explained, {bad} not");
}

#[test]
fn a_whole_history_is_searched_up_to_a_bound() {
    let appends: Vec<Done<'_>> =
        (0..200u64).map(|at| (at, &b"x"[..], at * 10, Some((at * 10 + 5, number(at), true)))).collect();
    let mut violations = Violations::default();
    history(&appends).search(Model::of(ServiceKind::Log, u64::MAX), &[], &mut violations);
    assert_eq!(violations.take(), Ok(()));
    let mut wrong = appends;
    wrong[3].3 = Some((35, number(4), true));
    history(&wrong).search(Model::of(ServiceKind::Log, u64::MAX), &[], &mut violations);
    assert_eq!(violations.checkers(), [Checker::Linearizability]);
}

#[test]
fn what_others_did_in_between_is_searched_with_it() {
    let appends: Vec<Done<'_>> =
        (0..6u64).map(|at| (at, &b"x"[..], at * 10, Some((at * 10 + 5, number(2 * at + 1), true)))).collect();
    let appended = |client, number| (client, Appended { session: u64::from(client), number, bytes: b"x".to_vec() });
    let order: Vec<_> = (0..6).flat_map(|at| [appended(1, at), appended(0, at)]).collect();
    let found = |appends: &[Done<'_>], order: &[(u16, Appended)]| {
        let mut violations = Violations::default();
        history(appends).search(Model::of(ServiceKind::Log, u64::MAX), order, &mut violations);
        violations.checkers().len()
    };
    assert_eq!((found(&appends, &order), found(&appends, &order[1..2])), (0, 1));
    let mut wrong = appends;
    wrong[3].3 = Some((35, number(3), true));
    assert_eq!(found(&wrong, &order), 1, "there is one already");
}

#[test]
fn a_query_may_see_what_others_did_last() {
    let query = |end| (9, END, 10, Some((20, number(end), false)));
    let order: Vec<_> =
        (0..2).map(|number| (1, Appended { session: 1, number, bytes: b"another's".to_vec() })).collect();
    let found = |end| {
        let mut violations = Violations::default();
        history(&[query(end)]).search(Model::of(ServiceKind::Log, u64::MAX), &order, &mut violations);
        violations.checkers().len()
    };
    assert_eq!((found(0), found(2), found(3)), (0, 0, 1));
}
