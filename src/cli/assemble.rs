//! From a configuration to a guard that is ready to check.

use std::sync::Arc;
use std::time::Duration;

use crate::config::{Config, ConfigError};
use crate::detect::{Catalog, CatalogError};
use crate::engine::{self, Engine, EngineError, EngineSettings};
use crate::guard::{Guard, GuardParts, PolicyError, PolicyStore, Redactor, Restorer};
use crate::scheduler::Scheduler;
use crate::text::normalise::Normaliser;
use crate::text::{TokenizePool, TokenizePoolError};

/// Why a guard could not be made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "each wraps an error that says it all")]
pub enum AssembleError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Tokenizers(#[from] TokenizePoolError),
    #[error("cannot start the device thread: {0}")]
    Thread(#[from] std::io::Error),
}

/// Loads packages and policies onto the device that the configuration names.
pub fn assemble(config: &Config) -> Result<Guard, AssembleError> {
    let memory = config.engine.device_memory_mib;
    let engine = engine::start(&EngineSettings {
        device: config.engine.device,
        device_loss: config.engine.on_device_loss,
        threads: config.engine.engine_threads(),
        cpu_precision: config.engine.cpu_precision,
        device_memory: (memory > 0).then_some(memory.saturating_mul(1 << 20)),
        max_batch_tokens: config.scheduler.max_batch_tokens,
    })?;
    assemble_on(config, engine)
}

/// Loads packages and policies onto `engine`.
pub fn assemble_on(config: &Config, mut engine: Box<dyn Engine>) -> Result<Guard, AssembleError> {
    config.validate()?;
    let (catalog, costs) = Catalog::load(&config.packages()?, engine.as_mut())?;
    let policies = PolicyStore::new(catalog.detectors.clone(), &config.all_policies()?)?;
    let tokenizers = TokenizePool::new(
        config.engine.tokenizer_threads(),
        config.engine.max_tokenizer_backlog_bytes,
    )?;
    let scheduler = Scheduler::start(engine, costs, (&config.scheduler).into())?;
    let secret = config.redaction.secret()?;
    let lifetime = Duration::from_secs(config.redaction.restore_ttl_s);
    Ok(Guard::new(GuardParts {
        catalog,
        policies: Arc::new(policies),
        normaliser: Normaliser::new(config.normalise.clone()),
        tokenizers,
        scheduler,
        limits: config.limits.clone(),
        redactor: Redactor::new(&secret),
        restorer: Restorer::new(&secret, lifetime),
    }))
}
