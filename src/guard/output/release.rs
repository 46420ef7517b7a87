//! What of a guarded stream may pass.

use std::ops::Range;
use std::sync::Arc;

use super::OutputGuard;
use crate::guard::fold::alone;
use crate::guard::redact::Redactable;
use crate::guard::{Redaction, Replacement, Scope};

/// A further part of a text that may pass.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Released {
    /// Bytes of the text as it came, from where the part before ended.
    pub span: Range<usize>,
    /// What in it is not as it came, by bytes of the whole text.
    pub replaced: Vec<Replacement>,
    /// The part, redacted.
    pub text: String,
}

/// Something to take out.
pub(super) struct Span {
    pub(super) range: Range<usize>,
    pub(super) label: Arc<str>,
    pub(super) by: Redaction,
    pub(super) sure: bool,
}

impl OutputGuard<'_> {
    /// What may pass by now, and did not yet.
    pub(super) fn release(&mut self, last: bool) -> Released {
        let nothing = Released {
            span: self.released..self.released,
            ..Released::default()
        };
        if self.blocked {
            return nothing;
        }
        let scored = match self.models && !last {
            true => self.blocks.last().copied().unwrap_or(0),
            false => self.text.len(),
        };
        let mut until = scored.min(self.patterns_safe);
        if !last {
            // Not through a span, nor up to one that the next may touch.
            self.spans.sort_by_key(|s| (s.range.start, s.range.end));
            for span in self.spans.iter().rev() {
                if span.range.start < until && until <= span.range.end {
                    until = span.range.start;
                }
            }
        }
        if until <= self.released {
            return nothing;
        }
        let from = self.released;
        let spans: Vec<Redactable<'_>> = self
            .spans
            .iter()
            .filter(|s| s.range.start >= from && s.range.end <= until)
            .map(|s| Redactable {
                span: s.range.start - from..s.range.end - from,
                label: &s.label,
                by: s.by,
                sure: s.sure,
            })
            .collect();
        let alone = alone(&self.asked.id);
        let scope = Scope {
            tenant: &self.asked.tenant,
            conversation: self.asked.conversation.as_deref().unwrap_or(&alone),
        };
        let text = self.text.get(from..until).unwrap_or_default();
        let redactor = self.guard.redactor();
        let mut replaced = redactor.replacements(text, &spans, scope, &mut self.pseudonyms);
        let text = Replacement::apply(&replaced, text);
        for replacement in &mut replaced {
            replacement.span.start += from;
            replacement.span.end += from;
        }
        self.spans.retain(|s| s.range.end > until);
        self.released = until;
        Released {
            span: from..until,
            replaced,
            text,
        }
    }
}
