//! HTTP beside gRPC: on the same port, with the same credentials, limits, metrics and traces.

mod answer;
mod call;
mod check;
mod detectors;
mod litellm;
mod moderations;
mod openapi;
mod restore;

use axum::Router;
use axum::http::{HeaderMap, Method, Uri, header};
use axum::response::Response;
use axum::routing::{MethodFilter, get};
use tonic::service::Routes;
use tonic::{Code, Status};

use self::answer::{error, json};
use self::call::Entrance;
use super::service::Service;
use super::status::ApiError;
use crate::ops::auth::Authenticator;

/// The routes of HTTP added to those of gRPC. Bodies have up to `largest` bytes.
pub(super) fn beside(
    grpc: Routes,
    service: &Service,
    auth: &Authenticator,
    largest: usize,
) -> Routes {
    let entrance = Entrance {
        service: service.clone(),
        auth: auth.clone(),
        largest,
    };
    let service = service.clone();
    let ours = Router::new()
        .route("/healthz", get(async || state("live")))
        .route("/readyz", get(async move || readiness(&service)))
        .route("/openapi.json", get(async || openapi::answer()))
        .route(
            check::PATH,
            entrance.on(MethodFilter::POST, "POST /v1/check", check::answer),
        )
        .route(
            restore::PATH,
            entrance.on(MethodFilter::POST, "POST /v1/restore", restore::answer),
        )
        .route(
            detectors::PATH,
            entrance.on(MethodFilter::GET, "GET /v1/detectors", detectors::answer),
        )
        .route(
            moderations::PATH,
            entrance.on(
                MethodFilter::POST,
                "POST /v1/moderations",
                moderations::answer,
            ),
        )
        .route(
            litellm::PATH,
            entrance.on(
                MethodFilter::POST,
                "POST /beta/litellm_basic_guardrail_api",
                litellm::answer,
            ),
        )
        .method_not_allowed_fallback(wrong_method);
    Routes::from(grpc.into_axum_router().merge(ours).fallback(unknown_path))
}

fn state(status: &str) -> Response {
    json(200, format!("{{\"status\":\"{status}\"}}").into())
}

/// Whether requests are taken.
fn readiness(service: &Service) -> Response {
    match service.ready() {
        _ if service.is_leaving() => error(ApiError::draining()),
        Ok(_) => state("ready"),
        Err(loading) => error(loading),
    }
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let problem = format!("{} does not take {method}", uri.path());
    error(ApiError::new(Code::Unimplemented, "METHOD", problem))
}

/// In the caller's own terms: a status of gRPC, or of HTTP.
async fn unknown_path(uri: Uri, headers: HeaderMap) -> Response {
    let kind = headers.get(header::CONTENT_TYPE);
    if kind.is_some_and(|k| k.as_bytes().starts_with(b"application/grpc")) {
        let message = format!("{} is not served", uri.path());
        return Status::unimplemented(message).into_http();
    }
    let problem = format!("{} is not served; /openapi.json says what is", uri.path());
    error(ApiError::new(Code::NotFound, "UNKNOWN_PATH", problem))
}
