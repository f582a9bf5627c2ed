//! How what a plan has goes wrong, and what ends it.

use crate::adversary::faults::{Behaviour, Fault as Faulty};
use crate::swarm::fault::{Fault, FaultEvent, Hearing, Target};
use crate::world::hosts::ReplicaHost;
use crate::world::timeline::Timeline;
use logothete_engine::numbers::{ClientId, Principal, ReplicaId, ReplicaSet};
use std::collections::BTreeMap;

/// What ends, or goes on, at its time.
#[derive(Clone, Copy, Debug)]
enum Sequel {
    Mend {
        from: usize,
        to: usize,
    },
    OutageOver {
        group: bool,
    },
    KindBack {
        kind: u8,
    },
    Wake {
        at: usize,
    },
    Begin {
        at: usize,
    },
    /// The next replica's turn in a rolling restart, with the time between two.
    Roll {
        at: usize,
        gap_ns: u64,
    },
    DiskGoesOn {
        at: usize,
    },
    Thaw {
        at: usize,
    },
    RetireKeys {
        at: usize,
    },
    SpareTags {
        client: u16,
    },
}

/// What goes on of what went wrong.
#[derive(Debug, Default)]
pub struct Strikes {
    sequels: BTreeMap<(u64, u64), Sequel>,
    count: u64,
}

impl Strikes {
    /// When something ends or goes on.
    pub fn due_ns(&self) -> u64 {
        self.sequels.first_key_value().map_or(u64::MAX, |((due_ns, _), _)| *due_ns)
    }

    /// From now on nothing ends by itself.
    pub fn freeze(&mut self) {
        self.sequels.clear();
    }

    fn later(&mut self, at_ns: u64, sequel: Sequel) {
        self.count += 1;
        self.sequels.insert((at_ns, self.count), sequel);
    }

    /// Something goes wrong.
    ///
    /// # Errors
    /// What a checker found.
    pub fn strike(&mut self, timeline: &mut Timeline, event: &FaultEvent) -> Result<(), String> {
        let (now_ns, end_ns) = (timeline.now_ns(), timeline.now_ns() + event.for_ns);
        match event.fault {
            Fault::Partition { inside, hearing, clients_too } => {
                self.partition(timeline, ReplicaSet(inside), hearing, clients_too, end_ns);
            }
            Fault::IsolatePrimary { hearing } => {
                let primary = ReplicaId(resolve(timeline, Target::Primary) as u8);
                self.partition(timeline, ReplicaSet::only(primary), hearing, false, end_ns);
            }
            Fault::Burst { from, to } => self.cut(timeline, from, to, end_ns),
            Fault::Clog { from, to } => timeline.links_mut().clog(from, to, end_ns),
            Fault::Outage { group } => {
                timeline.links_mut().outage(group, true);
                self.later(end_ns, Sequel::OutageOver { group });
            }
            Fault::LoseKind { kind } => {
                timeline.links_mut().lose_kind(kind, true);
                self.later(end_ns, Sequel::KindBack { kind });
            }
            Fault::Pause { who } => {
                let at = resolve(timeline, who);
                timeline.pause(replica(at), true);
                self.later(end_ns, Sequel::Wake { at });
            }
            Fault::Crash { who, lost } => {
                let at = resolve(timeline, who);
                if bears_crash(timeline, at, lost) {
                    self.crash(timeline, at, lost, end_ns);
                }
            }
            Fault::PowerLoss => {
                let all = 0..timeline.cluster.replicas.len();
                for at in all {
                    let host = &timeline.cluster.replicas[at];
                    if host.is_correct() && host.disk.remembers() {
                        self.crash(timeline, at, false, now_ns + event.for_ns * (at as u64 + 1) / 10);
                    }
                }
            }
            Fault::RollingRestart => {
                let gap_ns = event.for_ns / timeline.cluster.replicas.len() as u64;
                self.later(now_ns, Sequel::Roll { at: 0, gap_ns });
            }
            Fault::RestartClient { client } => {
                timeline.cluster.restart_client(usize::from(client), 0)?;
                timeline.forget_inbox(Principal::Client(ClientId(client)));
            }
            Fault::DiskStall { who } => {
                let at = resolve(timeline, who);
                timeline.cluster.replicas[at].disk.hold(true);
                self.later(end_ns, Sequel::DiskGoesOn { at });
            }
            Fault::ClockFreeze { who } => {
                let at = resolve(timeline, who);
                timeline.cluster.replicas[at].clock.freeze(now_ns, true);
                timeline.look_at(replica(at));
                self.later(end_ns, Sequel::Thaw { at });
            }
            Fault::ClockLeap { who, by_ns } => {
                let at = resolve(timeline, who);
                timeline.cluster.replicas[at].clock.leap(now_ns, by_ns);
                timeline.look_at(replica(at));
            }
            Fault::ClockRate { who, rate_ppm } => {
                let at = resolve(timeline, who);
                timeline.cluster.replicas[at].clock.set_rate(now_ns, rate_ppm);
                timeline.look_at(replica(at));
            }
            Fault::RotateKeys { who } => {
                let at = resolve(timeline, who);
                timeline.cluster.rotate_keys(at);
                self.later(end_ns, Sequel::RetireKeys { at });
            }
            Fault::SpoilTags { client, replicas } => {
                timeline.cluster.clients[usize::from(client)].spoils =
                    ReplicaSet(replicas).iter().map(Principal::Replica).collect();
                self.later(end_ns, Sequel::SpareTags { client });
            }
        }
        Ok(())
    }

