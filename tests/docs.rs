//! What pages say about the code is the code's own word, and where they point to is there.
//!
//! `UPDATE_GOLDEN=1` writes the tables that are made from code, to be read before they are committed.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use vestibule::catalog;
use vestibule::cli::Exit;
use vestibule::config;
use vestibule::model::{
    About, EventKind, Fault, Missed, ProbeFailure, Side, Sli, Slo, SloKey, Span, Tally, Timestamp,
    Window,
};
use vestibule::probe::blackbox;
use vestibule::slo::alert::AlertState;
use vestibule::slo::engine::Engine;
use vestibule::slo::policy::{Policy, Severity, Tier};
use vestibule::slo::state::SloState;
use vestibule::triage::{Level, Locus};

#[test]
fn the_list_of_faults_is_the_codes() {
    let mut page = String::from(FAULTS);
    for (side, about) in SIDES {
        write!(
            page,
            "\n## {}\n\n{}\n\n",
            capital(side.as_str()),
            capital(about)
        )
        .unwrap();
        page.push_str("| fault | status | what happened |\n| --- | --- | --- |\n");
        for fault in Fault::ALL.iter().filter(|fault| fault.side() == side) {
            let (status, what) = (status(*fault), description(*fault));
            writeln!(page, "| `{}` | {status} | {what} |", fault.as_str()).unwrap();
        }
    }
    compare(Path::new("docs/faults.md"), &page);
}

#[test]
fn the_page_on_probes_is_the_codes() {
    let mut page = String::from(PROBES);
    page.push_str(&config::probe_reference());
    page.push_str(SERIES);
    for (name, labels, ours, help) in blackbox::SERIES {
        let labels: Vec<_> = labels.iter().map(|label| format!("`{label}`")).collect();
        let ours = if *ours { "added" } else { "" };
        writeln!(
            page,
            "| `{name}` | {} | {ours} | {help} |",
            labels.join(" ")
        )
        .unwrap();
    }
    page.push_str(FAILURES);
    for failure in ProbeFailure::ALL {
        let what = documented("src/model/probe.rs", failure.as_str());
        writeln!(page, "| `{}` | {what} |", failure.as_str()).unwrap();
    }
    page.push_str(MISSED);
    for why in Missed::ALL {
        let what = documented("src/model/probe.rs", why.as_str());
        writeln!(page, "| `{}` | {what} |", why.as_str()).unwrap();
    }
    compare(Path::new("docs/probes.md"), &page);
}

#[test]
fn the_readme_tells_sides_policy_and_exit_codes_as_they_are() {
    let mut faults = String::from("| whose | counts as | faults, and the status answered |\n");
    faults.push_str("| --- | --- | --- |\n");
    for (side, about) in SIDES {
        let of_side: Vec<Fault> = Fault::ALL
            .iter()
            .copied()
            .filter(|fault| fault.side() == side)
            .collect();
        let names: Vec<String> = of_side
            .iter()
            .map(|fault| {
                format!("`{}` {}", fault.as_str(), status(*fault))
                    .trim_end()
                    .to_owned()
            })
            .collect();
        let (about, _) = about.split_once('.').unwrap();
        let outcome = of_side[0].outcome().as_str();
        writeln!(
            faults,
            "| **{}**: {about} | {outcome} | {} |",
            side.as_str(),
            names.join(", ")
        )
        .unwrap();
    }
    let mut policy = String::from("| severity | tier | long window | short window | factor |\n");
    policy.push_str("| --- | --- | --- | --- | --- |\n");
    for row in Policy::workbook().rows_over(Window::days(30)) {
        let (severity, tier) = (row.severity.as_str(), row.tier.as_str());
        let factor = f64::from(row.factor.0) / 1_000.0;
        writeln!(
            policy,
            "| {severity} | {tier} | {} | {} | {factor} |",
            row.long, row.short
        )
        .unwrap();
    }
    let mut codes = String::from("| code | of | means |\n| --- | --- | --- |\n");
    for exit in Exit::ALL {
        let (commands, meaning) = exit.about();
        writeln!(codes, "| {} | {commands} | {meaning} |", exit as u8).unwrap();
    }
    // One test for all of them, since each may write the page.
    let mut readme = fs::read_to_string("README.md").unwrap();
    for (name, table) in [
        ("faults", faults),
        ("policy", policy),
        ("exit codes", codes),
    ] {
        readme = with_block(&readme, name, &table);
    }
    compare(Path::new("README.md"), &readme);
}

