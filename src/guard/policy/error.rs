//! What can be wrong with a policy.

use crate::guard::Role;

/// What is wrong with a policy or with the name of one.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum PolicyError {
    /// There is none of this name.
    #[error("policy {name:?} is not configured; {} are", known.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// It names a detector that no package gives.
    #[error("policies.{policy}.detectors.{detector}: no package gives this detector; {} are there", known.join(", "))]
    Detector {
        /// The policy.
        policy: String,
        /// The detector named.
        detector: String,
        /// The detectors there are.
        known: Vec<String>,
    },
    /// It redacts what has no exact place.
    #[error(
        "policies.{policy}.detectors.{detector}.action: this detector judges whole texts and finds no spans to redact; use allow, monitor or block"
    )]
    NothingToRedact {
        /// The policy.
        policy: String,
        /// The detector.
        detector: String,
    },
    /// It applies nothing, and would allow everything.
    #[error("policies.{policy}.detectors: is empty, so the policy would pass every text unread")]
    Empty {
        /// The policy.
        policy: String,
    },
    /// It applies a detector to nobody.
    #[error(
        "policies.{policy}.detectors.{detector}.roles: is empty, so the detector would read nothing; leave the detector out instead"
    )]
    NoRoles {
        /// The policy.
        policy: String,
        /// The detector.
        detector: String,
    },
    /// It says something of a role that it does not look at.
    #[error("policies.{policy}.detectors.{detector}.{field}: {role:?} is not among its roles")]
    Role {
        /// The table.
        field: &'static str,
        /// The policy.
        policy: String,
        /// The detector.
        detector: String,
        /// The role.
        role: Role,
    },
    /// It reads too many turns as one.
    #[error("policies.{policy}.context_turns: {turns}; at most {most} are read as one")]
    Turns {
        /// The policy.
        policy: String,
        /// How many it asks for.
        turns: usize,
        /// How many there may be.
        most: usize,
    },
    /// A limit allows nothing.
    #[error(
        "policies.{policy}.limits.{limit}: 0 would refuse every check; leave it out for the server's"
    )]
    Limit {
        /// The policy.
        policy: String,
        /// The limit.
        limit: &'static str,
    },
    /// A list cannot be used.
    #[error("policies.{policy}.{list}: {problem}")]
    List {
        /// The policy.
        policy: String,
        /// `allow` or `deny`.
        list: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// It names a label that the detector does not have.
    #[error("policies.{policy}.detectors.{detector}.{field}.{label}: no label of {detector}; {} are", known.join(", "))]
    Label {
        /// The policy.
        policy: String,
        /// The detector.
        detector: String,
        /// The table.
        field: &'static str,
        /// The label.
        label: String,
        /// The labels there are.
        known: Vec<String>,
    },
    /// It sets a threshold that means nothing.
    #[error("policies.{policy}.detectors.{detector}.{place}: {problem}")]
    Threshold {
        /// The policy.
        policy: String,
        /// The detector.
        detector: String,
        /// The table and the label.
        place: String,
        /// What is wrong.
        problem: String,
    },
}
