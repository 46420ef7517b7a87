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

#[test]
fn bert_sequence_classification_agrees() {
    check(&golden("bert-sequence"), "bert-sequence");
}

#[test]
fn bert_with_tanh_gelu_one_token_type_and_many_labels_agrees() {
    check(&golden("bert-multilabel"), "bert-multilabel");
}

#[test]
fn bert_token_classification_with_relu_agrees() {
    check(&golden("bert-token"), "bert-token");
}

#[test]
fn minilm_sequence_classification_agrees() {
    check(minilm_package("minilm-sequence").path(), "minilm-sequence");
}

#[test]
fn minilm_token_classification_agrees() {
    check(minilm_package("minilm-token").path(), "minilm-token");
}
