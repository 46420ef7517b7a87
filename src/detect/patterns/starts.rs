//! Where matches may begin.

use super::escape;
use super::lexer::Lexer;
use super::rule::Start;
use super::sign;
use super::view::View;
use super::work;

/// The first place from `from` on where a match may begin, and the kinds of starts that have an entry which may
/// begin there. `slash` is behind the last backslash before `from`.
pub(super) fn next(
    lexer: &Lexer,
    view: View<'_>,
    from: usize,
    slash: usize,
) -> Option<(usize, u8)> {
    let bytes = view.text.as_bytes();
    let from = from.saturating_sub(view.base);
    let mut slash = slash.saturating_sub(view.base);
    for (offset, &byte) in bytes.iter().enumerate().skip(from) {
        work::count(1);
        let behind = slash;
        if byte == b'\\' {
            slash = offset + 1;
        }
        let begins = lexer.begins[usize::from(byte)];
        if begins == 0 {
            continue;
        }
        let before = |n: usize| bytes.get(offset.checked_sub(n)?).copied();
        let plain = byte.is_ascii() && before(1).is_some_and(|b| b.is_ascii());
        let mut groups = match plain && offset - behind >= escape::LONGEST {
            true => begins & Start::open(byte, before(1), before(2)),
            false => opens(lexer, bytes, offset),
        };
        if let Some(&second) = bytes.get(offset + 1)
            && !(lexer.compete && (sign::may_be(byte) || sign::may_be(second)))
        {
            groups &= lexer.goes_on(byte, second);
        }
        if groups != 0 {
            return Some((view.base + offset, groups));
        }
    }
    None
}

/// The kinds of starts that have an entry which may begin at `at`, by what stands before it.
#[inline(never)]
fn opens(lexer: &Lexer, bytes: &[u8], at: usize) -> u8 {
    let (before, rest) = bytes.split_at(at);
    let read = lexer.sign(rest).map(|(sign, _)| sign);
    let byte = read.or(rest.first().copied()).unwrap_or_default();
    let begins = lexer.begins[usize::from(byte)];
    if escape::ends(before) {
        return begins;
    }
    let (before, second) = match lexer.compete {
        true => {
            let last = sign::last(before);
            let second = last.and_then(|(_, rest)| sign::last(rest));
            (last.map(|last| last.0), second.map(|last| last.0))
        }
        false => {
            let second = at.checked_sub(2).and_then(|at| bytes.get(at));
            (before.last().copied(), second.copied())
        }
    };
    begins & Start::open(byte, before, second)
}
