//! Whole models: the plan against the CPU engine, the engine against it, and what the engine does when
//! memory or the device itself fails.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;

use super::machine::{self, emulate, gpu, repository};
use super::{Numbers, reference, relative_error};
use crate::encoder::{Model, PackedBatch};
use crate::engine::{
    BatchId, Begun, CudaEngine, CudaSettings, Engine, EngineError, HeadSet, SequenceScores,
};
use crate::package::Package;

/// The model in a folder of the repository or, by its absolute path, of the machine.
pub(super) fn model(path: impl AsRef<Path>) -> Arc<Model> {
    let package = Package::open(&repository(path)).unwrap();
    Arc::new(Model::build(&package).unwrap())
}

/// Every architecture, in small.
fn golden() -> Vec<(String, Arc<Model>)> {
    let folder = repository("tests/golden");
    let mut found: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("model.safetensors").exists())
        .map(|path| {
            let package = Package::open(&path).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            (name, Arc::new(Model::build(&package).unwrap()))
        })
        .collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(found.len() >= 4);
    found
}

pub(super) fn engine(max_tokens: usize) -> CudaEngine {
    let settings = CudaSettings {
        ordinal: 0,
        memory: None,
        max_tokens,
    };
    CudaEngine::new(settings).unwrap()
}

/// Sequences of these lengths with ids that every golden tokenizer has.
fn batch(lengths: &[usize], seed: u64) -> PackedBatch {
    let mut numbers = Numbers::new(seed);
    let sequences: Vec<Vec<u32>> = lengths
        .iter()
        .map(|&n| (0..n).map(|_| 5 + numbers.below(100) as u32).collect())
        .collect();
    sequences.iter().map(Vec::as_slice).collect()
}

pub(super) fn all_heads(model: &Model) -> HeadSet {
    (0..model.heads()).fold(HeadSet::EMPTY, |set, head| set.union(HeadSet::one(head)))
}

/// The largest difference of two results; fails where one has what the other lacks.
fn distance(a: &[SequenceScores], b: &[SequenceScores]) -> f32 {
    assert_eq!(a.len(), b.len());
    let mut most = 0f32;
    for (a, b) in a.iter().flatten().zip(b.iter().flatten()) {
        let (a, b) = (a.as_ref().unwrap(), b.as_ref().unwrap());
        assert_eq!(a.scores.len(), b.scores.len());
        assert!(a.finite && b.finite);
        for (a, b) in a.scores.iter().zip(&b.scores) {
            most = most.max((a - b).abs());
        }
    }
    most
}

/// The description that devices get is the whole network: plain arithmetic on it gives the logits of
/// the CPU engine.
#[test]
fn plans_describe_the_network_completely() {
    for (name, model) in golden() {
        let plan = model.plan().unwrap();
        let batch = batch(&[1, 7, 40], 1);
        let hidden = reference::trunk(&plan.trunk, &batch);
        let logits = model.logits(&batch, |_| true).unwrap();
        for ((head, _), logits) in plan.heads.iter().zip(logits) {
            let error = relative_error(&reference::head(head, &batch, &hidden), &logits.unwrap());
            println!("{name}: {error:.1e}");
            assert!(error < 1e-4, "{name}: {error}");
        }
    }
}

#[test]
fn every_architecture_scores_as_on_the_cpu() {
    let _gpu = gpu();
    let batch = batch(&[3, 1, 31, 65, 2], 2);
    for (name, model) in golden() {
        let mut engine = engine(128);
        let id = engine.load(model.clone()).unwrap();
        let heads = all_heads(&model);
        let expected = model.scores(&batch, |_| true).unwrap();
        let narrow = distance(&engine.run(id, &batch, heads).unwrap(), &expected);
        assert!(engine.widen(id).unwrap());
        let wide = distance(&engine.run(id, &batch, heads).unwrap(), &expected);
        assert!(
            !engine.widen(id).unwrap(),
            "there is nothing wider than bf16"
        );
        println!("{name}: f16 {narrow:.1e}, bf16 {wide:.1e}");
        assert!(narrow < 5e-3, "{name}: {narrow}");
        assert!(wide < 4e-2, "{name}: {wide}");
    }
}

