//! The queue's order, admission, sharing and withdrawal, on a clock of the test's own.

use super::*;
use crate::scheduler::Window;

const MS: Duration = Duration::from_millis(1);

/// One millisecond a token.
fn queue(models: usize) -> Queue {
    let config = SchedulerConfig {
        batch_target: 64 * MS,
        short_tokens: 20,
        long_lane_age: 100 * MS,
        ..SchedulerConfig::default()
    };
    Queue::new(vec![CostModel::new(0.0, 1e-3, 0.0); models], config)
}

fn job(model: usize, lengths: &[usize], deadline: Instant) -> Job {
    job_of("t", model, lengths, deadline, 0)
}

/// `salt` makes windows differ.
fn job_of(tenant: &str, model: usize, lengths: &[usize], deadline: Instant, salt: u32) -> Job {
    let window = |(i, &n): (usize, &usize)| Window {
        ids: vec![salt * 1000 + i as u32; n].into(),
        heads: HeadSet::one(0),
    };
    Job {
        model: ModelId(model),
        tenant: tenant.into(),
        windows: lengths.iter().enumerate().map(window).collect(),
        deadline,
    }
}

fn done(receiver: &mut oneshot::Receiver<()>) -> bool {
    receiver.try_recv().is_ok()
}

fn scored(batch: &Batch) -> Vec<WindowOutcome> {
    vec![WindowOutcome::Scored(Arc::new(Vec::new())); batch.packed.lengths().len()]
}

fn lengths(batch: &Batch) -> Vec<usize> {
    batch.packed.lengths().to_vec()
}

#[test]
fn the_earliest_deadline_goes_first_within_a_lane() {
    let (mut q, now) = (queue(1), Instant::now());
    q.submit(job_of("t", 0, &[11], now + 900 * MS, 1), now)
        .unwrap();
    q.submit(job_of("t", 0, &[12], now + 300 * MS, 2), now)
        .unwrap();
    q.submit(job_of("t", 0, &[13], now + 600 * MS, 3), now)
        .unwrap();
    assert_eq!(lengths(&q.next_batch(now).unwrap()), [12, 13, 11]);
    assert!(q.next_batch(now).is_none());
}

#[test]
fn short_texts_pass_long_ones_until_these_have_aged() {
    let (mut q, now) = (queue(1), Instant::now());
    q.submit(job_of("t", 0, &[50, 50], now + 500 * MS, 1), now)
        .unwrap();
    q.submit(job_of("t", 0, &[5], now + 2000 * MS, 2), now)
        .unwrap();
    assert_eq!(lengths(&q.next_batch(now).unwrap()), [5, 50]);
    q.submit(job_of("t", 0, &[6], now + 2000 * MS, 3), now)
        .unwrap();
    let later = now + 150 * MS;
    assert_eq!(lengths(&q.next_batch(later).unwrap()), [50, 6]);
}

#[test]
fn a_batch_stops_at_its_predicted_time_but_is_never_empty() {
    let (mut q, now) = (queue(1), Instant::now());
    q.submit(job_of("t", 0, &[200], now + 2000 * MS, 1), now)
        .unwrap();
    q.submit(job_of("t", 0, &[40, 40], now + 2000 * MS, 2), now)
        .unwrap();
    assert_eq!(lengths(&q.next_batch(now).unwrap()), [200]);
    assert_eq!(lengths(&q.next_batch(now).unwrap()), [40]);
    assert_eq!(lengths(&q.next_batch(now).unwrap()), [40]);
}

