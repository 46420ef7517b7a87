//! Tags of markup inside words: "Ign<!-- -->ore", "<b>I</b><b>g</b>nore". A browser shows the word.

use super::lexicon::Lexicon;
use super::repair::Repair;
use super::signal::Transformation;

/// Longest tag, and most letters of a word with tags in it, in bytes.
const LONGEST_TAG: usize = 256;
const LONGEST_WORD: usize = 64;

/// Elements that part words; others are set inside them.
const BLOCKS: [&str; 24] = [
    "address",
    "article",
    "blockquote",
    "br",
    "button",
    "dd",
    "div",
    "dl",
    "dt",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "hr",
    "li",
    "nav",
    "ol",
    "option",
    "p",
    "section",
    "table",
    "tr",
    "ul",
];

/// The words of `text` with tags inside.
pub(super) fn repairs(text: &str) -> Vec<Repair> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(next) = text.get(at..).and_then(|rest| rest.find('<')) {
        let mark = at + next;
        let before = bytes[at..mark].iter().rev().take(LONGEST_WORD);
        let start = mark - before.take_while(|b| b.is_ascii_alphabetic()).count();
        let mut word = Word::default();
        let end = word.read(text, start).max(mark + 1);
        if word.parts.len() > 1 {
            found.push(Repair {
                weight: word.weight(),
                range: start..end,
                text: word.letters,
                units: Vec::new(),
                kind: Transformation::SplitWords,
                count: 1,
            });
        }
        at = end;
    }
    found
}

#[derive(Default)]
struct Word {
    letters: String,
    /// Letters of each part.
    parts: Vec<usize>,
}

impl Word {
    /// Reads letters and tags from `at` on; returns where they end.
    fn read(&mut self, text: &str, mut at: usize) -> usize {
        let bytes = text.as_bytes();
        loop {
            let rest = bytes.get(at..).unwrap_or_default();
            let letters = rest.iter().take_while(|b| b.is_ascii_alphabetic()).count();
            if letters > 0 && self.letters.len() + letters <= LONGEST_WORD {
                self.letters.push_str(&text[at..at + letters]);
                self.parts.push(letters);
                at += letters;
            }
            match tag(text, at) {
                Some(tag) => at += tag,
                None => return at,
            }
        }
    }

    /// As of a [`Repair`].
    fn weight(&self) -> u32 {
        let lexicon = Lexicon::get();
        let mut rest = self.letters.as_bytes();
        let mut words = self.parts.iter().map(|&letters| {
            let (part, after) = rest.split_at(letters);
            rest = after;
            part
        });
        let apart = words.all(|part| part.len() > 1 && lexicon.knows(part));
        match self.letters.len() {
            4.. if !apart && lexicon.knows(self.letters.as_bytes()) => 2,
            _ => 0,
        }
    }
}

/// The length of the tag or comment that begins at `at`, unless it parts words.
fn tag(text: &str, at: usize) -> Option<usize> {
    let rest = text.get(at..)?;
    let body = rest.strip_prefix('<')?;
    let near = &body.as_bytes()[..body.len().min(LONGEST_TAG)];
    if body.starts_with("!--") {
        let end = near.windows(3).position(|w| w == b"-->")?;
        return Some(1 + end + 3);
    }
    let name = body.strip_prefix('/').unwrap_or(body);
    let letters = name.bytes().take_while(u8::is_ascii_alphanumeric).take(16);
    let name = &name[..letters.count()];
    let block = BLOCKS.iter().any(|block| name.eq_ignore_ascii_case(block));
    let end = near.iter().position(|b| matches!(b, b'<' | b'>'))?;
    let closed = near[end] == b'>';
    let named = name.starts_with(|c: char| c.is_ascii_alphabetic());
    (named && closed && !block).then_some(1 + end + 1)
}
