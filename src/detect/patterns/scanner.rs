//! One pass over a text that may not be complete yet.

use std::cmp::Reverse;
use std::ops::Range;

use regex_automata::util::primitives::StateID;

use super::PatternMatch;
use super::escape;
use super::lexer::{Entry, Group, Lexer, LexerRule, MAX_MATCH, TopicId};
use super::rule::{FLOOR, Shape, Site, Start};
use super::sign;
use super::table::Table;

/// A match that scores this much is not looked into: what begins inside it is no candidate.
const CERTAIN: f32 = 0.9;

/// How many values may lie over a byte and be looked at, so that names in names (`token=token=...`)
/// take linear time.
const MAX_NESTED: usize = 3;

/// Bytes a check may see before a match and behind it: two characters.
pub(super) const LOOK: usize = 8;

/// The part of the text that is at hand: from byte `base` of the whole.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'t> {
    pub text: &'t str,
    pub base: usize,
    /// Whether the whole text ends here.
    pub last: bool,
}

impl<'t> View<'t> {
    fn end(&self) -> usize {
        self.base + self.text.len()
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text
            .as_bytes()
            .get(at.checked_sub(self.base)?)
            .copied()
    }

    fn slice(&self, range: Range<usize>) -> &'t str {
        let local = range.start.saturating_sub(self.base)..range.end.saturating_sub(self.base);
        self.text.get(local).unwrap_or_default()
    }

    fn slice_bytes(&self, range: Range<usize>) -> &'t [u8] {
        let local = range.start.saturating_sub(self.base)..range.end.saturating_sub(self.base);
        self.text.as_bytes().get(local).unwrap_or_default()
    }

    /// The whole characters of `range`, as far as the text goes.
    fn around(&self, range: Range<usize>) -> &'t str {
        let (mut start, mut end) = (range.start.max(self.base), range.end.min(self.end()));
        while start < end && !self.text.is_char_boundary(start - self.base) {
            start += 1;
        }
        while start < end && !self.text.is_char_boundary(end - self.base) {
            end -= 1;
        }
        self.slice(start..end)
    }

    fn char_before(&self, at: usize) -> Option<char> {
        self.slice(self.base..at).chars().next_back()
    }

    /// The character before `at`; a line break for an escape.
    fn sign_before(&self, at: usize) -> Option<char> {
        match escape::ends(self.slice_bytes(self.base..at)) {
            true => Some('\n'),
            false => self.char_before(at),
        }
    }

    /// Whether the letter of an escape stands at `at`.
    fn is_escape(&self, at: usize) -> bool {
        let (before, behind) = (
            self.slice_bytes(self.base..at),
            self.slice_bytes(at..self.end()),
        );
        escape::begins(before, behind)
    }
}

/// A match that competes with those it overlaps.
#[derive(Debug, Clone)]
struct Candidate {
    rule: usize,
    span: Range<usize>,
    score: f32,
    /// Whether a topic spoke for it.
    in_context: bool,
    /// Whether nothing can beat it any more.
    accepted: bool,
}

impl Candidate {
    fn beats(&self, other: &Self) -> bool {
        self.score > other.score
    }

    fn overlaps(&self, other: &Self) -> bool {
        self.span.start < other.span.end && other.span.start < self.span.end
    }
}

/// The walks from one start, until all of them have ended.
#[derive(Debug, Clone)]
struct Walk {
    /// Groups still to be walked, the present one included.
    groups: u8,
    /// Where the present group's walk is; none before its first byte.
    state: Option<StateID>,
    /// The next byte it reads.
    at: usize,
    /// Where each entry that matched ends.
    ends: Vec<(Entry, usize)>,
    /// Whether it goes on with a match that was too long.
    resumed: bool,
    /// Where a group's walk stood when it became too long.
    cut: Option<Cut>,
}

/// A walk that may be resumed.
#[derive(Debug, Clone, Copy)]
struct Cut {
    group: u8,
    state: StateID,
    at: usize,
}

