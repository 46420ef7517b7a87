//! The grid of a guarded stream: blocks fixed by the text alone, each scored with what stands before it
//! and a lookahead behind it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use futures_util::{StreamExt, stream};

use super::{Found, OutputGuard};
use crate::detect::Source;
use crate::guard::gather::built_in_report;
use crate::guard::policy::Policies;
use crate::guard::{
    Check, CheckError, DetectorReport, DetectorState, Finding, Guard, Segment, Selection, Verdict,
};

/// Stands in reports for windows that could not be scanned at all.
const WINDOWS: &str = "windows";
/// Bytes of a block at least; it ends behind the next white space, or at twice as many.
const BLOCK: usize = 128;
/// Bytes behind a block that its window sees at least: about 32 tokens.
const LOOKAHEAD: usize = 128;
/// Blocks before a block that its window sees.
const CONTEXT: usize = 2;

/// Windows of a stream that are scored at once, where so much of the text is there.
const AT_ONCE: usize = 8;

/// A window of the text, and the block that it decides on.
struct Window {
    range: Range<usize>,
    block: Range<usize>,
    text: Arc<str>,
}

impl OutputGuard<'_> {
    /// Scores every block that can be scored; what each says is taken in the order of the text, up to one
    /// that blocks.
    pub(super) async fn advance(&mut self, last: bool) {
        let windows = self.complete(last);
        let (guard, policies, asked) = (self.guard, self.policies.clone(), self.asked.clone());
        let policy = self.policy.id.to_string();
        let score = |window: Window| {
            let check = Check {
                id: asked.id.clone(),
                tenant: asked.tenant.clone(),
                segments: vec![Segment {
                    role: asked.role,
                    text: window.text.clone(),
                    id: None,
                }],
                selection: Selection::Policy(policy.clone()),
                conversation: None,
                deadline: Instant::now() + asked.timeout,
                include_scores: false,
            };
            let policies = policies.clone();
            async move {
                if window.text.trim().is_empty() {
                    return (window, None);
                }
                let verdict = patiently(guard, &policies, &check).await;
                (window, Some(verdict))
            }
        };
        let mut scored = stream::iter(windows).map(score).buffered(AT_ONCE);
        while !self.blocked
            && let Some((window, verdict)) = scored.next().await
        {
            if let Some(verdict) = verdict {
                self.take(&window, verdict);
            }
            self.blocks.push(window.block.end);
        }
    }

    /// The windows that are there from start to end and not scored yet, in order.
    fn complete(&self, last: bool) -> Vec<Window> {
        let mut windows = Vec::new();
        let recent = self.blocks.len().saturating_sub(CONTEXT + 1);
        let mut blocks = self.blocks[recent..].to_vec();
        while self.models
            && let Some(&start) = blocks.last().filter(|start| **start < self.text.len())
            && let Some(end) = cut(&self.text, start, BLOCK, last)
            && let Some(until) = cut(&self.text, end, LOOKAHEAD, last)
        {
            let from = blocks[(blocks.len() - 1).saturating_sub(CONTEXT)];
            windows.push(Window {
                range: from..until,
                block: start..end,
                text: self.text.get(from..until).unwrap_or_default().into(),
            });
            blocks.push(end);
        }
        windows
    }

    /// Whether the pattern matches the window as it is written, too.
    fn stands_bare(&self, window: &Window, finding: &Finding) -> bool {
        let catalog = self.guard.catalog();
        let source = catalog.detector(&finding.detector).map(|d| d.source);
        let set = match source {
            Some(Source::Patterns(family)) => Some(catalog.patterns(family)),
            _ => self.policy.deny.as_ref(),
        };
        let place = finding.start.byte..finding.end.byte;
        let label = &*finding.label;
        set.is_some_and(|set| {
            let matches = set.scan(&window.text);
            matches
                .iter()
                .any(|m| m.span == place && &*m.label == label)
        })
    }

    /// Keeps what the window says of its block.
    fn take(&mut self, window: &Window, verdict: Result<Verdict, CheckError>) {
        let block = &window.block;
        let verdict = match verdict {
            Ok(verdict) => verdict,
            Err(error) => {
                let mut report = built_in_report(WINDOWS, true);
                report.state = DetectorState::Failed;
                report.reason = Some(error.to_string());
                merge(&mut self.reports, report);
                if self.policy.fails_closed(&[self.asked.role]) {
                    self.blocked = true;
                    self.reason = Some(format!("a part could not be scanned: {error}"));
                }
                return;
            }
        };
        self.timings.tokenize += verdict.timings.tokenize;
        self.timings.queue += verdict.timings.queue;
        self.timings.engine += verdict.timings.engine;
        if verdict.reason.is_some() {
            self.blocked = true;
            self.reason = verdict.reason;
        }
        for report in verdict.detectors {
            merge(&mut self.reports, report);
        }
        for finding in verdict.findings {
            let spans = self
                .guard
                .catalog()
                .detector(&finding.detector)
                .is_some_and(|d| d.finds_spans);
            // Patterns see the text as a whole; windows add what was disguised, or told by a disguised word.
            let patterns = finding.rule.is_some();
            if patterns && finding.undone.is_empty() && self.stands_bare(window, &finding) {
                continue;
            }
            let range = if spans || patterns {
                let start = (window.range.start + finding.start.byte).max(block.start);
                start..window.range.start + finding.end.byte
            } else {
                block.clone()
            };
            // What begins behind the block is the next window's to say.
            if range.start >= block.end || range.is_empty() {
                continue;
            }
            self.note(Found {
                range,
                detector: finding.detector,
                label: finding.label.into(),
                rule: finding.rule,
                score: finding.score,
                threshold: finding.threshold,
                action: finding.action,
                undone: finding.undone,
            });
        }
    }
}

