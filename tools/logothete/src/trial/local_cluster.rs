//! A cluster for one run: generated, started as child processes, and gone with its directory.

use super::measure::{Subject, ask, counters_files};
use crate::children::{ChildError, Children, Diagnostics, Facts};
use crate::commands::local::{Overrides, START_WAIT, program, spawn_cluster};
use crate::failure::Failure;
use logothete_bench::processes::{Role, Watched};
use logothete_crypto::os_entropy;
use logothete_engine::cluster::init::{Plan, create};
use logothete_engine::cluster::{Cluster, DriverLocal};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;
use tempfile::TempDir;

/// What stands behind the driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// All replicas of the cluster.
    Replicas,
    /// One server with no protocol.
    Unreplicated,
}

/// A running cluster. Dropping it ends its processes first, and then removes its directory.
pub struct LocalCluster {
    /// The configuration that the processes run: that of the baseline, where it is one.
    pub cluster: Cluster,
    /// What the first replica said when it was ready.
    pub replica: Facts,
    children: Children,
    watched: Vec<Watched>,
    directory: TempDir,
}

impl LocalCluster {
    /// Makes a cluster in a temporary directory, starts its processes and waits until all are ready.
    ///
    /// # Errors
    ///
    /// When the plan is refused, or a process does not become ready.
    pub fn start(plan: &Plan, behind: Behind, stop: &AtomicBool) -> Result<Self, Failure> {
        let directory = temporary_directory()?;
        let mut cluster = create(directory.path(), plan, &mut os_entropy)?;
        let config = directory.path().join("cluster.toml");
        let mut children = Children::new(Diagnostics::Keep);
        match behind {
            Behind::Replicas => spawn_cluster(&mut children, &config, cluster.replica_count(), &Overrides::default())?,
            Behind::Unreplicated => {
                cluster = cluster.unreplicated();
                spawn_baseline(&mut children, &config)?;
            }
        }
        let ready = children.wait_ready(START_WAIT, stop).map_err(|error| Failure::Failed(error.to_string()))?;
        let roles = (0..cluster.replica_count() as u8).map(Role::Replica).chain([Role::Driver]);
        let watched = children.pids().zip(roles).map(|(pid, role)| Watched { pid, role });
        let watched = watched.chain([own_process()]).collect();
        let replica = ready.into_iter().next().unwrap_or_default();
        wait_for_each_other(&config, &cluster, stop)?;
        Ok(Self { cluster, replica, children, watched, directory })
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

    /// What a load on it is measured against.
    ///
    /// # Errors
    ///
    /// When the driver's file cannot be read.
    pub fn subject(&self) -> Result<Subject<'_>, Failure> {
        let fact = |name: &str| self.replica.get(name).cloned().unwrap_or_default();
        let config = self.config();
        Ok(Subject {
            cluster: &self.cluster,
            fresh: true,
            session: self.session()?,
            counters: counters_files(&config, &self.cluster),
            config,
            watched: self.watched(),
            transport: fact("transport"),
            fan_out: fact("fan_out"),
            arrangement: fact("arrangement"),
        })
    }

    /// Its processes and this one.
    pub fn watched(&self) -> &[Watched] {
        &self.watched
    }

    /// Whether all processes still run.
    ///
    /// # Errors
    ///
    /// The first that does not.
    pub fn check_alive(&mut self) -> Result<(), Failure> {
        match self.children.deaths().into_iter().next() {
            None => Ok(()),
            Some(death) => Err(Failure::Failed(death.to_string())),
        }
    }
}

/// Waits until every replica hears every other: from then on nothing is part of the start any more. A cluster that does
/// not come to it in time is measured as it is; the report says what is wrong with it.
///
/// # Errors
///
/// When the replicas cannot be asked.
pub fn wait_for_each_other(config: &Path, cluster: &Cluster, stop: &AtomicBool) -> Result<(), Failure> {
    let (begin, count) = (Instant::now(), cluster.replica_count());
    while begin.elapsed() < START_WAIT && !stop.load(Ordering::Relaxed) {
        let answers = ask(config, cluster)?;
        if answers.iter().all(|answer| answer.as_ref().is_some_and(|status| status.peers_reachable.count() == count)) {
            break;
        }
    }
    Ok(())
}

/// This process, which makes the load.
pub fn own_process() -> Watched {
    Watched { pid: std::process::id(), role: Role::Load }
}

/// A directory that is removed when it is dropped.
///
/// # Errors
///
/// When none can be made.
pub fn temporary_directory() -> Result<TempDir, Failure> {
    tempfile::Builder::new()
        .prefix("logothete-")
        .tempdir()
        .map_err(|error| Failure::of_file("make a directory in", &std::env::temp_dir(), &error))
}

fn spawn_baseline(children: &mut Children, config: &Path) -> Result<(), Failure> {
    let failed = |error: ChildError| Failure::Failed(error.to_string());
    let mut server = program("unreplicated")?;
    children.spawn("unreplicated server", server.arg("--config").arg(config)).map_err(failed)?;
    let mut driver = program("driver")?;
    driver.arg("--config").arg(config).args(["--client", "0", "--unreplicated"]);
    children.spawn("driver 0", &mut driver).map_err(failed)?;
    Ok(())
}
