//! Disputes and demotions from those who lie about them. The story of honest ones is told by scenarios 65 to 67.

use super::*;
use crate::limits::DATAGRAM_BYTES_LOOPBACK;
use crate::numbers::{Incarnation, RequestNumber};
use crate::replica::bodies::BodyRef;
use crate::replica::demotion::Judge;
use crate::replica::tests::{config, now, replica, signatures};
use crate::replica::{Replica, ReplicaConfig};
use crate::wire::agreement::PrePrepare;
use crate::wire::dispute::{demotion_disputes, demotion_name, demotion_packet};

const CLIENT: ClientId = ClientId(1);
const HERE: Digest = Digest::ZERO;

fn name(client: ClientId) -> RequestName {
    RequestName { client, incarnation: Incarnation(7), number: RequestNumber(3) }
}

/// What a replica of a cluster with this context says of a client.
fn dispute_in(context: Digest, by: u8, client: ClientId) -> Dispute {
    let signatures = signatures(by, context);
    Dispute::new(ReplicaId(by), 5, name(client), Digest([4; 32]), |content| signatures.sign_dispute(content))
}

fn dispute(by: u8) -> Dispute {
    dispute_in(HERE, by, CLIENT)
}

fn here() -> Replica {
    replica(config(DATAGRAM_BYTES_LOOPBACK))
}

fn store(replica: &mut Replica, disputes: &[Dispute]) -> BodyRef {
    let of = disputes.first().map_or(CLIENT, Dispute::client);
    let (packet, message) = demotion_packet(1, 4, of, disputes);
    let of_message = digest(&packet[message.clone()]);
    replica.bodies.store(&packet, message, demotion_name(of), of_message, false, 0).unwrap()
}

fn execute(replica: &mut Replica, disputes: &[Dispute]) -> Option<ClientId> {
    let body = store(replica, disputes);
    let judge = Judge { signatures: &replica.signatures, weak: replica.config.quorum.weak() };
    judge.execute(&mut replica.clients, &mut replica.bodies, body)
}

/// `protocol.md DM-3`: with `f = 1`, one witness and one other that disputes are enough, and the same replica twice is not.
#[test]
fn who_disputes_speaks_as_loud_as_a_witness() {
    for (witness, disputes) in [(3, true), (2, false)] {
        let mut replica = here();
        let own = replica.config.id;
        assert!(![2, 3].contains(&own.0));
        replica.disputes.suspect_or_new(CLIENT).witnesses.insert(ReplicaId(witness));
        assert_eq!(replica.on_dispute(now(), ReplicaId(2), &dispute(2)), Ok(()));
        let suspect = replica.disputes.suspect(CLIENT).unwrap();
        assert_eq!(suspect.disputed_by(own).is_some(), disputes, "witness {witness}");
        assert_eq!(replica.disputes.convicted(View(0), 2).count(), usize::from(disputes));
        if disputes {
            let held = replica.disputes.against(CLIENT, 2);
            assert!(held.iter().all(|dispute| replica.signatures.verify_dispute(dispute)));
        }
    }
}

/// `protocol.md DM-3`
#[test]
fn a_dispute_counts_once_and_in_its_signers_name_only() {
    let mut replica = here();
    let mut hear = |from: u8, dispute: &Dispute| replica.on_dispute(now(), ReplicaId(from), dispute);
    assert_eq!(hear(2, &dispute(3)), Err(Reject::SenderMismatch), "nobody passes on another's");
    assert_eq!(hear(2, &dispute_in(HERE, 2, ClientId(2))), Err(Reject::ClientUnknown));
    assert_eq!(hear(2, &dispute_in(HERE, 2, ClientId::SYSTEM)), Err(Reject::ClientUnknown));
    assert_eq!(hear(2, &dispute_in(Digest([9; 32]), 2, CLIENT)), Err(Reject::SignatureBad), "of another cluster");
    let mut forged = dispute(2);
    forged.signature = dispute(3).signature;
    assert_eq!(hear(2, &forged), Err(Reject::SignatureBad));
    assert_eq!(hear(2, &dispute(2)), Ok(()));
    assert_eq!(hear(2, &dispute(2)), Err(Reject::DisputeKnown));
    assert_eq!(replica.next_demotion(now()), None, "one replica alone");
    assert_eq!(replica.on_dispute(now(), ReplicaId(3), &dispute_in(HERE, 3, ClientId(0))), Ok(()));
    assert_eq!(replica.next_demotion(now()), None, "two replicas, two clients");
    assert_eq!(replica.dispute_counts(), DisputeCounts { sent: 0, received: 2 });
    // Whoever signs without end is checked at a bounded rate.
    let checked =
        (0..1000).filter(|_| replica.on_dispute(now(), ReplicaId(0), &forged_by(0)) == Err(Reject::SignatureBad));
    assert!(checked.count() < 100);
}

