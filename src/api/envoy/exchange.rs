//! One HTTP exchange, as Envoy tells of it: request headers, body and trailers, then those of the response.
//!
//! In `FULL_DUPLEX_STREAMED` mode the headers of what is read whole wait until it was checked; in the
//! other modes every message is answered at once.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{HeaderMap, Metadata};
use envoy_types::pb::envoy::service::ext_proc::v3::processing_request::Request;
use envoy_types::pb::envoy::service::ext_proc::v3::{
    HeaderMutation, HttpHeaders, ProcessingRequest, ProcessingResponse, ProtocolConfiguration,
};
use envoy_types::pb::google::protobuf::value::Kind;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::Sender;
use tonic::{Code, Status, Streaming};

use super::body::{Context, Direction, Refusal, WholeBody};
use super::encoding::Encoding;
use super::reply::{self, NAMESPACE, header};
use super::stream::EventStream;
use crate::api::chat::scan::{Asked, Summary};
use crate::api::chat::{Format, normalised};
use crate::api::gateway::{GatewayConfig, UnknownPaths};
use crate::api::service::{Service, fresh_id};
use crate::api::status::ApiError;
use crate::guard::{Guard, OnError};

/// An exchange under way.
pub(super) struct Exchange<'s> {
    context: Context<'s>,
    guard: &'s Guard,
    asked: Asked,
    /// How the bodies are read; not at all where none is known.
    format: Option<Format>,
    fails_closed: bool,
    request: Half<'s>,
    response: Half<'s>,
    refused: bool,
}

/// The request or the response.
struct Half<'g> {
    mode: Mode,
    state: State,
    filter: Filter<'g>,
    /// Headers that wait for the body, and what is to change in them.
    headers: Option<HeaderMutation>,
    summary: Summary,
    refusal: Option<Refusal>,
}

/// How bodies come and are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
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
enum State {
    Nothing,
    Headers,
    All,
}

/// What becomes of a body.
enum Filter<'g> {
    /// It passes as it is.
    Pass,
    /// It is read whole.
    Whole(WholeBody),
    /// It is read event by event.
    Events(Box<EventStream<'g>>),
    /// It has ended; what comes still is dropped.
    Cut,
}

/// What may pass of a body by now.
enum Passes {
    /// What came.
    Same,
    /// These bytes.
    Bytes(Vec<u8>),
    /// These, and nothing more.
    Last(Vec<u8>),
}

impl<'s> Exchange<'s> {
    /// An exchange of which nothing is known but on whose behalf it is, and by the route's word which
    /// policy applies.
    pub(super) fn new(
        service: &'s Service,
        guard: &'s Guard,
        config: &'s GatewayConfig,
        buffers: &'s Arc<Semaphore>,
        tenant: Arc<str>,
        policy: String,
    ) -> Self {
        let half = || Half {
            mode: Mode::Streamed,
            state: State::Nothing,
            filter: Filter::Pass,
            headers: None,
            summary: Summary::default(),
            refusal: None,
        };
        Self {
            context: Context {
                service,
                config,
                buffers,
            },
            guard,
            asked: Asked {
                id: fresh_id(),
                tenant,
                policy,
            },
            format: None,
            fails_closed: true,
            request: half(),
            response: half(),
            refused: false,
        }
    }

    /// Answers messages until the exchange ends, or Envoy breaks off.
    pub(super) async fn run(
        mut self,
        mut messages: Streaming<ProcessingRequest>,
        answers: &Sender<Result<ProcessingResponse, Status>>,
    ) -> Result<(), ApiError> {
        loop {
            let message = tokio::select! {
                () = answers.closed() => return Ok(()),
                message = self.context.service.next(&mut messages) => message?,
            };
            let Some(message) = message else {
                return Ok(());
            };
            // Nobody waits for an answer: the exchange goes on whatever is found.
            let observes = message.observability_mode;
            let replies = tokio::select! {
                () = answers.closed() => return Ok(()),
                replies = self.take(message) => replies?,
            };
            for reply in replies.into_iter().filter(|_| !observes) {
                if answers.send(Ok(reply)).await.is_err() {
                    return Ok(());
                }
            }
            if self.refused && !observes {
                return Ok(());
            }
        }
    }

