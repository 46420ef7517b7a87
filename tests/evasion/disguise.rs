//! Ways to write a text past a detector: the transformations of the evasion suite.
//!
//! Each is deterministic in its seed and keeps the text readable for a person or decodable for a
//! language model.

use std::fmt::Write as _;

/// A way to disguise a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evasion {
    /// Zero-width characters between the letters of words.
    ZeroWidth,
    /// Bidirectional controls between letters, and words under a right-to-left override.
    Bidi,
    /// A variation selector after every letter.
    VariationSelectors,
    /// The text smuggled behind an emoji in variation selectors.
    EmojiSmuggling,
    /// The text in Unicode tags behind an innocent one.
    Tags,
    /// Some letters of each word from Cyrillic and Greek.
    MixedConfusables,
    /// All letters that allow it from Cyrillic: words of one alphabet where possible.
    WholeConfusables,
    /// Full-width letters.
    FullWidth,
    /// Mathematical alphanumerics.
    Mathematical,
    /// Stacked combining marks.
    Zalgo,
    /// Every letter apart.
    SpacedLetters,
    /// Digits for letters.
    Leetspeak,
    /// Full stops between the letters of the longer words.
    PunctuatedWords,
    /// An emoji between the letters of words.
    EmojiBetween,
    /// Base64 of the whole.
    Base64,
    /// Hexadecimal of the whole.
    Hex,
    /// Every character percent-encoded.
    Url,
    /// Every character an HTML reference.
    HtmlEntities,
    /// Letters rotated by 13.
    Rot13,
    /// The characters in reverse order.
    Reversed,
    /// A letter before the longer words.
    TokenBreak,
    /// Letters of the longer words said several times.
    RepeatedLetters,
    /// Upper and lower case in turn.
    MixedCase,
    /// Neighbouring letters of longer words swapped.
    Typos,
    /// The words in reverse order.
    ReversedWords,
}

impl Evasion {
    /// Those that normalisation undoes: its canonical text or a derived one holds the original.
    pub(crate) const UNDONE: [Self; 23] = [
        Self::ZeroWidth,
        Self::Bidi,
        Self::VariationSelectors,
        Self::EmojiSmuggling,
        Self::Tags,
        Self::MixedConfusables,
        Self::WholeConfusables,
        Self::FullWidth,
        Self::Mathematical,
        Self::Zalgo,
        Self::SpacedLetters,
        Self::Leetspeak,
        Self::PunctuatedWords,
        Self::EmojiBetween,
        Self::Base64,
        Self::Hex,
        Self::Url,
        Self::HtmlEntities,
        Self::Rot13,
        Self::Reversed,
        Self::TokenBreak,
        Self::RepeatedLetters,
        Self::Typos,
    ];
    /// Those that are left to the tokenizer and the model.
    pub(crate) const REST: [Self; 2] = [Self::MixedCase, Self::ReversedWords];
}

/// A small generator of pseudo-random numbers (SplitMix64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ z >> 31) % bound.max(1) as u64) as usize
    }

    fn one_of(&mut self, from: &[char]) -> char {
        from[self.below(from.len())]
    }
}

