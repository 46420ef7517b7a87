//! The letters of a piece: ordinary forms for compatible and styled ones, composed marks, and Latin
//! letters for those of other alphabets that only look Latin.

use std::ops::Range;

use unicode_normalization::char::{canonical_combining_class, compose};

use super::class::{Class, class, is_confusable, is_ordinary_mark, is_stroke, lookalike, ordinary};
use super::fold::Cell;
use super::lexicon::Lexicon;
use super::signal::{Record, Transformation};

/// Marks on one letter above which they are no spelling.
const MOST_MARKS: usize = 2;
/// The same for marks of one script; Tibetan and pointed, accented Hebrew go furthest.
const MOST_SCRIPT_MARKS: usize = 6;
/// Styled letters in a row that make a word; fewer are exponents, footnotes and blood groups.
const STYLED_WORD: usize = 3;

/// Another reading of the word in `cells`; the same where it was folded in place.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) cells: Range<usize>,
    pub(super) text: String,
    /// As of a [`super::repair::Repair`].
    pub(super) weight: u32,
    pub(super) count: usize,
}

/// Folds compatible and styled characters and odd spaces to ordinary ones, blanks between letters to spaces.
/// `before` is the character before the piece.
pub(super) fn make_ordinary(cells: &mut Vec<Cell>, before: Option<char>, record: &mut Record) {
    let folds = |cell: &Cell| {
        use Class::{Blank, Compatible, EastAsian, Space, Styled};
        matches!(cell.class, Blank | Compatible | EastAsian | Space | Styled)
    };
    if !cells.iter().any(folds) {
        return;
    }
    let mut styled_words = vec![false; cells.len()];
    mark_runs(
        cells,
        |c| c.class == Class::Styled,
        |run| {
            if run.len() >= STYLED_WORD {
                styled_words[run].fill(true);
            }
        },
    );

    let mut parting = vec![false; cells.len()];
    mark_runs(
        cells,
        |c| matches!(c.class, Class::Blank | Class::Mark),
        |run| {
            let first = match run.start.checked_sub(1) {
                Some(at) => cells.get(at).map(|cell| cell.c),
                None => before,
            };
            let last = cells.get(run.end).map(|cell| cell.c);
            let between = [first, last].map(|c| c.is_some_and(char::is_alphanumeric));
            parting[run].fill(between == [true, true]);
        },
    );

    let mut done: Vec<Cell> = Vec::with_capacity(cells.len());
    let mut letters = Vec::new();
    let mut word = Restyled::default();
    // The last character that is no mark, and how many cells were done then.
    let (mut previous, mut seen) = (before, 0);
    for (i, cell) in cells.iter().enumerate() {
        let new = done.get(seen..).unwrap_or_default().iter();
        let base = new.rev().find(|cell| cell.class != Class::Mark);
        (previous, seen) = (base.map_or(previous, |cell| Some(cell.c)), done.len());
        let beside_ascii = previous.is_some_and(|c| c.is_ascii() && !c.is_ascii_whitespace());
        let kept = match cell.class {
            Class::Space | Class::Compatible => false,
            Class::Blank => !parting.get(i).copied().unwrap_or(false),
            Class::EastAsian => !beside_ascii,
            Class::Styled => !styled_words.get(i).copied().unwrap_or(false),
            _ => true,
        };
        if kept {
            word.plain(cell, &mut done, record);
            continue;
        }
        if matches!(cell.class, Class::Space | Class::Blank) || cell.c == '\u{3000}' {
            word.end(&done, record);
            done.push(Cell::new(cell.from.clone(), ' '));
            continue;
        }
        ordinary(cell.c, &mut letters);
        word.restyled(
            cell,
            letters.iter().all(char::is_ascii_alphabetic),
            &done,
            record,
        );
        done.extend(letters.iter().map(|&c| Cell::new(cell.from.clone(), c)));
    }
    word.end(&done, record);
    *cells = done;
}

/// Follows a word whose letters are made ordinary, to note it when it is one that people read.
#[derive(Default)]
struct Restyled {
    /// Where the word starts among the cells done, and whether its letters were full-width.
    open: Option<(usize, bool)>,
}

impl Restyled {
    fn plain(&mut self, cell: &Cell, done: &mut Vec<Cell>, record: &mut Record) {
        if cell.class != Class::Ascii {
            self.end(done, record);
        }
        done.push(cell.clone());
    }

    fn restyled(&mut self, cell: &Cell, letters: bool, done: &[Cell], record: &mut Record) {
        if !letters {
            self.end(done, record);
        } else if self.open.is_none() {
            let full_width = matches!(cell.c as u32, 0xff00..=0xffef);
            self.open = Some((done.len(), full_width));
        }
    }