#[test]
fn the_readmes_verdict_is_one_that_a_scenario_draws() {
    let scenario = fs::read_to_string("tests/scenario/bad_deploy.toml").unwrap();
    let readme = fs::read_to_string("README.md").unwrap();
    let sentence = fenced(&readme, "text").next().unwrap();
    let sentence = sentence.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(sentence.starts_with("CRIT: "), "{sentence}");
    assert!(
        scenario.contains(&format!("text = \"{sentence}\"\n")),
        "nothing draws: {sentence}"
    );
    // In the JSON it is cut short, and the parts beside it are those of the sentence.
    let verdict = &readmes_snapshot()["verdict"];
    let begun = verdict["text"].as_str().unwrap().trim_end_matches('…');
    assert!(sentence.starts_with(begun), "{begun}");
    assert!(sentence.contains(verdict["route"].as_str().unwrap()));
    let (_, onset) = verdict["onset"].as_str().unwrap().split_once('T').unwrap();
    let (onset, _) = onset.split_once('.').unwrap();
    assert!(sentence.contains(&format!("since {onset}Z")), "{onset}");
}

#[test]
fn the_readmes_alert_has_the_id_that_the_engine_gives() {
    let (snapshot, key) = (readmes_snapshot(), SloKey(0));
    let (shown, slo) = (&snapshot["alerts"][0], &snapshot["slos"][0]);
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let slo = Slo {
        slices: None,
        parts: Vec::new(),
        probe: None,
        id: text(&slo["id"]),
        about: About::Route(text(&slo["route"])),
        owner: None,
        sli: Sli::AVAILABILITY,
        objective: format!("{}%", slo["objective_ppm"].as_f64().unwrap() / 1e4)
            .parse()
            .unwrap(),
        window: Window::days(30),
        calendar: None,
        policy: "workbook".to_owned(),
        runbook: None,
    };
    let outage = |_: SloKey, window: Window| Span {
        tally: Tally {
            good: 0,
            bad: 1_000_000,
        },
        covered_s: window.as_secs(),
    };
    let mut engine = Engine::new(vec![(key, slo)], &Policy::shipped());
    let evaluation = engine.evaluate(Timestamp::from_secs(100_000_000), &outage);
    let alert = evaluation
        .alerts
        .iter()
        .find(|alert| alert.id == text(&shown["id"]));
    let alert = alert.unwrap_or_else(|| panic!("no alert has the id {}", shown["id"]));
    assert_eq!(alert.about, text(&shown["slo"]));
    assert_eq!(alert.severity.as_str(), shown["severity"]);
    assert_eq!(alert.burn.unwrap().row.tier.as_str(), shown["tier"]);
}

#[test]
fn the_readmes_words_are_the_codes() {
    let readme = fs::read_to_string("README.md").unwrap();
    let words = |row: &str| -> BTreeSet<String> {
        let line = readme
            .lines()
            .find(|line| line.starts_with(&format!("| {row} |")));
        let line = line.unwrap_or_else(|| panic!("no row `{row}`"));
        let values = line.rsplit('|').nth(1).unwrap();
        let quoted = values.split('`').skip(1).step_by(2);
        quoted.map(ToOwned::to_owned).collect()
    };
    assert_eq!(words("`verdict.severity`"), variants::<Level>());
    assert_eq!(words("`verdict.side`"), variants::<Locus>());
    assert_eq!(words("`slos[].state`"), variants::<SloState>());
    assert_eq!(words("`events[].kind`"), variants::<EventKind>());
    let mut alerts = variants::<Severity>();
    alerts.extend(variants::<Tier>());
    alerts.extend(variants::<AlertState>());
    // What is inactive is not shown.
    alerts.remove("inactive");
    assert_eq!(words("`alerts[].severity`, `tier`, `state`"), alerts);
}

/// The words that an enum is written as; serde names them when it meets another.
fn variants<T: DeserializeOwned>() -> BTreeSet<String> {
    let refused = serde_json::from_value::<T>("?".into()).err().unwrap();
    let refused = refused.to_string();
    let quoted = refused.split('`').skip(1).step_by(2);
    quoted.skip(1).map(ToOwned::to_owned).collect()
}

