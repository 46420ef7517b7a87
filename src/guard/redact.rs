//! Taking what must not pass out of a text.

use std::collections::BTreeMap;
use std::ops::Range;

use ring::hmac;
use serde::{Deserialize, Serialize};

/// What stands in a text instead of what must not pass.
///
/// In order of what they show, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Redaction {
    /// Its label: `[EMAIL]`.
    #[default]
    Replace,
    /// A keyed hash, the same for the same text of a tenant: `[EMAIL:3fa9c2d1e0b4]`.
    Hash,
    /// Its shape, with the last four letters and digits of eight or more: `**** **** **** 1111`. Of
    /// passwords and keys nothing is shown.
    Mask,
    /// A name, the same for the same text within a conversation: `[EMAIL_7QK2M9AXW4]`. Can be restored.
    Pseudonym,
}

impl Redaction {
    /// As in configurations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Hash => "hash",
            Self::Mask => "mask",
            Self::Pseudonym => "pseudonym",
        }
    }
}

/// Something to take out of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redactable<'t> {
    /// Bytes of the text, on character boundaries.
    pub span: Range<usize>,
    /// What it is.
    pub label: &'t str,
    /// What to put there.
    pub by: Redaction,
    /// Where spans overlap, the label of the surer one stands: a pattern that proves itself before a
    /// model's guess.
    pub sure: bool,
}

/// What stands in a text instead of a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replacement {
    /// Bytes of the text as it came.
    pub span: Range<usize>,
    /// What stands there now.
    pub text: String,
}

impl Replacement {
    /// `text` with `replacements`, which are in order and do not overlap.
    #[must_use]
    pub fn apply(replacements: &[Self], text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for Self {
            span,
            text: instead,
        } in replacements
        {
            out.push_str(text.get(at..span.start).unwrap_or_default());
            out.push_str(instead);
            at = span.end;
        }
        out.push_str(text.get(at..).unwrap_or_default());
        out
    }
}

/// Within what replacements repeat.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'s> {
    /// Hashes do within a tenant.
    pub tenant: &'s str,
    /// Pseudonyms do within a conversation of it.
    pub conversation: &'s str,
}

/// Redacts with one key.
#[derive(Debug, Clone)]
pub struct Redactor {
    key: hmac::Key,
}

impl Redactor {
    /// A redactor whose hashes and pseudonyms depend on `key`.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self {
            key: hmac::Key::new(hmac::HMAC_SHA256, key),
        }
    }

    /// What to put in place of `spans` of `text`, in order. Hashes are those of the tenant and pseudonyms
    /// those of the conversation in `scope`; each pseudonym used is added to `pseudonyms` with what it
    /// stands for.
    ///
    /// Spans that overlap, and those of one label that touch, are replaced as one, so that no byte of
    /// either is left, under the label of the sure one, or else of the longest, and in the way that shows
    /// least of all that were asked for.
    #[must_use]
    pub fn replacements(
        &self,
        text: &str,
        spans: &[Redactable<'_>],
        scope: Scope<'_>,
        pseudonyms: &mut BTreeMap<String, String>,
    ) -> Vec<Replacement> {
        let merged = merge(spans, text.len()).into_iter();
        // Not on character boundaries: nothing that a detector gives.
        merged
            .filter_map(
                |Redactable {
                     span, label, by, ..
                 }| {
                    let hidden = text.get(span.clone())?;
                    let text = self.replacement(hidden, label, by, scope, pseudonyms);
                    Some(Replacement { span, text })
                },
            )
            .collect()
    }

    fn replacement(
        &self,
        hidden: &str,
        label: &str,
        by: Redaction,
        scope: Scope<'_>,
        pseudonyms: &mut BTreeMap<String, String>,
    ) -> String {
        match by {
            Redaction::Replace => format!("[{label}]"),
            Redaction::Mask => mask(hidden, label),
            Redaction::Hash => {
                let tag = self.tag(&["hash", scope.tenant, label, hidden]);
                let hex: String = tag
                    .as_ref()
                    .iter()
                    .take(6)
                    .map(|b| format!("{b:02x}"))
                    .collect();
                format!("[{label}:{hex}]")
            }
            Redaction::Pseudonym => {
                let tag = self.tag(&["pseudonym", scope.tenant, scope.conversation, label, hidden]);
                let name: String = tag
                    .as_ref()
                    .iter()
                    .take(10)
                    .map(|b| char::from(LETTERS[usize::from(b % 32)]))
                    .collect();
                let pseudonym = format!("[{label}_{name}]");
                pseudonyms.insert(pseudonym.clone(), hidden.to_owned());
                pseudonym
            }
        }
    }

    /// A keyed digest of `fields`, none of which can be taken for another.
    fn tag(&self, fields: &[&str]) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        for field in fields {
            context.update(&(field.len() as u64).to_le_bytes());
            context.update(field.as_bytes());
        }
        context.sign()
    }
}

/// Letters and digits that are not taken for one another.
const LETTERS: &[u8; 32] = b"ABCDEFGHJKLMNPQRSTUVWXYZ23456789";