    fn end(&mut self, done: &[Cell], record: &mut Record) {
        let Some((start, full_width)) = self.open.take() else {
            return;
        };
        let word: String = done[start..].iter().map(|cell| cell.c).collect();
        if word.len() >= 3 && Lexicon::get().knows(word.as_bytes()) {
            let kind = if full_width {
                Transformation::FullWidth
            } else {
                Transformation::StyledLetters
            };
            let from = done[start].from.start;
            let to = done.last().map_or(from, |cell| cell.from.end);
            record.note(kind, from..to, 1);
        }
    }
}

/// Composes marks with their letters, and takes away what no spelling has: marks above the second on
/// one letter, strokes through letters, and rare marks that cover most letters of a word.
pub(super) fn settle_marks(cells: &mut Vec<Cell>, before: Option<char>, record: &mut Record) {
    let marked = |cell: &Cell| matches!(cell.class, Class::Mark | Class::ScriptMark | Class::Jamo);
    if !cells.iter().any(marked) {
        return;
    }
    let mut done: Vec<Cell> = Vec::with_capacity(cells.len());
    let mut at = 0;
    while let Some(cell) = cells.get(at) {
        let run = || {
            cells[at..]
                .iter()
                .take_while(|c| c.class == cell.class)
                .count()
        };
        match cell.class {
            Class::Mark => {
                let run = run();
                let marks = &cells[at..at + run];
                let base = done.last().map(|cell| cell.class);
                let on_letter = base.is_some_and(Class::is_alphabetic)
                    || done.is_empty() && before.is_some_and(char::is_alphanumeric);
                let struck = on_letter && marks.iter().all(|cell| is_stroke(cell.c));
                // No spelling puts marks on digits: without them the number is the same.
                let on_digit = done.last().is_some_and(|cell| cell.c.is_ascii_digit());
                if marks.len() > MOST_MARKS || struck || on_digit {
                    let range = cell.from.start..cells[at + run - 1].from.end;
                    record.note(Transformation::StackedMarks, range, run);
                } else {
                    let mut marks = marks.to_vec();
                    let order = |cell: &Cell| canonical_combining_class(cell.c);
                    if !marks.is_sorted_by_key(order) {
                        // In canonical order, with the letter they stand on, one unit.
                        widen(&mut done, marks[run - 1].from.end);
                        let unit = done.last().map(|cell| cell.from.clone());
                        let all = unit.unwrap_or(cell.from.start..marks[run - 1].from.end);
                        marks.iter_mut().for_each(|mark| mark.from = all.clone());
                        marks.sort_by_key(order);
                    }
                    marks
                        .into_iter()
                        .for_each(|mark| push_composed(&mut done, mark));
                }
                at += run;
            }
            Class::ScriptMark => {
                let run = run();
                let kept = run.min(MOST_SCRIPT_MARKS);
                done.extend_from_slice(&cells[at..at + kept]);
                let range = cell.from.start..cells[at + run - 1].from.end;
                record.note(Transformation::StackedMarks, range, run - kept);
                at += run;
            }
            Class::Jamo => {
                push_composed(&mut done, cell.clone());
                at += 1;
            }
            _ => {
                done.push(cell.clone());
                at += 1;
            }
        }
    }
    *cells = done;
    drop_rare_marks(cells, record);
}

/// Adds a cell, composed with the one before it where Unicode has a character for both.
fn push_composed(done: &mut Vec<Cell>, cell: Cell) {
    if let Some(c) = done.last().and_then(|last| compose(last.c, cell.c)) {
        widen(done, cell.from.end);
        if let Some(last) = done.last_mut() {
            *last = Cell::new(last.from.clone(), c);
        }
        return;
    }
    done.push(cell);
}

/// Lets the last unit reach to `end` of the original.
fn widen(done: &mut [Cell], end: usize) {
    let Some(unit) = done.last().map(|cell| cell.from.clone()) else {
        return;
    };
    let cells = done.iter_mut().rev().take_while(|cell| cell.from == unit);
    cells.for_each(|cell| cell.from.end = end.max(unit.end));
}

/// In words where at least half of the letters carry a mark that no orthography uses, drops them.
fn drop_rare_marks(cells: &mut Vec<Cell>, record: &mut Record) {
    let rare = |cell: &Cell| cell.class == Class::Mark && !is_ordinary_mark(cell.c);
    if cells.iter().filter(|cell| rare(cell)).count() < 3 {
        return;
    }
    let mut dropped = vec![false; cells.len()];
    mark_runs(
        cells,
        |c| c.class.is_alphabetic() || c.class == Class::Mark,
        |word| {
            let marks = cells[word.clone()].iter().filter(|cell| rare(cell)).count();
            let letters = cells[word.clone()]
                .iter()
                .filter(|c| c.class.is_alphabetic())
                .count();
            if marks >= 3 && marks * 2 >= letters {
                let range = cells[word.start].from.start..cells[word.end - 1].from.end;
                record.note(Transformation::StackedMarks, range, marks);
                for i in word {
                    dropped[i] = rare(&cells[i]);
                }
            }
        },
    );
    let mut dropped = dropped.into_iter();
    cells.retain(|_| !dropped.next().unwrap_or(false));
}

