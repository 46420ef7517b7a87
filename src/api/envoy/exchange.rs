//! One HTTP exchange, as Envoy tells of it: request headers, body and trailers, then those of the response.
//!
//! In `FULL_DUPLEX_STREAMED` mode the headers of what is read whole wait until it was checked; in the
//! other modes every message is answered at once.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::{HeaderMap, Metadata};
use envoy_types::pb::envoy::service::ext_proc::v3::processing_request::Request;
use envoy_types::pb::envoy::service::ext_proc::v3::{
    HttpHeaders, ProcessingRequest, ProcessingResponse, ProtocolConfiguration,
};
use tokio::sync::mpsc::Sender;
use tonic::{Code, Streaming};

use super::body::{Context, Direction, Refusal, WholeBody};
use super::encoding::Encoding;
use super::half::{Filter, Half, Mode, Passes, State};
use super::opening::{Opened, open};
use super::reply::{self, header};
use super::stream::EventStream;
use crate::api::chat::Format;
use crate::api::chat::scan::Asked;
use crate::api::service::fresh_id;
use crate::api::status::ApiError;
use crate::guard::Guard;

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

impl<'s> Exchange<'s> {
    /// An exchange of which nothing is known but on whose behalf it is, and by the route's word which
    /// policy applies.
    pub(super) fn new(
        context: Context<'s>,
        guard: &'s Guard,
        tenant: Arc<str>,
        policy: String,
    ) -> Self {
        Self {
            context,
            guard,
            asked: Asked {
                id: fresh_id(),
                tenant,
                policy,
            },
            format: None,
            fails_closed: true,
            request: Half::new(),
            response: Half::new(),
            refused: false,
        }
    }

    /// Answers messages until the exchange ends, or Envoy breaks off.
    pub(super) async fn run(
        mut self,
        messages: Streaming<ProcessingRequest>,
        answers: &Sender<ProcessingResponse>,
    ) -> Result<(), ApiError> {
        let done = self.answer(messages, answers).await;
        if let (Err(error), Filter::Events(events)) = (&done, &self.response.filter) {
            events.broke_off(error.reason);
        }
        done
    }

    async fn answer(
        &mut self,
        mut messages: Streaming<ProcessingRequest>,
        answers: &Sender<ProcessingResponse>,
    ) -> Result<(), ApiError> {
        loop {
            let message = tokio::select! {
                () = answers.closed() => return Ok(()),
                message = self.context.service.next(&mut messages) => message,
            };
            let message = match message {
                // How Envoy ends an exchange that is over.
                Err(error) if error.code == Code::Cancelled => return Ok(()),
                message => message?,
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
                // Who does not read does not hold a place for ever.
                let sent = self.context.service.unless_idle(answers.send(reply));
                if sent.await?.is_err() {
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
                self.request_headers(headers, message.metadata_context.as_ref())
                    .await
            }
            Request::ResponseHeaders(headers) => self.response_headers(headers).await,
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

    async fn request_headers(
        &mut self,
        message: HttpHeaders,
        metadata: Option<&Metadata>,
    ) -> Result<Vec<ProcessingResponse>, ApiError> {
        begin(&mut self.request)?;
        let headers = message.headers.unwrap_or_default();
        let opened = open(
            self.context,
            self.guard,
            &mut self.asked,
            &header(&headers, ":path").unwrap_or_default(),
            metadata,
            |name| header(&headers, name),
        );
        let format = match opened {
            Ok(Some(Opened {
                format,
                fails_closed,
            })) => {
                self.fails_closed = fails_closed;
                self.format.insert(format)
            }
            Ok(None) => {
                return Ok(self.begun(Direction::Request, message.end_of_stream, &headers));
            }
            Err(refusal) => return Ok(vec![self.refuse(Direction::Request, refusal)]),
        };
        let unread = |half: &Half<'_>| half.mode == Mode::None;
        match Encoding::of_header(&header(&headers, "content-encoding").unwrap_or_default()) {
            // Bodies of one way may be left alone; of both, nothing is guarded.
            _ if unread(&self.request) && unread(&self.response) => {
                let message =
                    "the gateway sends no bodies: set request_body_mode and response_body_mode";
                let refusal = Refusal::unreadable(Direction::Request, 500, message.into());
                if let Some(reply) = self.unscanned(Direction::Request, refusal).await {
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
                if let Some(reply) = self.unscanned(Direction::Request, refusal).await {
                    return Ok(vec![reply]);
                }
            }
        }
        Ok(self.begun(Direction::Request, message.end_of_stream, &headers))
    }

    async fn response_headers(
        &mut self,
        message: HttpHeaders,
    ) -> Result<Vec<ProcessingResponse>, ApiError> {
        begin(&mut self.response)?;
        let headers = message.headers.unwrap_or_default();
        let succeeds = header(&headers, ":status").is_some_and(|s| s.starts_with('2'));
        let says = succeeds && !message.end_of_stream;
        // Filters before this one may answer by themselves, mostly with errors.
        if says && self.request.state == State::Nothing {
            return Err(out_of_order("an answer came without its request"));
        }
        if let Some(format) = &self.format
            && says
            && self.response.mode != Mode::None
        {
            let kind = header(&headers, "content-type").unwrap_or_default();
            let kind = kind.split(';').next().unwrap_or_default().trim();
            let kind = kind.to_ascii_lowercase();
            let encoding = header(&headers, "content-encoding").unwrap_or_default();
            let encoding = Encoding::of_header(&encoding);
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
                    if let Some(reply) = self.unscanned(Direction::Response, refusal).await {
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
        if mode == Mode::FullDuplex && half.is_cut() {
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
            if self.half(direction).is_cut() {
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
        if duplex && half.is_cut() {
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
        let half = match direction {
            Direction::Request => &mut self.request,
            Direction::Response => &mut self.response,
        };
        let (asked, fails_closed) = (&self.asked, self.fails_closed);
        let passed = half.pass(self.context, asked, fails_closed, bytes, ends);
        match passed.await {
            Ok(passes) => Ok(passes),
            Err(refusal) => Err(Box::new(self.refuse(direction, refusal))),
        }
    }

    // === ends ===

    /// What cannot be scanned: an end of the exchange where the policy fails closed, or nothing.
    async fn unscanned(
        &mut self,
        direction: Direction,
        refusal: Refusal,
    ) -> Option<ProcessingResponse> {
        let waived = refusal.waive(self.context.service, &self.asked, self.fails_closed);
        match waived.await {
            Ok(waived) => {
                self.half(direction).refusal = Some(waived);
                None
            }
            Err(refusal) => Some(self.refuse(direction, refusal)),
        }
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

/// Notes that the headers of a half came.
fn begin(half: &mut Half<'_>) -> Result<(), ApiError> {
    if half.state != State::Nothing {
        return Err(out_of_order("headers came twice"));
    }
    half.state = State::Headers;
    Ok(())
}

fn out_of_order(problem: &str) -> ApiError {
    let problem = format!("{problem}; request_header_mode and response_header_mode must be SEND");
    ApiError::new(Code::FailedPrecondition, "OUT_OF_ORDER", problem)
}
