//! Work that would hold up the threads that serve connections.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Runs `work` here if that is quick; else away from the threads that serve connections.
pub(crate) fn aside<T>(quick: bool, work: impl FnOnce() -> T) -> T {
    if quick || Handle::current().runtime_flavor() == RuntimeFlavor::CurrentThread {
        return work();
    }
    tokio::task::block_in_place(work)
}
