//! `portcullis.v1.GuardService`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::sync::mpsc::Sender;
use tokio::task::JoinSet;
use tonic::{Extensions, Request, Response, Status, Streaming};

use super::answers::{Answers, answers};
use super::authenticate::{caller, caller_as, expect, tenant};
use super::pb::v1::guard_service_server::GuardService;
use super::pb::v1::{
    CheckRequest, CheckResponse, CheckStreamRequest, CheckStreamResponse, GuardOutputRequest,
    GuardOutputResponse, ListDetectorsRequest, ListDetectorsResponse, RestoreRequest,
    RestoreResponse, check_stream_response, guard_output_request, guard_output_response,
};
use super::service::{Place, Service, Timed, fresh_id, message, unwinding};
use super::status::ApiError;
use super::{convert, deadline};
use crate::guard::OutputGuard;
use crate::ops::auth::{Caller, CallerRole};
use crate::ops::traces::{self, Parent};

/// The service, over gRPC.
#[derive(Clone)]
pub(super) struct GuardApi(pub(super) Service);

impl GuardApi {
    /// Who opens a stream, and a place for it.
    fn open_stream(&self, extensions: &Extensions) -> Result<(Caller, Place), ApiError> {
        let caller = caller_as(extensions, CallerRole::Check)?;
        let place = self.0.stream_place(&caller.tenant)?;
        Ok((caller, place))
    }

    /// One check, from its message to the answer.
    async fn check_message(
        &self,
        request: CheckRequest,
        caller: &Caller,
        deadline: Instant,
    ) -> Result<CheckResponse, ApiError> {
        self.0.ready()?;
        expect(caller, CallerRole::Check)?;
        if request.include_scores {
            expect(caller, CallerRole::Scores)?;
        }
        let utf16 = request.utf16_offsets;
        let check = convert::check(request, caller.tenant.clone(), deadline, fresh_id)?;
        let (verdict, token) = self.0.check(check).await?;
        Ok(convert::verdict(verdict, token, utf16))
    }

    /// One request of a stream, errors included.
    async fn answer(
        &self,
        message: CheckStreamRequest,
        caller: &Caller,
        parent: &Parent,
        arrived: Instant,
    ) -> CheckStreamResponse {
        let id = message.id.clone();
        let work = unwinding(self.answer_inner(message, caller, arrived));
        answer_to(&id, Timed::new(CHECK_STREAM, parent).run(work).await)
    }

    async fn answer_inner(
        &self,
        message: CheckStreamRequest,
        caller: &Caller,
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
            None => None,
            Some(timeout) if timeout.seconds < 0 || timeout.nanos < 0 => {
                return Err(ApiError::invalid("timeout", "is negative"));
            }
            Some(timeout) => Some(
                Duration::try_from(timeout)
                    .map_err(|_| ApiError::invalid("timeout", "is out of range"))?,
            ),
        };
        let deadline = self.0.deadline(arrived, timeout);
        self.check_message(request, caller, deadline).await
    }
}

/// Bytes of an id inside a stream.
const MAX_ID: usize = 128;

const CHECK_STREAM: &str = "portcullis.v1.GuardService/CheckStream";
const GUARD_OUTPUT: &str = "portcullis.v1.GuardService/GuardOutput";

/// The answer to the request `id` of a stream. What is too long for an id is not repeated whole.
fn answer_to(id: &str, result: Result<CheckResponse, ApiError>) -> CheckStreamResponse {
    CheckStreamResponse {
        id: id.chars().take(MAX_ID).collect(),
        result: Some(match result {
            Ok(response) => check_stream_response::Result::Response(response),
            Err(error) => check_stream_response::Result::Error(error.into_message()),
        }),
    }
}

