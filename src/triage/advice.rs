//! What to do next: one concrete step, from the strongest evidence there is.

use super::evidence::{EndpointEvidence, RouteEvidence};
use super::{Locus, Strength, Suspect, words};
use crate::model::{Event, EventKind, Fault, Timestamp};

/// What the step is drawn from.
pub(super) struct Findings<'a> {
    pub(super) route: &'a RouteEvidence<'a>,
    pub(super) side: Locus,
    /// The most frequent fault.
    pub(super) fault: Option<Fault>,
    pub(super) suspect: Option<&'a Suspect>,
    /// A deploy of the route's upstream that came after the onset, the newest.
    pub(super) deployed_since: Option<&'a Event>,
    /// The endpoints that carry the errors while others do not.
    pub(super) culprits: &'a [&'a EndpointEvidence],
    pub(super) endpoints: &'a [EndpointEvidence],
    /// Whether nothing was bad in the last minute, though there was traffic.
    pub(super) is_over: bool,
    pub(super) now: Timestamp,
}

/// One step, without a full stop.
pub(super) fn next_step(findings: &Findings<'_>) -> String {
    let Findings {
        route,
        side,
        fault,
        suspect,
        deployed_since,
        culprits,
        endpoints: _,
        is_over,
        now,
    } = findings;
    let upstream = route.upstream.unwrap_or(route.id);
    if *is_over {
        return "errors have stopped; watch until the burn is down".to_owned();
    }
    if let Some(deploy) = deployed_since {
        return format!(
            "watch whether the deploy of {upstream} at {} helps before changing more",
            words::time(deploy.at, *now)
        );
    }
    if let Some(suspect) = suspect
        && let Some(step) = undo(route, upstream, suspect, *now)
    {
        return step;
    }
    if !culprits.is_empty() && *side == Locus::Upstream {
        let names = addresses(culprits.iter().map(|endpoint| endpoint.address.as_str()));
        return match fault {
            Some(Fault::ConnectRefused) => format!("check why {names} refuses connections"),
            _ => format!("take {names} out of {upstream} and read its log"),
        };
    }
    by_fault(findings, upstream)
}

/// Undoing the suspected change; `None` when it cannot be undone or too little speaks for it.
fn undo(
    route: &RouteEvidence<'_>,
    upstream: &str,
    suspect: &Suspect,
    now: Timestamp,
) -> Option<String> {
    let event = &suspect.event;
    let concerns =
        event.scope.upstream.is_some() && event.scope.upstream.as_deref() == route.upstream;
    match event.kind {
        EventKind::Name if concerns => Some(format!(
            "mend the record of {} or the cache that answers with it: {}",
            endpoint_name(event),
            words::plain(&event.text)
        )),
        EventKind::Deploy if concerns => Some(match (route.version, route.previous_version) {
            (Some(version), Some(previous)) => {
                format!("roll back {upstream} {version} to {previous}")
            }
            (Some(version), None) => format!("roll back {upstream} {version}"),
            (None, _) => format!("roll back {upstream}"),
        }),
        EventKind::Config
            if suspect.strength == Strength::Strong || suspect.before_onset_s <= 60 =>
        {
            Some(format!(
                "review the configuration applied at {}, and revert it if in doubt",
                words::time(event.at, now)
            ))
        }
        EventKind::Deploy
        | EventKind::Config
        | EventKind::Health
        | EventKind::Name
        | EventKind::Process
        | EventKind::Certificate
        | EventKind::Alert
        | EventKind::Probe
        | EventKind::Operator => None,
    }
}

/// The endpoint whose name an event is about.
fn endpoint_name(event: &Event) -> String {
    let endpoint = event.scope.endpoint.as_deref();
    words::plain(endpoint.unwrap_or("this name"))
}

