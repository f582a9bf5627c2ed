//! The cluster of a drill: real processes, each of which can be hurt on its own and put right again.

use crate::children::{Children, Diagnostics};
use crate::commands::local::{Overrides, START_WAIT, spawn_driver, spawn_replica};
use crate::failure::Failure;
use crate::trial::local_cluster::{temporary_directory, wait_for_each_other};
use crate::trial::measure::ask_within;
use logothete_bench::processes::{Role, Watched};
use logothete_crypto::os_entropy;
use logothete_engine::client::status::ReplicaStatus;
use logothete_engine::cluster::init::{Plan, create};
use logothete_engine::cluster::{Cluster, DriverLocal, Journal, ReplicaLocal};
use logothete_engine::replica::Progress;
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long replicas may take to answer one query while some of them cannot: on one host, answers take milliseconds.
const ASK_WAIT: Duration = Duration::from_millis(300);

/// How long a process may take to end after a signal that ends it.
const END_WAIT: Duration = Duration::from_secs(10);

/// Between two looks at a process that is to end.
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

/// How a replica's process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Condition {
    Running,
    Stopped,
    Down,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    pid: u32,
    condition: Condition,
}

/// Whose place among the hosts it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where this replica runs.
    Replica(usize),
    /// Where driver 0 runs.
    Driver,
    /// From where the replicas are asked how they fare.
    Operator,
}

/// Where the processes of a cluster run.
pub trait Hosts {
    /// The calling thread is at a place until this is dropped; the processes and sockets that it makes stay there.
    type Inside;

    /// Goes to a place.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    fn enter(&self, place: Place) -> Result<Self::Inside, Failure>;
}

/// Everything runs where this process does.
#[derive(Clone, Copy, Debug)]
pub struct ThisHost;

impl Hosts for ThisHost {
    type Inside = ();

    fn enter(&self, _: Place) -> Result<(), Failure> {
        Ok(())
    }
}

/// A cluster of child processes. Dropping it ends them first, and then removes its directory.
pub struct DrillCluster<H: Hosts = ThisHost> {
    /// The configuration that the processes run.
    pub cluster: Cluster,
    // Before the hosts and the directory, so that processes end before where they run and what they write to is gone.
    children: Children,
    /// Where they run.
    pub hosts: H,
    /// The command of this program that is a replica.
    pub replica_command: &'static str,
    directory: TempDir,
    members: Vec<Member>,
    driver: u32,
    /// Processes whose end is intended.
    ending: Vec<u32>,
}

impl DrillCluster {
    /// Makes a cluster on this host, starts its processes, and waits until all replicas hear each other.
    ///
    /// # Errors
    ///
    /// When the plan is refused, or a process does not become ready.
    pub fn start(plan: &Plan, stop: &AtomicBool) -> Result<Self, Failure> {
        let mut this = Self::create(plan, ThisHost)?;
        this.start_all(stop)?;
        this.await_each_other(stop)?;
        Ok(this)
    }
}

impl<H: Hosts> DrillCluster<H> {
    /// Makes a cluster in a temporary directory; nothing runs yet.
    ///
    /// # Errors
    ///
    /// When the plan is refused.
    pub fn create(plan: &Plan, hosts: H) -> Result<Self, Failure> {
        let directory = temporary_directory()?;
        let cluster = create(directory.path(), plan, &mut os_entropy)?;
        let members = vec![Member { pid: 0, condition: Condition::Down }; cluster.replica_count()];
        let children = Children::new(Diagnostics::Keep);
        let (replica_command, ending) = ("replica", Vec::new());
        Ok(Self { cluster, children, hosts, replica_command, directory, members, driver: 0, ending })
    }

    /// Waits until all replicas hear each other; one that does not come to it is found by what is checked later.
    ///
    /// # Errors
    ///
    /// When the replicas cannot be asked.
    pub fn await_each_other(&self, stop: &AtomicBool) -> Result<(), Failure> {
        let _inside = self.hosts.enter(Place::Operator)?;
        wait_for_each_other(&self.config(), &self.cluster, stop)
    }

