//! What is known of certificates, and what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::probes::Probes;
use super::workers::Listening;
use crate::cert::acme::issuer;
use crate::cert::expiry::{self, Stage};
use crate::cert::inventory::{Asked, Behind, Kept, Place, Plan, Sight};
use crate::cert::revocation;
use crate::config::Resolved;
use crate::model::{CertificateFacts, Event, EventKind, ProbeFailure, Scope, Timestamp};
use crate::proxy::config::Route;
use crate::routing::pattern::HostPattern;
use crate::snapshot::{
    CertificateAlertView, CertificateView, IssuanceView, RevocationView, Urgency,
};

/// All certificates that anybody has seen.
#[derive(Debug, Default)]
pub(super) struct Certs {
    /// What was seen in the last round, and when.
    sights: Vec<Sight>,
    seen_at: Timestamp,
    /// By certificate's name: since when its file holds another one than is served.
    stale: BTreeMap<String, Timestamp>,
    /// By id: since when, and how urgent.
    alerts: BTreeMap<String, (Timestamp, CertificateAlertView)>,
    views: Vec<CertificateView>,
    /// By listener: the names of its certificates.
    pub(super) matrix: BTreeMap<String, Vec<String>>,
    /// How those stand that are issued while we run.
    pub(super) issuances: Vec<IssuanceView>,
    /// What issuers have revoked.
    pub(super) revoked: revocation::Known,
}

/// For how long a file may hold another certificate than is served.
const RELOAD: Duration = Duration::from_secs(600);

/// What is to be looked at with this configuration.
pub(super) fn plan(resolved: &Resolved, listening: &[Listening]) -> Plan {
    let proxy = &resolved.proxy;
    let mut asked = BTreeSet::new();
    for listener in proxy
        .listeners
        .iter()
        .filter(|it| !it.certificates.is_empty())
    {
        let Some(bound) = listening.iter().find(|it| it.name == listener.name) else {
            continue;
        };
        let takes =
            |route: &&Route| route.listeners.is_empty() || route.listeners.contains(&listener.name);
        let routed = proxy.routes.iter().filter(takes);
        let routed = routed.flat_map(|route| &route.hosts).map(sample);
        let issued = resolved.acme.certificates.iter();
        let issued = issued
            .filter(|it| listener.certificates.contains(&it.name))
            .flat_map(|it| it.hosts.iter().map(|host| host.replace('*', ANY)));
        asked.extend(routed.chain(issued).map(|host| Asked {
            listener: listener.name.clone(),
            address: bound.address,
            host,
        }));
    }
    Plan {
        files: kept(resolved),
        asked: asked.into_iter().collect(),
        behind: behind(resolved),
    }
}

/// The endpoints whose certificates the proxy verifies.
fn behind(resolved: &Resolved) -> Vec<Behind> {
    let upstreams = resolved.proxy.upstreams.iter();
    let verified = upstreams.filter(|upstream| !upstream.tls.insecure);
    let endpoints = verified.flat_map(|upstream| {
        let endpoints = upstream.endpoints.iter().filter(|it| it.tls);
        endpoints.map(|endpoint| Behind {
            upstream: upstream.name.clone(),
            endpoint: endpoint.to_string(),
            host: endpoint.host.clone(),
            port: endpoint.port,
            name: upstream
                .tls
                .server_name
                .clone()
                .unwrap_or_else(|| endpoint.host.clone()),
            roots: upstream.tls.roots.clone(),
        })
    });
    endpoints.collect()
}

/// What a wildcard is asked for.
const ANY: &str = "any";

/// A host that a pattern takes.
fn sample(pattern: &HostPattern) -> String {
    match pattern {
        HostPattern::Exact(host) => host.clone(),
        HostPattern::Below(domain) => format!("{ANY}.{domain}"),
    }
}

/// The certificates of each TLS listener, by their names, in their order.
pub(super) fn matrix(resolved: &Resolved) -> BTreeMap<String, Vec<String>> {
    let listeners = resolved.proxy.listeners.iter();
    listeners
        .map(|it| (it.name.clone(), it.certificates.clone()))
        .collect()
}

