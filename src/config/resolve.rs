//! What each part of Vestibule is told, from a file that has no errors.

use std::path::{Path, PathBuf};

use http::HeaderValue;

use super::Resolved;
use super::file::{self, Budgeting, File, Indicator, RetryOn};
use super::keys::{Item, Located};
use super::kind::Promised;
use super::report::Report;
use super::synthetic::Probes;
use crate::cert::{self, acme};
use crate::export::accesslog;
use crate::generate::Links;
use crate::model::{
    About, Calendar, ClientErrors, Part, Reading, Sli, Slices, Slo, Vital, Weighing, Worth, Zone,
};
use crate::probe::definition::Definition;
use crate::proxy::config as proxy;
use crate::proxy::elsewhere::{Moved, Redirect};
use crate::routing::pattern::PathPattern;
use crate::slo::guards::Guards;
use crate::slo::policy::{Policy, PolicyRow, Severity, Threshold};
use crate::{admin, names, notify, probe, store};

/// What each part is told; `None` when something required was refused.
pub(super) fn resolve(
    file: File,
    found: Probes,
    base: &Path,
    source: String,
    env: &dyn Fn(&str) -> Option<String>,
    warnings: Report,
) -> Option<Resolved> {
    let File {
        instance,
        state,
        listeners,
        certificates,
        authorities,
        upstreams,
        routes,
        rate_limits,
        slos,
        policies,
        proxy: data_plane,
        limits,
        history,
        admin,
        access_log,
        generate,
        receivers,
        allowed: _,
        probes,
        revocation,
        dns,
        otlp,
    } = file;
    let dir = base.join(state.dir.value);
    let store = store::Config {
        dir: dir.clone(),
        minutes: history.minutes.value,
        minute_latencies: history.minute_latencies.value,
        hours: history.hours.value,
        max_bytes: history.max_size.value,
    };
    let socket_is_default = admin.socket.is_none();
    let admin = admin::Config {
        socket: admin
            .socket
            .map_or_else(|| super::default_socket(&dir), |path| base.join(path.value)),
        listen: admin.listen.map(|address| address.value),
    };
    let key_is_default = probes.key_file.is_none();
    let Probes {
        definitions,
        modules,
    } = found;
    let definitions: Vec<_> = definitions.into_iter().map(|(_, probe)| probe).collect();
    let routes = all(routes, route)?;
    let mut slos = all(slos, |it| slo(it, &definitions, &routes))?;
    Slo::compose(&mut slos);
    let probes = probe::Config {
        definitions,
        modules,
        key_file: probes
            .key_file
            .map_or_else(|| super::default_key(&dir), |path| base.join(path.value)),
    };
    let access_log = written_to(access_log.output.value, base);
    let acme = acme::Config {
        authorities: all(authorities, |it| authority(it, base, &dir))?,
        certificates: wanted(&certificates),
    };
    let proxy = proxy::Config {
        workers: data_plane.workers.map_or_else(cores, |count| count.value),
        listeners: all(listeners, |it| listener(it, base))?,
        certificates: all(certificates, |it| certificate(it, base, &acme))?,
        upstreams: all(upstreams, |it| upstream(it, base))?,
        routes,
        rate_limits: all(rate_limits, rate_limit)?,
        limits: client_limits(&limits),
        trusted_proxies: values(data_plane.trusted_proxies),
        drain: data_plane.drain.value,
    };
    let mut all_policies = Policy::shipped();
    all_policies.extend(all(policies, |it| policy(&it))?);
    let instance = instance.name.map_or_else(host_name, |name| name.value);
    // Complaints about the environment are among the warnings already.
    let (otlp, _) = super::otlp::resolve(&otlp, base, &instance, env);
    Some(Resolved {
        proxy,
        acme,
        revocation: lists(revocation, base),
        store,
        admin,
        access_log,
        otlp,
        probes,
        names: looked_at(dns)?,
        slos,
        policies: all_policies,
        sloth: generate.sloth.value,
        links: Links {
            grafana: generate.grafana.value,
            runbooks: generate.runbooks.map(|page| page.value),
        },
        receivers: all(receivers, |it| receiver(it, base))?,
        instance,
        hash: String::new(),
        source,
        warnings,
        socket_is_default,
        key_is_default,
    })
}

