//! What the text before a place says it is about.

use super::lexer::{Lexer, LexerRule, TopicId};
use super::sign;
use super::table::Table;
use super::view::{LOOK, View};

/// The topics that reach the place which a scan has come to.
#[derive(Debug, Clone, Default)]
pub(super) struct Topics {
    /// The nearest topic to the left, and where its words end.
    nearest: Option<(TopicId, usize)>,
    /// The end of the match that the nearest topic has spoken for.
    spent: Option<usize>,
    /// What the next item of a list is about, and where the item before it ends.
    listed: Option<(TopicId, usize)>,
    pub(super) table: Table,
}

impl Topics {
    /// Whether a topic may speak for a number at `at`.
    pub(super) fn near(&self, lexer: &Lexer, at: usize) -> bool {
        let told = |(_, end)| at <= end + lexer.told_reach;
        self.nearest.is_some_and(told)
            || self.listed.is_some_and(|(_, end)| at <= end + LOOK)
            || self.table.topic(at).is_some()
    }

    /// The topic that speaks for or against what `rule` finds at `start`.
    pub(super) fn topic(&self, view: View<'_>, rule: &LexerRule, start: usize) -> Option<TopicId> {
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

    /// Takes the longest of the topics whose words begin at `start`, unless those of another one reach beyond it.
    pub(super) fn say(&mut self, start: usize, topic: TopicId, end: usize) {
        if self.nearest.is_none_or(|(_, end)| end <= start) {
            self.nearest = Some((topic, end));
            self.spent = None;
        }
    }

    /// What the nearest topic spoke for ends at `end`.
    pub(super) fn spend(&mut self, end: usize) {
        self.spent = self.spent.max(Some(end));
    }

    /// Behind `end`, the next item of a list is about `topic`.
    pub(super) fn list(&mut self, topic: TopicId, end: usize) {
        self.listed = Some((topic, end));
    }
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
pub(super) fn word_ends(view: View<'_>, end: usize) -> bool {
    let last = view.char_before(end);
    match view.slice(end..view.end()).chars().next() {
        Some(next) if next.is_ascii_alphabetic() => {
            next.is_ascii_uppercase() && last.is_some_and(|c| c.is_ascii_lowercase())
        }
        _ => true,
    }
}
