//! `POST /v1/check`: `portcullis.v1.CheckRequest` and `CheckResponse` in proto3's JSON.

use super::call::Call;
use crate::api::convert;
use crate::api::json;
use crate::api::pb::v1::CheckRequest;
use crate::api::status::ApiError;
use crate::ops::auth::CallerRole;

pub(super) const PATH: &str = "/v1/check";

pub(super) async fn answer(call: Call) -> Result<Vec<u8>, ApiError> {
    let mut request: CheckRequest = json::read_message("portcullis.v1.CheckRequest", &call.body)?;
    if let Some(policy) = call.policy()? {
        request.policy_id = policy;
    }
    call.service.ready()?;
    let utf16 = request.utf16_offsets;
    let roles: &[CallerRole] = match request.include_scores {
        true => &[CallerRole::Check, CallerRole::Scores],
        false => &[CallerRole::Check],
    };
    let check = convert::check(request, call.tenant(roles)?, call.deadline, || call.id())?;
    let (verdict, token) = call.service.check(check).await?;
    let response = convert::verdict(verdict, token, utf16);
    Ok(json::to_vec("portcullis.v1.CheckResponse", &response)?)
}
