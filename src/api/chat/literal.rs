//! A string of JSON, where it stands.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::ops::Range;

/// What stands between the quotes of a JSON string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Literal<'b>(&'b str);

impl<'b> Literal<'b> {
    /// The literal of `"…"`, a string that a JSON parser has let pass.
    pub(super) fn quoted(text: &'b str) -> Option<Self> {
        text.strip_prefix('"')?.strip_suffix('"').map(Self)
    }

    /// The literal that stands at `range` of `body`.
    pub(in super::super) fn at(body: &'b str, range: &Range<usize>) -> Self {
        Self(body.get(range.clone()).unwrap_or_default())
    }

    /// Where it stands in `body`, of which it is a part.
    pub(in super::super) fn range(self, body: &str) -> Range<usize> {
        let start = self.0.as_ptr() as usize - body.as_ptr() as usize;
        start..start + self.0.len()
    }

    /// What it says. Halves of surrogate pairs, which no text can hold, are U+FFFD.
    pub(in super::super) fn decode(self) -> Cow<'b, str> {
        if !self.0.contains('\\') {
            return Cow::Borrowed(self.0);
        }
        Cow::Owned(Units(self.0).map(|(_, c)| c).collect())
    }

    /// The edits to `body`, of which it is a part, that put `replacements` (by bytes of what it says, in
    /// order) in their places; all other bytes stay.
    pub(in super::super) fn edits<'r>(
        self,
        body: &str,
        replacements: impl IntoIterator<Item = (Range<usize>, &'r str)>,
    ) -> Vec<Edit> {
        let start = self.range(body).start;
        let mut units = Units(self.0);
        // Where the next unit stands, in what is said and in the literal.
        let (mut said, mut raw) = (0, 0);
        let mut reach = |to: usize| {
            while said < to
                && let Some((length, c)) = units.next()
            {
                said += c.len_utf8();
                raw += length;
            }
            raw
        };
        replacements
            .into_iter()
            .map(|(span, text)| Edit {
                range: start + reach(span.start)..start + reach(span.end),
                text: escape(text),
            })
            .collect()
    }
}

/// Bytes of a body, and what to put in their place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Edit {
    pub(super) range: Range<usize>,
    pub(super) text: String,
}

impl Edit {
    /// Makes a string of `digits`, a number in `body`, with `replacements` in it.
    pub(super) fn quote(body: &str, digits: &str, replacements: &[(Range<usize>, &str)]) -> Self {
        let start = digits.as_ptr() as usize - body.as_ptr() as usize;
        let mut text = digits.to_owned();
        for (span, replacement) in replacements.iter().rev() {
            text.replace_range(span.clone(), replacement);
        }
        Self {
            range: start..start + digits.len(),
            text: format!("\"{}\"", escape(&text)),
        }
    }

    /// The same edit, of a body in which this one stands behind `bytes` others.
    pub(super) fn behind(self, bytes: usize) -> Self {
        Self {
            range: self.range.start + bytes..self.range.end + bytes,
            ..self
        }
    }

    /// Puts `null` in the place of a value of `body`.
    pub(in super::super) fn silence(body: &str, value: &str) -> Self {
        let start = value.as_ptr() as usize - body.as_ptr() as usize;
        Self {
            range: start..start + value.len(),
            text: "null".into(),
        }
    }
}

/// `body` with `edits`; of those that overlap, with the first and longest.
pub(in super::super) fn apply(body: &str, mut edits: Vec<Edit>) -> String {
    edits.sort_by_key(|e| (e.range.start, Reverse(e.range.end)));
    let mut out = String::with_capacity(body.len());
    let mut at = 0;
    for Edit { range, text } in edits {
        if range.start >= at {
            out.push_str(body.get(at..range.start).unwrap_or_default());
            out.push_str(&text);
        }
        at = at.max(range.end);
    }
    out.push_str(body.get(at..).unwrap_or_default());
    out
}

/// `text` as it stands between quotes.
fn escape(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

/// The characters of a literal, each with the bytes it takes there.
struct Units<'b>(&'b str);

impl Iterator for Units<'_> {
    type Item = (usize, char);

    fn next(&mut self) -> Option<Self::Item> {
        let c = self.0.chars().next()?;
        let (length, c) = match c {
            '\\' => escaped(self.0.as_bytes()),
            c => (c.len_utf8(), c),
        };
        self.0 = self.0.get(length..).unwrap_or_default();
        Some((length, c))
    }
}

/// The escape that `bytes` begins with: its length and what it stands for.
fn escaped(bytes: &[u8]) -> (usize, char) {
    let c = match bytes.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => {
            let Some(first) = code_unit(bytes) else {
                return (2, char::REPLACEMENT_CHARACTER);
            };
            let second = bytes.get(6..).and_then(code_unit);
            let pair = [Some(first), second].into_iter().flatten();
            return match char::decode_utf16(pair).next() {
                Some(Ok(c)) => (6 * c.len_utf16(), c),
                _ => (6, char::REPLACEMENT_CHARACTER),
            };
        }
        Some(&c) if c.is_ascii() => char::from(c),
        _ => return (1, char::REPLACEMENT_CHARACTER),
    };
    (2, c)
}

/// The number in `\u0000`.
fn code_unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_say_what_they_stand_for() {
        let of = |raw| Literal(raw).decode().into_owned();
        assert_eq!(of(r#"a\"b\\c\/d\n\t"#), "a\"b\\c/d\n\t");
        assert_eq!(of(r"\u00e9\ud83d\ude00é😀"), "é😀é😀");
        assert_eq!(
            of(r"\ud83dx\ude00\ud83d\ud83d\ude00"),
            "\u{fffd}x\u{fffd}\u{fffd}😀"
        );
    }

    #[test]
    fn replacements_leave_every_other_byte() {
        let body = r#"{"a": "\u0041da \ud83d\ude00 writes\/ to a\u0040b.c \"now\""}"#;
        let literal = Literal(&body[7..body.len() - 2]);
        let said = literal.decode();
        let of = |part: &str| said.find(part).map(|at| at..at + part.len()).unwrap();
        let edits = literal.edits(body, [(of("Ada"), "[\"P\"]"), (of("a@b.c"), "[EMAIL]")]);
        assert_eq!(
            apply(body, edits),
            r#"{"a": "[\"P\"] \ud83d\ude00 writes\/ to [EMAIL] \"now\""}"#
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_cut_exactly(text: String, from: usize, to: usize) {
            let body = serde_json::to_string(&text).unwrap();
            let literal = Literal::quoted(&body).unwrap();
            prop_assert_eq!(literal.decode(), text.as_str());
            let bounds: Vec<usize> = text.char_indices().map(|(i, _)| i).chain([text.len()]).collect();
            let (a, b) = (bounds[from % bounds.len()], bounds[to % bounds.len()]);
            let span = a.min(b)..a.max(b);
            let replaced = apply(&body, literal.edits(&body, [(span.clone(), "\n[X]")]));
            let mut expected = text.clone();
            expected.replace_range(span, "\n[X]");
            prop_assert_eq!(serde_json::from_str::<String>(&replaced).unwrap(), expected);
        }
    }
}
