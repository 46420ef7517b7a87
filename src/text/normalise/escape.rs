//! Escapes in words: percent-encoding, HTML character references, backslash escapes.

use std::ops::Range;

use super::bytes::{is_odd_control, latin1};
use super::signal::Transformation;

/// Longest name of a character in HTML, in bytes, and most digits of a number for one.
const LONGEST_NAME: usize = 32;
const MOST_DIGITS: usize = 8;
/// Backslashes before an escape that were escaped themselves, again and again.
const MOST_SLASHES: usize = 8;
/// Escapes within one another that are looked at.
const DEPTH: usize = 3;
/// Letters beyond ASCII that are reason enough to read a word.
const ENOUGH_LETTERS: usize = 4;

/// A word with its escapes resolved.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Unescaped {
    pub(super) text: String,
    /// The bytes of the word behind each character that was escaped, and how many stand for them.
    pub(super) units: Vec<(Range<usize>, usize)>,
    /// ASCII letters and digits that were escaped, which none needs to be.
    pub(super) needless: usize,
    /// Other letters that were.
    letters: usize,
}

/// Resolves percent-encoding, HTML character references or backslash escapes of `word`; of mixed ones, the
/// first kind found.
pub(super) fn unescape(word: &str) -> Option<(Transformation, Unescaped)> {
    let bytes = word.as_bytes();
    let marks = bytes.iter().enumerate().filter(|(_, b)| is_mark(**b));
    let (first, mark) = marks
        .filter(|&(at, _)| word.get(at..).is_some_and(|rest| escape(rest).is_some()))
        .map(|(at, mark)| (at, *mark))
        .next()?;
    let kind = match mark {
        b'%' => Transformation::Url,
        b'&' => Transformation::HtmlEntity,
        _ => Transformation::Escape,
    };
    let mut to = Unescaped::default();
    to.text.push_str(&word[..first]);
    let mut at = first;
    // Bytes that may be one character, where they stand and how long the escape of each is.
    let mut run: (Vec<u8>, usize, usize) = (Vec::new(), first, 1);
    while let Some(c) = word.get(at..).and_then(|rest| rest.chars().next()) {
        let found = if c as u32 == u32::from(mark) {
            escape(&word[at..])
        } else {
            None
        };
        if let Some((Code::Byte(byte), length)) = found {
            if length != run.2 {
                to.bytes(&mut run);
            }
            if run.0.is_empty() {
                (run.1, run.2) = (at, length);
            }
            run.0.push(byte);
            at += length;
            continue;
        }
        to.bytes(&mut run);
        match found {
            Some((Code::Char(c), length)) => {
                to.escaped(at..at + length, c);
                at += length;
            }
            _ => {
                to.text.push(c);
                at += c.len_utf8();
            }
        }
    }
    to.bytes(&mut run);
    (to.text != word).then_some((kind, to))
}

impl Unescaped {
    /// As of a [`super::repair::Repair`]; none where it is what addresses and markup need.
    pub(super) fn weight(&self) -> Option<u32> {
        let (mut needless, mut letters) = (self.needless, self.letters);
        let mut inner: Option<Self> = None;
        for _ in 1..DEPTH {
            let said = inner.as_ref().unwrap_or(self);
            let Some((_, next)) = unescape(&said.text) else {
                break;
            };
            needless += next.needless;
            letters += next.letters;
            inner = Some(next);
        }
        let said = &inner.as_ref().unwrap_or(self).text;
        let language =
            || said.split_whitespace().count() >= 3 && super::lexicon::known_share(said).0 >= 0.7;
        match needless + letters {
            _ if needless > 1 || letters >= ENOUGH_LETTERS || language() => Some(2),
            0 => None,
            _ => Some(1),
        }
    }