fn all<T, U>(items: Vec<Item<T>>, part: impl Fn(T) -> Option<U>) -> Option<Vec<U>> {
    items.into_iter().map(|item| part(item.value)).collect()
}

fn values<T>(list: Vec<Located<T>>) -> Vec<T> {
    list.into_iter().map(|located| located.value).collect()
}

fn receiver(receiver: file::Receiver, base: &Path) -> Option<notify::Receiver> {
    let path = |path: Option<Located<PathBuf>>| path.map(|path| base.join(path.value));
    let mut severities = values(receiver.severities);
    if severities.is_empty() {
        severities = vec![Severity::Page, Severity::Ticket];
    }
    Some(notify::Receiver {
        name: receiver.name?.value,
        kind: receiver.kind?.value,
        url: receiver.url?.value,
        severities,
        key: path(receiver.key_file),
        token: path(receiver.token_file),
        roots: path(receiver.roots_file),
        timeout: receiver.timeout.value,
        watchdog: receiver.watchdog.value,
    })
}

fn client_limits(limits: &file::ClientLimits) -> proxy::Limits {
    proxy::Limits {
        header_timeout: limits.header_timeout.value,
        keep_alive: limits.keep_alive.value,
        client_idle: limits.client_idle.value,
        handshake_timeout: limits.handshake_timeout.value,
        max_header_bytes: limits.max_header_size.value as usize,
        max_headers: limits.max_headers.value,
        max_connections: limits.max_connections.value,
    }
}

fn listener(listener: file::Listener, base: &Path) -> Option<proxy::Listener> {
    Some(proxy::Listener {
        name: listener.name?.value,
        address: listener.address?.value,
        certificates: values(listener.certificates),
        proxy_protocol: listener.proxy_protocol.value,
        clients: clients(listener.clients, base),
    })
}

fn clients(asked: file::ClientCertificates, base: &Path) -> Option<proxy::ClientCertificates> {
    let lists = asked.crl_files.into_iter();
    Some(proxy::ClientCertificates {
        required: asked.ask.value == file::Ask::Required,
        issuers: base.join(asked.ca_file?.value),
        lists: lists.map(|path| base.join(path.value)).collect(),
        headers: values(asked.headers),
    })
}

fn certificate(
    certificate: file::Certificate,
    base: &Path,
    acme: &acme::Config,
) -> Option<proxy::Certificate> {
    let name = certificate.name?.value;
    if let Some(issuer) = certificate.acme {
        let authority = acme.authority(&issuer.value)?;
        return Some(proxy::Certificate {
            chain: authority.file(&name),
            key: authority.file(&name),
            name,
            issued: true,
        });
    }
    Some(proxy::Certificate {
        name,
        chain: base.join(certificate.chain_file?.value),
        key: base.join(certificate.key_file?.value),
        issued: false,
    })
}

fn looked_at(dns: file::Dns) -> Option<names::Config> {
    let authority = |it: file::DnsAuthority| {
        let zone = it.zone?.value;
        Some(names::Authority {
            zone: zone.trim_end_matches('.').to_ascii_lowercase(),
            servers: values(it.servers),
        })
    };
    Some(names::Config {
        enabled: dns.enabled.value,
        resolvers: values(dns.resolvers),
        authorities: all(dns.authorities, authority)?,
        every: dns.every.value,
        grace: dns.grace.value,
    })
}