#[test]
fn the_bundled_model_scores_as_on_the_cpu() {
    let _gpu = gpu();
    let model = model("models/portcullis-minilm-l6");
    let mut engine = engine(64);
    let id = engine.load(model.clone()).unwrap();
    let batch = batch(&[9, 30, 1], 3);
    let expected = model.scores(&batch, |_| true).unwrap();
    let got = engine.run(id, &batch, all_heads(&model)).unwrap();
    let error = distance(&got, &expected);
    println!("bundled: {error:.1e}");
    assert!(error < 5e-3, "{error}");
}

#[test]
fn only_the_heads_that_are_wanted_are_answered() {
    let _gpu = gpu();
    let model = model("models/portcullis-minilm-l6");
    let mut engine = engine(16);
    let id = engine.load(model).unwrap();
    let scores = engine.run(id, &batch(&[5], 4), HeadSet::one(1)).unwrap();
    let answered: Vec<bool> = scores[0].iter().map(Option::is_some).collect();
    assert_eq!(answered, [false, true, false]);
}

/// Within a size class the bits of a text's scores do not depend on its neighbours, nor on its place.
#[test]
fn neighbours_leave_every_bit_as_it_is() {
    let _gpu = gpu();
    for folder in ["bert-token", "deberta-v3-token", "modernbert-sequence"] {
        let model = model(format!("tests/golden/{folder}"));
        let mut engine = engine(128);
        let id = engine.load(model.clone()).unwrap();
        let heads = all_heads(&model);
        let text: Vec<u32> = (0..37).map(|i| 5 + i * 7 % 90).collect();
        let alone: PackedBatch = [text.as_slice()].into_iter().collect();
        let alone = engine.run(id, &alone, heads).unwrap();
        for (before, after) in [(0, 64), (1, 3), (65, 20), (70, 0)] {
            let (before, after) = (vec![11u32; before], vec![12u32; after]);
            let batch: PackedBatch = [before.as_slice(), &text, &after]
                .into_iter()
                .filter(|ids| !ids.is_empty())
                .collect();
            let scores = engine.run(id, &batch, heads).unwrap();
            let own = scores.get(usize::from(!before.is_empty())).unwrap();
            let bits = |s: &SequenceScores| -> Vec<u32> {
                let outputs = s.iter().flatten();
                outputs
                    .flat_map(|o| o.scores.iter().map(|v| v.to_bits()))
                    .collect()
            };
            assert_eq!(bits(own), bits(&alone[0]), "{folder}");
        }
    }
}

#[test]
fn batches_beyond_the_largest_bucket_are_cut_and_answered_whole() {
    let _gpu = gpu();
    let model = model("tests/golden/bert-sequence");
    let mut engine = engine(64); // 64 tokens, 8 sequences
    let id = engine.load(model.clone()).unwrap();
    let mut lengths = vec![2; 30];
    lengths.extend([64, 1, 33, 32, 31, 5]);
    let batch = batch(&lengths, 5);
    let expected = model.scores(&batch, |_| true).unwrap();
    let got = engine.run(id, &batch, all_heads(&model)).unwrap();
    assert!(distance(&got, &expected) < 5e-3);

    let long = self::batch(&[65], 6);
    let refused = engine.run(id, &long, all_heads(&model));
    assert!(matches!(refused, Err(EngineError::Batch(_))), "{refused:?}");
    assert!(engine.run(id, &batch, all_heads(&model)).is_ok());
}

#[test]
fn a_batch_the_model_cannot_take_is_refused_and_the_next_one_runs() {
    let _gpu = gpu();
    let model = model("tests/golden/bert-sequence");
    let mut engine = engine(16);
    let id = engine.load(model.clone()).unwrap();
    let beyond: PackedBatch = [[1 << 30].as_slice()].into_iter().collect();
    let refused = engine.run(id, &beyond, all_heads(&model));
    assert!(matches!(refused, Err(EngineError::Batch(_))));
    assert!(engine.run(id, &batch(&[4], 7), all_heads(&model)).is_ok());
}

/// A second model moves the workspace: the first one's graphs are made anew.
#[test]
fn several_models_share_a_device() {
    let _gpu = gpu();
    let mut engine = engine(64);
    let models = ["bert-sequence", "modernbert-token", "deberta-v3-sequence"]
        .map(|folder| model(format!("tests/golden/{folder}")));
    let ids = models.clone().map(|m| engine.load(m).unwrap());
    let batch = batch(&[12, 30], 8);
    for (model, id) in models.iter().zip(ids) {
        let expected = model.scores(&batch, |_| true).unwrap();
        let got = engine.run(id, &batch, all_heads(model)).unwrap();
        assert!(distance(&got, &expected) < 5e-3);
    }
}

