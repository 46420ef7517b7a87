//! One half of an exchange, the request or the response: what of it was seen, and what becomes of its body.

use envoy_types::pb::envoy::service::ext_proc::v3::HeaderMutation;

use super::body::{Context, Refusal, WholeBody};
use super::reply;
use super::stream::EventStream;
use crate::api::chat::scan::Asked;
use crate::api::summary::Summary;

/// The request or the response.
pub(super) struct Half<'g> {
    pub(super) mode: Mode,
    pub(super) state: State,
    pub(super) filter: Filter<'g>,
    /// Headers that wait for the body, and what is to change in them.
    pub(super) headers: Option<HeaderMutation>,
    pub(super) summary: Summary,
    pub(super) refusal: Option<Refusal>,
}

/// How bodies come and are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Not at all.
    None,
    /// In parts, an answer to each.
    Streamed,
    /// At once.
    Buffered,
    /// In parts, answered with other parts.
    FullDuplex,
}

/// What of a half was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Nothing,
    Headers,
    All,
}

/// What becomes of a body.
pub(super) enum Filter<'g> {
    /// It passes as it is.
    Pass,
    /// It is read whole.
    Whole(WholeBody),
    /// It is read event by event.
    Events(Box<EventStream<'g>>),
    /// It has ended; what comes still is dropped.
    Cut,
}

impl Filter<'_> {
    /// Whether something was redacted that may come again.
    fn hides(&self) -> bool {
        matches!(self, Self::Events(events) if events.hides())
    }
}

/// What may pass of a body by now.
pub(super) enum Passes {
    /// What came.
    Same,
    /// These bytes.
    Bytes(Vec<u8>),
    /// These, and nothing more.
    Last(Vec<u8>),
}

impl Half<'_> {
    /// A half of which nothing was seen.
    pub(super) fn new() -> Self {
        Self {
            mode: Mode::Streamed,
            state: State::Nothing,
            filter: Filter::Pass,
            headers: None,
            summary: Summary::default(),
            refusal: None,
        }
    }

    /// Whether all that may pass of the body has been sent.
    pub(super) fn is_cut(&self) -> bool {
        matches!(self.filter, Filter::Cut)
    }

    /// Puts a part of the body, or its end, through its filter; a refusal where nothing of it may pass and
    /// nothing has.
    pub(super) async fn pass(
        &mut self,
        context: Context<'_>,
        asked: &Asked,
        fails_closed: bool,
        bytes: &[u8],
        ends: bool,
    ) -> Result<Passes, Refusal> {
        let filtered = match &mut self.filter {
            Filter::Pass => return Ok(Passes::Same),
            Filter::Cut => return Ok(Passes::Bytes(Vec::new())),
            Filter::Events(events) => {
                let passed = events.push(context, bytes, ends, &mut self.summary).await;
                passed.map(Passes::Bytes)
            }
            Filter::Whole(whole) => match whole.push(context, bytes) {
                Ok(()) if !ends => Ok(Passes::Bytes(Vec::new())),
                Ok(()) => {
                    let checked = whole.check(context, asked, &mut self.summary).await;
                    checked.map(|redacted| redacted.map_or(Passes::Same, Passes::Bytes))
                }
                Err(refusal) => Err(refusal),
            },
        };
        if filtered.is_ok() && !ends {
            return filtered;
        }
        let filter = std::mem::replace(&mut self.filter, Filter::Pass);
        let filtered = match filtered {
            Err(refusal) => {
                let closed = fails_closed || filter.hides();
                match refusal.waive(context.service, asked, closed).await {
                    Ok(waived) => {
                        self.refusal = Some(waived);
                        return Ok(Passes::Bytes(match filter {
                            Filter::Whole(whole) => whole.into_bytes(),
                            Filter::Events(events) => events.into_bytes(),
                            Filter::Pass | Filter::Cut => Vec::new(),
                        }));
                    }
                    Err(refusal) => Err(refusal),
                }
            }
            filtered => filtered,
        };
        match (filtered, filter) {
            // All of it, of which `bytes` was the last part.
            (Ok(Passes::Same), Filter::Whole(whole)) => Ok(Passes::Bytes(whole.into_bytes())),
            (Ok(Passes::Bytes(redacted)), Filter::Whole(_)) => {
                if let Some(change) = &mut self.headers {
                    let length = redacted.len().to_string();
                    let set = [("content-length", length.as_str())];
                    change.set_headers = reply::mutation(&set, &[]).set_headers;
                }
                Ok(Passes::Bytes(redacted))
            }
            (Ok(passes), _) => Ok(passes),
            (Err(refusal), Filter::Events(mut events)) => {
                // Its headers have gone out: all that is left is to end it.
                self.filter = Filter::Cut;
                let end = events.cut(&refusal);
                self.refusal = Some(refusal);
                Ok(Passes::Last(end))
            }
            (Err(refusal), _) => Err(refusal),
        }
    }
}
