//! What a scenario asks for, and the cluster that is started for it.

use crate::hostile::disk::SmallDisk;
use crate::load::LoadPlan;
use crate::network::{Fabric, Host, Network, address};
use logothete::DrillCluster;
use logothete::failure::Failure;
use logothete_engine::cluster::init::Plan;
use logothete_engine::cluster::{Arrangement, Journal, ReplicaLocal, ServiceKind};
use logothete_engine::journal::birth::{BIRTH_TEXT, DataDirectory};
use std::sync::atomic::AtomicBool;

/// Replicas of every cluster: the least that tolerate one faulty one.
const REPLICAS: usize = 4;

/// The command of this program that is a replica which lies when it is told to.
const LYING_REPLICA: &str = "lying-replica";

/// The ports of a cluster: its namespaces have all of them free.
const PORT_BASE: u16 = 7400;

/// What is set up for a scenario.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Whether what a replica promised survives its restart.
    pub journal: Journal,
    /// What connects the hosts.
    pub fabric: Fabric,
    /// The judged load.
    pub load: LoadPlan,
    /// A replica whose data lie on a disk of this many bytes, which can be full.
    pub small_disk: Option<(usize, u64)>,
    /// Whether the replicas lie when they are told to.
    pub liars: bool,
    /// Whether the goodput of the judged clients can be compared at the end: not where the cluster is lost for good.
    pub survives: bool,
}

impl Default for Setup {
    fn default() -> Self {
        let fabric = Fabric::Bridge { snooping: false };
        Self {
            journal: Journal::Sync,
            fabric,
            load: LoadPlan::default(),
            small_disk: None,
            liars: false,
            survives: true,
        }
    }
}

/// Makes the network and the cluster, with the small disk if one is asked for, and waits until all replicas hear each
/// other.
///
/// # Errors
///
/// When the system refuses something, or a process does not become ready.
pub fn start(setup: &Setup, stop: &AtomicBool) -> Result<(DrillCluster<Network>, Option<SmallDisk>), Failure> {
    let network = Network::build(REPLICAS, setup.fabric)?;
    let plan = Plan {
        hosts: (0..REPLICAS).map(|id| address(Host::Replica(id)).into()).collect(),
        drivers: 2,
        journal: setup.journal,
        service: ServiceKind::KeyValue,
        port_base: Some(PORT_BASE),
        // More threads than cores would wait for each other.
        arrangement: Arrangement::Shared,
        ..Plan::default()
    };
    let mut cluster = DrillCluster::create(&plan, network)?;
    if setup.liars {
        cluster.replica_command = LYING_REPLICA;
    }
    let disk = setup.small_disk.map(|(id, bytes)| small_disk(&cluster, id, bytes)).transpose()?;
    cluster.start_all(stop)?;
    cluster.await_each_other(stop)?;
    Ok((cluster, disk))
}

/// Lets a replica that has not run yet keep its files on a small disk.
fn small_disk(cluster: &DrillCluster<Network>, id: usize, bytes: u64) -> Result<SmallDisk, Failure> {
    let disk = SmallDisk::mount(bytes)?;
    let file = ReplicaLocal::file(&cluster.config(), id as u8);
    let local = ReplicaLocal { data_directory: disk.path().join("data"), ..ReplicaLocal::load(&file)? };
    let directory = &local.data_directory;
    std::fs::create_dir(directory)
        .and_then(|()| std::fs::write(DataDirectory::birth_marker(directory), BIRTH_TEXT))
        .and_then(|()| std::fs::write(&file, local.render(file.parent().expect("it is beside cluster.toml"))))
        .map_err(|error| Failure::of_file("write", &file, &error))?;
    Ok(disk)
}