    /// The characters in bytes that were escaped one by one.
    fn bytes(&mut self, (bytes, start, each): &mut (Vec<u8>, usize, usize)) {
        let mut at = *start;
        for chunk in bytes.utf8_chunks() {
            for c in chunk.valid().chars() {
                let end = at + c.len_utf8() * *each;
                self.escaped(at..end, c);
                at = end;
            }
            for &b in chunk.invalid() {
                self.escaped(at..at + *each, latin1(b));
                at += *each;
            }
        }
        bytes.clear();
    }

    fn escaped(&mut self, from: Range<usize>, c: char) {
        let c = if is_odd_control(c) { ' ' } else { c };
        self.text.push(c);
        self.units.push((from, c.len_utf8()));
        self.needless += usize::from(c.is_ascii_alphanumeric());
        self.letters += usize::from(!c.is_ascii() && c.is_alphabetic());
    }
}

fn is_mark(b: u8) -> bool {
    matches!(b, b'%' | b'&' | b'\\')
}

#[derive(Debug, Clone, Copy)]
enum Code {
    Byte(u8),
    Char(char),
}

/// The escape that `rest` begins with, and its length in bytes.
fn escape(rest: &str) -> Option<(Code, usize)> {
    match rest.as_bytes() {
        [b'%', ..] => Some((Code::Byte(hex(rest, 1..3)? as u8), 3)),
        [b'&', ..] => reference(rest).map(|(c, length)| (Code::Char(c), length)),
        [b'\\', bytes @ ..] => {
            let more = bytes.iter().take(MOST_SLASHES);
            let slashes = more.take_while(|b| **b == b'\\').count();
            let (code, length) = backslash(rest.get(slashes..)?)?;
            Some((code, slashes + length))
        }
        _ => None,
    }
}

fn backslash(rest: &str) -> Option<(Code, usize)> {
    match rest.as_bytes() {
        [b'\\', b'x', ..] => Some((Code::Byte(hex(rest, 2..4)? as u8), 4)),
        [b'\\', b'u', b'{', ..] => {
            let end = rest.bytes().take(12).position(|b| b == b'}')?;
            Some((Code::Char(char::from_u32(hex(rest, 3..end)?)?), end + 1))
        }
        [b'\\', b'u', ..] => {
            let code = hex(rest, 2..6)?;
            if let Some(c) = char::from_u32(code) {
                return Some((Code::Char(c), 6));
            }
            // The two halves of a character beyond the first 65,536.
            let low = rest
                .get(6..8)
                .filter(|mark| *mark == "\\u")
                .and(hex(rest, 8..12))?;
            let pair = [code as u16, low as u16];
            let c = char::decode_utf16(pair).next()?.ok()?;
            Some((Code::Char(c), 12))
        }
        _ => None,
    }
}

/// A reference of HTML to a character by its number, with or without the semicolon, or by its name.
fn reference(rest: &str) -> Option<(char, usize)> {
    let Some(number) = rest.strip_prefix("&#") else {
        let name = rest
            .bytes()
            .take(LONGEST_NAME + 2)
            .position(|b| b == b';')?;
        let name = rest.get(..=name)?;
        let decoded = html_escape::decode_html_entities(name);
        let mut chars = decoded.chars();
        let c = chars
            .next()
            .filter(|_| decoded != name && chars.next().is_none())?;
        return Some((c, name.len()));
    };
    let (radix, prefix) = match number.as_bytes() {
        [b'x' | b'X', ..] => (16, 3),
        _ => (10, 2),
    };
    let digits = rest.get(prefix..)?.chars().take(MOST_DIGITS);
    let end = prefix + digits.take_while(|c| c.is_digit(radix)).count();
    let code = u32::from_str_radix(rest.get(prefix..end)?, radix).ok()?;
    let closed = rest.as_bytes().get(end) == Some(&b';');
    Some((char::from_u32(code)?, end + usize::from(closed)))
}

fn hex(text: &str, digits: Range<usize>) -> Option<u32> {
    let digits = text.get(digits)?;
    let plain = digits.bytes().all(|b| b.is_ascii_hexdigit());
    if plain {
        u32::from_str_radix(digits, 16).ok()
    } else {
        None
    }
}
