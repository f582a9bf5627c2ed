//! Values of options that several commands take.

use std::time::Duration;

/// Reads a time such as `5s`, `250ms`, `100us` or `2m`; a fraction is allowed.
///
/// # Errors
///
/// What is wanted instead.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|character: char| !character.is_ascii_digit() && character != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let scale = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        _ => return Err(String::from("write a number with a unit: us, ms, s or m, such as 5s")),
    };
    let number: f64 = number.parse().map_err(|_| String::from("write a number with a unit, such as 5s or 250ms"))?;
    Duration::try_from_secs_f64(number * scale).map_err(|_| String::from("is too long"))
}

/// Reads the rate of an open loop.
///
/// # Errors
///
/// What is wanted instead.
pub fn parse_rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(rate),
        _ => Err(String::from("write a positive number of operations a second")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_units() {
        for (text, millis) in
            [("5s", 5000.0), ("250ms", 250.0), ("1.5s", 1500.0), ("2m", 120_000.0), ("100us", 0.1), ("0s", 0.0)]
        {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_secs_f64(millis / 1e3), "{text}");
        }
        for text in ["", "5", "s", "-1s", "5h", "1..2s", "5 s", "99999999999999999999s"] {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }
    #[test]
    fn rates_are_positive() {
        assert_eq!(parse_rate("2500"), Ok(2500.0));
        for text in ["0", "-1", "inf", "NaN", "many"] {
            assert!(parse_rate(text).is_err(), "{text}");
        }
    }
}
