//! Device time by events: of whole passes, and of the steps of one.

use std::sync::Arc;

use cudarc::driver::sys::CUevent_flags;
use cudarc::driver::{CudaEvent, CudaStream};

use super::error::CudaError;
use super::matmul::Matmul;
use super::network::Network;
use super::room::{Graph, Room};

/// Passes before one is taken apart: what it takes to launch its steps hides behind them.
const AHEAD: usize = 8;

/// Seconds of each of `passes` replays of `graph`, which works on what was last copied into `room`.
pub(super) fn replays(
    stream: &CudaStream,
    room: &Room,
    graph: &Graph,
    passes: usize,
) -> Result<Vec<f64>, CudaError> {
    // All are queued before the first is waited for: what it takes to launch one hides behind others.
    let mut marks = vec![mark(stream)?];
    for _ in 0..passes {
        graph.launch(room.last_slot())?;
        marks.push(mark(stream)?);
    }
    between(&marks)
}

/// Seconds of the steps of a pass in their order, those of the same name added up. The steps are launched one
/// by one, with an event after each.
///
/// # Safety
///
/// `graph` must have been captured for `network` in `room`.
pub(super) unsafe fn steps(
    stream: &Arc<CudaStream>,
    matmul: &mut Matmul,
    room: &Room,
    (network, graph): (&Network, &Graph),
) -> Result<Vec<(&'static str, f64)>, CudaError> {
    let slot = room.last_slot();
    for _ in 0..AHEAD {
        graph.launch(slot)?;
    }
    let (mut names, mut marks) = (Vec::new(), vec![mark(stream)?]);
    let mut after = |name| {
        names.push(name);
        marks.push(mark(stream)?);
        Ok(())
    };
    let place = (graph.bucket, slot);
    // SAFETY: the workspace holds the graph's pass, as the caller promises. The last mark is waited for below,
    // and after an error here.
    let enqueued = unsafe { network.enqueue(place, &room.workspace, stream, matmul, &mut after) };
    if enqueued.is_err() {
        let _ = stream.synchronize();
    }
    enqueued?;
    let mut steps: Vec<(&'static str, f64)> = Vec::new();
    for (name, seconds) in names.into_iter().zip(between(&marks)?) {
        match steps.iter_mut().find(|(other, _)| *other == name) {
            Some((_, sum)) => *sum += seconds,
            None => steps.push((name, seconds)),
        }
    }
    Ok(steps)
}

fn mark(stream: &CudaStream) -> Result<CudaEvent, CudaError> {
    Ok(stream.record_event(Some(CUevent_flags::CU_EVENT_DEFAULT))?)
}

/// Seconds from each mark to the next.
fn between(marks: &[CudaEvent]) -> Result<Vec<f64>, CudaError> {
    let pairs = marks.iter().zip(marks.iter().skip(1));
    pairs
        .map(|(begin, end)| Ok(f64::from(begin.elapsed_ms(end)?) / 1e3))
        .collect()
}