    async fn take(
        &mut self,
        message: ProcessingRequest,
    ) -> Result<Vec<ProcessingResponse>, ApiError> {
        if let Some(config) = message.protocol_config {
            self.configure(config)?;
        }
        let request = message
            .request
            .ok_or_else(|| ApiError::invalid("request", "is none of headers, body and trailers"))?;
        match request {
            Request::RequestHeaders(headers) => {
                let metadata = message.metadata_context.unwrap_or_default();
                self.request_headers(headers, &metadata)
            }
            Request::ResponseHeaders(headers) => self.response_headers(headers),
            Request::RequestBody(body) => {
                self.body(Direction::Request, &body.body, body.end_of_stream)
                    .await
            }
            Request::ResponseBody(body) => {
                self.body(Direction::Response, &body.body, body.end_of_stream)
                    .await
            }
            Request::RequestTrailers(_) => self.trailers(Direction::Request).await,
            Request::ResponseTrailers(_) => self.trailers(Direction::Response).await,
        }
    }

    fn configure(&mut self, config: ProtocolConfiguration) -> Result<(), ApiError> {
        use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode;
        for (half, mode) in [
            (&mut self.request, config.request_body_mode),
            (&mut self.response, config.response_body_mode),
        ] {
            half.mode = match BodySendMode::try_from(mode) {
                Ok(BodySendMode::None) => Mode::None,
                Ok(BodySendMode::Streamed) => Mode::Streamed,
                Ok(BodySendMode::Buffered) => Mode::Buffered,
                Ok(BodySendMode::FullDuplexStreamed) => Mode::FullDuplex,
                Ok(BodySendMode::BufferedPartial | BodySendMode::Grpc) | Err(_) => {
                    return Err(ApiError::invalid(
                        "protocol_config",
                        "bodies are read in the modes STREAMED, BUFFERED and FULL_DUPLEX_STREAMED",
                    ));
                }
            };
        }
        Ok(())
    }

    // === headers ===

    fn request_headers(
        &mut self,
        message: HttpHeaders,
        metadata: &Metadata,
    ) -> Result<Vec<ProcessingResponse>, ApiError> {
        self.request.begin()?;
        let headers = message.headers.unwrap_or_default();
        let path = normalised(header(&headers, ":path").unwrap_or_default());
        if let Some(id) = header(&headers, "x-request-id")
            && (1..=self.guard.limits().max_id_bytes).contains(&id.len())
            && !id.contains(char::is_control)
        {
            self.asked.id = id.to_owned();
        }
        if let Some(ours) = metadata.filter_metadata.get(NAMESPACE)
            && let Some(Kind::StringValue(policy)) =
                ours.fields.get("policy").and_then(|v| v.kind.as_ref())
            && self.asked.policy.is_empty()
        {
            self.asked.policy.clone_from(policy);
        }
        if self.asked.policy.is_empty() {
            let config = self.context.config;
            let named = config.policy_header.as_ref();
            let named = named.and_then(|name| header(&headers, name));
            self.asked.policy = named
                .unwrap_or_else(|| config.policy_of_path(&path))
                .to_owned();
        }
        self.format = Format::of_path(&path, &self.context.config.formats);
        let Some(format) = &self.format else {
            return Ok(match self.context.config.unknown_paths {
                UnknownPaths::Pass => {
                    self.begun(Direction::Request, message.end_of_stream, &headers)
                }
                UnknownPaths::Block => vec![self.refuse(
                    Direction::Request,
                    Refusal {
                        status: 403,
                        code: "unknown_path",
                        message:
                            "requests to this path are not scanned, and not let through".into(),
                        scanned: true,
                    },
                )],
            });
        };
        match self.guard.policy(&self.asked.policy) {
            Ok(policy) => self.fails_closed = policy.on_error == OnError::Closed,
            Err(error) => {
                let refusal = Refusal {
                    status: 500,
                    code: "guard_failed",
                    message: error.to_string(),
                    scanned: false,
                };
                return Ok(vec![self.refuse(Direction::Request, refusal)]);
            }
        }
        let unread = |half: &Half<'_>| half.mode == Mode::None;
        match Encoding::of_header(header(&headers, "content-encoding")) {
            // Bodies of one way may be left alone; of both, nothing is guarded.
            _ if unread(&self.request) && unread(&self.response) => {
                let message =
                    "the gateway sends no bodies: set request_body_mode and response_body_mode";
                let refusal = Refusal::unreadable(Direction::Request, 500, message.into());
                if let Some(reply) = self.unscanned(Direction::Request, refusal) {
                    return Ok(vec![reply]);
                }
            }
            _ if unread(&self.request) => {}
            Ok(encoding) => {
                let body = WholeBody::new(Direction::Request, format.clone(), encoding);
                self.request.filter = Filter::Whole(body);
            }
            Err(unknown) => {
                let message = format!("a body in content-encoding {unknown:?} cannot be read");
                let refusal = Refusal::unreadable(Direction::Request, 415, message);
                if let Some(reply) = self.unscanned(Direction::Request, refusal) {
                    return Ok(vec![reply]);
                }
            }
        }
        Ok(self.begun(Direction::Request, message.end_of_stream, &headers))
    }

