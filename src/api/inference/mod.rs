//! The Open Inference Protocol, version 2: `inference.GRPCInferenceService`, as clients of KServe and Triton
//! call it. A model is a detector, a package (all its detectors) or `guard` (a policy).

mod models;
mod outputs;
mod tensors;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tonic::{Code, Request, Response, Status};

use self::models::Model;
use super::authenticate::{caller, expect};
use super::deadline;
use super::pb::inference as pb;
use super::pb::inference::grpc_inference_service_server::GrpcInferenceService;
use super::pb::inference::infer_parameter::ParameterChoice;
use super::service::{Service, Timed, fresh_id};
use super::status::ApiError;
use crate::guard::{Check, Role, Segment};
use crate::ops::auth::CallerRole;
use crate::ops::traces;

/// The service.
#[derive(Clone)]
pub(super) struct Inference(pub(super) Service);

/// What a request may set.
#[derive(Default)]
struct Parameters {
    policy: Option<String>,
    role: Option<Role>,
    timeout: Option<Duration>,
}

impl Parameters {
    fn read(given: HashMap<String, pb::InferParameter>) -> Result<Self, ApiError> {
        let mut read = Self::default();
        for (name, value) in given {
            let field = format!("parameters.{name}");
            match (name.as_str(), value.parameter_choice) {
                ("policy", Some(ParameterChoice::StringParam(policy))) => {
                    read.policy = Some(policy);
                }
                ("role", Some(ParameterChoice::StringParam(role))) => {
                    let known = serde_json::from_value(role.into());
                    read.role = Some(known.map_err(|e| ApiError::invalid(&field, e))?);
                }
                // As Triton has it: in microseconds; 0 says nothing.
                ("timeout", Some(ParameterChoice::Int64Param(micros))) if micros >= 0 => {
                    read.timeout = Some(Duration::from_micros(micros as u64));
                }
                ("timeout", Some(ParameterChoice::Uint64Param(micros))) => {
                    read.timeout = Some(Duration::from_micros(micros));
                }
                _ => {
                    return Err(ApiError::invalid(
                        &field,
                        "is not known, or not of its type: policy (string), role (string) and timeout \
                         (microseconds) are",
                    ));
                }
            }
        }
        read.timeout = read.timeout.filter(|t| !t.is_zero());
        Ok(read)
    }
}

impl Inference {
    /// The model of this name and version.
    fn model(&self, name: &str, version: &str) -> Result<Model<'_>, ApiError> {
        let guard = self.0.ready()?;
        let model = models::find(guard, name).ok_or_else(|| {
            let known: Vec<_> = models::all(guard).into_iter().map(|m| m.name).collect();
            let problem = format!("model {name:?} is not served; {} are", known.join(", "));
            ApiError::new(Code::NotFound, "UNKNOWN_MODEL", problem)
        })?;
        if !version.is_empty() && version != model.version {
            let problem = format!("model {name:?} has version {:?} only", model.version);
            return Err(ApiError::new(Code::NotFound, "UNKNOWN_MODEL", problem));
        }
        Ok(model)
    }

    async fn infer(
        &self,
        request: pb::ModelInferRequest,
        tenant: Arc<str>,
        arrived: Instant,
        timeout: Option<Duration>,
    ) -> Result<pb::ModelInferResponse, ApiError> {
        let model = self.model(&request.model_name, &request.model_version)?;
        let parameters = Parameters::read(request.parameters)?;
        let timeout = timeout.into_iter().chain(parameters.timeout).min();
        let deadline = self.0.deadline(arrived, timeout);
        let wanted = outputs::wanted(&request.outputs)?;
        let most = self.0.ready()?.limits().max_segments;
        let raw = !request.raw_input_contents.is_empty();
        let texts = tensors::texts(&request.inputs, &request.raw_input_contents, most)?;

        let selection = model.selection(parameters.policy)?;
        let checks: Vec<Check> = texts
            .into_iter()
            .map(|text| Check {
                id: fresh_id(),
                tenant: tenant.clone(),
                segments: vec![Segment {
                    role: parameters.role.unwrap_or(Role::User),
                    text: text.into(),
                    id: None,
                }],
                selection: selection.clone(),
                deadline,
                conversation: None,
                include_scores: true,
            })
            .collect();
        let verdicts = self.0.check_each(checks).await?;

        let mut response = pb::ModelInferResponse {
            model_name: model.name.clone(),
            model_version: model.version.clone(),
            id: request.id,
            ..pb::ModelInferResponse::default()
        };
        for tensor in outputs::tensors(&wanted, &model.columns, verdicts)? {
            tensor.add_to(&mut response, raw);
        }
        Ok(response)
    }
}

