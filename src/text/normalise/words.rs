//! One pass over the words of a canonical text: known ones are stepped over, the rest are tried.

use std::ops::Range;

use super::cipher::Stretches;
use super::disguise::{self, Signs};
use super::escape;
use super::lexicon::Lexicon;
use super::order::Order;
use super::payload::{self, Decoded, is_base64, is_varied};
use super::repair::Repair;
use super::signal::Transformation;
use super::spelled;

/// Shortest token that may be a blob by itself, and shortest part of a token.
const BLOB: usize = 8;
const PART: usize = 16;

/// Longest token whose parts are tried as words.
const LONGEST_TOKEN: usize = 256;

/// Punctuation that closes a token.
const CLOSING: [bool; 256] = {
    let mut table = [false; 256];
    let signs = b",.;:!?)]}\"'>*`";
    let mut i = 0;
    while i < signs.len() {
        table[signs[i] as usize] = true;
        i += 1;
    }
    table
};

/// What the words of a text may stand for.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) repairs: Vec<Repair>,
    pub(super) decoded: Vec<Decoded>,
}

/// Reads `text` once.
pub(super) fn scan(text: &str) -> Found {
    let mut scan = Scan {
        text,
        bytes: text.as_bytes(),
        lexicon: Lexicon::get(),
        stretches: Stretches::default(),
        order: Order::default(),
        blobs: Vec::new(),
        token_end: 0,
        codes_end: 0,
        found: Found::default(),
    };
    let mut at = 0;
    while let Some(b) = scan.bytes.get(at) {
        if b.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        let end = at + letters(scan.bytes, at);
        at = if end > at + 1 && ends_plainly(scan.bytes, end) {
            scan.word(at..end);
            end
        } else {
            scan.token(at)
        };
    }
    scan.end_blobs();
    let mut found = scan.found;
    found.decoded.extend(scan.stretches.read(text));
    found.decoded.extend(scan.order.read(text));
    found
}

/// The number of ASCII letters from `at` on.
fn letters(bytes: &[u8], at: usize) -> usize {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let mut end = at;
    // Eight at once: the high bit of each byte says "letter" (a byte below 0x80, between a and z).
    while let Some(chunk) = bytes.get(end..).and_then(|rest| rest.first_chunk::<8>()) {
        let eight = u64::from_le_bytes(*chunk);
        let lower = (eight | (0x20 * EACH)) & (0x7f * EACH);
        let from_a = lower + (0x80 - u64::from(b'a')) * EACH;
        let past_z = lower + (0x7f - u64::from(b'z')) * EACH;
        let no_letter = !(from_a & !past_z & !eight) & (0x80 * EACH);
        if no_letter != 0 {
            return end + no_letter.trailing_zeros() as usize / 8 - at;
        }
        end += 8;
    }
    let rest = bytes.get(end..).unwrap_or_default();
    end + rest.iter().take_while(|b| b.is_ascii_alphabetic()).count() - at
}

/// Whether a word that ends before `end` is followed by white space or by punctuation and white space.
fn ends_plainly(bytes: &[u8], end: usize) -> bool {
    let ends = |at: usize| bytes.get(at).is_none_or(u8::is_ascii_whitespace);
    ends(end) || matches!(bytes[end], b',' | b'.' | b';' | b':' | b'!' | b'?') && ends(end + 1)
}

/// Whether a token is a web or mail address.
fn is_address(token: &[u8]) -> bool {
    token.starts_with(b"www.")
        || token.windows(3).any(|w| w == b"://")
        || token
            .iter()
            .position(|&b| b == b'@')
            .is_some_and(|at| at > 0 && token[at..].contains(&b'.'))
}

struct Scan<'t> {
    text: &'t str,
    bytes: &'t [u8],
    lexicon: &'static Lexicon,
    stretches: Stretches,
    order: Order,
    /// Tokens in a row that may be the lines of one blob.
    blobs: Vec<Range<usize>>,
    /// Where the token ends that was looked at last.
    token_end: usize,
    /// Up to where codes of characters were read.
    codes_end: usize,
    found: Found,
}

