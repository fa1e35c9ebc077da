//! Configuration files and exactly what is said about them; the schema, the reference and the sample.
//!
//! Beside each file in `tests/config` stands the report it must give as `.txt`; a valid file without one must give
//! none. `UPDATE_GOLDEN=1` writes what is said now, to be read before it is committed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use time::OffsetDateTime;
use vestibule::cert;
use vestibule::config::lint::Lint;
use vestibule::config::{self, Code, Report, Resolved};
use vestibule::export::accesslog;
use vestibule::export::otlp::{Metrics, Protocol, Temporality, Traces};
use vestibule::model::{About, Reading, Sli, Timestamp, TraceShare, Vital, Weighing, Window};
use vestibule::slo::guards::Guards;
use vestibule::slo::policy::{Factor, Policy, Tier};

#[test]
fn a_wrong_file_says_everything_that_is_wrong_with_it() {
    let dir = directory();
    for path in files("tests/config/invalid") {
        let report = parse(&path, dir.path())
            .err()
            .unwrap_or_else(|| panic!("{} was taken", path.display()));
        assert!(report.errors() > 0);
        compare(&path.with_extension("txt"), &report.render(false));
    }
}

#[test]
fn a_right_file_is_taken_with_its_warnings() {
    let dir = directory();
    for path in files("tests/config/valid") {
        let resolved = parse(&path, dir.path())
            .unwrap_or_else(|report| panic!("{}\n{}", path.display(), report.render(false)));
        assert_eq!(resolved.warnings.errors(), 0);
        let said = resolved.warnings.render(false);
        let golden = path.with_extension("txt");
        if !said.is_empty() || golden.exists() {
            compare(&golden, &said);
        }
    }
}

#[test]
fn five_mistakes_are_five_errors() {
    let report = parse(
        Path::new("tests/config/invalid/five_places.toml"),
        Path::new(""),
    )
    .unwrap_err();
    assert_eq!(report.errors(), 5);
    let json = report.to_json();
    let codes: Vec<_> = json["diagnostics"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["code"].as_str().unwrap())
        .collect();
    assert_eq!(
        codes,
        [
            "config::missing_key",
            "config::unknown_key",
            "config::invalid_value",
            "config::unknown_name",
            "config::invalid_value",
        ]
    );
}

#[test]
fn every_rule_has_a_file_that_breaks_it() {
    let dir = directory();
    let mut broken = BTreeSet::new();
    for path in files("tests/config/invalid")
        .into_iter()
        .chain(files("tests/config/valid"))
    {
        let report = parse(&path, dir.path()).map_or_else(|report| report, |it| it.warnings);
        broken.extend(report.diagnostics().iter().map(|it| it.code.as_str()));
    }
    // These are about files that cannot stand here: absent, not UTF-8, or of 8 MiB. They have tests beside `load`.
    broken.extend([Code::Unreadable.as_str(), Code::TooLarge.as_str()]);
    // This one is about the environment, not the file: it has tests beside the variables' readers.
    broken.insert(Code::Environment.as_str());
    let all: BTreeSet<_> = Code::ALL.into_iter().map(Code::as_str).collect();
    assert_eq!(all.len(), Code::ALL.len(), "codes are distinct");
    assert_eq!(broken, all);
}

/// What listeners ask of clients.
fn clients(proxy: &vestibule::proxy::config::Config, dir: &Path) {
    let clients = proxy.listeners[0].clients.as_ref().unwrap();
    assert_eq!(clients.issuers, dir.join("edge.pem"));
    assert_eq!(clients.lists, [dir.join("clients.crl")]);
    let told: Vec<_> = clients.headers.iter().map(|it| it.name()).collect();
    assert_eq!(told, ["x-client-cert-subject", "x-client-cert-names"]);
    assert!(!clients.required && proxy.routes[0].certified);
    assert!(proxy.listeners[0].proxy_protocol);
    let [checkout, old, ..] = proxy.routes.as_slice() else {
        panic!("two routes");
    };
    let rewrite = checkout.rewrite.as_ref().unwrap();
    assert_eq!(rewrite.path("/checkout/x"), "/x");
    let hsts = checkout.hsts.as_ref().unwrap();
    assert_eq!(hsts, "max-age=31536000; includeSubDomains; preload");
    let redirect = old.redirect.as_ref().unwrap();
    assert_eq!((redirect.status.as_u16(), old.upstream.as_str()), (308, ""));
    assert_eq!(
        redirect.place("http", "old.example", "/shop/x", None),
        "https://shop.example:8443/checkout/x"
    );
}

