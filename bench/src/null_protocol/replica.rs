//! One replica: what it has heard, and what it says next. It owns no socket and no clock.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};

use super::outbox::{Outbox, To};
use super::packet::{self, Kind, MessageView, PacketView, RequestView};
use super::{NullError, ReplicaResult, Shape};

/// The index of the primary: the view never changes.
const PRIMARY: usize = 0;

/// A batch under agreement.
#[derive(Clone, Debug, Default)]
struct Slot {
    sequence: u64,
    /// The requests of the batch, once the pre-prepare has come.
    numbers: Vec<u64>,
    /// Whether it has, and every request that it names is here.
    accepted: bool,
    /// Backups that prepared, one bit each.
    prepares: u16,
    /// Replicas that committed, one bit each.
    commits: u16,
    commit_sent: bool,
}

/// A request that the client sent.
#[derive(Clone, Debug)]
struct Body {
    /// 0 in a place that was never used.
    number: u64,
    operations: Vec<u8>,
    client: SocketAddr,
    executed: bool,
}

/// Why a message could not be handled.
enum Fault {
    /// It makes no sense.
    Message(&'static str),
    /// It may, but the host does not work.
    Host(NullError),
}

impl From<&'static str> for Fault {
    fn from(what: &'static str) -> Self {
        Self::Message(what)
    }
}

impl From<NullError> for Fault {
    fn from(error: NullError) -> Self {
        Self::Host(error)
    }
}

pub(super) struct Replica {
    id: usize,
    shape: Shape,
    slots: Vec<Slot>,
    bodies: Vec<Body>,
    /// Primary: requests that are in no batch yet.
    pending: VecDeque<u64>,
    /// Backups: batches that name a request which is not here yet.
    waiting: Vec<u64>,
    sequence_next: u64,
    executed: u64,
    operations: u64,
}

impl Replica {
    pub(super) fn new(id: usize, shape: Shape) -> Self {
        let places = shape.places();
        let client = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let body = Body { number: 0, operations: Vec::new(), client, executed: true };
        Self {
            id,
            shape,
            slots: vec![Slot::default(); places],
            bodies: vec![body; places],
            pending: VecDeque::with_capacity(places),
            waiting: Vec::with_capacity(places),
            sequence_next: 1,
            executed: 0,
            operations: 0,
        }
    }

    /// Takes one datagram in. Those of other runs are ignored.
    pub(super) fn on_datagram(
        &mut self,
        datagram: &[u8],
        from: SocketAddr,
        run: u64,
        out: &mut Outbox,
    ) -> Result<(), NullError> {
        let Some(packet) = PacketView::of_run(datagram, run) else {
            return Ok(());
        };
        let result = packet.map_err(Fault::Message).and_then(|packet| {
            packet.messages().try_for_each(|message| self.on_message(packet.sender, message?, from, out))
        });
        result.map_err(|fault| match fault {
            Fault::Message(what) => NullError::Damaged { from, what },
            Fault::Host(error) => error,
        })
    }

    fn on_message(
        &mut self,
        sender: usize,
        message: MessageView<'_>,
        from: SocketAddr,
        out: &mut Outbox,
    ) -> Result<(), Fault> {
        match message {
            MessageView::Greeting => {
                out.post(To::One(from), packet::greeting_bytes(), packet::write_greeting)?;
            }
            MessageView::Request(request) => {
                self.on_request(&request, from)?;
                self.retry_waiting(out)?;
            }
            MessageView::PrePrepare { sequence, entries } => {
                if sender != PRIMARY || self.id == PRIMARY {
                    return Err("a pre-prepare comes from a backup, or to the primary".into());
                }
                self.on_pre_prepare(sequence, entries)?;
                self.accept(sequence, out)?;
            }
            MessageView::Prepare { sequence } => {
                self.on_vote(sender, sequence, |slot| &mut slot.prepares)?;
                self.advance(sequence, out)?;
            }
            MessageView::Commit { sequence } => {
                self.on_vote(sender, sequence, |slot| &mut slot.commits)?;
                self.advance(sequence, out)?;
            }
            MessageView::Reply { .. } => return Err("a reply comes to a replica".into()),
        }
        Ok(())
    }