    fn response_headers(
        &mut self,
        message: HttpHeaders,
    ) -> Result<Vec<ProcessingResponse>, ApiError> {
        self.response.begin()?;
        let headers = message.headers.unwrap_or_default();
        if let Some(format) = &self.format
            && header(&headers, ":status").is_some_and(|s| s.starts_with('2'))
            && !message.end_of_stream
            && self.response.mode != Mode::None
        {
            let kind = header(&headers, "content-type").unwrap_or_default();
            let kind = kind.split(';').next().unwrap_or_default().trim();
            let kind = kind.to_ascii_lowercase();
            let encoding = Encoding::of_header(header(&headers, "content-encoding"));
            let filter = match (kind.as_str(), encoding) {
                ("text/event-stream", Ok(Encoding::Identity)) => {
                    let (asked, format) = (self.asked.clone(), format.clone());
                    EventStream::new(self.context, self.guard, asked, format)
                        .map(|events| Filter::Events(Box::new(events)))
                }
                ("" | "application/json", Ok(encoding)) => Ok(Filter::Whole(WholeBody::new(
                    Direction::Response,
                    format.clone(),
                    encoding,
                ))),
                (kind, encoding) => {
                    let encoding = match &encoding {
                        Ok(encoding) => format!("{encoding:?}"),
                        Err(unknown) => format!("{unknown:?}"),
                    };
                    let message = format!(
                        "an answer of content-type {kind:?} in content-encoding {encoding} cannot be read"
                    );
                    Err(Refusal::unreadable(Direction::Response, 502, message))
                }
            };
            match filter {
                Ok(filter) => self.response.filter = filter,
                Err(refusal) => {
                    if let Some(reply) = self.unscanned(Direction::Response, refusal) {
                        return Ok(vec![reply]);
                    }
                }
            }
        }
        Ok(self.begun(Direction::Response, message.end_of_stream, &headers))
    }

    /// The answer to headers, unless they wait.
    fn begun(
        &mut self,
        direction: Direction,
        ends: bool,
        headers: &HeaderMap,
    ) -> Vec<ProcessingResponse> {
        let known = self.format.is_some();
        let half = self.half(direction);
        let mut remove = Vec::new();
        // So that the answer can be read as it comes.
        if direction == Direction::Request && known && header(headers, "accept-encoding").is_some()
        {
            remove.push("accept-encoding");
        }
        if matches!(half.filter, Filter::Events(_)) && header(headers, "content-length").is_some() {
            remove.push("content-length");
        }
        let change = reply::mutation(&[], &remove);
        if ends {
            half.state = State::All;
        } else if half.mode == Mode::FullDuplex && matches!(half.filter, Filter::Whole(_)) {
            half.headers = Some(change);
            return Vec::new();
        }
        let mut replies = vec![reply::headers(direction, change)];
        if ends {
            self.attach(&mut replies);
        }
        replies
    }

    // === bodies ===