/// Spans in order, those that overlap as one.
fn merge<'t>(spans: &[Redactable<'t>], length: usize) -> Vec<Redactable<'t>> {
    let mut sorted: Vec<Redactable<'t>> = spans
        .iter()
        .filter(|r| r.span.start < r.span.end && r.span.end <= length)
        .cloned()
        .collect();
    sorted.sort_by_key(|r| (r.span.start, r.span.end));
    let mut merged: Vec<(Redactable<'t>, (bool, usize))> = Vec::with_capacity(sorted.len());
    for next in sorted {
        match merged.last_mut() {
            Some((last, weight))
                if next.span.start < last.span.end
                    || (next.span.start == last.span.end && next.label == last.label) =>
            {
                last.span.end = last.span.end.max(next.span.end);
                let next_weight = (next.sure, next.span.len());
                last.by = last.by.min(next.by);
                if next_weight > *weight {
                    *weight = next_weight;
                    last.label = next.label;
                }
            }
            _ => {
                let weight = (next.sure, next.span.len());
                merged.push((next, weight));
            }
        }
    }
    merged
        .into_iter()
        .map(|(redactable, _)| redactable)
        .collect()
}

/// Stars for everything but what separates groups, and but for the last four letters and digits of
/// eight or more, where the label is of something that people know by its end.
fn mask(hidden: &str, label: &str) -> String {
    const SEPARATORS: [char; 7] = [' ', '-', '.', '@', '/', ':', ','];
    let letters = hidden.chars().filter(|c| c.is_alphanumeric()).count();
    let secret = ["PASSWORD", "API_KEY", "PRIVATE_KEY"].contains(&label);
    let shown = if letters >= 8 && !secret { 4 } else { 0 };
    let mut seen = 0;
    hidden
        .chars()
        .map(|c| {
            if !c.is_alphanumeric() {
                let keeps = SEPARATORS.contains(&c) && !secret;
                return if keeps { c } else { '*' };
            }
            seen += 1;
            if seen + shown > letters { c } else { '*' }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redact(text: &str, spans: &[(Range<usize>, &str, Redaction)], conversation: &str) -> String {
        let spans: Vec<_> = spans
            .iter()
            .map(|(span, label, by)| Redactable {
                span: span.clone(),
                label,
                by: *by,
                sure: label.starts_with('S'),
            })
            .collect();
        let scope = Scope {
            tenant: "acme",
            conversation,
        };
        let redactor = Redactor::new(b"key");
        let replacements = redactor.replacements(text, &spans, scope, &mut BTreeMap::new());
        Replacement::apply(&replacements, text)
    }

    #[test]
    fn spans_give_way_to_their_labels_and_overlaps_to_the_longest() {
        use Redaction::Replace as R;
        let text = "Äda Byron, ada@x.org, bye";
        let out = redact(text, &[(12..21, "EMAIL", R), (0..10, "PERSON", R)], "");
        assert_eq!(out, "[PERSON], [EMAIL], bye");
        let spans = [(0..4, "A", R), (3..10, "B", R), (12..21, "EMAIL", R)];
        assert_eq!(redact(text, &spans, ""), "[B], [EMAIL], bye");
        let spans = [(0..4, "SURE", R), (3..10, "B", R)];
        assert_eq!(redact(text, &spans, ""), "[SURE], ada@x.org, bye");
        assert_eq!(redact("abc", &[], ""), "abc");
        assert_eq!(redact("@ada", &[(0..1, "P", R), (1..4, "P", R)], ""), "[P]");
    }

    #[test]
    fn masks_keep_the_shape_and_the_last_four() {
        let card = "4111 1111 1111 1234";
        let masked = redact(card, &[(0..19, "CARD", Redaction::Mask)], "");
        assert_eq!(masked, "**** **** **** 1234");
        assert_eq!(
            redact("Zoë K", &[(0..6, "P", Redaction::Mask)], ""),
            "*** *"
        );
    }

    #[test]
    fn an_overlap_is_replaced_in_the_way_that_shows_least() {
        let text = "see https://x.org/?token=abcdefgh1234";
        let spans = [
            (4..37, "URL", Redaction::Pseudonym),
            (25..37, "API_KEY", Redaction::Replace),
        ];
        assert_eq!(redact(text, &spans, ""), "see [URL]");
    }

    #[test]
    fn hashes_are_the_same_everywhere_and_pseudonyms_within_a_conversation() {
        let of = |text: &str, by, conversation| {
            redact(text, &[(0..text.len(), "EMAIL", by)], conversation)
        };
        let (hash, pseudonym) = (Redaction::Hash, Redaction::Pseudonym);
        assert_eq!(of("a@b.c", hash, "1"), of("a@b.c", hash, "2"));
        assert_ne!(of("a@b.c", hash, "1"), of("a@b.d", hash, "1"));
        assert_eq!(of("a@b.c", pseudonym, "1"), of("a@b.c", pseudonym, "1"));
        assert_ne!(of("a@b.c", pseudonym, "1"), of("a@b.c", pseudonym, "2"));
        assert!(of("a@b.c", pseudonym, "1").starts_with("[EMAIL_"));
    }
}
