//! The language of the scenario files: one line, one command.
//!
//! ```text
//! cluster replicas=4 clients=1 interval=8 depth=4 batch=16 window=8 datagram=1472 retention=1048576 journal=off seed=1 [unopened]
//! client 0 append "a" "b"      one request of two operations
//! client 0 append 20           twenty requests of one operation each
//! client 0 append 20 of 1200   the same, each operation of so many bytes
//! client 0 restart [clock=-1s] | client 0 follow from=0
//! client 0 read                asks how many entries the log has, without its being ordered; of a cluster with reads=1
//! client 1 spoils 2,3          from now on its tags for these are wrong, whatever it sends
//! deliver [FILTER]             without a filter until nothing is in flight, else what matches, once
//! deliver unordered            one packet at a time, chance picks which
//! round                        what is in flight arrives; what that causes stays in flight
//! tick 5ms                     time passes, nothing arrives
//! run 100ms [unordered]        time passes, packets arrive
//! drop FILTER | duplicate FILTER | corrupt FILTER     packets in flight
//! misdirect 3 FILTER           packets in flight reach somebody else
//! replay FILTER                whatever was ever sent is sent again
//! hold FILTER | release        from now on matching packets wait; they go on
//! delay 20ms FILTER            from now on matching packets travel for so much longer
//! block FILTER | unblock       from now on matching packets are lost
//! partition 0,1 2,3            packets between the two sides are lost
//! isolate 3                    it hears nothing and is not heard
//! lose 20% | double 10%        from now on, by chance
//! clock 2 -600ms               a replica's wall clock is off by so much
//! faulty 3 silent | garbage-tags | forges-entries | forges-pages | forges-nodes | spoils-copies | scripted | equivocates to=1,2
//! crash 0                      it does nothing any more, and stays down
//! restart 2,3 [lost]           their processes are killed and others begin, with what was durable; lost: on other disks
//! hold disk 2 | release disk 2   from now on nothing that it writes becomes durable; it does again
//! correct 3                    it was silent, and speaks again
//! send 3 -> 0,1: prepare v0 s2 D1                     a faulty replica's own words, with its own keys
//! send c1 -> 0,1,2,3 spoilt=2: request c1#1 "a"       the same of a client; the tags for some are wrong
//! send c1 -> 0: signed request c1#1 "a"               signed by the client; `forged` behind `signed` spoils the signature
//! send 3 -> 0: dispute c0#1                           signed by the replica, as a dispute about that request; `forged` as above
//! send c1 -> 0,1: part 2 of c1#1 fill=y like=x         a part of a large request; see `say.rs` for what can be wrong with it
//! send 3 -> 0: view change v1 h=0 P=[s2 v0 D2] Q=[]   signed by it; `forged` behind it spoils the signature, C=[s8 S1] adds checkpoints
//! send 1 -> 0: new view v1 from s0 of 0,1,2' [D2 null]   names view changes that were seen, 2' the second one of 2, 2? none
//! send 3 -> 0: pass on new view v1 of 1 as v9         repeats what was seen; its parts say that it is of another view
//! expect executed=3 [0,1,2] | stable=8 [0,1,2] | view=1 [0,1,2] | held=512 [0,1,2] | evidence=0 [0,1,2] | demoted=1 [0,1,2] | c0 accepted=4 | c0 read=4 | c0 signs=1 | quiet
//! expect sent=1 from=3 to=1 kind=state-query          so many packets, of all that were ever sent
//! state                        how far everybody is
//! ```
//!
//! A filter is any of `from=0,c0 to=1,2 kind=prepare,commit s=3`. `brief` after a command says only what came of it.

use crate::adversary::faults::{Behaviour, Fault};
use crate::scenario::report::{Detail, packets};
use crate::scenario::say::send;
use crate::scenario::words::list;
use crate::world::cluster::{Cluster, operations};
use crate::world::network::Filter;
use crate::world::operations::END;
use crate::world::settings::Settings;
use logothete_engine::numbers::{ClientId, Principal, ReplicaId, ReplicaSet, RequestNumber};

/// Runs the commands of one script.
#[derive(Default)]
pub struct Interpreter {
    cluster: Option<Cluster>,
}

