//! What Envoy calls: bodies of HTTP on their way between clients and models.
//!
//! - [`ext_proc`] — external processing: reads and rewrites requests and answers.
//! - [`ext_authz`] — external authorization: reads requests, and lets them pass or not.
//! - [`exchange`] — one HTTP exchange: its headers, bodies and trailers in order.
//! - [`body`] — a body that is read whole.
//! - [`stream`] — a body that streams.
//! - [`encoding`] — bodies that are compressed.
//! - [`reply`] — answers as Envoy reads them.

mod body;
mod encoding;
mod exchange;
mod ext_authz;
mod ext_proc;
mod reply;
mod stream;

pub(super) use ext_authz::ExtAuthz;
pub(super) use ext_proc::ExtProc;
