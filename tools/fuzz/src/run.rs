//! Runs of many inputs: the corpus as it is, then as many mutations of it as there is time for. One seed, one run.

use crate::mutation::{fresh, mutate};
use crate::{Target, corpus};
use logothete_crypto::digest;
use logothete_simulator::world::random::Random;
use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io, panic};

/// When a run ends.
#[derive(Clone, Copy, Debug)]
pub enum Extent {
    Inputs(u64),
    Time(Duration),
}

/// The input that is being played, for whoever has to tell of it when it makes the target panic.
struct Playing {
    target: &'static str,
    input: Vec<u8>,
}

thread_local! {
    static PLAYING: RefCell<Option<Playing>> = const { RefCell::new(None) };
}

/// From now on an input that makes a target panic is kept as a file in `folder`, and the panic tells of it.
pub fn keep_findings(folder: PathBuf) {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        before(info);
        PLAYING.with_borrow(|playing| {
            let Some(Playing { target, input }) = playing else { return };
            match keep(&folder, target, input) {
                Ok(path) => eprintln!(
                    "{target}: the input is in {0}; play it again: logothete-fuzz play {target} {0}",
                    path.display()
                ),
                Err(error) => eprintln!("{target}: the input cannot be kept ({error}): {input:?}"),
            }
        });
    }));
}

fn keep(folder: &Path, target: &str, input: &[u8]) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("{}{target}-{}", corpus::FOUND, &digest(input).to_string()[..12]));
    fs::write(&path, input)?;
    Ok(path)
}

/// Plays one input.
pub fn play(target: &Target, input: &[u8]) {
    PLAYING.set(Some(Playing { target: target.name, input: input.to_vec() }));
    (target.run)(input);
    PLAYING.set(None);
}

/// Plays the corpus of a target, then mutations of it; returns how many inputs that were.
///
/// # Errors
/// The corpus cannot be read.
pub fn run(target: &Target, seed: u64, extent: Extent) -> io::Result<u64> {
    let inputs: Vec<Vec<u8>> = corpus::read(target)?.into_iter().map(|(_, bytes)| bytes).collect();
    inputs.iter().for_each(|input| play(target, input));
    let (begun, mut played, mut random) = (Instant::now(), inputs.len() as u64, Random::new(seed));
    let goes_on = |played| match extent {
        Extent::Inputs(most) => played < most,
        Extent::Time(duration) => begun.elapsed() < duration,
    };
    while goes_on(played) {
        let input =
            if inputs.is_empty() || random.percent(5) { fresh(&mut random) } else { mutate(&inputs, &mut random) };
        play(target, &input);
        played += 1;
    }
    Ok(played)
}
