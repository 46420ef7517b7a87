//! Characters that leave no ink: removed where they spell nothing, read where they spell something, a space
//! where only they part words.
//!
//! Joiners stay where a script or an emoji needs them, single variation selectors where they select,
//! tags where they make one of the flags there are.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;

use super::class::{Class, class};
use super::fold::Cell;
use super::lexicon::Lexicon;
use super::signal::{Record, Transformation};

/// Hidden characters nearer than this spell one payload, in bytes.
const NEAR: usize = 64;
/// Longest stretch that a direction override is read backwards for, in bytes.
const LONGEST_OVERRIDE: usize = 2048;
/// Hidden characters in a row that are no accident wherever they stand.
const MANY: usize = 4;

/// A text spelled by characters that are not seen.
#[derive(Debug)]
pub(super) struct Payload {
    /// From the first to the last of them, in bytes of the original.
    pub(super) range: Range<usize>,
    pub(super) kind: Transformation,
    pub(super) bytes: Vec<u8>,
}

/// What was found so far, by kind and place.
#[derive(Debug, Default)]
pub(super) struct Payloads {
    pub(super) tags: Vec<Payload>,
    pub(super) selectors: Vec<Payload>,
    pub(super) overrides: Vec<Payload>,
}

/// Removes hidden characters from a piece. `before` and `after` are the characters around it.
pub(super) fn remove(
    text: &str,
    cells: &mut Vec<Cell>,
    before: Option<char>,
    after: Option<char>,
    payloads: &mut Payloads,
    record: &mut Record,
) {
    if !cells.iter().any(|cell| cell.class.is_hidden()) {
        return;
    }
    let hyphens = cells
        .iter()
        .filter(|cell| cell.class == Class::SoftHyphen)
        .count();
    let letters = cells
        .iter()
        .filter(|cell| cell.class.is_alphabetic())
        .count();
    let shredded = hyphens * 3 >= letters;
    let parting = parting(cells);

    let mut done: Vec<Cell> = Vec::with_capacity(cells.len());
    let mut at = 0;
    while let Some(cell) = cells.get(at) {
        let run = cells[at..]
            .iter()
            .take_while(|cell| cell.class.is_hidden())
            .count();
        if run == 0 {
            done.push(cell.clone());
            at += 1;
            continue;
        }
        let group = &cells[at..at + run];
        let last_seen = done.iter().rev().find(|cell| !cell.class.is_hidden());
        let previous = last_seen.map(|cell| cell.c).or(before);
        let next = cells.get(at + run).map(|cell| cell.c).or(after);
        read(text, group, previous, payloads);
        let removed = keep_needed(group, previous, next, &mut done);
        count(group, removed, previous, next, shredded, record);
        if removed == run && parting.binary_search(&cell.from.start).is_ok() {
            done.push(Cell::new(cell.from.start..group[run - 1].from.end, ' '));
        }
        at += run;
    }
    *cells = done;
}

/// Where hidden characters stand in for spaces: between words that are known, where all of them together
/// are none.
fn parting(cells: &[Cell]) -> Vec<usize> {
    /// Words in one where soft hyphens part them; compounds have fewer.
    const HYPHENATED: usize = 4;
    let belongs = |cell: &Cell| cell.class == Class::Ascii || cell.class.is_hidden();
    let lexicon = Lexicon::get();
    let mut parting = Vec::new();
    for stretch in cells.chunk_by(|a, b| belongs(a) == belongs(b)) {
        let least = match stretch.iter().any(|c| c.class == Class::SoftHyphen) {
            true => HYPHENATED,
            false => 2,
        };
        let word = |cells: &[Cell]| -> Vec<u8> {
            let letters = cells.iter().filter(|cell| cell.c.is_ascii_alphabetic());
            letters.map(|cell| cell.c as u8).collect()
        };
        let pieces = || {
            let pieces = stretch.split(|cell| cell.class != Class::Ascii);
            pieces.filter(|piece| !piece.is_empty())
        };
        let whole = word(stretch);
        let known = pieces().filter(|piece| lexicon.knows(&word(piece)));
        let known: usize = known.map(<[Cell]>::len).sum();
        let count = pieces().count();
        let words = count >= least && whole.len() >= 3 * count && known * 10 >= whole.len() * 7;
        if !words || lexicon.knows(&whole) {
            continue;
        }
        let hidden = stretch.windows(2).filter(|pair| {
            let into = pair[1].class != Class::Ascii;
            pair[0].class == Class::Ascii && into
        });
        parting.extend(hidden.map(|pair| pair[1].from.start));
    }
    parting
}