    async fn body(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        ends: bool,
    ) -> Result<Vec<ProcessingResponse>, ApiError> {
        let half = self.half(direction);
        if half.state != State::Headers {
            return Err(out_of_order(
                "a body came before its headers, or after its end",
            ));
        }
        let mode = half.mode;
        if mode == Mode::FullDuplex && matches!(half.filter, Filter::Cut) {
            return Ok(Vec::new()); // its end was sent
        }
        // Whole without being the end where trailers follow.
        let ends_filter = ends || mode == Mode::Buffered;
        let passes = match self.pass(direction, bytes, ends_filter).await {
            Ok(passes) => passes,
            Err(reply) => return Ok(vec![*reply]),
        };
        let half = self.half(direction);
        let mut replies = Vec::new();
        if mode == Mode::FullDuplex {
            if let Some(change) = half
                .headers
                .take_if(|_| !matches!(half.filter, Filter::Whole(_)))
            {
                replies.push(reply::headers(direction, change));
            }
            let (out, last) = match &passes {
                Passes::Same => (bytes, ends),
                Passes::Bytes(out) => (out.as_slice(), ends),
                Passes::Last(out) => (out.as_slice(), true),
            };
            replies.extend(reply::streamed(direction, out, last));
            if last && !ends {
                self.attach(&mut replies);
            }
        } else {
            let whole = ends && mode == Mode::Buffered;
            let (Passes::Bytes(out) | Passes::Last(out)) = passes else {
                replies.push(reply::body(direction, None, whole));
                return Ok(self.ended(direction, ends, replies));
            };
            let changed = out != bytes;
            replies.push(reply::body(direction, changed.then_some(out), whole));
            if matches!(self.half(direction).filter, Filter::Cut) {
                self.attach(&mut replies);
            }
        }
        Ok(self.ended(direction, ends, replies))
    }

    async fn trailers(
        &mut self,
        direction: Direction,
    ) -> Result<Vec<ProcessingResponse>, ApiError> {
        let half = self.half(direction);
        if half.state != State::Headers {
            return Err(out_of_order("trailers came before headers, or twice"));
        }
        let duplex = half.mode == Mode::FullDuplex;
        let mut replies = Vec::new();
        if duplex && matches!(half.filter, Filter::Cut) {
            return Ok(Vec::new());
        }
        if !duplex && matches!(half.filter, Filter::Whole(_) | Filter::Events(_)) {
            // What is held back cannot be sent any more.
            let message =
                "a body with trailers is read in FULL_DUPLEX_STREAMED or BUFFERED mode only";
            let refusal = Refusal::unreadable(direction, 500, message.into());
            return Ok(vec![self.refuse(direction, refusal)]);
        }
        if duplex {
            let passes = match self.pass(direction, &[], true).await {
                Ok(passes) => passes,
                Err(reply) => return Ok(vec![*reply]),
            };
            let half = self.half(direction);
            if let Some(change) = half.headers.take() {
                replies.push(reply::headers(direction, change));
            }
            if let Passes::Bytes(out) | Passes::Last(out) = passes {
                replies.extend(reply::streamed(direction, &out, false));
            }
        }
        replies.push(reply::trailers(direction));
        Ok(self.ended(direction, true, replies))
    }

    fn ended(
        &mut self,
        direction: Direction,
        ends: bool,
        mut replies: Vec<ProcessingResponse>,
    ) -> Vec<ProcessingResponse> {
        if ends {
            self.half(direction).state = State::All;
            self.attach(&mut replies);
        }
        replies
    }