#[test]
fn every_probe_that_is_shipped_is_broken_by_a_test() {
    let mut tests = fs::read_to_string("tests/e2e/synthetic.rs").unwrap();
    for entry in fs::read_dir("tests/e2e/synthetic").unwrap() {
        tests.push_str(&fs::read_to_string(entry.unwrap().path()).unwrap());
    }
    let mut shipped = 0;
    for entry in fs::read_dir("synthetic").unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        // What a comment says that it guards against, some server does.
        let comments = text
            .lines()
            .filter_map(|line| Some(line.split_once('#')?.1));
        let comments: String = comments.collect();
        for failure in ProbeFailure::ALL {
            let word = failure.as_str();
            let mut words = comments.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            assert!(
                words.all(|said| said != word) || tests.contains(&format!("\"{word}\"")),
                "{}: no test has a server that is {word}",
                path.display()
            );
        }
        let file: toml::Table = toml::from_str(&text).unwrap();
        for probe in file["probe"].as_array().unwrap() {
            let name = probe["name"].as_str().unwrap();
            shipped += 1;
            assert!(
                tests.contains(&format!("\"{name}\"")),
                "{}: no test runs {name} against a real server",
                path.display()
            );
        }
    }
    assert!(shipped > 10);
}

#[test]
fn the_programs_that_tests_need_are_named_and_installed() {
    let mut needed = BTreeSet::new();
    let dirs = [
        "tests/e2e",
        "tests/e2e/acme",
        "tests/e2e/export",
        "tests/e2e/lifecycle",
        "tests/e2e/synthetic",
        "tests/generate",
        "tests/oracle",
        "tests/scenario",
    ];
    for path in dirs {
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                let code = fs::read_to_string(&path).unwrap();
                for said in code.split("skip(\"").skip(1) {
                    let (program, _) = said.split_once(" is not installed\")").unwrap();
                    needed.insert(program.to_owned());
                }
            }
        }
    }
    let contributing = fs::read_to_string("CONTRIBUTING.md").unwrap();
    let (_, named) = contributing.split_once("speak to real peers: ").unwrap();
    let (named, rest) = named.split_once('.').unwrap();
    let named = named.replace(" and ", ", ");
    let named: BTreeSet<String> = named
        .split(',')
        .map(|program| program.trim().to_owned())
        .collect();
    assert_eq!(named, needed);
    // What the sentence after it says, `skip` does.
    assert!(rest.contains("`VESTIBULE_CI=1`, as in `.ci/run`, a missing peer is a failure"));
    let chain = fs::read_to_string(".ci/run").unwrap();
    assert!(chain.contains("VESTIBULE_CI=1 INSTA_UPDATE=no cargo test"));
    let (_, packages) = chain.split_once("PACKAGES='").unwrap();
    let (packages, _) = packages.split_once('\'').unwrap();
    // What no package brings is unpacked below target.
    assert!(chain.contains("step 'peers' .ci/peers"));
    let peers = fs::read_to_string(".ci/peers").unwrap();
    for program in needed {
        let is_brought = |line: &str| line.split(' ').next() == Some(&program);
        let is_pythons = chain.contains(&format!("={program}=="));
        let is_fetched = peers.contains(&format!("[[ -x $PEERS/{program} ]]"));
        let is_there = packages.lines().any(is_brought) || is_pythons || is_fetched;
        assert!(is_there, "{program}");
    }
}

#[test]
fn the_readmes_configuration_is_taken_without_a_word() {
    let readme = fs::read_to_string("README.md").unwrap();
    let text: Vec<&str> = fenced(&readme, "toml").collect();
    let read = config::parse("README.md", &text.concat(), Path::new(""), &|_| None);
    let resolved = read.unwrap_or_else(|report| panic!("{}", report.render(false)));
    assert!(
        resolved.warnings.is_empty(),
        "{}",
        resolved.warnings.render(false)
    );
}

#[test]
fn the_readmes_json_has_only_fields_that_there_are() {
    let readme = fs::read_to_string("README.md").unwrap();
    let mut keys = BTreeSet::new();
    for text in fenced(&readme, "json") {
        collect_keys(&serde_json::from_str(text).unwrap(), &mut keys);
    }
    assert!(keys.contains("verdict") && keys.contains("remaining_ratio"));
    let sources = [
        "src/snapshot.rs",
        "src/snapshot/alert.rs",
        "src/triage.rs",
        "src/model/event.rs",
    ];
    let code: String = sources
        .map(|path| fs::read_to_string(path).unwrap())
        .concat();
    for key in keys {
        assert!(
            code.contains(&format!("    pub {key}: ")),
            "there is no field `{key}`"
        );
    }
}

