//! What the server promises, one behaviour a file. `scripts/test.sh` installs what they need.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    missing_docs,
    reason = "tests"
)]

mod program;
mod support;

mod audit;
mod bad_input;
mod batch_invariance;
mod broken_packages;
mod command_line;
mod connections;
mod conversations;
mod credentials;
mod deploy;
mod documentation;
mod drain;
mod drift;
mod envoy;
mod evasion;
mod ext_authz;
mod ext_proc;
mod failures;
mod foreign_client;
mod http;
mod hub;
mod inference;
mod latency;
mod licences;
mod litellm;
mod load;
mod long_sequences;
mod lost_device;
mod measures;
mod observability;
mod output;
mod overlap;
mod overload;
mod parity;
mod policies;
mod rates;
mod redaction;
mod replicas;
mod reports;
mod responses;
mod scan;
mod several_packages;
mod signals;
mod signatures;
mod streams;
mod text_limits;
mod tokenizers;
mod tokens;
mod traces;
mod verdicts;
mod wire;