fn authority(authority: file::Authority, base: &Path, state: &Path) -> Option<acme::Authority> {
    let path = |path: Option<Located<PathBuf>>| path.map(|path| base.join(path.value));
    let name = authority.name?.value;
    Some(acme::Authority {
        directory: authority.directory?.value.to_string(),
        contacts: values(authority.contacts),
        challenge: authority.challenge.value,
        hook: path(authority.hook),
        hook_environment: values(authority.hook_environment),
        hook_wait: authority.hook_wait.value,
        profile: authority.profile.map(|profile| profile.value),
        binding: authority
            .eab_id
            .zip(path(authority.eab_key_file))
            .map(|(id, key)| acme::Binding { id: id.value, key }),
        roots: path(authority.roots_file),
        renew_before: authority.renew_before.map(|time| time.value),
        ask_every: authority.ask_every.value,
        http_port: authority
            .http_port
            .and_then(|it| u16::try_from(it.value).ok())
            .unwrap_or(80),
        preflight_every: authority
            .preflight
            .is_none_or(|it| it.value)
            .then(|| authority.preflight_every.map_or(file::DAY, |it| it.value)),
        preflight_resolver: authority.preflight_resolver.map(|it| it.value),
        dir_is_default: authority.dir.is_none(),
        dir: path(authority.dir).unwrap_or_else(|| acme::default_dir(state, &name)),
        name,
    })
}

/// Where the access log goes.
fn written_to(output: accesslog::Config, base: &Path) -> accesslog::Config {
    match output {
        accesslog::Config::File(path) => accesslog::Config::File(base.join(path)),
        output @ (accesslog::Config::Off | accesslog::Config::Stdout) => output,
    }
}

/// Where lists of revoked certificates come from.
fn lists(revocation: file::Revocation, base: &Path) -> cert::revocation::Config {
    let files = revocation.files.into_iter();
    cert::revocation::Config {
        fetch: revocation.fetch.value,
        files: files.map(|path| base.join(path.value)).collect(),
        issuers: revocation.issuers_file.map(|path| base.join(path.value)),
    }
}

/// The certificates that authorities are asked for.
fn wanted(certificates: &[Item<file::Certificate>]) -> Vec<acme::Wanted> {
    let wanted = |certificate: &file::Certificate| {
        let hosts = certificate.hosts.iter().map(|host| host.value.to_string());
        Some(acme::Wanted {
            name: certificate.name.as_ref()?.value.clone(),
            authority: certificate.acme.as_ref()?.value.clone(),
            hosts: hosts.collect(),
        })
    };
    certificates
        .iter()
        .filter_map(|it| wanted(&it.value))
        .collect()
}

fn upstream(upstream: file::Upstream, base: &Path) -> Option<proxy::Upstream> {
    Some(proxy::Upstream {
        name: upstream.name?.value,
        endpoints: values(upstream.endpoints),
        tls: proxy::UpstreamTls {
            roots: upstream.tls.roots_file.map(|path| base.join(path.value)),
            server_name: upstream.tls.server_name.map(|name| name.value),
            insecure: upstream.tls.insecure.value,
        },
        balance: match (upstream.balance.value, upstream.hash_on) {
            (file::Balancing::RoundRobin, _) => proxy::Balance::RoundRobin,
            (file::Balancing::LeastRequests, _) => proxy::Balance::LeastRequests,
            (file::Balancing::Latency, _) => proxy::Balance::Latency,
            (file::Balancing::Hash, key) => {
                proxy::Balance::Hash(key.map_or(proxy::HashKey::Client, |key| key.value))
            }
        },
        slow_start: upstream.slow_start.value,
        panic_below: u8::try_from(upstream.panic_below.value).unwrap_or(100),
        health: health(upstream.health),
        eject_after: match upstream.eject_after.value {
            0 => None,
            failures => u32::try_from(failures).ok(),
        },
        breaker: breaker(&upstream.breaker),
        connect_timeout: upstream.connect_timeout.value,
        idle_timeout: upstream.idle_timeout.value,
        idle_connections: upstream.idle_connections.value,
    })
}

/// One that limits nothing is none.
fn breaker(breaker: &file::UpstreamBreaker) -> Option<proxy::Breaker> {
    let count = |count: &Located<usize>| u32::try_from(count.value).unwrap_or(u32::MAX);
    let small = |count: &Located<usize>| u8::try_from(count.value).unwrap_or(u8::MAX);
    let own = proxy::Breaker {
        max_in_flight: breaker.max_in_flight.as_ref().map(count),
        max_pending: breaker.max_pending.as_ref().map(count),
        failure_percent: breaker.failure_percent.as_ref().map(small),
        window: breaker.window.value,
        min_requests: count(&breaker.min_requests),
        open_for: breaker.open_for.value,
        trials: small(&breaker.trials),
    };
    let limits = own.max_in_flight.is_some() || own.max_pending.is_some();
    (limits || own.failure_percent.is_some()).then_some(own)
}

