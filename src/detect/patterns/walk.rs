//! Automata walked over a text from the place where a match may begin.

use regex_automata::util::primitives::StateID;

use super::escape;
use super::lexer::{Entry, Group, Lexer, MAX_MATCH};
use super::view::View;

/// The walks from one start, until all of them have ended.
#[derive(Debug, Clone)]
pub(super) struct Walk {
    /// Groups still to be walked, the present one included.
    pub(super) groups: u8,
    /// Where the present group's walk is; none before its first byte.
    pub(super) state: Option<StateID>,
    /// The next byte it reads.
    pub(super) at: usize,
    pub(super) ends: Vec<End>,
    /// Whether it goes on with a match that was too long.
    pub(super) resumed: bool,
    /// Where a group's walk stood when it became too long.
    pub(super) cut: Option<Cut>,
}

/// Where an entry that matched ends.
#[derive(Debug, Clone)]
pub(super) struct End {
    pub(super) entry: Entry,
    pub(super) at: usize,
    /// How many bytes behind it are known to be a run that may be its value.
    pub(super) run: usize,
}

/// A walk that may be resumed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub(super) group: u8,
    pub(super) state: StateID,
    pub(super) at: usize,
}

impl Walk {
    /// The walks of `groups` from `at`, which keep what they find in `ends`.
    pub(super) fn new(groups: u8, at: usize, ends: Vec<End>) -> Self {
        Self {
            groups,
            state: None,
            at,
            ends,
            resumed: false,
            cut: None,
        }
    }

    /// A walk that goes on where it was cut.
    pub(super) fn resumed(cut: Cut, ends: Vec<End>) -> Self {
        Self {
            state: Some(cut.state),
            resumed: true,
            ..Self::new(cut.group, cut.at, ends)
        }
    }

    /// Walks `group` from `start` and keeps the entries that match and count; false if the view ends
    /// first.
    pub(super) fn walk_group(
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
            let known = ends.iter_mut().find(|known| known.entry == entry);
            match (known, lexer.keeps_shorter(entry)) {
                (Some(known), false) => known.at = end,
                (None, _) if !counts(entry) => {}
                _ => ends.push(End {
                    entry,
                    at: end,
                    run: 0,
                }),
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
