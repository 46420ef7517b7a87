//! What every protocol shares: the guard, the places for requests and streams, the deadline, and what is
//! counted and traced of each request.

use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use futures_util::future::try_join_all;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, Streaming};
use tracing::{Instrument, Span, field};

use super::TenantPolicies;
use super::authenticate::refused;
use super::gateway::CannotRedact;
use super::pb::v1::{RestoreRequest, RestoreResponse};
use super::status::{ApiError, RATE_LIMITED};
use crate::guard::{Action, Check, Guard, Limits, OutputCheck, Segment, Verdict};
use crate::ops::audit::Audit;
use crate::ops::auth::{Authenticator, Caller};
use crate::ops::rates::{self, Exhausted, Rates};
use crate::ops::traces::{self, Parent};

/// Checks that one request of many texts may become.
const MOST_CHECKS: usize = 64;

/// How much a server takes on at once.
#[derive(Debug, Clone)]
pub(super) struct ServiceLimits {
    /// Requests in flight.
    pub(super) max_in_flight: usize,
    /// Open streams.
    pub(super) max_streams: usize,
    /// Requests in flight on one stream; more wait unread.
    pub(super) stream_in_flight: usize,
    /// How long a stream may be silent.
    pub(super) stream_idle: Duration,
    /// Time for a request that names none.
    pub(super) default_deadline: Duration,
    /// The longest time a request may ask for; more is cut to it.
    pub(super) max_deadline: Duration,
    /// What becomes of what a policy redacts where a protocol cannot rewrite it.
    pub(super) cannot_redact: CannotRedact,
}

/// What holds for the tenants.
#[derive(Default)]
pub(super) struct Rules {
    pub(super) auth: Authenticator,
    pub(super) rates: Rates,
    pub(super) policies: TenantPolicies,
    pub(super) audit: Audit,
}

/// One server's state, shared by its protocols. Not ready until [`Service::serve`] was called. For a stream, until
/// when its caller's credentials count.
#[derive(Clone)]
pub(super) struct Service(Arc<State>, Option<SystemTime>);

/// A request's or a stream's place among those of the server, and of its tenant.
pub(super) struct Place {
    _one: OwnedSemaphorePermit,
    _own: Option<rates::Place>,
}

struct State {
    guard: OnceLock<Guard>,
    limits: ServiceLimits,
    rules: Rules,
    in_flight: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    leaving: CancellationToken,
    draining: CancellationToken,
}

impl Service {
    /// A service that is still loading; it is not ready from `leaving` on, and `draining` ends its streams.
    #[must_use]
    pub(super) fn new(
        limits: ServiceLimits,
        rules: Rules,
        leaving: CancellationToken,
        draining: CancellationToken,
    ) -> Self {
        let state = State {
            guard: OnceLock::new(),
            rules,
            in_flight: Arc::new(Semaphore::new(limits.max_in_flight)),
            streams: Arc::new(Semaphore::new(limits.max_streams)),
            limits,
            leaving,
            draining,
        };
        Self(Arc::new(state), None)
    }

    /// The same for a caller's stream.
    pub(super) fn of(&self, caller: &Caller) -> Self {
        Self(self.0.clone(), caller.until)
    }

    /// Starts answering with `guard`. Later calls change nothing.
    pub(super) fn serve(&self, guard: Guard) {
        let _ = self.0.guard.set(guard);
    }

    /// Whether no request is under way. Streams count by their requests.
    #[must_use]
    pub(super) fn is_idle(&self) -> bool {
        let all = |s: &Semaphore, places| s.available_permits() == places;
        all(&self.0.in_flight, self.0.limits.max_in_flight)
            && all(&self.0.streams, self.0.limits.max_streams)
    }

    /// The guard, once it serves.
    #[must_use]
    pub(super) fn guard(&self) -> Option<&Guard> {
        self.0.guard.get()
    }

    pub(super) fn limits(&self) -> &ServiceLimits {
        &self.0.limits
    }

    /// Ends once the server drains.
    pub(super) async fn draining(&self) {
        self.0.draining.cancelled().await;
    }

    /// Whether the server is shutting down.
    pub(super) fn is_leaving(&self) -> bool {
        self.0.leaving.is_cancelled()
    }

