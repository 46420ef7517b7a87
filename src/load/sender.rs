//! One request: sent, timed, its fate named.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::Recorder;
use crate::api::pb::v1::guard_service_client::GuardServiceClient;
use crate::api::pb::v1::{CheckRequest, Outcome};

/// Largest answer that is read.
const MAX_ANSWER: usize = 64 << 20;

/// Sends requests one after the other, from the first again after the last; clones share the place.
#[derive(Clone)]
pub struct Sender(Arc<Inner>);

struct Inner {
    clients: Vec<GuardServiceClient<Channel>>,
    key: Option<MetadataValue<Ascii>>,
    requests: Vec<CheckRequest>,
    timeout: Duration,
    next: AtomicUsize,
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// A complete verdict.
    Good,
    /// A verdict that is not complete.
    Unfinished,
    /// No verdict.
    Failed {
        /// The status.
        code: Code,
        /// Its `ErrorInfo` reason; empty without one.
        reason: String,
    },
}

impl Sender {
    /// Sends `requests` over `channels` in turn, each with `timeout` from when it was due, and `key`
    /// as `authorization`. None where there is no channel or no request.
    #[must_use]
    pub fn new(
        channels: Vec<Channel>,
        key: Option<MetadataValue<Ascii>>,
        requests: Vec<CheckRequest>,
        timeout: Duration,
    ) -> Option<Self> {
        if channels.is_empty() || requests.is_empty() {
            return None;
        }
        let client = |c| GuardServiceClient::new(c).max_decoding_message_size(MAX_ANSWER);
        Some(Self(Arc::new(Inner {
            clients: channels.into_iter().map(client).collect(),
            key,
            requests,
            timeout,
            next: AtomicUsize::new(0),
        })))
    }

    /// Sends the next request, which was due at `due`, and records its fate.
    pub async fn send(&self, due: Instant, recorder: &Recorder) {
        let inner = &*self.0;
        let i = inner.next.fetch_add(1, Ordering::Relaxed);
        let body = &inner.requests[i % inner.requests.len()];
        let bytes = body.segments.iter().map(|s| s.text.len()).sum();
        let mut request = Request::new(body.clone());
        let lag = due.elapsed();
        request.set_timeout(inner.timeout.saturating_sub(lag));
        if let Some(key) = &inner.key {
            request.metadata_mut().insert("authorization", key.clone());
        }
        recorder.sent(lag);
        let mut client = inner.clients[i % inner.clients.len()].clone();
        let fate = match client.check(request).await {
            Ok(answer) if answer.get_ref().outcome() == Outcome::Complete => Fate::Good,
            Ok(_) => Fate::Unfinished,
            Err(status) => failed(&status),
        };
        recorder.done(due.elapsed(), bytes, fate);
    }
}

fn failed(status: &Status) -> Fate {
    Fate::Failed {
        code: status.code(),
        reason: status
            .get_details_error_info()
            .map(|info| info.reason)
            .unwrap_or_default(),
    }
}
