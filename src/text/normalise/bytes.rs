//! Text in bytes that were decoded: UTF-8, or nearly; UTF-16 with Latin letters.

/// Shortest text that may hold bytes which are none: chance makes less of other data.
const LEAST_LOSSY: usize = 20;
/// Bytes of such a text for each one that is none.
const OF_EACH: usize = 9;

/// The text in `bytes`, if they hold hardly anything else. A byte that is no text is the letter that it is in
/// Latin-1, or a space.
pub(super) fn text_of(bytes: &[u8]) -> Option<String> {
    if let Some(text) = utf16(bytes) {
        return Some(text);
    }
    let most = match bytes.len() {
        LEAST_LOSSY.. => bytes.len() / OF_EACH,
        _ => 0,
    };
    let mut text = String::with_capacity(bytes.len());
    let reads = read(bytes, most, |c| text.push(c));
    (reads && !text.is_empty()).then_some(text)
}

/// Whether bytes out of the middle of something may be text.
pub(super) fn holds_text(bytes: &[u8]) -> bool {
    // Characters may be cut at either end.
    let start = bytes.iter().take(3).take_while(|&&b| is_inner(b)).count();
    let whole = &bytes[start..];
    let tail = whole.iter().rev().take(3).take_while(|&&b| is_inner(b));
    let end = whole.len() - tail.count();
    let cut = whole[..end].last().is_some_and(|&b| b >= 0xc0);
    let whole = &whole[..if cut { end - 1 } else { whole.len() }];
    let reads = !whole.is_empty() && read(whole, whole.len() / OF_EACH, |_| {});
    reads || utf16(bytes).is_some()
}

/// Whether `b` stands inside a character of UTF-8.
fn is_inner(b: u8) -> bool {
    b & 0xc0 == 0x80
}

/// Gives each character of `bytes` to `to`; says whether at most `most` bytes and controls are no text.
fn read(bytes: &[u8], most: usize, mut to: impl FnMut(char)) -> bool {
    let mut odd = 0;
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let control = is_odd_control(c);
            odd += usize::from(control);
            to(if control { ' ' } else { c });
        }
        for &b in chunk.invalid() {
            odd += 1;
            to(latin1(b));
        }
        if odd > most {
            return false;
        }
    }
    true
}

/// The letter that a byte is in Latin-1, or a space.
pub(super) fn latin1(b: u8) -> char {
    if b >= 0xa0 { b.into() } else { ' ' }
}

/// A control character that no text has.
pub(super) fn is_odd_control(c: char) -> bool {
    c.is_control() && !c.is_whitespace()
}

/// The text in UTF-16 of which nearly every second byte is 0.
fn utf16(bytes: &[u8]) -> Option<String> {
    let pairs = bytes.chunks_exact(2);
    let count = pairs.len();
    let zero = bytes.iter().filter(|b| **b == 0).count();
    if count < 4 || zero * 3 < bytes.len() {
        return None;
    }
    let zeros = |at: usize| pairs.clone().filter(|pair| pair[at] == 0).count();
    let (first, second) = (zeros(0), zeros(1));
    let mostly = |zero: usize, other: usize| zero * 10 >= count * 9 && other * 10 <= count;
    let unit: fn([u8; 2]) -> u16 = match () {
        () if mostly(second, first) => u16::from_le_bytes,
        () if mostly(first, second) => u16::from_be_bytes,
        () => return None,
    };
    let units = pairs.map(|pair| unit([pair[0], pair[1]]));
    let text = char::decode_utf16(units)
        .map(|c| c.unwrap_or(' '))
        .filter(|&c| c != '\u{feff}')
        .map(|c| if is_odd_control(c) { ' ' } else { c });
    Some(text.collect())
}
