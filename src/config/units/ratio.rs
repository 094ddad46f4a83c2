//! `20%`.
//!
//! A bare `0.2` or `20` would leave it to the reader whether a fifth or twenty times is meant.

use crate::config::units::{Misfit, Unit, as_text};

/// A share of a whole, in percent: 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ratio(u8);

impl Ratio {
    /// For defaults; more than the whole becomes the whole.
    pub const fn from_percent(percent: u8) -> Ratio {
        Ratio(if percent > 100 { 100 } else { percent })
    }

    /// In percent.
    pub const fn percent(self) -> u8 {
        self.0
    }
}

impl Unit for Ratio {
    const FORMAT: &'static str = "tetap-ratio";
    const EXPECTED: &'static str = "a share in whole percent such as 20%, at most 100%";
    const PATTERN: &'static str = "[0-9]+%";

    fn read(text: &str) -> Result<Ratio, Misfit> {
        let Some(digits) = text.strip_suffix('%') else { return Err(guess(text)) };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Misfit::plain());
        }
        match digits.parse() {
            Ok(percent) if percent <= 100 => Ok(Ratio(percent)),
            _ => Err(Misfit::because("more than the whole")),
        }
    }

    fn write(&self) -> String {
        format!("{}%", self.0)
    }
}

as_text!(Ratio);

/// `0.2` and `20` were meant as 20 %.
fn guess(text: &str) -> Misfit {
    let percent = match text.parse::<f64>() {
        Ok(share) if share > 0.0 && share <= 1.0 && text.contains('.') => share * 100.0,
        Ok(percent) if (0.0..=100.0).contains(&percent) && !text.contains('.') => percent,
        _ => return Misfit::plain(),
    };
    Misfit::because("no %").suggest(format!("{}%", percent.round()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::units::assert_reads;

    #[test]
    fn ratios_are_read_and_written() {
        assert_reads::<Ratio>(
            &[("0%", "0%"), ("20%", "20%"), ("100%", "100%"), ("007%", "7%")],
            &["", "%", "20", "0.2", "101%", "300%", "-1%", "20 %", "2.5%", "+5%", "20%%"],
        );
    }

    #[test]
    fn what_was_meant_is_told() {
        for (text, meant) in [("0.2", "20%"), ("20", "20%"), ("1.0", "100%")] {
            assert_eq!(Ratio::read(text).unwrap_err().suggestion.as_deref(), Some(meant), "{text}");
        }
        assert_eq!(Ratio::read("150").unwrap_err(), Misfit::plain());
    }
}
