//! The documents name files, functions and tests of the code, and these exist.
//!
//! In backticks, a name with a file's ending is a file: the end of a path in the workspace, or a scenario. A name in small letters behind a file in
//! the same line is defined in one of the files that the line names. In the list of pitfalls each item names a test, or says why none is needed.

mod sources;

use sources::{Source, root, sources};
use std::fs;

const DOCUMENTS: [&str; 3] = ["architecture.md", "invariants.md", "protocol.md"];

/// What an item of the list of pitfalls may say instead of naming a test.
const NO_TEST: [&str; 2] = ["Cannot happen: ", "a limit of this version"];

fn document(name: &str) -> String {
    fs::read_to_string(root().join("engine/docs").join(name)).unwrap()
}

/// What stands in backticks.
fn quoted(line: &str) -> impl Iterator<Item = &str> {
    line.split('`').skip(1).step_by(2)
}

fn is_file(name: &str) -> bool {
    let scenario = name.ends_with(".txt") && name.starts_with(|first: char| first.is_ascii_digit());
    !name.contains(' ') && (scenario || name.ends_with(".rs"))
}

/// A function as prose names it: `propose_next`, `Outbox::drain_into`.
fn function(name: &str) -> Option<&str> {
    let last = name.rsplit("::").next()?;
    let begins = last.starts_with(|first: char| first.is_ascii_lowercase());
    (begins && last.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')).then_some(last)
}

fn defines(text: &str, name: &str) -> bool {
    text.match_indices(&format!("fn {name}"))
        .any(|(at, found)| !text[at + found.len()..].starts_with(|next: char| next.is_alphanumeric() || next == '_'))
}

/// The sources at whose paths' ends a name stands.
fn named<'a>(sources: &'a [Source], name: &str) -> Vec<&'a Source> {
    sources.iter().filter(|source| source.path.ends_with(name)).collect()
}

fn is_test(sources: &[Source], name: &str) -> bool {
    match is_file(name) {
        true => named(sources, name).iter().any(|source| source.path.starts_with("engine/tests/scenarios")),
        false => sources.iter().any(|source| function(name) == Some(name) && defines(&source.tests, name)),
    }
}

#[test]
fn what_documents_name_exists() {
    let sources = sources();
    let mut absent = Vec::new();
    for document_name in DOCUMENTS {
        for line in document(document_name).lines() {
            let files: Vec<&str> = quoted(line).filter(|name| is_file(name)).collect();
            let held: Vec<&Source> = files.iter().flat_map(|name| named(&sources, name)).collect();
            let own = ["rules.rs", "documents.rs"];
            absent.extend(
                files
                    .iter()
                    .filter(|name| named(&sources, name).is_empty() && !own.iter().any(|own| name.ends_with(own)))
                    .map(|name| format!("{document_name}: {name}")),
            );
            // Behind the first file of a table's row stand functions in it.
            let from = line.find(files.first().copied().unwrap_or("\n")).filter(|_| line.starts_with("| "));
            for name in from.into_iter().flat_map(|at| quoted(&line[at - 1..])).filter_map(function) {
                if !held.iter().any(|source| defines(&source.program, name) || defines(&source.tests, name)) {
                    absent.push(format!("{document_name}: {name}, in {files:?}"));
                }
            }
        }
    }
    assert!(absent.is_empty(), "named, and not there:\n{}", absent.join("\n"));
}

#[test]
fn each_pitfall_has_its_test() {
    let sources = sources();
    let text = document("protocol.md");
    let (_, list) = text.split_once("\n## Pitfalls of the literature\n").expect("the list of pitfalls");
    let mut items: Vec<String> = Vec::new();
    for line in list.lines() {
        match line.strip_prefix("    ") {
            Some(more) => items.last_mut().expect("an item goes on").extend([" ", more]),
            None if line.starts_with(|first: char| first.is_ascii_digit()) => items.push(line.to_owned()),
            None => {}
        }
    }
    assert_eq!(items.len(), 40);
    for (index, item) in items.iter().enumerate() {
        assert!(item.starts_with(&format!("{}. ", index + 1)), "out of order: {item}");
        let shown = quoted(item).any(|name| is_test(&sources, name));
        assert!(shown || NO_TEST.iter().any(|reason| item.contains(reason)), "no test, and no reason: {item}");
        for name in quoted(item).filter(|name| name.contains('_') && !name.ends_with("limits.rs")) {
            assert!(is_test(&sources, name), "no test: `{name}` of {item}");
        }
    }
}

#[test]
fn names_are_read_as_they_are_meant() {
    let line = "| it holds | `replica/log.rs`, `slot`, `Outbox::add`; `2f+1` of `NC-1`, `View`, `1_a.txt` |";
    assert_eq!(quoted(line).filter(|name| is_file(name)).collect::<Vec<_>>(), ["replica/log.rs", "1_a.txt"]);
    assert_eq!(quoted(line).filter_map(function).collect::<Vec<_>>(), ["slot", "add"]);
    assert!(defines("pub fn slot(&self)", "slot") && !defines("fn slots()", "slot") && !defines("slot()", "slot"));
}
