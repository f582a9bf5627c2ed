//! The null protocol's processes: replicas as children, the client here.

use super::local_cluster::{own_process, temporary_directory};
use crate::children::{ChildError, Children, Diagnostics, Facts};
use crate::commands::local::program;
use crate::failure::Failure;
use logothete_bench::load::{LoadResult, Pace};
use logothete_bench::null_protocol::{ClientOptions, Multicast, Network, Packing, Shape, run_client};
use logothete_bench::processes::{Role, Sampler, Watched};
use logothete_bench::report::{Report, RunFacts};
use logothete_crypto::os_entropy;
use logothete_engine::cluster::init::{Plan, create};
use logothete_engine::cluster::{Cluster, FanOut, Transport};
use logothete_transport::datagram::BackendChoice;
use logothete_transport::multicast;
use std::net::SocketAddr;
use std::time::Duration;

/// How long replicas may take to appear, and how long no reply may come.
const SILENCE_MAX: Duration = Duration::from_secs(10);

/// The traffic of the null protocol, as `bench` and its child processes pass it on.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct Traffic {
    #[arg(long)]
    pub payload: usize,
    #[arg(long)]
    pub operations_per_request: usize,
    #[arg(long)]
    pub requests_outstanding: usize,
    /// Four delays instead of five: replicas answer when prepared.
    #[arg(long)]
    pub tentative: bool,
}

impl Traffic {
    /// What the driver makes of so many operations outstanding: full requests as far as there are enough.
    pub fn of(payload: usize, operations_outstanding: usize, pack: usize, tentative: bool) -> Self {
        let operations_per_request = operations_outstanding.clamp(1, pack.max(1));
        Self {
            tentative,
            payload,
            operations_per_request,
            requests_outstanding: operations_outstanding.div_ceil(operations_per_request).max(1),
        }
    }

    /// The same in the protocol's terms.
    pub fn shape(self, faults: usize) -> Shape {
        let tentative = self.tentative;
        let shape =
            if self.operations_per_request == 1 { Shape::latency(tentative) } else { Shape::throughput(tentative) };
        Shape {
            faults,
            payload_bytes: self.payload,
            operations_per_request: self.operations_per_request,
            requests_outstanding: self.requests_outstanding,
            packing: Packing::Turn,
            ..shape
        }
    }
}

/// The addresses of a cluster's replicas, as the null protocol uses them. `multicast` says whether groups are used.
pub fn network(cluster: &Cluster, transport: Transport, multicast: bool) -> Network {
    let groups = (0..=cluster.replica_count()).map(|slot| cluster.multicast.group(slot)).collect();
    let interface = cluster.replicas[0].address.ip();
    Network {
        replicas: cluster.replicas.iter().map(|replica| replica.address).collect(),
        multicast: multicast.then_some(Multicast { groups, port: cluster.multicast.port, interface }),
        backend: match transport {
            Transport::Auto => BackendChoice::Auto,
            Transport::IoUring => BackendChoice::IoUring,
            Transport::Mmsg => BackendChoice::Mmsg,
        },
        datagram_bytes_max: cluster.datagram_bytes_max,
        run: cluster.cluster_id,
    }
}

