//! What `inspect` knows of each kind of file: [`journal`], [`checkpoint`], and captured [`packets`], which [`capture`]
//! takes out of a file's layers. Everything here reads and prints; a failure says what does not verify.

pub mod capture;
pub mod checkpoint;
pub mod journal;
pub mod packets;

use std::collections::BTreeMap;

/// How often each name came, as words.
fn counted<N: AsRef<str>>(counts: &BTreeMap<N, u64>) -> String {
    let each: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {}", name.as_ref())).collect();
    if each.is_empty() { String::from("none") } else { each.join(", ") }
}
