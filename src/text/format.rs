//! What the text of an entity looks like, by its label.
//!
//! A token model knows an address of a network by what stands around it as much as by its shape, and where
//! it errs the shape gives it away: `161.80` is none. What the texts of a label contain is told as a regular
//! expression; a span without it is no entity of that label.

use std::collections::BTreeMap;

use regex_automata::meta::Regex;
use regex_automata::util::syntax;

/// Most memory of one compiled expression.
const MAX_MEMORY: usize = 4 << 20;
/// Most bytes of an expression as written.
const MAX_WRITTEN: usize = 1000;

/// The expressions of a head's labels, by the label's index.
#[derive(Debug, Clone, Default)]
pub(super) struct Formats(Vec<Option<Regex>>);

impl Formats {
    /// Compiles `expressions` (by label) for a head with these `labels`.
    ///
    /// # Errors
    ///
    /// What is wrong with which label's expression.
    pub(super) fn new(
        expressions: &BTreeMap<String, String>,
        labels: &[String],
    ) -> Result<Self, String> {
        let mut formats = vec![None; labels.len()];
        for (label, expression) in expressions {
            let Some(index) = labels.iter().position(|l| l == label) else {
                return Err(format!("{label:?} is no label of this head"));
            };
            let compiled = compile(expression).map_err(|error| format!("{label}: {error}"))?;
            formats[index] = Some(compiled);
        }
        Ok(Self(formats))
    }

    /// Whether `text` may be an entity of the label with this index.
    pub(super) fn admit(&self, label: usize, text: &str) -> bool {
        match self.0.get(label) {
            Some(Some(format)) => format.is_match(text),
            _ => true,
        }
    }
}

fn compile(expression: &str) -> Result<Regex, String> {
    if expression.len() > MAX_WRITTEN {
        let length = expression.len();
        return Err(format!("{length} bytes; at most {MAX_WRITTEN} are read"));
    }
    syntax::parse(expression).map_err(|error| error.to_string())?;
    Regex::builder()
        .configure(Regex::config().nfa_size_limit(Some(MAX_MEMORY)))
        .build(expression)
        .map_err(|_| format!("{expression:?} takes more than {MAX_MEMORY} bytes of memory"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn formats(label: &str, expression: &str) -> Result<Formats, String> {
        let expressions = [(label.to_owned(), expression.to_owned())].into();
        Formats::new(&expressions, &["CVV".into(), "AGE".into()])
    }

    #[test]
    fn a_label_without_an_expression_admits_everything() {
        let formats = formats("CVV", r"^\d{3,4}$").unwrap();
        assert!(formats.admit(0, "123") && !formats.admit(0, "12") && !formats.admit(0, "a123"));
        assert!(formats.admit(1, "forty"));
    }

    #[test]
    fn unknown_labels_and_unusable_expressions_are_errors() {
        assert!(formats("NAME", ".").unwrap_err().contains("no label"));
        assert!(formats("CVV", "(").unwrap_err().starts_with("CVV: "));
        assert!(formats("CVV", r"(?:\w{1000}){1000}").is_err());
        assert!(formats("CVV", &"a".repeat(1001)).is_err());
    }
}
