//! All the texts of a body through the guard.

use std::sync::Arc;
use std::time::Instant;

use super::literal::{Edit, apply};
use super::{Passage, Texts};
use crate::api::service::Service;
use crate::api::status::ApiError;
use crate::api::summary::Summary;
use crate::guard::{Action, Check, Segment, Selection};

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

/// Checks the texts of `body`, in as many checks as the limits on one ask for.
pub(in super::super) async fn scan(
    service: &Service,
    asked: &Asked,
    deadline: Instant,
    body: &str,
    texts: &Texts<'_>,
) -> Result<Scanned, ApiError> {
    let mut summary = Summary::default();
    let mut edits: Vec<Edit> = Vec::new();
    let (passages, segments): (Vec<Passage<'_>>, Vec<Segment>) = texts
        .texts
        .iter()
        .map(|t| (t.passage, t.role, t.passage.decode()))
        .filter(|(_, _, said)| !said.is_empty())
        .map(|(passage, role, said)| {
            let segment = Segment {
                role,
                text: Arc::from(&*said),
                id: None,
            };
            (passage, segment)
        })
        .unzip();
    let check = Check {
        id: asked.id.clone(),
        tenant: asked.tenant.clone(),
        segments,
        selection: Selection::Policy(asked.policy.clone()),
        deadline,
        conversation: None,
        include_scores: false,
    };
    let _permit = service.permit()?;
    for (first, verdict) in service.check_long(check).await? {
        for redacted in &verdict.redacted {
            if let Some(passage) = passages.get(first + redacted.segment) {
                let replaced = redacted.replaced.iter();
                let replaced = replaced.map(|r| (r.span.clone(), r.text.as_str()));
                edits.extend(passage.edits(body, replaced));
            }
        }
        summary.add(&verdict);
    }
    if !edits.is_empty() {
        let echoes = texts.echoes.iter();
        edits.extend(echoes.map(|value| Edit::silence(body, value)));
    }
    let passes = summary.action != Action::Block && !edits.is_empty();
    Ok(Scanned {
        redacted: passes.then(|| apply(body, edits)),
        summary,
    })
}
