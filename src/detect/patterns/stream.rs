//! A text that comes in chunks.

use std::sync::Arc;

use super::PatternMatch;
use super::lexer::Lexer;
use super::scanner::Scanner;
use super::view::View;

/// A scan under way. Its matches, all together, are those of [`super::PatternSet::scan`] on the whole
/// text, however it was cut.
///
/// Time is linear in the text, whatever the size of the chunks. What is kept of the text is what is held
/// back: the word or number that is not complete yet, at most 16 KiB of a key.
#[derive(Debug)]
pub struct PatternStream {
    lexers: Arc<[Arc<Lexer>]>,
    scanners: Vec<Scanner>,
    /// The text from `base` on.
    text: String,
    base: usize,
    /// Found, but not yet sure to be the next by position.
    found: Vec<PatternMatch>,
}

/// What a chunk has settled.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Released {
    /// Matches that are final, by position, behind those released before.
    pub matches: Vec<PatternMatch>,
    /// No later match begins before this byte of the whole text: what stands before it may pass, but for
    /// the matches released. Never less than before; a character boundary. A match may reach beyond it.
    pub safe: usize,
}

impl PatternStream {
    pub(super) fn new(lexers: Arc<[Arc<Lexer>]>) -> Self {
        let scanners = vec![Scanner::default(); lexers.len()];
        Self {
            lexers,
            scanners,
            text: String::new(),
            base: 0,
            found: Vec::new(),
        }
    }

    /// Takes the next part of the text.
    pub fn push(&mut self, chunk: &str) -> Released {
        self.text.push_str(chunk);
        self.advance(false)
    }

    /// Ends the text.
    #[must_use]
    pub fn finish(mut self) -> Released {
        self.advance(true)
    }

    fn advance(&mut self, last: bool) -> Released {
        let view = View {
            text: &self.text,
            base: self.base,
            last,
        };
        let safe = advance(&self.lexers, &mut self.scanners, view, &mut self.found);
        let ready = self.found.partition_point(|m| m.span.start < safe || last);
        let matches = self.found.drain(..ready).collect();
        self.forget();
        Released { matches, safe }
    }

    /// Drops the text that nothing looks at any more, once it is more than what is left.
    fn forget(&mut self) {
        let end = self.base + self.text.len();
        let needed = self
            .scanners
            .iter()
            .map(Scanner::needed)
            .min()
            .unwrap_or(end);
        let mut keep = needed.saturating_sub(self.base).min(self.text.len());
        while !self.text.is_char_boundary(keep) {
            keep -= 1;
        }
        if 2 * keep > self.text.len() {
            self.text.drain(..keep);
            self.base += keep;
        }
    }
}

pub(super) fn scan(lexers: &[Arc<Lexer>], text: &str) -> Vec<PatternMatch> {
    let mut scanners = vec![Scanner::default(); lexers.len()];
    let mut found = Vec::new();
    let view = View {
        text,
        base: 0,
        last: true,
    };
    advance(lexers, &mut scanners, view, &mut found);
    found
}

/// Brings every scanner forward. `found` stays sorted; what stands before the answer is final.
fn advance(
    lexers: &[Arc<Lexer>],
    scanners: &mut [Scanner],
    view: View<'_>,
    found: &mut Vec<PatternMatch>,
) -> usize {
    let mut safe = usize::MAX;
    for (lexer, scanner) in lexers.iter().zip(scanners) {
        scanner.advance(lexer, view, found);
        safe = safe.min(scanner.safe());
    }
    // In an order that does not depend on when each was found.
    found.sort_by(|a, b| {
        let key = |m: &'_ PatternMatch| (m.span.start, m.span.end);
        key(a).cmp(&key(b)).then_with(|| a.rule.cmp(&b.rule))
    });
    match view.last {
        true => view.end(),
        false => safe.min(view.end()),
    }
}
