//! A text where it stands in a body: a string, or the fields of an object as lines.
//!
//! What a tool is called with says most by the names of its fields: `"ssn": 536228714` is a number without
//! its name. Such an object is read as lines of `name: value`, and what is redacted is put where it stands, so
//! that JSON stays JSON.

use std::borrow::Cow;
use std::ops::Range;

use serde_json::value::RawValue;

use super::json::{self, Value};
use super::literal::{Edit, Literal};

/// A text where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Passage<'b> {
    /// A string.
    Text(Literal<'b>),
    /// A string that holds an object or array, as the arguments of a call do.
    Quoted(Literal<'b>),
    /// An object or array, of few levels.
    Fields(&'b str),
}

/// Where a passage stands in its body.
#[derive(Debug, Clone)]
pub(in super::super) struct Place {
    range: Range<usize>,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Text,
    Quoted,
    Fields,
}

impl<'b> Passage<'b> {
    /// What a string says that may hold an object, up to `depth` levels deep.
    pub(super) fn of_arguments(literal: Literal<'b>, depth: usize) -> Self {
        match holds_fields(&literal.decode(), depth) {
            true => Self::Quoted(literal),
            false => Self::Text(literal),
        }
    }

    /// What it says.
    pub(in super::super) fn decode(self) -> Cow<'b, str> {
        match self {
            Self::Text(literal) => literal.decode(),
            Self::Quoted(literal) => Cow::Owned(Lines::of(&literal.decode()).text),
            Self::Fields(json) => Cow::Owned(Lines::of(json).text),
        }
    }

    /// Where it stands in `body`, of which it is a part.
    pub(in super::super) fn place(self, body: &str) -> Place {
        let (range, kind) = match self {
            Self::Text(literal) => (literal.range(body), Kind::Text),
            Self::Quoted(literal) => (literal.range(body), Kind::Quoted),
            Self::Fields(json) => {
                let start = json.as_ptr() as usize - body.as_ptr() as usize;
                (start..start + json.len(), Kind::Fields)
            }
        };
        Place { range, kind }
    }

    /// The passage that stands at `place` of `body`.
    pub(in super::super) fn at(body: &'b str, place: &Place) -> Self {
        match place.kind {
            Kind::Text => Self::Text(Literal::at(body, &place.range)),
            Kind::Quoted => Self::Quoted(Literal::at(body, &place.range)),
            Kind::Fields => Self::Fields(body.get(place.range.clone()).unwrap_or_default()),
        }
    }

    /// The edits to `body`, of which it is a part, that put `replacements` (by bytes of what it says, in
    /// order) in their places; all other bytes stay.
    pub(in super::super) fn edits<'r>(
        self,
        body: &str,
        replacements: impl IntoIterator<Item = (Range<usize>, &'r str)>,
    ) -> Vec<Edit> {
        match self {
            Self::Text(literal) => literal.edits(body, replacements),
            Self::Quoted(literal) => {
                let json = literal.decode();
                let edits = Lines::of(&json).edits(&json, replacements);
                let inner = edits.iter().map(|e| (e.range.clone(), e.text.as_str()));
                literal.edits(body, inner)
            }
            Self::Fields(json) => {
                let start = json.as_ptr() as usize - body.as_ptr() as usize;
                let edits = Lines::of(json).edits(json, replacements).into_iter();
                edits.map(|edit| edit.behind(start)).collect()
            }
        }
    }
}

impl<'b> From<Literal<'b>> for Passage<'b> {
    fn from(literal: Literal<'b>) -> Self {
        Self::Text(literal)
    }
}

/// Whether `text` is an object or array of at most `depth` levels.
fn holds_fields(text: &str, depth: usize) -> bool {
    let shallow = |raw| json::strings_within(raw, depth).is_some();
    text.trim_start().starts_with(['{', '[']) && json::parse(text).is_ok_and(shallow)
}

/// The fields of an object, line by line.
#[derive(Default)]
struct Lines<'j> {
    text: String,
    pieces: Vec<Piece<'j>>,
}

/// A name or value: bytes of the lines, and what stands for them in the JSON.
struct Piece<'j> {
    at: Range<usize>,
    leaf: Leaf<'j>,
    names: bool,
}