#[test]
fn the_list_of_series_is_the_catalogs() {
    let mut table =
        String::from("| series | kind | unit | labels | what |\n| --- | --- | --- | --- | --- |\n");
    for series in catalog::ALL {
        let labels: Vec<String> = series
            .labels
            .iter()
            .map(|label| match label.bound {
                catalog::Bound::Configured => format!("`{}`", label.name),
                catalog::Bound::Closed(count) => format!("`{}` ≤ {count}", label.name),
                catalog::Bound::Ours => format!("`{}` (few)", label.name),
            })
            .collect();
        let unit = series
            .unit
            .suffix()
            .map_or("", |suffix| suffix.trim_start_matches('_'));
        writeln!(
            table,
            "| `{}` | {} | {unit} | {} | {} |",
            series.name,
            series.kind.as_str(),
            labels.join(", "),
            series.help
        )
        .unwrap();
    }
    let page = Path::new("docs/metrics.md");
    let text = fs::read_to_string(page).unwrap();
    compare(page, &with_block(&text, "series", &table));
}

#[test]
fn the_list_of_standard_variables_is_what_is_read() {
    let page = Path::new("docs/otlp.md");
    let text = fs::read_to_string(page).unwrap();
    let table = with_block(&text, "variables", &config::otlp_variables());
    compare(page, &table);
}

#[test]
fn series_that_pages_name_are_exported() {
    let known: BTreeSet<&str> = catalog::ALL.iter().map(|series| series.name).collect();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            if word.starts_with("vestibule_") || word.starts_with("process_") {
                assert!(
                    known.contains(word),
                    "{}: there is no series `{word}`",
                    page.display()
                );
            }
        }
    }
}

#[test]
fn links_lead_somewhere() {
    let mut seen = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for target in text.split("](").skip(1) {
            let target = target.split(')').next().unwrap();
            if target.starts_with("https://") {
                continue;
            }
            seen += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            assert!(file.exists(), "{}: {target} is not there", page.display());
            if !anchor.is_empty() {
                let found = anchors(&fs::read_to_string(&file).unwrap());
                assert!(
                    found.contains(anchor),
                    "{}: {target} is not among {found:?}",
                    page.display()
                );
            }
        }
    }
    assert!(seen > 20, "{seen}");
}

const SIDES: [(Side, &str); 3] = [
    (
        Side::Upstream,
        "the service behind, or the way to it. Spends error budget.",
    ),
    (Side::Edge, "Vestibule itself. Spends error budget."),
    (
        Side::Downstream,
        "the client, or the way from it. Never spends error budget, for nobody here can mend it.",
    ),
];

const FAULTS: &str = "\
<!-- Written by tests/docs.rs from src/model/outcome.rs. -->

# Faults

Why a request was not good. The word is the label `fault` of `vestibule_faults_total`, `error.type` in the access log, and
what `vestibule status --json` and the screens say. The status is what the client is answered while no response has begun;
one that has is cut off, so that the client sees that it is not whole. Without a status there is nobody to answer, or the
upstream's own response is passed on.
";

const SERIES: &str = "
## `/probe`

`GET /probe?target=TARGET&module=MODULE` runs a probe now and answers with what it found, in the Prometheus text format. The admin
API of a daemon answers it, and `vestibule probe serve` without one. A `[[module]]` says how is asked; `http_2xx` is there without
being written. `hostname=NAME` is the Host header, or the name asked for in TLS; `debug=true` shows what happened. A run takes at
most the module's `timeout`, and half a second less than Prometheus waits.

Names and labels are those of `blackbox_exporter`, so that its dashboards and rules go on working. What it lacks is added. A series
without a value is absent: there is no time of the year 1 for a chain that was not verified.

Whoever can reach `/probe` can have it connect to whatever this machine can reach, and can be sent what a module sends, its
credentials as well: the target is theirs to choose. The admin API listens on loopback alone, and refuses what web pages have a
browser ask for; `probe serve` listens where it is told.

A daemon does not sign these requests: whoever is sent the signature could use it for a minute to keep other requests out of SLOs.
So those that come to its own proxy count as users'. `probe serve --key-file` signs, for everybody who reaches it.

| series | labels | | what it is |
| --- | --- | --- | --- |
";

const PROBES: &str = "\
<!-- Written by tests/docs.rs and config::probe_reference. -->

# Probes

