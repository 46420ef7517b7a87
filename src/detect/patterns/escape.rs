//! Escapes of JSON and code as they stand in a text: `\n`, `\u003c`, `\x41`. Their letters are no part of
//! a word.

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

fn is_hex(digits: &[u8]) -> bool {
    digits.iter().all(u8::is_ascii_hexdigit)
}