/// Checks a window. Where others are in its way, its own neighbours perhaps, it waits for as long as its
/// deadline allows.
async fn patiently(
    guard: &Guard,
    policies: &Policies,
    check: &Check,
) -> Result<Verdict, CheckError> {
    loop {
        let verdict = guard.check_by(policies, check).await;
        let wait = verdict.as_ref().err().and_then(CheckError::retry_after);
        match wait {
            Some(wait) if Instant::now() + wait < check.deadline => tokio::time::sleep(wait).await,
            _ => return verdict.map(|(verdict, _)| verdict),
        }
    }
}

/// Where the stretch of at least `least` bytes from `start` on ends: behind the next white space, or at
/// twice as many bytes. None where that cannot be known yet; the end of the text where it is `last`.
fn cut(text: &str, start: usize, least: usize, last: bool) -> Option<usize> {
    let bytes = text.as_bytes();
    let most = start + 2 * least;
    for (at, byte) in bytes.iter().enumerate().take(most).skip(start + least) {
        if byte.is_ascii_whitespace() {
            return Some(at + 1);
        }
    }
    if bytes.len() >= most {
        let mut end = most;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        return Some(end);
    }
    last.then_some(bytes.len())
}

/// Adds what a window's detector reports: the worst state, all windows, the least coverage.
fn merge(reports: &mut BTreeMap<String, DetectorReport>, report: DetectorReport) {
    let rank = |state: DetectorState| match state {
        DetectorState::Skipped => 0,
        DetectorState::Scored => 1,
        DetectorState::Shed => 2,
        DetectorState::Deadline => 3,
        DetectorState::Failed => 4,
    };
    match reports.get_mut(&report.name) {
        None => {
            reports.insert(report.name.clone(), report);
        }
        Some(known) => {
            known.windows += report.windows;
            known.coverage = known.coverage.min(report.coverage);
            if rank(report.state) > rank(known.state) {
                known.state = report.state;
                known.reason = report.reason;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::cut;

    #[test]
    fn cuts_depend_on_the_text_alone() {
        let text = "word ".repeat(200) + &"x".repeat(700) + &"é".repeat(300);
        let mut whole = Vec::new();
        let mut start = 0;
        while let Some(end) = cut(&text, start, 128, true).filter(|_| start < text.len()) {
            whole.push(end);
            start = end;
        }
        assert_eq!(whole.last(), Some(&text.len()));
        // Known as soon as a prefix allows it, and then never otherwise.
        let mut start = 0;
        for &end in &whole {
            for len in start..text.len() {
                if let Some(prefix) = text.get(..len)
                    && let Some(early) = cut(prefix, start, 128, false)
                {
                    assert_eq!(early, end);
                }
            }
            start = end;
        }
    }
}
