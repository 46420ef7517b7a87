//! Folding in place: what changes the canonical text itself, because the meaning stays.
//!
//! Only pieces (runs without ASCII punctuation and white space) that hold a character in need of work
//! leave the fast path; a piece becomes cells, each step works on the cells, and what differs from the
//! original at the end is written with its place.

use std::borrow::Cow;
use std::ops::Range;

use super::class::{Class, class};
use super::hidden::{self, Payloads};
use super::letters;
use super::map::{MapBuilder, OffsetMap};
use super::repair::Repair;
use super::signal::{Record, Transformation};

/// Characters of a piece after which it is cut where a cut does no harm, and where it is cut anyway.
const PIECE: usize = 512;
const LONGEST_PIECE: usize = 4096;

/// One character to be, and the original bytes behind it.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    pub(super) from: Range<usize>,
    pub(super) c: char,
    pub(super) class: Class,
}

impl Cell {
    pub(super) fn new(from: Range<usize>, c: char) -> Self {
        let class = class(c);
        Self { from, c, class }
    }
}

/// A text with everything folded that may be folded in place.
#[derive(Debug)]
pub(super) struct Folded<'t> {
    pub(super) text: Cow<'t, str>,
    pub(super) map: OffsetMap,
    /// Another reading of words, in bytes of `text`, by place.
    pub(super) repairs: Vec<Repair>,
    /// What invisible characters spelled.
    pub(super) payloads: Payloads,
}

/// Folds `text`; notes what was undone in `record`.
pub(super) fn fold<'t>(text: &'t str, record: &mut Record) -> Folded<'t> {
    let mut folder = Folder {
        text,
        flushed: 0,
        out: String::new(),
        map: MapBuilder::default(),
        repairs: Vec::new(),
        payloads: Payloads::default(),
        record,
    };
    let mut cells = Vec::new();
    let mut at = 0;
    while let Some(found) = next_special(text.as_bytes(), at) {
        let start = word_start(text.as_bytes(), at, found);
        let (end, classes) = piece(text, start);
        if needs_work(classes) {
            folder.work(start..end, &mut cells);
        }
        let character = text.get(found..).and_then(|rest| rest.chars().next());
        at = end.max(found + character.map_or(1, char::len_utf8));
    }
    folder.finish()
}

/// The first byte at or after `from` that is no ordinary ASCII.
fn next_special(bytes: &[u8], from: usize) -> Option<usize> {
    let special = |b: u8| (b < 0x20) & (b != 9) & (b != 10) & (b != 13) | (b >= 0x7f);
    let mut at = from;
    for chunk in bytes.get(from..)?.chunks(64) {
        if chunk.iter().fold(false, |any, &b| any | special(b)) {
            return chunk.iter().position(|&b| special(b)).map(|i| at + i);
        }
        at += chunk.len();
    }
    None
}

/// Where the run of ASCII letters and digits before `found` starts, not before `least`.
fn word_start(bytes: &[u8], least: usize, found: usize) -> usize {
    let before = bytes.get(least..found).unwrap_or_default();
    found
        - before
            .iter()
            .rev()
            .take_while(|b| b.is_ascii_alphanumeric())
            .take(PIECE / 2) // so that the piece goes beyond `found`
            .count()
}

/// The end of the piece that starts at `start`, and the set of its classes.
fn piece(text: &str, start: usize) -> (usize, u32) {
    let mut classes = 0;
    let mut after_ascii = text[..start].ends_with(|c: char| c.is_ascii());
    for (count, (at, c)) in text[start..].char_indices().enumerate() {
        if c.is_ascii() && !c.is_ascii_alphanumeric() && class(c) == Class::Plain {
            return (start + at, classes);
        }
        let class = class(c);
        let breaks = matches!(class, Class::Plain | Class::Shaped | Class::Ascii);
        if count >= LONGEST_PIECE || (count >= PIECE && breaks) {
            return (start + at, classes);
        }
        classes |= match class {
            Class::EastAsian if !after_ascii => Class::Plain.bit(),
            class => class.bit(),
        };
        if class != Class::Mark && !class.is_hidden() {
            after_ascii = c.is_ascii();
        }
    }
    (text.len(), classes)
}

