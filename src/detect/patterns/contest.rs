//! Matches that overlap, and which of them is reported.

use super::PatternMatch;
use super::candidate::Candidate;
use super::lexer::Lexer;
use super::work;

/// Candidates until they are decided.
#[derive(Debug, Clone, Default)]
pub(super) struct Contest {
    /// In order of their spans.
    pending: Vec<Candidate>,
}

impl Contest {
    /// Where the first candidate begins.
    pub(super) fn start(&self) -> Option<usize> {
        self.pending.first().map(|c| c.span.start)
    }

    /// Takes a candidate unless an earlier one beats it: the higher score wins, then the longer match
    /// at the same place, then the earlier one.
    pub(super) fn offer(&mut self, lexer: &Lexer, new: Candidate) -> bool {
        work::count(self.pending.len());
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

    /// Reports candidates that nothing can beat which begins at `at` or later.
    ///
    /// A candidate is decided once every start before its end is done and every rival that beats it
    /// is decided. Rivals score strictly higher each, so chains of them are short.
    pub(super) fn settle(&mut self, lexer: &Lexer, at: usize, out: &mut Vec<PatternMatch>) {
        if self.pending.is_empty() {
            return;
        }
        while let Some(winner) = self.winner(lexer, at) {
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
    fn winner(&self, lexer: &Lexer, at: usize) -> Option<usize> {
        self.pending.iter().position(|c| {
            !c.accepted
                && c.span.end <= at
                && !self.pending.iter().any(|other| {
                    !other.accepted
                        && other.overlaps(c)
                        && (lexer.compete || other.rule == c.rule)
                        && other.beats(c)
                })
        })
    }
}