    /// Starts every replica and the driver on what the directories hold.
    ///
    /// # Errors
    ///
    /// When one does not become ready.
    pub fn start_all(&mut self, stop: &AtomicBool) -> Result<(), Failure> {
        for id in 0..self.members.len() {
            let _inside = self.hosts.enter(Place::Replica(id))?;
            let pid = self.spawn_replica(id, false)?;
            self.members[id] = Member { pid, condition: Condition::Running };
        }
        self.spawn_driver()?;
        self.await_ready(stop)
    }

    fn spawn_replica(&mut self, id: usize, rejoin: bool) -> Result<u32, Failure> {
        let (command, config) = (self.replica_command, self.config());
        spawn_replica(&mut self.children, command, &config, id as u8, rejoin, &Overrides::default())
    }

    fn spawn_driver(&mut self) -> Result<(), Failure> {
        let _inside = self.hosts.enter(Place::Driver)?;
        let config = self.config();
        self.driver = spawn_driver(&mut self.children, &config, &Overrides::default())?;
        Ok(())
    }

    /// Its `cluster.toml`.
    pub fn config(&self) -> PathBuf {
        self.directory.path().join("cluster.toml")
    }

    /// The session socket of its driver.
    ///
    /// # Errors
    ///
    /// When the driver's local file is refused.
    pub fn session(&self) -> Result<PathBuf, Failure> {
        Ok(DriverLocal::load(&DriverLocal::file(&self.config(), 0))?.session)
    }

    /// Its processes that run or are stopped, by what they are called.
    pub fn processes(&self) -> Vec<(String, Watched)> {
        let replicas = self.members.iter().enumerate().filter(|(_, member)| member.condition != Condition::Down);
        let replicas = replicas
            .map(|(id, member)| (format!("replica {id}"), Watched { pid: member.pid, role: Role::Replica(id as u8) }));
        replicas.chain([(String::from("driver 0"), Watched { pid: self.driver, role: Role::Driver })]).collect()
    }

    /// Asks the replicas how they fare, as `status` does; `None` where there is no answer.
    ///
    /// # Errors
    ///
    /// When the host refuses a socket.
    pub fn ask(&self) -> Result<Vec<Option<ReplicaStatus>>, Failure> {
        let _inside = self.hosts.enter(Place::Operator)?;
        ask_within(&self.config(), &self.cluster, ASK_WAIT)
    }

    /// The view that `f+1` replicas report, or a later one.
    ///
    /// # Errors
    ///
    /// When fewer answer.
    pub fn view(&self) -> Result<u64, Failure> {
        let answers = self.ask()?;
        supported(&answers, self.cluster.quorum().weak(), |status| status.view).ok_or_else(|| {
            Failure::Failed(format!("fewer than {} replicas say which view they are in", self.cluster.quorum().weak()))
        })
    }

    /// The primary of the view that `f+1` replicas report.
    ///
    /// # Errors
    ///
    /// When fewer answer.
    pub fn primary(&self) -> Result<usize, Failure> {
        Ok((self.view()? % self.members.len() as u64) as usize)
    }