A synthetic probe asks for what users ask for, from outside and on a schedule, and holds the answer to what was expected.
Probes are written in files of their own, [synthetic/](../synthetic) has examples. `vestibule probe run` runs them once and
says by its exit code how they went; `--json`, `--tap` and `--junit FILE` are for programs. A daemon runs those of its
`probes.dir` ([config.md](config.md)).

- **Slots.** A probe is due at fixed instants that follow from its name and `every`; a restart changes nothing, and probes do
  not all start at once. Every slot ends as exactly one of `ok`, `fail` and `missed`, with a reason. Missed slots are neither
  good nor bad: they lower the coverage.
- **Open loop.** Slots do not wait for the run before them. A minute in which nothing answers costs a minute of slots.
- **In a hurry.** From its first failure until it was well five times in a row, for ten minutes at most, and while an alert of its
  route, or of an SLO that counts it, is pending or fires, a probe is run up to six times as
  often, from its next whole interval on (`hurry`). A slot counts for its own length, so the ratio is what it would be without;
  coverage is taken by time. All probes together make at most 1,200 runs a minute more.
- **Nothing is kept alive.** Each run looks the name up, connects and shakes hands anew, and its phases are kept up to where it
  failed: `resolve`, `connect`, `tls`, `processing` (to the response's head), `transfer` (its body).
- **No retries.** The first attempt is what counts.
- **One server is asked.** A `dns://` target is asked as it is written, without search lists, caches or a second server. An answer
  that a resolver kept because nobody could be asked fails as `dns_stale`.
- **Echoes.** `icmp://` needs `CAP_NET_RAW`, or a group of this process within `net.ipv4.ping_group_range`; without either it fails as
  `not_permitted`.
- **Secrets.** `http.bearer_file` and `http.password_file` are read for each run, so a rotated secret is taken at once. They, and
  Authorization and Cookie headers, stay with the target's own host.
- **Not a user.** Requests carry the header `vestibule-probe`, signed with `probes.key_file`. The proxy that knows the key
  keeps them out of routes' counts and SLOs. An SLO of its own counts a probe: `sli = \"probe\"`.

## Where a fault lies

A probe with `route` and `compare = true` looks at that route from four vantages in the same slot. The slot's outcome is the
edge's alone: that is what users find.

| vantage | what is asked |
| --- | --- |
| `edge` | the target, by its public name and whatever is in front of this ingress |
| `ingress` | the same, at our own listener; in plain text when something in front of it ends TLS |
| `upstream` | each endpoint of the route, the first eight, with the request that the proxy would send it |
| `tcp` | each of these endpoints, for a connection |

A direct request is held to what is expected of the status, the body and the time, and of headers that the route does not edit. It
carries no mark of a probe, and the route's own headers.

| seen | placed at |
| --- | --- |
| no address for the name; or an address where the probe was never well while our listener is | `dns` |
| no connection, or another answer than from our listener | `network`: in front of it |
| no handshake | `tls` |
| our listener takes no connection, or answers as badly while the endpoints are well | `ingress` |
| an endpoint fails as well when it is asked directly | `upstream`, or `dns` and `tls` when that is why |
| too little to compare | `unknown` |

What fails before a request is never blamed on a service. Two failed slots in a row are a verdict of their own unless users see
it too; then the verdict about them says what the probe finds, and takes its side when their faults do not say. `status`, screen `5`,
`probe run` and the snapshot (`probes[].views`, `probes[].placing`, `verdict.outside`) show all of it.

What probes do not see is listed too, as `blind_spots`:

| kind | what it means |
| --- | --- |
| `unseen` | users of a route fail, and every probe of it is well: none asks what they ask |
| `alone` | a probe fails while users of its route do well |
| `faster` | users wait ten times as long as the probe does |
| `no_result` | a probe should have been run, and was not |
| `no_vantage` | a probe is compared, and our listener or the upstream cannot be asked |
| `no_probe` | a route has users, and no probe looks at it |

## Names

With `enabled = true` in `[dns]` ([config.md](config.md)), a daemon asks for every name that traffic depends on (hosts of routes, hosts of
upstreams' endpoints, targets of probes) every 15 seconds: each of the resolvers, and the authority for the zone, which it finds by
the NS records or is told of in `[[dns.authority]]`. `vestibule names` lists addresses, times to live, whether a server is the
authority (`aa`), its zone's serial number, extended errors and how long it took; authorities whose serial numbers differ are told,
and a time to live that was lowered for a move and forgotten.
Its exit code is 1 when somebody is behind. The answers are series, too ([metrics.md](metrics.md), from `vestibule_name_ttl_seconds` on).

When the authority drops an address, everybody may go by it for as long as its last time to live. After that and `dns.grace`, who
still does is told, with for how long:

| behind | seen by |
| --- | --- |
| a resolver | it still gives the address; or it says itself that its answer is stale (extended errors 3 and 19) |
| clients | connections still come to that address of this machine. They are counted by local address |
| this ingress | unused connections to an endpoint are kept open to it |

How long a name takes is a phase of every probe (`resolve`).

## Certificates

Every chain that a probe sees is kept, also when it is refused, and listed by `vestibule certs` beside the configuration's files
and what the listeners show. What is told, by what is left of the certificate's own life:

| told | when |
| --- | --- |
| warn | a renewal is overdue: less than 30 % is left, or 45 % of a life below ten days; a listener shows nothing for a host |
| ticket | 15 % is left, or 30 % of a life below ten days; or its file cannot be read |
| page | 24 hours are left, at most 15 %; it has expired; it is not valid yet; a listener shows another host's; its file was renewed and for ten minutes another certificate has been served |
";

const FAILURES: &str = "
## Failures

Why a slot ended as `fail`. A closed set: it is the label `reason`.

| reason | what happened |
| --- | --- |
";

const MISSED: &str = "
## Missed slots

Why a slot ended as `missed`.

| reason | what happened |
| --- | --- |
";

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().into_iter().flat_map(char::to_uppercase);
    first.chain(chars).collect()
}

fn status(fault: Fault) -> String {
    fault
        .status()
        .map_or(String::new(), |status| status.to_string())
}

/// The fault's documentation.
fn description(fault: Fault) -> String {
    documented("src/model/outcome.rs", fault.as_str())
}

/// The documentation of the variant in `file` that is written `word`.
fn documented(file: &str, word: &str) -> String {
    let code = fs::read_to_string(file).unwrap();
    let (before, _) = code.split_once(&format!("= \"{word}\"")).unwrap();
    let mut lines: Vec<&str> = before.lines().map(str::trim).collect();
    lines.pop();
    let from = lines.iter().rposition(|line| !line.starts_with("///"));
    let lines = lines.iter().skip(from.map_or(0, |at| at + 1));
    let words: Vec<&str> = lines.map(|line| line.trim_start_matches("/// ")).collect();
    words.join(" ")
}

/// The text with what stands between the marks of `name` replaced.
fn with_block(text: &str, name: &str, body: &str) -> String {
    let (before, rest) = text.split_once(&format!("<!-- {name}:")).unwrap();
    let (mark, rest) = rest.split_once('\n').unwrap();
    let end = format!("<!-- /{name} -->");
    let (_, after) = rest.split_once(&end).unwrap();
    format!("{before}<!-- {name}:{mark}\n{body}{end}{after}")
}

/// The README's abridged snapshot.
fn readmes_snapshot() -> serde_json::Value {
    let readme = fs::read_to_string("README.md").unwrap();
    serde_json::from_str(fenced(&readme, "json").next().unwrap()).unwrap()
}

fn fenced<'a>(text: &'a str, language: &str) -> impl Iterator<Item = &'a str> {
    let open = format!("```{language}\n");
    let blocks: Vec<&str> = text.split(&open).skip(1).collect();
    blocks
        .into_iter()
        .filter_map(|block| block.split("```").next())
}

fn collect_keys(value: &serde_json::Value, keys: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                // Windows are keys of their own.
                if !key.starts_with(|c: char| c.is_ascii_digit()) {
                    keys.insert(key.clone());
                }
                collect_keys(value, keys);
            }
        }
        serde_json::Value::Array(items) => {
            for item in items {
                collect_keys(item, keys);
            }
        }
        _ => {}
    }
}

/// A page's headings as they can be linked to.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase())
        .map(|line| {
            line.chars()
                .filter(kept)
                .collect::<String>()
                .replace(' ', "-")
        })
        .collect()
}

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<PathBuf> = [".", "docs", "docs/runbooks"]
        .iter()
        .flat_map(|dir| fs::read_dir(dir).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    pages.sort();
    assert!(pages.len() > 8, "{pages:?}");
    pages
}

fn compare(path: &Path, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(path, text).unwrap();
    }
    let committed = fs::read_to_string(path).unwrap_or_default();
    assert!(
        committed == text,
        "{} is stale: UPDATE_GOLDEN=1 writes it anew",
        path.display()
    );
}
