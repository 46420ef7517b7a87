//! Envoy's external processing (`envoy.service.ext_proc.v3`): what clients ask of models and what models
//! answer, on its way through a gateway.
//!
//! - [`exchange`] — one HTTP exchange: its headers, bodies and trailers in order.
//! - [`body`] — a body that is read whole.
//! - [`stream`] — a body that streams.
//! - [`encoding`] — bodies that are compressed.
//! - [`reply`] — answers as Envoy reads them.
//! - [`ext_authz`] — the same for requests alone, by Envoy's external authorization.

mod body;
mod encoding;
mod exchange;
mod ext_authz;
mod reply;
mod stream;

use std::sync::Arc;

use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server::ExternalProcessor;
use envoy_types::pb::envoy::service::ext_proc::v3::{ProcessingRequest, ProcessingResponse};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::gateway::GatewayConfig;
use super::service::{Service, Timed, tenant, unwinding};
use super::status::ApiError;
use crate::ops::traces;
use exchange::Exchange;
pub(super) use ext_authz::ExtAuthz;

/// Metadata of the call that names the policy: a route's own word (`grpc_initial_metadata`).
const POLICY_METADATA: &str = "x-portcullis-policy";

/// The service, for Envoy.
#[derive(Clone)]
pub(super) struct ExtProc {
    service: Service,
    config: Arc<GatewayConfig>,
    /// KiB of bodies that may be held.
    buffers: Arc<Semaphore>,
}

impl ExtProc {
    pub(super) fn new(service: Service, config: GatewayConfig) -> Self {
        Self {
            service,
            buffers: Arc::new(Semaphore::new(config.max_buffered_bytes >> 10)),
            config: Arc::new(config),
        }
    }
}

#[tonic::async_trait]
impl ExternalProcessor for ExtProc {
    type ProcessStream = ReceiverStream<Result<ProcessingResponse, Status>>;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let place = self.service.stream_place().map_err(ApiError::into_status)?;
        let tenant = tenant(request.extensions());
        let parent = traces::parent(request.metadata());
        let policy = request.metadata().get(POLICY_METADATA);
        let policy = policy.and_then(|v| v.to_str().ok()).unwrap_or_default();
        let policy = policy.to_owned();
        let (answers, receiver) = mpsc::channel(1);
        let processor = self.clone();
        tokio::spawn(async move {
            let _place = place;
            let work = async {
                let ExtProc {
                    service,
                    config,
                    buffers,
                } = &processor;
                let guard = service.ready()?;
                let exchange = Exchange::new(service, guard, config, buffers, tenant, policy);
                exchange.run(request.into_inner(), &answers).await
            };
            let done = Timed::new("ExtProc", &parent).run(unwinding(work)).await;
            if let Err(error) = done {
                let _ = answers.send(Err(error.into_status())).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