fn forged_by(by: u8) -> Dispute {
    let mut forged = dispute(by);
    forged.signature[0] ^= 1;
    forged
}

/// `protocol.md DM-4`
#[test]
fn f_plus_one_disputes_make_one_demotion_a_view() {
    let mut replica = replica(ReplicaConfig { id: ReplicaId(0), ..config(DATAGRAM_BYTES_LOOPBACK) });
    for by in [3, 1, 2] {
        replica.on_dispute(now(), ReplicaId(by), &dispute(by)).unwrap();
    }
    let body = replica.next_demotion(now()).unwrap();
    let (of, disputes) = demotion_disputes(replica.bodies.message(body)).unwrap();
    let by: Vec<u8> = disputes.iter().map(|dispute| dispute.replica().0).collect();
    assert_eq!((of, by), (CLIENT, vec![0, 1]), "f+1, ascending by replica, its own among them (`DM-3`)");
    assert_eq!(replica.next_demotion(now()), None, "it is proposed");
    replica.view = View(4);
    assert!(replica.next_demotion(now()).is_some(), "the view that proposed it ended");
    replica.view = View(8);
    assert!(replica.clients.demote(CLIENT, &mut replica.bodies));
    assert_eq!(replica.next_demotion(now()), None, "it is ordered");
    assert_eq!(replica.on_dispute(now(), ReplicaId(3), &dispute(3)), Err(Reject::DisputeKnown));
    replica.pursue_disputes(now(), &mut Output::new());
    assert!(replica.disputes.suspects.iter().all(Option::is_none), "and forgotten");
}

/// `protocol.md DM-4`
#[test]
fn a_demotion_that_does_not_certify_itself_is_void() {
    let mut replica = here();
    let forged = forged_by(2);
    for (wrong, why) in [
        (vec![dispute(2)], "too few"),
        (vec![dispute(0), dispute(2), dispute(3)], "too many: there would be several encodings"),
        (vec![dispute(2), dispute(2)], "one replica twice"),
        (vec![dispute(3), dispute(2)], "not in order"),
        (vec![dispute(0), forged], "forged"),
        (vec![dispute(0), dispute_in(Digest([9; 32]), 2, CLIENT)], "of another cluster"),
        (vec![dispute(0), dispute_in(HERE, 2, ClientId(0))], "of another client"),
        (vec![dispute_in(HERE, 0, ClientId(2)), dispute_in(HERE, 2, ClientId(2))], "a client that there is not"),
        (vec![], "nothing"),
    ] {
        assert_eq!(execute(&mut replica, &wrong), None, "{why}");
    }
    assert_eq!(replica.demoted_clients().count(), 0);
    assert_eq!(execute(&mut replica, &[dispute(0), dispute(3)]), Some(CLIENT));
    assert_eq!(execute(&mut replica, &[dispute(0), dispute(2)]), None, "it is demoted already");
    assert_eq!(replica.demoted_clients().collect::<Vec<_>>(), [CLIENT]);
}