/// Of which certificates it is looked up whether they were revoked.
pub(super) fn look_up(resolved: &Resolved) -> revocation::Plan {
    revocation::Plan {
        config: resolved.revocation.clone(),
        certificates: kept(resolved),
    }
}

fn kept(resolved: &Resolved) -> Vec<Kept> {
    let certificates = resolved.proxy.certificates.iter();
    let kept = certificates.map(|it| Kept {
        name: it.name.clone(),
        path: it.chain.clone(),
        issued: it.issued,
    });
    kept.collect()
}

/// What is to be issued with this configuration.
pub(super) fn issue(resolved: &Resolved, listening: &[Listening]) -> issuer::Plan {
    let mut shown_at = Vec::new();
    for listener in &resolved.proxy.listeners {
        let bound = listening.iter().find(|it| it.name == listener.name);
        let names = listener.certificates.iter();
        shown_at.extend(bound.into_iter().flat_map(|bound| {
            names
                .clone()
                .map(|name| (name.clone(), bound.address))
                .collect::<Vec<_>>()
        }));
    }
    issuer::Plan {
        config: resolved.acme.clone(),
        shown_at,
    }
}

impl Certs {
    /// Takes in a round of looking.
    pub(super) fn absorb(&mut self, now: Timestamp, sights: Vec<Sight>) {
        self.sights = sights;
        self.seen_at = now;
        let served: BTreeSet<&str> = self
            .sights
            .iter()
            .filter(|sight| matches!(sight.place, Place::Listener(_)))
            .filter_map(|sight| Some(sight.chain.as_ref().ok()?.first()?.sha256.as_str()))
            .collect();
        let mut stale = BTreeMap::new();
        for sight in &self.sights {
            let (Place::File(Kept { name, .. }), Ok(chain)) = (&sight.place, &sight.chain) else {
                continue;
            };
            let Some(leaf) = chain
                .first()
                .filter(|leaf| !served.contains(leaf.sha256.as_str()))
            else {
                continue;
            };
            // Shown for none of its hosts, while another one is shown for one of them.
            let others = self
                .sights
                .iter()
                .any(|sight| match (&sight.place, &sight.chain) {
                    (Place::Listener(asked), Ok(chain)) => {
                        leaf.covers(&asked.host) && !chain.is_empty()
                    }
                    _ => false,
                });
            if others {
                let since = self.stale.get(name).copied().unwrap_or(now);
                stale.insert(name.clone(), since);
            }
        }
        self.stale = stale;
    }

    /// Judges everything as of `now`; gives what changed.
    pub(super) fn judge(&mut self, now: Timestamp, probes: &Probes) -> Vec<Event> {
        self.views = self.look(now, probes);
        let mut before = std::mem::take(&mut self.alerts);
        let mut events = Vec::new();
        for view in &self.views {
            let (Some(urgency), Some(problem)) = (view.urgency, &view.problem) else {
                continue;
            };
            // A certificate that is seen in several places is one trouble, told where it was seen first.
            let about = view
                .certificate
                .as_ref()
                .map_or(&view.name, |facts| &facts.sha256);
            let id = format!("certificate:{about}");
            if self.alerts.contains_key(&id) {
                continue;
            }
            let text = format!("{} ({}): {problem}", view.name, view.source);
            let kind = view.kind.clone().unwrap_or_default();
            let same = |old: &(Timestamp, CertificateAlertView)| {
                old.1.kind == kind && old.1.urgency >= urgency
            };
            let old = before.remove(&id).filter(same);
            let since = old.as_ref().map_or(now, |(since, _)| *since);
            // What is worth a ticket or a page becomes an alert, which announces itself.
            if old.is_none() && urgency == Urgency::Warn {
                events.push(event(
                    now,
                    format!("certificate {text} ({})", urgency.as_str()),
                ));
            }
            let alert = CertificateAlertView {
                id: id.clone(),
                urgency,
                kind,
                name: view.name.clone(),
                source: view.source.clone(),
                since,
                text,
            };
            self.alerts.insert(id, (since, alert));
        }
        let warned = before
            .into_values()
            .filter(|(_, old)| old.urgency == Urgency::Warn);
        for (_, gone) in warned {
            events.push(event(
                now,
                format!("certificate {} is well again", gone.name),
            ));
        }
        events
    }