fn by_fault(findings: &Findings<'_>, upstream: &str) -> String {
    let Findings {
        route,
        side,
        fault,
        endpoints,
        ..
    } = findings;
    let all = || {
        let named: Vec<String> = endpoints.iter().map(whereabouts).collect();
        addresses(named.iter().map(String::as_str))
    };
    // Where it is looked for, which may be where it was.
    let looked_for = || {
        let named = endpoints.iter().find_map(|endpoint| {
            let leads = endpoint
                .leads
                .as_ref()
                .filter(|leads| !leads.to.is_empty())?;
            Some(format!(
                "check whether {} still leads to the right place: nothing answers at {}",
                words::plain(&leads.name),
                addresses(leads.to.iter().map(String::as_str))
            ))
        });
        named.unwrap_or_else(|| format!("check the network between here and {upstream}"))
    };
    let refused = || match endpoints.len() {
        0 => format!("check why {upstream} refuses connections"),
        1 => format!("check why {} refuses connections", all()),
        _ => format!(
            "check why every endpoint of {upstream} refuses connections: {}",
            all()
        ),
    };
    let Some(fault) = fault else {
        return match side {
            Locus::Upstream => format!("check what makes {upstream} slow to answer"),
            Locus::Network => format!("check why connecting to {upstream} is slow"),
            Locus::Edge => "check this host's CPU and connections".to_owned(),
            Locus::Client => format!(
                "see in the access log which requests of {} are answered 4xx, and to whom",
                route.id
            ),
            Locus::None | Locus::Certificate | Locus::Unknown => {
                format!("look at route {} closer", route.id)
            }
        };
    };
    match fault {
        Fault::Overload => {
            "find which limit of the edge is reached, and raise it or shed load".to_owned()
        }
        Fault::Internal => "read Vestibule's own log for the defect and report it".to_owned(),
        Fault::Drained => "give the drain more time than the longest request takes".to_owned(),
        Fault::NoEndpoint => format!("bring an endpoint of {upstream} back: none can be tried"),
        Fault::CircuitOpen => {
            format!(
                "find why {upstream} failed: its circuit breaker is open, and tries it again by itself"
            )
        }
        Fault::UpstreamFull => format!(
            "find what makes {upstream} slow, or raise its `breaker` limits: it has as many requests as it is allowed"
        ),
        Fault::Dns => format!("check name resolution of the endpoints of {upstream}"),
        Fault::ConnectRefused => refused(),
        Fault::ConnectTimeout | Fault::ConnectFailed => looked_for(),
        Fault::TlsHandshake => format!("check the certificate and TLS settings of {upstream}"),
        Fault::FirstByteTimeout | Fault::IdleTimeout | Fault::TotalTimeout => {
            format!("check what {upstream} waits for: it does not answer in time")
        }
        Fault::UpstreamReset => {
            format!("check why {upstream} drops connections: crashes, restarts")
        }
        Fault::UpstreamProtocol => format!("check what {upstream} answers: it breaks the protocol"),
        Fault::UpstreamStatus => format!("read the log of {upstream} for its 5xx answers"),
        // A client's fault spends no budget, so it is never the most frequent one that does.
        Fault::ClientDisconnect
        | Fault::ClientStalled
        | Fault::RequestInvalid
        | Fault::RequestTimeout
        | Fault::HeadersTooLarge
        | Fault::BodyTooLarge
        | Fault::Misdirected
        | Fault::NoRoute
        | Fault::Forbidden
        | Fault::RateLimited
        | Fault::NotAllowed => format!("look at route {} closer", route.id),
    }
}

/// An endpoint's address, and where its name leads.
fn whereabouts(endpoint: &EndpointEvidence) -> String {
    match &endpoint.leads {
        Some(leads) if !leads.to.is_empty() => format!(
            "{} ({})",
            endpoint.address,
            addresses(leads.to.iter().map(String::as_str))
        ),
        Some(_) | None => endpoint.address.clone(),
    }
}

/// Up to three addresses, and how many more there are.
pub(super) fn addresses<'a>(addresses: impl Iterator<Item = &'a str>) -> String {
    const MOST: usize = 3;
    let all: Vec<&str> = addresses.collect();
    let shown = all
        .iter()
        .take(MOST)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    match all.len().saturating_sub(MOST) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}
