//! How much a tenant may ask for in a while, and at once: what keeps one from taking the server from the others,
//! and from asking a model so much that it can be copied.

mod places;

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

pub use places::Place;
use places::Places;
use serde::{Deserialize, Serialize};

/// Charges after which tenants whose accounts are full again are forgotten.
const FORGET_EVERY: u32 = 4096;

/// `[server.rates]`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RatesConfig {
    /// Of every tenant that is not listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Rate>,
    /// Of these tenants.
    pub tenants: BTreeMap<String, Rate>,
}

/// What one tenant may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Checks, and texts that are streamed, a second; any number where none is given.
    pub checks_per_second: Option<NonZeroU32>,
    /// Bytes of text a second; any number where none is given.
    pub bytes_per_second: Option<NonZeroU32>,
    /// Seconds of either that may be used at once.
    #[serde(default = "ten")]
    pub burst_s: NonZeroU32,
    /// Requests under way at once; any number where none is given.
    pub max_in_flight: Option<NonZeroU32>,
    /// Open streams at once; any number where none is given.
    pub max_streams: Option<NonZeroU32>,
}

fn ten() -> NonZeroU32 {
    const TEN: NonZeroU32 = NonZeroU32::new(10).expect("is not 0");
    TEN
}

/// The tenants' accounts.
#[derive(Debug, Default)]
pub struct Rates {
    default: Option<Kind>,
    tenants: BTreeMap<String, Kind>,
}

/// A tenant that has used up what it may ask for.
#[derive(Debug, thiserror::Error)]
pub enum Exhausted {
    /// In a while.
    #[error("{tenant} has used up its {limit} {what} a second")]
    Rate {
        /// Who.
        tenant: Arc<str>,
        /// How much a second.
        limit: NonZeroU32,
        /// Of what.
        what: &'static str,
        /// When there is enough again.
        retry_after: Duration,
    },
    /// At once.
    #[error("{tenant} has {limit} {what} open, as many as it may have at once")]
    Places {
        /// Who.
        tenant: Arc<str>,
        /// How many.
        limit: NonZeroU32,
        /// Of what.
        what: &'static str,
    },
}

impl Exhausted {
    /// When to come again.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::Rate { retry_after, .. } => *retry_after,
            Self::Places { .. } => Duration::from_millis(100),
        }
    }
}

#[derive(Debug)]
struct Kind {
    checks: Option<Accounts>,
    bytes: Option<Accounts>,
    in_flight: Option<Arc<Places>>,
    streams: Option<Arc<Places>>,
}

/// The accounts of one kind: each fills up by `limit` a second, up to `burst`, and may be overdrawn by one
/// charge, which is then waited for.
#[derive(Debug)]
struct Accounts {
    what: &'static str,
    limit: NonZeroU32,
    burst: f64,
    balances: Mutex<Balances>,
}

#[derive(Debug, Default)]
struct Balances {
    by_tenant: HashMap<Arc<str>, Balance>,
    charges: u32,
}

#[derive(Debug)]
struct Balance {
    left: f64,
    at: Instant,
}

impl Rates {
    /// Full accounts.
    #[must_use]
    pub fn new(config: &RatesConfig) -> Self {
        let tenants = config.tenants.iter();
        Self {
            default: config.default.as_ref().map(Kind::new),
            tenants: tenants
                .map(|(tenant, rate)| (tenant.clone(), Kind::new(rate)))
                .collect(),
        }
    }

    /// Takes so many checks and bytes from the tenant's account. What is more than an account ever holds needs
    /// a full one, and leaves it overdrawn.
    ///
    /// # Errors
    ///
    /// Where there is not enough of either; then nothing is taken.
    pub fn charge(&self, tenant: &Arc<str>, checks: u32, bytes: usize) -> Result<(), Exhausted> {
        let Some(kind) = self.of(tenant) else {
            return Ok(());
        };
        let now = Instant::now();
        let checks = f64::from(checks);
        if let Some(accounts) = &kind.checks {
            accounts.charge(tenant, checks, now)?;
        }
        if let Some(accounts) = &kind.bytes
            && let Err(refused) = accounts.charge(tenant, bytes as f64, now)
        {
            // What is refused costs nothing.
            if let Some(accounts) = &kind.checks {
                accounts.give_back(tenant, checks);
            }
            return Err(refused);
        }
        Ok(())
    }

    /// One of the requests that the tenant may have under way; none where it may have any number.
    ///
    /// # Errors
    ///
    /// Where it has as many.
    pub fn request(&self, tenant: &Arc<str>) -> Result<Option<Place>, Exhausted> {
        let places = self.of(tenant).and_then(|kind| kind.in_flight.as_ref());
        places.map(|places| places.take(tenant)).transpose()
    }

    /// One of the streams that the tenant may have open; none where it may have any number.
    ///
    /// # Errors
    ///
    /// Where it has as many.
    pub fn stream(&self, tenant: &Arc<str>) -> Result<Option<Place>, Exhausted> {
        let places = self.of(tenant).and_then(|kind| kind.streams.as_ref());
        places.map(|places| places.take(tenant)).transpose()
    }

    fn of(&self, tenant: &str) -> Option<&Kind> {
        self.tenants.get(tenant).or(self.default.as_ref())
    }
}

