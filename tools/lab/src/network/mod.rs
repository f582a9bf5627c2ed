//! The network of a run: a namespace for each host and one for what connects them.
//!
//! ```text
//!   replica 0      replica 1   …   driver        guest       operator      stranger
//!  ┌────────┐     ┌────────┐     ┌────────┐    ┌────────┐   ┌────────┐    ┌────────┐   a namespace each,
//!  │  eth0  │     │  eth0  │     │  eth0  │    │  eth0  │   │  eth0  │    │  eth0  │   10.83.0.0/24
//!  └───┬────┘     └───┬────┘     └───┬────┘    └───┬────┘   └───┬────┘    └───┬────┘
//!  ┌───┴──────────────┴──────────────┴─────────────┴────────────┴─────────────┴────┐
//!  │ a bridge of the kernel: loss, partitions, doubling (nftables), caps (tbf)     │   one more namespace
//!  │ or a switch in this process: delay and reordering too, seeded                 │
//!  └───────────────────────────────────────────────────────────────────────────────┘
//! ```
//!
//! What this room is for: making that, hurting it and mending it. What must never be here: anything that this machine's
//! own network notices. No namespace has a name, none is connected to the outside, and all are gone with this process
//! and its children, however they end.

mod namespace;
pub mod rules;
mod switch;
mod tags;
mod tap;

pub use namespace::own_mounts;
pub use switch::Medium;

use logothete::failure::Failure;
use logothete::{Hosts, Place};
use namespace::{Inside, Namespace};
use rules::{Rule, ruleset};
use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use switch::Switch;

/// A host of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Host {
    /// That of a replica.
    Replica(usize),
    /// That of driver 0, which serves the clients that are judged.
    Driver,
    /// That of driver 1, whose clients misbehave in some scenarios.
    Guest,
    /// From where the replicas are asked how they fare; no fault touches it.
    Operator,
    /// Somebody on the same segment who has no key.
    Stranger,
}

impl Host {
    /// What its port on the bridge is called.
    fn port(self) -> String {
        match self {
            Self::Replica(id) => format!("replica{id}"),
            Self::Driver => String::from("driver"),
            Self::Guest => String::from("guest"),
            Self::Operator => String::from("operator"),
            Self::Stranger => String::from("stranger"),
        }
    }
}

/// The address of a host.
pub fn address(host: Host) -> Ipv4Addr {
    let last = match host {
        Host::Replica(id) => u8::try_from(id + 1).expect("a cluster has few replicas"),
        Host::Driver => 101,
        Host::Guest => 102,
        Host::Operator => 103,
        Host::Stranger => 104,
    };
    Ipv4Addr::new(10, 83, 0, last)
}

/// What connects the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fabric {
    /// The kernel's bridge; with `snooping` it looks for who joined which multicast group, and nobody asks them.
    Bridge {
        /// Whether it does.
        snooping: bool,
    },
    /// A switch in this process, whose choices follow from the seed.
    Switch {
        /// Where its choices begin.
        seed: u64,
    },
}

/// A network. Dropping it, when its processes have ended, removes all of it.
#[derive(Debug)]
pub struct Network {
    hosts: Vec<(Host, Namespace)>,
    switch: Option<Switch>,
    // Last, so that the thread goes home when everything else is gone.
    _connecting: Inside,
}

impl Network {
    /// Makes the network of a cluster of `replicas`; the calling thread is in the namespace that connects the hosts
    /// then, and so is every thread that it starts.
    ///
    /// # Errors
    ///
    /// When the system refuses, or a command fails.
    pub fn build(replicas: usize, fabric: Fabric) -> Result<Self, Failure> {
        let (_, connecting) = Namespace::enter_new()?;
        let all = (0..replicas).map(Host::Replica);
        let all = all.chain([Host::Driver, Host::Guest, Host::Operator, Host::Stranger]);
        let hosts = all.map(|host| Namespace::enter_new().map(|(namespace, _)| (host, namespace)));
        let hosts: Vec<(Host, Namespace)> = hosts.collect::<Result<_, _>>()?;
        let switch = match fabric {
            Fabric::Bridge { snooping } => {
                connect_by_bridge(&hosts, snooping)?;
                None
            }
            Fabric::Switch { seed } => Some(connect_by_switch(&hosts, seed)?),
        };
        for (host, namespace) in &hosts {
            let _inside = namespace.enter()?;
            let batch = format!(
                "link set lo up\naddress add {}/24 dev eth0\nlink set eth0 up\nroute add 224.0.0.0/4 dev eth0\n",
                address(*host)
            );
            command_with("ip", ["-batch", "-"], &batch)?;
        }
        Ok(Self { hosts, switch, _connecting: connecting })
    }

