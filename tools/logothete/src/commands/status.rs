//! `logothete status`: how the replicas fare.

use crate::failure::Failure;
use crate::operator::{Question, no_answer};
use crate::output::print_line;
use crate::trial::measure::counters_files;
use logothete_engine::client::status::{RejectCounts, RejectedBy, ReplicaStatus, query, query_rejects};
use logothete_engine::cluster::Cluster;
use logothete_engine::numbers::{ClientId, Principal};
use logothete_engine::replica::Progress;
use logothete_transport::counters::{Counters, Liveness};
use serde_json::json;
use std::path::Path;
use std::time::Duration;

/// A process that gave no sign of life for this long is shown as silent: a hundred times the interval at which it gives
/// one.
const SILENCE_MAX: Duration = Duration::from_secs(2);

/// Below the table: a faulty replica may claim anything.
const OWN_WORD: &str = "(each line is that replica's own word)";

/// Asks every replica how it fares, and prints one line each: what that replica says of itself.
///
/// Exit status 1 when fewer than 2f+1 replicas answer, or when replicas have different states at the same sequence
/// number.
#[derive(clap::Args)]
#[command(after_help = "Example: logothete status --config /tmp/cluster/cluster.toml")]
pub struct Arguments {
    #[command(flatten)]
    question: Question,
    /// Also print whom each replica rejects for what
    #[arg(long)]
    rejects: bool,
    /// Also print the counters of the cluster's processes on this host
    #[arg(long)]
    counters: bool,
}

/// Runs the command.
///
/// # Errors
///
/// When too few replicas answer, or they differ.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let question = &arguments.question;
    let cluster = question.cluster()?;
    let answers = question.ask(&cluster, query)?;
    let finding = judge(&cluster, &answers);
    let rejects = if arguments.rejects { Some(question.ask(&cluster, query_rejects)?) } else { None };
    let value = || {
        let mut value = to_json(&cluster, &answers, &finding);
        if let Some(rejects) = &rejects {
            value["rejects"] = rejects_json(rejects);
        }
        value
    };
    let mut lines = table(&cluster, &answers);
    lines.push(OWN_WORD.to_owned());
    lines.extend_from_slice(&finding.remarks);
    lines.extend(rejects.iter().flat_map(|rejects| rejects_table(rejects)));
    question.say(value, lines)?;
    if arguments.counters {
        print_counters(&question.config, &cluster)?;
    }
    match finding.failure {
        None => Ok(()),
        Some(failure) => Err(Failure::Failed(failure)),
    }
}

/// Prints every counter that is not zero, of every process that has its local file here and has run.
fn print_counters(config: &Path, cluster: &Cluster) -> Result<(), Failure> {
    for path in counters_files(config, cluster) {
        let Ok(counters) = Counters::open(&path) else {
            // It never ran.
            continue;
        };
        let liveness = match counters.liveness(SILENCE_MAX) {
            Liveness::Alive => String::from("running"),
            Liveness::Silent { age } => format!("silent for {} s", age.as_secs()),
            Liveness::Dead => String::from("ended"),
        };
        print_line(&format!("\n{} (process {}, {liveness})", path.display(), counters.pid()))?;
        for reading in counters.readings().filter(|reading| reading.value > 0) {
            print_line(&format!("  {:<10} {:<28} {:>16} {}", reading.set, reading.label, reading.value, reading.unit))?;
        }
    }
    Ok(())
}

/// What the answers mean together.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// For a person.
    remarks: Vec<String>,
    /// Why this is no success.
    failure: Option<String>,
    /// Whether requests are being executed, as far as `f+1` replicas say.
    progress: bool,
}

