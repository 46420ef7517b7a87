//! Progress of long commands, on standard error and only on a terminal.

use std::borrow::Cow;
use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

/// Whether there is somebody to see it.
pub(super) fn is_shown() -> bool {
    std::io::stderr().is_terminal()
}

/// A bar over `total` steps with rate and time left.
pub(super) fn steps(total: u64) -> ProgressBar {
    bar(
        total,
        "{wide_bar} {human_pos} of {human_len}, {per_sec}, {eta} left  {msg}",
    )
}

/// A bar over time, in milliseconds, with a message.
pub(super) fn time(total_ms: u64) -> ProgressBar {
    bar(total_ms, "{prefix} {wide_bar} {elapsed}  {msg}")
}

fn bar(total: u64, template: &str) -> ProgressBar {
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(total).with_style(style)
}

/// Ends a bar and leaves nothing of it.
pub(super) fn clear(bar: &ProgressBar) {
    bar.set_message(Cow::Borrowed(""));
    bar.finish_and_clear();
}