/// Whether a piece of these classes may have to be changed.
fn needs_work(classes: u32) -> bool {
    const CALM: [Class; 8] = [
        Class::Plain,
        Class::Ascii,
        Class::Latin,
        Class::LatinAlike,
        Class::Lookalike,
        Class::Foreign,
        Class::Shaped,
        Class::ScriptMark,
    ];
    let has = |class: Class| classes & class.bit() != 0;
    let calm = CALM.into_iter().fold(0, |set, class| set | class.bit());
    classes & !calm != 0
        || has(Class::ScriptMark) && !has(Class::Shaped)
        || has(Class::LatinAlike)
        || has(Class::Lookalike) && (has(Class::Ascii) || !has(Class::Foreign))
}

struct Folder<'t, 'r> {
    text: &'t str,
    /// Original bytes up to here are written.
    flushed: usize,
    out: String,
    map: MapBuilder,
    repairs: Vec<Repair>,
    payloads: Payloads,
    record: &'r mut Record,
}

impl<'t> Folder<'t, '_> {
    /// Works on one piece.
    fn work(&mut self, piece: Range<usize>, cells: &mut Vec<Cell>) {
        cells.clear();
        let slice = self.text.get(piece.clone()).unwrap_or_default();
        cells.extend(slice.char_indices().map(|(at, c)| {
            let at = piece.start + at;
            Cell::new(at..at + c.len_utf8(), c)
        }));
        let before = self.text[..piece.start].chars().next_back();
        let after = self.text[piece.end..].chars().next();
        hidden::remove(
            self.text,
            cells,
            before,
            after,
            &mut self.payloads,
            self.record,
        );
        letters::make_ordinary(cells, before, self.record);
        letters::settle_marks(cells, before, self.record);
        let readings = letters::fold_lookalikes(cells, self.record);
        self.write(piece, cells, &readings);
    }

    /// Writes the cells of a piece, copying what did not change.
    fn write(&mut self, piece: Range<usize>, cells: &[Cell], readings: &[letters::Reading]) {
        self.copy_to(piece.start);
        let mut readings = readings.iter().peekable();
        let mut starts_at = 0;
        let mut first = 0;
        while let Some(cell) = cells.get(first) {
            // Cells of one original range are one unit.
            let unit = cells[first..]
                .iter()
                .take_while(|c| c.from == cell.from)
                .count();
            let written = self.out.len();
            if readings
                .peek()
                .is_some_and(|r| (first..first + unit).contains(&r.cells.start))
            {
                starts_at = written;
            }
            self.out
                .extend(cells[first..first + unit].iter().map(|cell| cell.c));
            if self.out.get(written..) == self.text.get(cell.from.clone()) {
                self.map.copied(cell.from.clone());
            } else {
                self.map
                    .changed(cell.from.clone(), self.out.len() - written);
            }
            first += unit;
            if let Some(reading) = readings.next_if(|r| r.cells.end <= first) {
                self.repairs.push(Repair {
                    range: starts_at..self.out.len(),
                    text: reading.text.clone(),
                    units: Vec::new(),
                    kind: Transformation::Confusables,
                    weight: reading.weight,
                    count: reading.count,
                });
            }
        }
        self.flushed = piece.end;
    }

    /// Copies the original as it is up to `end`.
    fn copy_to(&mut self, end: usize) {
        if let Some(calm) = self.text.get(self.flushed..end) {
            self.out.push_str(calm);
            self.map.copied(self.flushed..end);
            self.flushed = end;
        }
    }

    fn finish(mut self) -> Folded<'t> {
        let text = self.text;
        let untouched = self.flushed == 0;
        if !untouched {
            self.copy_to(text.len());
        }
        let (text, map) = if untouched {
            (Cow::Borrowed(text), OffsetMap::identity(text.len()))
        } else {
            let map = self.map.finish(text.len());
            if map.is_identity() && self.out == text {
                (Cow::Borrowed(text), map)
            } else {
                (Cow::Owned(self.out), map)
            }
        };
        Folded {
            text,
            map,
            repairs: self.repairs,
            payloads: self.payloads,
        }
    }
}
