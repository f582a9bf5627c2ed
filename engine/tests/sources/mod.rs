//! The sources of the workspace as text, told apart: what the program is made of, and what tests it.
//!
//! A test is a file under a crate's `tests`, a scenario, an item under `#[cfg(test)]`, and a file that is such an item's
//! module.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The crates, from the root of the workspace.
const CRATES: [&str; 7] =
    ["crypto", "transport", "engine", "engine/client", "bench", "tools/logothete", "tools/simulator"];

/// The crate whose sources are a test: of the engine.
const TEST_CRATE: &str = "tools/simulator";

/// The root of the workspace.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A file: `program` and `tests` are its two parts, either of which may be empty.
pub struct Source {
    /// From the root of the workspace.
    pub path: PathBuf,
    /// What is compiled into the program.
    pub program: String,
    /// What tests it.
    pub tests: String,
}

/// All sources and scenarios. The tests of this folder that are about documents are left out: what they name is made up.
pub fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    for krate in CRATES {
        let folder = root().join(krate);
        let mut test_modules = BTreeSet::new();
        let mut of_program: Vec<(PathBuf, (String, String))> = Vec::new();
        for path in files(&folder.join("src")) {
            let text = fs::read_to_string(&path).unwrap();
            let (program, tests) = parts(&text);
            test_modules.extend(modules(&path, &tests));
            of_program.push((path, (program, tests)));
        }
        let is_test = |path: &Path| path.ancestors().any(|above| test_modules.contains(above));
        for (path, (program, tests)) in of_program {
            let (program, tests) = if krate == TEST_CRATE || is_test(&path) {
                (String::new(), program + &tests)
            } else {
                (program, tests)
            };
            sources.push(Source { path: from_root(&path), program, tests });
        }
        for path in files(&folder.join("tests")).into_iter().filter(|path| !is_about_documents(path)) {
            let tests = fs::read_to_string(&path).unwrap();
            sources.push(Source { path: from_root(&path), program: String::new(), tests });
        }
    }
    assert!(sources.len() > 200, "the sources are where they are looked for");
    sources
}

fn is_about_documents(path: &Path) -> bool {
    ["rules.rs", "documents.rs", "sources/mod.rs"].iter().any(|own| path.ends_with(Path::new("engine/tests").join(own)))
}

fn from_root(path: &Path) -> PathBuf {
    path.strip_prefix(root()).unwrap().to_owned()
}

/// All sources and scenarios below a folder, which need not be there.
fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut waiting) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs" || extension == "txt") && path.exists() {
            files.push(path);
        }
    }
    files
}

/// What a source has outside of items under `#[cfg(test)]`, and what it has in them. An item ends where rustfmt puts its
/// end: at a line that closes it as far indented as it began, or with its first line.
pub fn parts(text: &str) -> (String, String) {
    let (mut program, mut tests) = (String::new(), String::new());
    let mut indentation: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let content = line.trim();
        let begins = line.len() - line.trim_start().len();
        if indentation.is_none() && (content.starts_with("#[cfg(test)]") || content.starts_with("#[cfg(all(test,")) {
            indentation = Some(begins);
        }
        match indentation {
            None => program.push_str(line),
            Some(item) => {
                tests.push_str(line);
                let is_attribute = content.starts_with('#') || content.starts_with("//");
                let closes = content.ends_with([';', '}', ',']);
                if begins == item && closes && !is_attribute {
                    indentation = None;
                }
            }
        }
    }
    (program, tests)
}

/// The files and folders of the modules that `tests`, the tests of a source, names without having them in it.
fn modules(path: &Path, tests: &str) -> Vec<PathBuf> {
    let folder = path.parent().unwrap();
    let stem = path.file_stem().unwrap();
    let below =
        if ["mod", "lib", "main"].iter().any(|own| stem == *own) { folder.to_owned() } else { folder.join(stem) };
    let mut modules = Vec::new();
    let mut elsewhere = None;
    for line in tests.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix("#[path = \"").and_then(|rest| rest.strip_suffix("\"]")) {
            elsewhere = Some(folder.join(name));
        } else if let Some(name) = line.strip_suffix(';').and_then(|line| line.split_once("mod ")).map(|(_, name)| name)
        {
            match elsewhere.take() {
                Some(path) => modules.push(path),
                None => modules.extend([below.join(name), below.join(format!("{name}.rs"))]),
            }
        }
    }
    modules
}