    /// The primary proposes what it holds: full batches while the pipeline has room, a partial one when it is empty.
    pub(super) fn propose(&mut self, out: &mut Outbox) -> Result<(), NullError> {
        loop {
            let in_flight = self.sequence_next - 1 - self.executed;
            let full = self.pending.len() >= self.shape.requests_per_batch;
            let worth = full || (in_flight == 0 && !self.pending.is_empty());
            if !worth || in_flight >= self.shape.pipeline_depth {
                return Ok(());
            }
            let sequence = self.sequence_next;
            self.sequence_next += 1;
            let count = self.pending.len().min(self.shape.requests_per_batch);
            let place = self.place(sequence);
            let slot = &mut self.slots[place];
            *slot = Slot { sequence, numbers: std::mem::take(&mut slot.numbers), accepted: true, ..Slot::default() };
            slot.numbers.clear();
            slot.numbers.extend(self.pending.drain(..count));
            let numbers = &slot.numbers;
            out.post(To::Replicas, packet::pre_prepare_bytes(count), |message| {
                packet::write_pre_prepare(message, sequence, numbers);
            })?;
        }
    }

    pub(super) fn result(&self) -> ReplicaResult {
        ReplicaResult { operations: self.operations, batches: self.executed, ..ReplicaResult::default() }
    }

    fn place(&self, number: u64) -> usize {
        number as usize & (self.slots.len() - 1)
    }