impl Interpreter {
    /// Runs one line, and returns what is to stand under it.
    ///
    /// # Errors
    /// The line is no command, an expectation is not met, or a checker found something.
    pub fn run(&mut self, line: &str) -> Result<String, String> {
        if let Some(arguments) = line.strip_prefix("cluster") {
            return self.start(arguments);
        }
        let cluster = self.cluster.as_mut().ok_or("a scenario begins with `cluster`")?;
        let (line, detail) = match line.strip_suffix(" brief") {
            Some(line) => (line, Detail::Brief),
            None => (line, Detail::Full),
        };
        cluster.begin(detail);
        let remark = execute(cluster, line)?;
        cluster.checks.verdict()?;
        Ok(cluster.end() + &remark)
    }

    /// What comes next stands in a block of its own.
    pub fn begin_block(&mut self) {
        if let Some(cluster) = &mut self.cluster {
            cluster.report.begin_block();
        }
    }

    fn start(&mut self, arguments: &str) -> Result<String, String> {
        let mut settings = Settings::default();
        let mut unopened = false;
        for argument in arguments.split_whitespace() {
            match argument.split_once('=') {
                Some(("replicas", value)) => settings.replicas = number(value)?,
                Some(("clients", value)) => settings.clients = number(value)?,
                Some(("interval", value)) => settings.checkpoint_interval = number(value)?,
                Some(("depth", value)) => settings.pipeline_depth = number(value)?,
                Some(("batch", value)) => settings.batch_requests_max = number(value)?,
                Some(("window", value)) => settings.client_window = number(value)?,
                Some(("datagram", value)) => settings.datagram_bytes_max = number(value)?,
                Some(("operation", value)) => settings.operation_bytes_max = number(value)?,
                Some(("retention", value)) => settings.retention_bytes = number(value)?,
                Some(("tentative", value)) => settings.tentative = number::<u64>(value)? != 0,
                Some(("reads", value)) => settings.reads = number::<u64>(value)? != 0,
                Some(("journal", value)) => settings.journal = value == "sync",
                Some(("seed", value)) => settings.seed = number(value)?,
                _ if argument == "unopened" => unopened = true,
                _ => return Err(format!("a cluster has no `{argument}`")),
            }
        }
        let mut cluster = Cluster::new(settings);
        if !unopened {
            cluster.open_clients()?;
        }
        let faults = settings.quorum().faults();
        let executed = cluster.replicas[0].orderer.replica().executed();
        self.cluster = Some(cluster);
        let opened = if unopened { "nothing ordered yet".to_owned() } else { format!("clients open at s{executed}") };
        Ok(format!("{} replicas, f = {faults}; {opened}\n", settings.replicas))
    }
}

