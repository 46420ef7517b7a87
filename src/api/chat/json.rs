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

/// The elements of `raw`; none where it is no array.
pub(super) fn elements(raw: &RawValue) -> Vec<&RawValue> {
    match open(raw) {
        Value::Array(elements) => elements,
        _ => Vec::new(),
    }
}

/// Every string within `raw`, up to `depth` levels deep, keys aside; none where it is deeper.
pub(super) fn strings_within(raw: &RawValue, depth: usize) -> Option<Vec<Literal<'_>>> {
    fn add<'b>(raw: &'b RawValue, depth: usize, found: &mut Vec<Literal<'b>>) -> Option<()> {
        let inner = depth.checked_sub(1)?;
        match open(raw) {
            Value::String(literal) => found.push(literal),
            Value::Array(elements) => {
                for element in elements {
                    add(element, inner, found)?;
                }
            }
            Value::Object(members) => {
                for value in members.values() {
                    add(value, inner, found)?;
                }
            }
            Value::Other => {}
        }
        Some(())
    }
    let mut found = Vec::new();
    add(raw, depth, &mut found).map(|()| found)
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

    /// Every key as it stands, with its value.
    pub(super) fn literals(&self) -> impl Iterator<Item = (Literal<'b>, &'b RawValue)> {
        self.0.iter().copied()
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
