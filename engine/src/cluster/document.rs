//! A TOML file whose values know their lines.
//!
//! Keys are taken from a [`Section`] one by one; what is left when the reader is done is unknown and refused, with the
//! nearest known key as a suggestion. Values are read with their types; whether they make sense together is checked by
//! the owner of the file, whose [`Fault`]s [`Document::locate`] puts on their lines.

use super::{ConfigError, Fault, SettingError};
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A parsed file.
pub(super) struct Document<'a> {
    file: &'a Path,
    /// Line of every key, by its path (`replica[2].address`).
    lines: BTreeMap<String, usize>,
    root: DeTable<'a>,
}

/// One table of a file, while its keys are being taken.
pub(super) struct Section<'d, 'a> {
    document: &'d Document<'a>,
    table: &'d DeTable<'a>,
    /// What stands before a key of this table: empty, `multicast.` or `replica[2].`.
    prefix: String,
    /// The keys that the reader asked for, present or not.
    known: Vec<&'static str>,
}

impl<'a> Document<'a> {
    /// Parses `text`, which was read from `file`.
    pub(super) fn parse(file: &'a Path, text: &'a str) -> Result<Self, ConfigError> {
        let root = DeTable::parse(text).map_err(|error| {
            let line = error.span().map(|span| line_at(text, span.start));
            let problem = format!("not valid TOML: {}", error.message().replace('\n', ", "));
            Fault::of_file(problem, "correct the line").at(file, line)
        })?;
        let root = root.into_inner();
        let mut lines = BTreeMap::new();
        collect_lines(text, "", &root, &mut lines);
        Ok(Self { file, lines, root })
    }

    /// The table of the keys outside all others.
    pub(super) fn root(&self) -> Section<'_, 'a> {
        Section { document: self, table: &self.root, prefix: String::new(), known: Vec::new() }
    }

    /// Puts a fault on the line of its key.
    pub(super) fn locate(&self, fault: Fault) -> ConfigError {
        let line = self.lines.get(&fault.key).copied();
        fault.at(self.file, line)
    }
}

impl<'d, 'a> Section<'d, 'a> {
    /// The path of `key` in the file.
    fn path(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    fn take(&mut self, key: &'static str) -> Option<&'d DeValue<'a>> {
        self.known.push(key);
        self.table.get(key).map(Spanned::get_ref)
    }

    /// Refuses the value of `key`.
    pub(super) fn refuse(
        &self,
        key: &str,
        value: impl fmt::Display,
        problem: impl Into<String>,
        mend: impl Into<String>,
    ) -> ConfigError {
        self.document.locate(Fault::new(self.path(key), value, problem, mend))
    }

    fn refuse_type(&self, key: &str, value: &DeValue<'_>, wanted: &str) -> ConfigError {
        let problem = format!("is {} where {wanted} is wanted", describe(value));
        self.refuse(key, "", problem, format!("write {wanted}"))
    }

    /// `value`, or the error that `key` is missing.
    pub(super) fn required<T>(&self, key: &str, value: Option<T>) -> Result<T, ConfigError> {
        value.ok_or_else(|| {
            let mut fault = Fault::new(self.path(key), "", "is missing", "add it");
            // The key has no line; its table may have one.
            let table = self.prefix.trim_end_matches('.');
            let line = self.document.lines.get(table).copied();
            if self.prefix.is_empty() {
                fault.mend = String::from("add it above the first [table]");
            }
            fault.at(self.document.file, line)
        })
    }

    /// A number that is not negative and fits `T`.
    pub(super) fn integer<T: TryFrom<u64>>(&mut self, key: &'static str) -> Result<Option<T>, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let DeValue::Integer(integer) = value else {
            return Err(self.refuse_type(key, value, "a number"));
        };
        u64::from_str_radix(integer.as_str(), integer.radix())
            .ok()
            .and_then(|number| T::try_from(number).ok())
            .map(Some)
            .ok_or_else(|| {
                self.refuse(key, integer, "is out of range", format!("write a number from 0 to {}", largest::<T>()))
            })
    }