fn execute(cluster: &mut Cluster, line: &str) -> Result<String, String> {
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    match verb {
        "client" => client(cluster, rest)?,
        "deliver" if rest == "unordered" => cluster.deliver_unordered()?,
        "deliver" if rest.is_empty() => cluster.deliver_all()?,
        "deliver" => cluster.round(&filter(rest)?)?,
        "round" => cluster.round(&Filter::default())?,
        "tick" => cluster.tick(duration(rest)?)?,
        "run" => match rest.strip_suffix(" unordered") {
            Some(time) => cluster.run_unordered(duration(time)?)?,
            None => cluster.run(duration(rest)?)?,
        },
        "drop" => return Ok(format!("{} dropped\n", packets(cluster.network.take(&filter(rest)?).len()))),
        "duplicate" => return Ok(format!("{} doubled\n", packets(cluster.network.duplicate(&filter(rest)?)))),
        "corrupt" => return Ok(format!("{} corrupted\n", packets(cluster.network.corrupt(&filter(rest)?)))),
        "misdirect" => {
            let (to, rest) = rest.split_once(' ').ok_or("what is misdirected, and to whom")?;
            let count = cluster.network.misdirect(&filter(rest)?, principal(to)?);
            return Ok(format!("{} misdirected\n", packets(count)));
        }
        "replay" => return Ok(format!("{} sent again\n", packets(cluster.network.replay(&filter(rest)?)))),
        "hold" if rest.starts_with("disk ") => cluster.replicas[replica_index(&rest[5..])?].disk.hold(true),
        "release" if rest.starts_with("disk ") => cluster.replicas[replica_index(&rest[5..])?].disk.hold(false),
        "restart" => {
            for id in rest.trim_end_matches(" lost").split(',') {
                cluster.restart_replica(replica_index(id)?, rest.ends_with(" lost"))?;
            }
        }
        "hold" => return Ok(format!("{} held\n", packets(cluster.network.hold(filter(rest)?)))),
        "delay" => {
            let (time, rest) = rest.split_once(' ').ok_or("what is delayed, and for how long")?;
            cluster.network.delay(filter(rest)?, duration(time)?);
        }
        "release" => return Ok(format!("{} released\n", packets(cluster.network.release()))),
        "block" => cluster.network.block(filter(rest)?),
        "unblock" => cluster.network.unblock(),
        "partition" => partition(cluster, rest)?,
        "isolate" => {
            let one = Some(principals(rest)?);
            cluster.network.block(Filter { from: one.clone(), ..Filter::default() });
            cluster.network.block(Filter { to: one, ..Filter::default() });
        }
        "lose" => cluster.network.loss_percent = percent(rest)?,
        "double" => cluster.network.duplicate_percent = percent(rest)?,
        "clock" => {
            let (id, skew) = rest.split_once(' ').ok_or("a clock is off by something")?;
            cluster.replicas[replica_index(id)?].clock.wall_offset_ns = signed_duration(skew)?;
        }
        "faulty" => {
            let (id, how) = rest.split_once(' ').ok_or("a faulty replica does something")?;
            faulty(cluster, id, how)?;
        }
        "crash" => faulty(cluster, rest, "crashed")?,
        "correct" => correct(cluster, rest)?,
        "send" => send(cluster, rest)?,
        "expect" => expect(cluster, rest)?,
        "state" => return Ok(state(cluster)),
        _ => return Err(format!("`{verb}` is no command")),
    }
    Ok(String::new())
}

fn client(cluster: &mut Cluster, rest: &str) -> Result<(), String> {
    let (id, what) = rest.split_once(' ').ok_or("a client does something")?;
    let id: usize = number(id)?;
    if id >= cluster.clients.len() {
        return Err(format!("there is no client {id}"));
    }
    let (verb, arguments) = what.split_once(' ').unwrap_or((what, ""));
    match verb {
        "read" if cluster.settings.reads => cluster.read(id, END),
        "append" if arguments.starts_with('"') => cluster.append(id, quoted(arguments)?),
        "append" => {
            let (count, size) = arguments.split_once(" of ").unwrap_or((arguments, "0"));
            let (count, size): (u64, usize) = (number(count)?, number(size)?);
            for _ in 0..count {
                let mut bytes = format!("c{id} {}", cluster.clients[id].submitted + 1).into_bytes();
                bytes.resize(bytes.len().max(size), b'.');
                cluster.append(id, vec![bytes])?;
            }
            Ok(())
        }
        "restart" => {
            let skew = arguments.strip_prefix("clock=").map_or(Ok(0), signed_duration)?;
            cluster.restart_client(id, skew)
        }
        "spoils" => {
            cluster.clients[id].spoils = principals(arguments)?;
            Ok(())
        }
        "follow" => {
            let from = arguments.strip_prefix("from=").ok_or("a subscriber follows from=POSITION")?;
            cluster.follow(id, number(from)?)
        }
        _ => Err(format!("a client cannot `{verb}`")),
    }
}

fn partition(cluster: &mut Cluster, rest: &str) -> Result<(), String> {
    let (one, other) = rest.split_once(' ').ok_or("a partition has two sides")?;
    let (one, other) = (principals(one)?, principals(other)?);
    for (from, to) in [(one.clone(), other.clone()), (other, one)] {
        cluster.network.block(Filter { from: Some(from), to: Some(to), ..Filter::default() });
    }
    Ok(())
}