    /// Everything that is known, the most urgent first.
    pub(super) fn views(&self) -> Vec<CertificateView> {
        self.views.clone()
    }

    /// What is wrong, the most urgent first.
    pub(super) fn alerts(&self) -> Vec<CertificateAlertView> {
        let mut alerts: Vec<_> = self
            .alerts
            .values()
            .map(|(_, alert)| alert.clone())
            .collect();
        alerts.sort_by(|a, b| b.urgency.cmp(&a.urgency).then(a.name.cmp(&b.name)));
        alerts
    }

    fn look(&self, now: Timestamp, probes: &Probes) -> Vec<CertificateView> {
        let mut views = Vec::new();
        let expected = self.expected();
        for sight in &self.sights {
            let (source, name, place, host) = seen_at(sight);
            let (chain, error) = match &sight.chain {
                Ok(chain) => (chain.as_slice(), None),
                Err(error) => (&[][..], Some(error.clone())),
            };
            let found = Found {
                source,
                name,
                place,
                host,
                chain,
                seen_at: self.seen_at,
                expected: chain
                    .first()
                    .and_then(|leaf| expected.get(leaf.sha256.as_str()).copied()),
            };
            let mut view = found.view(now);
            let stale = self
                .stale
                .get(&view.name)
                .filter(|_| matches!(source, FILE | ISSUED));
            if let Place::Listener(asked) = &sight.place
                && let Some((name, leaf)) = self.wanted(asked)
            {
                view.expected = Some(name.to_owned());
                let shown = view.certificate.as_ref();
                view.as_expected = shown.map(|shown| shown.sha256 == leaf.sha256);
            }
            if source == ISSUED {
                let mut all = self.issuances.iter();
                if let Some(issuance) = all.find(|it| it.name == view.name) {
                    issue_view(&mut view, issuance, expected_of(issuance), now);
                }
            } else if source == UPSTREAM {
                refused_view(&mut view, sight.refused.as_ref());
            } else if let Some(error) = error {
                let urgency = if source == FILE {
                    Urgency::Ticket
                } else {
                    Urgency::Warn
                };
                view.say(urgency, "unreadable", error);
            }
            if let Some(since) = stale
                && now.since(*since) > RELOAD
            {
                view.say(
                    Urgency::Page,
                    "not_reloaded",
                    format!("renewed on disk, but another one has been served since {since}: reload Vestibule"),
                );
            }
            views.push(view);
        }
        for (probe, seen_at, chain) in probes.chains() {
            let definition = probe.definition();
            let found = Found {
                source: "probe",
                name: definition.name.clone(),
                place: definition.target.to_string(),
                host: None,
                chain,
                seen_at,
                expected: chain
                    .first()
                    .and_then(|leaf| expected.get(leaf.sha256.as_str()).copied()),
            };
            views.push(found.view(now));
        }
        for view in &mut views {
            let leaf = view.certificate.as_ref();
            if let Some(known) = leaf.and_then(|leaf| self.revoked.get(&leaf.sha256)) {
                view.revocation = Some(known.clone());
                revoked_view(view, known, now);
            }
        }
        views.sort_by(|a, b| {
            b.urgency.cmp(&a.urgency).then(
                a.left_s
                    .unwrap_or(i64::MAX)
                    .cmp(&b.left_s.unwrap_or(i64::MAX)),
            )
        });
        views
    }