/// The second batch is begun while the first one runs; the emulated GPU does their work in any order that
/// streams and events allow.
#[test]
fn batches_in_flight_keep_their_scores() {
    let _gpu = gpu();
    let models =
        ["deberta-v3-token", "bert-sequence"].map(|folder| model(format!("tests/golden/{folder}")));
    let mut engine = engine(64);
    let ids = models.clone().map(|m| engine.load(m).unwrap());
    // Of one part and of several, of one model and of the other.
    let shapes: [(usize, &[usize]); 6] = [
        (0, &[30, 3]),
        (0, &[64, 1, 40]),
        (1, &[7]),
        (0, &[5]),
        (1, &[20, 60, 44, 9, 2]),
        (1, &[64]),
    ];
    let mut waiting = VecDeque::new();
    let check = |engine: &mut CudaEngine, (id, expected): (BatchId, Vec<SequenceScores>)| {
        let got = engine.finish(id).unwrap();
        let error = distance(&got, &expected);
        assert!(error < 5e-3, "{id:?}: {error}");
    };
    for round in 0..8 {
        for (i, (which, lengths)) in shapes.into_iter().enumerate() {
            let batch = batch(lengths, (10 * round + i) as u64);
            let expected = models[which].scores(&batch, |_| true).unwrap();
            let begun = engine.begin(ids[which], &batch, all_heads(&models[which]));
            let Begun::Running(id) = begun.unwrap() else {
                panic!("the engine waited for the device");
            };
            waiting.push_back((id, expected));
            if waiting.len() == 2 {
                check(&mut engine, waiting.pop_front().unwrap());
            }
        }
    }
    while let Some(batch) = waiting.pop_front() {
        check(&mut engine, batch);
    }
    if !machine::is_real() {
        let overtakes = machine::overtakes();
        println!("{overtakes} copies were done before work that was enqueued earlier");
        assert!(overtakes > 100, "copies do not overlap: {overtakes}");
    }
}

#[test]
fn passes_and_their_steps_are_timed() {
    const STEPS: [&str; 9] = [
        "embedding",
        "qkv",
        "attention",
        "attention out",
        "norm",
        "up",
        "activation",
        "down",
        "heads",
    ];
    let _gpu = gpu();
    let batch = batch(&[30, 2, 65], 3);
    for (name, model) in golden() {
        let mut engine = engine(128);
        let id = engine.load(model.clone()).unwrap();
        let before = engine.run(id, &batch, all_heads(&model)).unwrap();
        let passes = engine.pass_seconds(id, &batch, 3).unwrap();
        assert_eq!(passes.len(), 3, "{name}");
        let steps = engine.step_seconds(id, &batch).unwrap();
        assert!(steps.iter().map(|(step, _)| *step).eq(STEPS), "{name}");
        let times = passes.into_iter().chain(steps.into_iter().map(|(_, s)| s));
        assert!(times.into_iter().all(|seconds| seconds > 0.0), "{name}");
        let after = engine.run(id, &batch, all_heads(&model)).unwrap();
        assert_eq!(distance(&before, &after), 0.0, "{name}");
    }
}

/// A batch that nobody waits for does not leave its scores to the next one.
#[test]
fn a_batch_that_is_passed_over_is_forgotten() {
    let _gpu = gpu();
    let model = model("tests/golden/bert-sequence");
    let mut engine = engine(16);
    let id = engine.load(model.clone()).unwrap();
    let (first, second) = (batch(&[5, 9], 30), batch(&[8], 31));
    let heads = all_heads(&model);
    let Begun::Running(forgotten) = engine.begin(id, &first, heads).unwrap() else {
        panic!("the engine waited for the device");
    };
    let expected = model.scores(&second, |_| true).unwrap();
    let got = engine.run(id, &second, heads).unwrap();
    assert!(distance(&got, &expected) < 5e-3);
    assert!(engine.finish(forgotten).is_err());
    assert!(engine.begin(id, &first, heads).is_ok());
    let refused = engine.load(model);
    assert!(matches!(refused, Err(EngineError::Batch(_))), "{refused:?}");
}