/// `protocol.md DM-4`: each takes `f+1` checks.
#[test]
fn a_batch_has_one_demotion_at_most() {
    let mut replica = here();
    let entry = |client| BatchEntry::new(demotion_name(client), Digest([1; 32]));
    let mut propose = |sequence, entries: &[BatchEntry]| {
        let proposal = PrePrepare { view: View(0), sequence: SequenceNumber(sequence), timestamp_ns: 1, entries };
        replica.on_pre_prepare(now(), ReplicaId(0), &proposal, &mut Output::new())
    };
    assert_eq!(propose(1, &[entry(ClientId(0)), entry(ClientId(1))]), Err(Reject::BatchOutOfBounds));
    assert_eq!(propose(1, &[entry(ClientId(0)), BatchEntry::new(name(CLIENT), Digest([2; 32]))]), Ok(()));
}

/// `protocol.md DM-2`. Found by seed 25533: a copy that comes while a view is not entered yet is looked at when its proposal is held; what nobody answered, again.
#[test]
fn what_a_proposal_is_held_for_is_examined_whenever_it_came() {
    let (mut replica, mut output) = (here(), Output::new());
    let (packet, message) = demotion_packet(1, 4, CLIENT, &[]);
    let request = digest(&packet[message.clone()]);
    let body = replica.bodies.store(&packet, message, name(CLIENT), request, false, 0).unwrap();
    replica.bodies.note_spoilt(body, 0);
    let entries = [BatchEntry::new(name(CLIENT), request)];
    let proposal =
        PrePrepare { view: View(0), sequence: SequenceNumber(1), timestamp_ns: now().wall_ns, entries: &entries };
    let examines = |replica: &Replica| {
        let suspect = replica.disputes.suspects[usize::from(CLIENT.0)].as_ref();
        suspect.is_some_and(|suspect| suspect.examination.is_some())
    };
    replica.active = false;
    replica.on_pre_prepare(now(), ReplicaId(0), &proposal, &mut output).unwrap();
    replica.examine_body(now(), body, SequenceNumber(1));
    replica.bind_body(name(CLIENT), body);
    assert!(!examines(&replica), "the view is not entered");
    replica.active = true;
    replica.accept_in_order(now(), &mut output);
    assert!(examines(&replica));
    replica.disputes.suspect(CLIENT).unwrap().examination = None;
    let later = Now { monotonic_ns: now().monotonic_ns + EXAMINE_NS, ..now() };
    for (at, again) in [(now(), false), (later, true)] {
        replica.accept_in_order(at, &mut output);
        assert_eq!(examines(&replica), again);
    }
    let old = Now { wall_ns: now().wall_ns + DISPUTE_FRESH_NS + 1, ..later };
    replica.disputes.suspect(CLIENT).unwrap().examination = None;
    replica.accept_in_order(Now { monotonic_ns: old.monotonic_ns + EXAMINE_NS, ..old }, &mut output);
    assert!(!examines(&replica), "the proposal is old");
}

/// `protocol.md DM-8`. Found by seed 25533: clients whose tags are bad for different backups stopped every batch together.
#[test]
fn of_doubtful_clients_one_is_in_a_batch() {
    let of =
        |client| RequestName { client: ClientId(client), incarnation: Incarnation(1), number: RequestNumber::OPEN };
    // In view 1 nothing is executed yet; in view 0 nobody has failed; and of two against whom a witness speaks one waits.
    let cases: [(u64, &[u16], &[usize]); 4] =
        [(1, &[], &[1, 1, 1]), (0, &[], &[3]), (0, &[0], &[3]), (0, &[0, 2], &[2, 1])];
    for (view, doubted, batches) in cases {
        let config = config(DATAGRAM_BYTES_LOOPBACK);
        let mut replica = replica(ReplicaConfig { id: ReplicaId(view as u8), clients: 3, pipeline_depth: 4, ..config });
        replica.view = View(view);
        for client in 0..3 {
            let mut message = Vec::new();
            crate::wire::request::append(&mut message, of(client), 0, &[]);
            let (packet, range) = (message.clone(), 0..message.len());
            let body = replica.bodies.store(&packet, range, of(client), digest(&message), true, 0).unwrap();
            replica.clients.hold(of(client), body, &mut replica.bodies);
        }
        for client in doubted {
            replica.disputes.suspect_or_new(ClientId(*client)).witnesses.insert(ReplicaId(3));
        }
        replica.propose(now(), &mut Output::new());
        let sizes = (1..=replica.proposed.0).map(|sequence| {
            let slot = replica.log.slot(SequenceNumber(sequence)).unwrap();
            slot.proposed_batch().unwrap().entries.len()
        });
        assert_eq!(sizes.collect::<Vec<_>>(), batches, "view {view}, {doubted:?}");
    }
}