    /// By fingerprint: when certificates that are issued while we run are expected to be renewed at the latest.
    fn expected(&self) -> BTreeMap<&str, Timestamp> {
        let leaves = self.sights.iter().filter_map(|sight| match &sight.place {
            Place::File(kept) if kept.issued => {
                let leaf = sight.chain.as_ref().ok()?.first()?;
                let issuance = self.issuances.iter().find(|it| it.name == kept.name)?;
                Some((leaf.sha256.as_str(), expected_of(issuance)?))
            }
            Place::File(_) | Place::Listener(_) | Place::Upstream(_) => None,
        });
        leaves.collect()
    }

    /// The certificate that a listener should show for a host by what lies on disk: of its certificates the first that
    /// names it, before the first with a wildcard for it.
    fn wanted(&self, asked: &Asked) -> Option<(&str, &CertificateFacts)> {
        let names = self.matrix.get(&asked.listener)?;
        let kept = |name: &String| {
            self.sights.iter().find_map(|sight| match &sight.place {
                Place::File(kept) if kept.name == *name => {
                    Some((kept.name.as_str(), sight.chain.as_ref().ok()?.first()?))
                }
                Place::File(_) | Place::Listener(_) | Place::Upstream(_) => None,
            })
        };
        let all: Vec<_> = names.iter().filter_map(kept).collect();
        let exact = |(_, leaf): &&(&str, &CertificateFacts)| leaf.names.contains(&asked.host);
        let exact = all.iter().find(exact);
        let any = || all.iter().find(|(_, leaf)| leaf.covers(&asked.host));
        exact.or_else(any).copied()
    }
}

/// A certificate of the configuration that comes from files, and one that is issued while we run.
const FILE: &str = "file";
const ISSUED: &str = "issued";
/// What an endpoint of an upstream shows us.
const UPSTREAM: &str = "upstream";
/// What one of our listeners shows.
const LISTENER: &str = "listener";

/// The source, the name and the place of what was seen, and the host that it has to be for.
fn seen_at(sight: &Sight) -> (&'static str, String, String, Option<&str>) {
    match &sight.place {
        Place::File(Kept { name, path, issued }) => (
            if *issued { ISSUED } else { FILE },
            name.clone(),
            path.display().to_string(),
            None,
        ),
        Place::Listener(asked) => (
            LISTENER,
            asked.host.clone(),
            asked.listener.clone(),
            Some(asked.host.as_str()),
        ),
        Place::Upstream(behind) => (
            UPSTREAM,
            behind.upstream.clone(),
            behind.endpoint.clone(),
            // Whether it is for another host is judged as the proxy does.
            sight
                .refused
                .as_ref()
                .filter(|(failure, _)| *failure == ProbeFailure::TlsName)
                .map(|_| behind.name.as_str()),
        ),
    }
}

/// Says of a certificate that an endpoint shows why the proxy refuses it, where its own dates and names do not say it. One
/// that does not answer at all is told of by its health.
fn refused_view(view: &mut CertificateView, refused: Option<&(ProbeFailure, String)>) {
    match refused {
        Some((ProbeFailure::TlsIncomplete, _)) => {
            let text = "its chain is incomplete: who issued it is missing";
            view.say(Urgency::Page, "untrusted", text.to_owned());
        }
        Some((_, why)) => view.say(Urgency::Page, "untrusted", format!("it is refused: {why}")),
        None => {}
    }
}

/// When a certificate is expected to be renewed at the latest: by the end of its authority's window, if there is one.
fn expected_of(issuance: &IssuanceView) -> Option<Timestamp> {
    let due = issuance.due_at?;
    Some(match issuance.window {
        Some((_, end)) => due.max(end),
        None => due,
    })
}

