//! From label probabilities per token to entity spans of the original text.
//!
//! Pieces of one word are averaged, then the best sequence of tags that the scheme allows is found
//! over the words (Viterbi, transitions allowed or forbidden, none learned). An entity's score is
//! the mean over its words of the probability of its label in any position.

use std::collections::BTreeMap;

use super::TokenizedText;
use super::format::Formats;
use super::position::tidy_span;

/// How a token model writes spans as tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TagScheme {
    /// `B-X` begins an entity, `I-X` goes on with it.
    Bio,
    /// `B-X`, `I-X`, `E-X` ends, `S-X` stands alone.
    Bioes,
    /// `I-X` only: neighbouring words of one label are one entity.
    InsideOnly,
}

/// Where in an entity a tag stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Begin,
    Inside,
    End,
    Single,
}

/// The tags of a token head: which id means which place in which label.
#[derive(Debug, Clone)]
pub struct TagSet {
    scheme: TagScheme,
    /// Per tag id: its entity (index into `labels`) and place; `None` is outside.
    tags: Vec<Option<(usize, Place)>>,
    labels: Vec<String>,
    formats: Formats,
}

/// An entity found in a text.
#[derive(Debug, Clone, PartialEq)]
pub struct EntitySpan {
    /// Index into [`TagSet::labels`].
    pub label: usize,
    /// First byte of the original text.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
    /// Mean probability of the label over the entity's words, 0 to 1.
    pub score: f32,
}

/// Most tags of a head.
const MAX_TAGS: usize = 4096;

/// Why a list of tags is not understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TagSetError {
    /// A tag with an unknown prefix.
    #[error("tag {tag:?} is neither \"O\" nor one of B-, I-, E-, S- and a label")]
    Tag {
        /// The tag as written.
        tag: String,
    },
    /// A tag the scheme does not have.
    #[error("tag {tag:?} does not belong to the scheme {scheme}; use \"bioes\"")]
    Scheme {
        /// The tag as written.
        tag: String,
        /// The scheme's name.
        scheme: &'static str,
    },
    /// More tags than are decoded.
    #[error("{tags} tags; at most {MAX_TAGS} are decoded")]
    TooMany {
        /// The number of tags.
        tags: usize,
    },
    /// Nothing says "no entity".
    #[error("no tag \"O\" (outside)")]
    NoOutside,
}

impl TagSet {
    /// Understands the tags of a head, in the order of its outputs.
    pub fn new(scheme: TagScheme, tags: &[String]) -> Result<Self, TagSetError> {
        let mut labels: BTreeMap<&str, usize> = BTreeMap::new();
        let mut parsed = Vec::with_capacity(tags.len());
        for tag in tags {
            if tag == "O" {
                parsed.push(None);
                continue;
            }
            let place = match (tag.as_bytes().first(), tag.as_bytes().get(1)) {
                (Some(b'B'), Some(b'-')) => Place::Begin,
                (Some(b'I'), Some(b'-')) => Place::Inside,
                (Some(b'E' | b'L'), Some(b'-')) => Place::End,
                (Some(b'S' | b'U'), Some(b'-')) => Place::Single,
                _ => return Err(TagSetError::Tag { tag: tag.clone() }),
            };
            if scheme == TagScheme::Bio && matches!(place, Place::End | Place::Single) {
                return Err(TagSetError::Scheme {
                    tag: tag.clone(),
                    scheme: "bio",
                });
            }
            if scheme == TagScheme::InsideOnly && place != Place::Inside {
                return Err(TagSetError::Scheme {
                    tag: tag.clone(),
                    scheme: "inside",
                });
            }
            let next = labels.len();
            let label = *labels.entry(&tag[2..]).or_insert(next);
            parsed.push(Some((label, place)));
        }
        if !parsed.iter().any(Option::is_none) {
            return Err(TagSetError::NoOutside);
        }
        if parsed.len() > MAX_TAGS {
            return Err(TagSetError::TooMany { tags: parsed.len() });
        }
        let mut names = vec![String::new(); labels.len()];
        for (name, index) in labels {
            names[index] = name.to_owned();
        }
        Ok(Self {
            scheme,
            tags: parsed,
            labels: names,
            formats: Formats::default(),
        })
    }

