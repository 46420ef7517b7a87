//! Index arithmetic, exhaustively, on the host.

use std::process::Command;

use super::machine::repository;
use super::reference;
use crate::encoder::ops::Slots;

/// `kernels/index.cuh`, which the kernels include, compiled by the host's compiler.
#[test]
fn every_index_of_the_attention_kernels_is_right_for_lengths_up_to_600() {
    let program = std::env::temp_dir().join(format!("kernel-index-{}", std::process::id()));
    let compiled = Command::new(std::env::var("CXX").unwrap_or("c++".into()))
        .args(["-std=c++17", "-O2", "-Wall", "-Werror", "-o"])
        .arg(&program)
        .arg(repository("tests/kernels/index.cpp"))
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{errors}");
    let run = Command::new(&program).output().unwrap();
    std::fs::remove_file(&program).unwrap();
    let said = String::from_utf8_lossy(&run.stdout);
    assert!(run.status.success(), "{said}");
    assert!(said.contains("all lengths"), "{said}");
}

/// DeBERTa's bucket function, in f64 and as the networks compute it, for every distance; slots are
/// numbered downwards there.
#[test]
fn buckets_of_every_distance_up_to_600_are_right() {
    for (span, buckets, farthest) in [(256, 256, 512), (16, 16, 32), (32, 32, 600)] {
        let expected = reference::slots(600, span, farthest);
        let slots = Slots::new(span, buckets, farthest, 600).by_distance();
        assert_eq!(slots.len(), 1199);
        for (slot, expected) in slots.iter().zip(&expected) {
            assert_eq!(2 * span - 1 - *slot as usize, usize::from(*expected));
        }
    }
}