    /// Whether `id` can name a request or a conversation.
    pub(super) fn usable(&self, id: &str) -> bool {
        let most = self.guard().map_or(0, |guard| guard.limits().max_id_bytes);
        (1..=most).contains(&id.len()) && !id.contains(char::is_control)
    }

    /// The name a caller gives a request, or one of ours where it gives none that can be used.
    pub(super) fn name(&self, given: Option<&str>) -> String {
        let given = given.filter(|id| self.usable(id));
        given.map_or_else(fresh_id, str::to_owned)
    }

    /// The next message of a stream, or the error that it was silent for too long.
    pub(super) async fn next<T>(&self, messages: &mut Streaming<T>) -> Result<Option<T>, ApiError> {
        self.unless_idle(message(messages)).await?
    }

    /// What comes on a stream, or the error that it was silent for too long.
    pub(super) async fn unless_idle<T>(
        &self,
        comes: impl Future<Output = T>,
    ) -> Result<T, ApiError> {
        let idle = self.0.limits.stream_idle;
        tokio::time::timeout(idle, comes).await.map_err(|_| {
            let silent = format!("nothing came on the stream for {idle:?}");
            ApiError::new(Code::DeadlineExceeded, "IDLE", silent)
        })
    }

    /// The guard, or the error that it is still loading.
    pub(super) fn ready(&self) -> Result<&Guard, ApiError> {
        self.guard()
            .ok_or_else(|| ApiError::new(Code::Unavailable, "NOT_READY", "still loading"))
    }

    /// A place for one request.
    pub(super) fn permit(&self, tenant: &Arc<str>) -> Result<Place, ApiError> {
        let own = self.0.rules.rates.request(tenant).map_err(rate_limited)?;
        let one = self.0.in_flight.clone().try_acquire_owned();
        let one = one.map_err(|_| full("requests", self.0.limits.max_in_flight))?;
        Ok(Place {
            _one: one,
            _own: own,
        })
    }

    /// A place for one stream.
    pub(super) fn stream_place(&self, tenant: &Arc<str>) -> Result<Place, ApiError> {
        let own = self.0.rules.rates.stream(tenant).map_err(rate_limited)?;
        let one = self.0.streams.clone().try_acquire_owned();
        let one = one.map_err(|_| full("streams", self.0.limits.max_streams))?;
        Ok(Place {
            _one: one,
            _own: own,
        })
    }

    /// When a request that allows `timeout`, or says nothing, must be answered.
    pub(super) fn deadline(&self, arrived: Instant, timeout: Option<Duration>) -> Instant {
        let limits = &self.0.limits;
        arrived
            + timeout
                .unwrap_or(limits.default_deadline)
                .min(limits.max_deadline)
    }

    /// Takes so many checks and bytes of text from what the tenant may ask for, unless it is turned away by now, or
    /// its credentials have ended: its streams may have been open before.
    pub(super) fn charge(
        &self,
        tenant: &Arc<str>,
        checks: u32,
        bytes: usize,
    ) -> Result<(), ApiError> {
        let rules = &self.0.rules;
        let still = rules.auth.expect_still(tenant, self.1);
        still.map_err(refused)?;
        let charged = rules.rates.charge(tenant, checks, bytes);
        charged.map_err(rate_limited)
    }

    /// Counts a verdict on these texts, or on one that was streamed, and puts it on record.
    pub(super) async fn record(
        &self,
        tenant: &str,
        segments: &[Segment],
        verdict: &Verdict,
    ) -> Result<(), ApiError> {
        self.record_by(tenant, segments, verdict, None).await
    }

    /// The same where somebody waits until `deadline`.
    async fn record_by(
        &self,
        tenant: &str,
        segments: &[Segment],
        verdict: &Verdict,
        deadline: Option<Instant>,
    ) -> Result<(), ApiError> {
        metrics::counter!(
            "portcullis_verdicts_total", "policy" => verdict.policy.clone(),
            "action" => verdict.action.name(), "outcome" => verdict.outcome.name()
        )
        .increment(1);
        Ok(self
            .0
            .rules
            .audit
            .verdict(tenant, segments, verdict, deadline)
            .await?)
    }

    /// Puts on record that a text begins to stream: a stream of which no verdict follows was broken off.
    pub(super) async fn begins(&self, asked: &OutputCheck) -> Result<(), ApiError> {
        let details = json!({
            "tenant": &*asked.tenant, "request": asked.id, "policy": asked.policy, "role": asked.role,
        });
        Ok(self.0.rules.audit.event("stream", details).await?)
    }

