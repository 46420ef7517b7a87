//! The engine as a contender of `benches/peers`: answers the requests of `compare.py` on standard
//! input, a line of JSON each, with packed batches in the order of arrival.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "a benchmark"
)]

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use portcullis::encoder::{Model, PackedBatch};
use portcullis::engine::{CpuEngine, Engine, HeadSet, ModelId, Precision};
use portcullis::package::Package;
use serde::Deserialize;
use serde_json::json;

/// The server's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tokens of a batch: as the scheduler forms them when much is waiting.
const BATCH_TOKENS: usize = 1024;
/// Tokens of a sequence, special ones included.
const MAX_LENGTH: usize = 512;

#[derive(Deserialize)]
struct Request {
    ids: Option<Vec<Vec<u32>>>,
    texts: Option<Vec<String>>,
    least_seconds: f64,
}

struct Ours {
    engine: CpuEngine,
    package: Package,
}

impl Ours {
    fn load(directory: &Path, threads: usize, precision: Precision) -> Self {
        let package = Package::open(directory).unwrap();
        let mut engine = CpuEngine::of_precision(threads, precision).unwrap();
        let model = Model::build_in(&package, engine.precision()).unwrap();
        engine.load(Arc::new(model)).unwrap();
        Self { engine, package }
    }

    fn tokenize(&self, text: &str) -> Vec<u32> {
        let tokenizer = &self.package.tokenizer;
        let special = tokenizer.prefix().len() + tokenizer.suffix().len();
        let tokens = tokenizer.tokenize(text).unwrap();
        let taken = tokens.ids.len().min(MAX_LENGTH - special);
        [tokenizer.prefix(), &tokens.ids[..taken], tokenizer.suffix()].concat()
    }

    /// Scores of the head of each sequence: after the softmax.
    fn pass(&mut self, request: &Request) -> Vec<Vec<f32>> {
        let tokenized: Vec<Vec<u32>>;
        let sequences = match (&request.ids, &request.texts) {
            (Some(ids), _) => ids,
            (None, texts) => {
                tokenized = texts.iter().flatten().map(|t| self.tokenize(t)).collect();
                &tokenized
            }
        };
        let mut scores = Vec::with_capacity(sequences.len());
        let mut batch = PackedBatch::new();
        for (i, ids) in sequences.iter().enumerate() {
            batch.push(ids);
            let next = sequences.get(i + 1).map(Vec::len);
            if next.is_none_or(|n| batch.tokens() + n > BATCH_TOKENS) {
                let run = self
                    .engine
                    .run(ModelId(0), &batch, HeadSet::one(0))
                    .unwrap();
                scores.extend(
                    run.into_iter()
                        .map(|s| s[0].as_ref().unwrap().scores.clone()),
                );
                batch = PackedBatch::new();
            }
        }
        scores
    }
}

fn main() {
    // `cargo bench` passes --bench; run by itself there is nothing to answer.
    let args: Vec<String> = std::env::args()
        .skip(1)
        .filter(|a| a != "--bench")
        .collect();
    let [directory, threads, precision] = args.as_slice() else {
        return;
    };
    let precision = serde_json::from_value(json!(precision)).unwrap();
    let mut ours = Ours::load(Path::new(directory), threads.parse().unwrap(), precision);
    for line in std::io::stdin().lock().lines() {
        let request: Request = serde_json::from_str(&line.unwrap()).unwrap();
        let start = Instant::now();
        let mut passes = 0;
        let (seconds, scores) = loop {
            let scores = ours.pass(&request);
            passes += 1;
            let seconds = start.elapsed().as_secs_f64();
            if seconds >= request.least_seconds {
                break (seconds, scores);
            }
        };
        println!(
            "{}",
            json!({ "seconds": seconds / f64::from(passes), "scores": scores })
        );
    }
}
