//! C13, no panic: nothing that peers, clients, disks and networks do stops a correct process, be it an assertion, an overflow or an index. A run that
//! panics is told like one that a checker failed, with its place, so that the seed is known.

use super::violations::Checker;
use std::cell::RefCell;
use std::panic::{self, UnwindSafe};
use std::sync::Once;

thread_local! {
    /// What the panic under way on this thread said; `None` where it is nobody's to tell.
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
    /// Whether this thread plays a run whose panics are told.
    static PLAYS: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Plays a run; `name` is how it is found again. Where panics abort the process its name is printed at least.
///
/// # Errors
/// What the run says is wrong, or how it panicked.
pub fn caught(name: &str, run: impl FnOnce() -> Result<(), String> + UnwindSafe) -> Result<(), String> {
    install();
    PLAYS.set(Some(name.to_owned()));
    let outcome = panic::catch_unwind(run);
    PLAYS.set(None);
    outcome.unwrap_or_else(|_| {
        let said = SAID.take().unwrap_or_else(|| "nothing".to_owned());
        Err(format!("{}: {said}", Checker::Panics))
    })
}

/// Has panics of such runs noted; those of others are shown as before.
fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| match PLAYS.with_borrow(Clone::clone) {
            Some(name) => {
                if cfg!(panic = "abort") {
                    eprintln!("{name} panicked: {info}");
                }
                SAID.set(Some(info.to_string()));
            }
            None => before(info),
        }));
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told_like_any_failure() {
        assert_eq!(caught("seed 1", || Ok(())), Ok(()));
        assert_eq!(caught("seed 2", || Err("wrong".to_owned())), Err("wrong".to_owned()));
        let told = caught("seed 3", || panic!("an invariant")).unwrap_err();
        assert!(
            told.starts_with("C13 panic: ") && told.contains("panics.rs") && told.contains("an invariant"),
            "{told}"
        );
        let told = caught("seed 4", || Err(format!("{}", [1, 2, 3][std::hint::black_box(3)]))).unwrap_err();
        assert!(told.contains("out of bounds"), "{told}");
    }
}
