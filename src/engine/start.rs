//! Which engine runs: the device that the configuration asks for, or what this machine has.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::failover::Failover;
use super::{CpuEngine, Engine, EngineError, Precision};

/// The device to run on: `auto`, `cpu`, `cuda` or `cuda:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum DeviceChoice {
    /// The first GPU where there is one that can be used, otherwise the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// This GPU and nothing else.
    Cuda(usize),
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_prefix("cuda:").and_then(|n| n.parse().ok());
        match (text, number) {
            ("auto", _) => Ok(Self::Auto),
            ("cpu", _) => Ok(Self::Cpu),
            ("cuda", _) => Ok(Self::Cuda(0)),
            (_, Some(ordinal)) => Ok(Self::Cuda(ordinal)),
            _ => Err(format!(
                "{text:?} is no device; auto, cpu, cuda and cuda:N are"
            )),
        }
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

impl From<DeviceChoice> for String {
    fn from(choice: DeviceChoice) -> Self {
        choice.to_string()
    }
}

/// What follows when a GPU fails in a way that no later call survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeviceLoss {
    /// The server drains and ends with an error, to be started again.
    #[default]
    Exit,
    /// The CPU takes over.
    Cpu,
}

/// What an engine is started with.
#[derive(Debug, Clone, Copy)]
pub struct EngineSettings {
    /// The device.
    pub device: DeviceChoice,
    /// What follows its loss.
    pub device_loss: DeviceLoss,
    /// Threads of the CPU engine.
    pub threads: usize,
    /// In what the CPU multiplies, where it does from the start.
    pub cpu_precision: Precision,
    /// Device memory for weights and workspace, in bytes; `None`: nine tenths of what is free.
    pub device_memory: Option<usize>,
    /// Tokens of the largest batch.
    pub max_batch_tokens: usize,
}

/// Starts the engine that `settings` ask for.
pub fn start(settings: &EngineSettings) -> Result<Box<dyn Engine>, EngineError> {
    let gpu = match settings.device {
        DeviceChoice::Cpu => None,
        DeviceChoice::Cuda(ordinal) => Some(cuda(settings, ordinal)?),
        DeviceChoice::Auto => match cuda(settings, 0) {
            Ok(engine) => {
                tracing::info!(device = engine.device(), "device = auto: found a GPU");
                Some(engine)
            }
            Err(error) => {
                tracing::warn!(reason = %error, "device = auto: NO GPU, running on the CPU");
                None
            }
        },
    };
    Ok(match (gpu, settings.device_loss) {
        (None, _) => Box::new(cpu(settings)?),
        (Some(engine), DeviceLoss::Exit) => engine,
        (Some(engine), DeviceLoss::Cpu) => Box::new(Failover::new(engine, settings.threads)),
    })
}

fn cpu(settings: &EngineSettings) -> Result<CpuEngine, EngineError> {
    let wanted = settings.cpu_precision;
    if wanted != wanted.available() {
        tracing::warn!("this machine has no AMX: engine.cpu_precision is float32");
    }
    CpuEngine::of_precision(settings.threads, wanted)
}

#[cfg(feature = "cuda")]
fn cuda(settings: &EngineSettings, ordinal: usize) -> Result<Box<dyn Engine>, EngineError> {
    Ok(Box::new(super::CudaEngine::new(super::CudaSettings {
        ordinal,
        memory: settings.device_memory,
        max_tokens: settings.max_batch_tokens,
    })?))
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: &EngineSettings, _: usize) -> Result<Box<dyn Engine>, EngineError> {
    Err(EngineError::Start(
        "this program was built without GPU support (cargo's feature `cuda`)".into(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_written_as_they_are_read() {
        for (text, choice) in [
            ("auto", DeviceChoice::Auto),
            ("cpu", DeviceChoice::Cpu),
            ("cuda:3", DeviceChoice::Cuda(3)),
        ] {
            assert_eq!(text.parse(), Ok(choice));
            assert_eq!(choice.to_string(), text);
        }
        assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
        for text in ["", "gpu", "cuda:", "cuda:-1", "CPU"] {
            assert!(text.parse::<DeviceChoice>().is_err(), "{text}");
        }
    }
}