    /// A list of numbers that are not negative and fit `T`.
    pub(super) fn integers<T: TryFrom<u64>>(&mut self, key: &'static str) -> Result<Option<Vec<T>>, ConfigError> {
        let Some(value) = self.take(key) else {
            return Ok(None);
        };
        let DeValue::Array(array) = value else {
            return Err(self.refuse_type(key, value, "a list of numbers"));
        };
        let numbers = array.iter().map(|item| match item.get_ref() {
            DeValue::Integer(integer) => u64::from_str_radix(integer.as_str(), integer.radix())
                .ok()
                .and_then(|number| T::try_from(number).ok())
                .ok_or_else(|| {
                    self.refuse(key, integer, "is out of range", format!("write numbers from 0 to {}", largest::<T>()))
                }),
            other => Err(self.refuse_type(key, other, "a list of numbers")),
        });
        numbers.collect::<Result<_, _>>().map(Some)
    }

    /// A text.
    pub(super) fn text(&mut self, key: &'static str) -> Result<Option<&'d str>, ConfigError> {
        match self.take(key) {
            None => Ok(None),
            Some(DeValue::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.refuse_type(key, other, "a text in quotes")),
        }
    }

    /// A text that means a `T`; `wanted` says what such a text looks like.
    pub(super) fn parsed<T: FromStr>(&mut self, key: &'static str, wanted: &str) -> Result<Option<T>, ConfigError>
    where
        T::Err: fmt::Display,
    {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|error: T::Err| {
            let quoted = format!("\"{}\"", text.escape_default());
            self.refuse(key, quoted, error.to_string(), format!("write {wanted}"))
        })
    }

    /// A name out of a fixed choice.
    pub(super) fn named<T: FromStr<Err = SettingError>>(
        &mut self,
        key: &'static str,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.text(key)? else {
            return Ok(None);
        };
        text.parse().map(Some).map_err(|error| {
            let (problem, choices) = match error {
                SettingError::NotBuilt { choices, .. } => ("is not built yet", choices),
                SettingError::Unknown { choices, .. } => ("is not known", choices),
            };
            let quoted = format!("\"{}\"", text.escape_default());
            self.refuse(key, quoted, problem, format!("use one of: {choices}"))
        })
    }

    /// The table `[key]`.
    pub(super) fn table(&mut self, key: &'static str) -> Result<Option<Section<'d, 'a>>, ConfigError> {
        match self.take(key) {
            None => Ok(None),
            Some(DeValue::Table(table)) => Ok(Some(Section {
                document: self.document,
                table,
                prefix: format!("{}.", self.path(key)),
                known: Vec::new(),
            })),
            Some(other) => Err(self.refuse_type(key, other, &format!("a table [{key}]"))),
        }
    }

    /// The tables `[[key]]`, in the order of the file.
    pub(super) fn tables(&mut self, key: &'static str) -> Result<Vec<Section<'d, 'a>>, ConfigError> {
        let wanted = format!("tables [[{key}]]");
        let array = match self.take(key) {
            None => return Ok(Vec::new()),
            Some(DeValue::Array(array)) => array,
            Some(other) => return Err(self.refuse_type(key, other, &wanted)),
        };
        let sections = array.iter().enumerate().map(|(index, item)| match item.get_ref() {
            DeValue::Table(table) => Ok(Section {
                document: self.document,
                table,
                prefix: format!("{}[{index}].", self.path(key)),
                known: Vec::new(),
            }),
            other => Err(self.refuse_type(key, other, &wanted)),
        });
        sections.collect()
    }

    /// Refuses every key that nobody asked for.
    pub(super) fn finish(self) -> Result<(), ConfigError> {
        let unknown = self.table.iter().map(|(key, _)| key.get_ref().as_ref()).find(|key| !self.known.contains(key));
        let Some(unknown) = unknown else {
            return Ok(());
        };
        let nearest =
            self.known.iter().map(|known| (distance(unknown, known), *known)).min().filter(|(edits, _)| *edits <= 3);
        let mend = match nearest {
            Some((_, known)) => format!("did you mean \"{known}\"?"),
            None => format!("remove it; the keys here are: {}", self.known.to_vec().join(", ")),
        };
        Err(self.refuse(unknown, "", "is not a known key", mend))
    }
}

/// The largest number that a setting of type `T` can hold.
fn largest<T: TryFrom<u64>>() -> u64 {
    [u64::from(u8::MAX), u64::from(u16::MAX), u64::from(u32::MAX)]
        .into_iter()
        .find(|bound| T::try_from(bound + 1).is_err())
        .unwrap_or(u64::MAX)
}