    /// The same tags, where a span of a label must match the label's regular expression somewhere.
    ///
    /// # Errors
    ///
    /// Says which label is unknown or which expression is wrong or too large.
    pub fn with_formats(mut self, formats: &BTreeMap<String, String>) -> Result<Self, String> {
        self.formats = Formats::new(formats, &self.labels)?;
        Ok(self)
    }

    /// Number of tags: columns of the head's output.
    #[must_use]
    pub fn tags(&self) -> usize {
        self.tags.len()
    }

    /// The probabilities of a token about which nothing is known: surely outside.
    #[must_use]
    pub fn outside(&self) -> Vec<f32> {
        let outside = self.tags.iter().position(Option::is_none);
        (0..self.tags.len())
            .map(|t| if Some(t) == outside { 1.0 } else { 0.0 })
            .collect()
    }

    /// Entity labels, without prefixes.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        &self.labels
    }

    /// Finds the entities of `text`.
    ///
    /// `row` gives each token's probability of each tag. All entities of the best tagging that look like
    /// their label are returned, whatever their score. Besides the tokens themselves it keeps two bytes
    /// for each word and tag, so that a text of any allowed length fits.
    #[must_use]
    pub fn decode<'p>(
        &self,
        text: &str,
        tokens: &TokenizedText,
        row: impl Fn(usize) -> &'p [f32],
    ) -> Vec<EntitySpan> {
        let words = group_words(tokens);
        let path = self.best_path(&words, &row);
        let mut mean = vec![0.0; self.tags.len()];

        let mut found: Vec<EntitySpan> = Vec::new();
        let mut open: Option<(usize, usize)> = None; // label, first word
        let mut close = |open: &mut Option<(usize, usize)>, end: usize| {
            if let Some((label, first)) = open.take() {
                let (start, _) = words[first].1;
                let (_, stop) = words[end - 1].1;
                let mut score = 0.0;
                for word in &words[first..end] {
                    word_mean(word, &row, &mut mean);
                    score += self.label_probability(&mean, label) / (end - first) as f32;
                }
                if let Some((start, end)) = tidy_span(text, start, stop)
                    && self.formats.admit(label, &text[start..end])
                {
                    found.push(EntitySpan {
                        label,
                        start,
                        end,
                        score: score.min(1.0),
                    });
                }
            }
        };
        for (word, &tag) in path.iter().enumerate() {
            match self.tags[tag] {
                None => close(&mut open, word),
                Some((label, place)) => {
                    let goes_on = matches!(place, Place::Inside | Place::End)
                        && open.is_some_and(|(l, _)| l == label);
                    if !goes_on {
                        close(&mut open, word);
                        open = Some((label, word));
                    }
                }
            }
        }
        close(&mut open, path.len());
        found
    }

    /// Probability that a word belongs to `label`, in whatever place.
    fn label_probability(&self, word: &[f32], label: usize) -> f32 {
        self.tags
            .iter()
            .zip(word)
            .filter(|(tag, _)| tag.is_some_and(|(l, _)| l == label))
            .map(|(_, p)| p)
            .sum()
    }

    /// Viterbi over words; linear in words and tags because a tag that continues an entity has few
    /// predecessors and every other tag takes the best ending one.
    fn best_path<'p>(&self, words: &[Word], row: &impl Fn(usize) -> &'p [f32]) -> Vec<usize> {
        let columns = self.tags.len();
        let Some(first) = words.first() else {
            return Vec::new();
        };
        let mut scores = vec![0.0; columns];
        word_mean(first, row, &mut scores);
        let words_after = &words[1..];
        let words = words.len();
        let predecessors: Vec<Option<Vec<usize>>> =
            (0..columns).map(|t| self.open_predecessors(t)).collect();
        let log = |p: f32| p.max(1e-30).ln();

        let mut best: Vec<f32> = (0..columns)
            .map(|t| match predecessors[t] {
                Some(_) => f32::NEG_INFINITY, // cannot start a text
                None => log(scores[t]),
            })
            .collect();
        let mut back = vec![0u16; words * columns];
        let mut next = vec![0f32; columns];
        for (word, pieces) in (1..).zip(words_after) {
            word_mean(pieces, row, &mut scores);
            let ending = (0..columns)
                .filter(|&t| self.may_end(t))
                .fold(None, |top: Option<usize>, t| match top {
                    Some(top) if best[top] >= best[t] => Some(top),
                    _ => Some(t),
                })
                .unwrap_or(0);
            for t in 0..columns {
                let from = match &predecessors[t] {
                    None => ending,
                    Some(list) => list
                        .iter()
                        .copied()
                        .reduce(|a, b| if best[a] >= best[b] { a } else { b })
                        .unwrap_or(ending),
                };
                back[word * columns + t] = from as u16;
                next[t] = best[from] + log(scores[t]);
            }
            // Keep the sums small, so that a text of any length keeps its precision.
            let top = next.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            for (b, n) in best.iter_mut().zip(&next) {
                *b = n - top;
            }
        }
        let mut tag = (0..columns)
            .filter(|&t| self.may_end(t))
            .reduce(|a, b| if best[a] >= best[b] { a } else { b })
            .unwrap_or(0);
        let mut path = vec![0; words];
        for word in (0..words).rev() {
            path[word] = tag;
            tag = back[word * columns + tag] as usize;
        }
        path
    }

    /// The tags that must stand before `tag`, or `None` where any ended entity (or none) may.
    fn open_predecessors(&self, tag: usize) -> Option<Vec<usize>> {
        let (label, place) = self.tags[tag]?;
        if self.scheme == TagScheme::InsideOnly || !matches!(place, Place::Inside | Place::End) {
            return None;
        }
        let list: Vec<usize> = (0..self.tags.len())
            .filter(|&t| {
                self.tags[t]
                    .is_some_and(|(l, p)| l == label && matches!(p, Place::Begin | Place::Inside))
            })
            .collect();
        Some(list)
    }

    /// Whether an entity may end (or not have begun) at `tag`.
    fn may_end(&self, tag: usize) -> bool {
        match (self.scheme, self.tags[tag]) {
            (TagScheme::Bioes, Some((_, place))) => matches!(place, Place::End | Place::Single),
            _ => true,
        }
    }
}

