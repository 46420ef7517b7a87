//! Taking what must not pass out of a text.

use std::ops::Range;

/// Replaces each span of `text` by its label in brackets: `mail [EMAIL] now`.
///
/// Spans that overlap, and those of one label that touch, are replaced as one, under the label of the
/// longest. Spans are bytes on character boundaries.
#[must_use]
pub fn redact(text: &str, spans: &[(Range<usize>, &str)]) -> String {
    let mut sorted: Vec<(Range<usize>, &str)> = spans
        .iter()
        .filter(|(span, _)| span.start < span.end && span.end <= text.len())
        .cloned()
        .collect();
    sorted.sort_by_key(|(span, _)| (span.start, span.end));

    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    let mut rest = sorted.into_iter().peekable();
    while let Some((mut span, mut label)) = rest.next() {
        let mut longest = span.len();
        while let Some((next, next_label)) = rest.next_if(|(next, next_label)| {
            next.start < span.end || (next.start == span.end && *next_label == label)
        }) {
            if next.len() > longest {
                (longest, label) = (next.len(), next_label);
            }
            span.end = span.end.max(next.end);
        }
        out.push_str(&text[at..span.start]);
        out.push('[');
        out.push_str(label);
        out.push(']');
        at = span.end;
    }
    out.push_str(&text[at..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_give_way_to_their_labels_and_overlaps_to_the_longest() {
        let text = "Äda Byron, ada@x.org, bye";
        let out = redact(text, &[(12..21, "EMAIL"), (0..10, "PERSON")]);
        assert_eq!(out, "[PERSON], [EMAIL], bye");
        let out = redact(text, &[(0..4, "A"), (3..10, "B"), (12..21, "EMAIL")]);
        assert_eq!(out, "[B], [EMAIL], bye");
        assert_eq!(redact("abc", &[]), "abc");
        assert_eq!(redact("@ada", &[(0..1, "P"), (1..4, "P")]), "[P]");
    }
}
