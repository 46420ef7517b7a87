//! What is said in the bodies that clients and providers of language models exchange: where each text
//! stands, who speaks, and how a part of it is replaced without touching another byte.
//!
//! - [`json`] — values where they stand.
//! - [`literal`] — one string, and replacements in it.
//! - [`passage`] — a text: a string, or the fields of an object.
//! - [`path`] — paths as servers take them.
//! - [`format`] — the providers' formats, by path.
//! - [`texts`] — the texts of a whole body.
//! - [`items`] — messages, their parts, and calls of tools.
//! - [`part`] — what an object of these is.
//! - [`sse`] — the events of a body that streams.
//! - [`events`] — the texts of one.
//! - [`scan`] — all of them through the guard.

pub(super) mod events;
pub(super) mod format;
mod items;
mod json;
mod literal;
mod part;
mod passage;
mod path;
pub(super) mod scan;
pub(super) mod sse;
mod texts;

pub(super) use format::Format;
pub use format::Pointers;
pub(super) use literal::{Edit, Literal, apply};
pub(super) use part::speaker;
pub(super) use passage::{Passage, Place};
pub(super) use path::normalised;
pub(super) use texts::{Texts, Unreadable};