    /// Puts on record that something passes unread, and why: it does not where that cannot be recorded.
    pub(super) async fn passes_unread(
        &self,
        tenant: &str,
        request: &str,
        why: &str,
    ) -> Result<(), ApiError> {
        let details = json!({"tenant": tenant, "request": request, "reason": why});
        Ok(self.0.rules.audit.event("unscanned", details).await?)
    }

    /// Puts on record that a stream was broken off, and why.
    pub(super) fn broke_off(&self, tenant: &str, request: &str, why: &str) {
        let details = json!({"tenant": tenant, "request": request, "reason": why});
        self.0.rules.audit.note("stream_failed", details);
    }

    /// Puts in place of `asked` the policy that the tenant gets, which leaves it empty where it does not choose.
    pub(super) fn choose(&self, tenant: &str, asked: &mut String) -> Result<(), ApiError> {
        self.0.rules.policies.apply(tenant, asked)
    }

    /// One check, and what its pseudonyms can be restored with (empty where there are none).
    pub(super) async fn check(&self, mut check: Check) -> Result<(Verdict, Vec<u8>), ApiError> {
        let guard = self.ready()?;
        self.0.rules.policies.apply_to(&mut check)?;
        let bytes = check.segments.iter().map(|s| s.text.len()).sum();
        self.charge(&check.tenant, 1, bytes)?;
        let verdict = unwinding(async { Ok(guard.check(&check).await?) }).await?;
        let deadline = Some(check.deadline);
        self.record_by(&check.tenant, &check.segments, &verdict, deadline)
            .await?;
        Span::current()
            .record("portcullis.tenant", &*check.tenant)
            .record("portcullis.outcome", field::debug(verdict.outcome))
            .record("portcullis.action", field::debug(verdict.action))
            .record("portcullis.findings", verdict.findings.len());
        tracing::debug!(
            request = %check.id,
            tenant = %check.tenant,
            outcome = ?verdict.outcome,
            action = ?verdict.action,
            findings = verdict.findings.len(),
            total_us = verdict.timings.total.as_micros() as u64,
            "checked"
        );
        let token = guard.seal(&check.tenant, &verdict)?.unwrap_or_default();
        Ok((verdict, token))
    }

    /// A text with what its pseudonyms stand for.
    pub(super) async fn restore(
        &self,
        tenant: &Arc<str>,
        request: &RestoreRequest,
    ) -> Result<RestoreResponse, ApiError> {
        let guard = self.ready()?;
        self.charge(tenant, 1, request.text.len())?;
        let (text, restored) = guard.restore(tenant, &request.token, &request.text)?;
        let details = json!({"tenant": &**tenant, "restored": restored});
        self.0.rules.audit.event("restored", details).await?;
        Ok(RestoreResponse {
            text,
            restored: restored as u32,
        })
    }

    /// Several checks at once, none of which knows of the others; all of them or none.
    pub(super) async fn check_each(&self, checks: Vec<Check>) -> Result<Vec<Verdict>, ApiError> {
        let all = checks.into_iter();
        try_join_all(all.map(async |check| Ok(self.check(check).await?.0))).await
    }

    /// A check of more segments, or bytes of text, than one may have, in as many as it takes, one after
    /// the other until one blocks; each verdict comes with the index of its first segment. None for no
    /// segment.
    pub(super) async fn check_long(
        &self,
        mut check: Check,
    ) -> Result<Vec<(usize, Verdict)>, ApiError> {
        self.0.rules.policies.apply_to(&mut check)?;
        let limits = self.ready()?.limits_of(&check.selection)?;
        let segments = std::mem::take(&mut check.segments);
        let parts = in_parts(&segments, &limits);
        if parts.len() > MOST_CHECKS {
            let (count, needed) = (segments.len(), parts.len());
            let problem =
                format!("{count} are given, which is {needed} checks; at most {MOST_CHECKS}");
            return Err(ApiError::invalid("texts", problem));
        }
        let mut verdicts = Vec::with_capacity(parts.len());
        for part in parts {
            let first = part.start;
            let part = Check {
                segments: segments[part].to_vec(),
                ..check.clone()
            };
            let (verdict, _) = self.check(part).await?;
            let blocked = verdict.action == Action::Block;
            verdicts.push((first, verdict));
            if blocked {
                break;
            }
        }
        Ok(verdicts)
    }
}