/// Overflow anywhere in the trunk must not end as an ordinary score, whatever the head does to it: here a
/// ReLU, which is 0 for all that is below 0.
#[test]
fn scores_of_a_text_that_overflows_are_not_finite() {
    let _gpu = gpu();
    let folder = tempfile::tempdir().unwrap();
    overflowing(
        &repository("tests/golden/distilbert-sequence"),
        folder.path(),
    );
    let model = model(folder.path());
    let mut engine = engine(16);
    let id = engine.load(model.clone()).unwrap();
    let heads = all_heads(&model);
    let texts: PackedBatch = [&[7, OVERFLOWS as u32, 9][..], &[7, 8, 9]]
        .into_iter()
        .collect();
    let scores = engine.run(id, &texts, heads).unwrap();
    let finite = |text: &SequenceScores| text[0].as_ref().unwrap().finite;
    assert!(!finite(&scores[0]));
    assert!(finite(&scores[1]));
    assert!(engine.widen(id).unwrap());
    let scores = engine.run(id, &texts, heads).unwrap();
    assert!(finite(&scores[0]) && finite(&scores[1]));
}

/// A token whose queries are beyond f16.
const OVERFLOWS: usize = 50;

/// A copy of a DistilBERT in which a text with the token [`OVERFLOWS`] is beyond f16, and no other: its vector
/// has one large value, which makes 7 times what others have of it after the norm, and queries multiply that
/// by as much as the others can bear.
fn overflowing(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
    let file = to.join("model.safetensors");
    let mut bytes = std::fs::read(&file).unwrap();
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let index: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let mut set = |name: &str, row: usize, value: f32| {
        let tensor = &index[format!("distilbert.{name}.weight")];
        let width = tensor["shape"][1].as_u64().unwrap() as usize;
        let begin = tensor["data_offsets"][0].as_u64().unwrap() as usize;
        let at = 8 + header + begin + 2 * row * width;
        bytes[at..at + 2].copy_from_slice(&half::f16::from_f32(value).to_le_bytes());
    };
    set("embeddings.word_embeddings", OVERFLOWS, 6e4);
    set("transformer.layer.0.attention.q_lin", 0, 1.8e4);
    std::fs::write(&file, bytes).unwrap();
}

// === memory ===

#[test]
fn a_package_beyond_the_budget_is_refused_with_numbers() {
    let _gpu = gpu();
    let settings = CudaSettings {
        ordinal: 0,
        memory: Some(20 << 20),
        max_tokens: 64,
    };
    let mut engine = CudaEngine::new(settings).unwrap();
    let refused = engine
        .load(model("models/portcullis-minilm-l6"))
        .unwrap_err();
    println!("{refused}");
    let EngineError::Memory(reason) = refused else {
        panic!("{refused:?}");
    };
    assert!(
        reason.contains("MiB") && reason.contains("20 MiB"),
        "{reason}"
    );
    // The device serves what fits.
    engine.load(model("tests/golden/bert-sequence")).unwrap();
}

#[test]
fn a_short_budget_cuts_batches_smaller() {
    let _gpu = gpu();
    let model = model("tests/golden/bert-sequence");
    let settings = CudaSettings {
        ordinal: 0,
        memory: Some(1 << 20),
        max_tokens: 4096,
    };
    let mut engine = CudaEngine::new(settings).unwrap();
    let id = engine.load(model.clone()).unwrap();
    let lengths = vec![100; 20];
    let batch = batch(&lengths, 9);
    let expected = model.scores(&batch, |_| true).unwrap();
    let got = engine.run(id, &batch, all_heads(&model)).unwrap();
    assert!(distance(&got, &expected) < 5e-3);
}

/// The driver itself says that memory is out, and more than once.
#[test]
fn out_of_memory_at_load_cuts_batches_smaller() {
    let _gpu = gpu();
    if machine::is_real() {
        println!("SKIPPED on a real GPU: its memory cannot be made small");
        return;
    }
    let model = model("tests/golden/bert-sequence");
    let mut engine = engine(4096);
    emulate("memory", 36 << 20);
    let loaded = engine.load(model.clone());
    emulate("memory", 1 << 30);
    let id = loaded.unwrap();
    let batch = batch(&[60, 500], 10);
    let expected = model.scores(&batch, |_| true).unwrap();
    let got = engine.run(id, &batch, all_heads(&model)).unwrap();
    assert!(distance(&got, &expected) < 5e-3);
}

