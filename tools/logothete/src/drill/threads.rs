//! The threads beside a run: the load and the two subscribers.

use super::ledger::Ledger;
use super::load::{Load, LoadFigures, LoadPlan};
use super::readers::{Reading, accompany, check};
use super::shared::Shared;
use crate::failure::Failure;
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;

/// The threads beside a run. Dropping it ends them.
pub struct Threads {
    shared: Arc<Shared>,
    /// The load; none once it was waited for.
    pub load: Option<JoinHandle<LoadFigures>>,
    /// The subscriber that checks, and the one beside it.
    pub readers: Vec<JoinHandle<Reading>>,
}

impl Threads {
    /// Whether one has ended, which none does before the drill ends it.
    pub fn any_ended(&self) -> bool {
        self.load.as_ref().is_none_or(JoinHandle::is_finished) || self.readers.iter().any(JoinHandle::is_finished)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.shared.end_now();
        // A thread that panicked has said so on standard error.
        self.load.take().map(JoinHandle::join);
        self.readers.drain(..).for_each(|reader| drop(reader.join()));
    }
}

/// Starts the load and the two subscribers.
///
/// # Errors
///
/// When the system has no thread for them.
pub fn start_threads(plan: LoadPlan, shared: &Arc<Shared>, ledger: &Arc<Mutex<Ledger>>) -> Result<Threads, Failure> {
    let failed = |error: std::io::Error| Failure::Failed(format!("no thread for the drill: {error}"));
    let mut threads = Threads { shared: Arc::clone(shared), load: None, readers: Vec::new() };
    let (teller, notes) = mpsc::channel();
    let context = || (plan.driver.clone(), Arc::clone(shared), Arc::clone(ledger));
    let (driver, own_shared, own_ledger) = context();
    let checker = move || check(&driver, &own_shared, &own_ledger, &notes);
    threads.readers.push(std::thread::Builder::new().name("checker".to_owned()).spawn(checker).map_err(failed)?);
    let (driver, own_shared, own_ledger) = context();
    let companion = move || accompany(&driver, &own_shared, &own_ledger);
    threads.readers.push(std::thread::Builder::new().name("subscriber".to_owned()).spawn(companion).map_err(failed)?);
    let own_shared = Arc::clone(shared);
    let load = move || Load::new(&plan, &own_shared, teller).run();
    threads.load = Some(std::thread::Builder::new().name("load".to_owned()).spawn(load).map_err(failed)?);
    Ok(threads)
}
