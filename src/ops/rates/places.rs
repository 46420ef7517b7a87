//! What each tenant may have open at once.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, PoisonError};

use super::Exhausted;

/// The places of one kind that each tenant has.
#[derive(Debug)]
pub(super) struct Places {
    what: &'static str,
    limit: NonZeroU32,
    /// Those that are taken; no tenant stands here with none.
    taken: Mutex<HashMap<Arc<str>, u32>>,
}

/// A tenant's place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    tenant: Arc<str>,
}

impl Places {
    pub(super) fn new(what: &'static str, limit: NonZeroU32) -> Arc<Self> {
        Arc::new(Self {
            what,
            limit,
            taken: Mutex::default(),
        })
    }

    /// A place of this tenant's, or the error that it has none left.
    pub(super) fn take(self: &Arc<Self>, tenant: &Arc<str>) -> Result<Place, Exhausted> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.get(tenant).copied().unwrap_or(0);
        if count >= self.limit.get() {
            return Err(Exhausted::Places {
                tenant: tenant.clone(),
                limit: self.limit,
                what: self.what,
            });
        }
        taken.insert(tenant.clone(), count + 1);
        Ok(Place {
            places: self.clone(),
            tenant: tenant.clone(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken = &self.places.taken;
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.tenant) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.tenant)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_the_tenants_until_it_is_dropped() {
        let places = Places::new("streams", NonZeroU32::new(2).unwrap());
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let (first, second) = (places.take(&a).unwrap(), places.take(&a).unwrap());
        let refused = places.take(&a).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "a has 2 streams open, as many as it may have at once"
        );
        let other = places.take(&b).unwrap();
        drop(first);
        let third = places.take(&a).unwrap();
        assert!(places.take(&a).is_err());
        drop((second, third, other));
        assert!(places.taken.lock().unwrap().is_empty());
    }
}
