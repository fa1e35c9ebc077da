//! Timeouts and limits that do not fit each other.

use std::time::Duration;

use http::Method;

use super::{Hits, Lint, Subject};
use crate::config::file::RouteRetry;
use crate::config::kind::time_text;
use crate::proxy::config::{LimitKey, RateLimit, Retry, Route};

pub(super) fn check(subject: &Subject<'_>, hits: &mut Hits) {
    for (at, item) in subject.routes() {
        let (id, route) = (subject.id(at), &subject.proxy.routes[at]);
        let written = &item.value.timeouts;
        let timeouts = route.timeouts;
        let longest = timeouts.first_byte.max(timeouts.idle);
        if timeouts.total.is_none() && longest >= PRACTICALLY_NONE && !route.websocket {
            let message = format!(
                "a request of route `{id}` may wait for {} at a time, and there is no `total`",
                time_text(longest)
            );
            let span = if timeouts.first_byte == longest {
                &written.first_byte.span
            } else {
                &written.idle.span
            };
            hits.add(Lint::L101, id, span.clone(), message)
                .set_reason("very long");
        }
        if let (Some(total), Some(outer)) = (timeouts.total, &written.total) {
            let mut upstreams = subject.proxy.upstreams.iter();
            let upstream = upstreams.find(|upstream| upstream.name == route.upstream);
            let connect = upstream.map(|it| it.connect_timeout).unwrap_or_default();
            for (name, inner) in [
                ("first_byte", timeouts.first_byte),
                ("connect_timeout", connect),
            ] {
                if inner >= total {
                    let message = format!(
                        "`{name}` of {} is not shorter than `total` of {} in route `{id}`",
                        time_text(inner),
                        time_text(total)
                    );
                    hits.add(Lint::L102, id, outer.span.clone(), message)
                        .set_reason("always ends first");
                }
            }
            if total > subject.proxy.drain && subject.proxy.drain > Duration::ZERO {
                let message = format!(
                    "a request of route `{id}` may take {}, and a drain ends after {}",
                    time_text(total),
                    time_text(subject.proxy.drain)
                );
                hits.add(Lint::L112, id, outer.span.clone(), message)
                    .set_reason("longer than the drain");
            }
        }
        if let Some(limit) = only_by_header(&subject.proxy.rate_limits, route)
            && let Some(written) = item.value.rate_limits.first()
        {
            let message = format!("route `{id}` is limited by headers only, such as by `{limit}`");
            hits.add(Lint::L110, id, written.span.clone(), message);
        }
        if let Some(retry) = &route.retry {
            retries(hits, id, route, retry, &item.value.retry);
        }
        if route.max_body_bytes >= LARGE_BODY {
            let message = format!(
                "route `{id}` takes bodies of {} GiB",
                route.max_body_bytes >> 30
            );
            hits.add(Lint::L111, id, item.value.max_body.span.clone(), message)
                .set_reason("very large");
        }
    }
    upstreams(subject, hits);
}

fn upstreams(subject: &Subject<'_>, hits: &mut Hits) {
    for (item, upstream) in subject.file.upstreams.iter().zip(&subject.proxy.upstreams) {
        let unasked = upstream.health.is_none() && upstream.eject_after.is_none();
        if unasked && upstream.endpoints.len() > 1 {
            let (name, count) = (&upstream.name, upstream.endpoints.len());
            let message = format!("the {count} endpoints of `{name}` have no health checks");
            hits.add(Lint::L106, name, item.span.clone(), message)
                .set_reason("no `health`, no `eject_after`");
        }
        if let Some(health) = &upstream.health
            && (health.rise == 1 || health.fall == 1)
        {
            let name = &upstream.name;
            let message = format!("one answer changes the standing of an endpoint of `{name}`");
            let written = &item.value.health;
            let span = if health.fall == 1 {
                &written.fall.span
            } else {
                &written.rise.span
            };
            hits.add(Lint::L107, name, span.clone(), message);
        }
        if upstream.idle_timeout >= COMMON_KEEP_ALIVE {
            let message = format!(
                "unused connections to `{}` are kept for {}",
                upstream.name,
                time_text(upstream.idle_timeout)
            );
            let span = item.value.idle_timeout.span.clone();
            hits.add(Lint::L113, &upstream.name, span, message)
                .set_reason("servers commonly close after 5 s");
        }
    }
}

/// The name of a limit of a route, if all of them go by headers.
fn only_by_header<'a>(limits: &'a [RateLimit], route: &Route) -> Option<&'a str> {
    let mut named = limits
        .iter()
        .filter(|it| route.rate_limits.contains(&it.name));
    let first = named.next()?;
    let by_header = |limit: &RateLimit| matches!(limit.key, LimitKey::Header(_));
    (by_header(first) && named.all(by_header)).then_some(&first.name)
}

fn retries(hits: &mut Hits, id: &str, route: &Route, retry: &Retry, written: &RouteRetry) {
    let repeats = |method: &String| {
        Method::from_bytes(method.as_bytes()).is_ok_and(|method| method.is_idempotent())
    };
    if !route.methods.is_empty() && !route.methods.iter().any(repeats) {
        let message = format!(
            "route `{id}` retries, and takes only {}",
            route.methods.join(", ")
        );
        hits.add(Lint::L103, id, written.attempts.span.clone(), message)
            .set_reason("never happens");
    }
    let per_try = retry.per_try.unwrap_or(route.timeouts.first_byte);
    let all = per_try.saturating_mul(u32::from(retry.attempts) + 1);
    if let Some(total) = route.timeouts.total.filter(|total| all > *total) {
        let message = format!(
            "{} attempts of route `{id}` may take {} each, and `total` is {}",
            retry.attempts + 1,
            time_text(per_try),
            time_text(total)
        );
        let span = written
            .per_try
            .as_ref()
            .map_or(&written.attempts.span, |it| &it.span);
        hits.add(Lint::L104, id, span.clone(), message)
            .set_reason("too long in sum");
    }
    if retry.budget_percent > LARGE_BUDGET {
        let message = format!(
            "route `{id}` may send {} of a hundred requests again",
            retry.budget_percent
        );
        hits.add(Lint::L105, id, written.budget.span.clone(), message);
    }
}

/// A budget above this does not keep an upstream that is down from being overrun (the usual one is 20 %).
const LARGE_BUDGET: u8 = 50;
/// From here on a timeout is one in name only.
const PRACTICALLY_NONE: Duration = Duration::from_secs(600);
/// From here on a body keeps a connection busy for minutes on common links.
const LARGE_BODY: u64 = 1 << 30;
/// Node.js's default, the shortest of the common ones.
const COMMON_KEEP_ALIVE: Duration = Duration::from_secs(5);
