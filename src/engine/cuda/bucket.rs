//! Sizes of batches that graphs are captured for, and what the host writes for each batch: token ids,
//! places, and the work list of attention.

use std::cmp::Reverse;
use std::ops::Range;

use crate::encoder::{Numbering, PackedBatch};

/// Queries of a block of the attention kernels; `TILE` of kernels/index.cuh.
pub(super) const TILE: usize = 64;
/// Words (4 bytes) of an entry of the work list; `Tile` of kernels/index.cuh.
const TILE_WORDS: usize = 4;
/// Smallest bucket, in tokens.
const SMALLEST: usize = 16;
/// A bucket takes a sequence for every so many of its tokens.
const TOKENS_PER_SEQUENCE: usize = 8;
/// Most sequences of a bucket.
const MOST_SEQUENCES: usize = 1024;

/// A size of batch: one graph runs every batch of up to so many tokens and sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bucket {
    pub(super) tokens: usize,
    pub(super) sequences: usize,
}

impl Bucket {
    /// The buckets up to `most` tokens, ascending: four sizes an octave, so that at most a quarter of
    /// a batch's rows are idle, and the last one exactly `most` (rounded up to 16).
    pub(super) fn all(most: usize) -> Vec<Self> {
        let most = most.max(1).next_multiple_of(SMALLEST);
        let mut sizes = Vec::new();
        let mut octave = SMALLEST;
        while octave < most {
            let step = (octave / 4).max(SMALLEST);
            sizes.extend((octave..(2 * octave).min(most)).step_by(step));
            octave *= 2;
        }
        sizes.push(most);
        sizes.into_iter().map(Self::of).collect()
    }

    /// The bucket of `tokens` tokens.
    fn of(tokens: usize) -> Self {
        Self {
            tokens,
            sequences: (tokens / TOKENS_PER_SEQUENCE).clamp(1, MOST_SEQUENCES),
        }
    }

    /// Whether so much fits.
    pub(super) fn holds(self, tokens: usize, sequences: usize) -> bool {
        tokens <= self.tokens && sequences <= self.sequences
    }

    /// Entries of the work list: enough for any packing, because each sequence has at most one tile
    /// that is not full.
    pub(super) fn tiles(self) -> usize {
        self.tokens / TILE + self.sequences
    }

    /// Where each part of the batch lies, in words: the work list first, for its alignment.
    pub(super) fn inputs(self) -> Inputs {
        let tiles = 0..self.tiles() * TILE_WORDS;
        let ids = tiles.end..tiles.end + self.tokens;
        let places = ids.end..ids.end + self.tokens;
        let starts = places.end..places.end + self.sequences + 1;
        Inputs {
            tiles,
            ids,
            places,
            starts,
        }
    }

    /// Cuts `batch` into parts that the largest of `buckets` holds, in order: ranges of sequences.
    /// `None` when a sequence alone is too long.
    pub(super) fn split(buckets: &[Self], batch: &PackedBatch) -> Option<Vec<Range<usize>>> {
        let largest = buckets.last()?;
        let mut parts = Vec::new();
        let (mut first, mut tokens) = (0, 0);
        for (i, &length) in batch.lengths().iter().enumerate() {
            if length > largest.tokens {
                return None;
            }
            if !largest.holds(tokens + length, i + 1 - first) {
                parts.push(first..i);
                (first, tokens) = (i, 0);
            }
            tokens += length;
        }
        if first < batch.lengths().len() {
            parts.push(first..batch.lengths().len());
        }
        Some(parts)
    }
}

/// Where the parts of a batch's input lie, in words.
#[derive(Debug, Clone)]
pub(super) struct Inputs {
    pub(super) tiles: Range<usize>,
    pub(super) ids: Range<usize>,
    pub(super) places: Range<usize>,
    pub(super) starts: Range<usize>,
}

impl Inputs {
    /// Words in all.
    pub(super) fn words(&self) -> usize {
        self.starts.end
    }

