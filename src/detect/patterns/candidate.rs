//! What a rule makes of what it matched.

use std::ops::Range;

use super::lexer::{Lexer, LexerRule};
use super::rule::{FLOOR, Shape, Site};
use super::sign;
use super::topics::Topics;
use super::view::{FRONT, View};
use super::work;

/// What a rule matched.
#[derive(Debug, Clone)]
pub(super) struct Matched {
    pub(super) rule: usize,
    pub(super) whole: Range<usize>,
    /// How long the run of characters behind it is that may be its value.
    pub(super) run: usize,
    /// Whether it goes on beyond what is looked at.
    pub(super) long: bool,
    /// Whether it begins behind a backslash that may be a part of it.
    pub(super) slash: bool,
}

/// A match that competes with those it overlaps.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) rule: usize,
    pub(super) span: Range<usize>,
    pub(super) score: f32,
    /// Whether a topic spoke for it.
    pub(super) in_context: bool,
    /// Whether nothing can beat it any more.
    pub(super) accepted: bool,
}

impl Candidate {
    /// What is reported of `matched`, if it is enough to be.
    pub(super) fn of(
        matched: Matched,
        lexer: &Lexer,
        view: View<'_>,
        topics: &Topics,
    ) -> Option<Self> {
        let Matched {
            rule,
            mut whole,
            run,
            long,
            slash,
        } = matched;
        let spec = lexer.rules.get(rule)?;
        let fold = |text| match lexer.compete {
            true => sign::folded(text),
            false => text.into(),
        };
        if let Some(length) = spec.length {
            let text = view.slice(whole.clone());
            whole.end = whole.start + sign::unfolded(text, length(&fold(text)));
        }
        let topic = topics.topic(view, spec, whole.start);
        let mut span = match &spec.value {
            Some(value) => {
                let value = value.at(view.slice(whole.end..view.end()), run)?;
                whole.end..whole.end + value.len()
            }
            None => {
                let text = view.slice(whole.clone());
                let reported = spec.reported(&fold(text));
                let place = |bytes| whole.start + sign::unfolded(text, bytes);
                place(reported.start)..place(reported.end)
            }
        };
        let end = whole.end.max(span.end);
        work::count(end - whole.start);
        let read = |c: char| if lexer.compete { sign::plain(c) } else { c };
        let mut behind = view.slice(end..view.end()).chars();
        let (after, then) = (behind.next(), behind.next());
        let (text, all) = (
            fold(view.slice(span.clone())),
            fold(view.slice(whole.start..end)),
        );
        let site = Site {
            text: &text,
            whole: &all,
            before: view.sign_before(whole.start).map(read),
            // A dash joins numbers, not words.
            after: after
                .filter(|_| then.is_some_and(|c| c.is_ascii_digit()))
                .map(read)
                .or(after),
            then: then.map(read),
            told: topic.is_some_and(|topic| spec.topics.contains(&topic)),
            front: view.around(whole.start.saturating_sub(FRONT)..whole.start),
            behind: view.around(end..end + spec.look),
        };
        // What is too long to be looked at whole is what it begins as.
        let shape = match long {
            true => Shape::Plain,
            false => (spec.check)(&site),
        };
        if lexer.compete && !long && !stands_apart(view, spec, &site, whole.start, shape) {
            return None;
        }
        if site.after == Some('_') {
            // `_emphasis_`
            let text = view.slice(span.clone());
            span.start += text.len() - text.trim_start_matches('_').len();
        }
        if slash && span.start == whole.start {
            span.start -= 1;
        }
        let score = spec.score(shape, topic);
        (score >= FLOOR && !span.is_empty()).then_some(Candidate {
            rule,
            span,
            score,
            in_context: topic.is_some_and(|t| spec.topics.contains(&t)),
            accepted: false,
        })
    }

    pub(super) fn beats(&self, other: &Self) -> bool {
        self.score > other.score
    }

    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.span.start < other.span.end && other.span.start < self.span.end
    }
}

/// Whether no `_` joins a match with a word, or it is a number that is proven whatever stands around it.
fn stands_apart(
    view: View<'_>,
    spec: &LexerRule,
    site: &Site<'_>,
    start: usize,
    shape: Shape,
) -> bool {
    let joined = |sign: Option<char>, beyond: Option<char>| {
        sign == Some('_') && beyond.is_some_and(char::is_alphanumeric)
    };
    let before = || view.char_before(start - 1);
    let word_before = spec.number && site.before == Some('_') && joined(site.before, before());
    let word_behind = spec.value.is_none() && joined(site.after, site.then);
    let digit_behind = word_behind && site.then.is_some_and(|c| c.is_ascii_digit());
    !(word_before || word_behind) || spec.number && shape == Shape::Proven && !digit_behind
}
