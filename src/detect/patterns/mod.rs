//! Pattern detectors: personal data and secrets that have a shape of their own, and what a policy adds.
//!
//! A rule is a regular expression, a check (checksum, structure, entropy) and the topics that speak for
//! it: words before the match, or the title of its column. All rules that may begin in the same way are
//! one automaton, which is walked from each place where a match may begin until it can match no more. What
//! a match is worth depends on the text before it and on two characters behind it, never on how the text
//! was cut: [`PatternSet::scan`] is a [`PatternStream`] of one chunk.
//!
//! Where matches of one family overlap, the higher score wins, then the longer match, then the earlier
//! one. Families, and custom patterns among themselves, do not compete.
//!
//! A leaf: it knows no model and no policy. Positions are bytes of the text.

mod candidate;
mod checks;
mod contest;
mod context;
mod custom;
mod entropy;
pub(super) mod escape;
mod ids;
mod lexer;
mod phone;
mod pii;
mod rule;
mod scanner;
mod secret_checks;
mod secrets;
mod sign;
mod starts;
mod stream;
mod table;
mod topics;
mod view;
mod walk;
mod work;

use std::ops::Range;
use std::sync::{Arc, LazyLock};

pub use custom::{CustomPattern, CustomShape};
pub use stream::{PatternStream, Released};

use lexer::Lexer;

/// A built-in detector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Personal data: addresses of mail and network, numbers of people, cards and accounts.
    Pii,
    /// Secrets: keys, tokens, passwords.
    Secrets,
}

impl Family {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Pii, Self::Secrets];

    /// The detector's name.
    #[must_use]
    pub fn detector(self) -> &'static str {
        match self {
            Self::Pii => "pii_patterns",
            Self::Secrets => "secrets",
        }
    }

    /// The labels its matches may have, sorted.
    #[must_use]
    pub fn labels(self) -> Vec<&'static str> {
        let mut labels: Vec<_> = self.rules().iter().map(|rule| rule.label).collect();
        labels.sort_unstable();
        labels.dedup();
        labels
    }

    fn rules(self) -> &'static [rule::Rule] {
        match self {
            Self::Pii => pii::RULES,
            Self::Secrets => secrets::RULES,
        }
    }

    /// Compiled once a process.
    fn lexer(self) -> Result<Arc<Lexer>, PatternError> {
        type Compiled = LazyLock<Result<Arc<Lexer>, PatternError>>;
        static PII: Compiled = LazyLock::new(|| Lexer::built_in(pii::RULES).map(Arc::new));
        static SECRETS: Compiled = LazyLock::new(|| Lexer::built_in(secrets::RULES).map(Arc::new));
        match self {
            Self::Pii => PII.clone(),
            Self::Secrets => SECRETS.clone(),
        }
    }
}

/// Something that a rule found.
#[derive(Debug, Clone, PartialEq)]
pub struct PatternMatch {
    /// The rule's stable name, or the custom pattern's.
    pub rule: Arc<str>,
    /// What it is.
    pub label: Arc<str>,
    /// Where it is: bytes of the text.
    pub span: Range<usize>,
    /// How sure that is: 0.5 to 1.
    pub score: f32,
}

/// Why a pattern cannot be used.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("pattern {pattern:?}: {problem}")]
pub struct PatternError {
    /// The pattern's name.
    pub pattern: String,
    /// What is wrong with it.
    pub problem: String,
}

impl PatternError {
    fn new(pattern: &str, problem: impl Into<String>) -> Self {
        Self {
            pattern: pattern.into(),
            problem: problem.into(),
        }
    }
}

/// The rules of some families and custom patterns, ready to run. Cheap to clone.
#[derive(Debug, Clone)]
pub struct PatternSet {
    lexers: Arc<[Arc<Lexer>]>,
}

impl PatternSet {
    /// Compiles `custom` and joins it with the built-in rules of `families`.
    pub fn new(families: &[Family], custom: &[CustomPattern]) -> Result<Self, PatternError> {
        let mut lexers = families
            .iter()
            .map(|family| family.lexer())
            .collect::<Result<Vec<_>, _>>()?;
        if !custom.is_empty() {
            lexers.push(Arc::new(custom::compile(custom)?));
        }
        Ok(Self {
            lexers: lexers.into(),
        })
    }

    /// All matches in `text`, by their start, then their end.
    #[must_use]
    pub fn scan(&self, text: &str) -> Vec<PatternMatch> {
        stream::scan(&self.lexers, text)
    }

    /// A scan of a text that comes in chunks.
    #[must_use]
    pub fn stream(&self) -> PatternStream {
        PatternStream::new(self.lexers.clone())
    }
}

#[cfg(test)]
mod tests;
