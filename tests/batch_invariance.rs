//! A text's scores do not depend on its neighbours in the batch.

use std::sync::LazyLock;

use portcullis::encoder::Model;
use portcullis::engine::Precision;
use portcullis::package::Package;
use proptest::prelude::*;

use crate::support::{build, bundled, distance, golden, packed_logits};

static TINY: LazyLock<Model> = LazyLock::new(|| build(&golden("bert-sequence")));
static TOKENS: LazyLock<Model> = LazyLock::new(|| build(&golden("bert-token")));

fn sequence() -> impl Strategy<Value = Vec<u32>> {
    let length = prop_oneof![Just(1usize), 2usize..20, 20usize..200, Just(512usize)];
    length.prop_flat_map(|n| prop::collection::vec(4u32..128, n))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn any_neighbours_leave_the_logits_as_they_are(
        sequences in prop::collection::vec(sequence(), 1..12),
    ) {
        for model in [&*TINY, &*TOKENS] {
            let together = packed_logits(model, &sequences);
            for (sequence, packed) in sequences.iter().zip(together) {
                let alone = packed_logits(model, std::slice::from_ref(sequence)).remove(0);
                let difference = distance(&alone, &packed);
                prop_assert!(difference <= 1e-5, "{}", difference);
            }
        }
    }
}

/// The architectures whose attention looks at positions in other ways.
#[test]
fn relative_and_rotary_positions_count_within_a_sequence() {
    for folder in [
        "deberta-v3-token",
        "deberta-v2-unshared-token",
        "modernbert-token",
        "modernbert-mean",
        "roberta-token",
    ] {
        let model = build(&golden(folder));
        let sequences: Vec<Vec<u32>> = [1, 300, 2, 65, 17, 128, 511]
            .iter()
            .map(|&n| (0..n).map(|i| 4 + (i * 37 + n) % 120).collect())
            .collect();
        for (sequence, packed) in sequences.iter().zip(packed_logits(&model, &sequences)) {
            let alone = packed_logits(&model, std::slice::from_ref(sequence)).remove(0);
            let difference = distance(&alone, &packed);
            assert!(difference <= 1e-5, "{folder}: {difference}");
        }
    }
}

/// On AMX, which multiplies tiles of 16 rows of whatever sequences there are.
#[test]
fn rounded_products_depend_on_no_neighbour_and_stay_close() {
    if Precision::Bfloat16.available() != Precision::Bfloat16 {
        eprintln!("skipped: rounded products, which need AMX");
        return;
    }
    let lengths = [1, 300, 2, 65, 17, 49, 128, 511];
    for (folder, vocabulary) in [
        (bundled(), 20_000),
        (golden("deberta-v3-token"), 120),
        (golden("modernbert-token"), 120),
    ] {
        let package = Package::open(&folder).unwrap();
        let exact = build(&folder);
        let model = Model::build_in(&package, Precision::Bfloat16).unwrap();
        let longest = model.window().min(511);
        let sequences: Vec<Vec<u32>> = lengths
            .iter()
            .map(|&n| n.min(longest as u32))
            .map(|n| (0..n).map(|i| 4 + (i * 37 + n) % vocabulary).collect())
            .collect();
        let batch = |s: &[Vec<u32>]| s.iter().map(Vec::as_slice).collect();
        let together = model.scores(&batch(&sequences), |_| true).unwrap();
        let expected = exact.scores(&batch(&sequences), |_| true).unwrap();
        for ((sequence, scores), expected) in sequences.iter().zip(&together).zip(&expected) {
            let alone = model.scores(&batch(std::slice::from_ref(sequence)), |_| true);
            assert_eq!(&alone.unwrap()[0], scores, "to the bit");
            for (scores, expected) in scores.iter().flatten().zip(expected.iter().flatten()) {
                let difference = distance(&scores.scores, &expected.scores);
                assert!(difference < 0.1, "{}: {difference}", folder.display());
            }
        }
    }
}

/// Heads that read the first token let the last layer leave the others out.
#[test]
fn a_head_scores_the_same_whichever_others_are_asked() {
    let model = build(&bundled());
    let sequences: Vec<Vec<u32>> = [1, 7, 40, 300]
        .iter()
        .map(|&n| (0..n).map(|i| 1000 + (i * 37 + n) % 20_000).collect())
        .collect();
    let batch = sequences.iter().map(Vec::as_slice).collect();
    let all = model.logits(&batch, |_| true).unwrap();
    for (head, logits) in all.iter().enumerate() {
        let alone = model.logits(&batch, |h| h == head).unwrap();
        assert_eq!(&alone[head], logits, "head {head}");
    }
}

/// A server that pads, and masks the padding wrongly, scores the short text differently here.
#[test]
fn seven_tokens_beside_four_hundred_score_as_alone() {
    let model = build(&bundled());
    let short: Vec<u32> = vec![101, 8568, 2035, 3025, 7899, 1012, 102];
    let long: Vec<u32> = (0..400).map(|i| 1000 + i * 37 % 20_000).collect();
    let batch: portcullis::encoder::PackedBatch = [short.as_slice(), &long, &short, &long[..144]]
        .into_iter()
        .collect();
    let alone: portcullis::encoder::PackedBatch = [short.as_slice()].into_iter().collect();
    let together = model.scores(&batch, |_| true).unwrap();
    let alone = model.scores(&alone, |_| true).unwrap();
    for head in 0..model.heads() {
        let scores = |s: &Vec<Option<portcullis::encoder::HeadOutput>>| {
            s[head].as_ref().unwrap().scores.clone()
        };
        assert!(distance(&scores(&alone[0]), &scores(&together[0])) <= 1e-5);
        assert!(distance(&scores(&alone[0]), &scores(&together[2])) <= 1e-5);
    }
}