/// When the lints are run: their certificates are made around it.
const NOW: u64 = 1_790_000_000;

#[test]
fn a_lint_says_what_it_found_where_and_what_to_do() {
    let dir = directory();
    let mut found = BTreeSet::new();
    for path in files("tests/config/lint") {
        let warnings = lint(&path, dir.path()).warnings;
        compare(&path.with_extension("txt"), &warnings.render(false));
        let codes: BTreeSet<_> = warnings
            .diagnostics()
            .iter()
            .map(|it| it.code.as_str())
            .collect();
        let stem = path.file_stem().unwrap().to_str().unwrap();
        assert!(
            stem == "allowed" || codes.contains(stem),
            "{stem}: {codes:?}"
        );
        found.extend(codes);
    }
    let all: BTreeSet<_> = Lint::ALL.iter().map(|lint| lint.id()).collect();
    assert!(found.is_superset(&all), "{:?}", all.difference(&found));
}

/// The same through the real binary: what `explain` decides is what the data plane does.
#[test]
fn a_witness_takes_the_route_that_its_lint_says() {
    let dir = directory();
    let mut tried = 0;
    for path in files("tests/config/lint") {
        let warnings = lint(&path, dir.path()).warnings;
        let witnesses: Vec<_> = warnings
            .diagnostics()
            .iter()
            .filter_map(|it| it.witness.clone())
            .collect();
        if witnesses.is_empty() {
            continue;
        }
        let copy = dir.path().join(path.file_name().unwrap());
        fs::copy(root(&path), &copy).unwrap();
        let urls = dir.path().join("urls");
        let lines: Vec<_> = witnesses.iter().map(|it| it.request.as_str()).collect();
        fs::write(&urls, lines.join("\n")).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .args(["explain", "--json", "--urls"])
            .arg(&urls)
            .arg("--config")
            .arg(&copy)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(
            text.lines().count(),
            lines.len(),
            "{}: {}",
            path.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        for (witness, line) in witnesses.iter().zip(text.lines()) {
            let explained: serde_json::Value = serde_json::from_str(line).unwrap();
            let taken = explained["route"].as_str();
            assert_eq!(
                taken,
                witness.route.as_deref(),
                "{}: {line}",
                path.display()
            );
            tried += 1;
        }
    }
    assert!(tried > 20, "{tried}");
}

#[test]
fn the_list_of_lints_is_the_committed_one() {
    compare(Path::new("docs/lints.md"), &config::lint::page());
}

#[test]
fn the_sample_is_right_by_every_lint() {
    let dir = directory();
    let sample = fs::read_to_string(root("vestibule.example.toml")).unwrap();
    let now = Timestamp::from_secs(NOW);
    let parsed = config::parse_and_lint("sample", &sample, dir.path(), &no_variables, now);
    let warnings = parsed.unwrap().warnings;
    assert!(
        !warnings.has(config::Severity::Warning),
        "{}",
        warnings.render(false)
    );
}

fn lint(path: &Path, base: &Path) -> Resolved {
    let text = fs::read_to_string(root(path)).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    config::parse_and_lint(name, &text, base, &no_variables, Timestamp::from_secs(NOW))
        .unwrap_or_else(|report| panic!("{}\n{}", path.display(), report.render(false)))
}

#[test]
fn every_key_of_the_export_reaches_its_part() {
    let dir = directory();
    let path = Path::new("tests/config/valid/everything.toml");
    let otlp = parse(path, dir.path()).unwrap().otlp;
    let secs = Duration::from_secs;
    let Metrics {
        receiver,
        interval,
        temporality,
    } = otlp.metrics.unwrap();
    assert_eq!((interval, temporality), (secs(20), Temporality::Delta));
    assert_eq!(receiver.to_string(), "https://collector.internal:4317");
    assert_eq!(
        (receiver.protocol, receiver.gzip, receiver.timeout),
        (Protocol::Grpc, false, secs(3))
    );
    assert_eq!(receiver.roots, Some(dir.path().join("edge.pem")));
    assert_eq!(
        receiver.identity,
        Some((dir.path().join("edge.pem"), dir.path().join("edge-key.pem")))
    );
    assert_eq!(receiver.headers[0].0, "x-tenant");
    let Traces {
        receiver,
        sampling,
        marked,
    } = otlp.traces.unwrap();
    assert_eq!(receiver.to_string(), "https://collector.internal:4317");
    let half = TraceShare::new(0.5);
    assert_eq!(
        (sampling.share, sampling.keep_per_second, sampling.slow),
        (half, 3, Some(secs(2)))
    );
    assert_eq!(marked, half);
    assert_eq!(otlp.logs.unwrap().path, "/here");
    assert_eq!((otlp.flush, otlp.queue_bytes), (secs(2), 1 << 20));
    for (key, value) in [("service.name", "edge"), ("team", "web")] {
        assert!(otlp.resource.contains(&(key.to_owned(), value.to_owned())));
    }
}

fn issuance(acme: &cert::acme::Config, proxy: &vestibule::proxy::config::Config, dir: &Path) {
    let binding = cert::acme::Binding {
        id: "account 7".to_owned(),
        key: dir.join("eab.key"),
    };
    let authority = cert::acme::Authority {
        name: "ca".to_owned(),
        directory: "https://acme-staging-v02.api.letsencrypt.org/directory".to_owned(),
        contacts: vec!["mailto:ops@shop.example".to_owned()],
        challenge: cert::acme::Challenge::Dns,
        hook: Some(dir.join("dns-hook")),
        hook_environment: vec!["DNS_TOKEN".to_owned()],
        hook_wait: Duration::from_secs(10),
        profile: Some("shortlived".to_owned()),
        binding: Some(binding),
        roots: Some(dir.join("edge.pem")),
        renew_before: Some(Duration::from_secs(20 * 86_400)),
        ask_every: Duration::from_secs(6 * 3_600),
        http_port: 80,
        preflight_every: Some(Duration::from_secs(86_400)),
        preflight_resolver: None,
        dir: dir.join("acme"),
        dir_is_default: false,
    };
    assert_eq!(acme.authorities[0], authority);
    let private = &acme.authorities[1];
    assert_eq!(
        (private.http_port, private.preflight_every),
        (8_080, Some(Duration::from_secs(6 * 3_600)))
    );
    let resolver = private.preflight_resolver.map(|it| it.to_string());
    assert_eq!(resolver.as_deref(), Some("192.0.2.53:53"));
    let wanted = cert::acme::Wanted {
        name: "wild".to_owned(),
        authority: "ca".to_owned(),
        hosts: vec!["*.shop.example".to_owned(), "shop.example".to_owned()],
    };
    assert_eq!(acme.certificates[0], wanted);
    let kept = &proxy.certificates[1];
    assert_eq!((&kept.chain, kept.issued), (&kept.key, true));
    assert_eq!(kept.chain, dir.join("acme/wild.pem"));
}

#[test]
fn every_key_reaches_its_part() {
    let dir = directory();
    let resolved = parse(Path::new("tests/config/valid/everything.toml"), dir.path()).unwrap();
    let Resolved {
        proxy,
        acme,
        store,
        admin,
        access_log,
        slos,
        policies,
        probes,
        instance,
        source,
        ..
    } = resolved;
    let secs = Duration::from_secs;
    issuance(&acme, &proxy, dir.path());
    assert_eq!(
        (instance.as_str(), source.as_str()),
        ("edge-1", "everything.toml")
    );
    assert_eq!(
        (
            store.dir,
            store.minutes,
            store.minute_latencies,
            store.hours,
            store.max_bytes
        ),
        (
            dir.path().join("state"),
            secs(7 * 86_400),
            secs(86_400),
            secs(30 * 86_400),
            1 << 30
        )
    );
    assert_eq!(admin.socket, Path::new("/run/vestibule.sock"));
    assert_eq!(admin.listen, "127.0.0.1:9190".parse().ok());
    assert_eq!(
        access_log,
        accesslog::Config::File(dir.path().join("access.jsonl"))
    );

    assert_eq!((proxy.workers, proxy.drain), (2, secs(10)));
    assert!(proxy.trusted_proxies[0].contains("10.9.9.9".parse().unwrap()));
    let limits = proxy.limits;
    assert_eq!(
        (
            limits.header_timeout,
            limits.keep_alive,
            limits.handshake_timeout
        ),
        (secs(5), secs(60), secs(3))
    );
    assert_eq!(
        (
            limits.max_header_bytes,
            limits.max_headers,
            limits.max_connections
        ),
        (16 << 10, 64, 1_000)
    );
    assert_eq!(proxy.listeners[0].certificates, ["edge", "wild", "inside"]);
    clients(&proxy, dir.path());
    assert_eq!(proxy.certificates[0].chain, dir.path().join("edge.pem"));
    assert_eq!(proxy.certificates[0].key, dir.path().join("edge-key.pem"));

    let upstream = &proxy.upstreams[0];
    let endpoints: Vec<_> = upstream.endpoints.iter().map(ToString::to_string).collect();
    assert_eq!(
        endpoints,
        ["https://shop-1.internal:8443", "https://[2001:db8::1]:443"]
    );
    assert_eq!(upstream.tls.roots, Some(dir.path().join("edge.pem")));
    assert_eq!(upstream.tls.server_name.as_deref(), Some("shop.internal"));
    assert_eq!(upstream.eject_after, Some(5));
    let path = "/healthz".to_owned();
    assert_eq!(
        upstream.health,
        Some(vestibule::proxy::config::HealthCheck {
            probe: vestibule::proxy::config::Probe::Http { path },
            interval: secs(1),
            timeout: Duration::from_millis(500),
            rise: 3,
            fall: 4,
        })
    );
    assert_eq!(
        (
            upstream.connect_timeout,
            upstream.idle_timeout,
            upstream.idle_connections
        ),
        (secs(1), Duration::from_millis(2_500), 8)
    );

    let route = &proxy.routes[0];
    let hosts: Vec<_> = route.hosts.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["shop.example", "*.shop.example"]);
    assert_eq!(route.path.to_string(), "/checkout/*");
    assert_eq!(route.methods, ["GET", "POST"]);
    assert_eq!(route.listeners, ["https"]);
    assert_eq!(route.https, vestibule::proxy::config::Https::Redirect);
    let answered = ["10.1.1.1", "10.9.1.1", "192.0.2.1", "2001:db8::1"]
        .map(|client| route.answers(client.parse().unwrap()));
    assert_eq!(answered, [true, false, false, false]);
    assert_eq!(route.request_headers.remove, ["x-debug"]);
    let line = &route.request_headers.set[0];
    assert_eq!(
        (line.name.as_str(), &line.value),
        ("x-env", &"production".parse().unwrap())
    );
    assert_eq!(route.response_headers.remove, ["server"]);
    assert_eq!(
        route.response_headers.set[0].name,
        "strict-transport-security"
    );
    assert_eq!(route.response_headers.add[0].value, "origin");
    let asked: Vec<_> = route.headers.iter().map(ToString::to_string).collect();
    assert_eq!(asked, ["x-canary: always", "x-tenant ~ beta-[0-9]+"]);
    let asked: Vec<_> = route.query.iter().map(ToString::to_string).collect();
    assert_eq!(asked, ["version=2", "debug"]);
    assert_eq!(route.encoded, vestibule::proxy::config::Encoded::Report);
    assert!(route.websocket);
    assert_eq!(
        route.host_header,
        vestibule::proxy::config::HostHeader::Endpoint
    );
    assert_eq!(
        (route.max_body_bytes, route.owner.as_deref()),
        (10 << 20, Some("team checkout"))
    );
    let timeouts = route.timeouts;
    assert_eq!(
        (timeouts.first_byte, timeouts.idle, timeouts.total),
        (secs(5), secs(10), Some(secs(60)))
    );

    let slo = &slos[0];
    assert_eq!(
        slo.sli,
        Sli::Latency {
            under: Duration::from_millis(300)
        }
    );
    assert_eq!(
        (slo.objective.ppm(), slo.window.to_string().as_str()),
        (950_000, "28d")
    );
    assert_eq!(
        slo.runbook.as_deref(),
        Some("https://wiki.example/checkout#fast")
    );
    let also = "401,429".parse().unwrap();
    assert_eq!(slos[1].sli, Sli::Availability(Reading::Fault { also }));
    assert_eq!(slos[2].sli, Sli::Availability(Reading::All));
    assert_eq!(slos[2].span(), "calendar week in America/St_Johns");
    let slices = slos[2].slices.map(|slices| slices.to_string());
    let told = "slices of 1m, good from 98.5%, empty ones good";
    assert_eq!(slices.as_deref(), Some(told));
    let every = secs(20);
    let slo = &slos[3];
    assert_eq!(slo.sli, Sli::Probe { every });
    assert_eq!(slo.probe.as_deref(), Some("shop-front"));
    let wide = slos[4..7]
        .iter()
        .map(|slo| (&slo.about, slo.owner.as_deref()));
    let team = "team checkout".to_owned();
    let told = [
        (&About::Upstream("shop".to_owned()), Some(&*team)),
        (&About::Owner(team.clone()), Some(&*team)),
        (&About::Ingress, Some(&*team)),
    ];
    assert_eq!(wide.collect::<Vec<_>>(), told);
    let founded = slos[8..].iter().map(|slo| (slo.sli, slo.objective.ppm()));
    assert_eq!(
        founded.collect::<Vec<_>>(),
        [
            (Sli::Connection, 999_000),
            (Sli::RateLimit, 990_000),
            (Sli::RateLimit, 990_000),
            (Sli::Vital(Vital::Handshake), 999_900),
            (Sli::Vital(Vital::Cpu { most: 60 }), 950_000),
            (Sli::Vital(Vital::Memory { most: 70 }), 950_000),
            (Sli::Vital(Vital::Apply { within: secs(10) }), 950_000),
            (Sli::Vital(Vital::Health), 990_000),
        ]
    );
    let whole = &slos[7];
    assert_eq!(whole.sli, Sli::Composite(Weighing::Events));
    assert_eq!(
        whole.weights(),
        "3 x checkout-available, 1 x shop-available"
    );
    let counted = "availability fault of upstream shop";
    assert_eq!(whole.parts[1].counted, counted);
    assert_eq!(whole.owner, Some(team));
    assert_eq!(probes.definitions[0].name, "shop-front");
    assert_eq!(probes.key_file, dir.path().join("shared.key"));
    let names: Vec<_> = policies.iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(names, ["workbook", "hourly", "own", "workbook-by-night"]);
    assert_eq!(
        policies[2].guards,
        Guards {
            page_min_bad: 20,
            ticket_min_bad: 0,
            volume_weight: false,
            confidence: true,
            young_history: true,
        }
    );
    assert_eq!(policies[3].rows, Policy::workbook().rows);
    assert_eq!(
        policies[3].guards,
        Guards {
            volume_weight: false,
            ..Guards::default()
        }
    );
    let rows: Vec<_> = policies[2]
        .rows_over(Window::days(28))
        .into_iter()
        .map(|row| (row.tier, row.factor))
        .collect();
    assert_eq!(
        rows,
        [
            (Tier::Fast, Factor::milli(13_440)),
            (Tier::Long, Factor::milli(1_000))
        ],
        "loudest first, whatever the file's order"
    );
}