#[test]
fn what_cannot_be_met_is_refused_with_a_hint_that_works() {
    let (mut q, now) = (queue(1), Instant::now());
    assert!(matches!(
        q.submit(job(0, &[100], now + 110 * MS), now),
        Err(Refusal::Unmeetable { .. })
    ));
    q.submit(job_of("t", 0, &[400], now + 500 * MS, 1), now)
        .unwrap();
    let late = || job_of("t", 0, &[100], now + 512 * MS, 2);
    let Err(Refusal::Overloaded {
        retry_after,
        waiting,
    }) = q.submit(late(), now)
    else {
        panic!("400 ms of work ahead is more than half of 80% of 512 ms");
    };
    assert_eq!(waiting, 400 * MS);
    assert!(
        retry_after >= 190 * MS && retry_after <= 200 * MS,
        "{retry_after:?}"
    );
    // As the batch runs down, the same request with the same time left fits.
    q.next_batch(now).unwrap();
    let then = now + retry_after + MS;
    q.submit(job_of("t", 0, &[100], then + 512 * MS, 3), then)
        .unwrap();
    assert_eq!(q.jobs.len(), 2, "refused jobs leave nothing behind");
}

#[test]
fn work_due_later_is_in_nobodys_way_and_keeps_its_own_promise() {
    let (mut q, now) = (queue(1), Instant::now());
    // Ten seconds of work that may take a minute.
    q.submit(job_of("t", 0, &[200; 50], now + 60_000 * MS, 1), now)
        .unwrap();
    q.next_batch(now).unwrap(); // 200 ms of it run
    q.submit(job_of("u", 0, &[50], now + 1000 * MS, 2), now)
        .unwrap();
    // When only eleven seconds are left for it, what would make it late is refused.
    let late = now + 49_000 * MS;
    q.submit(job_of("u", 0, &[100; 3], late + 2000 * MS, 3), late)
        .unwrap();
    let more = q.submit(job_of("u", 0, &[300; 5], late + 4000 * MS, 4), late);
    assert!(
        matches!(more, Err(Refusal::Overloaded { .. })),
        "{:?}",
        more.err()
    );
}

#[test]
fn equal_windows_of_a_tenant_run_once_and_those_of_another_do_not_join() {
    let (mut q, now) = (queue(1), Instant::now());
    let (_, mut a) = q
        .submit(job_of("t", 0, &[10], now + 900 * MS, 1), now)
        .unwrap();
    let (_, mut b) = q
        .submit(job_of("t", 0, &[10], now + 500 * MS, 1), now)
        .unwrap();
    let (_, mut c) = q
        .submit(job_of("u", 0, &[10], now + 700 * MS, 1), now)
        .unwrap();
    let batch = q.next_batch(now).unwrap();
    assert_eq!(lengths(&batch), [10, 10]);
    // One more joins while it runs.
    let (_, mut d) = q
        .submit(job_of("t", 0, &[10], now + 900 * MS, 1), now)
        .unwrap();
    q.complete(&batch, scored(&batch), MS);
    assert!(done(&mut a) && done(&mut b) && done(&mut c) && done(&mut d));
    assert!(q.next_batch(now).is_none());
}

#[test]
fn a_shared_window_survives_one_withdrawal_and_keeps_the_earliest_live_deadline() {
    let (mut q, now) = (queue(1), Instant::now());
    let (first, _) = q
        .submit(job_of("t", 0, &[10], now + 200 * MS, 1), now)
        .unwrap();
    let (_, mut kept) = q
        .submit(job_of("t", 0, &[10], now + 900 * MS, 1), now)
        .unwrap();
    q.submit(job_of("t", 0, &[11], now + 500 * MS, 2), now)
        .unwrap();
    q.withdraw(first);
    let batch = q.next_batch(now).unwrap();
    assert_eq!(
        lengths(&batch),
        [11, 10],
        "the deadline is the second caller's now"
    );
    q.complete(&batch, scored(&batch), MS);
    assert!(done(&mut kept));
}

