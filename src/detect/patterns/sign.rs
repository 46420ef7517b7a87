//! Signs that stand for one of ASCII: hyphens, spaces and full-width forms. Built-in rules read them as
//! what they stand for.

use std::borrow::Cow;

/// The sign of ASCII that `bytes`, which are whole characters, begin with, and how many bytes it takes.
pub(super) fn read(bytes: &[u8]) -> Option<(u8, usize)> {
    match *bytes {
        [0xC2, 0xA0, ..] => Some((b' ', 2)),
        [0xE2, 0x80, 0x90..=0x95, ..] | [0xE2, 0x88, 0x92, ..] => Some((b'-', 3)),
        [0xE2, 0x80, 0x80..=0x8A | 0xAF, ..] | [0xE3, 0x80, 0x80, ..] => Some((b' ', 3)),
        [0xEF, 0xBC, low @ 0x81..=0xBF, ..] => Some((low - 0x81 + b'!', 3)),
        [0xEF, 0xBD, low @ 0x80..=0x9E, ..] => Some((low - 0x80 + b'`', 3)),
        _ => None,
    }
}

/// Whether a character that begins with `byte` may be one of them.
pub(super) fn may_be(byte: u8) -> bool {
    matches!(byte, 0xC2 | 0xE2 | 0xE3 | 0xEF)
}

/// The last byte of `text` that is not a part of a character read as one of ASCII, or what that is read as;
/// and what stands before it.
pub(super) fn last(text: &[u8]) -> Option<(u8, &[u8])> {
    let (&last, before) = text.split_last()?;
    if last.is_ascii() {
        return Some((last, before));
    }
    let read = [2, 3].into_iter().find_map(|bytes| {
        let (before, sign) = text.split_at_checked(text.len().checked_sub(bytes)?)?;
        let (sign, taken) = read(sign)?;
        (taken == bytes).then_some((sign, before))
    });
    Some(read.unwrap_or((last, before)))
}

/// `c` as it is read.
pub(super) fn plain(c: char) -> char {
    match read(c.encode_utf8(&mut [0; 4]).as_bytes()) {
        Some((sign, _)) => char::from(sign),
        None => c,
    }
}

/// `text` as it is read.
pub(super) fn folded(text: &str) -> Cow<'_, str> {
    match text.bytes().any(may_be) {
        true => text.chars().map(plain).collect(),
        false => text.into(),
    }
}

/// How many bytes of `text` are read as the first `bytes` of it folded.
pub(super) fn unfolded(text: &str, bytes: usize) -> usize {
    let mut left = bytes;
    let beyond = text.char_indices().find(|(_, c)| {
        let (done, width) = (left == 0, plain(*c).len_utf8());
        left = left.saturating_sub(width);
        done
    });
    beyond.map_or(text.len(), |(at, _)| at)
}