/// How far a lexer has come in a text. All positions are bytes of the whole text.
#[derive(Debug, Clone, Default)]
pub(super) struct Scanner {
    /// Every start before this one is done.
    at: usize,
    walk: Option<Walk>,
    /// The walk that the present start goes on with.
    resume: Option<Cut>,
    /// Memory for the next walk.
    spare: Vec<(Entry, usize)>,
    /// The nearest topic to the left, and where its words end.
    nearest: Option<(TopicId, usize)>,
    /// The end of the match that the nearest topic has spoken for.
    spent: Option<usize>,
    /// What the next item of a list is about, and where the item before it ends.
    listed: Option<(TopicId, usize)>,
    table: Table,
    /// Where the values end that were looked at and that the present start lies in.
    values: Vec<usize>,
    /// In order of their spans.
    pending: Vec<Candidate>,
}

impl Scanner {
    /// Where the first match that is not reported yet may begin.
    pub(super) fn safe(&self) -> usize {
        self.pending
            .iter()
            .map(|c| c.span.start)
            .min()
            .unwrap_or(self.at)
            .min(self.at)
    }

    /// The first byte that is still looked at.
    pub(super) fn needed(&self) -> usize {
        self.at.saturating_sub(LOOK)
    }

    /// Reads on as far as `view` decides, whatever may follow it.
    pub(super) fn advance(&mut self, lexer: &Lexer, view: View<'_>, out: &mut Vec<PatternMatch>) {
        loop {
            if self.walk.is_none() && !self.next_start(lexer, view) {
                break;
            }
            if !self.run(lexer, view) || !self.decide(lexer, view) {
                return;
            }
            self.settle(lexer, out);
        }
        if view.last {
            self.at = usize::MAX;
        }
        self.settle(lexer, out);
        self.at = view.end();
    }

    /// Finds the next place where a match may begin; false at the end of the view.
    fn next_start(&mut self, lexer: &Lexer, view: View<'_>) -> bool {
        if let Some(cut) = self.resume.take() {
            self.walk = Some(Walk {
                groups: cut.group,
                state: Some(cut.state),
                at: cut.at,
                ends: std::mem::take(&mut self.spare),
                resumed: true,
                cut: None,
            });
            return true;
        }
        let bytes = view.text.as_bytes();
        let from = self.at.saturating_sub(view.base);
        let mut slash = self.table.slash.saturating_sub(view.base);
        for (offset, &byte) in bytes.iter().enumerate().skip(from) {
            if byte == b'\\' {
                slash = offset + 1;
            }
            let begins = lexer.begins[usize::from(byte)];
            if begins == 0 {
                continue;
            }
            let before = |n: usize| bytes.get(offset.checked_sub(n)?).copied();
            let plain = byte.is_ascii() && before(1).is_some_and(|b| b.is_ascii());
            let mut groups = match plain && offset - slash >= escape::LONGEST {
                true => begins & Start::open(byte, before(1), before(2)),
                false => opens(lexer, bytes, offset),
            };
            if groups == 0 {
                continue;
            }
            if let Some(&second) = bytes.get(offset + 1)
                && !(lexer.compete && (sign::may_be(byte) || sign::may_be(second)))
            {
                groups &= lexer.goes_on(byte, second);
            }
            if groups == 0 {
                continue;
            }
            let at = view.base + offset;
            self.go(view, at);
            let near = self
                .nearest
                .is_some_and(|(_, end)| at <= end + lexer.told_reach)
                || self.listed.is_some_and(|(_, end)| at <= end + LOOK);
            if !near && self.table.topic(at).is_none() {
                groups &= !Start::Told.bit();
            }
            if groups != 0 {
                self.walk = Some(Walk {
                    groups,
                    state: None,
                    at: self.at,
                    ends: std::mem::take(&mut self.spare),
                    resumed: false,
                    cut: None,
                });
                return true;
            }
        }
        self.go(view, view.end());
        false
    }

    /// Goes on to `at`.
    fn go(&mut self, view: View<'_>, at: usize) {
        let passed = view.slice_bytes(self.at..at);
        self.table.read(passed, self.at);
        self.at = at;
    }

    /// Walks each group from the present start; false if the view ends before that is done.
    fn run(&mut self, lexer: &Lexer, view: View<'_>) -> bool {
        let Some(mut walk) = self.walk.take() else {
            return true;
        };
        let counts = |entry| self.counts(lexer, view, entry);
        while walk.groups != 0 {
            let bit = walk.groups.trailing_zeros() as usize;
            if let Some(group) = lexer.groups.get(bit).and_then(Option::as_ref)
                && !walk.walk_group(lexer, group, self.at, view, counts)
            {
                break;
            }
            walk.groups &= walk.groups - 1;
            walk.state = None;
            walk.at = self.at;
        }
        let done = walk.groups == 0;
        self.walk = Some(walk);
        done
    }