fn health(health: file::UpstreamHealth) -> Option<proxy::HealthCheck> {
    let probe = match (health.probe.value, health.path.map(|path| path.value)) {
        (file::Question::Off, _) => return None,
        (file::Question::Http, Some(PathPattern::Exact(path))) => proxy::Probe::Http { path },
        (file::Question::Tcp | file::Question::Http, _) => proxy::Probe::Tcp,
    };
    Some(proxy::HealthCheck {
        probe,
        interval: health.interval.value,
        timeout: health.timeout.value,
        rise: u32::try_from(health.rise.value).unwrap_or(u32::MAX),
        fall: u32::try_from(health.fall.value).unwrap_or(u32::MAX),
    })
}

fn route(route: file::Route) -> Option<proxy::Route> {
    let redirect = redirect(&route);
    let rewrite = moved(
        &route,
        route.rewrite.path.as_ref(),
        route.rewrite.prefix.as_ref(),
    );
    Some(proxy::Route {
        id: route.id?.value,
        listeners: values(route.listeners),
        hosts: values(route.hosts),
        path: route.path.value,
        methods: values(route.methods),
        headers: values(route.headers),
        query: values(route.query),
        encoded: route.encoded.value,
        upstream: match route.upstream {
            Some(name) => name.value,
            None => redirect.as_ref().map(|_| String::new())?,
        },
        redirect,
        rewrite,
        hsts: hsts(&route.hsts),
        allow_from: values(route.allow_from),
        deny_from: values(route.deny_from),
        certified: route.certified.value,
        rate_limits: values(route.rate_limits),
        https: route.https.value,
        request_headers: proxy::HeaderEdits {
            remove: values(route.request_headers.remove),
            set: values(route.request_headers.set),
            add: Vec::new(),
        },
        response_headers: proxy::HeaderEdits {
            remove: values(route.response_headers.remove),
            set: values(route.response_headers.set),
            add: values(route.response_headers.add),
        },
        websocket: route.websocket.value,
        host_header: route.host_header.value,
        timeouts: proxy::Timeouts {
            first_byte: route.timeouts.first_byte.value,
            idle: route.timeouts.idle.value,
            total: route.timeouts.total.map(|total| total.value),
        },
        retry: retry(route.retry),
        max_body_bytes: route.max_body.value,
        owner: route.owner.map(|owner| owner.value),
    })
}

/// Where the path of a route's requests has gone.
fn moved(
    route: &file::Route,
    path: Option<&Located<PathPattern>>,
    prefix: Option<&Located<PathPattern>>,
) -> Option<Moved> {
    let text = |pattern: &PathPattern| match pattern {
        PathPattern::Exact(path) | PathPattern::Prefix(path) => Some(path.clone()),
        PathPattern::Matching(_) => None,
    };
    if let Some(path) = path {
        return Some(Moved::Path(text(&path.value)?));
    }
    Some(Moved::Prefix {
        from: text(&route.path.value)?,
        to: text(&prefix?.value)?,
    })
}

fn redirect(route: &file::Route) -> Option<Redirect> {
    let redirect = &route.redirect;
    redirect.changes()?;
    Some(Redirect {
        status: redirect.status.value,
        scheme: redirect.scheme.as_ref().map(|scheme| scheme.value),
        host: redirect.host.as_ref().map(|host| {
            let host = &host.value;
            if host.contains(':') {
                format!("[{host}]")
            } else {
                host.clone()
            }
        }),
        port: redirect
            .port
            .as_ref()
            .and_then(|port| u16::try_from(port.value).ok()),
        path: moved(route, redirect.path.as_ref(), redirect.prefix.as_ref()),
    })
}