fn judge(cluster: &Cluster, answers: &[Option<ReplicaStatus>]) -> Finding {
    let present: Vec<&ReplicaStatus> = answers.iter().flatten().collect();
    let missing: Vec<usize> =
        answers.iter().enumerate().filter(|(_, answer)| answer.is_none()).map(|(id, _)| id).collect();
    let (needed, weak) = (cluster.quorum().strong(), cluster.quorum().weak());
    let mut remarks = vec![format!("{} of {} replicas answer, {needed} are needed", present.len(), answers.len())];
    let mut failure = None;
    if present.len() < needed {
        failure = Some(format!("{} of {needed} needed replicas answer; missing: {}", present.len(), list(&missing)));
    }
    let forgot = with_progress(&present, Progress::Recovering);
    if forgot.len() >= weak {
        let text = format!(
            "more than f replicas have forgotten what they promised ({}): nobody can vote, and the cluster has stopped; form a new cluster",
            list(&forgot)
        );
        remarks.push(text.clone());
        failure.get_or_insert(text);
    }
    let stalled: Vec<usize> = with_progress(&present, Progress::Stalled);
    let behind: Vec<usize> = with_progress(&present, Progress::FellBehind);
    // What f+1 say, a correct replica says. With too few replicas there is no progress, whether they have noticed or
    // not.
    let progress = present.len() >= needed && stalled.len() < weak && forgot.len() < weak;
    if !progress {
        let known = if stalled.is_empty() {
            String::new()
        } else {
            format!(": replicas {} have work and execute nothing", list(&stalled))
        };
        remarks.push(format!("the cluster makes no progress{known}"));
    }
    // The view that f+1 report, or a later one: its primary proposes.
    let mut views: Vec<u64> = present.iter().map(|status| status.view).collect();
    views.sort_unstable_by(|one, other| other.cmp(one));
    if let Some(view) = views.get(weak - 1) {
        let primary = (view % cluster.replica_count() as u64) as usize;
        if missing.contains(&primary) {
            remarks.push(format!("replica {primary}, the primary of view {view}, does not answer"));
        }
    }
    if !behind.is_empty() {
        remarks.push(format!("replicas {} fell behind what the others still hold", list(&behind)));
    }
    let demoted = demoted(cluster, &present);
    if !demoted.is_empty() {
        remarks.push(format!(
            "clients {} must sign their requests: their tags were good for some replicas only",
            list(&demoted)
        ));
    }
    for (place, one) in present.iter().enumerate() {
        let other = present[..place]
            .iter()
            .find(|other| other.executed == one.executed && other.state_digest != one.state_digest);
        if let Some(other) = other {
            let text = format!(
                "replicas {} and {} have different states at sequence number {}",
                other.id.0, one.id.0, one.executed
            );
            remarks.push(text.clone());
            failure.get_or_insert(text);
        }
    }
    Finding { remarks, failure, progress }
}

/// The clients that `f+1` replicas say must sign, so that a correct one does (`protocol.md DM-7`).
fn demoted(cluster: &Cluster, present: &[&ReplicaStatus]) -> Vec<usize> {
    let saying = |client: &ClientId| present.iter().filter(|status| status.demoted.contains(client)).count();
    let clients = (0..cluster.clients.len()).filter_map(|at| u16::try_from(at).ok());
    clients.filter(|at| saying(&ClientId(*at)) >= cluster.quorum().weak()).map(usize::from).collect()
}

fn with_progress(present: &[&ReplicaStatus], progress: Progress) -> Vec<usize> {
    present.iter().filter(|status| status.progress == progress).map(|status| usize::from(status.id.0)).collect()
}

fn list(ids: &[usize]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn table(cluster: &Cluster, answers: &[Option<ReplicaStatus>]) -> Vec<String> {
    let mut lines = vec![row(&["replica", "view", "role", "executed", "checkpoint", "journal", "state"], "peers")];
    for (id, answer) in answers.iter().enumerate() {
        let id = id.to_string();
        let Some(status) = answer else {
            lines.push(row(&[&id, "-", "-", "-", "-", "-", "unreachable"], "-"));
            continue;
        };
        let (view, executed, checkpoint) =
            (status.view.to_string(), status.executed.to_string(), status.checkpoint_stable.to_string());
        let role = if status.primary { "primary" } else { "backup" };
        let peers: Vec<usize> = status.peers_reachable.iter().map(|id| usize::from(id.0)).collect();
        lines.push(row(
            &[&id, &view, role, &executed, &checkpoint, cluster.journal.name(), state(status.progress)],
            &list(&peers),
        ));
    }
    lines
}

/// One line: columns of fixed width, and the last as long as it is.
fn row(cells: &[&str; 7], last: &str) -> String {
    const WIDTHS: [usize; 7] = [8, 6, 8, 12, 11, 8, 12];
    let mut line = String::new();
    for (cell, width) in cells.iter().zip(WIDTHS) {
        line.push_str(&format!("{cell:<width$} "));
    }
    line + last
}

fn state(progress: Progress) -> &'static str {
    match progress {
        Progress::Normal => "normal",
        Progress::Stalled => "stalled",
        Progress::FellBehind => "fell behind",
        Progress::ViewChanging => "changing view",
        Progress::Recovering => "recovering",
    }
}

/// Who rejects whom for what, the most frequent first at each replica.
fn rejects_table(rejects: &[Option<RejectCounts>]) -> Vec<String> {
    let line = |cells: [&str; 4], count: &str| {
        format!("{:<8} {:<9} {:<11} {:<24} {count}", cells[0], cells[1], cells[2], cells[3])
    };
    let mut lines = vec![String::new(), line(["replica", "part", "rejects of", "for"], "times")];
    for (id, counts) in rejects.iter().enumerate() {
        let id = id.to_string();
        let Some(counts) = counts else {
            lines.push(line([&id, "-", "-", "no answer"], "-"));
            continue;
        };
        for count in &counts.counts {
            let about = about(count.about);
            lines.push(line([&id, part(count.by), &about, &count.reason], &count.count.to_string()));
        }
        if counts.omitted > 0 {
            lines.push(line([&id, "-", "-", "less frequent ones"], &counts.omitted.to_string()));
        }
    }
    lines
}

