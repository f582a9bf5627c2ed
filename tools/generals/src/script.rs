//! Scripts: what traitors say, message by message. What a script does not name, a traitor says as a loyal general would.
//!
//! ```text
//! # oral: whose word about whose word, to whom, and what; `-` is silence
//! 0 > 1: attack
//! 0.3 > 1: retreat
//! 0.3 > 2: -
//! # signed: in which round, the order with its signatures, by whom it is sent and to whom
//! round 2: retreat:0:3 from 3 > 1
//! # signed: what a loyal general would say is not said
//! round 2: - from 3 > 2
//! ```

use crate::oral::Path;
use crate::order::Order;
use crate::problem::General;

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// An oral message, or silence.
    Oral {
        /// Its path, the traitor last.
        path: Path,
        /// Its hearer.
        to: General,
        /// What it says.
        value: Option<Order>,
    },
    /// A signed message, or that none is sent.
    Signed {
        /// When it is sent, counted from 1.
        round: usize,
        /// Which traitor sends it.
        from: General,
        /// To whom.
        to: General,
        /// The order and who signed it, the commander first.
        order: Option<(Order, Path)>,
    },
}

/// What is wrong with a script.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the script, `{text}`: {what}")]
pub struct Unreadable {
    line: usize,
    text: String,
    what: String,
}

/// Reads a script.
///
/// # Errors
/// The first line that says nothing, and what it should look like.
pub fn parse(text: &str) -> Result<Vec<Line>, Unreadable> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let said = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    said.map(|(line, text)| read(text).map_err(|what| Unreadable { line, text: text.to_owned(), what })).collect()
}

fn read(line: &str) -> Result<Line, String> {
    let shape = "it should look like `0.3 > 1: retreat` or `round 2: retreat:0:3 from 3 > 1`";
    if let Some(rest) = line.strip_prefix("round ") {
        let (round, rest) = rest.split_once(": ").ok_or(shape)?;
        let (said, rest) = rest.split_once(" from ").ok_or(shape)?;
        let (from, to) = rest.split_once('>').ok_or(shape)?;
        let round = round.trim().parse().map_err(|_| format!("`{round}` is no round"))?;
        return Ok(Line::Signed { round, from: general(from)?, to: general(to)?, order: signed_order(said)? });
    }
    let (way, value) = line.split_once(':').ok_or(shape)?;
    let (path, to) = way.split_once('>').ok_or(shape)?;
    let path = path.split('.').map(general).collect::<Result<Path, String>>()?;
    let value = match value.trim() {
        "-" => None,
        word => Some(word.parse::<Order>().map_err(|error| error.to_string())?),
    };
    Ok(Line::Oral { path, to: general(to)?, value })
}

fn general(text: &str) -> Result<General, String> {
    text.trim().parse().map_err(|_| format!("`{}` is no general", text.trim()))
}

fn signed_order(text: &str) -> Result<Option<(Order, Path)>, String> {
    if text == "-" {
        return Ok(None);
    }
    let mut pieces = text.split(':');
    let order = pieces.next().unwrap_or_default().parse::<Order>().map_err(|error| error.to_string())?;
    let path = pieces.map(general).collect::<Result<Path, String>>()?;
    if path.first() != Some(&0) {
        return Err("an order is signed by the commander first: `attack:0:1`".to_owned());
    }
    Ok(Some((order, path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_say_messages() {
        let text =
            "# a comment\n\n0.3 > 1: retreat\n0 > 2: -\nround 2: retreat:0:3 from 3 > 1\nround 1: - from 0 > 2\n";
        let lines = parse(text).unwrap();
        assert_eq!(lines[0], Line::Oral { path: vec![0, 3], to: 1, value: Some(Order::RETREAT) });
        assert_eq!(lines[1], Line::Oral { path: vec![0], to: 2, value: None });
        let order = Some((Order::RETREAT, vec![0, 3]));
        assert_eq!(lines[2], Line::Signed { round: 2, from: 3, to: 1, order });
        assert_eq!(lines[3], Line::Signed { round: 1, from: 0, to: 2, order: None });
    }

    #[test]
    fn what_says_nothing_is_told() {
        for (text, what) in [
            ("nonsense", "it should look like"),
            ("0.x > 1: attack", "`x` is no general"),
            ("0 > 1: at tack", "`at tack` is no order"),
            ("round 1: attack:1 from 0 > 1", "signed by the commander first"),
            ("round one: attack:0 from 0 > 1", "`one` is no round"),
        ] {
            let error = parse(&format!("\n{text}")).unwrap_err().to_string();
            assert!(error.starts_with("line 2 of the script") && error.contains(what), "{error}");
        }
    }
}
