//! `GET /v1/detectors`: `portcullis.v1.ListDetectorsResponse` in proto3's JSON.

use super::call::Call;
use crate::api::convert;
use crate::api::json;
use crate::api::status::ApiError;

pub(super) const PATH: &str = "/v1/detectors";

pub(super) async fn answer(call: Call) -> Result<Vec<u8>, ApiError> {
    let offers = convert::offers(call.service.ready()?);
    Ok(json::to_vec(
        "portcullis.v1.ListDetectorsResponse",
        &offers,
    )?)
}
