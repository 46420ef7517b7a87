//! Envoy's external authorization (`envoy.service.auth.v3`), for gateways that know nothing better: requests
//! are read as by external processing, and can be refused but not rewritten; answers are not seen.

use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use envoy_types::pb::envoy::service::auth::v3::authorization_server::Authorization;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::rpc;
use tonic::{Code, Request, Response, Status};

use super::body::{Context, Direction, Refusal, WholeBody};
use super::encoding::Encoding;
use super::ext_proc::{ExtProc, POLICY_METADATA};
use super::reply::{NAMESPACE, header, metadata};
use crate::api::chat::scan::{Asked, Summary};
use crate::api::chat::{Format, normalised};
use crate::api::gateway::{CannotRedact, GatewayConfig, UnknownPaths};
use crate::api::service::{Timed, fresh_id, tenant, unwinding};
use crate::api::status::ApiError;
use crate::guard::OnError;
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
        let policy = request.metadata().get(POLICY_METADATA);
        let policy = policy.and_then(|v| v.to_str().ok()).unwrap_or_default();
        let asked = Asked {
            id: fresh_id(),
            tenant: tenant(request.extensions()),
            policy: policy.to_owned(),
        };
        let attributes = request.into_inner().attributes.unwrap_or_default();
        let work = unwinding(self.decide(asked, attributes));
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
        let config = &*self.0.config;
        let guard = self.0.service.ready()?;
        let http = attributes.request.as_ref().and_then(|r| r.http.as_ref());
        let http = http.ok_or_else(|| {
            ApiError::invalid("attributes.request.http", "is missing: only HTTP is read")
        })?;
        let path = normalised(&http.path);
        if let Some(id) = value(http, "x-request-id").filter(|id| (1..=128).contains(&id.len())) {
            asked.id = id.to_owned();
        }
        // A route's own word stands before that of the filter as a whole.
        if asked.policy.is_empty() || attributes.context_extensions.contains_key("policy") {
            asked.policy = policy(config, &attributes, http, &path);
        }
        let format = Format::of_path(&path, &config.formats);
        let mut decision = Decision {
            format: format.clone().unwrap_or(Format::Chat),
            summary: Summary::default(),
            refusal: None,
            passes: true,
        };
        let Some(format) = format else {
            if config.unknown_paths == UnknownPaths::Block {
                let message = "requests to this path are not scanned, and not let through";
                decision.refuse(403, "unknown_path", message.into());
            }
            return Ok(decision);
        };
        let fails_closed = match guard.policy(&asked.policy) {
            Ok(policy) => policy.on_error == OnError::Closed,
            Err(error) => {
                decision.refuse(500, "guard_failed", error.to_string());
                return Ok(decision);
            }
        };
        match self.scan(&asked, format, http, &mut decision.summary).await {
            Ok(None) => {}
            Ok(Some(_)) if config.cannot_redact == CannotRedact::Pass => {}
            Ok(Some(_)) => {
                let message = "blocked: what must be redacted cannot be here";
                decision.refuse(403, "content_filter", message.into());
            }
            Err(refusal) => {
                decision.passes = !refusal.scanned && !fails_closed;
                decision.refusal = Some(refusal);
            }
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
        let context = Context {
            service: &self.0.service,
            config: &self.0.config,
            buffers: &self.0.buffers,
        };
        if value(http, PARTIAL) == Some("true") {
            let message = "only the beginning of the body was sent to be scanned";
            return Err(Refusal::unreadable(request, 413, message.into()));
        }
        let encoding = Encoding::of_header(value(http, "content-encoding")).map_err(|unknown| {
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
    fn refuse(&mut self, status: u16, code: &'static str, message: String) {
        self.passes = false;
        self.refusal = Some(Refusal {
            status,
            code,
            message,
            scanned: true,
        });
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
                    body: error,
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

/// The policy by the route's word, by metadata of a filter before, by the configured header or the path.
fn policy(
    config: &GatewayConfig,
    attributes: &AttributeContext,
    http: &HttpRequest,
    path: &str,
) -> String {
    let of_route = attributes.context_extensions.get("policy");
    let metadata = attributes.metadata_context.as_ref();
    let of_filter = metadata
        .and_then(|m| {
            m.filter_metadata
                .get(NAMESPACE)?
                .fields
                .get("policy")?
                .kind
                .as_ref()
        })
        .and_then(|kind| match kind {
            Kind::StringValue(policy) => Some(policy),
            _ => None,
        });
    let of_header = config.policy_header.as_ref();
    let of_header = of_header.and_then(|name| value(http, name));
    of_route
        .or(of_filter)
        .map(String::as_str)
        .or(of_header)
        .unwrap_or_else(|| config.policy_of_path(path))
        .to_owned()
}

/// A header of the request, in whichever of the two ways Envoy sends them.
fn value<'h>(http: &'h HttpRequest, name: &str) -> Option<&'h str> {
    let name = name.to_ascii_lowercase();
    let raw = || header(http.header_map.as_ref()?, &name);
    http.headers.get(&name).map(String::as_str).or_else(raw)
}
