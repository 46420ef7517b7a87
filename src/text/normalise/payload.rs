//! Texts encoded in base64, hexadecimal and binary, and escapes in words.

use std::borrow::Cow;
use std::ops::Range;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::signal::Transformation;

/// A text that a part of another one stands for, if it reads as language.
#[derive(Debug)]
pub(super) struct Decoded {
    /// Bytes of the canonical text.
    pub(super) range: Range<usize>,
    pub(super) kind: Transformation,
    pub(super) text: String,
    /// What it adds to the signal.
    pub(super) count: usize,
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Characters that decide early whether a blob holds text.
const PROBE: usize = 24;

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
/// begins on a line of its own must not be read as part of the line before alone.
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
        if let Some((kind, says)) = decode(&joined) {
            push(decoded, first.start..last.end, kind, says);
        }
    }
    for blob in blobs {
        if let Some((kind, says)) = text.get(blob.clone()).and_then(decode) {
            push(decoded, blob.clone(), kind, says);
        }
    }
}

fn push(decoded: &mut Vec<Decoded>, range: Range<usize>, kind: Transformation, text: String) {
    // A token of JSON is no secret.
    let json = text.starts_with("{\"");
    let count = if json {
        0
    } else {
        text.chars().filter(|c| c.is_alphanumeric()).count()
    };
    decoded.push(Decoded {
        range,
        kind,
        text,
        count,
    });
}

/// The text that `blob` encodes in hexadecimal or base64.
fn decode(blob: &str) -> Option<(Transformation, String)> {
    let hexadecimal = blob.len() >= 10
        && blob.len().is_multiple_of(2)
        && blob.bytes().all(|b| b.is_ascii_hexdigit());
    if hexadecimal {
        let bytes = blob
            .as_bytes()
            .chunks_exact(2)
            .map(|pair| byte(pair, 16))
            .collect::<Option<_>>();
        if let Some(text) = bytes.and_then(printable) {
            return Some((Transformation::Hex, text));
        }
    }
    let blob = blob.trim_end_matches('=');
    if !is_varied(blob.as_bytes()) {
        return None;
    }
    let probe = blob.get(..PROBE.min(blob.len() / 4 * 4))?;
    if !holds_text(&decode_base64(probe)?) {
        return None;
    }
    // A last character alone encodes nothing.
    let whole = if blob.len() % 4 == 1 {
        blob.len() - 1
    } else {
        blob.len()
    };
    printable(decode_base64(blob.get(..whole)?)?).map(|text| (Transformation::Base64, text))
}

fn decode_base64(blob: &str) -> Option<Vec<u8>> {
    let standard: Cow<'_, str> = if blob.contains(['-', '_']) {
        blob.replace('-', "+").replace('_', "/").into()
    } else {
        blob.into()
    };
    BASE64.decode(standard.as_bytes()).ok()
}

/// Whether the first bytes of something are text; the last character may be cut.
fn holds_text(bytes: &[u8]) -> bool {
    let valid = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) if e.error_len().is_none() => {
            std::str::from_utf8(&bytes[..e.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !valid.is_empty() && !valid.chars().any(is_odd_control)
}

fn printable(bytes: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(bytes).ok()?;
    (!text.is_empty() && !text.chars().any(is_odd_control)).then_some(text)
}

fn is_odd_control(c: char) -> bool {
    c.is_control() && !c.is_whitespace()
}

fn byte(digits: &[u8], radix: u32) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, radix).ok()
}

