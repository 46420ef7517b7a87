//! Words spelled letter by letter: "i g n o r e", "i.g.n.o.r.e", "i🙂g🙂n🙂o🙂r🙂e".

use std::ops::Range;

use super::disguise::letter_for;
use super::lexicon::Lexicon;
use super::repair::Repair;
use super::signal::Transformation;

/// Letters below which nothing is spelled.
const LEAST: usize = 4;
/// Characters between two letters, at most.
const WIDEST_GAP: usize = 6;
/// Letters that are cut into words at once.
const AT_ONCE: usize = 400;
/// Letters of one word, at most, where the ends of words show.
const LONGEST_WORD: usize = 24;

/// Single letters one after the other.
#[derive(Debug)]
pub(super) struct Spelled {
    /// Where they end, in bytes.
    pub(super) end: usize,
    /// The words they spell, if they do.
    pub(super) repair: Option<Repair>,
}

/// Reads single letters and digits from `start` on; `None` where they are too few to spell anything.
pub(super) fn parse(text: &str, start: usize) -> Option<Spelled> {
    let bytes = text.as_bytes();
    let first = *bytes.get(start)?;
    let mut gap = after_gap(text, start + 1)?;
    if !first.is_ascii_alphanumeric() {
        return None;
    }
    let mut letters = vec![first];
    let mut gaps: Vec<Range<usize>> = Vec::new();
    let mut end = start + 1;
    while bytes
        .get(gap + 1)
        .is_none_or(|b| !b.is_ascii_alphanumeric())
    {
        gaps.push(end..gap);
        letters.push(bytes[gap]);
        end = gap + 1;
        let Some(next) = after_gap(text, end) else {
            break;
        };
        gap = next;
    }
    (letters.len() >= LEAST).then(|| Spelled {
        end,
        repair: spell(text, start..end, &letters, &gaps),
    })
}

/// The first ASCII letter or digit after `end`, if it lies within reach and something lies between.
fn after_gap(text: &str, end: usize) -> Option<usize> {
    let mut chars = text.get(end..)?.char_indices();
    for _ in 0..=WIDEST_GAP {
        let (at, c) = chars.next()?;
        if c.is_alphanumeric() {
            return (at > 0 && c.is_ascii()).then_some(end + at);
        }
    }
    None
}

/// The words that `letters` with `gaps` between them spell.
fn spell(text: &str, range: Range<usize>, letters: &[u8], gaps: &[Range<usize>]) -> Option<Repair> {
    let digits = letters.iter().filter(|b| b.is_ascii_digit()).count();
    if digits * 2 > letters.len() {
        return None;
    }
    let gap = |range: &Range<usize>| text.get(range.clone()).unwrap_or_default();
    let narrow = most_frequent(gaps.iter().map(gap))?;
    let spaced = narrow.contains(char::is_whitespace);
    let width = narrow.chars().count();
    // What parts words shows where it is wider, or where only it has white space.
    let parts_words = |gap: &str| {
        gap.contains(char::is_whitespace)
            && gap != narrow
            && (!spaced || gap.chars().count() > width)
    };
    let lexicon = Lexicon::get();
    let ends_show = !spaced || gaps.iter().any(|range| parts_words(gap(range)));
    let mut out = String::with_capacity(letters.len() * 2);
    let (mut known, mut words, mut longest) = (0, 0, 0);
    let mut start = 0;
    while start < letters.len() {
        let rest = gaps.iter().skip(start).take(AT_ONCE);
        let to_end = rest.take_while(|range| !parts_words(gap(range))).count() + 1;
        let length = to_end.min(AT_ONCE).min(letters.len() - start);
        let joined: Vec<u8> = letters[start..start + length]
            .iter()
            .map(|&b| letter_for(b).unwrap_or(b))
            .collect();
        let pieces = lexicon.segment(&joined.to_ascii_lowercase());
        for &(length, word) in &pieces {
            if word && (length >= 3 || pieces.len() > 3) {
                known += length;
                words += usize::from(length >= 3);
                longest = longest.max(length);
            }
        }
        let whole = ends_show && length <= LONGEST_WORD;
        let cuts = if whole {
            vec![length]
        } else {
            pieces.iter().map(|piece| piece.0).collect()
        };
        let mut at = 0;
        for cut in cuts {
            if !out.is_empty() {
                out.push(' ');
            }
            out.extend(joined[at..at + cut].iter().map(|&b| char::from(b)));
            at += cut;
        }
        // Signs at the end of a word stay there.
        let after = gaps
            .get(start + length - 1)
            .map(gap)
            .filter(|gap| parts_words(gap));
        out.extend(after.and_then(|gap| gap.chars().find(char::is_ascii_punctuation)));
        start += length;
    }
    let reads = longest >= 4 && known * 10 >= letters.len() * 7;
    // Words of a language that the lexicon lacks.
    let vowels = letters.iter().filter(|b| b"aeiouAEIOU".contains(b)).count();
    let lower = letters.iter().filter(|b| b.is_ascii_lowercase()).count();
    let sounds = (letters.len() / 4..=letters.len() * 2 / 3).contains(&vowels);
    let foreign = ends_show && sounds && lower * 3 >= letters.len() * 2;
    let least = if spaced { 3 * LEAST } else { LEAST + 2 };
    Some(Repair {
        range,
        text: out,
        units: Vec::new(),
        kind: if spaced {
            Transformation::SpacedLetters
        } else {
            Transformation::SplitWords
        },
        weight: match reads {
            true if letters.len() > LEAST => 2,
            true => 1,
            false if foreign && letters.len() >= 3 * least => 2,
            false if foreign && letters.len() >= least => 1,
            false => 0,
        },
        count: words.max(1),
    })
}

/// The most frequent item; of equal ones the first.
fn most_frequent<'t>(items: impl Iterator<Item = &'t str>) -> Option<&'t str> {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for item in items {
        if let Some((_, count)) = counts.iter_mut().find(|(known, _)| *known == item) {
            *count += 1;
        } else if counts.len() < 16 {
            // Ever new gaps are no spelling; the bound keeps this linear.
            counts.push((item, 1));
        }
    }
    counts
        .into_iter()
        .rev()
        .max_by_key(|(_, count)| *count)
        .map(|(item, _)| item)
}
