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

    /// The formats of the bundled package let true values pass, in whatever form people write them.
    #[test]
    fn the_bundled_formats_admit_true_values_and_no_slices_or_prices() {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/models/portcullis-minilm-l6/guard.toml"
        );
        let guard = std::fs::read_to_string(file).unwrap();
        let guard: toml::Table = guard.parse().unwrap();
        let heads = guard["heads"].as_array().unwrap();
        let told = heads.iter().find_map(|head| head.get("formats")).unwrap();
        let told: BTreeMap<String, String> = told.clone().try_into().unwrap();
        let labels: Vec<String> = told.keys().cloned().collect();
        let formats = Formats::new(&told, &labels).unwrap();
        let admit = |label: &str, text: &str| {
            let index = labels.iter().position(|l| l == label).unwrap();
            formats.admit(index, text)
        };
        for (label, text) in [
            ("PASSPORT", "C4VPYNMK3"),
            ("NATIONAL_ID", "LZ6G1K7HM"),
            ("PASSWORD", "letmein"),
            ("DATE_OF_BIRTH", "März 1985"),
            ("DATE_OF_BIRTH", "3/85"),
            ("PHONE", "45 67 89"),
            ("IBAN", "DE89.3704.0044.0532.0130.00"),
            ("EMAIL", "maria_at_example.com"),
            ("CREDIT_CARD", "4111    1111    1111    1111"),
            ("SSN", "078  --  05  --  1120"),
            ("MAC_ADDRESS", "00_1a_2b_3c_4d_5e"),
            ("IP_ADDRESS", "::1"),
            ("IP_ADDRESS", "10[.]1[.]2[.]3"),
        ] {
            assert!(admit(label, text), "{label}: {text}");
        }
        for (label, text) in [
            ("MAC_ADDRESS", "::-1"),
            ("IP_ADDRESS", "::-1"),
            ("IP_ADDRESS", "161.80"),
            ("IP_ADDRESS", "2.18 (2.18 to 2.24"),
            ("CREDIT_CARD", "550e8400-e29b-41d4-a716-446655440000"),
            ("PHONE", "93"),
            ("ZIP_CODE", "93"),
            ("DATE_OF_BIRTH", "1972"),
        ] {
            assert!(!admit(label, text), "{label}: {text}");
        }
    }

    #[test]
    fn unknown_labels_and_unusable_expressions_are_errors() {
        assert!(formats("NAME", ".").unwrap_err().contains("no label"));
        assert!(formats("CVV", "(").unwrap_err().starts_with("CVV: "));
        assert!(formats("CVV", r"(?:\w{1000}){1000}").is_err());
        assert!(formats("CVV", &"a".repeat(1001)).is_err());
    }
}
