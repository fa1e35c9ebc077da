//! Redirects and rewrites that do not lead where somebody wants to be.

use super::{Hits, Lint, Subject};
use crate::config::finding::Span;
use crate::proxy::elsewhere::{Moved, Redirect};
use crate::routing::pattern::PathPattern;
use crate::routing::witness::Witness;

pub(super) fn check(subject: &Subject<'_>, hits: &mut Hits) {
    for (at, item) in subject.routes() {
        let route = &subject.proxy.routes[at];
        let id = subject.id(at);
        let witnesses = subject.samples.requests(&subject.rules[at]);
        let mut taken = witnesses
            .into_iter()
            .filter(|it| subject.is_taken_by(it, at));
        if let Some(redirect) = &route.redirect
            && let Some(span) = item.value.redirect.changes()
            && let Some(witness) = taken
                .clone()
                .find(|it| comes_back(subject, at, redirect, it))
        {
            let message = format!("route `{id}` redirects {} to itself", witness.path);
            hits.add(Lint::R015, id, span.clone(), message)
                .set_reason("leads back here")
                .set_witness(subject.witnessed(&witness));
        }
        let rewrite = &item.value.rewrite;
        let span = rewrite.path.as_ref().or(rewrite.prefix.as_ref());
        if let (Some(moved), Some(span)) = (&route.rewrite, span.map(|it| &it.span)) {
            dropped(subject, at, moved, span, hits);
            let passed = taken.find_map(|it| Some((guard(subject, at, moved, &it)?, it)));
            if let Some((guard, witness)) = passed {
                let message = format!(
                    "route `{id}` asks for {} upstream, which `{}` guards",
                    moved.path(&witness.path),
                    subject.id(guard)
                );
                hits.add(Lint::S316, id, span.clone(), message)
                    .set_reason("past a guard")
                    .set_also(subject.file.routes[guard].span.clone(), "is guarded")
                    .set_witness(subject.witnessed(&witness));
            }
        }
    }
}

/// Whether where `witness` is sent is the same place again.
fn comes_back(subject: &Subject<'_>, at: usize, redirect: &Redirect, witness: &Witness) -> bool {
    // Another port comes in by another listener, or elsewhere.
    if redirect.port.is_some() {
        return false;
    }
    let host = redirect.host.as_deref().unwrap_or(&witness.host);
    let host = host.to_ascii_lowercase();
    let path = redirect.path.as_ref();
    let path = path.map_or_else(|| witness.path.clone(), |moved| moved.path(&witness.path));
    let reached = redirect.scheme.is_none_or(|scheme| {
        subject.listeners(at).any(|(_, listener)| match scheme {
            "https" => subject.covers(listener, &host),
            _ => listener.certificates.is_empty(),
        })
    });
    reached && subject.is_taken_by(&witness.to(&host).at(&path), at)
}

/// A whole path in the place of all below a prefix.
fn dropped(subject: &Subject<'_>, at: usize, moved: &Moved, span: &Span, hits: &mut Hits) {
    let exact = matches!(subject.rules[at].path, PathPattern::Exact(_));
    if let Moved::Path(path) = moved
        && !exact
    {
        let id = subject.id(at);
        let message = format!("every path of route `{id}` becomes {path}");
        hits.add(Lint::R014, id, span.clone(), message)
            .set_reason("drops what follows");
    }
}

/// The route whose guard stands on the path that is asked for upstream.
fn guard(subject: &Subject<'_>, at: usize, moved: &Moved, witness: &Witness) -> Option<usize> {
    let routes = &subject.proxy.routes;
    let there = witness.at(&moved.path(&witness.path));
    let guard = subject.matcher.find(&there.request())?;
    let same = routes[at].allow_from == routes[guard].allow_from
        && routes[at].deny_from == routes[guard].deny_from
        && routes[at].certified == routes[guard].certified;
    (guard != at && routes[guard].is_guarded() && !same).then_some(guard)
}
