//! A text where it stands in a body: a string, or the fields of an object as lines.
//!
//! What a tool is called with says most by the names of its fields: `"ssn": 536228714` is a number without
//! its name. Such an object is read as lines of `name: value`, and what is redacted is put where it stands, so
//! that JSON stays JSON.

use std::borrow::Cow;
use std::ops::Range;

use super::json::{self, Token};
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
            Self::Quoted(literal) => Cow::Owned(lines(&literal.decode())),
            Self::Fields(json) => Cow::Owned(lines(json)),
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
                let edits = edits_of_lines(&json, replacements);
                let inner = edits.iter().map(|e| (e.range.clone(), e.text.as_str()));
                literal.edits(body, inner)
            }
            Self::Fields(json) => {
                let start = json.as_ptr() as usize - body.as_ptr() as usize;
                let edits = edits_of_lines(json, replacements).into_iter();
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
    let shallow = |raw| json::is_shallow(raw, depth);
    text.trim_start().starts_with(['{', '[']) && json::parse(text).is_ok_and(shallow)
}

/// The fields of an object, line by line.
fn lines(json: &str) -> String {
    let mut text = String::new();
    for Piece { leaf, behind, .. } in pieces(json) {
        text.push_str(&leaf.decode());
        text.push_str(behind);
    }
    text
}

/// The edits to `json` that put `replacements` (by bytes of its lines, in order) in their places. One that
/// reaches over several values stands in the first and empties the others, whose names stay; a number becomes
/// a string.
fn edits_of_lines<'r>(
    json: &str,
    replacements: impl IntoIterator<Item = (Range<usize>, &'r str)>,
) -> Vec<Edit> {
    let mut left: Vec<(Range<usize>, &str)> = replacements.into_iter().collect();
    let mut edits = Vec::new();
    let (mut first, mut end) = (0, 0);
    for Piece {
        leaf,
        names,
        behind,
    } in pieces(json)
    {
        let at = end..end + leaf.decode().len();
        end = at.end + behind.len();
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
            let passes = names && span.start < at.start;
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

/// A name or value, and what stands behind it in its line.
struct Piece<'j> {
    leaf: Leaf<'j>,
    names: bool,
    behind: &'static str,
}

#[derive(Clone, Copy)]
enum Leaf<'j> {
    String(Literal<'j>),
    Number(&'j str),
}

impl<'j> Leaf<'j> {
    fn decode(self) -> Cow<'j, str> {
        match self {
            Self::String(literal) => literal.decode(),
            Self::Number(digits) => Cow::Borrowed(digits),
        }
    }
}

/// What the lines of `json` are made of, in order.
fn pieces(json: &str) -> impl Iterator<Item = Piece<'_>> {
    let raw = json::parse(json).ok();
    let mut tokens = raw.map(json::tokens).into_iter().flatten().peekable();
    std::iter::from_fn(move || {
        loop {
            let (leaf, names) = match tokens.next()? {
                Token::Name(name) => (Leaf::String(name), true),
                Token::String(literal) => (Leaf::String(literal), false),
                Token::Other(digits) => (Leaf::Number(digits), false),
                Token::Open | Token::Close => continue,
            };
            let behind = match (names, tokens.peek()) {
                (false, _) => "\n",
                (true, Some(Token::Open)) => ":\n",
                (true, _) => ": ",
            };
            return Some(Piece {
                leaf,
                names,
                behind,
            });
        }
    })
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
