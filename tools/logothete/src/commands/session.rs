//! What the commands that open a session share.

use crate::failure::Failure;
use logothete_client::ClientError;
use logothete_client::record::{Facts, ServiceKind};
use logothete_engine::cluster::DriverLocal;
use std::path::PathBuf;

/// Which driver to go to.
#[derive(clap::Args)]
pub struct SessionOptions {
    /// The cluster.toml, with the driver's local file beside it
    #[arg(long, value_name = "DIR/cluster.toml")]
    config: PathBuf,
    /// Which driver of this host
    #[arg(long, value_name = "C", default_value_t = 0)]
    client: u16,
}

impl SessionOptions {
    /// The path of the driver's session socket.
    ///
    /// # Errors
    ///
    /// When the driver's local file is refused.
    pub fn path(&self) -> Result<PathBuf, Failure> {
        Ok(DriverLocal::load(&DriverLocal::file(&self.config, self.client))?.session)
    }
}

/// The failure of a session.
pub fn failed(error: ClientError) -> Failure {
    Failure::Failed(error.to_string())
}

/// Refuses a cluster that keeps no ordered log.
///
/// # Errors
///
/// When its service is another.
pub fn require_log(facts: Facts) -> Result<(), Failure> {
    let name = match facts.service {
        ServiceKind::Log => return Ok(()),
        ServiceKind::KeyValue => "kv",
        ServiceKind::Null => "null",
        ServiceKind::Other(_) => "not a built-in one",
    };
    Err(Failure::Failed(format!(
        "the cluster's service is {name}; this command needs one made with `init --service log`"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_ordered_log_will_do() {
        let facts = |service| Facts { service, operation_bytes_max: 1, result_bytes_max: 1 };
        assert!(require_log(facts(ServiceKind::Log)).is_ok());
        for service in [ServiceKind::KeyValue, ServiceKind::Null, ServiceKind::Other(9)] {
            assert!(require_log(facts(service)).is_err());
        }
    }
}
