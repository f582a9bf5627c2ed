//! The figures in the tree are those that the program draws.

use std::path::Path;

#[test]
fn the_figures_are_as_drawn() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("figures");
    let figures = logothete_generals::picture::figures();
    let mut held: Vec<String> = std::fs::read_dir(&folder)
        .expect("the figures are beside this test")
        .map(|entry| entry.expect("a readable folder").file_name().into_string().expect("a plain name"))
        .collect();
    held.sort();
    assert_eq!(held, figures.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>());
    for (name, svg) in figures {
        let text = std::fs::read_to_string(folder.join(name)).expect("it is there");
        assert!(text == svg, "{name} differs: run `logothete generals figures tools/generals/figures`");
    }
}
