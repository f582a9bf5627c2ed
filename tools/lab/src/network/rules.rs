//! What the kernel does to packets on their way from the bridge to a host, as an nftables ruleset.
//!
//! Every port of the bridge has an egress hook of its own, so a rule concerns the packets *to* one host, and may name the
//! host that they come *from*: partitions can be asymmetric, and loss on one link leaves the others alone.

use super::{Host, address};
use std::fmt::Write;

/// Multicast groups of IPv4.
const GROUPS: &str = "224.0.0.0/4";

/// What becomes of a packet that a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is lost, with this chance in a hundred.
    Lost(u32),
    /// It arrives twice, with this chance in a hundred.
    Doubled(u32),
}

/// What happens to some packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Those to this host,
    pub to: Host,
    /// from this one, or from any,
    pub from: Option<Host>,
    /// that went to a group, or all.
    pub groups_only: bool,
    /// What becomes of them.
    pub fate: Fate,
}

impl Rule {
    /// Loses all packets from one host to another.
    pub fn cut(from: Host, to: Host) -> Self {
        Self { to, from: Some(from), groups_only: false, fate: Fate::Lost(100) }
    }

    /// Loses some packets to a host, whoever sent them.
    pub fn loss(to: Host, percent: u32) -> Self {
        Self { to, from: None, groups_only: false, fate: Fate::Lost(percent) }
    }

    /// Doubles some packets to a host.
    pub fn doubling(to: Host, percent: u32) -> Self {
        Self { to, from: None, groups_only: false, fate: Fate::Doubled(percent) }
    }

    /// Loses what went to a group, as a switch does that believes nobody of it is behind this port.
    pub fn no_groups(to: Host) -> Self {
        Self { to, from: None, groups_only: true, fate: Fate::Lost(100) }
    }
}

/// Nothing passes between the hosts of one side and those of the other, in either direction.
pub fn partition(one: &[Host], other: &[Host]) -> Vec<Rule> {
    let pairs = one.iter().flat_map(|one| other.iter().map(move |other| (*one, *other)));
    pairs.flat_map(|(one, other)| [Rule::cut(one, other), Rule::cut(other, one)]).collect()
}

/// The same for the replicas of a cluster of four and for the driver.
pub fn for_all(rule: impl Fn(Host) -> Rule) -> Vec<Rule> {
    (0..4).map(Host::Replica).chain([Host::Driver]).map(rule).collect()
}

/// The ruleset that does all of `rules`, in their order, in place of whatever there was in this namespace.
pub fn ruleset(rules: &[Rule]) -> String {
    let mut text = String::from("flush ruleset\ntable netdev lab {\n");
    let mut hosts: Vec<Host> = rules.iter().map(|rule| rule.to).collect();
    hosts.sort_unstable();
    hosts.dedup();
    for host in hosts {
        let port = host.port();
        let _ = writeln!(text, "chain to_{port} {{ type filter hook egress device \"{port}\" priority 0;");
        for rule in rules.iter().filter(|rule| rule.to == host) {
            let _ = writeln!(text, "{}", line(rule, &port));
        }
        text.push_str("}\n");
    }
    text.push_str("}\n");
    text
}

fn line(rule: &Rule, port: &str) -> String {
    let mut line = String::new();
    if let Some(from) = rule.from {
        let _ = write!(line, "ip saddr {} ", address(from));
    }
    if rule.groups_only {
        let _ = write!(line, "ip daddr {GROUPS} ");
    }
    let (percent, verdict) = match rule.fate {
        Fate::Lost(percent) => (percent, String::from("drop")),
        Fate::Doubled(percent) => (percent, format!("dup to \"{port}\"")),
    };
    if percent < 100 {
        let _ = write!(line, "numgen random mod 100 < {percent} ");
    }
    line + &verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_written_port_by_port() {
        let rules = [
            Rule::cut(Host::Replica(0), Host::Replica(2)),
            Rule::loss(Host::Replica(0), 5),
            Rule::doubling(Host::Replica(2), 10),
            Rule::no_groups(Host::Driver),
        ];
        assert_eq!(
            ruleset(&rules),
            "flush ruleset\ntable netdev lab {\n\
             chain to_replica0 { type filter hook egress device \"replica0\" priority 0;\n\
             numgen random mod 100 < 5 drop\n}\n\
             chain to_replica2 { type filter hook egress device \"replica2\" priority 0;\n\
             ip saddr 10.83.0.1 drop\n\
             numgen random mod 100 < 10 dup to \"replica2\"\n}\n\
             chain to_driver { type filter hook egress device \"driver\" priority 0;\n\
             ip daddr 224.0.0.0/4 drop\n}\n}\n"
        );
        assert_eq!(ruleset(&[]), "flush ruleset\ntable netdev lab {\n}\n");
    }

    #[test]
    fn a_partition_cuts_every_pair_both_ways() {
        let rules = partition(&[Host::Replica(0)], &[Host::Replica(1), Host::Driver]);
        assert_eq!(rules.len(), 4);
        for rule in &rules {
            let (from, to) = (rule.from.unwrap(), rule.to);
            assert_ne!(from == Host::Replica(0), to == Host::Replica(0));
            assert!(rules.contains(&Rule::cut(to, from)));
        }
    }
}
