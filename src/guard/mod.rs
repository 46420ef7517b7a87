//! The domain: what is checked, by which policy, and what comes out. No protobuf, no transport.

mod check;
mod choose;
mod fold;
mod parts;
mod pipeline;
mod policy;
mod redact;
mod restore;
mod scan;
mod store;
mod verdict;

pub use check::{Check, CheckError, Limits, Role, Segment, Selection};
pub use pipeline::{Guard, GuardParts};
pub use policy::{
    ListConfig, OnError, Policies, Policy, PolicyConfig, PolicyError, Rule, RuleConfig,
};
pub use redact::{Redactable, Redaction, Redactor};
pub use restore::{RestoreError, Restorer};
pub use store::PolicyStore;
pub use verdict::{
    Action, ClassScore, DetectorReport, DetectorState, Finding, Outcome, RedactedSegment, Timings,
    Verdict,
};
