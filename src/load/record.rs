//! What was measured: counts, and latencies in a histogram of three digits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;
use tonic::Code;

use super::Fate;

/// Takes down what happens; clones share the page.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<Page>>);

#[derive(Default)]
struct Page {
    sent: u64,
    good: u64,
    bytes: u64,
    codes: BTreeMap<String, u64>,
    errors: BTreeMap<String, u64>,
    latency: Micros,
    lag: Micros,
    last: Option<Instant>,
}

/// Durations in microseconds.
struct Micros(Histogram<u64>);

/// The longest duration that is told apart from longer ones: an hour.
const LONGEST_US: u64 = 3_600_000_000;

impl Default for Micros {
    #[allow(
        clippy::expect_used,
        reason = "the arguments are constants that it accepts"
    )]
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST_US, 3).expect("1 to an hour, 3 digits"))
    }
}

impl Micros {
    fn add(&mut self, duration: Duration) {
        let us = u64::try_from(duration.as_micros()).unwrap_or(LONGEST_US);
        self.0.saturating_record(us.clamp(1, LONGEST_US));
    }

    fn ms(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1e3
    }
}

/// A summary.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Arrivals a second that were asked for; none in a closed loop.
    pub offered_rate: Option<f64>,
    /// From the start until the last answer.
    pub seconds: f64,
    /// Requests.
    pub sent: u64,
    /// Complete verdicts.
    pub good: u64,
    /// Answers a second, errors included.
    pub rate: f64,
    /// Complete verdicts a second.
    pub goodput: f64,
    /// Bytes of text a second in complete verdicts.
    pub text_bytes_per_second: f64,
    /// Of complete verdicts, from when the request was due.
    pub latency_ms: Latency,
    /// By how much 99% of the requests were sent late at most: the client's own slowness.
    pub send_lag_p99_ms: f64,
    /// Answers by gRPC code, as `portcullis_requests_total` counts them.
    pub codes: BTreeMap<String, u64>,
    /// What was not a complete verdict, by code and reason.
    pub errors: BTreeMap<String, u64>,
    /// The answers within each bound, for [`Report::share_within`].
    #[serde(skip)]
    within: Arc<Histogram<u64>>,
}

/// Quantiles, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Latency {
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    pub p99_9: f64,
    pub max: f64,
}

impl Recorder {
    fn page(&self) -> MutexGuard<'_, Page> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request goes out, this late.
    pub(super) fn sent(&self, lag: Duration) {
        let mut page = self.page();
        page.sent += 1;
        page.lag.add(lag);
    }

    /// A request has met its fate.
    pub(super) fn done(&self, took: Duration, bytes: usize, fate: Fate) {
        let mut page = self.page();
        page.last = Some(Instant::now());
        let code = match &fate {
            Fate::Good | Fate::Unfinished => Code::Ok,
            Fate::Failed { code, .. } => *code,
        };
        *page.codes.entry(format!("{code:?}")).or_default() += 1;
        let error = match fate {
            Fate::Good => {
                page.good += 1;
                page.bytes += bytes as u64;
                page.latency.add(took);
                return;
            }
            Fate::Unfinished => "Ok (not complete)".to_owned(),
            Fate::Failed { code, reason } => format!("{code:?} {reason}").trim_end().to_owned(),
        };
        *page.errors.entry(error).or_default() += 1;
    }

    /// Answers so far, and complete verdicts among them.
    #[must_use]
    pub fn answered(&self) -> (u64, u64) {
        let page = self.page();
        (page.codes.values().sum(), page.good)
    }

    /// The p99 so far, in milliseconds.
    #[must_use]
    pub fn p99_ms(&self) -> f64 {
        self.page().latency.ms(0.99)
    }

    /// Sums up what happened since `start`.
    #[must_use]
    pub fn report(&self, start: Instant, offered_rate: Option<f64>) -> Report {
        let page = self.page();
        let end = page.last.unwrap_or(start);
        let seconds = end.saturating_duration_since(start).as_secs_f64().max(1e-9);
        let latency = &page.latency;
        Report {
            offered_rate,
            seconds,
            sent: page.sent,
            good: page.good,
            rate: page.codes.values().sum::<u64>() as f64 / seconds,
            goodput: page.good as f64 / seconds,
            text_bytes_per_second: page.bytes as f64 / seconds,
            latency_ms: Latency {
                mean: latency.0.mean() / 1e3,
                p50: latency.ms(0.5),
                p90: latency.ms(0.9),
                p99: latency.ms(0.99),
                p99_9: latency.ms(0.999),
                max: latency.0.max() as f64 / 1e3,
            },
            send_lag_p99_ms: page.lag.ms(0.99),
            codes: page.codes.clone(),
            errors: page.errors.clone(),
            within: Arc::new(latency.0.clone()),
        }
    }
}

impl Report {
    /// Share of all requests that got a complete verdict within `bound`; a refused request did not.
    #[must_use]
    pub fn share_within(&self, bound: Duration) -> f64 {
        let us = u64::try_from(bound.as_micros()).unwrap_or(LONGEST_US);
        self.within.count_between(0, us) as f64 / self.sent.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_count_against_the_bound_and_by_code_and_reason() {
        let recorder = Recorder::default();
        let start = Instant::now();
        for i in 1..=100 {
            recorder.sent(Duration::ZERO);
            let fate = match i {
                100 => Fate::Failed {
                    code: Code::ResourceExhausted,
                    reason: "OVERLOADED".into(),
                },
                99 => Fate::Unfinished,
                _ => Fate::Good,
            };
            recorder.done(Duration::from_millis(i), 10, fate);
        }
        let report = recorder.report(start, None);
        assert_eq!((report.sent, report.good), (100, 98));
        assert_eq!(report.codes["Ok"], 99);
        assert_eq!(report.errors["ResourceExhausted OVERLOADED"], 1);
        assert!((report.share_within(Duration::from_millis(50)) - 0.5).abs() < 1e-9);
        assert!((report.share_within(Duration::from_secs(9)) - 0.98).abs() < 1e-9);
        assert!((report.latency_ms.p50 - 49.0).abs() < 0.1);
        assert!((report.latency_ms.max - 98.0).abs() < 0.1);
    }
}
