//! All the texts of a body through the guard.

use std::sync::Arc;
use std::time::Instant;

use super::literal::{Edit, apply};
use super::{Passage, Texts};
use crate::api::service::Service;
use crate::api::status::ApiError;
use crate::api::summary::Summary;
use crate::aside::aside;
use crate::guard::{Action, Check, Segment, Selection, Verdict};

/// On whose behalf a body is scanned, and how.
#[derive(Debug, Clone)]
pub(in super::super) struct Asked {
    /// Names the exchange.
    pub(in super::super) id: String,
    /// On whose behalf.
    pub(in super::super) tenant: Arc<str>,
    /// The policy; the default one where empty.
    pub(in super::super) policy: String,
}

/// What became of a body.
#[derive(Debug)]
pub(in super::super) struct Scanned {
    /// What was found.
    pub(in super::super) summary: Summary,
    /// The body as it may pass; none where it may pass as it is, or not at all.
    pub(in super::super) redacted: Option<String>,
}

/// Bytes above which a body is read away from the threads that serve connections.
const QUICK_BYTES: usize = 64 << 10;

/// Whether a body can be read where connections are served.
pub(in super::super) fn is_quick(body: &[u8]) -> bool {
    body.len() <= QUICK_BYTES
}

/// Checks the texts of `body`, in as many checks as the limits on one ask for.
pub(in super::super) async fn scan(
    service: &Service,
    asked: &Asked,
    deadline: Instant,
    body: &str,
    texts: &Texts<'_>,
) -> Result<Scanned, ApiError> {
    let quick = is_quick(body.as_bytes());
    let said = texts.texts.iter();
    let said = said.map(|t| (t.passage, t.role, t.passage.decode()));
    let said = said.filter(|(_, _, said)| !said.is_empty());
    let segments = said.map(|(passage, role, said)| {
        let segment = Segment {
            role,
            text: Arc::from(&*said),
            id: None,
        };
        (passage, segment)
    });
    let (passages, segments): (Vec<Passage<'_>>, Vec<Segment>) = aside(quick, || segments.unzip());
    let check = Check {
        id: asked.id.clone(),
        tenant: asked.tenant.clone(),
        segments,
        selection: Selection::Policy(asked.policy.clone()),
        deadline,
        conversation: None,
        include_scores: false,
    };
    let _permit = service.permit(&asked.tenant)?;
    let verdicts = service.check_long(check).await?;
    let mut summary = Summary::default();
    for (_, verdict) in &verdicts {
        summary.add(verdict);
    }
    let redacted = match summary.action {
        Action::Block => None,
        _ => aside(quick, || redacted(body, texts, &passages, &verdicts)),
    };
    Ok(Scanned { summary, redacted })
}

/// `body` with what is replaced in its passages by these verdicts, which count from a passage each; none where
/// nothing is.
fn redacted(
    body: &str,
    texts: &Texts<'_>,
    passages: &[Passage<'_>],
    verdicts: &[(usize, Verdict)],
) -> Option<String> {
    let mut edits: Vec<Edit> = Vec::new();
    for (first, verdict) in verdicts {
        for redacted in &verdict.redacted {
            if let Some(passage) = passages.get(first + redacted.segment) {
                let replaced = redacted.replaced.iter();
                let replaced = replaced.map(|r| (r.span.clone(), r.text.as_str()));
                edits.extend(passage.edits(body, replaced));
            }
        }
    }
    if edits.is_empty() {
        return None;
    }
    let echoes = texts.echoes.iter();
    edits.extend(echoes.map(|value| Edit::silence(body, value)));
    Some(apply(body, edits))
}