    /// Writes the sequences `part` of `batch`, which must fit the bucket. Every word is written:
    /// surplus tokens are id 0, surplus tiles and sequences have no rows. Tiles of long sequences come
    /// first, because they take longest.
    pub(super) fn write(
        &self,
        words: &mut [u32],
        batch: &PackedBatch,
        part: Range<usize>,
        numbering: Numbering,
    ) {
        words[..self.words()].fill(0);
        let first: usize = batch.lengths()[..part.start].iter().sum();
        let mut row = 0;
        let mut placed = Vec::with_capacity(part.len());
        for (sequence, &length) in batch.lengths()[part.clone()].iter().enumerate() {
            let ids = &batch.ids()[first + row..][..length];
            words[self.ids.start + row..][..length].copy_from_slice(ids);
            let places = words[self.places.start + row..][..length].iter_mut();
            places
                .zip(numbering.rows(ids))
                .for_each(|(to, place)| *to = place);
            words[self.starts.start + sequence] = row as u32;
            placed.push((length, sequence, row));
            row += length;
        }
        placed.sort_by_key(|&(length, ..)| Reverse(length));
        let mut tile = self.tiles.start;
        for (length, sequence, row) in placed {
            for query in (0..length).step_by(TILE) {
                let entry = [row, length, query, sequence].map(|v| v as u32);
                words[tile..][..TILE_WORDS].copy_from_slice(&entry);
                tile += TILE_WORDS;
            }
        }
        debug_assert!(tile <= self.tiles.end);
        words[self.starts.start + part.len()..self.starts.end].fill(row as u32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_grow_by_at_most_a_quarter_and_end_at_the_most() {
        for most in [1, 16, 17, 100, 512, 4096, 5000, 16_384] {
            let buckets = Bucket::all(most);
            assert_eq!(buckets.last().unwrap().tokens, most.next_multiple_of(16));
            for pair in buckets.windows(2) {
                let (small, large) = (pair[0].tokens, pair[1].tokens);
                assert!(small < large && small % 16 == 0);
                assert!(large - small <= (small / 4).max(16), "{small} {large}");
            }
        }
    }

    /// Lengths 1 to 600, alone and beside others: every query is in exactly one tile, and nothing else.
    #[test]
    fn the_work_list_covers_every_query_once() {
        let buckets = Bucket::all(2048);
        for length in 1..=600usize {
            for lengths in [vec![length], vec![3, length, 1], vec![length, 64, length]] {
                let batch: PackedBatch = lengths
                    .iter()
                    .map(|&n| vec![7; n])
                    .collect::<Vec<_>>()
                    .iter()
                    .map(Vec::as_slice)
                    .collect();
                let bucket = buckets
                    .iter()
                    .find(|b| b.holds(batch.tokens(), lengths.len()))
                    .unwrap();
                let inputs = bucket.inputs();
                let mut words = vec![u32::MAX; inputs.words()];
                inputs.write(&mut words, &batch, 0..lengths.len(), Numbering::FromZero);

                let mut seen = vec![0; batch.tokens()];
                let (mut surplus, mut longest) = (false, usize::MAX);
                for entry in words[inputs.tiles.clone()].chunks_exact(TILE_WORDS) {
                    let [row, n, query, sequence] = [0, 1, 2, 3].map(|i| entry[i] as usize);
                    surplus |= n == 0;
                    assert_eq!(surplus, n == 0, "surplus tiles come last");
                    if n == 0 {
                        continue;
                    }
                    assert_eq!(n, lengths[sequence]);
                    assert!(n <= longest, "tiles of long sequences come first");
                    longest = n;
                    assert_eq!(row, lengths[..sequence].iter().sum::<usize>());
                    assert!(query % TILE == 0 && query < n);
                    seen[row + query..row + n.min(query + TILE)]
                        .iter_mut()
                        .for_each(|s| *s += 1);
                }
                assert!(seen.iter().all(|&s| s == 1));
                let starts = &words[inputs.starts.clone()];
                assert_eq!(starts[lengths.len()] as usize, batch.tokens());
                assert_eq!(*starts.last().unwrap() as usize, batch.tokens());
                assert!(
                    words[inputs.ids.clone()][batch.tokens()..]
                        .iter()
                        .all(|&w| w == 0)
                );
            }
        }
    }

    #[test]
    fn a_batch_beyond_the_largest_bucket_is_cut_in_order() {
        let buckets = Bucket::all(64); // 64 tokens, 8 sequences
        let sequences: Vec<Vec<u32>> = [30, 30, 5, 64, 1, 1, 1, 1, 1, 1, 1, 1, 1]
            .iter()
            .map(|&n| vec![1; n])
            .collect();
        let batch: PackedBatch = sequences.iter().map(Vec::as_slice).collect();
        let parts = Bucket::split(&buckets, &batch).unwrap();
        assert_eq!(parts, [0..2, 2..3, 3..4, 4..12, 12..13]);
        let long = PackedBatch::from_iter([[1u32; 65].as_slice()]);
        assert_eq!(Bucket::split(&buckets, &long), None);
    }
}
