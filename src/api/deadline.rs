//! A request's deadline, from gRPC's `grpc-timeout`.

use std::time::Duration;

use tonic::metadata::MetadataMap;

/// The time the caller allows, if it says; an error if what it says is not gRPC.
pub(super) fn timeout(metadata: &MetadataMap) -> Result<Option<Duration>, String> {
    let Some(value) = metadata.get("grpc-timeout") else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| "is not ASCII".to_owned())?;
    let (digits, unit) = text.split_at(text.len().saturating_sub(1));
    let valid =
        !digits.is_empty() && digits.len() <= 8 && digits.bytes().all(|b| b.is_ascii_digit());
    let number: u64 = match digits.parse() {
        Ok(number) if valid => number,
        _ => return Err(format!("{text:?} is not up to 8 digits and a unit")),
    };
    let duration = match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return Err(format!("{text:?} has none of the units H, M, S, m, u, n")),
    };
    Ok(Some(duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Duration>, String> {
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", text.parse().unwrap());
        timeout(&metadata)
    }

    #[test]
    fn grpc_timeouts_are_read_and_nonsense_is_refused() {
        assert_eq!(parse("250m"), Ok(Some(Duration::from_millis(250))));
        assert_eq!(parse("0S"), Ok(Some(Duration::ZERO)));
        assert_eq!(
            parse("99999999H"),
            Ok(Some(Duration::from_secs(99_999_999 * 3600)))
        );
        assert_eq!(timeout(&MetadataMap::new()), Ok(None));
        for bad in ["", "m", "-1m", "123456789m", "5x", "1.5S", "１m"] {
            let parsed = bad.parse::<tonic::metadata::MetadataValue<_>>();
            if parsed.is_ok() {
                assert!(parse(bad).is_err(), "{bad:?}");
            }
        }
    }
}