fn faulty(cluster: &mut Cluster, id: &str, how: &str) -> Result<(), String> {
    let behaviour = match how.split_once(" to=") {
        Some(("equivocates", to)) => Behaviour::Equivocates(replicas(&principals(to)?)?),
        _ => match how {
            "silent" => Behaviour::Silent,
            "garbage-tags" => Behaviour::GarbageTags,
            "forges-entries" => Behaviour::ForgesEntries,
            "forges-pages" => Behaviour::ForgesPages,
            "forges-nodes" => Behaviour::ForgesNodes,
            "spoils-copies" => Behaviour::SpoilsCopies,
            "scripted" => Behaviour::Scripted,
            "crashed" => Behaviour::Crashed,
            _ => return Err(format!("no replica {how}")),
        },
    };
    let at = replica_index(id)?;
    cluster.replicas.get_mut(at).ok_or_else(|| format!("there is no replica {id}"))?.fault =
        Some(Fault::new(behaviour));
    let faulty = cluster.replicas.iter().filter(|host| !host.is_correct()).count();
    if faulty > cluster.settings.quorum().faults() {
        return Err(format!("{faulty} faulty replicas are more than the protocol promises anything about"));
    }
    Ok(())
}

fn correct(cluster: &mut Cluster, id: &str) -> Result<(), String> {
    let host = &mut cluster.replicas[replica_index(id)?];
    match host.is_checked() {
        true => host.fault = None,
        false => return Err(format!("{id} has said what cannot be taken back")),
    }
    Ok(())
}

fn expect(cluster: &mut Cluster, rest: &str) -> Result<(), String> {
    let words: Vec<&str> = rest.split_whitespace().collect();
    let met = |what: String, found: u64, wanted: &str| match number::<u64>(wanted)? {
        wanted if wanted == found => Ok(()),
        wanted => Err(format!("{what} is {found}, not {wanted}")),
    };
    match words[..] {
        ["quiet"] if cluster.network.is_quiet() => Ok(()),
        ["quiet"] => Err(format!("{} in flight", packets(cluster.network.count()))),
        [what, ..] if what.starts_with("sent=") => {
            let (_, filtered) = rest.split_once(' ').unwrap_or((rest, ""));
            let found = cluster.network.recorded_count(&filter(filtered)?);
            met("how many were sent".to_owned(), found as u64, &what[5..])
        }
        [who, what] if who.starts_with('c') => {
            let (what, wanted) = what.split_once('=').ok_or("something is expected")?;
            let Principal::Client(id) = principal(who)? else { return Err(format!("{who} is no client")) };
            let host = &cluster.clients[usize::from(id.0)];
            let found = match what {
                "read" => host.entries_delivered,
                "signs" => u64::from(host.client.signs()),
                "accepted" => host.accepted,
                _ => return Err(format!("a client has no `{what}`")),
            };
            met(format!("what {who} has {what}"), found, wanted)
        }
        [what, ref of @ ..] => {
            let (what, wanted) = what.split_once('=').ok_or("something is expected")?;
            let among = of.first().map(|list| principals(list)).transpose()?;
            for host in cluster.replicas.iter().filter(|host| host.is_correct()) {
                let own = Principal::Replica(host.id);
                if among.as_ref().is_none_or(|among| among.contains(&own)) {
                    let replica = host.orderer.replica();
                    let found = match what {
                        "executed" => host.executed,
                        "evidence" => replica.evidence().pieces().len() as u64,
                        "recovering" => u64::from(host.recovers),
                        "stable" => host.stable,
                        "demoted" => replica.demoted_clients().count() as u64,
                        "held" => replica.requests_held_bytes() as u64,
                        "view" if replica.is_active() => replica.view().0,
                        "view" => return Err(format!("{} has not entered v{}", host.id, replica.view())),
                        _ => return Err(format!("a replica has no `{what}`")),
                    };
                    met(format!("what {} has {what}", host.id), found, wanted)?;
                }
            }
            Ok(())
        }
        [] => Err("something is expected".to_owned()),
    }
}

fn state(cluster: &Cluster) -> String {
    let mut groups: Vec<(String, Vec<Principal>)> = Vec::new();
    for host in &cluster.replicas {
        let replica = host.orderer.replica();
        let view = match (replica.is_active(), replica.view().0) {
            (true, 0) => String::new(),
            (true, view) => format!("in v{view}, "),
            (false, view) => format!("wants v{view}, "),
        };
        let text = match host.is_correct() {
            true => {
                let recovers = if host.recovers { "recovers, " } else { "" };
                format!("{recovers}{view}executed s{}, stable s{}", host.executed, host.stable)
            }
            false => "faulty".to_owned(),
        };
        let own = Principal::Replica(host.id);
        match groups.iter_mut().find(|(held, _)| *held == text) {
            Some((_, who)) => who.push(own),
            None => groups.push((text, vec![own])),
        }
    }
    for host in &cluster.clients {
        let text = match host.outstanding() {
            0 => format!("accepted {}", operations(host.accepted)),
            waiting => format!("accepted {}, waits for {waiting}", operations(host.accepted)),
        };
        groups.push((text, vec![Principal::Client(host.id)]));
    }
    let line = |(text, who): (String, Vec<Principal>)| format!("  {}: {text}\n", list(&who));
    groups.into_iter().map(line).collect()
}