/// RFC 6797, section 6.1.
fn hsts(hsts: &file::RouteHsts) -> Option<HeaderValue> {
    let mut text = format!("max-age={}", hsts.max_age.as_ref()?.value.as_secs());
    for (said, directive) in [
        (hsts.subdomains.value, "; includeSubDomains"),
        (hsts.preload.value, "; preload"),
    ] {
        if said {
            text.push_str(directive);
        }
    }
    HeaderValue::try_from(text).ok()
}

fn rate_limit(limit: file::RateLimit) -> Option<proxy::RateLimit> {
    Some(proxy::RateLimit {
        name: limit.name?.value,
        key: limit.key.value,
        rate: limit.rate?.value,
        burst: u32::try_from(limit.burst.value).unwrap_or(u32::MAX),
        headers: values(limit.headers),
        keys: limit.keys.value,
        report: limit.report.value,
    })
}

fn retry(retry: file::RouteRetry) -> Option<proxy::Retry> {
    let attempts = u8::try_from(retry.attempts.value)
        .ok()
        .filter(|it| *it > 0)?;
    let on = retry.on();
    Some(proxy::Retry {
        attempts,
        reset: on.contains(&RetryOn::Reset),
        timeout: on.contains(&RetryOn::Timeout),
        statuses: on.iter().filter_map(|on| on.status()).collect(),
        per_try: retry.per_try.map(|time| time.value),
        budget_percent: u8::try_from(retry.budget.value).unwrap_or(100),
    })
}

fn slo(slo: file::Slo, probes: &[Definition], routes: &[proxy::Route]) -> Option<Slo> {
    let slices = slices(&slo);
    let about = about(&slo)?;
    let most = slo.most.as_ref().map_or(Vital::MOST, |most| most.value);
    Some(Slo {
        id: slo.id?.value,
        owner: owner_of(&about, routes),
        about,
        sli: match slo.sli?.value {
            Indicator::Availability => {
                let also = slo.bad_status.into_iter().map(|statuses| statuses.value);
                Sli::Availability(match slo.reading.map(|reading| reading.value) {
                    Some(Reading::All) => Reading::All,
                    Some(Reading::Fault { .. }) | None => Reading::Fault {
                        also: also.fold(ClientErrors::NONE, ClientErrors::and),
                    },
                })
            }
            Indicator::Connection => Sli::Connection,
            Indicator::RateLimit => Sli::RateLimit,
            Indicator::Latency => Sli::Latency {
                under: slo.under?.value,
            },
            Indicator::Probe => {
                let name = &slo.probe.as_ref()?.value;
                let probe = probes.iter().find(|probe| probe.name == *name)?;
                Sli::Probe { every: probe.every }
            }
            Indicator::TlsHandshake => Sli::Vital(Vital::Handshake),
            Indicator::Cpu => Sli::Vital(Vital::Cpu { most }),
            Indicator::Memory => Sli::Vital(Vital::Memory { most }),
            Indicator::ConfigApply => Sli::Vital(Vital::Apply {
                within: slo.within.map_or(Vital::WITHIN, |within| within.value),
            }),
            Indicator::Health => Sli::Vital(Vital::Health),
            Indicator::Composite => {
                let weigh = slo.weigh.map(|weigh| weigh.value);
                Sli::Composite(weigh.unwrap_or(Weighing::Minutes))
            }
        },
        slices,
        parts: all(slo.parts, part)?,
        probe: slo.probe.map(|name| name.value),
        objective: slo.objective?.value,
        window: match slo.window.value {
            Promised::Rolling(window) => window,
            Promised::Calendar(unit) => unit.nominal(),
        },
        calendar: match slo.window.value {
            Promised::Rolling(_) => None,
            Promised::Calendar(unit) => Some(Calendar {
                unit,
                zone: slo.zone.map_or(Zone::UTC, |zone| zone.value),
            }),
        },
        policy: slo.policy.value,
        runbook: slo.runbook.map(|page| page.value),
    })
}

fn part(part: file::Part) -> Option<Part> {
    Some(Part {
        slo: part.slo?.value,
        weight: u32::try_from(part.weight.value).unwrap_or(1),
        // Known once all of them are.
        counted: String::new(),
    })
}