/// Keeps what the neighbours need; returns how many of the group were not kept.
fn keep_needed(
    group: &[Cell],
    previous: Option<char>,
    next: Option<char>,
    done: &mut Vec<Cell>,
) -> usize {
    if previous == Some('\u{1f3f4}') && is_flag(group) {
        done.extend_from_slice(group);
        return 0;
    }
    let selectors = group
        .iter()
        .filter(|cell| cell.class == Class::Variation)
        .count();
    let joiners = group
        .iter()
        .filter(|cell| cell.class == Class::Joiner)
        .count();
    let mut removed = group.len();
    for (i, cell) in group.iter().enumerate() {
        let needed = match cell.class {
            Class::Variation => {
                let base = previous.filter(|c| keeps_selector(*c));
                // Of a digit or sign, only a keycap is made.
                let keycap = next == Some('\u{20e3}');
                i == 0 && selectors == 1 && base.is_some_and(|c| !c.is_ascii() || keycap)
            }
            Class::Joiner => joiners == 1 && joins(previous) && joins(next),
            // What is left of an old Hangul syllable.
            Class::Invisible => {
                matches!(cell.c, '\u{115f}' | '\u{1160}')
                    && [previous, next]
                        .into_iter()
                        .flatten()
                        .any(|c| class(c) == Class::Jamo)
            }
            _ => false,
        };
        if needed {
            done.push(cell.clone());
            removed -= 1;
        }
    }
    removed
}

/// Whether a variation selector after `c` selects one of its forms.
fn takes_selector(c: char) -> bool {
    let class = class(c);
    matches!(
        class,
        Class::Shaped | Class::Styled | Class::EastAsian | Class::ScriptMark
    ) || class == Class::Plain && (!c.is_ascii() || c.is_ascii_digit() || c == '#' || c == '*')
}

/// Whether what `c` is folded to takes a selector as well: of `％` only `%` is left, which has one form.
fn keeps_selector(c: char) -> bool {
    takes_selector(c) && std::iter::once(c).nfkc().next().is_none_or(takes_selector)
}

/// Whether a joiner beside `c` changes how it is written: scripts that are shaped, and emoji.
fn joins(c: Option<char>) -> bool {
    c.is_some_and(|c| {
        matches!(class(c), Class::Shaped | Class::ScriptMark)
            || class(c) == Class::Plain && !c.is_ascii()
    })
}

/// Whether the tags of a group name a flag that exists.
fn is_flag(group: &[Cell]) -> bool {
    let (Some(end), true) = (group.last(), group.len() <= 7) else {
        return false;
    };
    let region: String = group[..group.len() - 1]
        .iter()
        .filter_map(|cell| tag(cell.c))
        .collect();
    let known = ["gbeng", "gbsct", "gbwls", "gbnir"].contains(&region.as_str())
        || region.len() == 4 && (region.starts_with("us") || region.starts_with("ca"));
    end.c == '\u{e007f}' && region.len() + 1 == group.len() && known
}

/// The ASCII character that a tag stands for.
fn tag(c: char) -> Option<char> {
    match c as u32 {
        code @ (0xe0009 | 0xe000a | 0xe000d | 0xe0020..=0xe007e) => char::from_u32(code - 0xe0000),
        _ => None,
    }
}

/// The byte that a variation selector stands for when it smuggles one.
fn selected_byte(c: char) -> Option<u8> {
    match c as u32 {
        code @ 0xfe00..=0xfe0f => Some((code - 0xfe00) as u8),
        code @ 0xe0100..=0xe01ef => Some((code - 0xe0100 + 16) as u8),
        _ => None,
    }
}

