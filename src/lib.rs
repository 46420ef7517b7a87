//! Portcullis: a guard-model inference server.
//!
//! LLM gateways call it over gRPC or HTTP with what users ask and what models answer; it packs those texts
//! onto transformer classifiers and answers with verdicts. The modules, from the top; each imports
//! only from those below it:
//!
//! - [`cli`] — the commands.
//! - [`load`] — load on a server, from the client's side.
//! - [`config`] — one typed configuration.
//! - [`api`] — what callers see; protobuf and domain meet here only.
//! - [`ops`] — logs, metrics, traces, authentication, limits.
//! - [`guard`] — the domain: checks, policies, verdicts.
//! - [`detect`] — detectors.
//! - [`scheduler`] — queue, batches, device worker.
//! - [`engine`] — where a batch runs.
//! - [`encoder`] — the networks.
//! - [`package`] — models on disk.
//! - [`quality`] — measures on labelled data.
//! - [`plot`] — charts.
//! - [`text`] — tokens, windows, spans.
//! - `aside` — long work away from the threads that serve connections.

pub mod api;
mod aside;
pub mod cli;
pub mod config;
pub mod detect;
pub mod encoder;
pub mod engine;
pub mod guard;
pub mod load;
pub mod ops;
pub mod package;
pub mod plot;
pub mod quality;
pub mod scheduler;
pub mod text;
