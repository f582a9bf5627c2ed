//! What the operator's commands have in common: whom they ask, for how long, and how they say what was answered.

use crate::failure::Failure;
use crate::options::parse_duration;
use crate::output::{print_line, write_json};
use logothete_crypto::Identity;
use logothete_engine::cluster::{Cluster, init};
use serde_json::Value;
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A question of the operator to all replicas.
#[derive(clap::Args)]
pub struct Question {
    /// The cluster.toml, with the operator's key beside it
    #[arg(long, value_name = "DIR/cluster.toml")]
    pub config: PathBuf,
    /// How long to wait for answers
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = parse_duration)]
    timeout: Duration,
    /// Write the answers to FILE as JSON (- for standard output, instead of the lines)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Question {
    /// The cluster that is asked.
    ///
    /// # Errors
    ///
    /// When the configuration cannot be read.
    pub fn cluster(&self) -> Result<Cluster, Failure> {
        Ok(Cluster::load(&self.config)?)
    }

    /// Asks, with the operator's key, for as long as it may take.
    ///
    /// # Errors
    ///
    /// When the key cannot be read, or nobody can be asked.
    pub fn ask<A, E: Display>(
        &self,
        cluster: &Cluster,
        ask: impl FnOnce(&Cluster, Identity, Duration) -> Result<A, E>,
    ) -> Result<A, Failure> {
        let operator = init::operator_identity(&self.config, cluster)?;
        ask(cluster, operator, self.timeout).map_err(|error| Failure::Failed(error.to_string()))
    }

    /// Says what was answered: as JSON where that is wanted, and in lines unless the JSON takes their place.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn say(&self, value: impl FnOnce() -> Value, lines: impl IntoIterator<Item = String>) -> Result<(), Failure> {
        if let Some(path) = &self.json {
            write_json(path, &value())?;
        }
        if self.json.as_deref() != Some(Path::new("-")) {
            for line in lines {
                print_line(&line)?;
            }
        }
        Ok(())
    }
}

/// What a replica that did not answer is in the JSON.
pub fn no_answer(id: usize) -> Value {
    serde_json::json!({ "id": id, "reachable": false })
}
