//! Patterns and word lists of a policy.

use regex_automata::util::syntax;

use super::PatternError;
use super::lexer::{Entry, Lexer, LexerRule, Source, automaton, deepest};
use super::rule::{Shape, Site, Start};
use super::view::LOOK;

/// The most custom patterns and lists together.
const MAX_PATTERNS: usize = 256;
/// The most bytes of words in all lists together.
const MAX_WORDS: usize = 64 << 10;
/// The most bytes of one regular expression.
const MAX_REGEX: usize = 4096;
/// The most bytes a regular expression may match, so that every text is scanned in linear time.
const MAX_LENGTH: usize = 512;
/// The most memory of the automata, in bytes, for each step of making them.
const MAX_MEMORY: usize = 16 << 20;

/// A pattern that a policy adds.
#[derive(Debug, Clone, PartialEq)]
pub struct CustomPattern {
    /// Its name, which matches carry as their rule.
    pub name: String,
    /// The label of its matches.
    pub label: String,
    /// What it looks for.
    pub shape: CustomShape,
}

/// What a custom pattern looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CustomShape {
    /// A regular expression (syntax of the `regex` crate, without Unicode `\b`), matched as far as it
    /// goes, anywhere in the text. It must bound the length of its matches.
    Regex(String),
    /// Whole words or phrases, upper and lower case alike (simple case folding of Unicode).
    Words(Vec<String>),
    /// Whole words or phrases as they are written.
    Exact(Vec<String>),
}

/// Compiles `patterns` into a lexer of their own, in which they do not compete.
pub(super) fn compile(patterns: &[CustomPattern]) -> Result<Lexer, PatternError> {
    if let Some(beyond) = patterns.get(MAX_PATTERNS) {
        let problem = format!(
            "{} patterns and lists; at most {MAX_PATTERNS} are allowed",
            patterns.len()
        );
        return Err(PatternError::new(&beyond.name, problem));
    }
    let mut sources = Vec::new();
    let mut rules = Vec::new();
    let mut words = 0;
    for pattern in patterns {
        let error = |problem: String| PatternError::new(&pattern.name, problem);
        let regex = match &pattern.shape {
            CustomShape::Regex(regex) => checked(regex).map_err(error)?,
            CustomShape::Words(list) | CustomShape::Exact(list) => {
                words += list.iter().map(String::len).sum::<usize>();
                if words > MAX_WORDS {
                    return Err(error(format!(
                        "the lists have more than {MAX_WORDS} bytes of words"
                    )));
                }
                let any_case = matches!(pattern.shape, CustomShape::Words(_));
                alternatives(list, any_case).map_err(error)?
            }
        };
        sources.push(Source {
            pattern: regex,
            start: Start::Anywhere,
            entry: Entry::Rule(rules.len()),
        });
        rules.push(LexerRule {
            id: pattern.name.as_str().into(),
            label: pattern.label.as_str().into(),
            number: false,
            check: match pattern.shape {
                CustomShape::Regex(_) => |_| Shape::Plain,
                CustomShape::Words(_) | CustomShape::Exact(_) => whole_words,
            },
            base: 1.0,
            proof: 0.0,
            alone: true,
            topics: Vec::new(),
            context: 0.0,
            window: 0,
            unless: Vec::new(),
            next: None,
            length: None,
            shorter: false,
            endless: false,
            look: LOOK,
            value: None,
            group: None,
        });
    }
    let blame = |error: PatternError| {
        let problem = error.problem;
        let alone = |source: &&Source| automaton(&[&source.pattern], MAX_MEMORY).is_err();
        let culprit = sources
            .iter()
            .find(alone)
            .and_then(|source| match source.entry {
                Entry::Topic(_) => None,
                Entry::Rule(index) => patterns.get(index),
            });
        match culprit {
            Some(pattern) => PatternError::new(&pattern.name, problem),
            None => PatternError::new("", format!("all patterns together: {problem}")),
        }
    };
    Lexer::compile(&sources, rules, false, MAX_MEMORY).map_err(blame)
}

/// A regular expression whose matches are bounded and not empty.
fn checked(regex: &str) -> Result<String, String> {
    if regex.len() > MAX_REGEX {
        return Err(format!(
            "{} bytes; at most {MAX_REGEX} are allowed",
            regex.len()
        ));
    }
    let parsed = syntax::parse(regex).map_err(|error| deepest(&error))?;
    let properties = parsed.properties();
    if properties.look_set().contains_word_unicode() {
        return Err(r"write (?-u:\b) for \b: word boundaries are those of ASCII".into());
    }
    match (properties.minimum_len(), properties.maximum_len()) {
        (Some(0) | None, _) => Err("matches the empty text".into()),
        (_, None) => Err("matches text of any length; bound its repetitions, as in {0,64}".into()),
        (_, Some(longest)) if longest > MAX_LENGTH => Err(format!(
            "matches up to {longest} bytes; at most {MAX_LENGTH} are allowed"
        )),
        _ => Ok(format!("(?:{regex})")),
    }
}

/// A regular expression for any of `words`.
fn alternatives(words: &[String], any_case: bool) -> Result<String, String> {
    if let Some(word) = words
        .iter()
        .find(|w| w.trim().is_empty() || w.len() > MAX_LENGTH)
    {
        return Err(format!(
            "{word:?} is empty or longer than {MAX_LENGTH} bytes"
        ));
    }
    if words.is_empty() {
        return Err("the list is empty".into());
    }
    let written = |word: &String| word.trim().chars().map(literal).collect();
    let escaped: Vec<String> = match any_case {
        true => words.iter().map(|word| escape(word)).collect(),
        false => words.iter().map(written).collect(),
    };
    let case = if any_case { "i" } else { "" };
    Ok(format!("(?{case}:{})", escaped.join("|")))
}

/// White space and hyphens between words match one another, in any number up to eight.
fn escape(word: &str) -> String {
    let gap = |c: char| c.is_whitespace() || matches!(c, '-' | '_');
    let mut before_was_gap = false;
    word.trim()
        .chars()
        .filter(|&c| {
            let again = gap(c) && before_was_gap;
            before_was_gap = gap(c);
            !again
        })
        .map(|c| match c {
            c if gap(c) => r"[\s\-_]{1,8}".to_owned(),
            c => literal(c),
        })
        .collect()
}

/// A character as it is.
fn literal(c: char) -> String {
    match c.is_alphanumeric() {
        true => c.to_string(),
        false => format!(r"\x{{{:X}}}", u32::from(c)),
    }
}

/// Whether no letter or digit goes on at either end. Scripts that write no spaces have no such ends.
fn whole_words(site: &Site<'_>) -> Shape {
    let joins = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() && is_spaced(c));
    let cut = |inside: Option<char>, outside| joins(inside) && joins(outside);
    let (first, last) = (site.whole.chars().next(), site.whole.chars().next_back());
    Shape::plain_if(!cut(first, site.before) && !cut(last, site.after))
}

/// Whether a letter's script separates words by spaces: not Thai to Burmese, not the East Asian ones.
fn is_spaced(c: char) -> bool {
    !matches!(u32::from(c), 0x0E00..=0x0EFF | 0x1000..=0x109F | 0x1780..=0x17FF | 0x2E80..=0xABFF | 0xF900..=0xFAFF | 0x20000..)
}
