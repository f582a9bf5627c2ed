//! The corpus of the tree: what once made a target panic does so no more, the samples are what the generator writes, and few mutations of them pass.

use logothete_fuzz::corpus::{FOUND, folder, read};
use logothete_fuzz::run::{Extent, play, run};
use logothete_fuzz::{TARGETS, target};

/// Few: longer runs are a command of their own.
const INPUTS: u64 = 300;

#[test]
fn what_was_found_stays_mended() {
    let found = |target| read(target).unwrap().into_iter().filter(|(name, _)| name.starts_with(FOUND));
    let mut played = 0;
    for target in TARGETS {
        for (_, input) in found(target) {
            play(target, &input);
            played += 1;
        }
    }
    assert!(played > 0, "there were findings");
}

/// `cargo run -p logothete-fuzz -- corpus` writes them anew.
#[test]
fn samples_are_what_the_generator_writes() {
    for target in TARGETS {
        let mut samples = (target.samples)();
        samples.sort();
        let kept: Vec<_> = read(target).unwrap().into_iter().filter(|(name, _)| !name.starts_with(FOUND)).collect();
        let names = |of: &[(String, Vec<u8>)]| of.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        assert_eq!(names(&kept), names(&samples), "{}", target.name);
        assert!(kept == samples || target.name == "packet", "{}: a sample changed", target.name);
    }
}

#[test]
fn mutations_of_the_corpus_pass() {
    for target in TARGETS {
        assert!(run(target, 1, Extent::Inputs(INPUTS)).unwrap() >= INPUTS, "{}", target.name);
    }
}

#[test]
fn names_are_those_of_the_folders() {
    let folders = folder(&TARGETS[0]).parent().unwrap().to_owned();
    for entry in std::fs::read_dir(folders).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(target(&name).is_some(), "{name} is the corpus of no target");
    }
}
