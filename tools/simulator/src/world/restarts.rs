//! Replicas' processes that end and begin again, and their keys that are replaced.

use crate::adversary::faults::{Behaviour, Fault};
use crate::marks::Mark;
use crate::world::cluster::Cluster;
use crate::world::disk::Damaged;
use crate::world::disk::faults::DiskFault;
use logothete_engine::numbers::Principal;

impl Cluster {
    /// A replica's host loses its power, and with it what is not durable. Its process is down until another begins.
    ///
    /// # Errors
    /// What a checker found on the disk.
    pub fn cut_power(&mut self, at: usize) -> Result<(), String> {
        self.end_replica(at)?;
        self.replicas[at].fault = Some(Fault::new(Behaviour::Crashed));
        Ok(())
    }

    /// A replica's process is killed, and another begins with what is durable; or with nothing, where the disk is `lost`, or there was no journal.
    pub fn restart_replica(&mut self, at: usize, lost: bool) -> Result<(), String> {
        self.end_replica(at)?;
        if lost {
            self.replicas[at].disk.replace();
        }
        self.begin_replica(at, None)
    }

    /// A replica's process is killed, its disk is damaged, and another begins with what is left. Where that is more than the protocol bears, or there is
    /// nothing of the kind, nothing is damaged.
    ///
    /// # Errors
    /// The damage was not noticed, and could have been.
    pub fn restart_damaged(&mut self, at: usize, kind: DiskFault) -> Result<(), String> {
        self.end_replica(at)?;
        let host = &self.replicas[at];
        let bears = !host.recovers && host.disk.remembers() && self.bears_loss_of(at);
        let damaged = if bears { host.disk.damage(kind) } else { None };
        self.begin_replica(at, damaged.as_ref())
    }

    /// Whether a replica may lose what it promised: fewer than `f` others are wrong, or have forgotten and not recovered. Whoever is only down, and
    /// remembers, is neither.
    pub fn bears_loss_of(&self, at: usize) -> bool {
        let wrong = self.replicas.iter().enumerate().filter(|(other, host)| {
            let is_down = host.is_crashed();
            let forgot = host.recovers || (!host.disk.remembers() && (self.settings.journal || is_down));
            *other != at && (!(host.is_correct() || is_down) || forgot)
        });
        wrong.count() < self.settings.quorum().faults()
    }

    fn end_replica(&mut self, at: usize) -> Result<(), String> {
        let host = self.replicas.get_mut(at).ok_or("there is no such replica")?;
        if !host.is_checked() && !host.is_crashed() {
            return Err(format!("{} is faulty in other ways", host.id));
        }
        host.disk.set_time(self.now_ns);
        host.disk.crash();
        // What was on its way may be durable, though the process never knew.
        self.checks.on_ended(host.id, &host.disk);
        self.checks.verdict()
    }

    fn begin_replica(&mut self, at: usize, damaged: Option<&Damaged>) -> Result<(), String> {
        let (earlier, rest) = self.replicas.split_at_mut(at);
        let (host, later) = rest.split_first_mut().expect("its process ended just now");
        let torn = host.disk.take_torn();
        let refused = host.restart(&self.settings, self.now_ns, &mut self.random);
        let peers = earlier.iter_mut().chain(later).map(|other| &mut other.seat);
        let clients = self.clients.iter_mut().map(|client| &mut client.seat);
        peers.chain(clients).for_each(|seat| host.seat.introduce(seat));
        host.seat.introduce(&mut self.operator);
        host.keep_question(&mut self.operator, self.settings.operator());
        let recalled = std::mem::take(&mut *host.record.lock().expect("one thread"));
        let (id, executed, recovers) = (host.id, host.executed, host.recovers);
        self.ledger.on_restarted(Principal::Replica(id));
        let checkpoint = if recovers { 0 } else { host.disk.checkpoint() };
        let standing = (host.orderer.replica().view().0, executed);
        // Without the end of its journal it forgot, and does not know it.
        let forgot = recovers || damaged.is_some_and(|damaged| damaged.kind == DiskFault::End);
        self.checks.on_restarted(id, forgot, standing, checkpoint, &recalled);
        if let Some(damaged) = damaged {
            self.report.outcome(Principal::Replica(id), || format!("finds its disk damaged: {damaged}"));
        }
        match (&refused, recovers) {
            (None, false) if torn => self.checks.hit(Mark::TornEndCut),
            (Some(_), _) if damaged.is_some() => self.checks.hit(Mark::DamageRefused),
            _ => {}
        }
        let text = match (&refused, recovers) {
            (Some(reason), _) => format!("does not begin: {reason}; begins with --rejoin, and remembers nothing"),
            (None, true) => "begins again, and remembers nothing".to_owned(),
            (None, false) => format!("begins again, executed s{executed}, stable s{}", host.stable),
        };
        self.report.outcome(Principal::Replica(id), || text);
        match refused {
            Some(reason) if damaged.is_none() => {
                return Err(format!("{id} refuses to begin with a disk that nothing happened to: {reason}"));
            }
            _ if !recovers => self.compare_read(at, damaged)?,
            _ => {}
        }
        self.run_due()
    }

    /// A replica's process makes the next generation of its key, and everybody learns it.
    pub fn rotate_keys(&mut self, at: usize) {
        let (earlier, rest) = self.replicas.split_at_mut(at);
        let (host, later) = rest.split_first_mut().expect("there is such a replica");
        host.seat.rotate();
        let peers = earlier.iter_mut().chain(later).map(|other| &mut other.seat);
        let clients = self.clients.iter_mut().map(|client| &mut client.seat);
        for seat in peers.chain(clients) {
            host.seat.overlap(seat);
            seat.overlap(&host.seat);
            host.seat.introduce(seat);
        }
        host.seat.introduce(&mut self.operator);
        let own = Principal::Replica(host.id);
        self.ledger.on_rotated(own);
        self.report.step(own, || "has new keys".to_owned());
    }

    /// The overlap of a replica's last two generations is over, for itself and for everybody.
    pub fn retire_keys(&mut self, at: usize) {
        let own = Principal::Replica(self.replicas[at].id);
        self.replicas.iter_mut().for_each(|host| host.seat.retire(own));
        self.clients.iter_mut().for_each(|host| host.seat.retire(own));
        self.ledger.on_retired(own);
        self.report.step(own, || "knows its former keys no more".to_owned());
    }

    /// A replica that says that it remembers has read all that its disk holds, and nothing else. Only damage to the very end takes something from it
    /// that it cannot know of (`protocol.md JR-3`): then it is one of the faulty.
    fn compare_read(&mut self, at: usize, damaged: Option<&Damaged>) -> Result<(), String> {
        let host = &mut self.replicas[at];
        let id = host.id;
        let unread = host.disk.unread().map_err(|error| format!("{id}: {error}"))?;
        match damaged {
            Some(damaged) if damaged.kind == DiskFault::End => {
                self.report.outcome(Principal::Replica(id), || format!("knows nothing of {unread} records it had"));
                host.fault = Some(Fault::new(Behaviour::Scripted));
                host.disk.forget_unread(unread);
                Ok(())
            }
            Some(damaged) if damaged.kind != DiskFault::Checkpoint => Err(format!("{id} did not notice {damaged:?}")),
            _ if unread > 0 => Err(format!("{id} took its last {unread} records, which are durable, for a torn end")),
            _ => Ok(()),
        }
    }
}
