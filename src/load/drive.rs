//! When requests are sent: each as the last is answered, or at random moments of a given rate.

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::task::{JoinSet, block_in_place};

use super::{Recorder, Report, Sender};

/// Keeps `in_flight` requests open for `duration`, then waits for the last answers.
pub async fn closed(
    sender: &Sender,
    in_flight: usize,
    duration: Duration,
    recorder: &Recorder,
) -> Report {
    let start = Instant::now();
    let end = start + duration;
    let mut callers = JoinSet::new();
    for _ in 0..in_flight {
        let (sender, recorder) = (sender.clone(), recorder.clone());
        callers.spawn(async move {
            while Instant::now() < end {
                sender.send(Instant::now(), &recorder).await;
            }
        });
    }
    callers.join_all().await;
    recorder.report(start, None)
}

/// Sends `rate` requests a second for `duration` as a Poisson process drawn from `seed`, whether or
/// not they are answered, then waits for the last answers. Needs a runtime of several threads.
pub async fn open(
    sender: &Sender,
    rate: f64,
    duration: Duration,
    seed: u64,
    recorder: &Recorder,
) -> Report {
    let mut calls = JoinSet::new();
    let start = Instant::now();
    // The runtime's timer ticks in milliseconds; a sleeping thread is more exact.
    block_in_place(|| {
        for after in arrivals(rate, duration, seed) {
            let due = start + after;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let (sender, recorder) = (sender.clone(), recorder.clone());
            calls.spawn(async move { sender.send(due, &recorder).await });
            while calls.try_join_next().is_some() {}
        }
    });
    calls.join_all().await;
    recorder.report(start, Some(rate))
}

/// Moments of a Poisson process: gaps are exponential with a mean of `1 / rate`.
fn arrivals(rate: f64, duration: Duration, seed: u64) -> impl Iterator<Item = Duration> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut at = 0.0;
    std::iter::from_fn(move || {
        let uniform: f64 = random.random(); // [0, 1)
        at -= (1.0 - uniform).ln() / rate;
        (at < duration.as_secs_f64()).then(|| Duration::from_secs_f64(at))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrivals_are_poisson_and_the_same_for_a_seed() {
        let draw = |seed| -> Vec<f64> {
            let times = arrivals(500.0, Duration::from_secs(40), seed);
            times.map(|t| t.as_secs_f64()).collect()
        };
        let times = draw(7);
        assert_eq!(times, draw(7));
        assert_ne!(times, draw(8));
        let rate = times.len() as f64 / 40.0;
        assert!((rate - 500.0).abs() < 15.0, "{rate}");
        // Of an exponential's gaps, mean and standard deviation are equal.
        let gaps: Vec<f64> = times.windows(2).map(|w| w[1] - w[0]).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.05);
    }
}
