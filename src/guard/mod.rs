//! The domain: what is checked, by which policy, and what comes out. No protobuf, no transport.

mod allow;
mod check;
mod choose;
mod fold;
mod gather;
mod joined;
mod output;
mod parts;
mod pipeline;
mod policy;
mod redact;
mod restore;
mod scan;
mod store;
mod verdict;

pub use check::{Check, CheckError, Limits, Role, Segment, Selection};
pub use output::{OutputCheck, OutputGuard, Released};
pub use pipeline::{Guard, GuardParts};
pub use policy::{
    ListConfig, OnError, Policies, Policy, PolicyConfig, PolicyError, PolicyLimits, Rule,
    RuleConfig,
};
pub use redact::{Redactable, Redaction, Redactor, Replacement, Scope};
pub use restore::{RestoreError, Restorer};
pub use store::PolicyStore;
pub use verdict::{
    Action, ClassScore, DetectorReport, DetectorState, Finding, Outcome, RedactedSegment,
    SegmentVerdict, Timings, Verdict,
};
