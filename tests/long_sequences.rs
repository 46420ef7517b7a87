//! Attention over a very long sequence needs memory in proportion to its length, not to its square.

use crate::support::{build, golden, packed_logits};

/// The most memory this process has had, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
    let kib: usize = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

#[test]
fn eight_thousand_tokens_take_no_square_of_memory() {
    const TOKENS: u32 = 8_192;
    let dir = tempfile::tempdir().unwrap();
    for file in ["tokenizer.json", "model.safetensors"] {
        std::fs::copy(golden("modernbert-mean").join(file), dir.path().join(file)).unwrap();
    }
    let config = std::fs::read(golden("modernbert-mean").join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_slice(&config).unwrap();
    config["max_position_embeddings"] = TOKENS.into();
    std::fs::write(dir.path().join("config.json"), config.to_string()).unwrap();
    let model = build(dir.path());

    let ids: Vec<u32> = (0..TOKENS).map(|i| 4 + i * 37 % 120).collect();
    let before = peak();
    let logits = packed_logits(&model, &[ids]).remove(0);
    assert!(logits.iter().all(|v| v.is_finite()));
    // The scores of one of its three heads alone would be 256 MiB.
    let grown = peak() - before;
    assert!(grown < 96 << 20, "{} MiB", grown >> 20);
}
