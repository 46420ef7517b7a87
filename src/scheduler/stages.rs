//! The spans of a job: it waits in the queue, then it is on the engine.

use tracing::{Span, trace_span};

/// Where a job is, for the trace of its request.
pub(super) struct Stages {
    request: Span,
    stage: Span,
}

impl Stages {
    /// A job that begins to wait, on behalf of the current span.
    pub(super) fn queue(windows: usize, tokens: usize) -> Self {
        Self {
            request: Span::current(),
            stage: trace_span!("queue", windows, tokens),
        }
    }

    /// Its first window runs.
    pub(super) fn engine(&mut self) {
        self.stage = trace_span!(parent: &self.request, "engine");
    }

    /// Its last window is done.
    pub(super) fn end(&mut self) {
        self.stage = Span::none();
        self.request = Span::none();
    }
}
