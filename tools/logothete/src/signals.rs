//! SIGINT and SIGTERM: a flag that ends whatever runs.

use crate::failure::Failure;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// Registers the flag that SIGINT and SIGTERM set, also where SIGINT was inherited as ignored (a shell's background
/// job). A second signal ends the process at once; its children go with it.
///
/// # Errors
///
/// When the system refuses a handler.
pub fn stop_flag() -> Result<Arc<AtomicBool>, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // Handlers run in the order of their registration: the first signal finds the flag clear and sets it, the
        // second finds it set.
        signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))
            .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&stop)))
            .map_err(|error| Failure::Failed(format!("no handler for signal {signal}: {error}")))?;
    }
    Ok(stop)
}
