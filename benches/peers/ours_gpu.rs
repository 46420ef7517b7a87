//! One side of benches/peers/gpu.py: times one package on a GPU: device time of a pass by events, the time of
//! whole calls of the engine, copies and host work included, and that of a stream of them, in which the next
//! batch is queued before one is waited for. Of a workload of one batch also the steps of its pass.
//!
//! ```text
//! ours_gpu --package DIR --work FILE [--bf16] [--passes N]
//! ```
//!
//! FILE holds JSON: `[{"name": "32 x 128", "batches": [[128, 128, ...], ...]}, ...]`, where a batch is
//! the lengths of its sequences. One line of JSON a workload comes out; benches/peers/gpu.py reads it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark"
)]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use portcullis::encoder::{Model, PackedBatch};
use portcullis::engine::{Begun, CudaEngine, CudaSettings, Engine, HeadSet, ModelId};
use portcullis::package::Package;

#[derive(serde::Deserialize)]
struct Workload {
    name: String,
    batches: Vec<Vec<usize>>,
}

struct Options {
    package: PathBuf,
    work: Option<PathBuf>,
    bf16: bool,
    passes: usize,
}

impl Options {
    fn parse() -> Self {
        let mut options = Self {
            package: "models/portcullis-minilm-l6".into(),
            work: None,
            bf16: false,
            passes: 50,
        };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            match word.as_str() {
                "--package" => options.package = words.next().unwrap().into(),
                "--work" => options.work = Some(words.next().unwrap().into()),
                "--passes" => options.passes = words.next().unwrap().parse().unwrap(),
                "--bf16" => options.bf16 = true,
                _ => {} // cargo's own `--bench`
            }
        }
        options
    }

    fn workloads(&self) -> Vec<Workload> {
        match &self.work {
            Some(file) => serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap(),
            None => [(1, 128), (32, 128), (8, 512)]
                .map(|(count, length)| Workload {
                    name: format!("{count} x {length}"),
                    batches: vec![vec![length; count]],
                })
                .into(),
        }
    }
}

/// Ids that every tokenizer has, and no two sequences alike.
fn batch(lengths: &[usize]) -> PackedBatch {
    let mut state = 1u64;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        5 + (state >> 33) as u32 % 100
    };
    let sequences: Vec<Vec<u32>> = lengths
        .iter()
        .map(|&n| (0..n).map(|_| next()).collect())
        .collect();
    sequences.iter().map(Vec::as_slice).collect()
}

/// The 10th, 50th and 90th of a hundred.
fn spread(mut seconds: Vec<f64>) -> [f64; 3] {
    seconds.sort_by(f64::total_cmp);
    [10, 50, 90].map(|p| seconds[(seconds.len() - 1) * p / 100])
}

/// Seconds of each step of a pass, by its name: the median of several.
fn steps(engine: &mut CudaEngine, id: ModelId, batch: &PackedBatch) -> Vec<(&'static str, f64)> {
    const PASSES: usize = 11;
    let passes: Vec<_> = (0..PASSES)
        .map(|_| engine.step_seconds(id, batch).unwrap())
        .collect();
    let names = passes[0].iter().map(|(name, _)| *name);
    names
        .enumerate()
        .map(|(i, name)| (name, spread(passes.iter().map(|p| p[i].1).collect())[1]))
        .collect()
}

/// Seconds of all batches, the next one begun before one is finished.
fn stream(engine: &mut CudaEngine, id: ModelId, batches: &[PackedBatch], heads: HeadSet) -> f64 {
    let start = Instant::now();
    let mut running = None;
    for batch in batches {
        let begun = match engine.begin(id, batch, heads).unwrap() {
            Begun::Running(begun) => Some(begun),
            Begun::Done(_) => None,
        };
        if let Some(before) = std::mem::replace(&mut running, begun) {
            engine.finish(before).unwrap();
        }
    }
    if let Some(last) = running {
        engine.finish(last).unwrap();
    }
    start.elapsed().as_secs_f64()
}

fn main() {
    let options = Options::parse();
    let package = Package::open(&options.package).unwrap();
    let model = Arc::new(Model::build(&package).unwrap());
    let heads = (0..model.heads()).fold(HeadSet::EMPTY, |set, h| set.union(HeadSet::one(h)));
    let workloads = options.workloads();
    let most = workloads
        .iter()
        .flat_map(|w| w.batches.iter().map(|b| b.iter().sum::<usize>()))
        .max();
    let mut engine = CudaEngine::new(CudaSettings {
        ordinal: 0,
        memory: None,
        max_tokens: most.unwrap_or(512),
    })
    .unwrap();
    let id = engine.load(model).unwrap();
    if options.bf16 {
        assert!(engine.widen(id).unwrap());
    }
    for workload in workloads {
        let batches: Vec<PackedBatch> = workload.batches.iter().map(|b| batch(b)).collect();
        let tokens: usize = batches.iter().map(PackedBatch::tokens).sum();
        // The sum over the batches, pass by pass.
        let mut device = vec![0.0; options.passes];
        for batch in &batches {
            engine.pass_seconds(id, batch, 3).unwrap();
            let times = engine.pass_seconds(id, batch, options.passes).unwrap();
            device.iter_mut().zip(times).for_each(|(sum, t)| *sum += t);
        }
        let calls = (0..options.passes)
            .map(|_| {
                let start = Instant::now();
                for batch in &batches {
                    engine.run(id, batch, heads).unwrap();
                }
                start.elapsed().as_secs_f64()
            })
            .collect();
        let streams = (0..options.passes)
            .map(|_| stream(&mut engine, id, &batches, heads))
            .collect();
        let steps = match batches.as_slice() {
            [batch] => Some(steps(&mut engine, id, batch)),
            _ => None,
        };
        let line = serde_json::json!({
            "name": workload.name,
            "tokens": tokens,
            "batches": batches.len(),
            "device": engine.device(),
            "device_seconds": spread(device),
            "call_seconds": spread(calls),
            "stream_seconds": spread(streams),
            "step_seconds": steps,
        });
        println!("{line}");
    }
}
