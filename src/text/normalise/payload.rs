//! Texts encoded in base64, hexadecimal and binary.

use std::ops::Range;

use super::bytes::{holds_text, text_of};
use super::cipher::rotate;
use super::lexicon;
use super::map::{MapBuilder, OffsetMap};
use super::signal::Transformation;

/// A text that a part of another one stands for, if it reads as language.
#[derive(Debug)]
pub(super) struct Decoded {
    /// From bytes of `text` to bytes of the canonical text.
    pub(super) map: OffsetMap,
    /// What was undone, from the outside in.
    pub(super) kinds: Vec<Transformation>,
    pub(super) text: String,
    /// What it adds to the signal.
    pub(super) count: usize,
}

impl Decoded {
    /// What all of `range` stands for.
    pub(super) fn of(
        range: Range<usize>,
        kinds: Vec<Transformation>,
        text: String,
        count: usize,
    ) -> Self {
        let end = range.end;
        let mut map = MapBuilder::default();
        map.changed(range, text.len());
        Self {
            map: map.finish(end),
            kinds,
            text,
            count,
        }
    }
}

/// Characters that decide early whether a blob holds text.
const PROBE: usize = 24;

/// Shortest blob that is also read from its second, third and fourth character on, and backwards.
const LONG: usize = 16;

/// Whether `b` is of the base64 alphabet, standard or URL-safe.
pub(super) fn is_base64(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'-' | b'_')
}

/// Whether a run of the alphabet holds more than a word would: capitals inside, or digits.
pub(super) fn is_varied(blob: &[u8]) -> bool {
    blob.iter()
        .skip(1)
        .any(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
}

/// Decodes blobs that follow each other: each, and together where they may be the lines of one. What
/// begins on a line of its own must not be read as part of the line before alone. Those that say something
/// each are read as one text, a line each.
pub(super) fn decode_blobs(text: &str, blobs: &[Range<usize>], decoded: &mut Vec<Decoded>) {
    let (Some(first), Some(last)) = (blobs.first(), blobs.last()) else {
        return;
    };
    let width = first.len();
    let (lines, rest) = blobs.split_at(blobs.len() - 1);
    let wrapped = lines.iter().all(|b| b.len() == width) && rest.iter().all(|b| b.len() <= width);
    if blobs.len() > 1 && wrapped {
        let joined: String = blobs
            .iter()
            .filter_map(|blob| text.get(blob.clone()))
            .collect();
        if let Some((kinds, says)) = decode(&joined) {
            let count = count(&says);
            decoded.push(Decoded::of(first.start..last.end, kinds, says, count));
        }
    }
    let mut said: Option<(MapBuilder, Decoded)> = None;
    for blob in blobs {
        let Some((kinds, says)) = text.get(blob.clone()).and_then(decode) else {
            continue;
        };
        let count = count(&says);
        if !lexicon::reads_as_language(&says) {
            decoded.push(Decoded::of(blob.clone(), kinds, says, count));
            continue;
        }
        match &mut said {
            Some((map, all)) if all.kinds == kinds => {
                all.text.push('\n');
                all.text.push_str(&says);
                all.count += count;
                map.changed(blob.clone(), says.len() + 1);
            }
            _ => {
                let mut map = MapBuilder::default();
                map.changed(blob.clone(), says.len());
                let next = Decoded::of(blob.clone(), kinds, says, count);
                decoded.extend(said.replace((map, next)).map(finish));
            }
        }
    }
    decoded.extend(said.map(finish));

    fn finish((map, all): (MapBuilder, Decoded)) -> Decoded {
        let map = map.finish_here();
        Decoded { map, ..all }
    }
}

/// What a text that was encoded adds to the signal.
fn count(says: &str) -> usize {
    // A token of JSON is no secret.
    if says.starts_with("{\"") {
        0
    } else {
        says.chars().filter(|c| c.is_alphanumeric()).count()
    }
}

/// The text that `blob` encodes in hexadecimal or base64, and what was undone to read it.
fn decode(blob: &str) -> Option<(Vec<Transformation>, String)> {
    use Transformation::{Base64, Hex, Reversed, Rot13};
    if let Some(digits) = hex_digits(blob) {
        if let Some(text) = hex(digits.as_bytes()) {
            return Some((vec![Hex], text));
        }
        let backwards: Vec<u8> = digits.bytes().rev().collect();
        if let Some(text) = hex(&backwards) {
            return Some((vec![Reversed, Hex], text));
        }
    }
    let blob = blob.trim_end_matches('=').as_bytes();
    if !is_varied(blob) {
        return None;
    }
    // Digits alone are no base64 that was changed.
    let long = blob.len() >= LONG && !blob.iter().all(u8::is_ascii_hexdigit);
    let starts = if long { 0..4 } else { 0..1 };
    let mut from = starts.filter_map(|start| base64(blob.get(start..)?.iter().copied()));
    if let Some(text) = from.next() {
        return Some((vec![Base64], text));
    }
    if !long {
        return None;
    }
    if let Some(text) = base64(blob.iter().rev().copied()) {
        return Some((vec![Reversed, Base64], text));
    }
    base64(blob.iter().map(|&b| rotate(b))).map(|text| (vec![Rot13, Base64], text))
}

/// The hexadecimal digits of `blob`, which holds hardly anything else.
fn hex_digits(blob: &str) -> Option<&str> {
    let digits = blob.strip_prefix("0x").unwrap_or(blob);
    let digits = digits.trim_matches(|c: char| !c.is_ascii_hexdigit());
    let enough = digits.len() >= 10 && digits.len() + 2 >= blob.len();
    (enough && digits.bytes().all(|b| b.is_ascii_hexdigit())).then_some(digits)
}

/// The text in hexadecimal digits; where one is too many, the first or the last one is left out.
fn hex(digits: &[u8]) -> Option<String> {
    let from = |start: usize| {
        let pairs = digits.get(start..)?.chunks_exact(2);
        let bytes = pairs.map_while(|pair| byte(pair, 16));
        let probe: Vec<u8> = bytes.clone().take(PROBE).collect();
        holds_text(&probe).then(|| text_of(&bytes.collect::<Vec<u8>>()))?
    };
    from(0).or_else(|| if digits.len() % 2 == 1 { from(1) } else { None })
}

/// The text in characters of base64, if they begin with text or have some in the middle.
fn base64(blob: impl ExactSizeIterator<Item = u8> + Clone) -> Option<String> {
    let middle = blob.len() / 8 * 4;
    let text = |at| holds_text(&decode_base64(blob.clone().skip(at).take(PROBE)));
    (text(0) || blob.len() > PROBE && text(middle)).then(|| text_of(&decode_base64(blob)))?
}

/// The bytes behind characters of base64, standard or URL-safe, without padding. A last character alone
/// encodes nothing.
fn decode_base64(blob: impl Iterator<Item = u8>) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(blob.size_hint().0 / 4 * 3 + 2);
    let (mut held, mut bits) = (0u32, 0);
    for b in blob {
        let value = match b {
            b'A'..=b'Z' => b - b'A',
            b'a'..=b'z' => b - b'a' + 26,
            b'0'..=b'9' => b - b'0' + 52,
            b'+' | b'-' => 62,
            _ => 63,
        };
        held = held << 6 | u32::from(value);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
        }
    }
    bytes
}

