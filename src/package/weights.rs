//! The tensors of a package: safetensors, single or sharded, read through candle.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::safetensors::BufferedSafetensors;
use candle_core::{DType, Device};
use serde::Deserialize;

use super::{Files, MAX_TEXT_FILE, PackageError};

/// Largest safetensors file that is read, in bytes.
const MAX_WEIGHTS: u64 = 16 << 30;
pub(super) const SINGLE: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// Named tensors, held in the precision of the file.
pub struct Weights {
    dir: PathBuf,
    shards: Vec<(String, BufferedSafetensors)>,
    /// Tensor name to shard.
    tensors: BTreeMap<String, usize>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

impl Weights {
    pub(super) fn open(files: &mut Files) -> Result<Self, PackageError> {
        let dir = files.dir().to_owned();
        let mut weights = Self {
            dir: dir.clone(),
            shards: Vec::new(),
            tensors: BTreeMap::new(),
        };
        if dir.join(SINGLE).exists() {
            weights.add(files, SINGLE)?;
        } else if let Some(bytes) = files.read_optional(INDEX, MAX_TEXT_FILE)? {
            let wrong = |problem: String| PackageError::field(&dir, INDEX, "weight_map", problem);
            let (names, tensors) = shards(&bytes).map_err(wrong)?;
            for name in &names {
                weights.add(files, name)?;
            }
            if let Some(tensor) = tensors.iter().find(|t| !weights.has(t)) {
                return Err(PackageError::field(
                    &dir,
                    INDEX,
                    tensor,
                    "is listed but is in no shard",
                ));
            }
        } else {
            let pickle = ["pytorch_model.bin", "model.pt", "model.bin"]
                .into_iter()
                .find(|f| dir.join(f).exists());
            return Err(PackageError::file(
                &dir,
                SINGLE,
                match pickle {
                    Some(found) => format!(
                        "no such file; {found} is a pickle, which can run code and is never \
                         opened: convert it to safetensors"
                    ),
                    None => format!("no such file, and no {INDEX}"),
                },
            ));
        }
        Ok(weights)
    }

    fn add(&mut self, files: &mut Files, name: &str) -> Result<(), PackageError> {
        let bytes = files.read(name, MAX_WEIGHTS)?;
        let shard = BufferedSafetensors::new(bytes)
            .map_err(|e| PackageError::field(&self.dir, name, "(safetensors header)", e))?;
        let index = self.shards.len();
        for (tensor, _) in shard.tensors() {
            self.tensors.insert(tensor, index);
        }
        self.shards.push((name.to_owned(), shard));
        Ok(())
    }

    /// Whether a tensor of this name is there.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// The values of tensor `name` as f32, row-major. Its shape must be `shape` and every value
    /// finite.
    pub fn load(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, PackageError> {
        let Some(&index) = self.tensors.get(name) else {
            let file = self.shards.first().map_or(SINGLE, |(f, _)| f);
            return Err(PackageError::field(
                &self.dir,
                file,
                name,
                format!("no such tensor; one of shape {shape:?} is needed"),
            ));
        };
        let (file, shard) = &self.shards[index];
        let error = |problem: String| PackageError::field(&self.dir, file, name, problem);
        let tensor = shard
            .load(name, &Device::Cpu)
            .map_err(|e| error(e.to_string()))?;
        if tensor.dims() != shape {
            return Err(error(format!(
                "has shape {:?}; config.json asks for {shape:?}",
                tensor.dims()
            )));
        }
        if !matches!(tensor.dtype(), DType::F32 | DType::F16 | DType::BF16) {
            return Err(error(format!(
                "has type {:?}; F32, F16 and BF16 are read",
                tensor.dtype()
            )));
        }
        let values = tensor
            .to_dtype(DType::F32)
            .and_then(|t| t.flatten_all())
            .and_then(|t| t.to_vec1::<f32>())
            .map_err(|e| error(e.to_string()))?;
        match values.iter().position(|v| !v.is_finite()) {
            None => Ok(values),
            Some(at) => Err(error(format!("value {at} is {}, not a number", values[at]))),
        }
    }

    /// An error about a field of `config.json`, for the networks built from these weights.
    #[must_use]
    pub fn config_error(&self, field: &str, problem: impl std::fmt::Display) -> PackageError {
        PackageError::field(&self.dir, "config.json", field, problem)
    }
}

/// The shards and the tensors that an index lists.
pub(super) fn shards(index: &[u8]) -> Result<(Vec<String>, Vec<String>), String> {
    let index: Index = serde_json::from_slice(index).map_err(|e| e.to_string())?;
    let mut names: Vec<String> = index.weight_map.values().cloned().collect();
    names.sort();
    names.dedup();
    let plain = |name: &str| Path::new(name).file_name().is_some_and(|f| f == name);
    match names.iter().find(|name| !plain(name)) {
        None => Ok((names, index.weight_map.into_keys().collect())),
        Some(name) => Err(format!("{name:?} is not a plain file name")),
    }
}

impl std::fmt::Debug for Weights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Weights")
            .field("dir", &self.dir)
            .field("tensors", &self.tensors.len())
            .finish_non_exhaustive()
    }
}