/// Graphs take memory too, after the workspace has.
#[test]
fn out_of_memory_while_graphs_are_captured_cuts_batches_smaller() {
    let _gpu = gpu();
    if machine::is_real() {
        println!("SKIPPED on a real GPU: its memory cannot be made small");
        return;
    }
    let model = model("tests/golden/bert-sequence");
    let mut engine = engine(4096);
    let before = engine.largest_batch();
    emulate("graph", 1 << 20);
    emulate("memory", 72 << 20);
    let loaded = engine.load(model.clone());
    emulate("memory", 1 << 30);
    emulate("graph", 1 << 10);
    let id = loaded.unwrap();
    assert!(engine.largest_batch() < before);
    let batch = batch(&[60, 500], 12);
    let expected = model.scores(&batch, |_| true).unwrap();
    let got = engine.run(id, &batch, all_heads(&model)).unwrap();
    assert!(distance(&got, &expected) < 5e-3);
}

/// The smallest budget, to the kilobyte, that `fits`.
fn least(fits: impl Fn(usize) -> bool) -> usize {
    let (mut low, mut high) = (0usize, 64 << 20);
    while high - low > 1 << 10 {
        let middle = (low + high) / 2;
        if fits(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    high
}

/// A model that does not fit beside the others is refused, and they serve as before: the longest of their
/// windows too.
#[test]
fn a_model_that_does_not_fit_leaves_the_others_as_they_were() {
    let _gpu = gpu();
    let [first, second, third] = ["modernbert-token", "bert-multilabel", "distilbert-sequence"]
        .map(|folder| model(format!("tests/golden/{folder}")));
    let with = |memory| {
        let settings = CudaSettings {
            ordinal: 0,
            memory: Some(memory),
            max_tokens: 1024,
        };
        CudaEngine::new(settings).unwrap()
    };
    let both = |memory| {
        let mut engine = with(memory);
        engine.load(first.clone()).is_ok() && engine.load(second.clone()).is_ok()
    };
    let mut engine = with(least(both) - (2 << 10));
    let id = engine.load(first.clone()).unwrap();
    let refused = engine.load(second.clone());
    assert!(
        matches!(refused, Err(EngineError::Memory(_))),
        "{refused:?}"
    );

    let longest = first.window().min(1024);
    let batch = batch(&[longest], 13);
    let expected = first.scores(&batch, |_| true).unwrap();
    let serves = |engine: &mut CudaEngine| {
        let got = engine.run(id, &batch, all_heads(&first)).unwrap();
        assert!(distance(&got, &expected) < 5e-3);
    };
    serves(&mut engine);
    // A small one may fit yet; whatever comes of it, the first one's graphs are its own room's.
    let _ = engine.load(third);
    serves(&mut engine);
}

// === devices that cannot be used ===

#[test]
fn a_lost_device_fails_what_is_in_flight_and_all_that_follows() {
    let _gpu = gpu();
    let model = model("tests/golden/bert-sequence");
    let mut engine = engine(16);
    let id = engine.load(model.clone()).unwrap();
    let (batch, heads) = (batch(&[4], 11), all_heads(&model));
    assert!(engine.run(id, &batch, heads).is_ok());
    engine.poison().unwrap();
    for _ in 0..2 {
        let failed = engine.run(id, &batch, heads);
        assert!(
            matches!(failed, Err(EngineError::DeviceLost(_))),
            "{failed:?}"
        );
    }
    let failed = engine.load(model);
    assert!(
        matches!(failed, Err(EngineError::DeviceLost(_))),
        "{failed:?}"
    );
}

#[test]
fn devices_that_cannot_be_used_say_what_is_needed() {
    let _gpu = gpu();
    let open = |ordinal| {
        let settings = CudaSettings {
            ordinal,
            memory: None,
            max_tokens: 16,
        };
        CudaEngine::new(settings)
            .map(|_| ())
            .unwrap_err()
            .to_string()
    };
    assert!(open(77).contains("no GPU number 77"), "{}", open(77));
    if machine::is_real() {
        println!("SKIPPED on a real GPU: the rest of this test needs old ones");
        return;
    }
    emulate("driver", 11080);
    let old_driver = open(0);
    emulate("driver", 13000);
    emulate("capability", 75);
    let old_gpu = open(0);
    emulate("capability", 90);
    println!("{old_driver}\n{old_gpu}");
    assert!(old_driver.contains("supports CUDA 11.8"), "{old_driver}");
    assert!(old_gpu.contains("7.5; 8.0"), "{old_gpu}");
}