#[test]
fn the_schema_is_the_committed_one() {
    let mut schema = serde_json::to_string_pretty(&config::schema()).unwrap();
    schema.push('\n');
    compare(Path::new("docs/vestibule.schema.json"), &schema);
}

#[test]
fn the_reference_is_the_committed_one() {
    compare(Path::new("docs/config.md"), &config::reference());
}

#[test]
fn the_sample_holds_as_it_is_and_with_everything_switched_on() {
    let dir = directory();
    let sample = fs::read_to_string(root("vestibule.example.toml")).unwrap();
    let complain = |report: Report| panic!("{}", report.render(false));
    let as_it_is =
        config::parse("sample", &sample, dir.path(), &no_variables).unwrap_or_else(complain);
    assert!(
        as_it_is.warnings.is_empty(),
        "{}",
        as_it_is.warnings.render(false)
    );

    let everything = switched_on(&sample);
    let resolved =
        config::parse("sample", &everything, dir.path(), &no_variables).unwrap_or_else(complain);
    assert!(
        resolved.warnings.is_empty(),
        "{}",
        resolved.warnings.render(false)
    );
    assert!(resolved.proxy.listeners.len() > as_it_is.proxy.listeners.len());
}

#[test]
fn the_sample_shows_every_key() {
    let sample = fs::read_to_string(root("vestibule.example.toml")).unwrap();
    let document: toml::Table = switched_on(&sample).parse().unwrap();
    let mut missing = Vec::new();
    unshown(&config::schema(), &[document.into()], "", &mut missing);
    assert_eq!(missing, Vec::<String>::new());
}

