//! Whole models against transformers: rounding to 16 bits may cost the engine little more than it costs
//! there. `tests/golden/make_errors.py` measures transformers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::machine::{gpu, repository};
use super::models::{all_heads, engine, model};
use super::relative_error;
use crate::encoder::PackedBatch;
use crate::engine::{Engine, SequenceScores};

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