impl Scan<'_> {
    /// A word of ASCII letters, at least two.
    fn word(&mut self, range: Range<usize>) {
        let word = &self.bytes[range.clone()];
        self.order.word(word, &range);
        if self.lexicon.knows(word) {
            self.end_blobs();
            self.stretches.known();
            return;
        }
        self.stretches.unknown(&range);
        let bytes = word.len();
        self.unknown_word(range.clone());
        if bytes >= BLOB && is_varied(&self.bytes[range.clone()]) {
            self.blobs.push(range);
        } else if !self.ends_blob(&range) {
            self.end_blobs();
        }
    }

    /// Whether a short token is the last line of a blob.
    fn ends_blob(&mut self, range: &Range<usize>) -> bool {
        let last = match self.blobs.last() {
            Some(line) if line.len() >= PART && range.len() <= line.len() => line.end,
            _ => return false,
        };
        let gap = self.bytes.get(last..range.start).unwrap_or_default();
        let ends = gap.len() <= 4 && gap.contains(&b'\n');
        if ends {
            self.blobs.push(range.clone());
            self.end_blobs();
        }
        ends
    }

    fn end_blobs(&mut self) {
        if !self.blobs.is_empty() {
            payload::decode_blobs(self.text, &self.blobs, &mut self.found.decoded);
            self.blobs.clear();
        }
    }

    /// Anything else up to white space; returns where to go on.
    fn token(&mut self, start: usize) -> usize {
        self.order.other();
        if start >= self.token_end {
            let rest = &self.bytes[start..];
            let length = rest.iter().position(u8::is_ascii_whitespace);
            self.token_end = start + length.unwrap_or(rest.len());
        }
        let end = self.token_end;
        let Some(first) = self.bytes[start..end].iter().position(|b| self.opens(*b)) else {
            return end;
        };
        let start = start + first;
        let apart = self
            .bytes
            .get(start + 1)
            .is_none_or(|b| !b.is_ascii_alphanumeric());
        if apart && let Some(spelled) = spelled::parse(self.text, start) {
            self.end_blobs();
            self.found.repairs.extend(spelled.repair);
            return spelled.end.max(start + 1);
        }
        if start >= self.codes_end {
            let codes = payload::decode_codes(self.text, start);
            self.codes_end = codes.end;
            if let Some(decoded) = codes.decoded {
                self.end_blobs();
                self.found.decoded.push(decoded);
                return codes.end;
            }
        }
        self.core(start, end);
        end
    }

    /// What a token begins with once punctuation before it is left out.
    fn opens(&self, b: u8) -> bool {
        b.is_ascii_alphanumeric() || !b.is_ascii() || matches!(b, b'%' | b'&' | b'\\' | b'$' | b'@')
    }

    /// A token without the punctuation around it.
    fn core(&mut self, start: usize, end: usize) {
        let token = &self.bytes[start..end];
        let closing = token
            .iter()
            .rev()
            .take_while(|&&b| CLOSING[usize::from(b)])
            .count();
        let core = &token[..token.len() - closing];
        let range = start..end - closing;
        let signs = Signs::of(core);
        if core.len() >= 2 && signs.only(Signs::LETTER) {
            return self.word(range);
        }
        if signs.any(Signs::ESCAPE) {
            self.unescape(start..end);
        }
        let padding = core
            .iter()
            .rev()
            .take(2)
            .take_while(|&&b| b == b'=')
            .count();
        let blob = core[..core.len() - padding].iter().all(|&b| is_base64(b));
        if blob && core.len() >= BLOB && is_varied(core) {
            self.blobs.push(range.clone());
        } else if !(blob && self.ends_blob(&range)) {
            self.end_blobs();
            self.inner_blobs(&range);
        }
        if core.len() > LONGEST_TOKEN || signs.any(Signs::SPLIT | Signs::LEET) && is_address(core) {
            return;
        }
        if let Some((text, kind, weight)) = disguise::split_word(core, signs) {
            self.repair(range, text, kind, weight, 1);
        } else {
            self.parts(range, signs);
        }
    }

    /// The words of a token that holds several or other signs.
    fn parts(&mut self, token: Range<usize>, signs: Signs) {
        let leet = signs.any(Signs::DIGIT | Signs::LEET);
        let belongs = |b: u8| b.is_ascii_alphabetic() || leet && disguise::letter_for(b).is_some();
        let mut at = token.start;
        for part in self.bytes[token].split(|&b| !belongs(b)) {
            let range = at..at + part.len();
            at = range.end + 1;
            let letters = part.iter().filter(|b| b.is_ascii_alphabetic()).count();
            if letters < part.len() {
                if let Some((text, kind, weight)) = disguise::leetspeak(part) {
                    // A number or an operator alone says nothing.
                    let count = usize::from(letters > 0);
                    self.repair(range, text, kind, weight, count);
                }
            } else if letters > 2 && self.lexicon.knows(part) {
                self.stretches.known();
            } else if letters > 2 {
                self.stretches.unknown(&range);
                self.unknown_word(range);
            }
        }
    }

    /// A word of letters that the lexicon does not know.
    fn unknown_word(&mut self, range: Range<usize>) {
        let word = &self.bytes[range.clone()];
        let Some((text, kind, weight)) = disguise::unknown_word(word) else {
            return;
        };
        let before = range.start.checked_sub(1).and_then(|at| self.bytes.get(at));
        if kind == Transformation::PrefixedWords && before == Some(&b'\\') {
            return; // "\nText"
        }
        // Names and hashtags are written together by custom.
        let custom = kind == Transformation::JoinedWords
            && (word[1..].iter().any(u8::is_ascii_uppercase)
                && !word.iter().all(u8::is_ascii_uppercase)
                || before.is_some_and(|b| matches!(b, b'#' | b'@' | b'_' | b'.' | b'/')));
        self.found.repairs.push(Repair {
            range,
            text,
            units: Vec::new(),
            kind,
            weight,
            count: usize::from(!custom),
        });
    }

    /// Blobs between other characters of one token.
    fn inner_blobs(&mut self, token: &Range<usize>) {
        if token.len() < PART {
            return;
        }
        let mut at = token.start;
        for part in self.bytes[token.clone()].split(|&b| !is_base64(b)) {
            if part.len() >= PART {
                let blob = at..at + part.len();
                payload::decode_blobs(
                    self.text,
                    std::slice::from_ref(&blob),
                    &mut self.found.decoded,
                );
            }
            at += part.len() + 1;
        }
    }

    fn unescape(&mut self, range: Range<usize>) {
        let word = self.text.get(range.clone());
        let Some((kind, unescaped)) = word.and_then(escape::unescape) else {
            return;
        };
        let Some(weight) = unescaped.weight() else {
            return;
        };
        let place = |unit: Range<usize>| range.start + unit.start..range.start + unit.end;
        let units = unescaped.units.into_iter();
        self.found.repairs.push(Repair {
            units: units.map(|(unit, bytes)| (place(unit), bytes)).collect(),
            range: range.clone(),
            text: unescaped.text,
            kind,
            weight,
            count: unescaped.needless,
        });
    }

    fn repair(
        &mut self,
        range: Range<usize>,
        text: String,
        kind: Transformation,
        weight: u32,
        count: usize,
    ) {
        self.found.repairs.push(Repair {
            range,
            text,
            units: Vec::new(),
            kind,
            weight,
            count,
        });
    }
}
