//! A body that is read whole, checked, and passed on as it may be.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::Code;

use super::encoding::Encoding;
use crate::api::chat::scan::{Asked, is_quick, scan};
use crate::api::chat::{Format, Texts};
use crate::api::gateway::GatewayConfig;
use crate::api::service::Service;
use crate::api::status::ApiError;
use crate::api::status::{RATE_LIMITED, UNRECORDED};
use crate::api::summary::Summary;
use crate::aside::aside;
use crate::guard::Action;

/// Bytes that a body takes while it is read, for each of its own.
const PARSED: usize = 4;

/// Which half of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    Request,
    Response,
}

/// What every part of an exchange knows.
#[derive(Clone, Copy)]
pub(super) struct Context<'s> {
    pub(super) service: &'s Service,
    pub(super) config: &'s GatewayConfig,
    pub(super) buffers: &'s Arc<Semaphore>,
}

/// Why a body does not pass, as its client reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The status of HTTP.
    pub(super) status: u16,
    /// What it is, in a word.
    pub(super) code: &'static str,
    /// In a sentence.
    pub(super) message: String,
    /// Whether it was scanned; what could not be scanned passes where the policy fails open.
    pub(super) scanned: bool,
}

impl Refusal {
    /// Blocked for what was found.
    pub(super) fn blocked(summary: &Summary) -> Self {
        // Or for what was not: the policy fails closed. Of many findings, the one that blocks may not be listed.
        let listed = summary.found.iter().any(|k| k.action == Action::Block);
        let (status, code) = match listed || summary.reason.is_none() {
            true => (403, "content_filter"),
            false => (503, "guard_failed"),
        };
        Self {
            status,
            code,
            message: summary.blocked_because(),
            scanned: true,
        }
    }

    /// Not understood.
    pub(super) fn unreadable(direction: Direction, status: u16, message: String) -> Self {
        Self {
            status: match direction {
                Direction::Request => status,
                Direction::Response => 502,
            },
            code: "unreadable_body",
            message,
            scanned: false,
        }
    }

    /// Longer than what is read.
    pub(super) fn too_large(direction: Direction, most: usize) -> Self {
        let message =
            format!("the body has more than {most} bytes, which is as much as is scanned");
        Self::unreadable(direction, 413, message)
    }

    /// The guard had no answer.
    pub(super) fn failed(direction: Direction, error: &ApiError) -> Self {
        let status = match error.code {
            Code::InvalidArgument if direction == Direction::Response => 502,
            Code::InvalidArgument => 400,
            Code::NotFound => 500,
            Code::PermissionDenied => 403,
            Code::ResourceExhausted if error.reason == RATE_LIMITED => 429,
            _ => 503,
        };
        Self {
            status,
            code: "guard_failed",
            message: format!("the guard could not check it: {}", error.message),
            // Nothing passes for want of a record, nor because somebody asked too much or may not ask at all.
            scanned: matches!(
                error.code,
                Code::PermissionDenied | Code::Unauthenticated | Code::NotFound
            ) || matches!(error.reason, RATE_LIMITED | UNRECORDED),
        }
    }

    /// What becomes of a body that could not be scanned: it passes unread where the policy fails open and that
    /// is on record; otherwise a refusal stands.
    pub(super) async fn waive(
        self,
        service: &Service,
        asked: &Asked,
        fails_closed: bool,
    ) -> Result<Self, Self> {
        if self.scanned || fails_closed {
            return Err(self);
        }
        let recorded = service.passes_unread(&asked.tenant, &asked.id, &self.message);
        match recorded.await {
            Ok(()) => Ok(self),
            // The same in both directions.
            Err(error) => Err(Self::failed(Direction::Request, &error)),
        }
    }
}

/// A body on its way in.
pub(super) struct WholeBody {
    direction: Direction,
    format: Format,
    encoding: Encoding,
    bytes: Vec<u8>,
    held: Option<OwnedSemaphorePermit>,
}

impl WholeBody {
    pub(super) fn new(direction: Direction, format: Format, encoding: Encoding) -> Self {
        Self {
            direction,
            format,
            encoding,
            bytes: Vec::new(),
            held: None,
        }
    }

