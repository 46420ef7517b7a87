//! A verdict for people: the action, the text with what was found marked, the detectors.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};

use crate::api::pb::v1::{Action, CheckResponse, DetectorState, Finding, Outcome};

const DIM: Style = Style::new().dimmed();

/// Writes the verdict on a single segment with this `text`. Styles are stripped by the stream where
/// the terminal has none.
pub(super) fn verdict(
    out: &mut impl Write,
    text: &str,
    response: &CheckResponse,
) -> io::Result<()> {
    let style = action_style(response.action()).bold();
    let action = action_name(response.action());
    let outcome = match response.outcome() {
        Outcome::Complete => "complete",
        Outcome::Partial => "PARTIAL",
        Outcome::Failed => "FAILED",
        Outcome::Unspecified => "unknown",
    };
    let total = response
        .timings
        .as_ref()
        .and_then(|t| t.total)
        .unwrap_or_default();
    let ms = total.seconds as f64 * 1e3 + f64::from(total.nanos) / 1e6;
    writeln!(
        out,
        "{style}{action}{style:#}  {DIM}policy {} ({}), {outcome}, {ms:.1} ms{DIM:#}",
        printable(&response.policy_id),
        printable(&response.policy_version)
    )?;
    if !response.action_reason.is_empty() {
        writeln!(out, "{}", printable(&response.action_reason))?;
    }
    writeln!(out)?;
    marked(out, text, &response.findings)?;
    if !response.findings.is_empty() {
        writeln!(out)?;
    }
    for finding in &response.findings {
        line(out, text, finding)?;
    }
    for redacted in &response.redacted {
        writeln!(out, "\n{DIM}redacted{DIM:#}  {}", printable(&redacted.text))?;
    }
    writeln!(out)?;
    for detector in &response.detectors {
        let state = match detector.state() {
            DetectorState::Scored => "scored",
            DetectorState::Shed => "SHED",
            DetectorState::Deadline => "DEADLINE",
            DetectorState::Failed => "FAILED",
            DetectorState::Skipped => "skipped",
            DetectorState::Unspecified => "unknown",
        };
        writeln!(
            out,
            "{DIM}{:<10} {state}, {} windows, {} {} on {}{}{}{DIM:#}",
            printable(&detector.detector),
            detector.windows_scanned,
            printable(&detector.package),
            printable(&detector.package_version),
            printable(&detector.device),
            if detector.reason.is_empty() { "" } else { ": " },
            printable(&detector.reason)
        )?;
    }
    Ok(())
}

/// The text with the findings' spans in colour. Whole-text findings colour nothing but what no
/// entity covers.
fn marked(out: &mut impl Write, text: &str, findings: &[Finding]) -> io::Result<()> {
    let mut cuts = vec![0, text.len()];
    for (start, end) in findings.iter().map(bytes) {
        cuts.extend([start, end]);
    }
    cuts.retain(|&c| c <= text.len() && text.is_char_boundary(c));
    cuts.sort_unstable();
    cuts.dedup();
    write!(out, "  ")?;
    for part in cuts.windows(2) {
        let (start, end) = (part[0], part[1]);
        let shortest = findings
            .iter()
            .filter(|f| bytes(f).0 <= start && end <= bytes(f).1)
            .min_by_key(|f| bytes(f).1 - bytes(f).0);
        let piece = printable(&text[start..end]);
        match shortest {
            Some(finding) => {
                let style = action_style(finding.action()).underline();
                write!(out, "{style}{piece}{style:#}")?;
            }
            None => write!(out, "{piece}")?,
        }
    }
    writeln!(out)
}

fn line(out: &mut impl Write, text: &str, finding: &Finding) -> io::Result<()> {
    let style = action_style(finding.action());
    let (start, end) = bytes(finding);
    let cut: String = text
        .get(start..end)
        .unwrap_or_default()
        .chars()
        .take(40)
        .collect();
    let score = match (finding.score, finding.threshold) {
        (Some(score), Some(threshold)) => format!("{score:.3} (from {threshold:.2})"),
        (Some(score), None) => format!("{score:.3}"),
        _ => String::new(),
    };
    // How it was found: the pattern, and the disguises undone.
    let rule = Some(&finding.rule).filter(|rule| !rule.is_empty());
    let by: Vec<String> = rule
        .into_iter()
        .chain(&finding.undone)
        .map(|by| printable(by))
        .collect();
    let by = if by.is_empty() {
        String::new()
    } else {
        format!("  {DIM}({}){DIM:#}", by.join(", "))
    };
    writeln!(
        out,
        "  {style}{:<8}{style:#} {:<10} {:<16} {score:<18} {:>5}..{:<5} {}{by}",
        action_name(finding.action()),
        printable(&finding.detector),
        printable(&finding.label),
        start,
        end,
        printable(&cut).replace(['\n', '\t'], " ")
    )
}

fn bytes(finding: &Finding) -> (usize, usize) {
    let span = finding.span.unwrap_or_default();
    (span.start_byte as usize, span.end_byte as usize)
}

/// Control and formatting characters would act on the terminal: they are shown as codes.
pub(super) fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        let hidden = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}');
        if (c.is_control() && c != '\n' && c != '\t') || hidden {
            out.push_str(&format!("<U+{:04X}>", c as u32));
        } else {
            out.push(c);
        }
    }
    out
}

fn action_name(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Monitor => "monitor",
        Action::Redact => "redact",
        Action::Block => "BLOCK",
        Action::Unspecified => "unknown",
    }
}

fn action_style(action: Action) -> Style {
    let color = match action {
        Action::Allow => AnsiColor::Green,
        Action::Monitor => AnsiColor::Cyan,
        Action::Redact => AnsiColor::Yellow,
        Action::Block | Action::Unspecified => AnsiColor::Red,
    };
    Style::new().fg_color(Some(color.into()))
}
