//! A broken package gives one clear error that names the file and the field.

use std::path::Path;

use portcullis::detect::Catalog;
use portcullis::encoder::Model;
use portcullis::engine::CpuEngine;
use portcullis::package::Package;
use sha2::{Digest, Sha256};

use crate::support::golden;

/// A copy of a small good package.
fn copy() -> tempfile::TempDir {
    copy_of("bert-sequence")
}

fn copy_of(folder: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        std::fs::copy(golden(folder).join(file), dir.path().join(file)).unwrap();
    }
    dir
}

fn edit_config(dir: &Path, edit: impl FnOnce(&mut serde_json::Value)) {
    let path = dir.join("config.json");
    let mut config = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    edit(&mut config);
    std::fs::write(path, config.to_string()).unwrap();
}

/// The error on opening and building, which must mention all of `words`.
#[track_caller]
fn refused(dir: &Path, words: &[&str]) {
    let result = Package::open(dir).and_then(|p| Model::build(&p).map(|_| ()));
    let error = result.expect_err("a broken package opened").to_string();
    println!("{error}");
    assert!(
        !error.contains('\n') || error.lines().count() < 8,
        "{error}"
    );
    for word in words {
        assert!(error.contains(word), "{error:?} does not mention {word:?}");
    }
}

#[test]
fn a_good_copy_opens() {
    let dir = copy();
    let package = Package::open(dir.path()).unwrap();
    Model::build(&package).unwrap();
}

#[test]
fn missing_files_are_named() {
    refused(Path::new("/nonexistent/package"), &["/nonexistent/package"]);
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        let dir = copy();
        std::fs::remove_file(dir.path().join(file)).unwrap();
        refused(dir.path(), &[file]);
    }
}

#[test]
fn a_pickle_is_never_opened() {
    let dir = copy();
    std::fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    std::fs::write(dir.path().join("pytorch_model.bin"), b"\x80\x04.").unwrap();
    refused(dir.path(), &["pytorch_model.bin", "pickle", "safetensors"]);
}

#[test]
fn damaged_files_are_named() {
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        let dir = copy();
        let path = dir.path().join(file);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        refused(dir.path(), &[file]);
        std::fs::write(&path, b"").unwrap();
        refused(dir.path(), &[file]);
    }
}

#[test]
fn fields_that_change_the_result_and_are_not_supported_are_named() {
    type Edit = fn(&mut serde_json::Value);
    let cases: [(Edit, &[&str]); 9] = [
        (
            |c| c["model_type"] = "t5".into(),
            &["model_type", "\"t5\"", "bert"],
        ),
        (
            |c| c["hidden_act"] = "mish".into(),
            &["hidden_act", "mish", "gelu"],
        ),
        (
            |c| c["position_embedding_type"] = "relative_key".into(),
            &["position_embedding_type", "absolute"],
        ),
        (|c| c["is_decoder"] = true.into(), &["is_decoder"]),
        (
            |c| c["num_attention_heads"] = 7.into(),
            &["num_attention_heads", "7"],
        ),
        (
            |c| c["num_attention_heads"] = 0.into(),
            &["num_attention_heads"],
        ),
        (
            |c| c["hidden_size"] = "x".into(),
            &["config.json", "hidden_size"],
        ),
        (
            |c| c["problem_type"] = "ranking".into(),
            &["problem_type", "ranking"],
        ),
        (
            |c| c["architectures"] = serde_json::json!(["BertModel"]),
            &["architectures", "BertModel"],
        ),
    ];
    for (edit, words) in cases {
        let dir = copy();
        edit_config(dir.path(), edit);
        refused(dir.path(), words);
    }
}

#[test]
fn tensors_that_do_not_fit_the_configuration_are_named() {
    let dir = copy();
    edit_config(dir.path(), |c| c["intermediate_size"] = 96.into());
    refused(
        dir.path(),
        &[
            "model.safetensors",
            "intermediate.dense.weight",
            "[80, 48]",
            "[96, 48]",
        ],
    );
    let dir = copy();
    edit_config(dir.path(), |c| c["num_hidden_layers"] = 3.into());
    refused(dir.path(), &["encoder.layer.2", "no such tensor"]);
    let dir = copy();
    edit_config(dir.path(), |c| c["vocab_size"] = 64.into());
    refused(
        dir.path(),
        &["word_embeddings.weight", "[128, 48]", "[64, 48]"],
    );
}

