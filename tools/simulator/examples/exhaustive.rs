//! Searches a bound, whoever is faulty, or one replica only:
//! `cargo run --release -p logothete-simulator --example exhaustive [faulty=0] [numbers=2] [views=3] [lies=1] [time_outs=3] [everywhere] [final]`.
//! With the feature `planted-bugs` also `bug=PB-01`, and without `--release`.

use logothete_simulator::exhaustive::{Bound, explore, faulty};
use std::process::ExitCode;
use std::time::Instant;

fn main() -> ExitCode {
    let (mut bound, mut only) = (Bound::of(1, 2, 2, 2), None);
    for argument in std::env::args().skip(1) {
        let (name, value) = argument.split_once('=').unwrap_or((&argument, "1"));
        #[cfg(feature = "planted-bugs")]
        if name == "bug" {
            use logothete_engine::planted::{Bug, plant};
            let bug =
                Bug::ALL.iter().find(|bug| bug.id() == value).unwrap_or_else(|| panic!("there is no bug {value}"));
            plant(Some(*bug));
            continue;
        }
        let value: u8 = value.parse().unwrap_or_else(|_| panic!("`{argument}` has no number"));
        match name {
            "faulty" => only = Some(value),
            "numbers" => bound.numbers = value.into(),
            "views" => bound.views = value.into(),
            "lies" => bound.lies = value,
            "time_outs" => bound.time_outs = value,
            "final" => bound.tentative = false,
            "everywhere" => bound.completes_everywhere = true,
            _ => panic!("`{argument}` is nothing that a bound has"),
        }
    }
    println!("{bound:?}");
    for id in faulty().filter(|id| only.is_none_or(|only| only == id.0)) {
        let begin = Instant::now();
        let (counts, finding) = explore(bound, id);
        println!("replica {id} is faulty: {counts}; {:.1} s", begin.elapsed().as_secs_f64());
        if let Some(finding) = finding {
            println!("{finding}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
