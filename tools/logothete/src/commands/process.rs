//! What the commands that run a process of the cluster share.

use crate::children::die_with_parent;
use crate::failure::Failure;
use crate::output::tell_parent;
use logothete_engine::cluster::{Arrangement, FanOut, Transport};
use logothete_engine::pipeline::StartReport;
use std::process::Command;

/// Options that replace what a local file says about the network.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct NetworkOverrides {
    /// How datagrams reach the kernel, instead of what the local file says
    #[arg(long, value_name = "auto|io_uring|mmsg")]
    pub transport: Option<Transport>,
    /// How a packet for many reaches them, instead of what the local file says
    #[arg(long, value_name = "auto|multicast|unicast")]
    pub fan_out: Option<FanOut>,
}

impl NetworkOverrides {
    /// Passes the options on to a child.
    pub fn pass_to(&self, command: &mut Command) {
        if let Some(transport) = self.transport {
            command.arg("--transport").arg(transport.name());
        }
        if let Some(fan_out) = self.fan_out {
            command.arg("--fan-out").arg(fan_out.name());
        }
    }

    /// Puts the options in the place of what a local file says.
    pub fn apply(&self, transport: &mut Transport, fan_out: &mut FanOut) {
        *transport = self.transport.unwrap_or(*transport);
        *fan_out = self.fan_out.unwrap_or(*fan_out);
    }
}

/// The option that replaces what a replica's local file says about threads.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ArrangementOverride {
    /// How a replica's agents are put on threads, instead of what the local file says
    #[arg(long, value_name = "auto|shared|split")]
    pub arrangement: Option<Arrangement>,
}

/// Whose child this process is.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct Parent {
    /// End with this process, which must be the parent
    #[arg(long, value_name = "PID", hide = true)]
    child_of: Option<u32>,
}

impl Parent {
    /// Binds the life of this process to its parent's, where it was started as a child.
    ///
    /// # Errors
    ///
    /// When the parent has ended already.
    pub fn bind(self) -> Result<(), Failure> {
        self.child_of.map_or(Ok(()), die_with_parent).map_err(Failure::Failed)
    }
}

/// Tells a person on standard error how the process started, and whoever waits on standard output that it is ready;
/// `name` says which process it is, as facts of the ready line.
pub fn announce(name: &str, report: &StartReport) {
    eprintln!("{report}");
    let fan_out = if report.multicast { "multicast" } else { "unicast" };
    let facts = format!(
        "address={} transport={} fan_out={fan_out} arrangement={}",
        report.address, report.backend, report.arrangement
    );
    // The process serves others, whether anybody reads its standard output or not.
    if let Err(failure) = tell_parent(&format!("ready {name} {facts}")) {
        eprintln!("logothete: {failure}");
    }
}