#[test]
fn withdrawn_and_expired_work_never_reaches_the_device() {
    let (mut q, now) = (queue(1), Instant::now());
    let (gone, _) = q
        .submit(job_of("t", 0, &[30, 30, 30], now + 900 * MS, 1), now)
        .unwrap();
    let (late, mut told) = q
        .submit(job_of("t", 0, &[30], now + 400 * MS, 2), now)
        .unwrap();
    let (_, _) = q
        .submit(job_of("t", 0, &[7], now + 2000 * MS, 3), now)
        .unwrap();
    q.withdraw(gone);
    let batch = q.next_batch(now + 450 * MS).unwrap();
    assert_eq!(lengths(&batch), [7]);
    assert!(done(&mut told));
    let result = q.take(late, now + 450 * MS);
    assert!(matches!(result.windows[..], [WindowOutcome::Expired]));
    q.complete(&batch, scored(&batch), MS);
    assert_eq!((q.queued_tokens, q.entries.len(), q.same.len()), (0, 0, 0));
    assert!(q.due.is_empty());
}

#[test]
fn a_window_expires_for_one_caller_and_runs_for_the_other() {
    let (mut q, now) = (queue(1), Instant::now());
    let (_, mut early) = q
        .submit(job_of("t", 0, &[10], now + 100 * MS, 1), now)
        .unwrap();
    let (_, mut later) = q
        .submit(job_of("t", 0, &[10], now + 900 * MS, 1), now)
        .unwrap();
    let batch = q.next_batch(now + 150 * MS).unwrap();
    assert!(done(&mut early) && !done(&mut later));
    q.complete(&batch, scored(&batch), MS);
    assert!(done(&mut later));
}

#[test]
fn packages_share_the_device_by_time_not_by_number_of_requests() {
    let (mut q, now) = (queue(2), Instant::now());
    let far = now + Duration::from_secs(600);
    // The first package's windows cost three times as much, and it has as many.
    for salt in 0..60 {
        q.submit(job_of("t", 0, &[60], far, salt), now).unwrap();
        q.submit(job_of("t", 1, &[20], far, salt), now).unwrap();
    }
    let mut seconds = [0usize; 2];
    while seconds.iter().sum::<usize>() < 1800 {
        let batch = q.next_batch(now).unwrap();
        seconds[batch.model.0] += batch.packed.tokens();
        q.complete(&batch, scored(&batch), MS * batch.packed.tokens() as u32);
    }
    let share = seconds[0] as f64 / seconds[1] as f64;
    assert!((0.8..1.25).contains(&share), "{seconds:?}");
}

#[test]
fn bounds_on_tokens_and_requests_hold() {
    let now = Instant::now();
    let config = SchedulerConfig {
        max_queued_tokens: 100,
        max_jobs: 3,
        ..SchedulerConfig::default()
    };
    let mut q = Queue::new(vec![CostModel::new(0.0, 1e-6, 0.0)], config);
    let far = now + Duration::from_secs(60);
    q.submit(job_of("t", 0, &[90], far, 1), now).unwrap();
    assert!(matches!(
        q.submit(job_of("t", 0, &[20], far, 2), now),
        Err(Refusal::Overloaded { .. })
    ));
    q.submit(job_of("t", 0, &[5], far, 3), now).unwrap();
    q.submit(job_of("t", 0, &[5], far, 4), now).unwrap();
    assert!(q.next_batch(now).is_some());
    assert!(matches!(
        q.submit(job_of("t", 0, &[1], far, 5), now),
        Err(Refusal::Overloaded { .. })
    ));
}

#[test]
fn a_failed_batch_is_told_to_its_callers_and_an_empty_job_is_done_at_once() {
    let (mut q, now) = (queue(1), Instant::now());
    let (id, mut told) = q.submit(job(0, &[10], now + 900 * MS), now).unwrap();
    let batch = q.next_batch(now).unwrap();
    q.complete(&batch, vec![WindowOutcome::Failed("broken".into())], MS);
    assert!(done(&mut told));
    assert!(matches!(
        &q.take(id, now).windows[..],
        [WindowOutcome::Failed(_)]
    ));
    let (_, mut empty) = q.submit(job(0, &[], now + 900 * MS), now).unwrap();
    assert!(done(&mut empty));
}
