//! The engine on a GPU: `cargo bench --features cuda --bench cuda`, of the bundled package or of that in
//! PORTCULLIS_PACKAGE.
//!
//! `cuda_pass` is device time of a graph's replay, by device events; `cuda_call` a whole call, copies and
//! the host's work included; `cuda_stream` the same with the next batch begun before one is finished.

#![allow(clippy::unwrap_used, missing_docs, reason = "benchmarks")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use portcullis::encoder::{Model, PackedBatch};
use portcullis::engine::{Begun, CudaEngine, CudaSettings, Engine, HeadSet, ModelId};
use portcullis::package::Package;

/// Sequences and their length.
const SHAPES: [(usize, usize); 6] = [(1, 16), (1, 128), (8, 128), (64, 128), (1, 256), (16, 256)];

struct Bench {
    engine: CudaEngine,
    model: ModelId,
    heads: HeadSet,
}

impl Bench {
    fn new() -> Self {
        let package = std::env::var_os("PORTCULLIS_PACKAGE");
        let package = package.unwrap_or("models/portcullis-minilm-l6".into());
        let model = Arc::new(Model::build(&Package::open(package.as_ref()).unwrap()).unwrap());
        let heads = (0..model.heads()).fold(HeadSet::EMPTY, |s, h| s.union(HeadSet::one(h)));
        let mut engine = CudaEngine::new(CudaSettings {
            ordinal: 0,
            memory: None,
            max_tokens: SHAPES
                .into_iter()
                .map(|(n, length)| n * length)
                .max()
                .unwrap(),
        })
        .unwrap();
        let model = engine.load(model).unwrap();
        Self {
            engine,
            model,
            heads,
        }
    }

    fn begin(&mut self, batch: &PackedBatch) -> portcullis::engine::BatchId {
        match self.engine.begin(self.model, batch, self.heads).unwrap() {
            Begun::Running(id) => id,
            Begun::Done(_) => panic!("the engine waited for the device"),
        }
    }
}

/// `count` sequences, no two alike.
fn batch((count, length): (usize, usize)) -> PackedBatch {
    let sequence = |s: usize| (0..length).map(move |i| 5 + ((s * 131 + i * 37) % 100) as u32);
    let sequences: Vec<Vec<u32>> = (0..count).map(|s| sequence(s).collect()).collect();
    sequences.iter().map(Vec::as_slice).collect()
}

fn cuda(c: &mut Criterion) {
    let mut bench = Bench::new();
    for (name, time) in [
        ("cuda_pass", pass as Time),
        ("cuda_call", call),
        ("cuda_stream", stream),
    ] {
        let mut group = c.benchmark_group(name);
        for shape in SHAPES {
            let batch = batch(shape);
            group.throughput(Throughput::Elements(batch.tokens() as u64));
            let id = BenchmarkId::from_parameter(format!("{} x {}", shape.0, shape.1));
            group.bench_function(id, |b| b.iter_custom(|n| time(&mut bench, &batch, n)));
        }
    }
}

/// Time of so many runs of a batch.
type Time = fn(&mut Bench, &PackedBatch, u64) -> Duration;

fn pass(bench: &mut Bench, batch: &PackedBatch, runs: u64) -> Duration {
    let times = bench.engine.pass_seconds(bench.model, batch, runs as usize);
    times
        .unwrap()
        .into_iter()
        .map(Duration::from_secs_f64)
        .sum()
}

fn call(bench: &mut Bench, batch: &PackedBatch, runs: u64) -> Duration {
    let start = Instant::now();
    for _ in 0..runs {
        bench.engine.run(bench.model, batch, bench.heads).unwrap();
    }
    start.elapsed()
}

fn stream(bench: &mut Bench, batch: &PackedBatch, runs: u64) -> Duration {
    let start = Instant::now();
    let mut running = bench.begin(batch);
    for _ in 1..runs {
        let next = bench.begin(batch);
        bench.engine.finish(running).unwrap();
        running = next;
    }
    bench.engine.finish(running).unwrap();
    start.elapsed()
}

criterion_group!(benches, cuda);
criterion_main!(benches);
