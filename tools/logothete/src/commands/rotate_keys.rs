//! `logothete rotate-keys`: new session keys everywhere, now.

use crate::failure::Failure;
use crate::operator::{Question, no_answer};
use logothete_engine::client::rotation::{KeyStatus, rotate_keys};
use serde_json::json;

/// Replaces the session keys of all replicas, and so of every driver, now.
///
/// Prints one line a replica: the new generation of its key, and when it was in use, as the replica says itself. Nothing
/// is lost: two generations overlap, and a wish that comes while two still do is granted when the former one is gone.
/// Drivers follow the replicas. Exit status 1 when a replica does not answer.
#[derive(clap::Args)]
#[command(after_help = "Example: logothete rotate-keys --config /tmp/cluster/cluster.toml")]
pub struct Arguments {
    #[command(flatten)]
    question: Question,
}

/// Runs the command.
///
/// # Errors
///
/// When a replica does not answer.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let question = &arguments.question;
    let answers = question.ask(&question.cluster()?, rotate_keys)?;
    question.say(|| to_json(&answers), answers.iter().enumerate().map(|(id, answer)| line(id, answer.as_ref())))?;
    let missing: Vec<String> =
        answers.iter().enumerate().filter(|(_, answer)| answer.is_none()).map(|(id, _)| id.to_string()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mend = "they make new keys when they start; wish again for those that run and cannot be reached";
    Err(Failure::Failed(format!("no answer from replicas {}: {mend}", missing.join(", "))))
}

fn line(id: usize, answer: Option<&KeyStatus>) -> String {
    let Some(status) = answer else {
        return format!("replica {id}: no answer");
    };
    let generation = status.generation;
    if let Some(due_in) = status.due_in {
        let seconds = due_in.as_secs_f64();
        return format!(
            "replica {id}: generation {generation}; the next in {seconds:.1} s, when the former one is gone"
        );
    }
    let ((replicas, replicas_confirmed), (drivers, drivers_confirmed)) = (status.replicas, status.drivers);
    let confirmed = format!("{replicas_confirmed} of {replicas} replicas, {drivers_confirmed} of {drivers} drivers");
    match status.in_use_after {
        Some(after) => {
            let milliseconds = after.as_secs_f64() * 1e3;
            format!("replica {id}: generation {generation}, in use after {milliseconds:.1} ms with {confirmed}")
        }
        None => format!("replica {id}: generation {generation}, so far in use with {confirmed}"),
    }
}

fn to_json(answers: &[Option<KeyStatus>]) -> serde_json::Value {
    let replicas = answers.iter().enumerate().map(|(id, answer)| match answer {
        None => no_answer(id),
        Some(status) => json!({
            "id": id,
            "reachable": true,
            "own_word": true,
            "generation": status.generation,
            "due_in_ns": status.due_in.map(|due| due.as_nanos() as u64),
            "in_use_after_ns": status.in_use_after.map(|after| after.as_nanos() as u64),
            "replicas": status.replicas.0,
            "replicas_confirmed": status.replicas.1,
            "drivers": status.drivers.0,
            "drivers_confirmed": status.drivers.1,
        }),
    });
    json!({ "replicas": replicas.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use logothete_engine::numbers::ReplicaId;
    use std::time::Duration;

    #[test]
    fn each_answer_is_one_line() {
        let status = KeyStatus {
            id: ReplicaId(2),
            generation: 3,
            due_in: None,
            replicas: (3, 3),
            drivers: (2, 1),
            in_use_after: Some(Duration::from_micros(1_430)),
        };
        let lines = [
            line(2, Some(&status)),
            line(2, Some(&KeyStatus { in_use_after: None, ..status })),
            line(2, Some(&KeyStatus { due_in: Some(Duration::from_millis(8_240)), ..status })),
            line(2, None),
        ];
        assert_eq!(
            lines,
            [
                "replica 2: generation 3, in use after 1.4 ms with 3 of 3 replicas, 1 of 2 drivers",
                "replica 2: generation 3, so far in use with 3 of 3 replicas, 1 of 2 drivers",
                "replica 2: generation 3; the next in 8.2 s, when the former one is gone",
                "replica 2: no answer",
            ]
        );
        let value = to_json(&[Some(status), None]);
        assert_eq!(value["replicas"][0]["in_use_after_ns"], json!(1_430_000));
        assert_eq!(value["replicas"][1], json!({ "id": 1, "reachable": false }));
    }
}
