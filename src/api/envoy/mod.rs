//! What Envoy calls: bodies of HTTP on their way between clients and models.
//!
//! - [`ext_proc`] — external processing: reads and rewrites requests and answers.
//! - [`ext_authz`] — external authorization: reads requests, and lets them pass or not.
//! - [`exchange`] — one HTTP exchange: its headers, bodies and trailers in order.
//! - [`opening`] — what the headers of a request decide.
//! - [`half`] — the request or the response: what becomes of its body.
//! - [`body`] — a body that is read whole.
//! - [`stream`] — a body that streams.
//! - [`encoding`] — bodies that are compressed.
//! - [`reply`] — answers as Envoy reads them.

mod body;
mod encoding;
mod exchange;
mod ext_authz;
mod ext_proc;
mod half;
mod opening;
mod reply;
mod stream;
mod strings;

pub(super) use ext_authz::ExtAuthz;
pub(super) use ext_proc::ExtProc;