/// Says of a certificate what lists of revoked ones make of it.
fn revoked_view(view: &mut CertificateView, known: &RevocationView, now: Timestamp) {
    if let Some(list) = known.revoked() {
        let since = list
            .revoked_at
            .map_or_else(String::new, |at| format!(" {at}"));
        let reason = list.reason.as_deref().unwrap_or("Unspecified");
        // More than an end that is near; and as urgent as one that is over, which clients refuse all the same.
        if view.kind.as_deref() == Some("expiry") {
            view.urgency = None;
        }
        let text = format!("revoked{since} ({reason}), says {}", list.place);
        view.say(Urgency::Page, "revoked", text);
        return;
    }
    for list in &known.lists {
        let is_file = !list.place.contains("://");
        match (&list.error, list.this_update, list.next_update) {
            (_, Some(made), Some(next)) => {
                let (period, left) = (next.since(made), next.since(now));
                let why = list.error.as_ref();
                let why = why.map_or_else(String::new, |why| format!(": {why}"));
                if now >= next {
                    let text = format!(
                        "the list of revoked certificates {} ended {next}{why}",
                        list.place
                    );
                    view.say(Urgency::Ticket, "crl", text);
                } else if left < period / 10 {
                    let text = format!(
                        "the list of revoked certificates {} ends {next}, and there is no newer one{why}",
                        list.place
                    );
                    view.say(Urgency::Warn, "crl", text);
                }
            }
            // One that was never fetched tells nothing: there may be no way out of here. A file was meant to be read.
            (Some(why), None, _) if is_file => {
                let text = format!("the list of revoked certificates {}: {why}", list.place);
                view.say(Urgency::Warn, "crl", text);
            }
            _ => {}
        }
    }
}

/// Says of a certificate that is issued while we run how that goes.
fn issue_view(
    view: &mut CertificateView,
    issuance: &IssuanceView,
    expected: Option<Timestamp>,
    now: Timestamp,
) {
    if issuance.due_at.is_some() {
        view.renewal_due_at = issuance.due_at;
    }
    let again = issuance.next_at.map_or_else(String::new, |at| {
        format!("; again at {}Z", at.time_of_day())
    });
    let Some(leaf) = &view.certificate else {
        if let Some(error) = &issuance.error {
            let text = format!("there is no certificate yet: {error}{again}");
            view.say(Urgency::Ticket, "issuance", text);
        }
        preflight_view(view, issuance);
        return;
    };
    // Before that, the next attempt may do.
    let urgency = if expiry::stage(leaf, expected, now) >= Stage::Ticket {
        Urgency::Ticket
    } else {
        Urgency::Warn
    };
    if let Some(error) = issuance.error.as_ref().filter(|_| issuance.failures > 0) {
        let times = issuance.failures;
        let text = format!("renewal failed {times} times in a row: {error}{again}");
        view.say(urgency, "issuance", text);
    } else if issuance.budget_left == 0 && issuance.due_at.is_some_and(|due| due <= now) {
        let text = format!("renewal is due, but the budget of issuances is spent{again}");
        view.say(urgency, "issuance", text);
    }
    preflight_view(view, issuance);
}

/// Says of a certificate where its authority would not find what it looks for: the next renewal would fail.
fn preflight_view(view: &mut CertificateView, issuance: &IssuanceView) {
    let mut failing = issuance.preflights.iter().filter(|it| it.is_telling());
    let Some(first) = failing.next() else { return };
    let more = match failing.count() {
        0 => String::new(),
        more => format!(", and {more} more hosts"),
    };
    let why = first.error.as_deref().unwrap_or_default();
    let text = format!(
        "the next renewal would fail: {} does not find us at {}: {why}{more}",
        issuance.authority, first.host
    );
    view.say(Urgency::Ticket, "preflight", text);
}

struct Found<'a> {
    source: &'static str,
    name: String,
    place: String,
    host: Option<&'a str>,
    chain: &'a [CertificateFacts],
    seen_at: Timestamp,
    /// When its renewal is expected at the latest, if somebody said so.
    expected: Option<Timestamp>,
}

