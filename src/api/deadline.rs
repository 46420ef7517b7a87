//! A request's deadline, from gRPC's `grpc-timeout`.

use std::time::Duration;

use tonic::metadata::MetadataMap;

use super::status::ApiError;

/// Header of gRPC with the time that a caller allows.
const TIMEOUT: &str = "grpc-timeout";

/// The time the caller allows, if it says; an error if what it says is not gRPC.
pub(super) fn timeout(metadata: &MetadataMap) -> Result<Option<Duration>, ApiError> {
    let value = metadata.get(TIMEOUT);
    let read = value.map(|value| parse(value.as_encoded_bytes()));
    read.transpose().map_err(|p| ApiError::invalid(TIMEOUT, p))
}

fn parse(value: &[u8]) -> Result<Duration, String> {
    let text = std::str::from_utf8(value)
        .ok()
        .filter(|text| text.is_ascii())
        .ok_or("is not ASCII")?;
    let (digits, unit) = text.split_at(text.len().saturating_sub(1));
    let valid =
        !digits.is_empty() && digits.len() <= 8 && digits.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = match digits.parse() {
        Ok(number) if valid => number,
        _ => return Err(format!("{text:?} is not up to 8 digits and a unit")),
    };
    Ok(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return Err(format!("{text:?} has none of the units H, M, S, m, u, n")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_timeouts_are_read_and_nonsense_is_refused() {
        assert_eq!(parse(b"250m"), Ok(Duration::from_millis(250)));
        assert_eq!(parse(b"0S"), Ok(Duration::ZERO));
        let long = Duration::from_secs(99_999_999 * 3600);
        assert_eq!(parse(b"99999999H"), Ok(long));
        for bad in ["", "m", "-1m", "123456789m", "5x", "1.5S", "１m"] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        let mut metadata = MetadataMap::new();
        assert!(matches!(timeout(&metadata), Ok(None)));
        metadata.insert(TIMEOUT, "5x".parse().unwrap());
        let refused = timeout(&metadata).unwrap_err();
        assert_eq!(refused.field.as_deref(), Some(TIMEOUT));
    }
}