    /// Puts a part of a body, or its end, through its filter.
    async fn pass(
        &mut self,
        direction: Direction,
        bytes: &[u8],
        ends: bool,
    ) -> Result<Passes, Box<ProcessingResponse>> {
        let (context, fails_closed) = (self.context, self.fails_closed);
        let half = match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        };
        let filtered = match &mut half.filter {
            Filter::Pass => return Ok(Passes::Same),
            Filter::Cut => return Ok(Passes::Bytes(Vec::new())),
            Filter::Events(events) => {
                let passed = events.push(context, bytes, ends, &mut half.summary).await;
                passed.map(Passes::Bytes)
            }
            Filter::Whole(whole) => match whole.push(context, bytes) {
                Ok(()) if !ends => return Ok(Passes::Bytes(Vec::new())),
                Ok(()) => whole
                    .check(context, &self.asked, &mut half.summary)
                    .await
                    .map(|redacted| match redacted {
                        Some(redacted) => {
                            let length = redacted.len().to_string();
                            if let Some(change) = &mut half.headers {
                                let set = [("content-length", length.as_str())];
                                change.set_headers = reply::mutation(&set, &[]).set_headers;
                            }
                            Passes::Bytes(redacted)
                        }
                        None => Passes::Same,
                    }),
                Err(refusal) => Err(refusal),
            },
        };
        let filter = match &filtered {
            Ok(_) if !ends => return filtered.map_err(|_| Box::default()),
            _ => std::mem::replace(&mut half.filter, Filter::Pass),
        };
        let refusal = match (filtered, filter) {
            // All of it, of which `bytes` was the last part.
            (Ok(Passes::Same), Filter::Whole(whole)) => {
                return Ok(Passes::Bytes(whole.into_bytes()));
            }
            (Ok(passes), _) => return Ok(passes),
            (Err(refusal), filter) if !refusal.scanned && !fails_closed => {
                half.refusal = Some(refusal);
                return Ok(Passes::Bytes(match filter {
                    Filter::Whole(whole) => whole.into_bytes(),
                    Filter::Events(events) => events.into_bytes(),
                    Filter::Pass | Filter::Cut => Vec::new(),
                }));
            }
            (Err(refusal), Filter::Events(mut events)) => {
                // Its headers have gone out: all that is left is to end it.
                half.filter = Filter::Cut;
                let end = events.cut(&refusal);
                half.refusal = Some(refusal);
                return Ok(Passes::Last(end));
            }
            (Err(refusal), _) => refusal,
        };
        Err(Box::new(self.refuse(direction, refusal)))
    }

    // === ends ===

    /// What cannot be scanned: an end of the exchange where the policy fails closed, or nothing.
    fn unscanned(&mut self, direction: Direction, refusal: Refusal) -> Option<ProcessingResponse> {
        if self.fails_closed {
            return Some(self.refuse(direction, refusal));
        }
        self.half(direction).refusal = Some(refusal);
        None
    }

    fn refuse(&mut self, direction: Direction, refusal: Refusal) -> ProcessingResponse {
        self.refused = true;
        let format = self.format.clone().unwrap_or(Format::Chat);
        let reply = reply::refuse(&format, &refusal);
        tracing::debug!(
            request = %self.asked.id,
            tenant = %self.asked.tenant,
            status = refusal.status,
            code = refusal.code,
            ?direction,
            "refused"
        );
        self.half(direction).refusal = Some(refusal);
        let mut replies = vec![reply];
        self.attach(&mut replies);
        replies.remove(0)
    }

    /// Adds the verdicts so far to the last of `replies`.
    fn attach(&mut self, replies: &mut [ProcessingResponse]) {
        if self.format.is_none() {
            return;
        }
        let halves = [("request", &self.request), ("response", &self.response)];
        let seen: Vec<_> = halves
            .iter()
            .filter(|(_, half)| half.state != State::Nothing && half.mode != Mode::None)
            .map(|(name, half)| (*name, &half.summary, half.refusal.as_ref()))
            .collect();
        if let Some(last) = replies.last_mut() {
            last.dynamic_metadata = Some(reply::metadata(&seen));
        }
    }

    fn half(&mut self, direction: Direction) -> &mut Half<'s> {
        match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        }
    }
}

impl Half<'_> {
    fn begin(&mut self) -> Result<(), ApiError> {
        match self.state {
            State::Nothing => {
                self.state = State::Headers;
                Ok(())
            }
            _ => Err(out_of_order("headers came twice")),
        }
    }
}

fn out_of_order(problem: &str) -> ApiError {
    let problem = format!("{problem}; request_header_mode and response_header_mode must be SEND");
    ApiError::new(Code::FailedPrecondition, "OUT_OF_ORDER", problem)
}