impl Kind {
    fn new(rate: &Rate) -> Self {
        let accounts = |what, limit: Option<NonZeroU32>| {
            limit.map(|limit| Accounts {
                what,
                limit,
                burst: f64::from(limit.get()) * f64::from(rate.burst_s.get()),
                balances: Mutex::default(),
            })
        };
        Self {
            checks: accounts("checks", rate.checks_per_second),
            bytes: accounts("bytes of text", rate.bytes_per_second),
            in_flight: rate.max_in_flight.map(|most| Places::new("requests", most)),
            streams: rate.max_streams.map(|most| Places::new("streams", most)),
        }
    }
}

impl Accounts {
    fn charge(&self, tenant: &Arc<str>, amount: f64, now: Instant) -> Result<(), Exhausted> {
        let limit = f64::from(self.limit.get());
        let mut balances = self.balances.lock().unwrap_or_else(PoisonError::into_inner);
        balances.charges += 1;
        if balances.charges == FORGET_EVERY {
            balances.charges = 0;
            let full = |b: &Balance| b.by(now, limit) >= self.burst;
            balances.by_tenant.retain(|_, balance| !full(balance));
        }
        let balance = balances.by_tenant.entry(tenant.clone());
        let balance = balance.or_insert(Balance {
            left: self.burst,
            at: now,
        });
        let left = balance.by(now, limit).min(self.burst);
        let needed = amount.min(self.burst);
        if left < needed {
            return Err(Exhausted::Rate {
                tenant: tenant.clone(),
                limit: self.limit,
                what: self.what,
                retry_after: Duration::from_secs_f64((needed - left) / limit),
            });
        }
        *balance = Balance {
            left: left - amount,
            at: now,
        };
        Ok(())
    }

    fn give_back(&self, tenant: &Arc<str>, amount: f64) {
        let mut balances = self.balances.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(balance) = balances.by_tenant.get_mut(tenant) {
            balance.left += amount;
        }
    }
}

impl Balance {
    fn by(&self, now: Instant, limit: f64) -> f64 {
        self.left + now.saturating_duration_since(self.at).as_secs_f64() * limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(text: &str) -> Rates {
        Rates::new(&toml::from_str(text).unwrap())
    }

    #[test]
    fn each_tenant_has_an_account_of_its_own() {
        let rates = rates("default = { checks_per_second = 1, burst_s = 3 }");
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        for _ in 0..3 {
            rates.charge(&a, 1, 10).unwrap();
        }
        let refused = rates.charge(&a, 1, 10).unwrap_err();
        assert_eq!(refused.to_string(), "a has used up its 1 checks a second");
        let again = refused.retry_after().as_secs_f64();
        assert!(again > 0.5 && again <= 1.0, "{again}");
        rates.charge(&b, 1, 10).unwrap();
    }

    #[test]
    fn a_listed_tenant_has_what_is_listed_and_others_the_default_or_anything() {
        let rates = rates("tenants = { a = { bytes_per_second = 100, burst_s = 1 } }");
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        rates.charge(&b, 1, usize::MAX).unwrap();
        rates.charge(&a, 1, 60).unwrap();
        assert!(rates.charge(&a, 1, 60).is_err());
        rates.charge(&a, 1, 0).unwrap();
    }

    #[test]
    fn accounts_fill_up_and_a_charge_above_them_is_waited_for() {
        let rate = "bytes_per_second = 100\nburst_s = 2";
        let kind = Kind::new(&toml::from_str(rate).unwrap());
        let accounts = kind.bytes.unwrap();
        let (tenant, start): (Arc<str>, _) = ("a".into(), Instant::now());
        let charge = |amount, seconds| {
            let now = start + Duration::from_secs_f64(seconds);
            accounts
                .charge(&tenant, amount, now)
                .map_err(|e| e.retry_after().as_secs_f64())
        };
        assert_eq!(
            charge(1000.0, 0.0),
            Ok(()),
            "a full account takes any one charge"
        );
        assert_eq!(charge(50.0, 0.0), Err(8.5));
        assert_eq!(charge(50.0, 8.5), Ok(()));
        assert_eq!(charge(1000.0, 8.5), Err(2.0));
        // No more than the burst is saved.
        assert_eq!(charge(150.0, 1000.0), Ok(()));
        assert_eq!(charge(150.0, 1000.0), Err(1.0));
    }

    #[test]
    fn what_is_refused_costs_nothing() {
        let rate = "{ checks_per_second = 1, bytes_per_second = 100, burst_s = 2 }";
        let rates = rates(&format!("default = {rate}"));
        let tenant: Arc<str> = "a".into();
        rates.charge(&tenant, 1, 200).unwrap();
        for _ in 0..10 {
            let refused = rates.charge(&tenant, 1, 100).unwrap_err();
            assert!(refused.to_string().contains("bytes"), "{refused}");
        }
        rates.charge(&tenant, 1, 0).unwrap();
    }

    #[test]
    fn tenants_with_full_accounts_are_forgotten() {
        let rates = rates("default = { checks_per_second = 1000000, burst_s = 1 }");
        for i in 0..3 * FORGET_EVERY {
            rates.charge(&i.to_string().into(), 1, 0).unwrap();
        }
        let accounts = rates.default.unwrap().checks.unwrap();
        let known = accounts.balances.into_inner().unwrap().by_tenant.len();
        assert!(known < 2 * FORGET_EVERY as usize, "{known}");
    }
}
