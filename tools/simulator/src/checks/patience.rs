//! C6 for each replica by itself: a correct one suspects a correct primary neither too early nor too late (`protocol.md VC-1`, `VC-8`). Not before a request, or what it
//! executed tentatively, has waited there for the shortest time-out; and not later than the longest, however often views changed in vain. Times are those of
//! the replica's own clock.

use super::tables::Tables;
use super::violations::{Checker, Violations};
use logothete_engine::limits::{BAR_GRACE_NS, PRE_PREPARED_MAX, SILENCE_MIN_NS};
use logothete_engine::numbers::{ReplicaId, ReplicaSet, RequestNumber};
use logothete_engine::wire::request::RequestName;
use std::collections::BTreeMap;

/// So long, and for so many of its turns, a replica may be late: it looks a few times before it suspects, and says so with its next status.
const LATE_NS: u64 = 500_000_000;
const LATE_TURNS: u32 = 32;

/// So many windows ahead of its client's last a request is noted: twice as far as it is kept.
const AHEAD_WINDOWS: u64 = 8;

/// What waits at one replica.
#[derive(Debug, Default)]
struct Waits {
    /// Requests that something reached it of, since when; and since when it has them whole, from their clients themselves.
    requests: BTreeMap<RequestName, (u64, Option<u64>)>,
    /// Since when something is executed that has not committed.
    tentative_ns: Option<u64>,
    /// The view that it entered last, and when; none after a restart.
    entered: Option<(u64, u64)>,
    /// How far it has executed for good, and since when.
    executed: (u64, u64),
    /// The last view whose primary it said that it suspects.
    suspected: Option<u64>,
    /// Since when, and for how many turns, it is overdue.
    overdue: Option<(u64, u32)>,
}

/// What one replica is after a duty cycle, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// What its own clock shows.
    pub local_ns: u64,
    /// The view that it is in; none while it is in none.
    pub view: Option<u64>,
    pub executed: u64,
    /// It executed something that has not committed, or goes back from it.
    pub tentative: bool,
    /// It promises nothing.
    pub silent: bool,
}

/// What waits at all of them.
#[derive(Debug)]
pub struct Patience {
    timeout_max_ns: u64,
    replicas: Vec<Waits>,
    /// Who ever came back without memory: primaries that recover are suspected at once.
    forgot: ReplicaSet,
}

impl Patience {
    pub fn new(replicas: usize, timeout_max_ns: u64) -> Self {
        let waits = (0..replicas).map(|_| Waits::default()).collect();
        Self { timeout_max_ns, replicas: waits, forgot: ReplicaSet::EMPTY }
    }

    fn of(&mut self, id: ReplicaId) -> &mut Waits {
        &mut self.replicas[usize::from(id.0)]
    }

    /// A request, or a part of it, reached a correct replica. What is far ahead of its client's last comes again before its turn.
    pub fn on_request(&mut self, at: ReplicaId, name: RequestName, is_whole: bool, local_ns: u64, tables: &Tables) {
        let waits = self.of(at);
        let last = tables.last(name.client.0, waits.executed.0).filter(|last| last.incarnation == name.incarnation);
        let ahead = name.number.0.saturating_sub(last.map_or(0, |last| last.number.0));
        if ahead <= AHEAD_WINDOWS * tables.window() && last.is_none_or(|last| last < name) {
            let (_, whole_ns) = waits.requests.entry(name).or_insert((local_ns, None));
            *whole_ns = whole_ns.or(is_whole.then_some(local_ns));
        }
    }

    pub fn on_entered(&mut self, by: ReplicaId, view: u64, local_ns: u64) {
        self.of(by).entered = Some((view, local_ns));
    }

    /// A process ended, and another began. What waited may wait again: a client sends it again, if it still misses it. In the journal a request is a part
    /// of a batch, and nobody's wish.
    pub fn on_restarted(&mut self, by: ReplicaId, forgot: bool) {
        let waits = self.of(by);
        let mut requests = std::mem::take(&mut waits.requests);
        requests.values_mut().for_each(|(_, whole_ns)| *whole_ns = None);
        *waits = Waits { requests, ..Waits::default() };
        if forgot {
            self.forgot.insert(by);
        }
    }

    /// Whether a request is the one that is executed next of its client, as far as that can be told: an incarnation that was only opened is not seen.
    fn is_next(name: RequestName, last: Option<RequestName>) -> bool {
        let RequestName { incarnation, number, .. } = name;
        match last {
            Some(last) if last.incarnation == incarnation => number == last.number.next(),
            last => last.is_none_or(|last| last.incarnation < incarnation) && number <= RequestNumber(1),
        }
    }

