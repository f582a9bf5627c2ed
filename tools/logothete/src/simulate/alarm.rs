//! What a seed that panics leaves behind: a failed assertion ends the whole process in a release build, so that everything that a person needs is said
//! before that.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::process::{Command, Stdio};

/// Lines of a trace that a failure shows.
pub const TAIL_LINES: usize = 60;

thread_local! {
    static SEED: Cell<Option<u64>> = const { Cell::new(None) };
    static TAIL: RefCell<VecDeque<String>> = const { RefCell::new(VecDeque::new()) };
}

/// This thread plays a seed from now on.
pub fn seed_begins(seed: u64) {
    SEED.set(Some(seed));
}

/// This thread's seed says what happens.
pub fn told(line: &str) {
    TAIL.with_borrow_mut(|tail| {
        if tail.len() == TAIL_LINES {
            tail.pop_front();
        }
        tail.push_back(line.to_owned());
    });
}

/// The last of what this thread's seed told.
pub fn tail() -> Vec<String> {
    TAIL.with_borrow(|tail| tail.iter().cloned().collect())
}

/// From now on a panic of a thread that plays a seed says which, how to play it again and what happened last, and ends the process with status 1.
/// `again` is how to play a seed alone.
pub fn arm(again: impl Fn(u64) -> Vec<String> + Send + Sync + 'static) {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let Some(seed) = SEED.get() else { return usual(panic) };
        let tail = tail();
        let arguments = again(seed);
        let mut text = format!("seed {seed} FAILED: {panic}\nagain: logothete {}\n", arguments.join(" "));
        for line in &tail {
            let _ = writeln!(text, "{line}");
        }
        eprint!("{text}");
        if tail.is_empty() {
            // One of many: alone it tells what happens.
            let program = std::env::current_exe().map(Command::new);
            let _ = program.and_then(|mut program| program.args(&arguments).stdout(Stdio::null()).status());
        }
        std::process::exit(1);
    }));
}
