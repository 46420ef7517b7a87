//! `POST /v1/restore`: `portcullis.v1.RestoreRequest` and `RestoreResponse` in proto3's JSON.

use super::call::Call;
use crate::api::json;
use crate::api::pb::v1::RestoreRequest;
use crate::api::status::ApiError;
use crate::ops::auth::CallerRole;

pub(super) const PATH: &str = "/v1/restore";

pub(super) async fn answer(call: Call) -> Result<Vec<u8>, ApiError> {
    let request: RestoreRequest = json::read_message("portcullis.v1.RestoreRequest", &call.body)?;
    let tenant = call.tenant(&[CallerRole::Restore])?;
    let response = call.service.restore(&tenant, &request).await?;
    Ok(json::to_vec("portcullis.v1.RestoreResponse", &response)?)
}
