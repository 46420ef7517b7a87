//! Taking what must not pass out of a text.

use std::collections::BTreeMap;
use std::ops::Range;

use ring::hmac;
use serde::{Deserialize, Serialize};

/// What stands in a text instead of what must not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Redaction {
    /// Its label: `[EMAIL]`.
    #[default]
    Replace,
    /// Its shape, with the last four letters and digits of eight or more: `**** **** **** 1111`.
    Mask,
    /// A keyed hash, the same for the same text everywhere: `[EMAIL:3fa9c2d1e0b4]`.
    Hash,
    /// A name, the same for the same text within a conversation: `[EMAIL_7QK2M9A]`. Can be restored.
    Pseudonym,
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

    /// `text` with each of `spans` replaced. Pseudonyms are those of `conversation`; each one used is
    /// added to `pseudonyms` with what it stands for.
    ///
    /// Spans that overlap, and those of one label that touch, are replaced as one, so that no byte of
    /// either is left, under the label of the sure one, or else of the longest.
    #[must_use]
    pub fn redact(
        &self,
        text: &str,
        spans: &[Redactable<'_>],
        conversation: &str,
        pseudonyms: &mut BTreeMap<String, String>,
    ) -> String {
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        for Redactable {
            span, label, by, ..
        } in merge(spans, text.len())
        {
            let (Some(before), Some(hidden)) = (text.get(at..span.start), text.get(span.clone()))
            else {
                continue; // not on character boundaries: nothing that a detector gives
            };
            out.push_str(before);
            out.push_str(&self.replacement(hidden, label, by, conversation, pseudonyms));
            at = span.end;
        }
        out.push_str(text.get(at..).unwrap_or_default());
        out
    }

    fn replacement(
        &self,
        hidden: &str,
        label: &str,
        by: Redaction,
        conversation: &str,
        pseudonyms: &mut BTreeMap<String, String>,
    ) -> String {
        match by {
            Redaction::Replace => format!("[{label}]"),
            Redaction::Mask => mask(hidden),
            Redaction::Hash => {
                let tag = self.tag(&["hash", label, hidden]);
                let hex: String = tag.iter().take(6).map(|b| format!("{b:02x}")).collect();
                format!("[{label}:{hex}]")
            }
            Redaction::Pseudonym => {
                let tag = self.tag(&["pseudonym", conversation, label, hidden]);
                let name: String = tag
                    .iter()
                    .take(7)
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

trait TagBytes {
    fn iter(&self) -> std::slice::Iter<'_, u8>;
}

impl TagBytes for hmac::Tag {
    fn iter(&self) -> std::slice::Iter<'_, u8> {
        self.as_ref().iter()
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
                if next_weight > *weight {
                    *weight = next_weight;
                    (last.label, last.by) = (next.label, next.by);
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

/// Stars for letters and digits, but for the last four of eight or more.
fn mask(hidden: &str) -> String {
    let letters = hidden.chars().filter(|c| c.is_alphanumeric()).count();
    let shown = if letters >= 8 { 4 } else { 0 };
    let mut seen = 0;
    hidden
        .chars()
        .map(|c| {
            if !c.is_alphanumeric() {
                return c;
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
        Redactor::new(b"key").redact(text, &spans, conversation, &mut BTreeMap::new())
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
