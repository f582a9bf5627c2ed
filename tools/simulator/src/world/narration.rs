//! What a replica did in a turn, in words.

use crate::scenario::report::Loss;
use crate::scenario::words::{list, name_of};
use crate::world::cluster::Cluster;
use crate::world::hosts::Departed;
use crate::world::network::Packet;
use crate::world::witness::Happened;
use logothete_engine::numbers::{ClientId, Principal, RequestNumber, SequenceNumber};
use logothete_engine::replica::{Event, Evidence, Reject, RejectCounters};
use logothete_engine::wire::agreement::BatchEntry;
use logothete_engine::wire::view_change::null_batch;
use logothete_engine::wire::{Message, Messages};

impl Cluster {
    /// Says how far a replica has come, and what happened to it.
    pub(super) fn narrate(&mut self, at: usize, departed: &Departed, events: &[Event], happened: &Happened) {
        let (words, host) = (&mut self.words, &mut self.replicas[at]);
        let own = Principal::Replica(host.id);
        let (mut steps, mut outcomes) = (Vec::new(), Vec::new());
        for (audience, body, _) in &departed.packets {
            let to_all = audience.tag_count() == self.settings.replicas - 1;
            for (message, _) in Messages::new(body, own).flatten() {
                if let Message::Commit(vote) = message
                    && to_all
                    && host.prepared.insert((vote.view().0, vote.sequence().0))
                {
                    steps.push(format!("prepared s{}", vote.sequence()));
                }
            }
        }
        let replica = host.orderer.replica();
        let (executed, stable) = (replica.executed().0, replica.stable().0);
        let batch_of = |sequence| replica.committed_batch(SequenceNumber(sequence));
        for sequence in executed + 1..=stable + self.settings.window() {
            if batch_of(sequence).is_some() && host.committed.insert(sequence) {
                steps.push(format!("committed s{sequence}, which waits for s{}", executed + 1));
            }
        }
        for sequence in host.executed + 1..=executed {
            let Some(batch) = batch_of(sequence) else {
                steps.push(format!("executed s{sequence} tentatively"));
                continue;
            };
            let entries = words.entries_of(&batch).to_vec();
            let mut done = happened.executed.iter().filter(|request| request.sequence == sequence).peekable();
            let text = |entry: &BatchEntry| {
                // The service sees neither.
                let opens = entry.name().number == RequestNumber::OPEN || entry.name().client == ClientId::SYSTEM;
                let void = !opens && done.next_if(|request| request.digest == entry.digest).is_none();
                words.request_name(entry.name()) + if void { " void" } else { "" }
            };
            let texts: Vec<String> = entries.iter().map(text).collect();
            let committed = if host.committed.contains(&sequence) { "" } else { "committed and " };
            let content = if batch == null_batch() { "null".to_owned() } else { format!("[{}]", texts.join(" ")) };
            steps.push(format!("{committed}executed s{sequence} {content}"));
        }
        for event in events {
            let among = if matches!(event, Event::Stable(_)) { &mut steps } else { &mut outcomes };
            among.push(told(event));
        }
        if host.is_correct() {
            steps.into_iter().for_each(|text| self.report.step(own, || text));
            outcomes.into_iter().for_each(|text| self.report.outcome(own, || text));
        }
    }

    pub(super) fn say_rejects(
        &mut self,
        own: Principal,
        packet: &Packet,
        before: &RejectCounters,
        after: &RejectCounters,
    ) {
        let words = &mut self.words;
        for reason in Reject::ALL {
            for _ in before.of(*reason)..after.of(*reason) {
                self.checks.on_rejected(packet.body(), packet.sender(), *reason);
                let label = reason.label();
                self.report.count(own, Loss::Rejected(label), || {
                    let messages = Messages::new(packet.body(), packet.sender()).count();
                    let of = name_of(packet.from);
                    match messages {
                        1 => format!("rejects {} of {of}: {label}", words.body(packet.body(), packet.sender())),
                        _ => format!("rejects one of {messages} messages of {of}: {label}"),
                    }
                });
            }
        }
    }
}

/// An event, as it is told of its replica.
fn told(event: &Event) -> String {
    match event {
        Event::Stable(sequence) => format!("stable s{sequence}: the log below is let go"),
        Event::RolledBack { from, to } => format!("undoes s{from}: back to the checkpoint s{to}"),
        Event::RecoveryPoint(sequence) => format!("may vote again after s{sequence}"),
        Event::Recovered => "has recovered".to_owned(),
        Event::TooManyForgot(who) => {
            let who: Vec<Principal> = who.iter().map(Principal::Replica).collect();
            format!("says that too many have forgotten: {}", list(&who))
        }
        Event::MemoryTrouble(trouble) => format!("has trouble with its disk: {trouble:?}"),
        Event::StateFetched(sequence) => format!("fetched the state after s{sequence}"),
        Event::Contradiction(Evidence { replica, sequence, kind, .. }) => {
            format!("caught {replica} contradicting itself about s{sequence}: {}", kind.word())
        }
        Event::Demoted { client, .. } => format!("takes only signed requests of c{client}"),
        Event::ViewLeft { wanted, why } => format!("wants v{wanted}: {why}"),
        Event::ViewEntered(view) => format!("enters v{view}"),
        Event::NewViewWrong { replica, view } => {
            format!("refuses the new view v{view} of {replica}: it does not follow from what it names")
        }
        Event::Diverged(sequence) => format!("has another state than 2f+1 others after s{sequence}"),
        Event::FellBehind { checkpoint } => {
            format!("fell behind: f+1 others have let go what is below s{checkpoint}")
        }
    }
}
