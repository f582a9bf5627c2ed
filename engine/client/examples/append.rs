//! Appends its arguments to the cluster's ordered log, one after the other, and prints where each one landed; then
//! reads them back.
//!
//! ```sh
//! cargo run -p logothete-client --example append -- SESSION_SOCKET 'first entry' 'second entry'
//! ```

use std::process::ExitCode;
use std::time::Duration;

use logothete_client::{ClientError, Options, Session, Subscription};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let Some(path) = arguments.next() else {
        eprintln!("usage: append SESSION_SOCKET ENTRY...");
        return ExitCode::from(2);
    };
    match run(&path, &arguments.collect::<Vec<_>>()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("append: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(path: &str, entries: &[String]) -> Result<(), ClientError> {
    let mut session = Session::connect(path, Options::default())?;
    let from = session.bounds()?.end;
    for entry in entries {
        println!("{}\t{entry}", session.append(entry.as_bytes())?);
    }
    // Others may append too: read until everything of ours has come back.
    let ours = session.id();
    let mut unread = entries.len();
    let mut subscription = Subscription::connect(path, from, Options::default())?;
    while unread > 0 && subscription.wait(Duration::from_secs(5))? {
        subscription.poll(|entry| {
            if entry.session == ours {
                unread -= 1;
            }
        })?;
    }
    println!("{} of {} read back", entries.len() - unread, entries.len());
    Ok(())
}
