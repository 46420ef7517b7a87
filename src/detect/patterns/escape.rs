//! Escapes of JSON and code as they stand in a text: `\n`, `\u003c`, `\x41`. Their letters are no part of
//! a word.

use std::ops::Range;

/// The most bytes of an escape. Never more than [`super::view::LOOK`] are looked at.
pub(super) const LONGEST: usize = 6;

/// Whether `text` ends with an escape.
pub(super) fn ends(text: &[u8]) -> bool {
    match *text {
        [.., b'\\', b'n' | b'r' | b't' | b'b' | b'f' | b'v' | b'0'] => true,
        [.., b'\\', b'x', a, b] => is_hex(&[a, b]),
        [.., b'\\', b'u', a, b, c, d] => is_hex(&[a, b, c, d]),
        _ => false,
    }
}

/// Whether `text`, which stands behind `before`, begins with the letter of an escape. A backslash that is
/// itself escaped opens none.
pub(super) fn begins(before: &[u8], text: &[u8]) -> bool {
    let slashes = before.iter().rev().take(7).take_while(|b| **b == b'\\');
    slashes.count() % 2 == 1
        && match text {
            [b'n' | b'r' | b't' | b'b' | b'f' | b'v', ..] => true,
            [b'x', digits @ ..] => digits.get(..2).is_some_and(is_hex),
            [b'u', digits @ ..] => digits.get(..4).is_some_and(is_hex),
            _ => false,
        }
}

/// What a letter behind a backslash may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// A letter: no backslash stands before it, or it is none of an escape.
    Letter,
    /// The letter of an escape.
    Escape,
    /// Either: `CORP\nancy` is a line and `ancy`, or `nancy` of `CORP`.
    Either,
}

impl Reading {
    /// How `text` begins, which stands behind `before`.
    pub(super) fn of(before: &[u8], text: &[u8]) -> Self {
        if !begins(before, text) {
            return Self::Letter;
        }
        let before = before.strip_suffix(b"\\").unwrap_or_default();
        let name = |b: &u8| b.is_ascii_alphanumeric() || b"_-$%)}".contains(b) || !b.is_ascii();
        let folder = match before {
            [b'.'] | [.., b' ' | b'\t' | b'\n' | b'"' | b'\'', b'.'] => true,
            [rest @ .., b'.', b'.'] => rest.last() != Some(&b'.'),
            _ => before.last().is_some_and(name) && !ends(before),
        };
        let single = !matches!(text, [b'x' | b'u', ..]);
        let goes_on = |b: &u8| b.is_ascii_lowercase() || *b == b'.';
        match folder && single && text.get(1).is_some_and(goes_on) {
            true => Self::Either,
            false => Self::Escape,
        }
    }
}

/// Whether `text`, which begins with a backslash, begins with an escape that a value does not hold: white
/// space, or a quote that closes it.
pub(super) fn separates(text: &[u8]) -> bool {
    let slashes = text.iter().take(4).take_while(|b| **b == b'\\').count();
    let code = |digits: Option<&[u8]>| {
        let digits = digits.and_then(|d| std::str::from_utf8(d).ok());
        digits.and_then(|d| u32::from_str_radix(d, 16).ok())
    };
    let code = match text.get(slashes..) {
        Some([b'n' | b'r' | b't' | b'"' | b'\'', ..]) => return true,
        Some([b'x', digits @ ..]) if slashes < 3 => code(digits.get(..2)),
        Some([b'u', digits @ ..]) if slashes < 3 => code(digits.get(..4)),
        _ => None,
    };
    code.and_then(char::from_u32)
        .is_some_and(|c| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>'))
}

/// `span` of `text` without the letters of an escape that it begins behind the backslash of, and without the
/// backslash of one that goes on behind it: what is left of an escape would be another one, or none. Where the
/// letter may be its own, it takes the backslash in. Folders of a path, `C:\name`, are no escapes.
pub(in crate::detect) fn outside(text: &str, span: Range<usize>) -> Range<usize> {
    let bytes = text.as_bytes();
    let reading = |at: usize| match Reading::of(&bytes[..at], &bytes[at..]) {
        Reading::Escape | Reading::Either if in_path(&bytes[..at]) => Reading::Letter,
        reading => reading,
    };
    let start = match (reading(span.start), bytes.get(span.start)) {
        (Reading::Letter, _) => span.start,
        (Reading::Either, _) => span.start - 1,
        (Reading::Escape, Some(b'x')) => span.start + 3,
        (Reading::Escape, Some(b'u')) => span.start + 5,
        (Reading::Escape, _) => span.start + 1,
    };
    let quoted = matches!(bytes.get(span.end), Some(b'"' | b'\''));
    let slashes = bytes[..span.end]
        .iter()
        .rev()
        .take(8)
        .take_while(|b| **b == b'\\')
        .count();
    let goes_on = slashes % 2 == 1 && (quoted || reading(span.end) != Reading::Letter);
    let end = span.end - usize::from(goes_on);
    if start < end { start..end } else { span }
}

/// Whether the word that `text` ends in is of a path: a drive is named, or a backslash stands before what
/// begins no escape.
fn in_path(text: &[u8]) -> bool {
    let word = text.iter().rev().take(256);
    let word = word.take_while(|b| !b.is_ascii_whitespace() && !b"\"'`".contains(b));
    let word = &text[text.len() - word.count()..];
    let folder = |at: usize| {
        let escape = match word[at..] {
            [b'\\' | b'/' | b'"' | b'\'' | b'0'..=b'9', ..] | [] => true,
            _ => begins(b"\\", &word[at..]),
        };
        let slashes = word[..at].iter().rev().take_while(|b| **b == b'\\').count();
        slashes % 2 == 1 && !escape
    };
    word.windows(2).any(|pair| pair == b":\\") || (1..word.len()).any(folder)
}

fn is_hex(digits: &[u8]) -> bool {
    digits.iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_leave_escapes_whole() {
        for (text, found, left) in [
            (r"a.\nann@x.org", "nann@x.org", "ann@x.org"),
            (r"\nann", "nann", "ann"),
            (r"a\r\nann", "nann", "ann"),
            (r"a\nAnn", "nAnn", "Ann"),
            (r"a...\nann", "nann", "ann"),
            (r"a\nann@x.org", "nann@x.org", r"\nann@x.org"),
            (r"CORP\nancy.lopez", "nancy.lopez", r"\nancy.lopez"),
            (r"..\tina", "tina", r"\tina"),
            (r"..\users\tina", "tina", "tina"),
            (r"\\srv\home\bob", "bob", "bob"),
            (r"C:\\Users\\nancy", "nancy", "nancy"),
            (r"\u003cann", "u003cann", "ann"),
            (r"\x41nn", "x41nn", "nn"),
            (r"Ann Lee\n", "Ann Lee\\", "Ann Lee"),
            (r#"Ann Lee\" "#, "Ann Lee\\", "Ann Lee"),
            (r"C:\Users\nancy", "nancy", "nancy"),
            (r"Ann Lee\", "Ann Lee\\", "Ann Lee\\"),
            (r"\n", "n", "n"),
            ("ann", "ann", "ann"),
        ] {
            let at = text.find(found).unwrap();
            let span = outside(text, at..at + found.len());
            assert_eq!(&text[span], left, "{text}");
        }
    }
}