    /// The slot of a batch that is not executed yet.
    fn slot(&mut self, sequence: u64) -> Result<&mut Slot, &'static str> {
        if sequence > self.executed + self.slots.len() as u64 {
            return Err("a batch is further ahead than the client's window allows");
        }
        let place = self.place(sequence);
        let slot = &mut self.slots[place];
        if slot.sequence != sequence {
            *slot = Slot { sequence, numbers: std::mem::take(&mut slot.numbers), ..Slot::default() };
            slot.numbers.clear();
        }
        Ok(slot)
    }

    fn on_request(&mut self, request: &RequestView<'_>, from: SocketAddr) -> Result<(), &'static str> {
        let shape = self.shape;
        if request.payloads().filter(|payload| payload.len() == shape.payload_bytes).count()
            != shape.operations_per_request
        {
            return Err("a request has another shape than agreed");
        }
        let place = self.place(request.number);
        let body = &mut self.bodies[place];
        if !body.executed || body.number >= request.number {
            return Err("a request comes twice, or before its place is free");
        }
        body.number = request.number;
        body.client = from;
        body.executed = false;
        body.operations.clear();
        body.operations.extend_from_slice(request.operations);
        if self.id == PRIMARY {
            self.pending.push_back(request.number);
        }
        Ok(())
    }

    fn on_pre_prepare(&mut self, sequence: u64, entries: &[u8]) -> Result<(), &'static str> {
        if sequence <= self.executed {
            return Err("a pre-prepare comes twice");
        }
        let slot = self.slot(sequence)?;
        if !slot.numbers.is_empty() {
            return Err("a pre-prepare comes twice");
        }
        for number in packet::batch_numbers(entries) {
            slot.numbers.push(number?);
        }
        if slot.numbers.is_empty() { Err("a pre-prepare names no request") } else { Ok(()) }
    }

    fn on_vote(
        &mut self,
        sender: usize,
        sequence: u64,
        votes: impl FnOnce(&mut Slot) -> &mut u16,
    ) -> Result<(), &'static str> {
        if sender >= self.shape.replicas() || sender == self.id {
            return Err("a vote comes from nobody");
        }
        // The votes that were not needed come late.
        if sequence > self.executed {
            *votes(self.slot(sequence)?) |= 1 << sender;
        }
        Ok(())
    }

    /// Prepares a batch if every request that it names is here, else lets it wait for them.
    fn accept(&mut self, sequence: u64, out: &mut Outbox) -> Result<(), NullError> {
        let here = |number: &u64| self.bodies[self.place(*number)].number == *number;
        let slot = &self.slots[self.place(sequence)];
        if !slot.numbers.iter().all(here) {
            self.waiting.push(sequence);
            return Ok(());
        }
        let place = self.place(sequence);
        self.slots[place].accepted = true;
        self.slots[place].prepares |= 1 << self.id;
        let write = |message: &mut [u8]| packet::write_vote(message, Kind::Prepare, sequence);
        out.post(To::Replicas, packet::vote_bytes(), write)?;
        self.advance(sequence, out)
    }

    /// A request has come: batches may have waited for it.
    fn retry_waiting(&mut self, out: &mut Outbox) -> Result<(), NullError> {
        for _ in 0..self.waiting.len() {
            let sequence = self.waiting.remove(0);
            self.accept(sequence, out)?;
        }
        Ok(())
    }

    /// The batch is accepted, and `2f` backups have prepared it.
    fn prepared(&self, slot: &Slot) -> bool {
        slot.accepted && slot.prepares.count_ones() as usize >= self.shape.quorum().prepares()
    }

    /// A vote has come for `sequence`: commits if it is time, and executes whatever is ready, in order.
    fn advance(&mut self, sequence: u64, out: &mut Outbox) -> Result<(), NullError> {
        let place = self.place(sequence);
        if self.slots[place].sequence != sequence || !self.prepared(&self.slots[place]) {
            return Ok(());
        }
        let slot = &mut self.slots[place];
        if !self.shape.tentative && !slot.commit_sent {
            slot.commit_sent = true;
            slot.commits |= 1 << self.id;
            let write = |message: &mut [u8]| packet::write_vote(message, Kind::Commit, sequence);
            out.post(To::Replicas, packet::vote_bytes(), write)?;
        }
        loop {
            let next = self.executed + 1;
            let slot = &self.slots[self.place(next)];
            let committed = self.shape.tentative || slot.commits.count_ones() as usize >= self.shape.quorum().strong();
            if slot.sequence != next || !self.prepared(slot) || !committed {
                return Ok(());
            }
            self.execute(next, out)?;
        }
    }

    /// The null service: the result of an operation is its complement.
    fn execute(&mut self, sequence: u64, out: &mut Outbox) -> Result<(), NullError> {
        let (place, shape) = (self.place(sequence), self.shape);
        let reply_bytes = packet::reply_bytes(shape.operations_per_request, shape.payload_bytes);
        let numbers = std::mem::take(&mut self.slots[place].numbers);
        for &number in &numbers {
            let place = self.place(number);
            let body = &mut self.bodies[place];
            body.executed = true;
            let request = RequestView { number, operations: &body.operations };
            out.post(To::One(body.client), reply_bytes, |message| packet::write_reply(message, sequence, &request))?;
            self.operations += shape.operations_per_request as u64;
        }
        self.slots[place].numbers = numbers;
        self.executed = sequence;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::null_protocol::Packing;
    use logothete_transport::pool::{Pool, PoolConfig};

    const RUN: u64 = 5;
    const CLIENT: usize = 4;

    fn outbox(sender: usize) -> Outbox {
        let pool = Pool::new(PoolConfig { frame_bytes: 4096, frames: 64 }).unwrap();
        Outbox::new(pool, Packing::Message, RUN, sender, 3)
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, port))
    }

    /// What `sender` would send as one datagram.
    fn datagram(sender: usize, message_bytes: usize, write: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let mut out = outbox(sender);
        out.post(To::Replicas, message_bytes, write).unwrap();
        out.fetch().next().unwrap().0.to_vec()
    }

    fn request(number: u64) -> Vec<u8> {
        datagram(CLIENT, packet::request_bytes(1, 8), |m| packet::write_request(m, number, 1, 8))
    }

    fn pre_prepare(sequence: u64, numbers: &[u64]) -> Vec<u8> {
        datagram(PRIMARY, packet::pre_prepare_bytes(numbers.len()), |m| packet::write_pre_prepare(m, sequence, numbers))
    }

    fn vote(sender: usize, kind: Kind, sequence: u64) -> Vec<u8> {
        datagram(sender, packet::vote_bytes(), |m| packet::write_vote(m, kind, sequence))
    }

    /// A replica with everything that it said so far, as kinds of messages with their sequence numbers.
    struct Party {
        replica: Replica,
        out: Outbox,
    }

    impl Party {
        fn new(id: usize, shape: Shape) -> Self {
            Self { replica: Replica::new(id, shape), out: outbox(id) }
        }

        fn hears(&mut self, datagram: &[u8]) -> Result<Vec<String>, NullError> {
            self.replica.on_datagram(datagram, address(9), RUN, &mut self.out)?;
            if self.replica.id == PRIMARY {
                self.replica.propose(&mut self.out)?;
            }
            let mut said = Vec::new();
            for (frame, to) in self.out.fetch() {
                let packet = PacketView::of_run(&frame, RUN).unwrap().unwrap();
                for message in packet.messages() {
                    said.push(match message.unwrap() {
                        MessageView::PrePrepare { sequence, entries } => {
                            let numbers: Vec<u64> = packet::batch_numbers(entries).map(Result::unwrap).collect();
                            format!("pre-prepare {sequence} {numbers:?}")
                        }
                        MessageView::Prepare { sequence } => format!("prepare {sequence}"),
                        MessageView::Commit { sequence } => format!("commit {sequence}"),
                        MessageView::Reply { sequence, number, .. } => {
                            assert_eq!(to, To::One(address(9)));
                            format!("reply {number} at {sequence}")
                        }
                        other => format!("{other:?}"),
                    });
                }
            }
            Ok(said)
        }

        /// Hears a datagram that makes sense.
        fn says(&mut self, datagram: &[u8]) -> Vec<String> {
            self.hears(datagram).unwrap()
        }
    }

    #[test]
    fn a_backup_prepares_commits_and_replies_in_five_delays() {
        let mut backup = Party::new(1, Shape::latency(false));
        assert!(backup.says(&request(1)).is_empty());
        assert_eq!(backup.says(&pre_prepare(1, &[1])), ["prepare 1"]);
        assert_eq!(backup.says(&vote(2, Kind::Prepare, 1)), ["commit 1"]);
        assert!(backup.says(&vote(3, Kind::Commit, 1)).is_empty());
        assert_eq!(backup.says(&vote(2, Kind::Commit, 1)), ["reply 1 at 1"]);
        assert!(backup.says(&vote(0, Kind::Commit, 1)).is_empty(), "late votes are nothing special");
        assert!(backup.says(&vote(3, Kind::Prepare, 1)).is_empty());
    }

    #[test]
    fn a_tentative_backup_replies_when_prepared() {
        let mut backup = Party::new(3, Shape::latency(true));
        backup.says(&request(1));
        assert_eq!(backup.says(&pre_prepare(1, &[1])), ["prepare 1"]);
        assert_eq!(backup.says(&vote(1, Kind::Prepare, 1)), ["reply 1 at 1"]);
    }

    #[test]
    fn votes_of_one_replica_count_once() {
        let mut backup = Party::new(1, Shape { faults: 2, ..Shape::latency(true) });
        backup.says(&request(1));
        backup.says(&pre_prepare(1, &[1]));
        for _ in 0..3 {
            assert!(backup.says(&vote(2, Kind::Prepare, 1)).is_empty());
        }
        assert!(backup.says(&vote(3, Kind::Prepare, 1)).is_empty());
        assert_eq!(backup.says(&vote(4, Kind::Prepare, 1)), ["reply 1 at 1"]);
    }

    #[test]
    fn a_batch_waits_for_its_requests_and_execution_for_its_turn() {
        let mut backup = Party::new(2, Shape::latency(true));
        backup.says(&request(2));
        assert!(backup.says(&vote(1, Kind::Prepare, 2)).is_empty());
        assert_eq!(backup.says(&pre_prepare(2, &[2])), ["prepare 2"]);
        assert!(backup.says(&pre_prepare(1, &[1, 3])).is_empty());
        assert!(backup.says(&vote(1, Kind::Prepare, 1)).is_empty());
        assert!(backup.says(&request(3)).is_empty());
        let mut said = backup.says(&request(1));
        // The order of datagrams to different audiences means nothing.
        said.sort();
        assert_eq!(said, ["prepare 1", "reply 1 at 1", "reply 2 at 2", "reply 3 at 1"]);
        assert_eq!((backup.replica.result().operations, backup.replica.result().batches), (3, 2));
    }

    #[test]
    fn the_primary_proposes_at_once_when_idle_and_full_batches_while_busy() {
        let shape = Shape { requests_per_batch: 2, pipeline_depth: 2, ..Shape::throughput(true) };
        let shape = Shape { operations_per_request: 1, ..shape };
        let mut primary = Party::new(0, shape);
        assert_eq!(primary.says(&request(1)), ["pre-prepare 1 [1]"]);
        assert!(primary.says(&request(2)).is_empty());
        assert_eq!(primary.says(&request(3)), ["pre-prepare 2 [2, 3]"]);
        assert!(primary.says(&request(4)).is_empty());
        assert!(primary.says(&request(5)).is_empty(), "the pipeline is full");
        assert!(primary.says(&vote(1, Kind::Prepare, 1)).is_empty());
        assert_eq!(primary.says(&vote(2, Kind::Prepare, 1)), ["reply 1 at 1", "pre-prepare 3 [4, 5]"]);
    }

    #[test]
    fn what_makes_no_sense_fails_the_run() {
        let mut backup = Party::new(1, Shape::latency(false));
        backup.says(&request(1));
        backup.says(&pre_prepare(1, &[1]));
        let wrong = [
            request(1),
            pre_prepare(1, &[1]),
            pre_prepare(2, &[]),
            pre_prepare(1_000, &[1]),
            vote(1, Kind::Prepare, 2),
            vote(9, Kind::Prepare, 2),
            datagram(CLIENT, packet::request_bytes(2, 8), |m| packet::write_request(m, 2, 2, 8)),
            datagram(2, packet::pre_prepare_bytes(1), |m| packet::write_pre_prepare(m, 3, &[1])),
        ];
        for (at, datagram) in wrong.iter().enumerate() {
            assert!(matches!(backup.hears(datagram), Err(NullError::Damaged { .. })), "{at}");
        }
        assert!(backup.says(b"something else on the same port").is_empty());
    }
}