    /// Whether a match of `entry` at the present start can come to anything: most rules of bare numbers
    /// need a topic.
    fn counts(&self, lexer: &Lexer, view: View<'_>, entry: Entry) -> bool {
        let Entry::Rule(rule) = entry else {
            return true;
        };
        lexer.rules.get(rule).is_some_and(|spec| {
            let topic = self.topic(view, spec, self.at);
            topic.map_or(spec.alone, |topic| {
                !spec.unless.contains(&topic) && (spec.alone || spec.topics.contains(&topic))
            })
        })
    }

    /// Turns what matched at the present start into candidates; false if the view ends too soon for
    /// the checks.
    fn decide(&mut self, lexer: &Lexer, view: View<'_>) -> bool {
        let start = self.at;
        let ends = self.walk.as_ref().map_or(&[][..], |walk| &walk.ends);
        self.values.retain(|end| *end > start);
        let looks = self.values.len() < MAX_NESTED;
        let reach = |(entry, end): &(Entry, usize)| {
            let value = lexer.value(*entry).filter(|_| looks);
            end + value.map_or(0, |v| v.run(view.slice(*end..view.end())))
        };
        if ends.is_empty() {
            self.spare = self.walk.take().map(|walk| walk.ends).unwrap_or_default();
            self.go(view, start + 1);
            return true;
        }
        if !view.last && ends.iter().any(|end| reach(end) + LOOK > view.end()) {
            return false;
        }
        let walk = self.walk.take();
        let (resumed, cut) = walk.as_ref().map_or((false, None), |w| (w.resumed, w.cut));
        let mut ends = walk.map(|walk| walk.ends).unwrap_or_default();
        let mut next = start + 1;
        let mut topic: Option<(TopicId, usize)> = None;
        // In the order of the table, each rule's longest match first.
        ends.sort_by_key(|(entry, end)| (*entry, Reverse(*end)));
        let mut done = None;
        let escape = lexer.compete && !resumed && view.is_escape(start);
        for (entry, end) in ends.drain(..) {
            match entry {
                Entry::Topic(id) if word_ends(view, end) => {
                    self.table.title(start, end, id);
                    topic = topic
                        .filter(|(_, longest)| *longest >= end)
                        .or(Some((id, end)));
                }
                Entry::Topic(_) => {}
                Entry::Rule(rule) if escape || done == Some(rule) => {}
                Entry::Rule(rule) => {
                    let endless = lexer.rules.get(rule).is_some_and(|rule| rule.endless);
                    let cut = cut.filter(|_| endless);
                    let long = resumed || cut.is_some();
                    if let Some(candidate) = self.candidate(lexer, view, rule, start..end, long) {
                        done = Some(rule);
                        let (end, certain) = (candidate.span.end, candidate.score >= CERTAIN);
                        let spoken_for = candidate.in_context;
                        let next_topic = lexer.rules.get(rule).and_then(|rule| rule.next);
                        if self.offer(lexer, candidate) {
                            if certain && lexer.compete {
                                next = next.max(end);
                                self.resume = cut;
                            }
                            if spoken_for {
                                self.spent = self.spent.max(Some(end));
                            }
                            if let Some(topic) = next_topic {
                                self.listed = Some((topic, end));
                            }
                        }
                    }
                }
            }
        }
        self.spare = ends;
        if let Some(found) = topic
            && self.nearest.is_none_or(|(_, end)| end <= start)
        {
            self.nearest = Some(found);
            self.spent = None;
        }
        self.go(view, next);
        true
    }