    /// A correct replica suspects the primary of a view: it says so, or leaves the view for that reason.
    pub fn on_suspects(
        &mut self,
        by: ReplicaId,
        view: u64,
        local_ns: u64,
        (tables, faulty): (&Tables, ReplicaSet),
        violations: &mut Violations,
    ) {
        let primary = ReplicaId((view % self.replicas.len() as u64) as u8);
        let waits = &mut self.replicas[usize::from(by.0)];
        if waits.suspected.replace(view) == Some(view) || faulty.contains(primary) || self.forgot.contains(primary) {
            return;
        }
        let executed = waits.executed.0;
        let since_ns =
            waits.requests.iter().filter(|(name, _)| Self::is_next(**name, tables.last(name.client.0, executed)));
        let since_ns = since_ns.map(|(_, (since_ns, _))| *since_ns).chain(waits.tentative_ns).min();
        let entered_ns = waits.entered.filter(|(entered, _)| *entered == view).map_or(0, |(_, entered_ns)| entered_ns);
        // What the primary achieves in all is judged later (`RB-6`), the null batches that it owes to who recovers later still (`VC-1`), and its batch may
        // be one too many for its number (`VC-3`, `RB-8`).
        let may_complain = local_ns >= entered_ns.saturating_add(BAR_GRACE_NS) || view >= PRE_PREPARED_MAX as u64;
        let waited_ns = since_ns.map_or(0, |since_ns| local_ns.saturating_sub(since_ns.max(entered_ns)));
        if waited_ns < SILENCE_MIN_NS && !may_complain {
            let text =
                format!("{by} suspects the primary of view {view}, for which something waited for {waited_ns} ns");
            violations.add(Checker::Liveness, text);
        }
    }