/// Runs of segments that one check may have each; a text beyond the limit alone, to be refused by it.
fn in_parts(segments: &[Segment], limits: &Limits) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut first = 0;
    while first < segments.len() {
        let mut bytes = 0;
        let rest = segments[first..].iter().take(limits.max_segments);
        let fits = rest.take_while(|segment| {
            bytes += segment.text.len();
            bytes <= limits.max_text_bytes
        });
        let end = first + fits.count().max(1);
        parts.push(first..end);
        first = end;
    }
    parts
}

/// A panic as an error: it would take every other call on the connection with it.
pub(super) async fn unwinding<T>(
    work: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let done = AssertUnwindSafe(work).catch_unwind().await;
    done.unwrap_or_else(|_| {
        let panicked = "the check panicked";
        Err(ApiError::new(Code::Internal, "INTERNAL", panicked))
    })
}

/// A name for a request that has none.
pub(super) fn fresh_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Counts, times and traces a request, whatever becomes of it.
pub(super) struct Timed {
    method: &'static str,
    start: Instant,
    code: Option<Code>,
    span: Span,
}

impl Timed {
    pub(super) fn new(method: &'static str, parent: &Parent) -> Self {
        Self {
            method,
            span: traces::check_span(method, parent),
            start: Instant::now(),
            code: None,
        }
    }

    pub(super) async fn run<T>(
        mut self,
        work: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let result = work.instrument(self.span.clone()).await;
        match &result {
            Ok(_) => self.code = Some(Code::Ok),
            Err(error) => self.failed(error),
        }
        result
    }

    /// Ends a stream that is refused before it begins.
    pub(super) fn refuse(mut self, error: ApiError) -> Status {
        self.failed(&error);
        error.into_status()
    }

    fn failed(&mut self, error: &ApiError) {
        self.code = Some(error.code);
        let (method, code, reason) = (self.method, error.code, error.reason);
        tracing::debug!(method, ?code, reason, "refused");
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        // No code: the caller went away before there was an answer.
        let code = self.code.unwrap_or(Code::Cancelled);
        traces::ended(&self.span, code);
        metrics::counter!(
            "portcullis_requests_total",
            "method" => self.method, "code" => format!("{code:?}")
        )
        .increment(1);
        metrics::histogram!("portcullis_request_seconds", "method" => self.method)
            .record(self.start.elapsed().as_secs_f64());
    }
}

/// A tenant asks for more than it may.
fn rate_limited(error: Exhausted) -> ApiError {
    metrics::counter!("portcullis_refused_total", "reason" => "rate").increment(1);
    let mut refused = ApiError::new(Code::ResourceExhausted, RATE_LIMITED, error.to_string());
    refused.retry_after = Some(error.retry_after());
    refused
}

/// There is no place for one more.
pub(super) fn full(what: &'static str, limit: usize) -> ApiError {
    metrics::counter!("portcullis_refused_total", "reason" => what).increment(1);
    ApiError::too_many(what, limit)
}

/// The next message of a stream, however long it takes. Where the caller has broken it off, the error is
/// `CANCELLED`.
pub(super) async fn message<T>(messages: &mut Streaming<T>) -> Result<Option<T>, ApiError> {
    let message = messages.message().await;
    message.map_err(|status| {
        // What cannot be decoded is a status alone; beneath others lies what became of the connection.
        let (code, reason) = match std::error::Error::source(&status) {
            Some(_) => (Code::Cancelled, "BROKEN_OFF"),
            None => (status.code(), "INVALID_REQUEST"),
        };
        ApiError::new(code, reason, status.message())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::Role;

    #[test]
    fn parts_hold_every_segment_once_within_both_limits() {
        let segments: Vec<Segment> = [3, 4, 9, 30, 1, 1, 1, 1, 10]
            .map(|bytes| Segment {
                role: Role::User,
                text: "x".repeat(bytes).into(),
                id: None,
            })
            .into();
        let limits = Limits {
            max_text_bytes: 10,
            max_segments: 3,
            ..Limits::default()
        };
        let parts = in_parts(&segments, &limits);
        assert_eq!(parts, [0..2, 2..3, 3..4, 4..7, 7..8, 8..9]);
        assert!(in_parts(&[], &limits).is_empty());
    }
}