fn byte(digits: &[u8], radix: u32) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

/// Bytes or characters written one by one from `at` on ("69 67", "0x69, 0x67", "01101001 01100111", "U+0069
/// U+0067"), at least [`LEAST_CODES`] of one shape.
pub(super) fn decode_codes(text: &str, at: usize) -> Codes {
    let mut codes = Codes {
        decoded: None,
        end: at,
    };
    codes.decoded = read_codes(text, at, &mut codes.end);
    codes
}

/// Codes of characters in a row.
pub(super) struct Codes {
    /// What they say, if that is text.
    pub(super) decoded: Option<Decoded>,
    /// Where they were read to: no codes that begin before say anything else.
    pub(super) end: usize,
}

fn read_codes(text: &str, at: usize, end: &mut usize) -> Option<Decoded> {
    const LEAST_CODES: usize = 5;
    let bytes = text.as_bytes();
    let rest = bytes.get(at..)?;
    let digits = |b: &&u8| b.is_ascii_hexdigit();
    let prefix = match rest {
        [b'0', b'x', ..] | [b'U' | b'u', b'+', ..] => &rest[..2],
        _ => &[],
    };
    let points = prefix.ends_with(b"+");
    let width = rest
        .get(prefix.len()..)?
        .iter()
        .take(9)
        .take_while(digits)
        .count();
    let (radix, kind) = match width {
        4 if points => (16, Transformation::Escape),
        2 if !points => (16, Transformation::Hex),
        8 if !points => (2, Transformation::Binary),
        _ => return None,
    };
    let (mut codes, mut count) = (Vec::new(), 0);
    let mut here = at;
    while let Some(code) = bytes.get(here..here + prefix.len() + width)
        && code.starts_with(prefix)
        && let Ok(digits) = std::str::from_utf8(&code[prefix.len()..])
        && let Ok(value) = u32::from_str_radix(digits, radix)
    {
        match (points, char::from_u32(value)) {
            (true, Some(c)) => codes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
            _ => codes.push(value as u8),
        }
        count += 1;
        *end = here + code.len();
        let gap = bytes[*end..]
            .iter()
            .take(3)
            .take_while(|b| b" ,:;-\n\r\t".contains(b))
            .count();
        here = *end + gap;
        if gap == 0 {
            break;
        }
    }
    let whole = bytes.get(*end).is_none_or(|b| !b.is_ascii_alphanumeric());
    if count < LEAST_CODES || !whole {
        return None;
    }
    let text = text_of(&codes)?;
    let count = text.chars().filter(|c| c.is_alphanumeric()).count();
    Some(Decoded::of(at..*end, vec![kind], text, count))
}
