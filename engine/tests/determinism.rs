//! The engine has nothing that makes two runs of the same input differ: no order that follows from addresses or from a random hash, no clock of its own,
//! no state of threads.

#[expect(dead_code, reason = "what tests the engine is not looked at here")]
mod sources;

use sources::sources;

/// What would. Words, as they stand in a source.
const FORBIDDEN: [&str; 8] =
    ["HashMap", "HashSet", "RandomState", "Instant", "SystemTime", "thread_local", "thread_rng", "as *const"];

/// Where the host gives its time to the core, and nowhere else.
const CLOCK: &str = "engine/src/pipeline/clock.rs";

fn is_word(text: &str, at: usize, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part)
}

fn forbidden(program: &str) -> Vec<&'static str> {
    let code: String =
        program.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
    let found = |word: &&&str| code.match_indices(**word).any(|(at, word)| is_word(&code, at, word));
    FORBIDDEN.iter().filter(|word| found(word)).copied().collect()
}

#[test]
fn nothing_in_the_engine_depends_on_addresses_random_hashes_or_clocks() {
    let mut looked_at = 0;
    for source in sources().iter().filter(|source| source.path.starts_with("engine/src")) {
        let found = forbidden(&source.program);
        match source.path.ends_with(CLOCK) {
            true => assert_eq!(found, ["Instant", "SystemTime"], "the clock is one"),
            false => assert!(found.is_empty(), "{}: {found:?}", source.path.display()),
        }
        looked_at += usize::from(!source.program.is_empty());
    }
    assert!(looked_at > 100, "the engine's sources are where they are looked for");
}

#[test]
fn what_is_forbidden_is_noticed() {
    assert_eq!(forbidden("use std::collections::{BTreeMap, HashMap};"), ["HashMap"]);
    assert_eq!(forbidden("/// An Instant.\nfn f() -> Instant;"), ["Instant"]);
    assert!(forbidden("// HashMap\nlet instant = InstantRound(1);").is_empty());
}
