//! Single words in disguise: digits for letters, punctuation between them, letters before, letters
//! again and again, spaces left out, letters swapped.

use super::lexicon::{LONGEST, Lexicon};
use super::signal::Transformation;

/// Another reading of a word, how it was disguised, and the weight of a [`super::repair::Repair`].
pub(super) type Disguise = (String, Transformation, u32);

/// Shortest and longest run of letters that is cut into words.
const JOINED: std::ops::RangeInclusive<usize> = 16..=200;

/// Tries a word of ASCII letters that the lexicon does not know.
pub(super) fn unknown_word(word: &[u8]) -> Option<Disguise> {
    let lexicon = Lexicon::get();
    if word.len() < 4 {
        return None;
    }
    let thrice = |w: &[u8]| w.iter().all(|b| b.eq_ignore_ascii_case(&w[0]));
    if word.windows(3).any(thrice) {
        let drawn_out = Transformation::RepeatedLetters;
        return match lexicon.drawn_out(word) {
            Some(target) if target.len() < 4 => Some((target.to_owned(), drawn_out, 0)),
            Some(target) => Some((target.to_owned(), drawn_out, 1)),
            None => Some((once(word), drawn_out, 0)),
        };
    }
    if let Some(target) = said_twice(word) {
        return Some((target, Transformation::RepeatedLetters, 1));
    }
    if JOINED.contains(&word.len())
        && let Some(joined) = joined(word)
    {
        return Some(joined);
    }
    let rest = word.get(1..)?;
    let weight = match rest.len() {
        0..=3 => return None,
        4 if lexicon.rank(rest).is_some() => 0,
        5 if lexicon.rank(rest).is_some() => 1,
        6.. if lexicon.rank(rest).is_some() => 2,
        5.. if is_inflected(rest) => 0,
        _ => {
            let target = lexicon.swapped(word)?;
            return Some((target.to_owned(), Transformation::SwappedLetters, 1));
        }
    };
    Some((text(rest), Transformation::PrefixedWords, weight))
}

/// Whether `word` is a known word with a common ending.
fn is_inflected(word: &[u8]) -> bool {
    [&b"s"[..], b"es", b"d", b"ed", b"ing", b"ly", b"er", b"ion"]
        .iter()
        .any(|ending| {
            word.split_at_checked(word.len().saturating_sub(ending.len()))
                .is_some_and(|(stem, end)| {
                    stem.len() >= 4
                        && end.eq_ignore_ascii_case(ending)
                        && Lexicon::get().rank(stem).is_some()
                })
        })
}

/// `word` with letters said three times or more said once.
fn once(word: &[u8]) -> String {
    let runs = word.chunk_by(|a, b| a.eq_ignore_ascii_case(b));
    let said = runs.flat_map(|run| &run[..if run.len() > 2 { 1 } else { run.len() }]);
    said.map(|&b| char::from(b)).collect()
}

/// The known word that `word` says each letter of twice.
fn said_twice(word: &[u8]) -> Option<String> {
    let pairs = word.chunks_exact(2);
    if !pairs.remainder().is_empty() || pairs.clone().any(|pair| pair[0] != pair[1]) {
        return None;
    }
    let once: Vec<u8> = pairs.map(|pair| pair[0]).collect();
    Lexicon::get().rank(&once).map(|_| text(&once))
}

/// Words without the spaces between them.
fn joined(word: &[u8]) -> Option<Disguise> {
    let lower = word.to_ascii_lowercase();
    let pieces = Lexicon::get().segment(&lower);
    let long = pieces
        .iter()
        .filter(|(length, word)| *word && *length >= 3)
        .count();
    // Long words of Latin and Greek stock fall into short pieces, text into longer ones.
    let letters = if word.len() < 18 { 4.0 } else { 3.4 };
    let short = (word.len() as f32) < letters * pieces.len() as f32;
    if long < 3 || short || !pieces.iter().all(|(_, word)| *word) {
        return None;
    }
    let mut rest = word;
    let words: Vec<String> = pieces
        .iter()
        .filter_map(|&(length, _)| {
            let (piece, after) = rest.split_at_checked(length)?;
            rest = after;
            Some(text(piece))
        })
        .collect();
    Some((words.join(" "), Transformation::JoinedWords, 2))
}

/// Which kinds of bytes a token holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Signs(u8);

impl Signs {
    pub(super) const LETTER: u8 = 1;
    pub(super) const DIGIT: u8 = 2;
    /// Signs that stand for letters.
    pub(super) const LEET: u8 = 4;
    /// Signs that split words.
    pub(super) const SPLIT: u8 = 8;
    /// Signs that begin an escape.
    pub(super) const ESCAPE: u8 = 16;
    const OTHER: u8 = 32;