#[test]
fn weights_that_are_no_numbers_are_found() {
    let dir = copy();
    let path = dir.path().join("model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&path, bytes).unwrap();
    refused(dir.path(), &["model.safetensors", "NaN"]);
}

fn manifest(dir: &Path, rest: &str) {
    let head = "[package]\nname = \"x\"\nversion = \"1\"\n";
    std::fs::write(dir.join("guard.toml"), format!("{head}{rest}")).unwrap();
}

#[test]
fn mistakes_in_the_manifest_are_named() {
    let head = |more: &str| {
        format!(
            "[[heads]]\nname = \"h\"\ndetector = \"d\"\ntask = \"sequence\"\nactivation = \"softmax\"\n\
             labels = [\"a\", \"b\"]\n{more}"
        )
    };
    let cases = [
        ("nonsense = 1\n".to_owned(), vec!["guard.toml", "nonsense"]),
        ("[window]\nmax_length = 9\n".to_owned(), vec!["window", "9"]),
        (
            "[window]\nmax_length = 64\nstride = 60\n".to_owned(),
            vec!["stride", "60"],
        ),
        (
            "[window]\nmax_length = 4096\n".to_owned(),
            vec!["max_position_embeddings", "512"],
        ),
        (
            head("thresholds = { c = 0.5 }\n"),
            vec!["heads.h.thresholds", "\"c\""],
        ),
        (
            head("thresholds = { a = 1.5 }\n"),
            vec!["heads.h.thresholds", "1.5"],
        ),
        (head("scheme = \"bio\"\n"), vec!["heads.h.scheme", "token"]),
        (
            head("formats = { a = '.' }\n"),
            vec!["heads.h.formats", "token"],
        ),
        (head(""), vec!["heads.h.out.weight", "no such tensor"]),
        (
            head("").replace("\"sequence\"", "\"token\""),
            vec!["heads.h.labels", "\"a\""],
        ),
        (
            "[[probes]]\nhead = \"z\"\ntext = \"t\"\n".to_owned(),
            vec!["probes", "\"z\""],
        ),
    ];
    for (rest, words) in cases {
        let dir = copy();
        manifest(dir.path(), &rest);
        refused(dir.path(), &words);
    }
}

fn digest(dir: &Path, file: &str) -> String {
    let bytes = std::fs::read(dir.join(file)).unwrap();
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

fn checksums(dir: &Path) -> String {
    let line = |file: &str| format!("\"{file}\" = \"{}\"\n", digest(dir, file));
    let files = ["config.json", "tokenizer.json", "model.safetensors"];
    format!("[checksums]\n{}", files.map(line).concat())
}

#[test]
fn a_file_that_is_not_the_published_one_is_refused_before_use() {
    let dir = copy();
    manifest(dir.path(), &checksums(dir.path()));
    Package::open(dir.path()).unwrap();
    for file in ["config.json", "tokenizer.json", "model.safetensors"] {
        let dir = copy();
        manifest(dir.path(), &checksums(dir.path()));
        let path = dir.path().join(file);
        let mut bytes = std::fs::read(&path).unwrap();
        // One byte at the end: white space in JSON, the last bit of a weight.
        if file.ends_with("json") {
            bytes.push(b' ');
        } else {
            *bytes.last_mut().unwrap() ^= 1;
        }
        std::fs::write(&path, bytes).unwrap();
        refused(dir.path(), &[file, "SHA-256"]);
    }
}

#[test]
fn a_checksum_list_must_name_every_file_used_and_no_other() {
    let dir = copy();
    let all = checksums(dir.path());
    let some: Vec<&str> = all.lines().filter(|l| !l.contains("tokenizer")).collect();
    manifest(dir.path(), &format!("{}\n", some.join("\n")));
    refused(dir.path(), &["tokenizer.json", "no checksum"]);
    manifest(dir.path(), &format!("{all}\"other.bin\" = \"00\"\n"));
    refused(dir.path(), &["other.bin"]);
}

#[test]
fn a_shard_outside_the_package_is_refused() {
    let dir = copy();
    std::fs::rename(
        dir.path().join("model.safetensors"),
        dir.path().join("model-1.safetensors"),
    )
    .unwrap();
    let index = r#"{"weight_map":{"a":"../model-1.safetensors"}}"#;
    std::fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();
    refused(
        dir.path(),
        &["model.safetensors.index.json", "../model-1.safetensors"],
    );
}

#[test]
fn a_package_whose_probe_scores_otherwise_does_not_serve() {
    let load = |score: f32| {
        let dir = copy();
        manifest(
            dir.path(),
            &format!(
                "[[probes]]\nhead = \"classifier\"\ntext = \"abc\"\nscores = {{ SAFE = {score} }}\n\
                 tolerance = 0.0001\n"
            ),
        );
        let mut engine = CpuEngine::new(1).unwrap();
        Catalog::load(&[dir.path().to_owned().into()], &mut engine).map(|_| ())
    };
    let error = load(2.0).unwrap_err().to_string();
    println!("{error}");
    let actual: f32 = error
        .split("scores ")
        .nth(1)
        .and_then(|rest| rest.split(',').next())
        .unwrap()
        .parse()
        .unwrap();
    load(actual).unwrap();
    assert!(load(actual - 0.01).is_err());
}

#[test]
fn every_architecture_names_the_fields_it_does_not_support() {
    use serde_json::json;
    let cases = [
        (
            "deberta-v3-sequence",
            "conv_kernel_size",
            json!(3),
            "DeBERTa v3",
        ),
        (
            "deberta-v3-sequence",
            "pos_att_type",
            json!("p2c|p2p"),
            "c2p and p2c",
        ),
        (
            "deberta-v3-sequence",
            "norm_rel_ebd",
            json!("batch_norm"),
            "layer_norm",
        ),
        (
            "deberta-v3-sequence",
            "attention_head_size",
            json!(5),
            "hidden_size",
        ),
        (
            "deberta-v3-sequence",
            "pooler_hidden_act",
            json!("mish"),
            "gelu",
        ),
        ("deberta-v3-sequence", "pooler_hidden_size", json!(7), "48"),
        (
            "deberta-v3-sequence",
            "position_buckets",
            json!(64),
            "encoder.rel_embeddings.weight",
        ),
        (
            "modernbert-mean",
            "rope_scaling",
            json!({"type": "linear"}),
            "rope_scaling",
        ),
        (
            "modernbert-mean",
            "classifier_pooling",
            json!("max"),
            "mean",
        ),
        (
            "modernbert-mean",
            "layer_types",
            json!(["full_attention"]),
            "4 layers",
        ),
        (
            "modernbert-mean",
            "rope_parameters",
            json!({"full_attention": {"rope_type": "yarn", "rope_theta": 1e4}}),
            "default",
        ),
        (
            "modernbert-mean",
            "hidden_activation",
            json!("quick_gelu"),
            "gelu",
        ),
        ("modernbert-mean", "norm_eps", json!(-1.0), "norm_eps"),
        (
            "roberta-sequence",
            "max_position_embeddings",
            json!(2),
            "at least 8",
        ),
        (
            "roberta-sequence",
            "pruned_heads",
            json!({"0": [1]}),
            "pruned_heads",
        ),
        ("distilbert-sequence", "activation", json!("mish"), "gelu"),
        (
            "distilbert-sequence",
            "num_attention_heads",
            json!(6),
            "n_heads",
        ),
        (
            "modernbert-mean",
            "sliding_window",
            json!(64),
            "local_attention",
        ),
        (
            "bert-regression",
            "function_to_apply",
            json!("softmax"),
            "problem_type",
        ),
        ("distilbert-sequence", "n_heads", json!(5), "n_heads"),
        (
            "distilbert-sequence",
            "quantization_config",
            json!({"bits": 4}),
            "quantization_config",
        ),
        (
            "xlm-roberta-sequence",
            "is_decoder",
            json!(true),
            "is_decoder",
        ),
        (
            "bert-regression",
            "problem_type",
            json!("ordinal"),
            "regression",
        ),
    ];
    for (folder, field, value, word) in cases {
        let dir = copy_of(folder);
        edit_config(dir.path(), |config| config[field] = value);
        refused(
            dir.path(),
            &["config.json", field, word].map(|w| match w {
                "config.json" if word.ends_with(".weight") => "model.safetensors",
                w if w == field && word.ends_with(".weight") => word,
                w => w,
            }),
        );
    }
}

#[test]
fn classes_that_are_out_of_scope_are_refused_by_name() {
    for (model_type, word) in [
        ("deberta", "DeBERTa v1"),
        ("qwen3", "decoder"),
        ("gliner", "GLiNER"),
        ("openai_privacy_filter", "mixture of experts"),
    ] {
        let dir = copy();
        edit_config(dir.path(), |config| {
            config["model_type"] = model_type.into()
        });
        refused(
            dir.path(),
            &["model_type", model_type, word, "deberta-v2", "modernbert"],
        );
    }
}

#[test]
fn roberta_without_a_manifest_gets_the_window_its_positions_allow() {
    let dir = copy_of("roberta-token");
    let package = Package::open(dir.path()).unwrap();
    assert_eq!(package.manifest.max_length, 512);
    Model::build(&package).unwrap();
}

#[test]
fn buckets_of_relative_positions_must_reach_beyond_their_even_half() {
    for (buckets, farthest) in [(32, 2), (32, 4), (32, 17), (1, 200)] {
        let dir = copy_of("deberta-v3-sequence");
        edit_config(dir.path(), |config| {
            config["position_buckets"] = buckets.into();
            config["max_relative_positions"] = farthest.into();
        });
        refused(dir.path(), &["config.json", "position_buckets"]);
    }
}