/// Bytes written one by one from `at` on ("69 67", "0x69, 0x67", "01101001 01100111"), at least
/// [`LEAST_CODES`] of one shape.
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
    let prefix: &[u8] = if rest.starts_with(b"0x") { b"0x" } else { b"" };
    let width = rest
        .get(prefix.len()..)?
        .iter()
        .take(9)
        .take_while(digits)
        .count();
    let (radix, kind) = match width {
        2 => (16, Transformation::Hex),
        8 => (2, Transformation::Binary),
        _ => return None,
    };
    let mut codes = Vec::new();
    let mut here = at;
    while let Some(code) = bytes.get(here..here + prefix.len() + width)
        && code.starts_with(prefix)
        && let Some(value) = byte(&code[prefix.len()..], radix)
    {
        codes.push(value);
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
    if codes.len() < LEAST_CODES || !whole {
        return None;
    }
    let text = printable(codes)?;
    let count = text.chars().filter(|c| c.is_alphanumeric()).count();
    Some(Decoded {
        range: at..*end,
        kind,
        text,
        count,
    })
}

/// A word with its escapes resolved.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unescaped {
    pub(super) text: String,
    pub(super) kind: Transformation,
    /// ASCII letters and digits that were escaped, which none needs to be.
    pub(super) needless: usize,
}

/// Resolves percent-encoding, HTML character references and backslash escapes of `word`; of mixed
/// ones, the first kind found.
pub(super) fn unescape(word: &str) -> Option<Unescaped> {
    let found = word.bytes().find(|b| matches!(b, b'%' | b'&' | b'\\'))?;
    let (kind, text, needless) = match found {
        b'&' => {
            let text = html_escape::decode_html_entities(word).into_owned();
            let references = word.split("&#").skip(1);
            (
                Transformation::HtmlEntity,
                text,
                references.filter(|r| is_needless(r)).count(),
            )
        }
        mark => {
            let mut bytes = Vec::with_capacity(word.len());
            let mut needless = 0;
            let mut rest = word;
            while let Some(c) = rest.chars().next() {
                let escape = if c as u32 == u32::from(mark) {
                    escape(rest)
                } else {
                    None
                };
                let (c, length) = escape.unwrap_or((Code::Char(c), c.len_utf8()));
                match c {
                    Code::Byte(b) => bytes.push(b),
                    Code::Char(c) => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
                }
                let ordinary = match c {
                    Code::Byte(b) => b.is_ascii_alphanumeric(),
                    Code::Char(c) => c.is_ascii_alphanumeric(),
                };
                needless += usize::from(escape.is_some() && ordinary);
                rest = &rest[length..];
            }
            let percent = mark == b'%';
            let kind = if percent {
                Transformation::Url
            } else {
                Transformation::Escape
            };
            (kind, String::from_utf8(bytes).ok()?, needless)
        }
    };
    (text != word && !text.chars().any(is_odd_control)).then_some(Unescaped {
        text,
        kind,
        needless,
    })
}

#[derive(Debug, Clone, Copy)]
enum Code {
    Byte(u8),
    Char(char),
}

/// The escape that `rest` begins with, and its length in bytes.
fn escape(rest: &str) -> Option<(Code, usize)> {
    let hex = |range: Range<usize>| {
        let digits = rest.get(range)?;
        let plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
        if plain {
            u32::from_str_radix(digits, 16).ok()
        } else {
            None
        }
    };
    match rest.as_bytes() {
        [b'%', ..] => Some((Code::Byte(hex(1..3)? as u8), 3)),
        [b'\\', b'x', ..] => Some((Code::Byte(hex(2..4)? as u8), 4)),
        [b'\\', b'u', b'{', ..] => {
            let end = rest.bytes().take(12).position(|b| b == b'}')?;
            Some((Code::Char(char::from_u32(hex(3..end)?)?), end + 1))
        }
        [b'\\', b'u', ..] => Some((Code::Char(char::from_u32(hex(2..6)?)?), 6)),
        _ => None,
    }
}

/// Whether a numeric reference ("105;...", "x69;...") stands for an ASCII letter or digit.
fn is_needless(reference: &str) -> bool {
    let Some((digits, _)) = reference
        .split_at_checked(10)
        .map_or(reference, |r| r.0)
        .split_once(';')
    else {
        return false;
    };
    let code = match digits.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => digits.parse(),
    };
    code.is_ok_and(|code| char::from_u32(code).is_some_and(|c| c.is_ascii_alphanumeric()))
}