impl Found<'_> {
    fn view(self, now: Timestamp) -> CertificateView {
        let Self {
            source,
            name,
            place,
            host,
            chain,
            seen_at,
            expected,
        } = self;
        let leaf = chain.first();
        let mut view = CertificateView {
            source: source.to_owned(),
            name,
            place,
            seen_at,
            certificate: leaf.cloned(),
            issuers: chain.iter().skip(1).cloned().collect(),
            left_s: leaf.map(|leaf| leaf.left_ms(now).div_euclid(1_000)),
            left_ratio: leaf.map(|leaf| leaf.left_ms(now) as f64 / leaf.lifetime_ms() as f64),
            renewal_due_at: leaf.map(expiry::due_at),
            name_matches: leaf.zip(host).map(|(leaf, host)| leaf.covers(host)),
            expected: None,
            as_expected: None,
            revocation: None,
            urgency: None,
            kind: None,
            problem: None,
        };
        let Some(leaf) = leaf else { return view };
        if let Some(host) = host
            && view.name_matches == Some(false)
        {
            let names = leaf.names.join(", ");
            view.say(
                Urgency::Page,
                "name",
                format!("shown for {host}, but is for {names}"),
            );
        }
        if now < leaf.not_before {
            view.say(
                Urgency::Page,
                "not_yet",
                format!("not valid before {}", leaf.not_before),
            );
            return view;
        }
        let ends = leaf.not_after;
        let left = leaf.left_ms(now);
        if left < 0 {
            view.say(Urgency::Page, "expired", format!("expired {ends}"));
            return view;
        }
        let whole = Duration::from_secs(left as u64 / 1_000);
        let left = humantime::format_duration(rounded(whole));
        match expiry::stage(leaf, expected, now) {
            Stage::Fine | Stage::Due => {}
            Stage::Warn => view.say(
                Urgency::Warn,
                "expiry",
                format!("renewal is overdue, {left} left, ends {ends}"),
            ),
            Stage::Ticket => view.say(
                Urgency::Ticket,
                "expiry",
                format!("{left} left, ends {ends}"),
            ),
            Stage::Page => view.say(
                Urgency::Page,
                "expiry",
                format!("only {left} left, ends {ends}"),
            ),
        }
        view
    }
}

/// To what a person wants to know of it.
fn rounded(left: Duration) -> Duration {
    let secs = left.as_secs();
    let unit = match secs {
        0..120 => 1,
        120..7_200 => 60,
        7_200..172_800 => 3_600,
        _ => 86_400,
    };
    Duration::from_secs(secs / unit * unit)
}