    /// A duty cycle of a correct replica is over. Only what correct clients asked for counts that `may_wait`.
    pub fn on_turn(
        &mut self,
        by: ReplicaId,
        turn: Turn,
        tables: &Tables,
        may_wait: impl Fn(u16) -> bool,
        violations: &mut Violations,
    ) {
        let timeout_max_ns = self.timeout_max_ns;
        let waits = self.of(by);
        let Turn { local_ns, view, executed, tentative, silent } = turn;
        waits.tentative_ns = if tentative { waits.tentative_ns.or(Some(local_ns)) } else { None };
        if executed != waits.executed.0 {
            waits.executed = (executed, local_ns);
            waits.requests.retain(|name, _| tables.last(name.client.0, executed).is_none_or(|last| last < *name));
        }
        let entered = waits.entered.filter(|(entered, _)| Some(*entered) == view);
        let Some((view, entered_ns)) = entered.filter(|_| !tentative && !silent && waits.suspected != view) else {
            waits.overdue = None;
            return;
        };
        let due_ns = |since_ns: u64| since_ns.max(entered_ns).max(waits.executed.1) + timeout_max_ns;
        // A client that began anew gave up what it had asked for before.
        let is_given_up = |name: &RequestName| {
            let mut later = waits.requests.range(name..).take_while(|(later, _)| later.client == name.client);
            later.any(|(later, (_, whole_ns))| later.incarnation > name.incarnation && whole_ns.is_some())
        };
        let is_overdue = |name: &RequestName| {
            let whole_ns = waits.requests.get(name).and_then(|(_, whole_ns)| *whole_ns);
            whole_ns.is_some_and(|since_ns| due_ns(since_ns) < local_ns)
                && may_wait(name.client.0)
                && !is_given_up(name)
        };
        // Whether an incarnation is open here is seen by its first request, so that what comes after that one is looked at.
        let mut next = tables.last_of_each(executed).map(|last| RequestName { number: last.number.next(), ..last });
        let Some(name) = next.find(is_overdue) else {
            waits.overdue = None;
            return;
        };
        let (first_ns, turns) = waits.overdue.get_or_insert((local_ns, 0));
        *turns += 1;
        if *turns > LATE_TURNS && local_ns > *first_ns + LATE_NS {
            let late_ns = local_ns - *first_ns;
            let text = format!(
                "{by} does not suspect the primary of view {view} {late_ns} ns too late, with {name:?} waiting"
            );
            violations.add(Checker::Liveness, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_crypto::Digest;
    use logothete_engine::numbers::{ClientId, Incarnation};

    const BY: ReplicaId = ReplicaId(2);
    const MS: u64 = 1_000_000;

    fn name(number: u64) -> RequestName {
        RequestName { client: ClientId(1), incarnation: Incarnation(7), number: RequestNumber(number) }
    }

    fn suspects(patience: &mut Patience, tables: &Tables, at_ms: u64) -> usize {
        let mut violations = Violations::default();
        patience.on_suspects(BY, 1, at_ms * MS, (tables, ReplicaSet::EMPTY), &mut violations);
        violations.checkers().len()
    }

    fn entered() -> (Patience, Tables) {
        let (mut patience, tables) = (Patience::new(4, 1000 * MS), Tables::new(8));
        patience.on_entered(BY, 1, 10 * MS);
        (patience, tables)
    }

    #[test]
    fn nobody_suspects_before_something_has_waited() {
        let (mut patience, tables) = entered();
        assert_eq!(suspects(&mut patience, &tables, 500), 1, "nothing waits");
        assert_eq!(suspects(&mut patience, &tables, 501), 0, "it was told");
        let (mut patience, tables) = entered();
        patience.on_request(BY, name(1), true, 0, &tables);
        assert_eq!(suspects(&mut patience, &tables, 69), 1, "the view has its own time");
        let (mut patience, mut tables) = entered();
        patience.on_request(BY, name(1), true, 0, &tables);
        assert_eq!(suspects(&mut patience, &tables, 70), 0);
        // What comes later in its client's order does not count.
        let (mut patience, _) = entered();
        patience.on_request(BY, name(3), true, 0, &tables);
        tables.on_ordered(5, name(1), Digest::ZERO);
        let turn = Turn { local_ns: 20 * MS, view: Some(1), executed: 5, tentative: false, silent: false };
        patience.on_turn(BY, turn, &tables, |_| true, &mut Violations::default());
        assert_eq!(suspects(&mut patience, &tables, 500), 1);
    }

    #[test]
    fn nobody_waits_for_longer_than_the_longest_time() {
        let wait = |silent: bool, suspects_ms: Option<u64>| {
            let ((mut patience, mut tables), mut violations) = (entered(), Violations::default());
            tables.on_ordered(3, name(1), Digest::ZERO);
            patience.on_request(BY, name(2), true, 0, &tables);
            for at_ms in (20..2000).step_by(10) {
                if suspects_ms == Some(at_ms) {
                    suspects(&mut patience, &tables, at_ms);
                }
                let turn = Turn { local_ns: at_ms * MS, view: Some(1), executed: 3, tentative: false, silent };
                patience.on_turn(BY, turn, &tables, |_| true, &mut violations);
            }
            violations.checkers().first().copied()
        };
        assert_eq!(wait(false, None), Some(Checker::Liveness));
        assert_eq!(wait(false, Some(1100)), None);
        assert_eq!(wait(true, None), None);
        // Its client gave it up, and asks for an incarnation (seed 60595); what somebody made up of a later one changes nothing.
        let wait_beside = |is_whole: bool| {
            let ((mut patience, mut tables), mut violations) = (entered(), Violations::default());
            tables.on_ordered(3, name(1), Digest::ZERO);
            patience.on_request(BY, name(2), true, 0, &tables);
            let opening = RequestName { incarnation: Incarnation(8), ..name(0) };
            patience.on_request(BY, opening, is_whole, 15 * MS, &tables);
            for at_ms in (20..2000).step_by(10) {
                let turn = Turn { local_ns: at_ms * MS, view: Some(1), executed: 3, tentative: false, silent: false };
                patience.on_turn(BY, turn, &tables, |_| true, &mut violations);
            }
            violations.checkers().first().copied()
        };
        assert_eq!((wait_beside(true), wait_beside(false)), (None, Some(Checker::Liveness)));
        // Something of its name that its client did not send is not the request (seed 10394).
        let ((mut patience, mut tables), mut violations) = (entered(), Violations::default());
        tables.on_ordered(3, name(1), Digest::ZERO);
        for at_ms in (20..2000).step_by(10) {
            patience.on_request(BY, name(2), at_ms > 1000, at_ms * MS, &tables);
            let turn = Turn { local_ns: at_ms * MS, view: Some(1), executed: 3, tentative: false, silent: false };
            patience.on_turn(BY, turn, &tables, |_| true, &mut violations);
        }
        assert!(violations.checkers().is_empty());
        // What reached a life before is asked for again, or waits no more (seed 5260).
        let wait_in_another_life = |asked_again: bool| {
            let ((mut patience, mut tables), mut violations) = (entered(), Violations::default());
            tables.on_ordered(3, name(1), Digest::ZERO);
            patience.on_request(BY, name(2), true, 0, &tables);
            patience.on_restarted(BY, false);
            patience.on_entered(BY, 1, 20 * MS);
            if asked_again {
                patience.on_request(BY, name(2), true, 25 * MS, &tables);
            }
            for at_ms in (30..2000).step_by(10) {
                let turn = Turn { local_ns: at_ms * MS, view: Some(1), executed: 3, tentative: false, silent: false };
                patience.on_turn(BY, turn, &tables, |_| true, &mut violations);
            }
            violations.checkers().first().copied()
        };
        assert_eq!((wait_in_another_life(true), wait_in_another_life(false)), (Some(Checker::Liveness), None));
    }
}
