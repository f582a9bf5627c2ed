//! Scenario files: comments, commands, and under each command what it must say.
//!
//! ```text
//! # What the scenario shows.
//!
//! client 0 append "hello"
//! ----
//! 0ms
//!   c0 -> 0,1,2,3: request c0#1 "hello"
//! ```
//!
//! Commands on successive lines share one block. A blank line ends a block. `REWRITE=1` writes the blocks anew: review them as you would
//! review code.

use crate::scenario::command::Interpreter;
use std::path::Path;

/// How much of what was played is shown of a file that failed.
const TAIL_LINES: usize = 30;

/// Runs a file against its own text, or writes it anew.
///
/// # Errors
/// Where the output differs, or what went wrong, with the line.
pub fn check(path: &Path, rewrite: bool) -> Result<(), String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let (played, failure) = play(&text);
    if let Some(failure) = failure {
        let lines: Vec<&str> = played.lines().collect();
        return Err(format!("{failure}\nafter\n{}", lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")));
    }
    if rewrite {
        return std::fs::write(path, played).map_err(|error| error.to_string());
    }
    if played == text {
        return Ok(());
    }
    let mut lines = text.lines().zip(played.lines()).enumerate();
    let differs = lines.find(|(_, (wanted, found))| wanted != found);
    Err(match differs {
        Some((at, (wanted, found))) => {
            format!("line {}: the file has\n  {wanted}\nthe cluster says\n  {found}", at + 1)
        }
        None => "the file and what the cluster says differ in length".to_owned(),
    })
}

/// The whole text with the blocks as they turn out, and what went wrong.
fn play(text: &str) -> (String, Option<String>) {
    let mut interpreter = Interpreter::default();
    let mut played = String::new();
    let mut lines = text.lines().enumerate().peekable();
    let mut output: Option<String> = None;
    while let Some((at, line)) = lines.next() {
        if line == "----" {
            // The old block; the new one is written when its commands are over.
            while lines.next_if(|(_, line)| !line.is_empty()).is_some() {}
            continue;
        }
        let command = !line.is_empty() && !line.starts_with('#');
        if !command {
            interpreter.begin_block();
            end_block(&mut played, &mut output);
            played += line;
            played.push('\n');
            continue;
        }
        match interpreter.run(line) {
            Ok(said) => output.get_or_insert_default().push_str(&said),
            Err(failure) => {
                end_block(&mut played, &mut output);
                return (played, Some(format!("line {}, `{line}`: {failure}", at + 1)));
            }
        }
        played += line;
        played.push('\n');
    }
    end_block(&mut played, &mut output);
    (played, None)
}

fn end_block(played: &mut String, output: &mut Option<String>) {
    if let Some(said) = output.take() {
        played.push_str("----\n");
        played.push_str(if said.is_empty() { "ok\n" } else { &said });
    }
}