/// What a value is, for a message about its type.
fn describe(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "a truth value",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The line, counted from 1, that holds the byte at `offset`.
fn line_at(text: &str, offset: usize) -> usize {
    let before = &text.as_bytes()[..offset.min(text.len())];
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

fn collect_lines(text: &str, prefix: &str, table: &DeTable<'_>, lines: &mut BTreeMap<String, usize>) {
    for (key, value) in table {
        let path = format!("{prefix}{}", key.get_ref());
        lines.insert(path.clone(), line_at(text, key.span().start));
        match value.get_ref() {
            DeValue::Table(inner) => collect_lines(text, &format!("{path}."), inner, lines),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    let path = format!("{path}[{index}]");
                    lines.insert(path.clone(), line_at(text, item.span().start));
                    if let DeValue::Table(inner) = item.get_ref() {
                        collect_lines(text, &format!("{path}."), inner, lines);
                    }
                }
            }
            _ => {}
        }
    }
}

/// The number of single-character edits between two keys (Levenshtein), for suggestions.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut previous: Vec<usize> = (0..=right.len()).collect();
    for (row, character) in left.chars().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in right.iter().enumerate() {
            let replaced = previous[column] + usize::from(character != *other);
            current.push(replaced.min(previous[column + 1] + 1).min(current[column] + 1));
        }
        previous = current;
    }
    previous[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault_of(text: &str, read: impl Fn(&mut Section<'_, '_>) -> Result<(), ConfigError>) -> String {
        let document = match Document::parse(Path::new("x.toml"), text) {
            Ok(document) => document,
            Err(error) => return error.to_string(),
        };
        let mut section = document.root();
        match read(&mut section).and_then(|()| section.finish()) {
            Ok(()) => String::from("fine"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn each_fault_of_form_names_line_and_mend() {
        let number = |section: &mut Section<'_, '_>| section.integer::<u8>("depth").map(drop);
        for (text, wanted) in [
            ("depth = 8", "fine"),
            ("depth = 0x10", "fine"),
            ("", "fine"),
            ("\ndepth = 256", "x.toml:2: depth = 256: is out of range; write a number from 0 to 255"),
            ("depth = -1", "x.toml:1: depth = -1: is out of range; write a number from 0 to 255"),
            ("depth = \"8\"", "x.toml:1: depth: is a text where a number is wanted; write a number"),
            ("# a\n# b\ndeepth = 8", "x.toml:3: deepth: is not a known key; did you mean \"depth\"?"),
            ("something_else = 8", "x.toml:1: something_else: is not a known key; remove it; the keys here are: depth"),
        ] {
            assert_eq!(fault_of(text, number), wanted, "{text}");
        }
        let broken = fault_of("depth = 1\ndepth = ", number);
        assert!(broken.starts_with("x.toml:2: not valid TOML: "), "{broken}");
    }

    #[test]
    fn a_missing_key_names_its_table() {
        let text = "\n[multicast]\n";
        let document = Document::parse(Path::new("x.toml"), text).unwrap();
        let mut root = document.root();
        let missing = root.integer::<u8>("faults").unwrap();
        assert_eq!(
            root.required("faults", missing).unwrap_err().to_string(),
            "x.toml: faults: is missing; add it above the first [table]"
        );
        let mut section = root.table("multicast").unwrap().unwrap();
        let missing = section.text("group").unwrap();
        assert_eq!(
            section.required("group", missing).unwrap_err().to_string(),
            "x.toml:2: multicast.group: is missing; add it"
        );
    }

    #[test]
    fn lists_are_checked_item_by_item() {
        let cores = |section: &mut Section<'_, '_>| section.integers::<u16>("cores").map(drop);
        assert_eq!(fault_of("cores = [1, 2]", cores), "fine");
        assert_eq!(
            fault_of("cores = [1, 70000]", cores),
            "x.toml:1: cores = 70000: is out of range; write numbers from 0 to 65535"
        );
        assert_eq!(
            fault_of("cores = [1, true]", cores),
            "x.toml:1: cores: is a truth value where a list of numbers is wanted; write a list of numbers"
        );
    }

    #[test]
    fn edit_distances() {
        for (left, right, edits) in [("", "", 0), ("a", "", 1), ("journal", "jurnal", 1), ("abc", "xyz", 3)] {
            assert_eq!(distance(left, right), edits);
        }
    }
}
