//! Logits agree with transformers on the same weights, alone and packed.

use std::path::Path;

use crate::support::{build, distance, golden, minilm_package, packed_logits};

#[derive(serde::Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    ids: Vec<u32>,
    logits: Vec<f32>,
}

fn check(package: &Path, folder: &str) {
    let text = std::fs::read_to_string(golden(folder).join("golden.json")).unwrap();
    let Golden { cases } = serde_json::from_str(&text).unwrap();
    let model = build(package);
    let largest = cases
        .iter()
        .flat_map(|c| &c.logits)
        .fold(0f32, |m, v| m.max(v.abs()));
    assert!(
        largest > 0.1,
        "logits this small ({largest}) would hide a wrong option"
    );

    let mut worst = 0f32;
    for case in &cases {
        let alone = packed_logits(&model, std::slice::from_ref(&case.ids)).remove(0);
        worst = worst.max(distance(&alone, &case.logits));
    }
    let together: Vec<_> = cases.iter().map(|c| c.ids.clone()).collect();
    for (packed, case) in packed_logits(&model, &together).iter().zip(&cases) {
        worst = worst.max(distance(packed, &case.logits));
    }
    println!("{folder}: largest difference {worst:e}, largest logit {largest}");
    assert!(worst < 1e-4, "{folder}: {worst}");
}

fn check_all(folders: &[&str]) {
    for folder in folders {
        check(&golden(folder), folder);
    }
}

#[test]
fn bert_agrees() {
    check_all(&[
        "bert-sequence",
        "bert-multilabel",
        "bert-token",
        "bert-regression",
        "bert-without-types",
    ]);
}

#[test]
fn roberta_and_xlm_roberta_agree() {
    check_all(&[
        "roberta-sequence",
        "roberta-token",
        "xlm-roberta-sequence",
        "xlm-roberta-token",
    ]);
}

#[test]
fn distilbert_agrees() {
    check_all(&["distilbert-sequence", "distilbert-token"]);
}

#[test]
fn deberta_v2_and_v3_agree() {
    check_all(&[
        "deberta-v3-sequence",
        "deberta-v3-token",
        "deberta-v2-unshared-token",
        "deberta-v2-content-to-position",
        "deberta-v2-position-to-content",
        "deberta-v2-absolute",
        "piguard",
    ]);
}

#[test]
fn modernbert_agrees() {
    check_all(&["modernbert-sequence", "modernbert-mean", "modernbert-token"]);
}

#[test]
fn minilm_sequence_classification_agrees() {
    check(minilm_package("minilm-sequence").path(), "minilm-sequence");
}

#[test]
fn minilm_token_classification_agrees() {
    check(minilm_package("minilm-token").path(), "minilm-token");
}
