//! Whole models against transformers: rounding to 16 bits may cost the engine little more than it costs
//! there. `tests/golden/make_errors.py` measures transformers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::machine::{gpu, repository};
use super::models::{all_heads, engine, model};
use super::relative_error;
use crate::encoder::PackedBatch;
use crate::engine::cuda::matmul::SIZE_CLASSES;
use crate::engine::{CudaEngine, Engine, HeadSet, ModelId, SequenceScores};

/// How much further from f32 the engine may be.
const FACTOR: f64 = 1.5;

/// What `make_errors.py` writes.
#[derive(serde::Deserialize)]
struct Errors {
    texts: Vec<Vec<u32>>,
    /// By folder, from where the file lies.
    packages: BTreeMap<PathBuf, Error>,
}

/// Relative errors of transformers' scores against f32.
#[derive(serde::Deserialize)]
struct Error {
    f16: f64,
    bf16: f64,
}

fn flat(scores: &[SequenceScores]) -> Vec<f32> {
    let heads = scores.iter().flatten().flatten();
    heads.flat_map(|head| head.scores.iter().copied()).collect()
}

fn compare(file: &Path) {
    let errors: Errors = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let batch: PackedBatch = errors.texts.iter().map(Vec::as_slice).collect();
    let mut beyond = Vec::new();
    for (folder, of_transformers) in &errors.packages {
        let model = model(file.parent().unwrap().join(folder));
        let exact = flat(&model.scores(&batch, |_| true).unwrap());
        let (mut engine, heads) = (engine(512), all_heads(&model));
        let id = engine.load(model).unwrap();
        for (element, allowed) in [("f16", of_transformers.f16), ("bf16", of_transformers.bf16)] {
            if element == "bf16" {
                assert!(engine.widen(id).unwrap());
            }
            let scores = flat(&engine.run(id, &batch, heads).unwrap());
            let error = relative_error(&scores, &exact);
            let line = format!(
                "{} {element}: {error:.2e}, transformers {allowed:.2e}: {:.2}",
                folder.display(),
                error / allowed
            );
            println!("{line}");
            if error.is_nan() || allowed.is_nan() || error > FACTOR * allowed {
                beyond.push(line);
            }
        }
    }
    assert!(!errors.packages.is_empty());
    assert!(beyond.is_empty(), "{beyond:#?}");
}

#[test]
fn errors_against_f32_are_at_most_one_and_a_half_times_those_of_transformers() {
    let _gpu = gpu();
    compare(&repository("tests/golden/errors.json"));
    // Of larger models, which are made where they are tested: scripts/gpu/check.
    if let Some(file) = std::env::var_os("PORTCULLIS_ERRORS") {
        compare(Path::new(&file));
    }
}

/// The bits of a text's scores among so many tokens of others.
fn among(engine: &mut CudaEngine, id: ModelId, heads: HeadSet, total: usize) -> Vec<f32> {
    let ids = |length: usize, seed: usize| -> Vec<u32> {
        let id = |i: usize| 5 + ((i * 37 + seed * 131) % 90) as u32;
        (0..length).map(id).collect()
    };
    let mut texts = vec![ids(TEXT, 1)];
    let mut left = total - TEXT;
    while left > 0 {
        let length = left.min(61 + 97 * texts.len() % 140);
        texts.push(ids(length, texts.len() + 1));
        left -= length;
    }
    let place = texts.len() / 2;
    texts.swap(0, place);
    let batch: PackedBatch = texts.iter().map(Vec::as_slice).collect();
    let scores = engine.run(id, &batch, heads).unwrap();
    flat(scores.get(place..=place).unwrap())
}

/// Tokens of the text that is run among others.
const TEXT: usize = 37;

/// The same bits in every batch of a size class, and much the same scores in others: with real sizes where
/// `PORTCULLIS_ERRORS` names them, because there cublasLt chooses among many kernels.
#[test]
fn scores_keep_their_bits_within_a_size_class_and_their_value_across() {
    let _gpu = gpu();
    let (folders, most) = match std::env::var_os("PORTCULLIS_ERRORS") {
        Some(file) => {
            let file = PathBuf::from(file);
            let errors: Errors = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            let folders = errors.packages.into_keys();
            let folders = folders.map(|folder| file.parent().unwrap().join(folder));
            (folders.collect(), 8192)
        }
        None => (vec![repository("tests/golden/deberta-v3-token")], 256),
    };
    for folder in folders {
        let model = model(&folder);
        let (mut engine, heads) = (engine(most), all_heads(&model));
        let id = engine.load(model).unwrap();
        let mut first: Option<Vec<f32>> = None;
        let classes = SIZE_CLASSES.into_iter().filter(|class| *class < most);
        for class in classes.chain([most]) {
            let totals = [class, class - 1, class - class / 8];
            let [own, others @ ..] = totals.map(|total| among(&mut engine, id, heads, total));
            let bits =
                |scores: &[f32]| -> Vec<u32> { scores.iter().map(|s| s.to_bits()).collect() };
            for other in &others {
                assert_eq!(bits(&own), bits(other), "{} in {class}", folder.display());
            }
            let reference = first.get_or_insert_with(|| own.clone());
            let furthest = reference.iter().zip(&own).map(|(a, b)| (a - b).abs());
            let furthest = furthest.fold(0.0, f32::max);
            println!("{} in {class}: {furthest:.1e}", folder.display());
            assert!(furthest <= 5e-3, "{} in {class}", folder.display());
        }
    }
}