/// The keys of `schema` that none of `tables` has.
fn unshown(
    schema: &serde_json::Value,
    tables: &[toml::Value],
    path: &str,
    missing: &mut Vec<String>,
) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for (key, schema) in properties {
        let path = format!("{path}.{key}");
        let below: Vec<toml::Value> = tables
            .iter()
            .filter_map(|table| table.get(key).cloned())
            .flat_map(|value| match value {
                toml::Value::Array(items) => items,
                other => vec![other],
            })
            .collect();
        if below.is_empty() {
            missing.push(path);
            continue;
        }
        let schema = schema.get("items").unwrap_or(schema);
        unshown(schema, &below, &path, missing);
    }
}

/// The sample with its commented settings: those are the lines that begin with `#` and neither a
/// space nor the colon of an editor's directive.
fn switched_on(sample: &str) -> String {
    let on = |line: &str| match line.strip_prefix('#') {
        Some(setting) if !setting.starts_with([' ', '#', ':']) => setting.to_owned(),
        Some(_) | None => line.to_owned(),
    };
    sample.lines().map(on).collect::<Vec<_>>().join("\n")
}

/// A directory with a certificate, its key and a file that is neither.
fn directory() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let edge = rcgen::generate_simple_self_signed(["shop.example".to_owned()]).unwrap();
    fs::write(dir.path().join("edge.pem"), edge.cert.pem()).unwrap();
    fs::write(
        dir.path().join("edge-key.pem"),
        edge.signing_key.serialize_pem(),
    )
    .unwrap();
    fs::write(dir.path().join("empty.pem"), "").unwrap();
    fs::write(dir.path().join("clients.crl"), "").unwrap();
    let write = |name: &str, text: &str, mode| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    write("edge-key.pem", &edge.signing_key.serialize_pem(), 0o600);
    write("loose-key.pem", &edge.signing_key.serialize_pem(), 0o644);
    // For the lints: of other names, of other times, and in chains that do not hold.
    let made = |names: &[&str], from_days: i64, to_days: i64| {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        let at = |days: i64| {
            let seconds = i64::try_from(NOW).unwrap() + days * 86_400;
            OffsetDateTime::from_unix_timestamp(seconds).unwrap()
        };
        (params.not_before, params.not_after) = (at(from_days), at(to_days));
        params.self_signed(&edge.signing_key).unwrap().pem()
    };
    write("com.pem", &made(&["shop.com"], -1_000, 10_000), 0o644);
    write(
        "suffix.pem",
        &made(&["shop.example", "*.co.uk"], -1_000, 10_000),
        0o644,
    );
    write("old.pem", &made(&["shop.example"], -365, -10), 0o644);
    write("soon.pem", &made(&["shop.example"], -85, 5), 0o644);
    write("early.pem", &made(&["shop.example"], 2, 90), 0o644);
    let other = rcgen::generate_simple_self_signed(["other.example".to_owned()]).unwrap();
    let mut dn = rcgen::CertificateParams::new(vec!["other.example".to_owned()]).unwrap();
    dn.distinguished_name
        .push(rcgen::DnType::CommonName, "another issuer");
    let other = dn.self_signed(&other.signing_key).unwrap();
    write(
        "gap.pem",
        &format!("{}{}", edge.cert.pem(), other.pem()),
        0o644,
    );
    fs::copy(
        root("tests/config/lint/weak.pem"),
        dir.path().join("weak.pem"),
    )
    .unwrap();
    for (name, text) in [
        (
            "synthetic/shop.toml",
            "[[probe]]\nname = 'shop-front'\ntarget = 'https://shop.example/'\nevery = '20s'\n\
             [[probe]]\nname = 'shop-sitemap'\ntarget = 'https://shop.example/sitemap.xml'\nevery = '5m'\n",
        ),
        (
            "broken/a.toml",
            "[[probe]]\nname = 'front'\ntarget = 'shop.example'\n",
        ),
        ("broken/b.toml", "[[probe]]\nnmae = 'front'\n"),
    ] {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    dir
}

fn parse(path: &Path, base: &Path) -> Result<Resolved, Report> {
    let text = fs::read_to_string(root(path)).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap();
    config::parse(name, &text, base, &|name| {
        (name == "DOMAIN").then(|| "shop.example".to_owned())
    })
}

fn no_variables(_: &str) -> Option<String> {
    None
}

fn files(dir: &str) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(root(dir))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{dir} has files");
    files
}

fn compare(golden: &Path, said: &str) {
    let path = root(golden);
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|set| set == "1") {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, said).unwrap();
        return;
    }
    let expected = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; UPDATE_GOLDEN=1 writes it", path.display()));
    assert!(
        said == expected,
        "{} is not what is said now; UPDATE_GOLDEN=1 writes it\n--- committed\n{expected}\n--- now\n{said}",
        path.display()
    );
}

fn root(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