#[tonic::async_trait]
impl GrpcInferenceService for Inference {
    async fn server_live(
        &self,
        _: Request<pb::ServerLiveRequest>,
    ) -> Result<Response<pb::ServerLiveResponse>, Status> {
        Ok(Response::new(pb::ServerLiveResponse { live: true }))
    }

    async fn server_ready(
        &self,
        _: Request<pb::ServerReadyRequest>,
    ) -> Result<Response<pb::ServerReadyResponse>, Status> {
        let ready = self.0.guard().is_some() && !self.0.is_leaving();
        Ok(Response::new(pb::ServerReadyResponse { ready }))
    }

    async fn model_ready(
        &self,
        request: Request<pb::ModelReadyRequest>,
    ) -> Result<Response<pb::ModelReadyResponse>, Status> {
        let asked = request.into_inner();
        let ready = self.model(&asked.name, &asked.version).is_ok() && !self.0.is_leaving();
        Ok(Response::new(pb::ModelReadyResponse { ready }))
    }

    async fn server_metadata(
        &self,
        _: Request<pb::ServerMetadataRequest>,
    ) -> Result<Response<pb::ServerMetadataResponse>, Status> {
        Ok(Response::new(pb::ServerMetadataResponse {
            name: "portcullis".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            extensions: vec!["model_repository".into()],
        }))
    }

    async fn model_metadata(
        &self,
        request: Request<pb::ModelMetadataRequest>,
    ) -> Result<Response<pb::ModelMetadataResponse>, Status> {
        let asked = request.into_inner();
        let model = self.model(&asked.name, &asked.version);
        let model = model.map_err(ApiError::into_status)?;
        Ok(Response::new(pb::ModelMetadataResponse {
            inputs: vec![tensors::metadata(tensors::TEXT, "BYTES", &[-1])],
            outputs: outputs::metadata(model.columns.len()),
            name: model.name,
            versions: vec![model.version],
            platform: "portcullis".into(),
        }))
    }

    async fn model_infer(
        &self,
        request: Request<pb::ModelInferRequest>,
    ) -> Result<Response<pb::ModelInferResponse>, Status> {
        let arrived = Instant::now();
        let parent = traces::parent(request.metadata());
        let work = async {
            let caller = caller(request.extensions());
            let _permit = self.0.permit(&caller.tenant)?;
            let timeout = deadline::timeout(request.metadata())?;
            expect(&caller, CallerRole::Check)?;
            expect(&caller, CallerRole::Scores)?;
            let tenant = caller.tenant;
            self.infer(request.into_inner(), tenant, arrived, timeout)
                .await
        };
        let method = "inference.GRPCInferenceService/ModelInfer";
        let result = Timed::new(method, &parent).run(work).await;
        result.map(Response::new).map_err(ApiError::into_status)
    }

    async fn repository_index(
        &self,
        _: Request<pb::RepositoryIndexRequest>,
    ) -> Result<Response<pb::RepositoryIndexResponse>, Status> {
        let guard = self.0.ready().map_err(ApiError::into_status)?;
        let listed = |model: Model<'_>| pb::repository_index_response::ModelIndex {
            name: model.name,
            version: model.version,
            state: "READY".into(),
            reason: String::new(),
        };
        Ok(Response::new(pb::RepositoryIndexResponse {
            models: models::all(guard).into_iter().map(listed).collect(),
        }))
    }

    async fn repository_model_load(
        &self,
        _: Request<pb::RepositoryModelLoadRequest>,
    ) -> Result<Response<pb::RepositoryModelLoadResponse>, Status> {
        Err(fixed().into_status())
    }

    async fn repository_model_unload(
        &self,
        _: Request<pb::RepositoryModelUnloadRequest>,
    ) -> Result<Response<pb::RepositoryModelUnloadResponse>, Status> {
        Err(fixed().into_status())
    }
}

/// The answer to who would change the models.
fn fixed() -> ApiError {
    ApiError::new(
        Code::FailedPrecondition,
        "MODELS_FIXED",
        "models are loaded at the start: change [[packages]] of the configuration and start anew",
    )
}