#[derive(Clone, Copy)]
enum Leaf<'j> {
    String(Literal<'j>),
    Number(&'j str),
}

impl<'j> Lines<'j> {
    fn of(json: &'j str) -> Self {
        let mut lines = Self::default();
        if let Ok(raw) = json::parse(json) {
            lines.add(raw);
        }
        lines
    }

    fn add(&mut self, raw: &'j RawValue) {
        match json::open(raw) {
            Value::String(literal) => self.line(Leaf::String(literal)),
            Value::Array(elements) => {
                for element in elements {
                    self.add(element);
                }
            }
            Value::Object(members) => {
                for (name, value) in members.literals() {
                    self.piece(Leaf::String(name), true);
                    self.text.push_str(match json::open(value) {
                        Value::String(_) | Value::Other => ": ",
                        _ => ":\n",
                    });
                    self.add(value);
                }
            }
            Value::Other => self.line(Leaf::Number(raw.get())),
        }
    }

    fn line(&mut self, leaf: Leaf<'j>) {
        self.piece(leaf, false);
        self.text.push('\n');
    }

    fn piece(&mut self, leaf: Leaf<'j>, names: bool) {
        let start = self.text.len();
        match leaf {
            Leaf::String(literal) => self.text.push_str(&literal.decode()),
            Leaf::Number(digits) => self.text.push_str(digits),
        }
        let at = start..self.text.len();
        self.pieces.push(Piece { at, leaf, names });
    }

    /// The edits to `json` that put `replacements` in their places, in order. One that reaches over several
    /// values stands in the first and empties the others, whose names stay; a number becomes a string.
    fn edits<'r>(
        &self,
        json: &str,
        replacements: impl IntoIterator<Item = (Range<usize>, &'r str)>,
    ) -> Vec<Edit> {
        let mut left: Vec<(Range<usize>, &str)> = replacements.into_iter().collect();
        let mut edits = Vec::new();
        let mut first = 0;
        for Piece { at, leaf, names } in &self.pieces {
            while left
                .get(first)
                .is_some_and(|(span, _)| span.end <= at.start)
            {
                first += 1;
            }
            let mut within = Vec::new();
            for (span, text) in &mut left[first..] {
                if span.start >= at.end {
                    break;
                }
                let cut = span.start.max(at.start)..span.end.min(at.end);
                let passes = *names && span.start < at.start;
                if cut.start < cut.end && !passes {
                    let local = cut.start - at.start..cut.end - at.start;
                    within.push((local, std::mem::take(text)));
                }
            }
            match leaf {
                _ if within.is_empty() => {}
                Leaf::String(literal) => edits.extend(literal.edits(json, within)),
                Leaf::Number(digits) => edits.push(Edit::quote(json, digits, &within)),
            }
        }
        edits.sort_by_key(|edit| edit.range.start);
        edits
    }
}

#[cfg(test)]
mod tests {
    use super::super::literal::apply;
    use super::*;

    fn replaced(passage: Passage<'_>, body: &str, found: &[(&str, &str)]) -> String {
        let said = passage.decode();
        let span = |part: &str| said.find(part).map(|at| at..at + part.len()).unwrap();
        let spans = found.iter().map(|(part, text)| (span(part), *text));
        apply(body, passage.edits(body, spans))
    }

    #[test]
    fn fields_are_lines_and_stay_json() {
        let body = r#"{"input": {"card": 4111, "who": {"name": "A\u0041"}, "all": ["x", 5, true]}, "b": 1}"#;
        let raw = &body[10..body.len() - 9];
        let passage = Passage::Fields(raw);
        assert_eq!(
            passage.decode(),
            "card: 4111\nwho:\nname: AA\nall:\nx\n5\ntrue\n"
        );
        let out = replaced(passage, body, &[("4111", "[CARD]"), ("AA", "[\"P\"]")]);
        assert_eq!(
            out,
            r#"{"input": {"card": "[CARD]", "who": {"name": "[\"P\"]"}, "all": ["x", 5, true]}, "b": 1}"#
        );
        // Over the end of a field.
        let out = replaced(passage, body, &[("11\nwho:\nname: A", "[X]")]);
        assert_eq!(
            out,
            r#"{"input": {"card": "41[X]", "who": {"name": "\u0041"}, "all": ["x", 5, true]}, "b": 1}"#
        );
    }

    #[test]
    fn a_string_of_json_is_read_as_its_fields() {
        let inner = r#"{"note": "a\nann@x.org", "card": 4111}"#;
        let body = serde_json::json!({ "arguments": inner }).to_string();
        let literal = Literal::quoted(&body[13..body.len() - 1]).unwrap();
        let passage = Passage::of_arguments(literal, 9);
        assert_eq!(passage.decode(), "note: a\nann@x.org\ncard: 4111\n");
        let out = replaced(passage, &body, &[("ann@x.org", "[EMAIL]"), ("4111", "[C]")]);
        let out: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(out["arguments"], r#"{"note": "a\n[EMAIL]", "card": "[C]"}"#);
        let place = passage.place(&body);
        assert_eq!(Passage::at(&body, &place), passage);
        let deep = format!("\"{}{}\"", "[".repeat(99_999), "]".repeat(99_999));
        for text in [r#""{""#, r#""see {x}""#, r#""""#, &deep] {
            let literal = Literal::quoted(text).unwrap();
            assert_eq!(Passage::of_arguments(literal, 9), Passage::Text(literal));
        }
    }
}