/// What an SLO is about; `None` when nothing says so.
fn about(slo: &file::Slo) -> Option<About> {
    if slo.sli.as_ref()?.value == Indicator::Composite {
        return Some(About::Parts);
    }
    let file::Slo {
        route,
        upstream,
        owner,
        limit,
        ingress,
        ..
    } = slo;
    let text = |name: &Located<String>| name.value.clone();
    // What is about the edge itself needs not say so.
    if slo.sli.as_ref()?.value.is_of_the_edge() {
        return Some(About::Ingress);
    }
    (route.as_ref().map(text).map(About::Route))
        .or_else(|| upstream.as_ref().map(text).map(About::Upstream))
        .or_else(|| owner.as_ref().map(text).map(About::Owner))
        .or_else(|| limit.as_ref().map(text).map(About::Limit))
        .or_else(|| ingress.value.then_some(About::Ingress))
}

/// Who answers for what an SLO is about: the one who answers for every route of it.
fn owner_of(about: &About, routes: &[proxy::Route]) -> Option<String> {
    if let About::Owner(owner) = about {
        return Some(owner.clone());
    }
    let mut owners = routes
        .iter()
        .filter(|route| route.is_in(about))
        .map(|route| route.owner.as_deref());
    let first = owners.next()??;
    owners
        .all(|owner| owner == Some(first))
        .then(|| first.to_owned())
}

/// The slices of an SLO; `None` when each request counts by itself.
fn slices(slo: &file::Slo) -> Option<Slices> {
    if slo.sli.as_ref()?.value == Indicator::Composite {
        return match slo.weigh.as_ref().map(|weigh| weigh.value) {
            Some(Weighing::Events) => None,
            Some(Weighing::Minutes) | None => Some(Slices::WEIGHED),
        };
    }
    let worth = match slo.budgeting.value {
        Budgeting::Occurrences => return None,
        Budgeting::Timeslices => Worth::Whole(slo.slice_objective.as_ref()?.value),
        Budgeting::RatioTimeslices => Worth::Share,
    };
    Some(Slices {
        every: slo.slice.as_ref()?.value,
        worth,
        empty: slo.empty_slice.as_ref()?.value,
    })
}

/// The policy that `policy` describes; `None` when something required was refused.
pub(super) fn policy(policy: &file::Policy) -> Option<Policy> {
    let row = |row: &Item<file::PolicyRow>| {
        let row = &row.value;
        let over = match (&row.factor, &row.spend) {
            (Some(factor), _) => Threshold::Burn(factor.value),
            (None, Some(share)) => Threshold::Spend {
                share: share.value,
                least: row.least.as_ref().map(|least| least.value),
            },
            (None, None) => return None,
        };
        Some(PolicyRow {
            severity: row.severity.as_ref()?.value,
            tier: row.tier.as_ref()?.value,
            long: row.long.as_ref()?.value,
            short: row.short.as_ref()?.value,
            over,
        })
    };
    let mut rows: Vec<PolicyRow> = match policy.rows_of.as_ref().map(|shipped| shipped.value) {
        Some(file::Shipped::Workbook) => Policy::workbook().rows,
        Some(file::Shipped::Hourly) => Policy::hourly().rows,
        None => policy.rows.iter().map(row).collect::<Option<_>>()?,
    };
    rows.sort_by_key(|row| std::cmp::Reverse((row.severity, row.tier)));
    Some(Policy {
        name: policy.name.as_ref()?.value.clone(),
        rows,
        guards: Guards {
            page_min_bad: policy.page_min_bad.value as u64,
            ticket_min_bad: policy.ticket_min_bad.value as u64,
            volume_weight: policy.volume_weight.value,
            confidence: policy.confidence.value,
            ..Guards::default()
        },
    })
}

// === The machine ===

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The host's name in the letters that a name may have.
/// The machine's name, as a name can be written here.
pub(super) fn host_name() -> String {
    let host = rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned();
    let fits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let name: String = host.chars().filter(fits).take(64).collect();
    if name.is_empty() {
        "vestibule".to_owned()
    } else {
        name
    }
}