    /// What `rule` makes of `whole`, if it is enough to be reported.
    fn candidate<'t>(
        &mut self,
        lexer: &Lexer,
        view: View<'t>,
        rule: usize,
        mut whole: Range<usize>,
        long: bool,
    ) -> Option<Candidate> {
        let spec = lexer.rules.get(rule)?;
        let fold = |text: &'t str| match lexer.compete {
            true => sign::folded(text),
            false => text.into(),
        };
        if let Some(length) = spec.length {
            let text = view.slice(whole.clone());
            whole.end = whole.start + sign::unfolded(text, length(&fold(text)));
        }
        let topic = self.topic(view, spec, whole.start);
        let mut span = match &spec.value {
            Some(_) if self.values.len() >= MAX_NESTED => return None,
            Some(value) => {
                let value = value.at(view.slice(whole.end..view.end()))?;
                self.values.push(whole.end + value.len());
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
            front: view.around(whole.start.saturating_sub(LOOK)..whole.start),
            behind: view.around(end..end + LOOK),
        };
        // What is too long to be looked at whole is what it begins as.
        let shape = match long {
            true => Shape::Plain,
            false => (spec.check)(&site),
        };
        if lexer.compete && !long && !self.stands_apart(view, spec, &site, whole.start, shape) {
            return None;
        }
        if site.after == Some('_') {
            // `_emphasis_`
            let text = view.slice(span.clone());
            span.start += text.len() - text.trim_start_matches('_').len();
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

    /// Whether no `_` joins a match with a word, or it is a number that is proven whatever stands around it.
    fn stands_apart(
        &self,
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

    /// The topic that speaks for or against what `rule` finds at `start`.
    fn topic(&self, view: View<'_>, rule: &LexerRule, start: usize) -> Option<TopicId> {
        if let Some(topic) = self.table.topic(start) {
            return Some(topic);
        }
        let in_list = |end: usize| end < start && goes_on(view, end, start);
        if let Some((topic, _)) = self.listed.filter(|(_, end)| in_list(*end)) {
            return Some(topic);
        }
        let reaches = |end: usize| end <= start && start - end <= rule.window;
        let spent = self
            .spent
            .is_some_and(|end| end <= start && !goes_on(view, end, start));
        self.nearest
            .filter(|(_, end)| reaches(*end) && !spent)
            .map(|(topic, _)| topic)
    }

    /// Takes a candidate unless an earlier one beats it: the higher score wins, then the longer match
    /// at the same place, then the earlier one.
    fn offer(&mut self, lexer: &Lexer, new: Candidate) -> bool {
        let rivals =
            |old: &Candidate| old.overlaps(&new) && (lexer.compete || old.rule == new.rule);
        let outgrown = |old: &Candidate| {
            old.score == new.score
                && old.span.start == new.span.start
                && old.span.end < new.span.end
        };
        if self
            .pending
            .iter()
            .any(|old| rivals(old) && !outgrown(old) && !new.beats(old))
        {
            return false;
        }
        self.pending.retain(|old| !(rivals(old) && outgrown(old)));
        let place = self
            .pending
            .partition_point(|old| old.span.start <= new.span.start);
        self.pending.insert(place, new);
        true
    }

    /// Reports candidates that nothing later can beat.
    ///
    /// A candidate is decided once every start before its end is done and every rival that beats it
    /// is decided. Rivals score strictly higher each, so chains of them are short.
    fn settle(&mut self, lexer: &Lexer, out: &mut Vec<PatternMatch>) {
        if self.pending.is_empty() {
            return;
        }
        while let Some(winner) = self.winner(lexer) {
            let Some(best) = self.pending.get(winner).cloned() else {
                break;
            };
            self.pending.retain(|c| {
                let beaten =
                    !c.accepted && best.overlaps(c) && (lexer.compete || c.rule == best.rule);
                !beaten || (c.rule == best.rule && c.span == best.span)
            });
            for c in &mut self.pending {
                c.accepted |= c.rule == best.rule && c.span == best.span;
            }
        }
        let undecided = self
            .pending
            .iter()
            .position(|c| !c.accepted)
            .unwrap_or(self.pending.len());
        for c in self.pending.drain(..undecided) {
            if let Some(rule) = lexer.rules.get(c.rule) {
                out.push(PatternMatch {
                    rule: rule.id.clone(),
                    label: rule.label.clone(),
                    span: c.span,
                    score: c.score,
                });
            }
        }
    }

    /// An undecided candidate that has ended and that no other undecided one beats.
    fn winner(&self, lexer: &Lexer) -> Option<usize> {
        self.pending.iter().position(|c| {
            !c.accepted
                && c.span.end <= self.at
                && !self.pending.iter().any(|other| {
                    !other.accepted
                        && other.overlaps(c)
                        && (lexer.compete || other.rule == c.rule)
                        && other.beats(c)
                })
        })
    }
}

impl Walk {
    /// Walks `group` from `start` and keeps the entries that match and count; false if the view ends
    /// first.
    fn walk_group(
        &mut self,
        lexer: &Lexer,
        group: &Group,
        start: usize,
        view: View<'_>,
        counts: impl Fn(Entry) -> bool,
    ) -> bool {
        let before = match escape::ends(view.slice_bytes(view.base..start)) {
            true => Some(b'\n'),
            false => start.checked_sub(1).and_then(|at| view.byte(at)),
        };
        let Some(mut state) = self.state.or_else(|| group.begin(before)) else {
            return true;
        };
        let (ends, mut at) = (&mut self.ends, self.at);
        let mut record = |entry: usize, end: usize| {
            let Some(&entry) = group.entries.get(entry) else {
                return;
            };
            let known = ends.iter_mut().find(|(known, _)| *known == entry);
            match (known, lexer.keeps_shorter(entry)) {
                (Some(known), false) => known.1 = end,
                (None, _) if !counts(entry) => {}
                _ => ends.push((entry, end)),
            }
        };
        let rest = view
            .text
            .as_bytes()
            .get(at - view.base..)
            .unwrap_or_default();
        let most = (start + MAX_MATCH).saturating_sub(at);
        let (rest, beyond) = rest.split_at_checked(most).unwrap_or((rest, &[]));
        let mut rest = rest.iter();
        while let Some(&byte) = rest.next() {
            let (mut byte, mut width) = (byte, 1);
            if (byte == b'_') | !byte.is_ascii() {
                if byte == b'_' {
                    if lexer.compete {
                        // A word may end here, whatever the automaton makes of the sign.
                        group.finish(state, |entry| record(entry, at));
                    }
                } else if let Some((sign, bytes)) = lexer.sign(view.slice_bytes(at..view.end())) {
                    (byte, width) = (sign, bytes);
                    rest.nth(bytes - 2);
                }
            }
            // The automaton tells of a match one byte late.
            let (next, goes_on) = group.step(state, byte, |entry| record(entry, at));
            if !goes_on {
                return true;
            }
            state = next;
            at += width;
        }
        if !beyond.is_empty() {
            group.finish(state, |entry| record(entry, at));
            self.cut = Some(Cut {
                group: self.groups & self.groups.wrapping_neg(),
                state,
                at,
            });
            return true;
        }
        if view.last {
            group.finish(state, |entry| record(entry, at));
            return true;
        }
        (self.state, self.at) = (Some(state), at);
        false
    }
}

/// The kinds of starts that have an entry which may begin at `at`, by what stands before it.
#[inline(never)]
fn opens(lexer: &Lexer, bytes: &[u8], at: usize) -> u8 {
    let (before, rest) = bytes.split_at(at);
    let read = lexer.sign(rest).map(|(sign, _)| sign);
    let byte = read.or(rest.first().copied()).unwrap_or_default();
    let begins = lexer.begins[usize::from(byte)];
    if escape::ends(before) {
        return begins;
    }
    let (before, second) = match lexer.compete {
        true => {
            let last = sign::last(before);
            let second = last.and_then(|(_, rest)| sign::last(rest));
            (last.map(|last| last.0), second.map(|last| last.0))
        }
        false => {
            let second = at.checked_sub(2).and_then(|at| bytes.get(at));
            (before.last().copied(), second.copied())
        }
    };
    begins & Start::open(byte, before, second)
}

/// Whether what stands at `to` continues a list whose last item ended at `from`: `A, B`, `A or B`.
fn goes_on(view: View<'_>, from: usize, to: usize) -> bool {
    to - from < LOOK
        && matches!(
            view.slice(from..to)
                .trim_matches(|c| " ,;/|&、".contains(sign::plain(c))),
            "" | "or" | "and"
        )
}

/// Whether a topic's word ends at `end`: no letter follows, except a hump (`birthDate`).
fn word_ends(view: View<'_>, end: usize) -> bool {
    let last = view.char_before(end);
    match view.slice(end..view.end()).chars().next() {
        Some(next) if next.is_ascii_alphabetic() => {
            next.is_ascii_uppercase() && last.is_some_and(|c| c.is_ascii_lowercase())
        }
        _ => true,
    }
}
