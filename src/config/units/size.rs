//! `64KiB`, `1MiB`.
//!
//! `KB` is a thousand to some and 1024 to others; the names of IEC 80000-13 are neither long nor ambiguous.

use crate::config::units::{Misfit, Unit, as_text};

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

const UNITS: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
const LARGEST: u64 = 1 << 50;

impl Size {
    /// For defaults.
    pub const fn from_bytes(bytes: u64) -> Size {
        Size(bytes)
    }

    /// The number of bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl Unit for Size {
    const FORMAT: &'static str = "tetap-size";
    const EXPECTED: &'static str = "a size such as 512B, 64KiB, 1MiB or 1GiB";
    const PATTERN: &'static str = "[0-9]+([KMG]i)?B";

    fn read(text: &str) -> Result<Size, Misfit> {
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let factor = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor);
        let factor = factor.ok_or_else(|| guess(number, unit))?;
        let number: u64 = number.parse().map_err(|_| Misfit::plain())?;
        match number.checked_mul(factor).filter(|bytes| *bytes <= LARGEST) {
            Some(bytes) => Ok(Size(bytes)),
            None => Err(Misfit::because("over a million GiB")),
        }
    }

    fn write(&self) -> String {
        let fits = UNITS.iter().rev().find(|(_, factor)| self.0 > 0 && self.0.is_multiple_of(*factor));
        let (unit, factor) = fits.unwrap_or(&UNITS[0]);
        format!("{}{unit}", self.0 / factor)
    }
}

as_text!(Size);

fn guess(number: &str, unit: &str) -> Misfit {
    let unit = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" | "bytes" => "B",
        "k" | "kb" | "ki" | "kib" => "KiB",
        "m" | "mb" | "mi" | "mib" => "MiB",
        "g" | "gb" | "gi" | "gib" => "GiB",
        _ => return Misfit::plain(),
    };
    if number.is_empty() { Misfit::plain() } else { Misfit::plain().suggest(format!("{number}{unit}")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::units::assert_reads;

    #[test]
    fn sizes_are_read_and_written() {
        assert_reads::<Size>(
            &[("0B", "0B"), ("512B", "512B"), ("64KiB", "64KiB"), ("1024KiB", "1MiB"), ("2GiB", "2GiB")],
            &[
                "",
                "5",
                "KiB",
                "5 KiB",
                "-5B",
                "1.5MiB",
                "1KB",
                "1kib",
                "99999999999GiB",
                "18446744073709551615GiB",
            ],
        );
    }

    #[test]
    fn a_missing_or_misspelt_unit_is_guessed() {
        for (text, meant) in [("5", "5B"), ("64k", "64KiB"), ("64KB", "64KiB"), ("1 mb", "1MiB")] {
            assert_eq!(Size::read(text), Err(Misfit::plain().suggest(meant)), "{text}");
        }
    }
}
