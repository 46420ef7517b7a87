//! `portcullis.v1.GuardService`.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::mpsc::{self, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Extensions, Request, Response, Status, Streaming};
use tracing::{Instrument, Span, field};

use super::pb::v1::guard_service_server::GuardService;
use super::pb::v1::{
    CheckRequest, CheckResponse, CheckStreamRequest, CheckStreamResponse, GuardOutputRequest,
    GuardOutputResponse, ListDetectorsRequest, ListDetectorsResponse, RestoreRequest,
    RestoreResponse, check_stream_response, guard_output_request, guard_output_response,
};
use super::status::ApiError;
use super::{convert, deadline};
use crate::guard::{Guard, OutputGuard};
use crate::ops::auth::Tenant;
use crate::ops::traces::{self, Parent};

/// How much a server takes on at once.
#[derive(Debug, Clone)]
pub struct ServiceLimits {
    /// Requests in flight.
    pub max_in_flight: usize,
    /// Open streams.
    pub max_streams: usize,
    /// Requests in flight on one stream; more wait unread.
    pub stream_in_flight: usize,
    /// Time for a request that names none.
    pub default_deadline: Duration,
    /// The longest time a request may ask for; more is cut to it.
    pub max_deadline: Duration,
}

/// The service. Not ready until [`GuardApi::serve`] was called.
#[derive(Clone)]
pub struct GuardApi(Arc<State>);

struct State {
    guard: OnceLock<Guard>,
    limits: ServiceLimits,
    in_flight: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    draining: CancellationToken,
}

impl GuardApi {
    /// A service that is still loading; `draining` ends its streams.
    #[must_use]
    pub fn new(limits: ServiceLimits, draining: CancellationToken) -> Self {
        Self(Arc::new(State {
            guard: OnceLock::new(),
            in_flight: Arc::new(Semaphore::new(limits.max_in_flight)),
            streams: Arc::new(Semaphore::new(limits.max_streams)),
            limits,
            draining,
        }))
    }

    /// Starts answering with `guard`. Later calls change nothing.
    pub fn serve(&self, guard: Guard) {
        let _ = self.0.guard.set(guard);
    }

    /// Whether no request is under way. Streams count by their requests.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        let all = |s: &Semaphore, places| s.available_permits() == places;
        all(&self.0.in_flight, self.0.limits.max_in_flight)
            && all(&self.0.streams, self.0.limits.max_streams)
    }

    /// The guard, once it serves.
    #[must_use]
    pub fn guard(&self) -> Option<&Guard> {
        self.0.guard.get()
    }
}

impl State {
    fn ready(&self) -> Result<&Guard, ApiError> {
        self.guard
            .get()
            .ok_or_else(|| ApiError::new(Code::Unavailable, "NOT_READY", "still loading"))
    }

    /// One check, from its message to the answer.
    async fn check(
        &self,
        request: CheckRequest,
        tenant: Arc<str>,
        deadline: Instant,
    ) -> Result<CheckResponse, ApiError> {
        let guard = self.ready()?;
        let utf16 = request.utf16_offsets;
        let check = convert::check(request, tenant, deadline, fresh_id)?;
        // A panic would take every other call on the connection with it.
        let verdict = AssertUnwindSafe(guard.check(&check)).catch_unwind().await;
        let verdict = verdict
            .map_err(|_| ApiError::new(Code::Internal, "INTERNAL", "the check panicked"))??;
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
        Ok(convert::verdict(verdict, token, utf16))
    }

    fn permit(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let permit = self.in_flight.clone().try_acquire_owned();
        permit.map_err(|_| ApiError::too_many("requests", self.limits.max_in_flight))
    }

    fn stream_place(&self) -> Result<OwnedSemaphorePermit, ApiError> {
        let place = self.streams.clone().try_acquire_owned();
        place.map_err(|_| ApiError::too_many("streams", self.limits.max_streams))
    }

    /// The answer to a request of a stream that finds no place.
    fn too_many(&self, message: CheckStreamRequest) -> CheckStreamResponse {
        let error = ApiError::too_many("requests", self.limits.max_in_flight);
        CheckStreamResponse {
            id: message.id.chars().take(MAX_ID).collect(),
            result: Some(check_stream_response::Result::Error(error.into_message())),
        }
    }

    /// One request of a stream, errors included.
    async fn answer(
        &self,
        message: CheckStreamRequest,
        tenant: Arc<str>,
        parent: &Parent,
        arrived: Instant,
    ) -> CheckStreamResponse {
        // What is too long for an id is not repeated whole.
        let id: String = message.id.chars().take(MAX_ID).collect();
        let result =
            Timed::new("CheckStream", parent).run(self.answer_inner(message, tenant, arrived));
        let result = match result.await {
            Ok(response) => check_stream_response::Result::Response(response),
            Err(error) => check_stream_response::Result::Error(error.into_message()),
        };
        CheckStreamResponse {
            id,
            result: Some(result),
        }
    }