#[tonic::async_trait]
impl GuardService for GuardApi {
    type CheckStreamStream = Answers<CheckStreamResponse>;

    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        let arrived = Instant::now();
        let parent = traces::parent(request.metadata());
        let work = async {
            let caller = caller(request.extensions());
            let _permit = self.0.permit(&caller.tenant)?;
            let timeout = deadline::timeout(request.metadata())?;
            let deadline = self.0.deadline(arrived, timeout);
            self.check_message(request.into_inner(), &caller, deadline)
                .await
        };
        let result = Timed::new("portcullis.v1.GuardService/Check", &parent)
            .run(work)
            .await;
        result.map(Response::new).map_err(ApiError::into_status)
    }

    async fn check_stream(
        &self,
        request: Request<Streaming<CheckStreamRequest>>,
    ) -> Result<Response<Self::CheckStreamStream>, Status> {
        let parent = traces::parent(request.metadata());
        let opened = self.open_stream(request.extensions());
        let (caller, place) = opened.map_err(|e| Timed::new(CHECK_STREAM, &parent).refuse(e))?;
        let (answers, end, stream) = answers();
        let api = Self(self.0.of(&caller));
        tokio::spawn(async move {
            let work = answer_stream(&api, request.into_inner(), caller, parent, &answers);
            let done = unwinding(work).await;
            drop(place);
            if let Err(error) = done {
                let _ = end.send(error.into_status());
            }
        });
        Ok(Response::new(stream))
    }

    type GuardOutputStream = Answers<GuardOutputResponse>;

    async fn guard_output(
        &self,
        request: Request<Streaming<GuardOutputRequest>>,
    ) -> Result<Response<Self::GuardOutputStream>, Status> {
        let parent = traces::parent(request.metadata());
        let opened = self.open_stream(request.extensions());
        let (caller, place) = opened.map_err(|e| Timed::new(GUARD_OUTPUT, &parent).refuse(e))?;
        let (answers, end, stream) = answers();
        let service = self.0.of(&caller);
        tokio::spawn(async move {
            let work = guard_output(&service, request.into_inner(), caller.tenant, &answers);
            let work = unwinding(work);
            let done = Timed::new(GUARD_OUTPUT, &parent).run(work).await;
            drop(place); // before the caller knows, who may come again at once
            if let Err(error) = done {
                let _ = end.send(error.into_status());
            }
        });
        Ok(Response::new(stream))
    }

    async fn restore(
        &self,
        request: Request<RestoreRequest>,
    ) -> Result<Response<RestoreResponse>, Status> {
        let tenant = tenant(request.extensions(), CallerRole::Restore);
        let parent = traces::parent(request.metadata());
        let request = request.into_inner();
        let work = async {
            let tenant = tenant?;
            let _permit = self.0.permit(&tenant)?;
            self.0.restore(&tenant, &request).await
        };
        let restored = Timed::new("portcullis.v1.GuardService/Restore", &parent)
            .run(work)
            .await;
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
/// the caller has gone or does not read, whose work is dropped.
async fn answer_stream(
    api: &GuardApi,
    mut requests: Streaming<CheckStreamRequest>,
    caller: Caller,
    parent: Parent,
    answers: &Sender<CheckStreamResponse>,
) -> Result<(), ApiError> {
    let mut tasks = JoinSet::new();
    let most = api.0.limits().stream_in_flight;
    let end = loop {
        let (waiting, full) = (!tasks.is_empty(), tasks.len() >= most);
        // A stream is not silent while its requests are under way, which end by their deadlines.
        let next = async {
            match waiting {
                true => message(&mut requests).await,
                false => api.0.next(&mut requests).await,
            }
        };
        tokio::select! {
            () = answers.closed() => return Ok(()), // dropping the tasks withdraws their work
            () = api.0.draining() => break Err(ApiError::draining()),
            message = next, if !full => {
                match message {
                    Ok(Some(message)) => {
                        let (api, caller) = (api.clone(), caller.clone());
                        let (parent, answers) = (parent.clone(), answers.clone());
                        let arrived = Instant::now();
                        tasks.spawn(async move {
                            let answer = match api.0.permit(&caller.tenant) {
                                Ok(_place) => api.answer(message, &caller, &parent, arrived).await,
                                Err(error) => answer_to(&message.id, Err(error)),
                            };
                            // Who does not read holds none of the places that are everybody's.
                            api.0.unless_idle(answers.send(answer)).await.map(drop)
                        });
                    }
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            }
            Some(done) = tasks.join_next(), if waiting => done.map_err(ApiError::internal)??,
        }
    };
    loop {
        tokio::select! {
            () = answers.closed() => return Ok(()),
            done = tasks.join_next() => match done {
                Some(done) => done.map_err(ApiError::internal)??,
                None => return end,
            },
        }
    }
}

/// What has come of a text and is not taken yet.
#[derive(Default)]
struct Ahead {
    text: String,
    end: Option<Result<(), ApiError>>,
}

/// Guards one text from its first message to its verdict. Ends when the caller breaks off.
async fn guard_output(
    service: &Service,
    mut requests: Streaming<GuardOutputRequest>,
    tenant: Arc<str>,
    answers: &Sender<GuardOutputResponse>,
) -> Result<(), ApiError> {
    use guard_output_request::Message as Asked;
    use guard_output_response::Message as Said;
    let guard = service.ready()?;
    let _permit = service.permit(&tenant)?;
    let say = async |message: Said| {
        let message = GuardOutputResponse {
            message: Some(message),
        };
        // Who does not read does not hold a place for ever.
        let sent = service.unless_idle(answers.send(message)).await?;
        Ok::<bool, ApiError>(sent.is_ok())
    };
    let mut next = async || {
        tokio::select! {
            () = answers.closed() => Ok(None),
            () = service.draining() => Err(ApiError::draining()),
            message = message(&mut requests) => message,
        }
    };
    let first = service.unless_idle(next()).await??;
    let first = first.and_then(|m| m.message);
    let Some(Asked::Start(start)) = first else {
        return Err(ApiError::invalid("start", "must be the first message"));
    };
    let utf16 = start.utf16_offsets;
    let timeout = service.limits().default_deadline;
    let most = guard.limits().max_id_bytes;
    let mut asked = convert::output_check(start, tenant.clone(), timeout, most, fresh_id)?;
    service.choose(&tenant, &mut asked.policy)?;
    service.charge(&tenant, 1, 0)?;
    let mut output = OutputGuard::new(guard, asked.clone())?;
    service.begins(&asked).await?;
    // What comes while a part is scored is one part with what follows: it waits here, not in the connection,
    // which allows few frames to wait.
    let ahead = Mutex::new(Ahead::default());
    let more = Notify::new();
    let read = async {
        let mut room = guard.limits().max_text_bytes;
        loop {
            let next = next().await.map(|m| m.map(|m| m.message));
            let mut ahead = ahead.lock().unwrap_or_else(PoisonError::into_inner);
            match next {
                Ok(Some(Some(Asked::Chunk(chunk)))) => {
                    ahead.text.push_str(&chunk);
                    // The one that is too much is refused where it is taken.
                    let full = chunk.len() > room;
                    room = room.saturating_sub(chunk.len());
                    if full {
                        ahead.end = Some(Ok(()));
                    }
                }
                Ok(Some(_)) => ahead.end = Some(Err(ApiError::invalid("chunk", "is missing"))),
                Ok(None) => ahead.end = Some(Ok(())),
                Err(error) => ahead.end = Some(Err(error)),
            }
            more.notify_one();
            if ahead.end.is_some() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let take = async {
        while !output.blocked() {
            let (chunk, end) = {
                let mut ahead = ahead.lock().unwrap_or_else(PoisonError::into_inner);
                let chunk = std::mem::take(&mut ahead.text);
                let end = if chunk.is_empty() {
                    ahead.end.take()
                } else {
                    None
                };
                (chunk, end)
            };
            if let Some(end) = end {
                end?;
                break;
            }
            if chunk.is_empty() {
                service.unless_idle(more.notified()).await?;
                continue;
            }
            service.charge(&tenant, 0, chunk.len())?;
            let text = output.push(&chunk).await?.text;
            if !text.is_empty() && !say(Said::Text(text)).await? {
                break;
            }
        }
        Ok::<(), ApiError>(())
    };
    let taken = tokio::select! {
        taken = take => taken,
        () = read => Ok(()),
    };
    if let Err(error) = taken {
        service.broke_off(&tenant, &asked.id, error.reason);
        return Err(error);
    }
    if answers.is_closed() {
        return Ok(());
    }
    let (rest, verdict) = output.finish().await;
    service.record(&tenant, &[], &verdict).await?;
    if !rest.text.is_empty() && !say(Said::Text(rest.text)).await? {
        return Ok(());
    }
    let token = guard.seal(&tenant, &verdict)?.unwrap_or_default();
    let verdict = convert::verdict(verdict, token, utf16);
    say(Said::Verdict(verdict)).await.map(drop)
}
