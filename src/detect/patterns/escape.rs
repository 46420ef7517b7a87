//! Escapes of JSON and code as they stand in a text: `\n`, `\u003c`, `\x41`. Their letters are no part of
//! a word.

use std::ops::Range;

/// The most bytes of an escape. Never more than [`super::scanner::LOOK`] are looked at.
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
/// backslash of one that goes on behind it: what is left of an escape would be another one, or none. Folders of
/// Windows, `C:\name`, are no escapes.
pub(in crate::detect) fn outside(text: &str, span: Range<usize>) -> Range<usize> {
    let bytes = text.as_bytes();
    let in_path = |at: usize| {
        let word = bytes[..at].iter().rev().take(256);
        let word: Vec<u8> = word
            .take_while(|b| !matches!(b, b' ' | b'\t' | b'\r' | b'\n' | b'"' | b'\'' | b'`'))
            .copied()
            .collect();
        word.windows(2).any(|pair| pair == b"\\:")
    };
    let cut = |at: usize| begins(&bytes[..at], &bytes[at..]) && !in_path(at);
    let start = match cut(span.start) {
        false => span.start,
        true => {
            let letters = match bytes[span.start] {
                b'x' => 3,
                b'u' => 5,
                _ => 1,
            };
            span.start + letters
        }
    };
    let quoted = matches!(bytes.get(span.end), Some(b'"' | b'\''));
    let slashes = bytes[..span.end]
        .iter()
        .rev()
        .take(8)
        .take_while(|b| **b == b'\\')
        .count();
    let goes_on = slashes % 2 == 1 && (quoted || cut(span.end));
    let end = span.end - usize::from(goes_on);
    if start < end { start..end } else { span }
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
            (r"a\nann@x.org", "nann@x.org", "ann@x.org"),
            (r"\nann", "nann", "ann"),
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