    /// Adds bytes; a refusal where there is no room for them, which are kept for who wants them still.
    pub(super) fn push(&mut self, context: Context<'_>, bytes: &[u8]) -> Result<(), Refusal> {
        self.bytes.extend_from_slice(bytes);
        let most = context.config.max_body_bytes;
        if self.bytes.len() > most {
            return Err(Refusal::too_large(self.direction, most));
        }
        hold(&mut self.held, context.buffers, self.bytes.len())
    }

    /// What was read, as it came.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Checks the whole body: its bytes where it passes redacted, none where it passes as it is.
    pub(super) async fn check(
        &mut self,
        context: Context<'_>,
        asked: &Asked,
        summary: &mut Summary,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        if self.bytes.is_empty() {
            return Ok(None);
        }
        let deadline = Instant::now() + Duration::from_millis(context.config.deadline_ms);
        let unreadable = |message: String| Refusal::unreadable(self.direction, 400, message);
        let most = context.config.max_body_bytes;
        let quick = is_quick(&self.bytes) && self.encoding == Encoding::Identity;
        let decoded = aside(quick, || self.encoding.decode(&self.bytes, most));
        let decoded = decoded
            .map_err(|e| unreadable(format!("the body is not {:?}: {e}", self.encoding)))?
            .ok_or_else(|| Refusal::too_large(self.direction, most))?;
        hold(
            &mut self.held,
            context.buffers,
            self.bytes.len() + PARSED * decoded.len(),
        )?;
        let body = String::from_utf8(decoded)
            .map_err(|_| unreadable("the body is not UTF-8".to_owned()))?;
        let texts = aside(quick, || match self.direction {
            Direction::Request => Texts::of_request(&self.format, &body),
            Direction::Response => Texts::of_response(&self.format, &body),
        });
        let texts = texts.map_err(|e| unreadable(e.to_string()))?;
        let scanned = scan(context.service, asked, deadline, &body, &texts)
            .await
            .map_err(|e| Refusal::failed(self.direction, &e))?;
        *summary = scanned.summary;
        if summary.action == Action::Block {
            return Err(Refusal::blocked(summary));
        }
        let Some(redacted) = scanned.redacted else {
            return Ok(None);
        };
        let encoded = aside(quick, || self.encoding.encode(redacted.into_bytes()));
        encoded.map(Some).map_err(|e| unreadable(e.to_string()))
    }
}

/// Makes `held` cover `bytes`, of what all exchanges together may hold.
pub(super) fn hold(
    held: &mut Option<OwnedSemaphorePermit>,
    buffers: &Arc<Semaphore>,
    bytes: usize,
) -> Result<(), Refusal> {
    let have = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
    let more = bytes.div_ceil(1 << 10).saturating_sub(have);
    if more == 0 {
        return Ok(());
    }
    let more = u32::try_from(more).unwrap_or(u32::MAX);
    let Ok(permit) = buffers.clone().try_acquire_many_owned(more) else {
        return Err(Refusal {
            status: 503,
            code: "guard_failed",
            message: "the guard holds as many bytes of bodies as it may".into(),
            scanned: false,
        });
    };
    match held {
        Some(held) => held.merge(permit),
        None => *held = Some(permit),
    }
    Ok(())
}

#[cfg(test)]
#[test]
fn only_what_could_not_be_read_passes_where_a_policy_fails_open() {
    let failed = |code, reason| {
        let refusal = Refusal::failed(Direction::Response, &ApiError::new(code, reason, "x"));
        (refusal.status, refusal.scanned)
    };
    assert_eq!(failed(Code::Unavailable, "NOT_READY"), (503, false));
    assert_eq!(
        failed(Code::DeadlineExceeded, "DEADLINE_PASSED"),
        (503, false)
    );
    assert_eq!(failed(Code::ResourceExhausted, "OVERLOADED"), (503, false));
    assert_eq!(failed(Code::ResourceExhausted, RATE_LIMITED), (429, true));
    assert_eq!(failed(Code::Unavailable, UNRECORDED), (503, true));
    assert_eq!(failed(Code::PermissionDenied, "BLOCKED"), (403, true));
    assert_eq!(failed(Code::Unauthenticated, "CREDENTIALS"), (503, true));
    assert_eq!(failed(Code::NotFound, "UNKNOWN_POLICY"), (500, true));
}