fn filter(text: &str) -> Result<Filter, String> {
    let mut filter = Filter::default();
    for word in text.split_whitespace() {
        match word.split_once('=') {
            Some(("from", list)) => filter.from = Some(principals(list)?),
            Some(("to", list)) => filter.to = Some(principals(list)?),
            Some(("kind", list)) => filter.kinds = Some(list.split(',').map(str::to_owned).collect()),
            Some(("s", sequence)) => filter.sequence = Some(number(sequence)?),
            Some(("part", list)) => filter.parts = Some(list.split(',').map(number).collect::<Result<_, _>>()?),
            _ => return Err(format!("`{word}` is no part of a filter")),
        }
    }
    Ok(filter)
}

pub(crate) fn principals(text: &str) -> Result<Vec<Principal>, String> {
    text.split(',').map(principal).collect()
}

pub(crate) fn principal(text: &str) -> Result<Principal, String> {
    match text.strip_prefix('c') {
        Some(id) => Ok(Principal::Client(ClientId(number(id)?))),
        None => Ok(Principal::Replica(ReplicaId(number(text)?))),
    }
}

pub(crate) fn replicas(principals: &[Principal]) -> Result<ReplicaSet, String> {
    let mut set = ReplicaSet::EMPTY;
    for principal in principals {
        match principal {
            Principal::Replica(id) => set.insert(*id),
            Principal::Client(id) => return Err(format!("c{id} is no replica")),
        };
    }
    Ok(set)
}

fn replica_index(text: &str) -> Result<usize, String> {
    number(text)
}

/// `c0#1`, `c0/2#open`, `c0#1'`: client, incarnation, number, body.
pub(crate) fn request_name(text: &str) -> Result<(ClientId, usize, RequestNumber, usize), String> {
    let unknown = || format!("`{text}` names no request");
    let body = text.matches('\'').count();
    let (client, number) =
        text.trim_end_matches('\'').strip_prefix('c').and_then(|rest| rest.split_once('#')).ok_or_else(unknown)?;
    let (client, incarnation) = client.split_once('/').unwrap_or((client, "1"));
    let number = if number == "open" { 0 } else { self::number(number)? };
    Ok((ClientId(self::number(client)?), self::number(incarnation)?, RequestNumber(number), body))
}

/// `s4`, `v0`.
pub(crate) fn numbered(prefix: char, text: &str) -> Result<u64, String> {
    number(text.strip_prefix(prefix).ok_or_else(|| format!("`{text}` does not begin with `{prefix}`"))?)
}

pub(crate) fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

fn percent(text: &str) -> Result<u32, String> {
    number(text.trim_end_matches('%'))
}

pub(crate) fn signed_duration(text: &str) -> Result<i64, String> {
    let (sign, text) = match text.strip_prefix('-') {
        Some(text) => (-1, text),
        None => (1, text.trim_start_matches('+')),
    };
    Ok(sign * duration(text)? as i64)
}

fn duration(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let per = match &text[digits.len()..] {
        "s" => 1_000_000_000,
        "ms" => 1_000_000,
        "us" => 1_000,
        "ns" => 1,
        unit => return Err(format!("`{unit}` is no unit of time")),
    };
    Ok(number::<u64>(digits)? * per)
}

/// `"a" "b"`.
pub(crate) fn quoted(text: &str) -> Result<Vec<Vec<u8>>, String> {
    let parts: Vec<&str> = text.split('"').collect();
    if parts.len() < 3 || parts.len().is_multiple_of(2) {
        return Err(format!("`{text}` is not quoted"));
    }
    Ok(parts.into_iter().skip(1).step_by(2).map(|part| part.as_bytes().to_vec()).collect())
}
