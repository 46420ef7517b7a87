//! Envoy's external authorization (`envoy.service.auth.v3`), for gateways that know nothing better: requests
//! are read as by external processing, and can be refused but not rewritten; answers are not seen.

use std::borrow::Cow;

use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::Authorization;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::rpc;
use tonic::{Code, Request, Response, Status};

use super::body::{Direction, Refusal, WholeBody};
use super::encoding::Encoding;
use super::ext_proc::ExtProc;
use super::opening::open;
use super::reply::{header, metadata};
use crate::api::authenticate::tenant;
use crate::api::chat::Format;
use crate::api::chat::scan::Asked;
use crate::api::gateway::CannotRedact;
use crate::api::service::{Timed, fresh_id, unwinding};
use crate::api::status::ApiError;
use crate::api::summary::Summary;
use crate::ops::auth::CallerRole;
use crate::ops::traces;

/// What Envoy sets to `true` on a request of whose body it sent the beginning only.
const PARTIAL: &str = "x-envoy-auth-partial-body";

/// The service; it shares its bounds with external processing.
#[derive(Clone)]
pub(in super::super) struct ExtAuthz(pub(in super::super) ExtProc);

/// What is answered of a request.
struct Decision {
    format: Format,
    summary: Summary,
    refusal: Option<Refusal>,
    /// Whether it passes all the same.
    passes: bool,
}

#[tonic::async_trait]
impl Authorization for ExtAuthz {
    async fn check(
        &self,
        request: Request<CheckRequest>,
    ) -> Result<Response<CheckResponse>, Status> {
        let parent = traces::parent(request.metadata());
        let policy = request.metadata().get(crate::api::POLICY);
        let policy = policy.and_then(|v| v.to_str().ok()).unwrap_or_default();
        let policy = policy.to_owned();
        let tenant = tenant(request.extensions(), CallerRole::Check);
        let attributes = request.into_inner().attributes.unwrap_or_default();
        let work = unwinding(async {
            let asked = Asked {
                id: fresh_id(),
                tenant: tenant?,
                policy,
            };
            self.decide(asked, attributes).await
        });
        let method = "envoy.service.auth.v3.Authorization/Check";
        let decided = Timed::new(method, &parent).run(work).await;
        decided
            .map(|decision| Response::new(decision.into_response()))
            .map_err(ApiError::into_status)
    }
}

impl ExtAuthz {
    async fn decide(
        &self,
        mut asked: Asked,
        attributes: AttributeContext,
    ) -> Result<Decision, ApiError> {
        let guard = self.0.context().service.ready()?;
        let http = attributes.request.as_ref().and_then(|r| r.http.as_ref());
        let http = http.ok_or_else(|| {
            ApiError::invalid("attributes.request.http", "is missing: only HTTP is read")
        })?;
        // A route's own word stands before that of the filter as a whole.
        if let Some(policy) = attributes.context_extensions.get("policy") {
            asked.policy.clone_from(policy);
        }
        let metadata = attributes.metadata_context.as_ref();
        let context = self.0.context();
        let opened = open(context, guard, &mut asked, &http.path, metadata, |name| {
            value(http, name)
        });
        let mut decision = Decision {
            format: Format::Chat,
            summary: Summary::default(),
            refusal: None,
            passes: true,
        };
        let (format, fails_closed) = match opened {
            Ok(Some(opened)) => (opened.format, opened.fails_closed),
            Ok(None) => return Ok(decision),
            Err(refusal) => {
                decision.refuse(refusal);
                return Ok(decision);
            }
        };
        decision.format = format.clone();
        let cannot_redact = context.config.cannot_redact;
        match self.scan(&asked, format, http, &mut decision.summary).await {
            Ok(None) => {}
            Ok(Some(_)) if cannot_redact == CannotRedact::Pass => {}
            Ok(Some(_)) => decision.refuse(Refusal {
                status: 403,
                code: "content_filter",
                message: "blocked: what must be redacted cannot be here".into(),
                scanned: true,
            }),
            Err(refusal) => match refusal.waive(context.service, &asked, fails_closed).await {
                Ok(waived) => decision.refusal = Some(waived),
                Err(refusal) => decision.refuse(refusal),
            },
        }
        Ok(decision)
    }

    /// Checks the body: what it would be after redaction, if that is another.
    async fn scan(
        &self,
        asked: &Asked,
        format: Format,
        http: &HttpRequest,
        summary: &mut Summary,
    ) -> Result<Option<Vec<u8>>, Refusal> {
        let request = Direction::Request;
        let context = self.0.context();
        if value(http, PARTIAL).as_deref() == Some("true") {
            let message = "only the beginning of the body was sent to be scanned";
            return Err(Refusal::unreadable(request, 413, message.into()));
        }
        let encoding = value(http, "content-encoding").unwrap_or_default();
        let encoding = Encoding::of_header(&encoding).map_err(|unknown| {
            let message = format!("a body in content-encoding {unknown:?} cannot be read");
            Refusal::unreadable(request, 415, message)
        })?;
        let bytes = match http.raw_body.is_empty() {
            true => http.body.as_bytes(),
            false => &http.raw_body,
        };
        let length = value(http, "content-length").is_some_and(|l| l.trim() != "0");
        if bytes.is_empty()
            && (length || http.size > 0 || value(http, "transfer-encoding").is_some())
        {
            let message = "the gateway does not send bodies (with_request_body)";
            return Err(Refusal::unreadable(request, 500, message.into()));
        }
        let mut body = WholeBody::new(request, format, encoding);
        body.push(context, bytes)?;
        body.check(context, asked, summary).await
    }
}

impl Decision {
    fn refuse(&mut self, refusal: Refusal) {
        self.passes = false;
        self.refusal = Some(refusal);
    }

    fn into_response(self) -> CheckResponse {
        let refusal = self.refusal.as_ref();
        let said = metadata(&[("request", &self.summary, refusal)]);
        let (code, message, http) = match refusal.filter(|_| !self.passes) {
            None => {
                let ok = HttpResponse::OkResponse(OkHttpResponse::default());
                (Code::Ok, String::new(), ok)
            }
            Some(refusal) => {
                let error = self
                    .format
                    .error(refusal.status, refusal.code, &refusal.message);
                let denied = HttpResponse::DeniedResponse(DeniedHttpResponse {
                    status: Some(HttpStatus {
                        code: i32::from(refusal.status),
                    }),
                    headers: vec![content_type_json()],
                    body: error.to_string(),
                });
                (Code::PermissionDenied, refusal.message.clone(), denied)
            }
        };
        CheckResponse {
            status: Some(rpc::Status {
                code: code as i32,
                message,
                details: Vec::new(),
            }),
            dynamic_metadata: Some(said),
            http_response: Some(http),
        }
    }
}

fn content_type_json() -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue {
            key: "content-type".into(),
            value: "application/json".into(),
            ..HeaderValue::default()
        }),
        ..HeaderValueOption::default()
    }
}

/// A header of the request, in whichever of the two ways Envoy sends them.
fn value<'h>(http: &'h HttpRequest, name: &str) -> Option<Cow<'h, str>> {
    let name = name.to_ascii_lowercase();
    let raw = || header(http.header_map.as_ref()?, &name);
    let text = http.headers.get(&name);
    text.map(|text| Cow::Borrowed(text.as_str())).or_else(raw)
}
