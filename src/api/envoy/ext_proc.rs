//! Envoy's external processing (`envoy.service.ext_proc.v3`): what clients ask of models and what models
//! answer, on its way through a gateway.

use std::sync::Arc;

use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server::ExternalProcessor;
use envoy_types::pb::envoy::service::ext_proc::v3::{ProcessingRequest, ProcessingResponse};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, Streaming};

use super::body::Context;
use super::exchange::Exchange;
use crate::api::answers::{Answers, answers};
use crate::api::authenticate::caller_as;
use crate::api::gateway::GatewayConfig;
use crate::api::service::{Service, Timed, unwinding};
use crate::ops::auth::CallerRole;
use crate::ops::traces;

const PROCESS: &str = "envoy.service.ext_proc.v3.ExternalProcessor/Process";

/// The service, for Envoy.
#[derive(Clone)]
pub(in super::super) struct ExtProc {
    service: Service,
    config: Arc<GatewayConfig>,
    /// KiB of bodies that may be held.
    buffers: Arc<Semaphore>,
}

impl ExtProc {
    pub(in super::super) fn new(service: Service, config: GatewayConfig) -> Self {
        Self {
            service,
            buffers: Arc::new(Semaphore::new(config.max_buffered_bytes >> 10)),
            config: Arc::new(config.prepared()),
        }
    }

    pub(super) fn context(&self) -> Context<'_> {
        Context {
            service: &self.service,
            config: &self.config,
            buffers: &self.buffers,
        }
    }
}

#[tonic::async_trait]
impl ExternalProcessor for ExtProc {
    type ProcessStream = Answers<ProcessingResponse>;

    async fn process(
        &self,
        request: Request<Streaming<ProcessingRequest>>,
    ) -> Result<Response<Self::ProcessStream>, Status> {
        let parent = traces::parent(request.metadata());
        let caller = caller_as(request.extensions(), CallerRole::Check);
        let opened = caller.and_then(|caller| {
            let place = self.service.stream_place(&caller.tenant)?;
            Ok((caller, place))
        });
        let (caller, place) = opened.map_err(|e| Timed::new(PROCESS, &parent).refuse(e))?;
        let policy = request.metadata().get(crate::api::POLICY);
        let policy = policy.and_then(|v| v.to_str().ok()).unwrap_or_default();
        let policy = policy.to_owned();
        let (answers, end, stream) = answers();
        let mut processor = self.clone();
        processor.service = self.service.of(&caller);
        tokio::spawn(async move {
            let work = async {
                let guard = processor.service.ready()?;
                let exchange = Exchange::new(processor.context(), guard, caller.tenant, policy);
                exchange.run(request.into_inner(), &answers).await
            };
            let done = Timed::new(PROCESS, &parent).run(unwinding(work)).await;
            drop(place); // before the caller knows, who may come again at once
            if let Err(error) = done {
                let _ = end.send(error.into_status());
            }
        });
        Ok(Response::new(stream))
    }
}