/// Collects what the hidden characters of a group spell.
fn read(text: &str, group: &[Cell], previous: Option<char>, payloads: &mut Payloads) {
    let flag = previous == Some('\u{1f3f4}') && is_flag(group);
    let selectors = group
        .iter()
        .filter(|cell| cell.class == Class::Variation)
        .count();
    for cell in group {
        match cell.class {
            Class::Tag if !flag => {
                if let Some(c) = tag(cell.c) {
                    add(&mut payloads.tags, Transformation::Tags, cell, c as u8);
                }
            }
            Class::Variation if selectors > 1 || !previous.is_some_and(takes_selector) => {
                if let Some(byte) = selected_byte(cell.c) {
                    let kind = Transformation::VariationSelectors;
                    add(&mut payloads.selectors, kind, cell, byte);
                }
            }
            Class::Override => read_override(text, cell, &mut payloads.overrides),
            _ => {}
        }
    }
}

fn add(payloads: &mut Vec<Payload>, kind: Transformation, cell: &Cell, byte: u8) {
    match payloads.last_mut() {
        Some(payload) if cell.from.start <= payload.range.end + NEAR => {
            payload.range.end = cell.from.end;
            payload.bytes.push(byte);
        }
        _ => payloads.push(Payload {
            range: cell.from.clone(),
            kind,
            bytes: vec![byte],
        }),
    }
}

/// Reads what an override shows from right to left, up to the end of its line or embedding.
fn read_override(text: &str, cell: &Cell, overrides: &mut Vec<Payload>) {
    let start = cell.from.end;
    let reached = overrides.last().map_or(0, |payload| payload.range.end);
    if cell.c != '\u{202e}' || start < reached {
        return;
    }
    let shown = text[start..].char_indices().find(|&(at, c)| {
        at >= LONGEST_OVERRIDE || matches!(c, '\n' | '\u{202c}' | '\u{202d}' | '\u{202e}')
    });
    let end = shown.map_or(text.len(), |(at, _)| start + at);
    let inside = text.get(start..end).unwrap_or_default();
    let reversed: String = inside
        .chars()
        .rev()
        .filter(|&c| !class(c).is_hidden())
        .collect();
    overrides.push(Payload {
        range: start..end,
        kind: Transformation::Reversed,
        bytes: reversed.into_bytes(),
    });
}

/// Notes what was removed as far as ordinary text has no use for it there.
fn count(
    group: &[Cell],
    removed: usize,
    previous: Option<char>,
    next: Option<char>,
    shredded: bool,
    record: &mut Record,
) {
    let (Some(first), Some(last)) = (group.first(), group.last()) else {
        return;
    };
    let range = first.from.start..last.from.end;
    let letter = |c: Option<char>| c.is_some_and(|c| class(c).is_alphabetic());
    let in_word = letter(previous) && letter(next);
    let of = |wanted: &[Class]| group.iter().filter(|c| wanted.contains(&c.class)).count();
    let many = removed >= MANY;
    let odd = |n: usize| if in_word || many { n } else { 0 };
    if removed == 0 {
        return;
    }
    let selectors = of(&[Class::Variation]);
    let kept_one = usize::from(removed < group.len());
    let hyphens = if shredded {
        of(&[Class::SoftHyphen])
    } else {
        0
    };
    record.note(Transformation::Tags, range.clone(), of(&[Class::Tag]));
    let selectors = if selectors > kept_one && (in_word || selectors > 1) {
        selectors
    } else {
        0
    };
    record.note(Transformation::VariationSelectors, range.clone(), selectors);
    let invisible = of(&[Class::Invisible, Class::Joiner]) + hyphens;
    record.note(Transformation::Invisible, range.clone(), odd(invisible));
    let overrides = of(&[Class::Override]);
    record.note(
        Transformation::Bidi,
        range,
        odd(of(&[Class::Bidi])).max(2 * overrides),
    );
}
