//! The domain: what is checked, by which policy, and what comes out. No protobuf, no transport.

mod check;
mod pipeline;
mod policy;
mod redact;
mod verdict;

pub use check::{Check, CheckError, Limits, Role, Segment, Selection};
pub use pipeline::Guard;
pub use policy::{OnError, Policy, PolicyConfig, PolicyError, Rule, RuleConfig};
pub use redact::redact;
pub use verdict::{
    Action, ClassScore, DetectorReport, DetectorState, Finding, Outcome, RedactedSegment, Timings,
    Verdict,
};