fn part(by: RejectedBy) -> &'static str {
    match by {
        RejectedBy::Verifier => "verifier",
        RejectedBy::Core => "core",
    }
}

fn about(about: Option<Principal>) -> String {
    match about {
        None => String::from("unproven"),
        Some(Principal::Replica(id)) => format!("replica {id}"),
        Some(Principal::Client(id)) => format!("client {id}"),
    }
}

fn rejects_json(rejects: &[Option<RejectCounts>]) -> serde_json::Value {
    let replicas = rejects.iter().enumerate().map(|(id, counts)| match counts {
        None => json!({ "by": id, "reachable": false }),
        Some(counts) => {
            let list = counts.counts.iter().map(|count| {
                json!({
                    "part": part(count.by),
                    "about": count.about.map(|sender| about(Some(sender))),
                    "reason": count.reason,
                    "count": count.count,
                })
            });
            let list = list.collect::<Vec<_>>();
            json!({ "by": id, "reachable": true, "own_word": true, "counts": list, "omitted": counts.omitted })
        }
    });
    serde_json::Value::Array(replicas.collect())
}

fn to_json(cluster: &Cluster, answers: &[Option<ReplicaStatus>], finding: &Finding) -> serde_json::Value {
    let replicas = answers.iter().enumerate().map(|(id, answer)| match answer {
        None => no_answer(id),
        Some(status) => json!({
            "id": id,
            "reachable": true,
            "own_word": true,
            "view": status.view,
            "role": if status.primary { "primary" } else { "backup" },
            "executed": status.executed,
            "checkpoint_stable": status.checkpoint_stable,
            "state_digest": status.state_digest.to_string(),
            "journal": cluster.journal.name(),
            "state": state(status.progress),
            "peers_reachable": status.peers_reachable.iter().map(|id| id.0).collect::<Vec<_>>(),
            "datagrams_sent": status.datagrams_sent,
            "datagrams_received": status.datagrams_received,
            "rejects": status.rejects,
            "log_oldest": status.log_oldest,
            "log_end": status.log_end,
            "clients_demoted": status.demoted.iter().map(|client| client.0).collect::<Vec<_>>(),
        }),
    });
    json!({
        "replicas": replicas.collect::<Vec<_>>(),
        "replicas_reported": answers.iter().flatten().count(),
        "quorum": cluster.quorum().strong(),
        "progress": finding.progress,
        "remarks": finding.remarks,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_crypto::{digest, os_entropy};
    use logothete_engine::client::status::RejectCount;
    use logothete_engine::cluster::init::{Plan, generate};
    use logothete_engine::numbers::{ReplicaId, ReplicaSet};

    fn cluster() -> Cluster {
        generate(&Plan { port_base: Some(7400), ..Plan::default() }, &mut os_entropy).unwrap().cluster
    }

    fn status(id: u8, executed: u64) -> ReplicaStatus {
        ReplicaStatus {
            id: ReplicaId(id),
            view: 0,
            primary: id == 0,
            executed,
            checkpoint_stable: executed / 128 * 128,
            state_digest: digest(&executed.to_le_bytes()),
            peers_reachable: ReplicaSet::first(4),
            progress: Progress::Normal,
            datagrams_sent: 1,
            datagrams_received: 2,
            rejects: 0,
            log_oldest: 0,
            log_end: executed,
            demoted: Vec::new(),
        }
    }

    fn all() -> Vec<Option<ReplicaStatus>> {
        (0..4).map(|id| Some(status(id, 300))).collect()
    }

    #[test]
    fn a_well_cluster_is_a_success() {
        let finding = judge(&cluster(), &all());
        assert_eq!(
            finding,
            Finding { remarks: vec!["4 of 4 replicas answer, 3 are needed".into()], failure: None, progress: true }
        );
        let lines = table(&cluster(), &all());
        assert_eq!(lines[0], "replica  view   role     executed     checkpoint  journal  state        peers");
        assert_eq!(lines[1], "0        0      primary  300          256         sync     normal       0, 1, 2, 3");
        assert_eq!(lines[2], "1        0      backup   300          256         sync     normal       0, 1, 2, 3");
    }

    /// `protocol.md DM-7`
    #[test]
    fn one_replica_alone_has_nobody_demoted() {
        let mut answers = all();
        let demote = |answer: &mut Option<ReplicaStatus>, client| {
            answer.as_mut().unwrap().demoted.push(ClientId(client));
        };
        demote(&mut answers[0], 0);
        demote(&mut answers[0], 1);
        assert_eq!(judge(&cluster(), &answers).remarks.len(), 1);
        demote(&mut answers[3], 1);
        let finding = judge(&cluster(), &answers);
        assert!(finding.remarks[1].starts_with("clients 1 must sign"), "{:?}", finding.remarks);
        assert_eq!(finding.failure, None);
        let json = to_json(&cluster(), &answers, &finding);
        assert_eq!(json["replicas"][0]["clients_demoted"], json!([0, 1]));
    }

    #[test]
    fn one_missing_replica_is_shown_and_no_failure() {
        let mut answers = all();
        answers[2] = None;
        let finding = judge(&cluster(), &answers);
        assert_eq!(finding.failure, None);
        assert!(finding.progress);
        assert_eq!(
            table(&cluster(), &answers)[3],
            "2        -      -        -            -           -        unreachable  -"
        );
        assert_eq!(to_json(&cluster(), &answers, &finding)["replicas"][2], json!({ "id": 2, "reachable": false }));
    }

    #[test]
    fn a_missing_primary_is_named() {
        let mut answers = all();
        answers[0] = None;
        for answer in answers.iter_mut().flatten().take(2) {
            answer.progress = Progress::Stalled;
        }
        let finding = judge(&cluster(), &answers);
        assert_eq!(finding.failure, None, "a quorum answers");
        assert!(!finding.progress);
        let remarks = finding.remarks.join("\n");
        assert!(
            remarks.contains("the cluster makes no progress: replicas 1, 2 have work and execute nothing"),
            "{remarks}"
        );
        assert!(remarks.contains("replica 0, the primary of view 0, does not answer"), "{remarks}");
    }

    #[test]
    fn too_few_replicas_are_a_failure() {
        let mut answers = all();
        (answers[1], answers[3]) = (None, None);
        let finding = judge(&cluster(), &answers);
        assert_eq!(finding.failure.unwrap(), "2 of 3 needed replicas answer; missing: 1, 3");
        assert!(!finding.progress);
    }

    #[test]
    fn one_stalled_replica_may_be_lying() {
        let mut answers = all();
        answers[3].as_mut().unwrap().progress = Progress::Stalled;
        assert!(judge(&cluster(), &answers).progress);
    }

    #[test]
    fn replicas_that_forgot_are_too_many() {
        let mut answers = all();
        answers[1].as_mut().unwrap().progress = Progress::Recovering;
        assert_eq!(judge(&cluster(), &answers).failure, None, "one of four recovers");
        answers[3].as_mut().unwrap().progress = Progress::Recovering;
        let finding = judge(&cluster(), &answers);
        let failure = finding.failure.unwrap();
        assert!(failure.contains("(1, 3)") && failure.contains("form a new cluster"), "{failure}");
        assert!(!finding.progress && finding.remarks.contains(&failure));
    }

    #[test]
    fn rejects_name_who_says_it_and_of_whom() {
        let count = |by, about, reason: &str, count| RejectCount { by, about, reason: reason.into(), count };
        let replica = Some(Principal::Replica(ReplicaId(3)));
        let counts = RejectCounts {
            counts: vec![
                count(RejectedBy::Verifier, None, "tag bad", 12),
                count(RejectedBy::Core, replica, "vote conflict", 2),
            ],
            omitted: 1,
        };
        let rejects = [Some(counts), None];
        let lines = rejects_table(&rejects);
        assert_eq!(
            lines[1..],
            [
                "replica  part      rejects of  for                      times",
                "0        verifier  unproven    tag bad                  12",
                "0        core      replica 3   vote conflict            2",
                "0        -         -           less frequent ones       1",
                "1        -         -           no answer                -",
            ]
        );
        let value = rejects_json(&rejects);
        assert_eq!(value[0]["counts"][0]["about"], json!(null));
        assert_eq!(value[0]["counts"][1]["about"], json!("replica 3"));
        assert_eq!(value[1], json!({ "by": 1, "reachable": false }));
    }

    #[test]
    fn different_states_are_a_failure() {
        let mut answers = all();
        answers[3].as_mut().unwrap().state_digest = digest(b"another");
        let finding = judge(&cluster(), &answers);
        assert_eq!(finding.failure.unwrap(), "replicas 0 and 3 have different states at sequence number 300");
        // At different sequence numbers states differ for good reason.
        answers[3] = Some(status(3, 301));
        assert_eq!(judge(&cluster(), &answers).failure, None);
    }
}
