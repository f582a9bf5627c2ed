//! What a program contains of the planted bugs: their marker where they can be planted, and nothing where they cannot.

use logothete_simulator::swarm::mix::Mix;
use logothete_simulator::swarm::plan::Plan;
use logothete_simulator::swarm::run::play;

#[test]
fn the_marker_is_where_bugs_can_be_planted_and_nowhere_else() {
    // So that the engine is linked.
    let outcome = play(&Plan::draw(0, Mix::All, 10, None), u64::MAX, None);
    assert_eq!(outcome.violation, None, "a seed passes where nothing is planted");
    // Backwards, so that it is not in this program for being looked for.
    let marker: String = "!sgub-detnalp-etehtogol".chars().rev().collect();
    let program = std::fs::read(std::env::current_exe().expect("a test is a file")).expect("it can be read");
    let found = program.windows(marker.len()).any(|bytes| bytes == marker.as_bytes());
    assert_eq!(found, cfg!(feature = "planted-bugs"));
}
