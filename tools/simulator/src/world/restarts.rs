//! Replicas' processes that end and begin again, and their keys that are replaced.

use crate::world::cluster::Cluster;
use logothete_engine::numbers::Principal;

impl Cluster {
    /// A replica's process is killed, and another begins with what is durable; or with nothing, where the disk is `lost`, or there was no journal.
    pub fn restart_replica(&mut self, at: usize, lost: bool) -> Result<(), String> {
        let (earlier, rest) = self.replicas.split_at_mut(at);
        let (host, later) = rest.split_first_mut().ok_or("there is no such replica")?;
        if !host.is_checked() && !host.is_crashed() {
            return Err(format!("{} is faulty in other ways", host.id));
        }
        if lost {
            host.disk.replace();
        }
        host.restart(&self.settings, self.now_ns, &mut self.random);
        let peers = earlier.iter_mut().chain(later).map(|other| &mut other.seat);
        let clients = self.clients.iter_mut().map(|client| &mut client.seat);
        peers.chain(clients).for_each(|seat| host.seat.introduce(seat));
        host.seat.introduce(&mut self.operator);
        host.keep_question(&mut self.operator, self.settings.operator());
        let recalled = std::mem::take(&mut *host.record.lock().expect("one thread"));
        let (id, executed, recovers) = (host.id, host.executed, host.recovers);
        let checkpoint = if recovers { None } else { host.disk.read().0 };
        let checkpoint = checkpoint.map_or(0, |(sequence, _)| sequence.0);
        let standing = (host.orderer.replica().view().0, executed);
        self.checks.on_restarted(id, recovers, standing, checkpoint, &recalled);
        let text = match recovers {
            true => "begins again, and remembers nothing".to_owned(),
            false => format!("begins again, executed s{executed}, stable s{}", host.stable),
        };
        self.report.outcome(Principal::Replica(id), || text);
        self.run_due()
    }

    /// A replica's process makes the next generation of its key, and everybody learns it.
    pub fn rotate_keys(&mut self, at: usize) {
        let (earlier, rest) = self.replicas.split_at_mut(at);
        let (host, later) = rest.split_first_mut().expect("there is such a replica");
        host.seat.rotate();
        let peers = earlier.iter_mut().chain(later).map(|other| &mut other.seat);
        let clients = self.clients.iter_mut().map(|client| &mut client.seat);
        peers.chain(clients).for_each(|seat| host.seat.introduce(seat));
        host.seat.introduce(&mut self.operator);
        self.report.step(Principal::Replica(host.id), || "has new keys".to_owned());
    }

    /// The overlap of a replica's last two generations is over, for itself and for everybody.
    pub fn retire_keys(&mut self, at: usize) {
        let own = Principal::Replica(self.replicas[at].id);
        self.replicas.iter_mut().for_each(|host| host.seat.retire(own));
        self.clients.iter_mut().for_each(|host| host.seat.retire(own));
        self.report.step(own, || "knows its former keys no more".to_owned());
    }
}
