//! What differs between two configurations, in words, and what a running process cannot change.

use std::collections::BTreeSet;

use crate::config::Resolved;

/// What a reload changed, in one line: "certificate edge renewed, +route promo, ~upstream checkout". `renewed` names
/// certificates whose files have another content than before.
pub(super) fn summary(before: &Resolved, after: &Resolved, renewed: &[&str]) -> String {
    let mut changes = Vec::new();
    compare(
        &mut changes,
        "listener",
        &before.proxy.listeners,
        &after.proxy.listeners,
        |item| &item.name,
    );
    compare(
        &mut changes,
        "certificate",
        &before.proxy.certificates,
        &after.proxy.certificates,
        |item| &item.name,
    );
    // One that is in other files now has been named already.
    let same = |name: &&&str| {
        let change = format!("~certificate {name}");
        !changes.contains(&change)
    };
    let renewed: Vec<_> = renewed.iter().filter(same).collect();
    changes.extend(
        renewed
            .iter()
            .map(|name| format!("certificate {name} renewed")),
    );
    compare(
        &mut changes,
        "upstream",
        &before.proxy.upstreams,
        &after.proxy.upstreams,
        |item| &item.name,
    );
    compare(
        &mut changes,
        "rate limit",
        &before.proxy.rate_limits,
        &after.proxy.rate_limits,
        |item| &item.name,
    );
    compare(
        &mut changes,
        "route",
        &before.proxy.routes,
        &after.proxy.routes,
        |item| &item.id,
    );
    compare(&mut changes, "slo", &before.slos, &after.slos, |item| {
        &item.id
    });
    compare(
        &mut changes,
        "policy",
        &before.policies,
        &after.policies,
        |item| &item.name,
    );
    compare(
        &mut changes,
        "notify",
        &before.receivers,
        &after.receivers,
        |item| &item.name,
    );
    compare(
        &mut changes,
        "probe",
        &before.probes.definitions,
        &after.probes.definitions,
        |item| &item.name,
    );
    compare(
        &mut changes,
        "module",
        &before.probes.modules,
        &after.probes.modules,
        |item| &item.name,
    );
    if before.proxy.limits != after.proxy.limits {
        changes.push("~limits".to_owned());
    }
    if before.proxy.trusted_proxies != after.proxy.trusted_proxies {
        changes.push("~trusted proxies".to_owned());
    }
    let more = changes.len().saturating_sub(SHOWN);
    changes.truncate(SHOWN);
    match (changes.is_empty(), more) {
        (true, _) => "no change".to_owned(),
        (false, 0) => changes.join(", "),
        (false, more) => format!("{} and {more} more", changes.join(", ")),
    }
}

/// Changes named in a summary; the rest is counted.
const SHOWN: usize = 4;

/// The one route or upstream that changed, when it is only one: what an incident after it will be compared with.
pub(super) fn scope(before: &Resolved, after: &Resolved) -> crate::model::Scope {
    let routes = changed(&before.proxy.routes, &after.proxy.routes, |route| &route.id);
    let upstreams = changed(
        &before.proxy.upstreams,
        &after.proxy.upstreams,
        |upstream| &upstream.name,
    );
    let only = |names: &BTreeSet<&str>| {
        (names.len() == 1)
            .then(|| names.first().map(ToString::to_string))
            .flatten()
    };
    match (routes.len(), upstreams.len()) {
        (1, 0) => crate::model::Scope {
            route: only(&routes),
            ..Default::default()
        },
        (0, 1) => crate::model::Scope {
            upstream: only(&upstreams),
            ..Default::default()
        },
        _ => crate::model::Scope::default(),
    }
}

/// Settings that differ and take effect only with a restart.
pub(super) fn needs_restart(before: &Resolved, after: &Resolved) -> Vec<&'static str> {
    let mut settings = Vec::new();
    if before.proxy.workers != after.proxy.workers {
        settings.push("proxy.workers");
    }
    if before.store != after.store {
        settings.push("state and history");
    }
    if before.admin != after.admin {
        settings.push("admin");
    }
    if before.access_log != after.access_log {
        settings.push("access_log");
    }
    if before.probes.key_file != after.probes.key_file {
        settings.push("probes.key_file");
    }
    if before.otlp != after.otlp {
        settings.push("otlp");
    }
    if before.instance != after.instance {
        settings.push("instance");
    }
    settings
}

fn compare<T: PartialEq>(
    changes: &mut Vec<String>,
    kind: &str,
    before: &[T],
    after: &[T],
    name: impl Fn(&T) -> &String,
) {
    let find = |items: &'_ [T], wanted: &str| items.iter().position(|item| name(item) == wanted);
    for item in before {
        if find(after, name(item)).is_none() {
            changes.push(format!("-{kind} {}", name(item)));
        }
    }
    for item in after {
        match find(before, name(item)) {
            None => changes.push(format!("+{kind} {}", name(item))),
            Some(place) if before[place] != *item => {
                changes.push(format!("~{kind} {}", name(item)));
            }
            Some(_) => {}
        }
    }
}

fn changed<'a, T: PartialEq>(
    before: &'a [T],
    after: &'a [T],
    name: impl Fn(&T) -> &String,
) -> BTreeSet<&'a str> {
    let differs = |items: &'a [T], others: &'a [T]| {
        items
            .iter()
            .filter(|item| !others.contains(item))
            .map(|item| name(item).as_str())
            .collect::<Vec<_>>()
    };
    differs(before, after)
        .into_iter()
        .chain(differs(after, before))
        .collect()
}
