//! JSON values where they stand in a body.
//!
//! A level is opened only when it is looked into, so that what nobody asks for costs its bytes once and
//! no depth of it matters. Keys that are given twice are both there: which of them another reader
//! takes, nobody knows.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::Literal;

/// A value, one level deep.
pub(super) enum Value<'b> {
    /// A string.
    String(Literal<'b>),
    /// Its elements.
    Array(Vec<&'b RawValue>),
    /// Its members, in order.
    Object(Members<'b>),
    /// A number, `true`, `false` or `null`.
    Other,
}

/// The members of an object.
#[derive(Default)]
pub(super) struct Members<'b>(Vec<(Literal<'b>, &'b RawValue)>);

/// The value that is the whole of `body`; says what is wrong where it is not JSON.
pub(super) fn parse(body: &str) -> Result<&RawValue, serde_json::Error> {
    serde_json::from_str(body)
}

/// What `raw` is.
pub(super) fn open(raw: &RawValue) -> Value<'_> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'"') => Literal::quoted(text).map_or(Value::Other, Value::String),
        Some(b'[') => serde_json::from_str(text).map_or(Value::Other, Value::Array),
        Some(b'{') => serde_json::from_str(text).map_or(Value::Other, Value::Object),
        _ => Value::Other,
    }
}

/// The members of `raw`; none where it is no object.
pub(super) fn members(raw: &RawValue) -> Members<'_> {
    match open(raw) {
        Value::Object(members) => members,
        _ => Members::default(),
    }
}

/// What a value is made of.
pub(super) enum Token<'b> {
    /// The name of a member.
    Name(Literal<'b>),
    /// A string.
    String(Literal<'b>),
    /// A number, `true`, `false` or `null`.
    Other(&'b str),
    /// An array or object begins.
    Open,
    /// It ends.
    Close,
}

/// What `raw` is made of, in order: one pass, however deep it is.
pub(super) fn tokens(raw: &RawValue) -> Tokens<'_> {
    Tokens(raw.get())
}

/// Whether `raw` is at most `depth` levels deep.
pub(super) fn is_shallow(raw: &RawValue, depth: usize) -> bool {
    let mut level = 0_usize;
    tokens(raw).all(|token| {
        match token {
            Token::Open => level += 1,
            Token::Close => level = level.saturating_sub(1),
            _ => {}
        }
        level <= depth
    })
}

/// Every string within `raw`, keys aside.
pub(super) fn strings_within(raw: &RawValue) -> impl Iterator<Item = Literal<'_>> {
    tokens(raw).filter_map(|token| match token {
        Token::String(literal) => Some(literal),
        _ => None,
    })
}

/// Whether `text`, a value, is a number.
pub(super) fn is_number(text: &str) -> bool {
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

/// The tokens of JSON that a parser has let pass.
pub(super) struct Tokens<'b>(&'b str);

const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

impl<'b> Iterator for Tokens<'b> {
    type Item = Token<'b>;

    fn next(&mut self) -> Option<Token<'b>> {
        let rest = self.0.trim_start_matches([' ', '\t', '\n', '\r', ',', ':']);
        let (token, behind) = match rest.as_bytes().first()? {
            b'[' | b'{' => (Token::Open, &rest[1..]),
            b']' | b'}' => (Token::Close, &rest[1..]),
            b'"' => {
                let (text, behind) = rest.split_at(end_of_string(rest)?);
                let literal = Literal::quoted(text)?;
                match behind.trim_start_matches(SPACE).starts_with(':') {
                    true => (Token::Name(literal), behind),
                    false => (Token::String(literal), behind),
                }
            }
            _ => {
                let end = rest.find([' ', '\t', '\n', '\r', ',', ']', '}']);
                let (text, behind) = rest.split_at(end.unwrap_or(rest.len()));
                (Token::Other(text), behind)
            }
        };
        self.0 = behind;
        Some(token)
    }
}

/// Where the string ends that `text` begins with.
fn end_of_string(text: &str) -> Option<usize> {
    let mut escaped = false;
    let inner = text.bytes().skip(1);
    let closes = |byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    };
    inner.map(closes).position(|closes| closes).map(|at| at + 2)
}

impl<'b> Members<'b> {
    /// Every value under `key`, in upper or lower case: some servers take either.
    pub(super) fn all(&self, key: &str) -> impl Iterator<Item = &'b RawValue> {
        let named = self.0.iter();
        let named = named.filter(move |(name, _)| name.decode().eq_ignore_ascii_case(key));
        named.map(|(_, value)| *value)
    }

    /// Every key with its value.
    pub(super) fn named(&self) -> impl Iterator<Item = (Cow<'_, str>, &'b RawValue)> {
        self.0.iter().map(|(name, value)| (name.decode(), *value))
    }

    /// The last value under `key`, which most readers take, if it is a string.
    pub(super) fn string(&self, key: &str) -> Option<String> {
        match open(self.all(key).last()?) {
            Value::String(literal) => Some(literal.decode().into_owned()),
            _ => None,
        }
    }

    /// The last value under `key`, if it is a whole number.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.all(key).last()?.get().parse().ok()
    }

    /// Every value, whatever its key.
    pub(super) fn values(&self) -> impl Iterator<Item = &'b RawValue> {
        self.0.iter().map(|(_, value)| *value)
    }
}

impl<'de: 'b, 'b> Deserialize<'de> for Members<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(key) = map.next_key::<&RawValue>()? {
                    let value = map.next_value()?;
                    members.extend(Literal::quoted(key.get()).map(|key| (key, value)));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_those_of_the_value() {
        let json = r#" {"a" : ["x\\", "\"]", 1.5e-3 , true], "b":{ }, "c\u0022":null } "#;
        let said: Vec<String> = tokens(parse(json).unwrap())
            .map(|token| match token {
                Token::Name(name) => format!("{}:", name.decode()),
                Token::String(text) => text.decode().into_owned(),
                Token::Other(text) => text.to_owned(),
                Token::Open => "<".into(),
                Token::Close => ">".into(),
            })
            .collect();
        let expected = [
            "<", "a:", "<", "x\\", "\"]", "1.5e-3", "true", ">", "b:", "<", ">", "c\":", "null",
            ">",
        ];
        assert_eq!(said, expected);
        assert!(is_shallow(parse("[[],[1]]").unwrap(), 2));
        assert!(!is_shallow(parse("[[],[[]]]").unwrap(), 2));
    }
}