    const TABLE: [u8; 256] = {
        let mut table = [0; 256];
        let mut b = 0;
        while b < 256 {
            table[b] = match b as u8 {
                b'a'..=b'z' | b'A'..=b'Z' => Self::LETTER,
                b'0'..=b'9' => Self::DIGIT,
                b'@' | b'$' | b'!' => Self::LEET,
                b'|' | b'+' => Self::LEET | Self::SPLIT,
                b'.' | b'-' | b'_' | b'*' | b'~' | b'^' | b'/' | b',' | b':' | b';' | b'='
                | b'#' | b'`' => Self::SPLIT,
                b'%' | b'&' | b'\\' => Self::ESCAPE,
                _ => Self::OTHER,
            };
            b += 1;
        }
        table
    };

    pub(super) fn of(token: &[u8]) -> Self {
        Self(
            token
                .iter()
                .fold(0, |all, &b| all | Self::TABLE[usize::from(b)]),
        )
    }

    pub(super) fn any(self, of: u8) -> bool {
        self.0 & of != 0
    }

    pub(super) fn only(self, of: u8) -> bool {
        self.0 & !of == 0
    }
}

/// The letter that a digit or sign stands for; `1` and its like are tried as `l` too.
pub(super) fn letter_for(b: u8) -> Option<u8> {
    Some(match b {
        b'0' => b'o',
        b'1' | b'!' | b'|' => b'i',
        b'3' => b'e',
        b'4' | b'@' => b'a',
        b'5' | b'$' => b's',
        b'7' | b'+' => b't',
        b'8' => b'b',
        b'9' => b'g',
        b'2' => b'z',
        b'6' => b'g',
        b if b.is_ascii_alphabetic() => b,
        _ => return None,
    })
}

/// Digits and signs for letters in `part`, where that makes a word.
pub(super) fn leetspeak(part: &[u8]) -> Option<Disguise> {
    let lexicon = Lexicon::get();
    let letter = |b: &u8| b.is_ascii_alphabetic();
    if part.len() > LONGEST {
        return None;
    }
    let letters = part.iter().filter(|b| letter(b)).count();
    // "step5", "4you", "@name": a word with a number or a sign to it.
    let head = part.iter().rposition(letter).map_or(0, |last| last + 1);
    let tail = part.iter().position(letter).unwrap_or(0);
    if head < part.len() && lexicon.knows(&part[..head]) || tail > 0 && lexicon.knows(&part[tail..])
    {
        return None;
    }
    let plain: Vec<u8> = part.iter().map(|&b| letter_for(b)).collect::<Option<_>>()?;
    let unsure: Vec<usize> = (0..part.len())
        .filter(|&i| matches!(part[i], b'1' | b'!' | b'|'))
        .collect();
    let inner = letters > 0 && part[tail..head].iter().any(|b| !letter(b));
    // Every way to read up to three of them; above, all are read alike.
    for way in 0..1usize << unsure.len().min(3) {
        let mut word = plain.clone();
        for (k, &i) in unsure.iter().enumerate() {
            if way >> k.min(2) & 1 == 1 {
                word[i] = b'l';
            }
        }
        if lexicon.rank(&word).is_some() {
            let weight = match word.len() {
                0..=2 => 0,
                _ if letters == 0 => 0,
                3 => 1,
                _ if inner => 2,
                _ => 1,
            };
            return Some((text(&word), Transformation::Leetspeak, weight));
        }
    }
    (inner && part.len() >= 4).then(|| (text(&plain), Transformation::Leetspeak, 0))
}

/// Punctuation inside a word, where what is left is a word and the parts are not.
pub(super) fn split_word(token: &[u8], signs: Signs) -> Option<Disguise> {
    if !signs.only(Signs::LETTER | Signs::SPLIT | Signs::LEET) || token.len() > 2 * LONGEST {
        return None;
    }
    let letters: Vec<u8> = token
        .iter()
        .copied()
        .filter(u8::is_ascii_alphabetic)
        .collect();
    let is_split = |b: &u8| Signs::TABLE[usize::from(*b)] & Signs::SPLIT != 0;
    let splits = token.iter().filter(|b| is_split(b)).count();
    if letters.len() < 5 || letters.len() + splits != token.len() {
        return None;
    }
    let lexicon = Lexicon::get();
    lexicon.rank(&letters)?;
    let mut parts = token.split(|b| is_split(b)).filter(|part| !part.is_empty());
    let rare = token.iter().any(|b| b"*~^|+=#`".contains(b));
    let apart = parts.clone().count() > 1;
    let words = parts.all(|part| part.len() > 1 && lexicon.knows(part));
    (apart && (rare || !words)).then(|| {
        let weight = if splits > 1 || rare { 2 } else { 1 };
        (text(&letters), Transformation::SplitWords, weight)
    })
}

fn text(letters: &[u8]) -> String {
    String::from_utf8_lossy(letters).into_owned()
}
