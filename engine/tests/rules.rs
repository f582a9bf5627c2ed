//! `engine/docs/protocol.md` and the code cannot drift apart: each rule is defined once, each citation names a rule that exists, and each
//! rule is cited where it is obeyed and where a test shows it.
//!
//! A rule is defined by a heading such as `### NC-3. A backup holds a proposal`. A citation is the rule's number in a source, a test or a
//! scenario; `NC-3` to `NC-5`, written with "to", cites those between as well.

mod sources;

use sources::{Source, parts, root, sources};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// A family of rules and a number in it.
type Rule = (String, u32);

/// The rule that a word begins with, and the length of its number in bytes: two capitals, a hyphen, digits.
fn rule_at(word: &str) -> Option<(Rule, usize)> {
    let (family, rest) = word.split_at_checked(2)?;
    let digits = rest.strip_prefix('-')?;
    let count = digits.bytes().take_while(u8::is_ascii_digit).count();
    let number = digits[..count].parse().ok()?;
    family.bytes().all(|byte| byte.is_ascii_uppercase()).then(|| ((family.to_owned(), number), 3 + count))
}

/// All rules that a text names, ranges written out.
fn rules_named(text: &str) -> Vec<Rule> {
    let mut rules: Vec<Rule> = Vec::new();
    let (mut at, mut end_before) = (0, 0);
    while at < text.len() {
        let begins = text.is_char_boundary(at)
            && !text[..at].ends_with(|before: char| before.is_alphanumeric() || before == '-' || before == '_');
        let Some((rule, length)) = begins.then(|| rule_at(&text[at..])).flatten() else {
            at += 1;
            continue;
        };
        let between = text[end_before..at].trim_matches(|c: char| c == '`' || c == '*' || c.is_whitespace());
        let range = match rules.last() {
            Some(first) if between == "to" && first.0 == rule.0 => first.1 + 1..rule.1,
            _ => 0..0,
        };
        rules.extend(range.map(|number| (rule.0.clone(), number)));
        rules.push(rule);
        at += length;
        end_before = at;
    }
    rules
}

fn protocol() -> String {
    fs::read_to_string(root().join("engine/docs/protocol.md")).unwrap()
}

fn defined() -> BTreeMap<Rule, usize> {
    let mut defined = BTreeMap::new();
    for heading in protocol().lines().filter_map(|line| line.strip_prefix("### ")) {
        let (rule, length) = rule_at(heading).unwrap_or_else(|| panic!("`### {heading}` is no rule's heading"));
        assert!(heading[length..].starts_with(". "), "`### {heading}`: a rule's number is followed by a full stop");
        *defined.entry(rule).or_default() += 1;
    }
    defined
}

/// Every citation, with the files in which it stands.
fn cited() -> BTreeMap<Rule, Vec<PathBuf>> {
    let mut cited: BTreeMap<Rule, Vec<PathBuf>> = BTreeMap::new();
    for Source { path, program, tests } in sources() {
        for rule in rules_named(&program).into_iter().chain(rules_named(&tests)) {
            cited.entry(rule).or_default().push(path.clone());
        }
    }
    cited
}

/// The rules that no text has.
fn uncited<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<String> {
    let cited: BTreeSet<Rule> = texts.flat_map(rules_named).collect();
    defined().keys().filter(|rule| !cited.contains(*rule)).map(|rule| format!("{}-{}", rule.0, rule.1)).collect()
}

#[test]
fn rules_are_defined_once_and_numbered_without_gaps() {
    let defined = defined();
    for ((family, number), times) in &defined {
        assert_eq!(*times, 1, "{family}-{number} is defined {times} times in protocol.md");
        let before = (family.clone(), number - 1);
        assert!(
            *number == 1 || defined.contains_key(&before),
            "{family}-{number} is defined, {family}-{} is not",
            before.1
        );
    }
}

#[test]
fn rules_that_are_cited_are_defined() {
    let defined = defined();
    // Other names have the same shape; a family that no rule belongs to is one of those.
    let known = |rule: &Rule| !defined.keys().any(|defined| defined.0 == rule.0) || defined.contains_key(rule);
    for (rule, files) in cited() {
        assert!(known(&rule), "{}-{} is cited in {files:?} and not defined", rule.0, rule.1);
    }
    for rule in rules_named(&protocol()) {
        assert!(known(&rule), "protocol.md names {}-{}, which it does not define", rule.0, rule.1);
    }
}

#[test]
fn rules_that_are_defined_are_cited_where_they_are_obeyed() {
    let sources = sources();
    let uncited = uncited(sources.iter().map(|source| &source.program[..]));
    assert!(uncited.is_empty(), "cited in no source: {uncited:?}");
}

#[test]
fn rules_that_are_defined_are_cited_where_they_are_shown() {
    let sources = sources();
    let uncited = uncited(sources.iter().map(|source| &source.tests[..]));
    assert!(uncited.is_empty(), "cited in no test and no scenario: {uncited:?}");
}

#[test]
fn citations_are_found_in_a_text() {
    let rule = |family: &str, number| (family.to_owned(), number);
    let text = "(`protocol.md NC-3` to `NC-5`, `PK-12`), not AES-256, X-1, UTF-8, pre-PK-1 or NC-x";
    assert_eq!(rules_named(text), [rule("NC", 3), rule("NC", 4), rule("NC", 5), rule("PK", 12)]);
}

#[test]
fn tests_are_told_from_the_program() {
    let text = "\
/// NC-1
fn rule() {}

#[cfg(test)]
/// NC-2
mod tests {
    #[test]
    fn a() {
    }
    // NC-3
}

// NC-4
impl Thing {
    #[cfg(test)]
    fn b() {
        // NC-5
    }

    // NC-6
    fn c() {}
}
#[cfg(all(test, not(loom)))]
mod elsewhere;
// NC-7
#[cfg(any(not(loom), test))]
mod both; // NC-8
";
    let (program, tests) = parts(text);
    let numbers = |text: &str| rules_named(text).into_iter().map(|rule| rule.1).collect::<Vec<_>>();
    assert_eq!((numbers(&program), numbers(&tests)), (vec![1, 4, 6, 7, 8], vec![2, 3, 5]));
    assert!(tests.contains("mod elsewhere;"));
}