/// Folds letters that only look Latin, in words that mix alphabets. Words of one alphabet stay; where
/// they read as a Latin word, that reading is returned, by place.
pub(super) fn fold_lookalikes(cells: &mut [Cell], record: &mut Record) -> Vec<Reading> {
    let mut readings = Vec::new();
    let alike = |class: Class| matches!(class, Class::Lookalike | Class::LatinAlike);
    if !cells.iter().any(|cell| alike(cell.class)) {
        return readings;
    }
    let mut words = Vec::new();
    mark_runs(
        cells,
        |cell| cell.class.is_alphabetic() || cell.class == Class::Mark,
        |word| words.push(word),
    );
    for word in words {
        let letters = || {
            cells[word.clone()]
                .iter()
                .filter(|cell| cell.class.is_alphabetic())
        };
        let count = |class: Class| letters().filter(|cell| cell.class == class).count();
        let (ascii, foreign, lookalikes) = (
            count(Class::Ascii),
            count(Class::Foreign),
            count(Class::Lookalike),
        );
        if lookalikes + count(Class::LatinAlike) == 0 {
            continue;
        }
        let length = letters().count();
        let range = cells[word.start].from.start..cells[word.end - 1].from.end;
        if foreign > 0 {
            if ascii > 0 && ascii < length - ascii && to_cyrillic(&mut cells[word]) {
                record.note(Transformation::Confusables, range, 1);
            }
            continue;
        }
        let folded: String = letters().map(to_latin).collect();
        let known = folded.is_ascii() && Lexicon::get().rank(folded.as_bytes()).is_some();
        let mixed = lookalikes > 0 && ascii > 0;
        let (weight, counted) = if mixed && (known || length >= 4 && ascii >= 2) {
            for cell in cells[word.clone()]
                .iter_mut()
                .filter(|cell| cell.class.is_alphabetic())
            {
                cell.c = to_latin(cell);
                cell.class = class(cell.c);
            }
            record.note(Transformation::Confusables, range, 1);
            (2, 0)
        } else if !mixed && folded.is_ascii() {
            let exact =
                letters().all(|cell| cell.class == Class::LatinAlike || is_confusable(cell.c));
            let weight = match length {
                _ if !known => 0,
                0..=2 => 0,
                3..=4 => u32::from(exact),
                _ => 1 + u32::from(exact),
            };
            (weight, 1)
        } else {
            continue;
        };
        readings.push(Reading {
            cells: word,
            text: folded,
            weight,
            count: counted,
        });
    }
    readings
}

/// The letter of a cell as an ASCII one, if it looks like one.
fn to_latin(cell: &Cell) -> char {
    match cell.class {
        Class::LatinAlike | Class::Lookalike => lookalike(cell.c).map_or(cell.c, char::from),
        _ => cell.c,
    }
}

/// Makes a Cyrillic word with Latin letters in it, the same trick the other way round, Cyrillic;
/// says whether it was one.
fn to_cyrillic(word: &mut [Cell]) -> bool {
    let to = |cell: &Cell| match cell.c as u32 {
        0x0400..=0x04ff => Some(cell.c),
        _ if cell.class == Class::Mark => Some(cell.c),
        _ => cyrillic_lookalike(cell.c),
    };
    let all = word.iter().all(|cell| to(cell).is_some());
    if all {
        for cell in word {
            cell.c = to(cell).unwrap_or(cell.c);
            cell.class = class(cell.c);
        }
    }
    all
}

/// The Cyrillic letter that an ASCII letter looks like.
fn cyrillic_lookalike(c: char) -> Option<char> {
    const PAIRS: &str = "aаcсeеoоpрxхyуiіAАBВCСEЕHНKКMМOОPРTТXХ";
    let mut pairs = PAIRS.chars();
    while let (Some(latin), Some(cyrillic)) = (pairs.next(), pairs.next()) {
        if latin == c {
            return Some(cyrillic);
        }
    }
    None
}

/// Calls `each` with every longest run of cells that `belongs` holds for.
fn mark_runs(cells: &[Cell], belongs: impl Fn(&Cell) -> bool, mut each: impl FnMut(Range<usize>)) {
    let mut at = 0;
    while at < cells.len() {
        let run = cells[at..].iter().take_while(|cell| belongs(cell)).count();
        if run > 0 {
            each(at..at + run);
        }
        at += run.max(1);
    }
}