fn event(at: Timestamp, text: String) -> Event {
    Event {
        at,
        kind: EventKind::Certificate,
        scope: Scope::default(),
        text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;
    const BORN: u64 = 1_000 * DAY;

    fn facts(sha: &str, names: &[&str], days: u64) -> CertificateFacts {
        CertificateFacts {
            names: names.iter().map(ToString::to_string).collect(),
            not_before: Timestamp::from_secs(BORN),
            not_after: Timestamp::from_secs(BORN + days * DAY - 1),
            sha256: sha.to_owned(),
            ..CertificateFacts::default()
        }
    }

    fn file(facts: CertificateFacts) -> Sight {
        let place = Place::File(Kept {
            name: "shop".to_owned(),
            path: "shop.pem".into(),
            issued: false,
        });
        Sight {
            place,
            chain: Ok(vec![facts]),
            refused: None,
        }
    }

    fn shown(host: &str, facts: CertificateFacts) -> Sight {
        let place = Place::Listener(Asked {
            listener: "https".to_owned(),
            address: ([127, 0, 0, 1], 443).into(),
            host: host.to_owned(),
        });
        Sight {
            place,
            chain: Ok(vec![facts]),
            refused: None,
        }
    }

    /// Judges, and gives what is said at once and how urgent each trouble is.
    fn told(certs: &mut Certs, now: u64) -> (Vec<String>, Vec<Urgency>) {
        let events = certs.judge(Timestamp::from_secs(now), &Probes::default());
        let texts = events.into_iter().map(|event| event.text).collect();
        let alerts = certs.alerts().into_iter();
        (texts, alerts.map(|alert| alert.urgency).collect())
    }

    #[test]
    fn a_certificate_that_is_not_renewed_warns_then_is_a_ticket_then_pages() {
        let mut certs = Certs::default();
        let old = facts("old", &["shop.test"], 90);
        certs.absorb(
            Timestamp::from_secs(BORN),
            vec![file(old.clone()), shown("shop.test", old)],
        );
        let mut stages = vec![(0, Vec::new())];
        let mut events = Vec::new();
        for hour in 0..91 * 24 {
            let (texts, urgencies) = told(&mut certs, BORN + hour * 3_600);
            events.extend(texts);
            if stages.last().unwrap().1 != urgencies {
                stages.push((hour / 24, urgencies));
            }
        }
        assert_eq!(
            stages,
            [
                (0, vec![]),
                (63, vec![Urgency::Warn]),
                (76, vec![Urgency::Ticket]),
                (89, vec![Urgency::Page]),
            ]
        );
        assert_eq!(
            events.len(),
            1,
            "tickets and pages are announced as alerts: {events:?}"
        );
    }

    #[test]
    fn renewed_on_disk_and_not_reloaded_pages_after_ten_minutes() {
        let mut certs = Certs::default();
        let (old, new) = (
            facts("old", &["shop.test"], 90),
            facts("new", &["shop.test"], 180),
        );
        for (minute, alerts) in [(0, 0), (10, 0), (11, 1), (12, 1)] {
            let now = BORN + minute * 60;
            certs.absorb(
                Timestamp::from_secs(now),
                vec![file(new.clone()), shown("shop.test", old.clone())],
            );
            assert_eq!(told(&mut certs, now).1.len(), alerts, "minute {minute}");
        }
        assert!(certs.alerts()[0].text.contains("reload Vestibule"));
        certs.absorb(
            Timestamp::from_secs(BORN + 900),
            vec![file(new.clone()), shown("shop.test", new)],
        );
        assert_eq!(told(&mut certs, BORN + 900), (vec![], vec![]));
    }

    #[test]
    fn each_host_has_a_certificate_that_a_listener_should_show_and_shows_or_not() {
        let (shop, wild) = (
            facts("shop", &["shop.test"], 90),
            facts("wild", &["*.test"], 90),
        );
        let file = |name: &str, facts: &CertificateFacts| Sight {
            place: Place::File(Kept {
                name: name.to_owned(),
                path: format!("{name}.pem").into(),
                issued: false,
            }),
            chain: Ok(vec![facts.clone()]),
            refused: None,
        };
        let names = ["wild", "shop"].map(str::to_owned).to_vec();
        let mut certs = Certs {
            matrix: BTreeMap::from([("https".to_owned(), names)]),
            ..Certs::default()
        };
        let sights = vec![
            file("shop", &shop),
            file("wild", &wild),
            shown("shop.test", shop),
            shown("www.test", facts("old", &["*.test"], 90)),
            shown("a.b.test", wild),
        ];
        certs.absorb(Timestamp::from_secs(BORN), sights);
        certs.judge(Timestamp::from_secs(BORN), &Probes::default());
        let views = certs.views();
        for (host, expected, as_expected) in [
            ("shop.test", Some("shop"), Some(true)),
            ("www.test", Some("wild"), Some(false)),
            ("a.b.test", None, None),
        ] {
            let view = views.iter().find(|view| view.name == host).unwrap();
            assert_eq!(view.expected.as_deref(), expected, "{host}");
            assert_eq!(view.as_expected, as_expected, "{host}");
        }
    }

    #[test]
    fn another_sites_certificate_is_a_page() {
        let mut certs = Certs::default();
        certs.absorb(
            Timestamp::from_secs(BORN),
            vec![shown("shop.test", facts("a", &["bank.test"], 90))],
        );
        assert_eq!(told(&mut certs, BORN).1, [Urgency::Page]);
        assert_eq!(
            certs.alerts()[0].text,
            "shop.test (listener): shown for shop.test, but is for bank.test"
        );
    }
}
