//! Replicas that are killed and started again, as an operator starts them: real processes, on loopback, each journal mode.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PROGRAM: &str = env!("CARGO_BIN_EXE_logothete");

/// Far longer than anything here takes; a bound, not an expectation.
const PATIENCE: Duration = Duration::from_secs(120);

/// A cluster of four and a driver, each process started by itself.
struct Processes {
    directory: tempfile::TempDir,
    replicas: Vec<Option<Child>>,
    driver: Option<Child>,
}

impl Processes {
    fn start(journal: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut processes = Self { directory, replicas: (0..4).map(|_| None).collect(), driver: None };
        let cluster = processes.path("");
        let made = Command::new(PROGRAM).arg("init").arg(cluster).args(["--journal", journal]).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        (0..4).for_each(|id| processes.begin(id, &[]));
        processes.driver = Some(processes.spawn("driver", &["--client", "0"]));
        // The socket's file is there a moment before anybody listens at it.
        processes.await_that("the driver's session", |all| all.run("subscribe", &["--until-end"]).status.success());
        processes
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("cluster").join(name)
    }

    fn command(&self, command: &str, arguments: &[&str]) -> Command {
        let mut built = Command::new(PROGRAM);
        built.arg(command).arg("--config").arg(self.path("cluster.toml")).args(arguments).stdin(Stdio::null());
        built
    }

    fn spawn(&self, command: &str, arguments: &[&str]) -> Child {
        self.command(command, arguments).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn begin(&mut self, id: usize, more: &[&str]) {
        let number = id.to_string();
        self.replicas[id] = Some(self.spawn("replica", &[&["--id", &number], more].concat()));
    }

    /// SIGKILL: what the process had not written is gone.
    fn kill(&mut self, id: usize) {
        let mut child = self.replicas[id].take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn run(&self, command: &str, arguments: &[&str]) -> Output {
        self.command(command, arguments).output().unwrap()
    }

    /// Appends lines, and waits until all are acknowledged.
    fn publish(&self, from: usize, to: usize) {
        let lines: String = (from..to).map(|line| format!("line {line}\n")).collect();
        let file = self.directory.path().join("lines");
        std::fs::write(&file, lines).unwrap();
        let published = self.run("publish", &[file.to_str().unwrap()]);
        let errors = String::from_utf8_lossy(&published.stderr);
        assert!(published.status.success(), "{errors}");
        let wanted = format!("published {}, first position {from}, last position {}\n", to - from, to - 1);
        assert_eq!(String::from_utf8_lossy(&published.stdout), wanted);
    }

    /// The whole log is what was published, in its order.
    fn holds(&self, lines: usize) {
        let wanted: String = (0..lines).map(|line| format!("line {line}\n")).collect();
        let read = self.run("subscribe", &["--until-end", "--raw"]);
        assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
        assert!(String::from_utf8_lossy(&read.stdout) == wanted, "subscribers read what was published");
    }

    /// What `status` says, one line a replica.
    fn status(&self) -> String {
        String::from_utf8_lossy(&self.run("status", &["--timeout", "500ms"]).stdout).into_owned()
    }

    fn await_that(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let begin = Instant::now();
        while !holds(self) {
            assert!(begin.elapsed() < PATIENCE, "{what} did not happen: {}", self.status());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a replica that recovers promises again.
    fn await_recovery(&self, id: usize) {
        self.await_that("the recovery", |all| {
            let said = all.status();
            let mut lines = said.lines().filter(|line| line.starts_with(&format!("{id} ")));
            lines.any(|line| !line.contains("unreachable") && !line.contains("recovering"))
        });
    }
}

/// The status of a process that ends by itself.
fn ended(mut child: Child) -> Option<i32> {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if begin.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("it goes on");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        for child in self.replicas.iter_mut().chain([&mut self.driver]).flatten() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// `protocol.md JR-1`, `RC-1`: with a journal nothing that was acknowledged is lost, though all are killed at once.
#[test]
fn what_was_acknowledged_survives_the_death_of_all() {
    let mut all = Processes::start("sync");
    all.publish(0, 300);
    (0..4).for_each(|id| all.kill(id));
    (0..4).for_each(|id| all.begin(id, &[]));
    all.publish(300, 400);
    all.holds(400);
}

/// `protocol.md JR-7`, `RC-2`, `RC-6`: a replica whose disk was lost is refused, recovers from the others when told to, and its word is needed
/// and good afterwards.
#[test]
fn a_replica_with_another_disk_rejoins() {
    let mut all = Processes::start("sync");
    all.publish(0, 100);
    all.kill(2);
    std::fs::remove_dir_all(all.path("replica-2")).unwrap();
    all.publish(100, 200);
    let errors = all.directory.path().join("errors");
    let stderr = std::fs::File::create(&errors).unwrap();
    let refused = all.command("replica", &["--id", "2"]).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
    assert_eq!(ended(refused), Some(1));
    let errors = std::fs::read_to_string(&errors).unwrap();
    assert!(errors.contains("--rejoin"), "{errors}");
    all.begin(2, &["--rejoin"]);
    all.await_recovery(2);
    all.kill(1);
    all.publish(200, 300);
    all.holds(300);
    // And its new journal is one to come back with.
    all.kill(2);
    all.begin(2, &[]);
    all.publish(300, 400);
    all.holds(400);
}

/// `protocol.md RC-2`, `RC-5`: without journals a replica that is started again recovers from the others, in an idle cluster too.
#[test]
fn a_replica_without_a_journal_recovers() {
    let mut all = Processes::start("off");
    all.publish(0, 100);
    all.kill(3);
    all.begin(3, &["--rejoin"]);
    all.await_recovery(3);
    all.kill(2);
    all.publish(100, 200);
    all.holds(200);
}