/// `protocol.md DM-2`: who testifies to a packet that nobody has seen here is no witness, and one replica is one witness however much it says.
#[test]
fn a_testimony_counts_with_its_packet_only() {
    let mut replica = here();
    let (body, lacking) = (Digest([1; 32]), Digest([2; 32]));
    let testify =
        |replica: &mut Replica, from: u8, packet| replica.on_testimony(ReplicaId(from), &Testimony { body, packet });
    assert_eq!(testify(&mut replica, 0, lacking), Err(Reject::TestimonyUnasked));
    let question = Examine::new(SequenceNumber(1), Digest([3; 32]), 0, 0);
    let examination = || Examination {
        name: name(CLIENT),
        request: body,
        body,
        question,
        asked: ReplicaId(0),
        tries: 0,
        due_ns: 0,
        testified: [None; REPLICAS_MAX],
        lacking: vec![lacking],
    };
    replica.disputes.suspect_or_new(CLIENT).examination = Some(examination());
    for (from, packet) in [(0, lacking), (0, lacking), (2, Digest([9; 32])), (3, body)] {
        assert_eq!(testify(&mut replica, from, packet), Ok(()));
    }
    let witnesses = |replica: &Replica| replica.disputes.suspects[1].as_ref().unwrap().witnesses;
    assert_eq!(witnesses(&replica), ReplicaSet::only(ReplicaId(0)));
    assert_eq!(replica.dispute_counts().sent, 0);
    // A good copy from the client itself ends it; what was found about another request stays.
    replica.disputes.on_direct(CLIENT, body);
    assert_eq!(testify(&mut replica, 3, lacking), Err(Reject::TestimonyUnasked));
    replica.disputes.suspect_or_new(CLIENT).examination = Some(examination());
    assert_eq!(testify(&mut replica, 0, lacking), Ok(()));
    assert_eq!(replica.dispute_counts().sent, 0, "the same witness");
    assert_eq!(testify(&mut replica, 3, lacking), Ok(()));
    assert_eq!(replica.dispute_counts().sent, 1);
    // It is said to the primary, and again.
    let said = |replica: &mut Replica, at_ns: u64| {
        let mut output = Output::new();
        let now = Now { monotonic_ns: now().monotonic_ns + at_ns, ..now() };
        replica.pursue_disputes(now, &mut output);
        output.actions().len()
    };
    assert_eq!((said(&mut replica, 0), said(&mut replica, 1)), (1, 0));
    assert_eq!(said(&mut replica, DISPUTE_RETRY_NS), 1);
    replica.view = View(2);
    assert_eq!(said(&mut replica, DISPUTE_RETRY_NS + 1), 1, "to each new primary at once");
}

/// A client of which nothing is left to say costs nothing more.
#[test]
fn a_suspicion_without_ground_is_forgotten() {
    let mut replica = here();
    replica.disputes.suspect_or_new(CLIENT).unproven_since_ns = Some(0);
    replica.pursue_disputes(now(), &mut Output::new());
    assert_eq!(replica.disputes.suspected, 1, "it may turn out to last");
    replica.disputes.on_direct(CLIENT, HERE);
    replica.pursue_disputes(now(), &mut Output::new());
    assert_eq!(replica.disputes.suspected, 0);
    assert_eq!(replica.disputes_due_ns(), u64::MAX);
}
