//! A replica that lies (RP-14): the real one inside, and between it and the network somebody who has its keys.
//!
//! What the correct one says is changed on its way out, in the words of the simulator's adversary; what it hears it hears.
//! Which lie it tells stands in a file beside the configuration: the same process behaves, lies, and behaves again.

mod mouth;

pub use mouth::Lie;

use clap::ValueEnum;
use logothete::failure::Failure;
use logothete_engine::authentication::Incoming;
use logothete_engine::cluster::{Cluster, ReplicaLocal};
use logothete_engine::numbers::{Principal, ReplicaId};
use logothete_engine::pipeline::{Core, Departures, Orderer, Outbox, Outgoing, ReplicaFacts};
use logothete_engine::replica::{Event, Now};
use logothete_engine::wire::packet::HEADER_BYTES;
use logothete_simulator::adversary::letter::Letter;
use logothete_transport::pool::Frame;
use mouth::Mouth;
use std::path::{Path, PathBuf};

/// Between two looks at the orders.
const ORDERS_INTERVAL_NS: u64 = 10_000_000;

/// Orders a replica of a cluster of liars to lie, or to behave.
///
/// # Errors
///
/// When the file cannot be written.
pub fn order(cluster_file: &Path, id: usize, lie: Option<Lie>) -> Result<(), Failure> {
    let path = orders(cluster_file, id as u8);
    let name = lie.map(|lie| lie.to_possible_value().expect("none is skipped").get_name().to_owned());
    // It never reads half of a name.
    let fresh = path.with_extension("new");
    std::fs::write(&fresh, name.unwrap_or_default())
        .and_then(|()| std::fs::rename(&fresh, &path))
        .map_err(|error| Failure::of_file("write", &path, &error))
}

fn orders(cluster_file: &Path, id: u8) -> PathBuf {
    ReplicaLocal::file(cluster_file, id).with_extension("lie")
}

/// Runs a replica that lies when it is told to.
///
/// # Errors
///
/// As `logothete replica`.
pub fn run(arguments: &logothete::ReplicaArguments) -> Result<(), Failure> {
    let (file, id) = (&arguments.config, arguments.id);
    let cluster = Cluster::load(file)?;
    let identity = ReplicaLocal::load(&ReplicaLocal::file(file, id))?.identity(&cluster, id)?;
    let orders = orders(file, id);
    logothete::run_replica_within(arguments, |inside| Liar {
        mouth: Mouth::new(ReplicaId(id), identity, &cluster),
        inside,
        orders,
        looked_ns: 0,
        late: Vec::new(),
    })
}

/// The replica, and who changes what it says.
struct Liar {
    inside: Orderer,
    mouth: Mouth,
    orders: PathBuf,
    looked_ns: u64,
    /// What leaves later, and when.
    late: Vec<(u64, Letter)>,
}

impl Liar {
    fn look_at_orders(&mut self, now_ns: u64) {
        if now_ns < self.looked_ns + ORDERS_INTERVAL_NS {
            return;
        }
        self.looked_ns = now_ns;
        // Without orders it behaves.
        let name = std::fs::read_to_string(&self.orders).unwrap_or_default();
        self.mouth.obey(Lie::from_str(&name, false).ok());
    }
}

impl Core for Liar {
    fn on_incoming(&mut self, now: Now, incoming: &Incoming<'_>) {
        self.inside.on_incoming(now, incoming);
    }

    fn on_duty_end(&mut self, now: Now, facts: &ReplicaFacts, outbox: &mut Outbox) {
        let now_ns = now.monotonic_ns;
        self.look_at_orders(now_ns);
        self.inside.on_duty_end(now, facts, outbox);
        let mut said = Said { own: self.mouth.own(), letters: Vec::new(), relays: Vec::new() };
        if self.mouth.lies() {
            outbox.drain_into(&mut said);
        }
        let replica = self.inside.replica();
        let spoken = self.mouth.speak_up(now_ns, replica.view(), replica.config().epoch);
        let letters = said.letters.drain(..).flat_map(|letter| self.mouth.say(letter)).chain(spoken);
        let (late, now_due): (Vec<Letter>, Vec<Letter>) = letters.partition(|letter| letter.delay_ns > 0);
        self.late.extend(late.into_iter().map(|letter| (now_ns + letter.delay_ns, letter)));
        let due = self.late.extract_if(.., |(due_ns, _)| *due_ns <= now_ns).map(|(_, letter)| letter);
        for letter in due.chain(now_due) {
            self.mouth.post(&letter, outbox);
        }
        for (to, datagram) in said.relays {
            outbox.relay(to, &datagram);
        }
    }

    fn deadline_ns(&self) -> u64 {
        let late = self.late.iter().map(|(due_ns, _)| *due_ns).min();
        let orders = self.looked_ns + ORDERS_INTERVAL_NS;
        [late, self.mouth.speaks_at_ns()].into_iter().flatten().fold(self.inside.deadline_ns().min(orders), u64::min)
    }

    fn on_stop(&mut self) {
        self.inside.on_stop();
    }

    fn take_events(&mut self, take: &mut dyn FnMut(Event)) {
        self.inside.take_events(take);
    }
}

/// What the correct one would have sent.
struct Said {
    own: ReplicaId,
    letters: Vec<Letter>,
    relays: Vec<(ReplicaId, Vec<u8>)>,
}

impl Departures for Said {
    fn depart(&mut self, mut packet: Outgoing) {
        let body = packet.frame.capacity_bytes_mut()[HEADER_BYTES..HEADER_BYTES + packet.body_bytes].to_vec();
        self.letters.push(Letter::new(Principal::Replica(self.own), packet.audience, body));
    }

    fn depart_relayed(&mut self, to: ReplicaId, frame: Frame) {
        self.relays.push((to, frame.to_vec()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_as_they_are_written() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("cluster.toml");
        for lie in Lie::ALL {
            order(&file, 3, Some(*lie)).unwrap();
            let name = std::fs::read_to_string(orders(&file, 3)).unwrap();
            assert_eq!(Lie::from_str(&name, false), Ok(*lie));
        }
        order(&file, 3, None).unwrap();
        assert_eq!(std::fs::read_to_string(orders(&file, 3)).unwrap(), "");
    }
}