    /// Does what is due of what ends or goes on.
    ///
    /// # Errors
    /// What a checker found.
    pub fn go_on(&mut self, timeline: &mut Timeline) -> Result<(), String> {
        let now_ns = timeline.now_ns();
        while self.due_ns() <= now_ns {
            let (_, sequel) = self.sequels.pop_first().expect("one is due");
            match sequel {
                Sequel::Mend { from, to } => timeline.links_mut().cut(from, to, false),
                Sequel::OutageOver { group } => timeline.links_mut().outage(group, false),
                Sequel::KindBack { kind } => timeline.links_mut().lose_kind(kind, false),
                Sequel::Wake { at } => timeline.pause(replica(at), false),
                Sequel::Begin { at } => begin_again(timeline, at)?,
                Sequel::Roll { at, gap_ns } => {
                    if bears_crash(timeline, at, false) {
                        self.crash(timeline, at, false, now_ns + gap_ns / 2);
                    }
                    if at + 1 < timeline.cluster.replicas.len() {
                        self.later(now_ns + gap_ns, Sequel::Roll { at: at + 1, gap_ns });
                    }
                }
                Sequel::DiskGoesOn { at } => {
                    timeline.cluster.replicas[at].disk.hold(false);
                    timeline.look_at(replica(at));
                }
                Sequel::Thaw { at } => {
                    timeline.cluster.replicas[at].clock.freeze(now_ns, false);
                    timeline.look_at(replica(at));
                }
                Sequel::RetireKeys { at } => timeline.cluster.retire_keys(at),
                Sequel::SpareTags { client } => timeline.cluster.clients[usize::from(client)].spoils.clear(),
            }
        }
        Ok(())
    }

    fn cut(&mut self, timeline: &mut Timeline, from: usize, to: usize, end_ns: u64) {
        timeline.links_mut().cut(from, to, true);
        self.later(end_ns, Sequel::Mend { from, to });
    }

    fn partition(
        &mut self,
        timeline: &mut Timeline,
        inside: ReplicaSet,
        hearing: Hearing,
        clients_too: bool,
        end_ns: u64,
    ) {
        let (replicas, clients) = (timeline.cluster.replicas.len(), timeline.cluster.clients.len());
        let is_inside = |at: usize| at < replicas && inside.contains(ReplicaId(at as u8));
        let others = if clients_too { replicas + clients } else { replicas };
        for within in (0..replicas).filter(|at| is_inside(*at)) {
            for without in (0..others).filter(|at| !is_inside(*at)) {
                if hearing != Hearing::Inside {
                    self.cut(timeline, without, within, end_ns);
                }
                if hearing != Hearing::Outside {
                    self.cut(timeline, within, without, end_ns);
                }
            }
        }
    }

    fn crash(&mut self, timeline: &mut Timeline, at: usize, lost: bool, until_ns: u64) {
        let host = &mut timeline.cluster.replicas[at];
        host.fault = Some(Faulty::new(Behaviour::Crashed));
        if lost {
            host.disk.replace();
        }
        timeline.forget_inbox(replica(at));
        self.later(until_ns, Sequel::Begin { at });
    }
}

/// A replica's process begins again, if it is down.
///
/// # Errors
/// What a checker found.
pub fn begin_again(timeline: &mut Timeline, at: usize) -> Result<(), String> {
    if timeline.cluster.replicas[at].is_crashed() {
        timeline.cluster.restart_replica(at, false)?;
        timeline.forget_inbox(replica(at));
    }
    Ok(())
}

/// Whether a replica may crash now: a process that comes back without its memory counts as faulty until it has recovered, and no more than `f` are.
fn bears_crash(timeline: &Timeline, at: usize, lost: bool) -> bool {
    let replicas = &timeline.cluster.replicas;
    let forgets = |host: &ReplicaHost| lost || !host.disk.remembers();
    let faults = timeline.cluster.settings.quorum().faults();
    let others = replicas.iter().enumerate().filter(|(other, _)| *other != at);
    let faulty = others.filter(|(_, host)| !host.is_correct() || host.recovers).count();
    replicas[at].is_correct() && (!forgets(&replicas[at]) || faulty < faults)
}

/// The replica that is meant: of the primary the one that is it now.
fn resolve(timeline: &Timeline, target: Target) -> usize {
    match target {
        Target::Replica(id) => usize::from(id),
        Target::Primary => {
            let replicas = &timeline.cluster.replicas;
            let views = replicas.iter().filter(|host| host.is_correct()).map(|host| host.orderer.replica().view().0);
            (views.max().unwrap_or(0) % replicas.len() as u64) as usize
        }
    }
}

fn replica(at: usize) -> Principal {
    Principal::Replica(ReplicaId(at as u8))
}
