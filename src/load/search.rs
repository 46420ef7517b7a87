//! The highest rate of arrivals that keeps a bound: LoadGen's Server scenario.

/// How a search goes on and when it ends.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    /// The first rate tried.
    pub start: f64,
    /// It ends when the rate is known to this share.
    pub precision: f64,
    /// It ends after this many probes at the latest.
    pub most_probes: usize,
}

/// The highest rate at which `probe` says that the bound was kept, with what the probe returned for
/// it; none where it was kept at no rate tried. Climbs in halves of the rate until one fails, then
/// halves the interval.
pub async fn highest_rate<R, E>(
    search: Search,
    mut probe: impl AsyncFnMut(f64) -> Result<(bool, R), E>,
) -> Result<Option<(f64, R)>, E> {
    let mut best: Option<(f64, R)> = None;
    let mut fails = f64::INFINITY;
    let mut rate = search.start;
    for _ in 0..search.most_probes {
        let (kept, report) = probe(rate).await?;
        if kept {
            best = Some((rate, report));
        } else {
            fails = rate;
        }
        let kept = best.as_ref().map_or(0.0, |b| b.0);
        if fails <= kept * (1.0 + search.precision) {
            break;
        }
        rate = if fails.is_finite() {
            (kept + fails) / 2.0
        } else {
            kept * 1.5
        };
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn search(start: f64, true_rate: f64) -> (Option<f64>, usize) {
        let mut probes = 0;
        let found = highest_rate(
            Search {
                start,
                precision: 0.02,
                most_probes: 30,
            },
            async |rate| {
                probes += 1;
                Ok::<_, ()>((rate <= true_rate, ()))
            },
        )
        .await;
        (found.unwrap().map(|f| f.0), probes)
    }

    #[tokio::test]
    async fn the_highest_rate_is_found_from_below_and_from_above() {
        for start in [1.0, 90.0, 100.0, 3000.0] {
            let (found, probes) = search(start, 100.0).await;
            let found = found.unwrap();
            assert!((98.0..=100.0).contains(&found), "{start}: {found}");
            assert!(probes < 25, "{start}: {probes}");
        }
        assert_eq!(search(1.0, 0.0).await.0, None);
    }
}
