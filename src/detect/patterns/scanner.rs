//! One pass over a text that may not be complete yet.

use std::cmp::Reverse;

use super::PatternMatch;
use super::candidate::{Candidate, Matched};
use super::contest::Contest;
use super::escape::Reading;
use super::lexer::{Entry, Lexer, TopicId};
use super::rule::Start;
use super::starts;
use super::topics::{Topics, word_ends};
use super::view::{FRONT, View};
use super::walk::{Cut, End, Walk};
use super::work;

/// A match that scores this much is not looked into: what begins inside it is no candidate.
const CERTAIN: f32 = 0.9;

/// How many values may lie over a byte and be looked at, so that names in names (`token=token=...`)
/// take linear time.
const MAX_NESTED: usize = 3;

/// How far a lexer has come in a text. All positions are bytes of the whole text.
#[derive(Debug, Clone, Default)]
pub(super) struct Scanner {
    /// Every start before this one is done.
    at: usize,
    walk: Option<Walk>,
    /// The walk that the present start goes on with.
    resume: Option<Cut>,
    /// Memory for the next walk.
    spare: Vec<End>,
    topics: Topics,
    /// Where the values end that were looked at and that the present start lies in.
    values: Vec<usize>,
    /// Where the last candidate ends.
    ended: usize,
    contest: Contest,
}

impl Scanner {
    /// Where the first match that is not reported yet may begin.
    pub(super) fn safe(&self) -> usize {
        // A backslash may be a part of what follows it.
        let slash = self.at > 0 && self.topics.table.slash == self.at;
        let at = self.at - usize::from(slash);
        self.contest.start().map_or(at, |start| start.min(at))
    }

    /// The first byte that is still looked at.
    pub(super) fn needed(&self) -> usize {
        self.at.saturating_sub(FRONT)
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
            self.contest.settle(lexer, self.at, out);
        }
        if view.last {
            self.at = usize::MAX;
        }
        self.contest.settle(lexer, self.at, out);
        self.at = view.end();
    }

    /// Finds the next place where a match may begin; false at the end of the view.
    fn next_start(&mut self, lexer: &Lexer, view: View<'_>) -> bool {
        if let Some(cut) = self.resume.take() {
            let ends = std::mem::take(&mut self.spare);
            self.walk = Some(Walk::resumed(cut, ends));
            return true;
        }
        let mut from = self.at;
        while let Some((at, mut groups)) = starts::next(lexer, view, from, self.topics.table.slash)
        {
            self.go(view, at);
            if !self.topics.near(lexer, at) {
                groups &= !Start::Told.bit();
            }
            if groups != 0 {
                let ends = std::mem::take(&mut self.spare);
                self.walk = Some(Walk::new(groups, at, ends));
                return true;
            }
            from = at + 1;
        }
        self.go(view, view.end());
        false
    }

    /// Goes on to `at`.
    fn go(&mut self, view: View<'_>, at: usize) {
        let passed = view.slice_bytes(self.at..at);
        work::count(passed.len());
        self.topics.table.read(passed, self.at);
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
            let topic = self.topics.topic(view, spec, self.at);
            topic.map_or(spec.alone, |topic| {
                !spec.unless.contains(&topic) && (spec.alone || spec.topics.contains(&topic))
            })
        })
    }

    /// Turns what matched at the present start into candidates; false if the view ends too soon for
    /// the checks.
    fn decide(&mut self, lexer: &Lexer, view: View<'_>) -> bool {
        let start = self.at;
        self.values.retain(|end| *end > start);
        if !self.looked_at(lexer, view) {
            return false;
        }
        let Some(walk) = self.walk.take() else {
            return true;
        };
        let mut ends = walk.ends;
        let mut next = start + 1;
        let mut topic: Option<(TopicId, usize)> = None;
        // In the order of the table, each rule's longest match first.
        ends.sort_by_key(|end| (end.entry, Reverse(end.at)));
        let mut done = None;
        let reading = match lexer.compete && !walk.resumed {
            true => self.reading(view),
            false => Reading::Letter,
        };
        for End {
            entry,
            at: end,
            run,
        } in ends.drain(..)
        {
            match entry {
                Entry::Topic(id) if word_ends(view, end) => {
                    self.topics.table.title(start, end, id);
                    topic = topic
                        .filter(|(_, longest)| *longest >= end)
                        .or(Some((id, end)));
                }
                Entry::Topic(_) => {}
                Entry::Rule(rule) if reading == Reading::Escape || done == Some(rule) => {}
                Entry::Rule(rule) => {
                    let endless = lexer.rules.get(rule).is_some_and(|rule| rule.endless);
                    let cut = walk.cut.filter(|_| endless);
                    let matched = Matched {
                        rule,
                        whole: start..end,
                        run,
                        long: walk.resumed || cut.is_some(),
                        slash: reading == Reading::Either,
                    };
                    if let Some(candidate) = self.candidate(lexer, view, matched) {
                        done = Some(rule);
                        let (end, certain) = (candidate.span.end, candidate.score >= CERTAIN);
                        let spoken_for = candidate.in_context;
                        let next_topic = lexer.rules.get(rule).and_then(|rule| rule.next);
                        if self.contest.offer(lexer, candidate) {
                            self.ended = self.ended.max(end);
                            if certain && lexer.compete {
                                next = next.max(end);
                                self.resume = cut;
                            }
                            if spoken_for {
                                self.topics.spend(end);
                            }
                            if let Some(topic) = next_topic {
                                self.topics.list(topic, end);
                            }
                        }
                    }
                }
            }
        }
        self.spare = ends;
        if let Some((topic, end)) = topic {
            self.topics.say(start, topic, end);
        }
        self.go(view, next);
        true
    }

    /// Whether the view reaches as far as the checks of what matched at the present start look.
    fn looked_at(&mut self, lexer: &Lexer, view: View<'_>) -> bool {
        let looks = self.values.len() < MAX_NESTED;
        let ends = self
            .walk
            .as_mut()
            .map_or(&mut [][..], |walk| &mut walk.ends);
        let mut whole = true;
        for end in ends {
            if let Some(value) = lexer.value(end.entry).filter(|_| looks) {
                end.run = value.run(view.slice(end.at..view.end()), end.run);
            }
            whole &= view.last || end.at + end.run + lexer.look(end.entry) <= view.end();
        }
        whole
    }

    /// What the backslash before the present start may be. Between two values it is an escape.
    fn reading(&self, view: View<'_>) -> Reading {
        match view.reading(self.at) {
            Reading::Either if self.ended + 1 >= self.at => Reading::Escape,
            reading => reading,
        }
    }

    /// What is reported of `matched`, if it is enough to be.
    fn candidate(&mut self, lexer: &Lexer, view: View<'_>, matched: Matched) -> Option<Candidate> {
        if let Some(value) = lexer.value(Entry::Rule(matched.rule)) {
            if self.values.len() >= MAX_NESTED {
                return None;
            }
            let from = matched.whole.end;
            let value = value.at(view.slice(from..view.end()), matched.run)?;
            self.values.push(from + value.len());
        }
        Candidate::of(matched, lexer, view, &self.topics)
    }
}