/// `text` disguised.
#[must_use]
pub(crate) fn transform(evasion: Evasion, text: &str, seed: u64) -> String {
    let mut random = Random(seed);
    match evasion {
        Evasion::ZeroWidth => between_letters(text, |_| {
            random
                .one_of(&[
                    '\u{200b}', '\u{200c}', '\u{200d}', '\u{2060}', '\u{feff}', '\u{ad}',
                ])
                .into()
        }),
        Evasion::Bidi => between_letters(text, |_| {
            random
                .one_of(&['\u{200e}', '\u{200f}', '\u{202a}', '\u{2066}', '\u{2069}'])
                .into()
        }),
        Evasion::VariationSelectors => between_letters(text, |_| "\u{fe0f}".into()),
        Evasion::EmojiSmuggling => {
            let mut out = String::from("Nice weather today 😊");
            out.extend(text.bytes().filter_map(|b| match b {
                0..16 => char::from_u32(0xfe00 + u32::from(b)),
                _ => char::from_u32(0xe0100 + u32::from(b) - 16),
            }));
            out
        }
        Evasion::Tags => {
            let mut out = String::from("Nice weather today.");
            out.extend(
                text.chars()
                    .filter(char::is_ascii)
                    .filter_map(|c| char::from_u32(0xe0000 + c as u32)),
            );
            out
        }
        Evasion::MixedConfusables => confuse(text, |_| random.below(2) == 0),
        Evasion::WholeConfusables => confuse(text, |_| true),
        Evasion::FullWidth => shift(text, |c| {
            ('!'..='~').contains(&c).then_some(c as u32 + 0xfee0)
        }),
        Evasion::Mathematical => shift(text, |c| match c {
            'A'..='Z' => Some(c as u32 - 0x41 + 0x1d400),
            'a'..='z' => Some(c as u32 - 0x61 + 0x1d41a),
            '0'..='9' => Some(c as u32 - 0x30 + 0x1d7ce),
            _ => None,
        }),
        Evasion::Zalgo => each_letter(text, |c| {
            let mut stacked = String::from(c);
            for _ in 0..3 + random.below(4) {
                stacked.extend(char::from_u32(0x300 + random.below(0x34) as u32));
            }
            stacked
        }),
        Evasion::SpacedLetters => {
            let words = text.split_whitespace().map(|word| join(word, " "));
            words.collect::<Vec<_>>().join("   ")
        }
        Evasion::Leetspeak => shift(text, |c| {
            let digit = match c.to_ascii_lowercase() {
                'a' => '4',
                'e' => '3',
                'i' => '1',
                'o' => '0',
                's' => '5',
                't' => '7',
                _ => return None,
            };
            (random.below(4) > 0).then_some(digit as u32)
        }),
        Evasion::PunctuatedWords => each_word(text, |word| {
            if word.len() > 3 {
                join(word, ".")
            } else {
                word.into()
            }
        }),
        Evasion::EmojiBetween => each_word(text, |word| {
            if word.len() > 3 {
                join(word, "🙂")
            } else {
                word.into()
            }
        }),
        Evasion::Base64 => base64(text.as_bytes()),
        Evasion::Hex => text.bytes().fold(String::new(), |mut out, b| {
            let _ = write!(out, "{b:02x}");
            out
        }),
        Evasion::Url => text.bytes().fold(String::new(), |mut out, b| {
            let _ = write!(out, "%{b:02X}");
            out
        }),
        Evasion::HtmlEntities => text.chars().fold(String::new(), |mut out, c| {
            let _ = write!(out, "&#{};", c as u32);
            out
        }),
        Evasion::Rot13 => shift(text, |c| match c {
            'a'..='z' => Some((c as u32 - 0x61 + 13) % 26 + 0x61),
            'A'..='Z' => Some((c as u32 - 0x41 + 13) % 26 + 0x41),
            _ => None,
        }),
        Evasion::Reversed => text.chars().rev().collect(),
        Evasion::TokenBreak => each_word(text, |word| {
            let letter = random.one_of(&['a', 'f', 'q', 'x', 'z', 'k', 'm']);
            if word.len() > 5 {
                format!("{letter}{word}")
            } else {
                word.into()
            }
        }),
        Evasion::RepeatedLetters => each_word(text, |word| {
            let at = 1 + random.below(word.len().saturating_sub(2));
            let repeat = 2 + random.below(3);
            word.chars()
                .enumerate()
                .fold(String::new(), |mut out, (i, c)| {
                    let times = if i == at && word.len() > 3 {
                        repeat + 1
                    } else {
                        1
                    };
                    out.extend(std::iter::repeat_n(c, times));
                    out
                })
        }),
        Evasion::MixedCase => {
            let mut upper = false;
            each_letter(text, |c| {
                upper = !upper;
                if upper {
                    c.to_ascii_uppercase().into()
                } else {
                    c.to_ascii_lowercase().into()
                }
            })
        }
        Evasion::Typos => each_word(text, |word| {
            let mut letters: Vec<char> = word.chars().collect();
            if letters.len() > 4 {
                let at = 1 + random.below(letters.len() - 3);
                letters.swap(at, at + 1);
            }
            letters.into_iter().collect()
        }),
        Evasion::ReversedWords => text.split_whitespace().rev().collect::<Vec<_>>().join(" "),
    }
}

/// Puts something between each two ASCII letters.
fn between_letters(text: &str, mut between: impl FnMut(char) -> String) -> String {
    let mut out = String::new();
    let mut last = ' ';
    for c in text.chars() {
        if last.is_ascii_alphabetic() && c.is_ascii_alphabetic() {
            out.push_str(&between(c));
        }
        out.push(c);
        last = c;
    }
    out
}

fn each_letter(text: &str, mut each: impl FnMut(char) -> String) -> String {
    let letter = |c: char| {
        if c.is_ascii_alphabetic() {
            each(c)
        } else {
            c.into()
        }
    };
    text.chars().map(letter).collect()
}

/// Changes each run of ASCII letters.
fn each_word(text: &str, mut each: impl FnMut(&str) -> String) -> String {
    let mut out = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let letters = rest
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(rest.len());
        let (word, after) = rest.split_at(letters);
        if !word.is_empty() {
            out.push_str(&each(word));
        }
        let next = after
            .find(|c: char| c.is_ascii_alphabetic())
            .unwrap_or(after.len());
        out.push_str(&after[..next]);
        rest = &after[next..];
    }
    out
}

/// Replaces characters by code point.
fn shift(text: &str, mut to: impl FnMut(char) -> Option<u32>) -> String {
    text.chars()
        .map(|c| to(c).and_then(char::from_u32).unwrap_or(c))
        .collect()
}

fn join(word: &str, with: &str) -> String {
    word.chars()
        .map(String::from)
        .collect::<Vec<_>>()
        .join(with)
}

fn confuse(text: &str, mut wanted: impl FnMut(char) -> bool) -> String {
    const PAIRS: &str = "aаcсeеoоpрxхyуiіsѕjјhһAАBВCСEЕHНKКMМOОPРTТXХuυnոdԁqԛwԝgɡ";
    shift(text, |c| {
        let mut pairs = PAIRS.chars();
        while let (Some(latin), Some(other)) = (pairs.next(), pairs.next()) {
            if latin == c && wanted(c) {
                return Some(other as u32);
            }
        }
        None
    })
}

fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in bytes.chunks(3) {
        let value =
            chunk.iter().fold(0usize, |v, &b| v << 8 | usize::from(b)) << (8 * (3 - chunk.len()));
        for i in 0..4 {
            let digit = ALPHABET[value >> (18 - 6 * i) & 63] as char;
            out.push(if i <= chunk.len() { digit } else { '=' });
        }
    }
    out
}