    /// Kills a replica, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub fn kill(&mut self, id: usize) -> Result<(), Failure> {
        self.end_member(id, Signal::KILL)
    }

    /// Asks a replica to end, and waits until it has.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub fn terminate(&mut self, id: usize) -> Result<(), Failure> {
        self.end_member(id, Signal::TERM)
    }

    fn end_member(&mut self, id: usize, signal: Signal) -> Result<(), Failure> {
        let pid = self.members[id].pid;
        self.ending.push(pid);
        self.children.signal_one(pid, signal);
        self.members[id].condition = Condition::Down;
        self.await_ends()
    }

    /// Stops a replica's process, which notices nothing.
    pub fn pause(&mut self, id: usize) {
        self.children.signal_one(self.members[id].pid, Signal::STOP);
        self.members[id].condition = Condition::Stopped;
    }

    /// Lets a stopped replica go on.
    pub fn resume(&mut self, id: usize) {
        self.children.signal_one(self.members[id].pid, Signal::CONT);
        self.members[id].condition = Condition::Running;
    }

    /// Kills every process of the cluster at the same instant, as a power cut does, and waits until all are gone.
    ///
    /// # Errors
    ///
    /// When one does not end.
    pub fn cut_power(&mut self) -> Result<(), Failure> {
        self.end_now(self.members.iter().map(|member| member.pid).chain([self.driver]).collect())?;
        for member in &mut self.members {
            member.condition = Condition::Down;
        }
        Ok(())
    }

    /// Kills every replica at the same instant, and waits until all are gone.
    ///
    /// # Errors
    ///
    /// When one does not end.
    pub fn kill_replicas(&mut self) -> Result<(), Failure> {
        self.end_now(self.members.iter().map(|member| member.pid).collect())?;
        for member in &mut self.members {
            member.condition = Condition::Down;
        }
        Ok(())
    }

    fn end_now(&mut self, pids: Vec<u32>) -> Result<(), Failure> {
        self.ending.extend(&pids);
        for pid in pids {
            self.children.signal_one(pid, Signal::KILL);
        }
        self.await_ends()
    }

    /// Kills the driver, and waits until it is gone.
    ///
    /// # Errors
    ///
    /// When it does not end.
    pub fn kill_driver(&mut self) -> Result<(), Failure> {
        self.ending.push(self.driver);
        self.children.signal_one(self.driver, Signal::KILL);
        self.await_ends()
    }

    /// Starts the driver again.
    ///
    /// # Errors
    ///
    /// When it does not become ready.
    pub fn restart_driver(&mut self, stop: &AtomicBool) -> Result<(), Failure> {
        self.spawn_driver()?;
        self.await_ready(stop)
    }

    /// Empties the data directory of a replica that is down.
    ///
    /// # Errors
    ///
    /// When a file cannot be removed.
    pub fn wipe(&self, id: usize) -> Result<(), Failure> {
        let local = ReplicaLocal::load(&ReplicaLocal::file(&self.config(), id as u8))?;
        empty(&local.data_directory).map_err(|error| Failure::of_file("empty", &local.data_directory, &error))
    }

    /// What the processes said last on standard error.
    pub fn last_words(&self) -> String {
        self.children.last_lines()
    }

    /// What the processes said on standard error since the last call, and when: each says why it left its view.
    pub fn news(&self) -> Vec<(Instant, String)> {
        self.children.news()
    }

    /// Starts a replica that is down. `disk_lost`: it has nothing, and recovers from the others; so it does where no
    /// journal kept what it promised.
    ///
    /// # Errors
    ///
    /// When it does not become ready.
    pub fn restart(&mut self, id: usize, disk_lost: bool, stop: &AtomicBool) -> Result<(), Failure> {
        let rejoin = disk_lost || self.cluster.journal == Journal::Off;
        let _inside = self.hosts.enter(Place::Replica(id))?;
        let pid = self.spawn_replica(id, rejoin)?;
        self.members[id] = Member { pid, condition: Condition::Running };
        self.await_ready(stop)
    }

    /// Whether replica `id` takes part again, as far as the answers say: it hears a quorum and a quorum hears it, and it
    /// has executed what `f+1` others have, but for a window.
    pub fn is_back(&self, id: usize, answers: &[Option<ReplicaStatus>]) -> bool {
        let Some(own) = &answers[id] else {
            return false;
        };
        let others: Vec<_> =
            answers.iter().enumerate().filter(|(other, _)| *other != id).map(|(_, a)| a.clone()).collect();
        let hear_it = others.iter().flatten().filter(|status| status.peers_reachable.contains(own.id)).count() + 1;
        let weak = self.cluster.quorum().weak();
        let (executed, view) =
            (supported(&others, weak, |status| status.executed), supported(&others, weak, |status| status.view));
        own.progress == Progress::Normal
            && own.peers_reachable.count() >= self.cluster.quorum().strong()
            && hear_it >= self.cluster.quorum().strong()
            && executed.is_some_and(|executed| own.executed + self.cluster.window() >= executed)
            && view.is_some_and(|view| own.view >= view)
    }

    /// How many replicas run.
    pub fn running(&self) -> usize {
        self.members.iter().filter(|member| member.condition == Condition::Running).count()
    }

    /// Whether every process lives that should.
    ///
    /// # Errors
    ///
    /// The first that has ended, with its last words.
    pub fn check_alive(&mut self) -> Result<(), Failure> {
        match self.unexpected_deaths().into_iter().next() {
            None => Ok(()),
            Some(death) => Err(Failure::Failed(death)),
        }
    }

    /// Ends all processes, keeps the directory, and writes the processes' last words and `story` there. Returns where.
    pub fn keep(mut self, story: &str) -> PathBuf {
        self.children.stop();
        let path = self.directory.keep();
        let text = format!("{story}\n{}", self.children.last_lines());
        if let Err(error) = std::fs::write(path.join("drill.txt"), text) {
            eprintln!("logothete: cannot write {}: {error}", path.join("drill.txt").display());
        }
        path
    }

    fn await_ready(&mut self, stop: &AtomicBool) -> Result<(), Failure> {
        self.children.wait_ready(START_WAIT, stop).map_err(|error| Failure::Failed(error.to_string()))?;
        Ok(())
    }

    fn await_ends(&mut self) -> Result<(), Failure> {
        let begin = Instant::now();
        loop {
            if let Some(death) = self.unexpected_deaths().into_iter().next() {
                return Err(Failure::Failed(death));
            }
            if self.ending.is_empty() {
                return Ok(());
            }
            if begin.elapsed() > END_WAIT {
                return Err(Failure::Failed(format!("process {} does not end", self.ending[0])));
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
    }

    fn unexpected_deaths(&mut self) -> Vec<String> {
        let (ending, children) = (&mut self.ending, &mut self.children);
        let deaths = children.deaths().into_iter().filter(|death| {
            let expected = ending.iter().position(|pid| *pid == death.pid);
            expected.map(|place| ending.swap_remove(place)).is_none()
        });
        deaths.map(|death| death.to_string()).collect()
    }
}

/// The highest value that `support` answers reach.
pub fn supported(
    answers: &[Option<ReplicaStatus>],
    support: usize,
    value: impl Fn(&ReplicaStatus) -> u64,
) -> Option<u64> {
    let mut values: Vec<u64> = answers.iter().flatten().map(value).collect();
    values.sort_unstable_by(|one, other| other.cmp(one));
    values.get(support.checked_sub(1)?).copied()
}

/// Removes what is in a directory.
fn empty(directory: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            std::fs::remove_dir_all(entry.path())?;
        } else {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// Whether a signal asked this program to end.
///
/// # Errors
///
/// [`Failure`], when one did.
pub fn check_stop(stop: &AtomicBool) -> Result<(), Failure> {
    if stop.load(Ordering::Relaxed) { Err(Failure::Failed(String::from("interrupted"))) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_emptied_and_stays() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(place.path().join("a/b")).unwrap();
        std::fs::write(place.path().join("a/b/c"), "x").unwrap();
        std::fs::write(place.path().join("d"), "x").unwrap();
        empty(place.path()).unwrap();
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    }

    #[test]
    fn nothing_is_supported_by_nobody() {
        assert_eq!(supported(&[None, None], 1, |status| status.view), None);
        assert_eq!(supported(&[], 0, |status| status.view), None);
    }
}
