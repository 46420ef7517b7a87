//! Tensors as they travel.

use crate::api::pb::inference as pb;
use crate::api::status::ApiError;
use pb::model_infer_request::InferInputTensor;
use pb::model_infer_response::InferOutputTensor;
use pb::model_metadata_response::TensorMetadata;

/// The input of every model.
pub(super) const TEXT: &str = "text";

/// What a tensor is.
pub(super) fn metadata(name: &str, datatype: &str, shape: &[i64]) -> TensorMetadata {
    TensorMetadata {
        name: name.into(),
        datatype: datatype.into(),
        shape: shape.to_vec(),
    }
}

/// The texts of the input `text`: BYTES of one dimension, `[n]` or `[n, 1]`, in `contents` or raw (each
/// after its length, four bytes, the lowest first). At most `most`.
pub(super) fn texts(
    inputs: &[InferInputTensor],
    raw: &[Vec<u8>],
    most: usize,
) -> Result<Vec<String>, ApiError> {
    let [input] = inputs else {
        let problem = format!("{} are given; one is needed, {TEXT:?}", inputs.len());
        return Err(ApiError::invalid("inputs", problem));
    };
    let invalid = |field: &str, problem: String| {
        Err(ApiError::invalid(&format!("inputs[0].{field}"), problem))
    };
    if input.name != TEXT {
        return invalid("name", format!("{:?}; {TEXT:?} is needed", input.name));
    }
    if input.datatype != "BYTES" {
        return invalid("datatype", format!("{:?}; BYTES is needed", input.datatype));
    }
    let count = match input.shape.as_slice() {
        &[count] | &[count, 1] if count >= 1 => usize::try_from(count).unwrap_or(usize::MAX),
        shape => return invalid("shape", format!("{shape:?}; [n] or [n, 1] is needed")),
    };
    if count > most {
        return invalid("shape", format!("{count} texts; at most {most}"));
    }
    let contents = input.contents.as_ref().map(|c| c.bytes_contents.as_slice());
    let values: Vec<&[u8]> = match (contents.unwrap_or_default(), raw) {
        (contents, []) => contents.iter().map(Vec::as_slice).collect(),
        ([], [raw]) => {
            split(raw).map_err(|problem| ApiError::invalid("raw_input_contents[0]", problem))?
        }
        ([], raw) => {
            let problem = format!("{} are given, of 1 input", raw.len());
            return Err(ApiError::invalid("raw_input_contents", problem));
        }
        (_, _) => return invalid("contents", "are given both as they are and raw".into()),
    };
    if values.len() != count {
        return invalid(
            "shape",
            format!("{count} texts; {} are there", values.len()),
        );
    }
    let text = |(i, bytes): (usize, &[u8])| {
        let problem = match std::str::from_utf8(bytes) {
            Ok("") => "is empty".to_owned(),
            Ok(text) => return Ok(text.to_owned()),
            Err(error) => error.to_string(),
        };
        Err(ApiError::invalid(&format!("{TEXT}[{i}]"), problem))
    };
    values.into_iter().enumerate().map(text).collect()
}

/// The values of a raw BYTES tensor.
fn split(mut raw: &[u8]) -> Result<Vec<&[u8]>, String> {
    let mut values = Vec::new();
    while !raw.is_empty() {
        let cut = || format!("value {} is cut short", values.len());
        let (length, rest) = raw.split_first_chunk().ok_or_else(cut)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (value, rest) = rest.split_at_checked(length).ok_or_else(cut)?;
        values.push(value);
        raw = rest;
    }
    Ok(values)
}

/// A tensor to send.
pub(super) struct Tensor {
    pub(super) name: &'static str,
    pub(super) shape: Vec<i64>,
    pub(super) values: Values,
}

/// What is in it.
pub(super) enum Values {
    Floats(Vec<f32>),
    Texts(Vec<String>),
}

impl Tensor {
    /// Adds it to `response`, its values raw or as they are.
    pub(super) fn add_to(self, response: &mut pb::ModelInferResponse, raw: bool) {
        let mut contents = pb::InferTensorContents::default();
        let mut bytes = Vec::new();
        let datatype = match self.values {
            Values::Floats(floats) => {
                bytes.extend(floats.iter().flat_map(|f| f.to_le_bytes()));
                contents.fp32_contents = floats;
                "FP32"
            }
            Values::Texts(texts) => {
                for text in &texts {
                    bytes.extend((text.len() as u32).to_le_bytes());
                    bytes.extend(text.as_bytes());
                }
                contents.bytes_contents = texts.into_iter().map(String::into_bytes).collect();
                "BYTES"
            }
        };
        if raw {
            response.raw_output_contents.push(bytes);
        }
        response.outputs.push(InferOutputTensor {
            name: self.name.into(),
            datatype: datatype.into(),
            shape: self.shape,
            contents: (!raw).then_some(contents),
            ..InferOutputTensor::default()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn raw_values_are_split_by_their_lengths_and_cut_ones_are_refused() {
        let two = [&[2, 0, 0, 0][..], b"ab", &[0, 0, 0, 0], &[1, 0, 0, 0], b"c"].concat();
        assert_eq!(split(&two).unwrap(), [&b"ab"[..], b"", b"c"]);
        assert_eq!(split(&[]).unwrap(), [&[0u8; 0][..]; 0]);
        for cut in [&two[..1], &two[..5], &two[..8], &[255; 4], &[255; 8]] {
            assert!(split(cut).is_err(), "{cut:?}");
        }
    }
}
