//! Parameters of a query, compared without being copied.
//!
//! A query is forwarded as it was sent, so it has no normal form; only for a comparison it is decoded, as forms encode
//! it: `a=1&b=two+words`, with escapes (WHATWG URL, section 5.1).

/// Whether one of the parameter's occurrences in `query` has this value. `?a`, `?a=` and `?a=&b` all have `a` with the
/// empty value.
pub(super) fn has(query: &str, name: &str, value: &str) -> bool {
    query.split('&').any(|parameter| {
        let (sent_name, sent_value) = parameter.split_once('=').unwrap_or((parameter, ""));
        spells(sent_name, name) && spells(sent_value, value)
    })
}

/// The decoded value of the parameter's first occurrence.
pub fn parameter<'q>(query: &'q str, name: &str) -> Option<impl Iterator<Item = u8> + use<'q>> {
    let pairs = query.split('&').map(|parameter| parameter.split_once('=').unwrap_or((parameter, "")));
    let (_, value) = pairs.filter(|(sent, _)| !sent.is_empty()).find(|(sent, _)| spells(sent, name))?;
    Some(Decoded(value.as_bytes()))
}

/// Whether `encoded` stands for `plain`.
fn spells(encoded: &str, plain: &str) -> bool {
    Decoded(encoded.as_bytes()).eq(plain.bytes())
}

/// The bytes behind an encoded text. A `%` that opens no escape is itself.
struct Decoded<'a>(&'a [u8]);

impl Iterator for Decoded<'_> {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        let (byte, rest) = match self.0 {
            [] => return None,
            [b'+', rest @ ..] => (b' ', rest),
            [b'%', high, low, rest @ ..] => match escaped(*high, *low) {
                Some(byte) => (byte, rest),
                None => (b'%', &self.0[1..]),
            },
            [byte, rest @ ..] => (*byte, rest),
        };
        self.0 = rest;
        Some(byte)
    }
}

fn escaped(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_value_of_a_parameter() {
        let value =
            |query, name| parameter(query, name).map(|value| value.map(char::from).collect::<String>());
        assert_eq!(value("a=1&b=two+w%6frds&b=3", "b").as_deref(), Some("two words"));
        assert_eq!(value("a", "a").as_deref(), Some(""));
        assert_eq!(
            (value("a=1", "b"), value("", "b"), value("%62=x", "b").as_deref()),
            (None, None, Some("x"))
        );
    }

    #[test]
    fn one_occurrence_is_enough_however_it_is_spelt() {
        let cases: &[(&str, &str, &str, bool)] = &[
            ("a=1", "a", "1", true),
            ("b=2&a=1", "a", "1", true),
            ("a=2&a=1", "a", "1", true),
            ("a=2", "a", "1", false),
            ("aa=1", "a", "1", false),
            ("a=11", "a", "1", false),
            ("A=1", "a", "1", false),
            ("", "a", "", false),
            ("a", "a", "", true),
            ("a=", "a", "", true),
            ("x&a&y", "a", "", true),
            ("%61=%31", "a", "1", true),
            ("a=two+words", "a", "two words", true),
            ("a=two%20words", "a", "two words", true),
            ("a=1%2B1", "a", "1+1", true),
            ("a=1+1", "a", "1+1", false),
            ("a=b=c", "a", "b=c", true),
            ("a=%C3%a9", "a", "é", true),
            ("a=%26", "a", "&", true),
            ("a=%2531", "a", "%31", true),
            ("a=%", "a", "%", true),
            ("a=%3", "a", "%3", true),
            ("a=%zz", "a", "%zz", true),
            ("a=%%31", "a", "%1", true),
        ];
        for (query, name, value, expected) in cases {
            assert_eq!(has(query, name, value), *expected, "{query}: {name}={value}");
        }
    }
}
