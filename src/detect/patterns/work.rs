//! How many bytes a scan reads, counted in tests alone: what bounds its time on any machine.

#[cfg(test)]
thread_local! {
    static READ: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Counts bytes that are read.
#[inline(always)]
pub(super) fn count(bytes: usize) {
    #[cfg(test)]
    READ.with(|read| read.set(read.get() + bytes));
    #[cfg(not(test))]
    let _ = bytes;
}

/// How many bytes this thread has read since it was last asked.
#[cfg(test)]
pub(super) fn read() -> usize {
    READ.with(std::cell::Cell::take)
}
