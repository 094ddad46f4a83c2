//! `200-299`: statuses of answers, as a range. A 1xx is never the last word.

use crate::config::units::{Misfit, Unit, as_text};

/// Statuses from one to another, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

impl Unit for StatusRange {
    const FORMAT: &'static str = "tetap-status-range";
    const EXPECTED: &'static str = "a range of statuses such as 200-299";
    const PATTERN: &'static str = "[2-5][0-9]{2}-[2-5][0-9]{2}";

    fn read(text: &str) -> Result<StatusRange, Misfit> {
        let (first, last) = text.split_once('-').ok_or_else(|| guess(text))?;
        match (status(first), status(last)) {
            (Some(first), Some(last)) if first <= last => Ok(StatusRange { first, last }),
            (Some(_), Some(_)) => {
                Err(Misfit::because("it ends before it begins").suggest(format!("{last}-{first}")))
            }
            _ => Err(Misfit::because("statuses have three digits, from 200 to 599")),
        }
    }

    fn write(&self) -> String {
        format!("{}-{}", self.first, self.last)
    }
}

as_text!(StatusRange);

fn status(text: &str) -> Option<u16> {
    let digits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|status| digits && (200..=599).contains(status))
}

/// `2xx` is how people say it.
fn guess(text: &str) -> Misfit {
    match text.to_ascii_lowercase().as_bytes() {
        [class @ b'2'..=b'5', b'x', b'x'] => {
            let class = char::from(*class);
            Misfit::plain().suggest(format!("{class}00-{class}99"))
        }
        _ => Misfit::plain(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::units::assert_reads;

    #[test]
    fn ranges_are_read_and_written() {
        assert_reads::<StatusRange>(
            &[("200-299", "200-299"), ("204-204", "204-204")],
            &["", "200", "2xx", "299-200", "99-200", "200-600", "200-", "-200", "200 - 299", "2000-2999"],
        );
        assert_eq!(StatusRange::read("2xx").unwrap_err().suggestion.as_deref(), Some("200-299"));
    }
}