    /// Goes to a host until the guard is dropped.
    ///
    /// # Errors
    ///
    /// When the system refuses.
    pub fn enter(&self, host: Host) -> Result<Inside, Failure> {
        let found = self.hosts.iter().find(|(other, _)| *other == host);
        found.expect("every host was made").1.enter()
    }

    /// Lets `rules` hold from now on, in place of those before; none ends all of them.
    ///
    /// # Errors
    ///
    /// When the kernel does not take them.
    pub fn set_rules(&self, rules: &[Rule]) -> Result<(), Failure> {
        command_with("nft", ["-f", "-"], &ruleset(rules))
    }

    /// Lets the switch treat frames like this from now on.
    pub fn set_medium(&self, medium: Medium) {
        self.switch.as_ref().expect("only a switch has a medium").set(medium);
    }

    /// Lets no more than so much through to a host and from it; more than 50 ms of it are dropped.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn cap(&self, host: Host, kbit_per_s: u32) -> Result<(), Failure> {
        let rate = format!("{kbit_per_s}kbit");
        let cap = |device: &str| {
            let arguments = ["qdisc", "replace", "dev", device, "root", "tbf", "rate", &rate, "burst", "16k"];
            command("tc", arguments.into_iter().chain(["latency", "50ms"]))
        };
        cap(&host.port())?;
        let _inside = self.enter(host)?;
        cap("eth0")
    }

    /// Ends the cap of a host.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub fn uncap(&self, host: Host) -> Result<(), Failure> {
        let uncap = |device: &str| command("tc", ["qdisc", "delete", "dev", device, "root"]);
        uncap(&host.port())?;
        let _inside = self.enter(host)?;
        uncap("eth0")
    }

    /// Pulls a host's cable, or puts it back.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn set_link(&self, host: Host, up: bool) -> Result<(), Failure> {
        command("ip", ["link", "set", &host.port(), if up { "up" } else { "down" }])
    }
}

/// The hosts of a network, for the processes of a cluster.
impl Hosts for Network {
    type Inside = Inside;

    fn enter(&self, place: Place) -> Result<Inside, Failure> {
        Network::enter(
            self,
            match place {
                Place::Replica(id) => Host::Replica(id),
                Place::Driver => Host::Driver,
                Place::Operator => Host::Operator,
            },
        )
    }
}

fn connect_by_bridge(hosts: &[(Host, Namespace)], snooping: bool) -> Result<(), Failure> {
    let mut batch =
        format!("link add bridge0 type bridge mcast_snooping {}\nlink set bridge0 up\n", u8::from(snooping));
    for (host, namespace) in hosts {
        let (port, place) = (host.port(), namespace.path());
        batch += &format!("link add {port} type veth peer name eth0 netns {}\n", place.display());
        batch += &format!("link set {port} master bridge0\nlink set {port} up\n");
    }
    command_with("ip", ["-batch", "-"], &batch)
}

fn connect_by_switch(hosts: &[(Host, Namespace)], seed: u64) -> Result<Switch, Failure> {
    let mut ports = Vec::with_capacity(hosts.len());
    for (host, namespace) in hosts {
        let port = host.port();
        let touched = *host != Host::Operator;
        ports.push((tap::open(&port)?, touched));
        let place = namespace.path().display().to_string();
        command("ip", ["link", "set", &port, "netns", &place, "name", "eth0"])?;
    }
    Switch::start(ports, seed)
}

/// Runs a program to its end.
///
/// # Errors
///
/// When it cannot be started or fails; with what it said.
pub fn command<'a>(program: &str, arguments: impl IntoIterator<Item = &'a str>) -> Result<(), Failure> {
    command_with(program, arguments, "")
}

/// The same, with something to read.
fn command_with<'a>(program: &str, arguments: impl IntoIterator<Item = &'a str>, input: &str) -> Result<(), Failure> {
    let arguments: Vec<&str> = arguments.into_iter().collect();
    let failed = |what: String| Failure::Failed(format!("{program} {}: {what}", arguments.join(" ")));
    let started = Command::new(program)
        .args(&arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = started.map_err(|error| failed(error.to_string()))?;
    // One that fails before it has read everything says itself why.
    let _ = child.stdin.take().expect("piped above").write_all(input.as_bytes());
    let output = child.wait_with_output().map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    let input = if input.is_empty() { String::new() } else { format!(", given:\n{input}") };
    Err(failed(format!("{}{input}", String::from_utf8_lossy(&output.stderr).trim_end())))
}