/// Runs the null protocol with the addresses of a new cluster, and puts the report together.
///
/// # Errors
///
/// When a process cannot be started, or the run fails: it is merciless with lost datagrams.
pub fn measure(
    plan: &Plan,
    traffic: Traffic,
    sessions: u32,
    warmup: Duration,
    duration: Duration,
) -> Result<(LoadResult, Report), Failure> {
    let failed = |error: &dyn std::error::Error| Failure::Failed(error.to_string());
    let directory = temporary_directory()?;
    let cluster = create(directory.path(), plan, &mut os_entropy)?;
    let multicast = uses_multicast(&cluster, plan.fan_out)?;
    let mut children = Children::new(Diagnostics::Keep);
    for id in 0..cluster.replica_count() {
        let mut command = program("null-replica")?;
        command.arg("--config").arg(directory.path().join("cluster.toml")).arg("--id").arg(id.to_string());
        command.arg("--payload").arg(traffic.payload.to_string());
        command.arg("--operations-per-request").arg(traffic.operations_per_request.to_string());
        command.arg("--requests-outstanding").arg(traffic.requests_outstanding.to_string());
        command.arg("--transport").arg(plan.transport.name());
        if multicast {
            command.arg("--multicast");
        }
        if traffic.tentative {
            command.arg("--tentative");
        }
        children.spawn(&format!("null replica {id}"), &mut command).map_err(|error: ChildError| failed(&error))?;
    }
    let roles = (0..cluster.replica_count() as u8).map(Role::Replica);
    let watched: Vec<_> =
        children.pids().zip(roles).map(|(pid, role)| Watched { pid, role }).chain([own_process()]).collect();
    let sampler = Sampler::start(&watched, Duration::from_secs(1)).map_err(|error| failed(&error))?;
    let shape = traffic.shape(usize::from(cluster.faults));
    let options = ClientOptions {
        shape,
        network: network(&cluster, plan.transport, multicast),
        address: SocketAddr::new(cluster.replicas[0].address.ip(), 0),
        warmup,
        duration,
        silence_max: SILENCE_MAX,
    };
    let outcome = run_client(&options);
    if let Some(death) = children.deaths().into_iter().next() {
        return Err(Failure::Failed(death.to_string()));
    }
    let outcome = outcome.map_err(|error| failed(&error))?;
    let processes = sampler.finish();
    children.stop();
    let done: Vec<Facts> = children.done().into_iter().flatten().collect();
    let number = |facts: &Facts, name: &str| facts.get(name).and_then(|value| value.parse::<u64>().ok());
    let executed: Vec<_> = done.iter().filter_map(|facts| number(facts, "operations")).collect();
    let sent: u64 = done.iter().filter_map(|facts| number(facts, "datagrams_sent")).sum();
    let total = executed.first().copied().unwrap_or(0).max(1);
    let facts = RunFacts {
        replicas: cluster.replica_count() as u32,
        faults_tolerated: u32::from(cluster.faults),
        active_replicas: cluster.replica_count() as u32,
        payload_bytes: traffic.payload as u64,
        reply_bytes: traffic.payload as u64,
        sessions,
        outstanding: (traffic.operations_per_request * traffic.requests_outstanding) as u32 / sessions.max(1),
        service: String::from("null"),
        read_percent: None,
        journal: cluster.journal.to_string(),
        transport: outcome.backend.clone(),
        fan_out: String::from(if multicast { "multicast" } else { "unicast" }),
        arrangement: String::from("shared"),
        unreplicated: false,
        null_protocol: true,
        datagrams_sent: (sent as f64 * outcome.operations as f64 / total as f64).round() as u64,
        view_changes: 0,
        replicas_reported: executed.len() as u32,
        // The client has checked every result; here, that every replica executed as many.
        orders_agree: executed.len() == cluster.replica_count() && executed.windows(2).all(|pair| pair[0] == pair[1]),
        linearizable: None,
    };
    let result = outcome.into_load();
    let report = Report::new(&result, Pace::Closed, &processes, facts);
    Ok((result, report))
}

/// Whether groups are used: as asked for, or found out by trying.
fn uses_multicast(cluster: &Cluster, fan_out: FanOut) -> Result<bool, Failure> {
    let probe = || multicast::probe(cluster.replicas[0].address.ip(), cluster.multicast.group, 0);
    match fan_out {
        FanOut::Unicast => Ok(false),
        FanOut::Auto => Ok(probe().is_ok()),
        FanOut::Multicast => {
            probe().map(|()| true).map_err(|reason| Failure::Failed(format!("--fan-out multicast: {reason}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_outstanding_is_packed_into_requests() {
        for (outstanding, operations, requests) in
            [(0, 1, 1), (1, 1, 1), (7, 7, 1), (32, 32, 1), (33, 32, 2), (1024, 32, 32)]
        {
            let traffic = Traffic::of(8, outstanding, 32, false);
            assert_eq!(
                (traffic.operations_per_request, traffic.requests_outstanding),
                (operations, requests),
                "{outstanding}"
            );
        }
        assert_eq!(Traffic::of(8, 1, 32, false).shape(1), Shape::latency(false));
        assert_eq!(Traffic::of(8, 1024, 32, true).shape(1), Shape::throughput(true));
        assert_eq!(Traffic::of(8, 1024, 256, false).requests_outstanding, 4);
        assert_eq!(Traffic::of(8, 1, 32, false).shape(2).replicas(), 7);
    }
}
