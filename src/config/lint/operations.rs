//! What whoever is on call will miss.

use super::{Hits, Lint, Subject};

pub(super) fn check(subject: &Subject<'_>, hits: &mut Hits) {
    for (at, item) in subject.routes() {
        if item.value.owner.is_none() {
            let id = subject.id(at);
            let message = format!("nobody answers for route `{id}`");
            hits.add(Lint::O401, id, item.span.clone(), message)
                .set_reason("no `owner`");
        }
    }
    for item in &subject.file.slos {
        if let (Some(id), None) = (&item.value.id, &item.value.runbook) {
            let message = format!("alerts of `{}` do not say what to do", id.value);
            hits.add(Lint::O410, &id.value, item.span.clone(), message)
                .set_reason("no `runbook`");
        }
    }
}