/// A word: its tokens and its bytes.
type Word = (std::ops::Range<usize>, (usize, usize));

/// Joins the pieces of each word.
fn group_words(tokens: &TokenizedText) -> Vec<Word> {
    let mut words: Vec<Word> = Vec::new();
    for (i, &(start, end)) in tokens.spans.iter().enumerate() {
        match words.last_mut() {
            Some((range, span)) if tokens.continues_word[i] => {
                range.end = i + 1;
                span.1 = span.1.max(end);
            }
            _ => words.push((i..i + 1, (start, end))),
        }
    }
    words
}

/// The mean of the probabilities of a word's pieces, written to `mean`.
fn word_mean<'p>((tokens, _): &Word, row: &impl Fn(usize) -> &'p [f32], mean: &mut [f32]) {
    mean.fill(0.0);
    let share = 1.0 / tokens.len() as f32;
    for token in tokens.clone() {
        for (mean, p) in mean.iter_mut().zip(row(token)) {
            *mean += share * p;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags(scheme: TagScheme, names: &[&str]) -> TagSet {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        TagSet::new(scheme, &names).unwrap()
    }

    fn decode(set: &TagSet, text: &str, tokens: &TokenizedText, rows: &[f32]) -> Vec<EntitySpan> {
        let columns = set.tags();
        set.decode(text, tokens, |t| &rows[t * columns..][..columns])
    }

    /// One token a word, split at spaces.
    fn words_of(text: &str) -> TokenizedText {
        let mut out = TokenizedText::default();
        let mut at = 0;
        for word in text.split(' ') {
            out.ids.push(1);
            out.spans.push((at, at + word.len()));
            out.continues_word.push(false);
            at += word.len() + 1;
        }
        out
    }

    /// Rows with most of the mass on the named tag.
    fn rows(columns: usize, picks: &[usize]) -> Vec<f32> {
        let rest = 0.1 / (columns - 1) as f32;
        picks
            .iter()
            .flat_map(|&pick| (0..columns).map(move |c| if c == pick { 0.9 } else { rest }))
            .collect()
    }

    #[test]
    fn bio_spans_are_exact_and_an_orphan_inside_tag_begins_nothing_likelier() {
        let set = tags(TagScheme::Bio, &["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]);
        let text = "Ada Lovelace met Bob in London";
        let found = decode(&set, text, &words_of(text), &rows(5, &[1, 2, 0, 1, 0, 3]));
        let cut: Vec<_> = found
            .iter()
            .map(|s| (&text[s.start..s.end], set.labels()[s.label].as_str()))
            .collect();
        assert_eq!(
            cut,
            [("Ada Lovelace", "PER"), ("Bob", "PER"), ("London", "LOC")]
        );
        // I-LOC cannot follow B-PER: the path must choose, and never yields a broken entity.
        let text = "Ada London";
        let found = decode(&set, text, &words_of(text), &rows(5, &[1, 4]));
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn bioes_and_inside_only_schemes_decode() {
        let set = tags(TagScheme::Bioes, &["O", "B-A", "I-A", "E-A", "S-A"]);
        let text = "a b c d e";
        let found = decode(&set, text, &words_of(text), &rows(5, &[1, 2, 3, 0, 4]));
        let spans: Vec<_> = found.iter().map(|s| (s.start, s.end)).collect();
        assert_eq!(spans, [(0, 5), (8, 9)]);

        let set = tags(TagScheme::InsideOnly, &["I-A", "I-B", "O"]);
        let found = decode(&set, text, &words_of(text), &rows(3, &[0, 0, 1, 2, 1]));
        let spans: Vec<_> = found.iter().map(|s| (s.label, s.start, s.end)).collect();
        assert_eq!(spans, [(0, 0, 3), (1, 4, 5), (1, 8, 9)]);
    }

    #[test]
    fn pieces_of_a_word_are_one_word() {
        let set = tags(TagScheme::Bio, &["O", "B-A", "I-A"]);
        let tokens = TokenizedText {
            ids: vec![1, 2, 3],
            spans: vec![(0, 3), (3, 6), (7, 9)],
            continues_word: vec![false, true, false],
            ..TokenizedText::default()
        };
        // The second piece alone would be another entity's inside; the word's mean decides.
        let strong = [0.0, 1.0, 0.0, 0.4, 0.6, 0.0, 1.0, 0.0, 0.0];
        let found = decode(&set, "abcdef gh", &tokens, &strong);
        assert_eq!((found[0].start, found[0].end), (0, 6));
        assert!((found[0].score - 0.8).abs() < 1e-6);
    }

    #[test]
    fn a_span_that_does_not_look_like_its_label_is_none() {
        let formats = [("A".to_owned(), r"\d".to_owned())].into();
        let set = tags(TagScheme::Bio, &["O", "B-A", "I-A", "B-B"])
            .with_formats(&formats)
            .unwrap();
        let text = "a b1 c d";
        let found = decode(&set, text, &words_of(text), &rows(4, &[1, 1, 0, 3]));
        let spans: Vec<_> = found.iter().map(|s| &text[s.start..s.end]).collect();
        assert_eq!(spans, ["b1", "d"]);
    }

    #[test]
    fn unknown_tags_and_missing_outside_are_errors() {
        let names = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert!(matches!(
            TagSet::new(TagScheme::Bio, &names(&["O", "PER"])),
            Err(TagSetError::Tag { .. })
        ));
        assert!(matches!(
            TagSet::new(TagScheme::Bio, &names(&["O", "S-PER"])),
            Err(TagSetError::Scheme { .. })
        ));
        assert_eq!(
            TagSet::new(TagScheme::Bio, &names(&["B-PER"])).unwrap_err(),
            TagSetError::NoOutside
        );
    }
}