    async fn answer_inner(
        &self,
        message: CheckStreamRequest,
        tenant: Arc<str>,
        arrived: Instant,
    ) -> Result<CheckResponse, ApiError> {
        if message.id.len() > MAX_ID {
            let problem = format!("has {} bytes; at most {MAX_ID}", message.id.len());
            return Err(ApiError::invalid("id", problem));
        }
        let request = message
            .request
            .ok_or_else(|| ApiError::invalid("request", "is missing"))?;
        let timeout = match message.timeout {
            None => self.limits.default_deadline,
            Some(timeout) if timeout.seconds < 0 || timeout.nanos < 0 => {
                return Err(ApiError::invalid("timeout", "is negative"));
            }
            Some(timeout) => Duration::try_from(timeout)
                .map_err(|_| ApiError::invalid("timeout", "is out of range"))?,
        };
        let deadline = arrived + timeout.min(self.limits.max_deadline);
        self.check(request, tenant, deadline).await
    }
}

/// Bytes of an id inside a stream.
const MAX_ID: usize = 128;

fn tenant(extensions: &Extensions) -> Arc<str> {
    extensions
        .get::<Tenant>()
        .map_or_else(|| Tenant::anonymous().0, |t| t.0.clone())
}

fn fresh_id() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[tonic::async_trait]
impl GuardService for GuardApi {
    type CheckStreamStream = ReceiverStream<Result<CheckStreamResponse, Status>>;

    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        let arrived = Instant::now();
        let parent = traces::parent(request.metadata());
        let work = async {
            let _permit = self.0.permit()?;
            let timeout = deadline::timeout(request.metadata())
                .map_err(|problem| ApiError::invalid("grpc-timeout", problem))?
                .unwrap_or(self.0.limits.default_deadline)
                .min(self.0.limits.max_deadline);
            let tenant = tenant(request.extensions());
            self.0
                .check(request.into_inner(), tenant, arrived + timeout)
                .await
        };
        let result = Timed::new("Check", &parent).run(work).await;
        result.map(Response::new).map_err(ApiError::into_status)
    }

    async fn check_stream(
        &self,
        request: Request<Streaming<CheckStreamRequest>>,
    ) -> Result<Response<Self::CheckStreamStream>, Status> {
        let permit = self.0.stream_place().map_err(ApiError::into_status)?;
        let tenant = tenant(request.extensions());
        let parent = traces::parent(request.metadata());
        // A reader that is slow holds its own places, not a queue of answers.
        let (answers, receiver) = mpsc::channel(1);
        let state = self.0.clone();
        tokio::spawn(async move {
            let _permit = permit;
            answer_stream(&state, request.into_inner(), tenant, parent, answers).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    type GuardOutputStream = ReceiverStream<Result<GuardOutputResponse, Status>>;

    async fn guard_output(
        &self,
        request: Request<Streaming<GuardOutputRequest>>,
    ) -> Result<Response<Self::GuardOutputStream>, Status> {
        let place = self.0.stream_place().map_err(ApiError::into_status)?;
        let tenant = tenant(request.extensions());
        let parent = traces::parent(request.metadata());
        let (answers, receiver) = mpsc::channel(1);
        let state = self.0.clone();
        tokio::spawn(async move {
            let _place = place;
            let work = guard_output(&state, request.into_inner(), tenant, &answers);
            let work = AssertUnwindSafe(work).catch_unwind();
            let work = work.map(|done| {
                done.unwrap_or_else(|_| {
                    Err(ApiError::new(
                        Code::Internal,
                        "INTERNAL",
                        "the check panicked",
                    ))
                })
            });
            if let Err(error) = Timed::new("GuardOutput", &parent).run(work).await {
                let _ = answers.send(Err(error.into_status())).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn restore(
        &self,
        request: Request<RestoreRequest>,
    ) -> Result<Response<RestoreResponse>, Status> {
        let tenant = tenant(request.extensions());
        let parent = traces::parent(request.metadata());
        let RestoreRequest { token, text } = request.into_inner();
        let work = async {
            let guard = self.0.ready()?;
            let _permit = self.0.permit()?;
            let (text, restored) = guard.restore(&tenant, &token, &text)?;
            Ok(RestoreResponse {
                text,
                restored: restored as u32,
            })
        };
        let restored = Timed::new("Restore", &parent).run(work).await;
        restored.map(Response::new).map_err(ApiError::into_status)
    }

    async fn list_detectors(
        &self,
        _request: Request<ListDetectorsRequest>,
    ) -> Result<Response<ListDetectorsResponse>, Status> {
        let guard = self.0.ready().map_err(ApiError::into_status)?;
        Ok(Response::new(convert::offers(guard)))
    }
}

/// Reads requests while fewer than the limit are in flight, and answers each as it is done. Ends
/// when the caller half-closes, breaks off, or the server drains; what was read is answered, unless
/// the caller has gone, whose work is dropped.
async fn answer_stream(
    state: &Arc<State>,
    mut requests: Streaming<CheckStreamRequest>,
    tenant: Arc<str>,
    parent: Parent,
    answers: Sender<Result<CheckStreamResponse, Status>>,
) {
    let mut tasks = JoinSet::new();
    let end = loop {
        tokio::select! {
            () = answers.closed() => return, // dropping the tasks withdraws their work
            () = state.draining.cancelled() => {
                let error = ApiError::new(Code::Unavailable, "NOT_READY", "the server is shutting down");
                break Some(error.into_status());
            }
            message = requests.message(), if tasks.len() < state.limits.stream_in_flight => {
                match message {
                    Ok(Some(message)) => {
                        let (state, tenant) = (state.clone(), tenant.clone());
                        let (parent, answers) = (parent.clone(), answers.clone());
                        let arrived = Instant::now();
                        tasks.spawn(async move {
                            let permit = state.permit();
                            let answer = match &permit {
                                Ok(_) => state.answer(message, tenant, &parent, arrived).await,
                                Err(_) => state.too_many(message),
                            };
                            let _ = answers.send(Ok(answer)).await;
                        });
                    }
                    Ok(None) => break None,
                    Err(status) => break Some(status),
                }
            }
            Some(_) = tasks.join_next(), if !tasks.is_empty() => {}
        }
    };
    while !tasks.is_empty() {
        tokio::select! {
            () = answers.closed() => return,
            _ = tasks.join_next() => {}
        }
    }
    if let Some(status) = end {
        let _ = answers.send(Err(status)).await;
    }
}

/// Guards one text from its first message to its verdict. Ends when the caller breaks off.
async fn guard_output(
    state: &State,
    mut requests: Streaming<GuardOutputRequest>,
    tenant: Arc<str>,
    answers: &Sender<Result<GuardOutputResponse, Status>>,
) -> Result<(), ApiError> {
    use guard_output_request::Message as Asked;
    use guard_output_response::Message as Said;
    let guard = state.ready()?;
    let _permit = state.permit()?;
    let say = async |message: Said| {
        let message = GuardOutputResponse {
            message: Some(message),
        };
        answers.send(Ok(message)).await.is_ok()
    };
    let mut next = async || {
        tokio::select! {
            () = answers.closed() => Ok(None),
            () = state.draining.cancelled() => {
                Err(ApiError::new(Code::Unavailable, "NOT_READY", "the server is shutting down"))
            }
            message = requests.message() => {
                message.map_err(|s| ApiError::new(s.code(), "INVALID_REQUEST", s.message()))
            }
        }
    };
    let first = next().await?.and_then(|m| m.message);
    let Some(Asked::Start(start)) = first else {
        return Err(ApiError::invalid("start", "must be the first message"));
    };
    let utf16 = start.utf16_offsets;
    let timeout = state.limits.default_deadline;
    let asked = convert::output_check(start, tenant.clone(), timeout, fresh_id)?;
    let mut output = OutputGuard::new(guard, asked)?;
    while !output.blocked() {
        let chunk = match next().await?.map(|m| m.message) {
            None => break,
            Some(Some(Asked::Chunk(chunk))) => chunk,
            Some(_) => return Err(ApiError::invalid("chunk", "is missing")),
        };
        let text = output.push(&chunk).await?;
        if !text.is_empty() && !say(Said::Text(text)).await {
            return Ok(());
        }
    }
    if answers.is_closed() {
        return Ok(());
    }
    let (rest, verdict) = output.finish().await;
    if !rest.is_empty() && !say(Said::Text(rest)).await {
        return Ok(());
    }
    let token = guard.seal(&tenant, &verdict)?.unwrap_or_default();
    say(Said::Verdict(convert::verdict(verdict, token, utf16))).await;
    Ok(())
}

/// Counts, times and traces a request, whatever becomes of it.
struct Timed {
    method: &'static str,
    start: Instant,
    code: Option<Code>,
    span: Span,
}

impl Timed {
    fn new(method: &'static str, parent: &Parent) -> Self {
        Self {
            method,
            span: traces::check_span(method, parent),
            start: Instant::now(),
            code: None,
        }
    }

    async fn run<T>(
        mut self,
        work: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let result = work.instrument(self.span.clone()).await;
        self.code = Some(result.as_ref().map_or_else(|e| e.code, |_| Code::Ok));
        if let Err(error) = &result {
            let (method, code, reason) = (self.method, error.code, error.reason);
            tracing::debug!(method, ?code, reason, "refused");
        }
        result
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
