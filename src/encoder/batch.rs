//! A packed batch: the tokens of many sequences, one after the other, without padding.

/// Token ids of several sequences and where each ends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PackedBatch {
    ids: Vec<u32>,
    lengths: Vec<usize>,
}

impl PackedBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a sequence; empty ones are not allowed, because they have no score.
    pub fn push(&mut self, ids: &[u32]) {
        assert!(
            !ids.is_empty(),
            "a sequence has at least its special tokens"
        );
        self.ids.extend_from_slice(ids);
        self.lengths.push(ids.len());
    }

    /// All token ids.
    #[must_use]
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Tokens of each sequence.
    #[must_use]
    pub fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    /// Tokens of all sequences.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Sum of the squared lengths: what attention costs.
    #[must_use]
    pub fn squares(&self) -> usize {
        self.lengths.iter().map(|n| n * n).sum()
    }

    /// Of `values`, as many a token, keeps those of each sequence's first token.
    pub(super) fn keep_first_rows(&self, values: &mut Vec<f32>) {
        let width = values.len() / self.tokens().max(1);
        for (sequence, rows) in self.rows().enumerate() {
            let from = rows.start * width;
            values.copy_within(from..from + width, sequence * width);
        }
        values.truncate(self.lengths.len() * width);
    }

    /// The rows of each sequence.
    pub fn rows(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        self.lengths.iter().scan(0, |at, &n| {
            let start = *at;
            *at += n;
            Some(start..start + n)
        })
    }
}

impl<'a> FromIterator<&'a [u32]> for PackedBatch {
    fn from_iter<I: IntoIterator<Item = &'a [u32]>>(sequences: I) -> Self {
        let mut batch = Self::new();
        sequences.into_iter().for_each(|s| batch.push(s));
        batch
    }
}
