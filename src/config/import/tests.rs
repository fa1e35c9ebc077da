//! Export and import are one another's mirror, and what is not carried is told.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

use crate::config::parse;
use crate::generate::spec::{service, specify};
use crate::generate::{Links, Place, Plan};
use crate::model::{
    About, Calendar, CalendarUnit, ClientErrors, EmptySlice, Objective, Part, Reading, Slices,
    Vital, Weighing, Worth, Zone,
};
use crate::slo::guards::Guards;
use crate::slo::policy::{Factor, PolicyRow, Severity, Share, Threshold, Tier};

fn sources(text: &str) -> Vec<Source> {
    vec![Source {
        name: "specs.yaml".to_owned(),
        text: text.to_owned(),
    }]
}

fn read(text: &str) -> Imported {
    import(&sources(text), None).unwrap_or_else(|reports| panic!("{reports:?}"))
}

fn notes(imported: &Imported) -> Vec<String> {
    imported.notes.iter().map(ToString::to_string).collect()
}

fn refused(text: &str) -> String {
    let reports = import(&sources(text), None).unwrap_err();
    reports.iter().map(|report| report.render(false)).collect()
}

fn plan(slos: Vec<Slo>, policies: Vec<Policy>) -> Plan {
    let routes = slos
        .iter()
        .filter_map(|slo| slo.about.route().map(str::to_owned));
    Plan {
        places: routes
            .map(|route| {
                let owner = Some("the $HOME team".to_owned());
                let upstream = String::new();
                (route, Place { upstream, owner })
            })
            .collect(),
        slos,
        policies,
        links: Links {
            grafana: "http://localhost".to_owned(),
            runbooks: None,
        },
        sloth: false,
        admin: None,
    }
}

fn policies() -> impl Strategy<Value = Policy> {
    let over = prop_oneof![
        (1_u32..40_000).prop_map(|milli| Threshold::Burn(Factor::milli(milli))),
        // What a year and the shortest of these windows come to can still be exceeded.
        (1_u32..60, proptest::option::of(1_u32..40_000)).prop_map(|(ppm, least)| {
            Threshold::Spend {
                share: Share::ppm(ppm),
                least: least.map(Factor::milli),
            }
        }),
    ];
    let row = (over, 5_u32..100, any::<bool>()).prop_map(|(over, minutes, page)| PolicyRow {
        severity: if page {
            Severity::Page
        } else {
            Severity::Ticket
        },
        tier: Tier::Fast,
        long: Window::minutes(minutes * 12),
        short: Window::minutes(minutes),
        over,
    });
    let guards = (0_u64..100, 0_u64..100, any::<bool>(), any::<bool>());
    let guards = guards.prop_map(|(page, ticket, volume_weight, confidence)| Guards {
        page_min_bad: page,
        ticket_min_bad: ticket,
        volume_weight,
        confidence,
        ..Guards::default()
    });
    (row, guards).prop_map(|(row, guards)| Policy {
        name: "own.policy".to_owned(),
        rows: vec![row],
        guards,
    })
}

fn promised() -> impl Strategy<Value = Slo> {
    let sli = prop_oneof![
        Just(Sli::AVAILABILITY),
        Just(Sli::Availability(Reading::All)),
        prop::collection::vec(400_u16..500, 1..4).prop_map(|statuses| {
            let also = statuses.into_iter().filter_map(ClientErrors::one);
            let also = also.fold(ClientErrors::NONE, ClientErrors::and);
            Sli::Availability(Reading::Fault { also })
        }),
        Just(Sli::Availability(Reading::Fault {
            also: ClientErrors::EVERY
        })),
        (1_u64..600_000).prop_map(|ms| Sli::Latency {
            under: Duration::from_millis(ms)
        }),
        (1_u64..3_600).prop_map(|every| Sli::Probe {
            every: Duration::from_secs(every)
        }),
        (1_u8..100, 1_u64..3_600, 0..5).prop_map(|(most, within, which)| Sli::Vital(match which {
            0 => Vital::Handshake,
            1 => Vital::Cpu { most },
            2 => Vital::Memory { most },
            3 => Vital::Apply {
                within: Duration::from_secs(within)
            },
            _ => Vital::Health,
        })),
    ];
    let named = prop_oneof![Just(DEFAULT_POLICY), Just("hourly"), Just("own.policy"),];
    (
        "[A-Za-z0-9][A-Za-z0-9._-]{0,20}",
        sli,
        // Every policy here can fire for such an objective.
        976_000_u32..999_999,
        prop_oneof![
            (60_u32..527_040).prop_map(|minutes| (Window::minutes(minutes), None)),
            (
                prop::sample::select(CalendarUnit::ALL.to_vec()),
                prop::sample::select(vec![Zone::UTC, "Asia/Kolkata".parse().unwrap()])
            )
                .prop_map(|(unit, zone)| (unit.nominal(), Some(Calendar { unit, zone }))),
        ],
        named,
        any::<bool>(),
    )
        .prop_map(
            |(route, sli, ppm, (window, calendar), policy, linked)| Slo {
                id: String::new(),
                // Some of each, whatever else they are; the policies' short windows are 5 minutes and longer.
                slices: match (sli, ppm % 3) {
                    (Sli::Probe { .. } | Sli::Vital(_), _) | (_, 0) => None,
                    (_, 1) => Some(Slices {
                        every: Window::minutes(1),
                        worth: Worth::Whole(Objective::try_from_ppm(ppm / 2).unwrap()),
                        empty: EmptySlice::Good,
                    }),
                    _ => Some(Slices {
                        every: Window::minutes(1),
                        worth: Worth::Share,
                        empty: EmptySlice::Bad,
                    }),
                },
                about: match (sli, ppm % 7) {
                    (Sli::Vital(Vital::Health), 0..=3) => About::Upstream(route),
                    (Sli::Vital(_), _) => About::Ingress,
                    (Sli::Probe { .. }, _) | (_, 0..=3) => About::Route(route),
                    (_, 4) => About::Upstream(route),
                    (_, 5) => About::Owner(route),
                    _ => About::Ingress,
                },
                owner: None,
                sli,
                parts: Vec::new(),
                probe: matches!(sli, Sli::Probe { .. }).then(|| "a.probe".to_owned()),
                objective: Objective::try_from_ppm(ppm).unwrap(),
                window,
                calendar,
                policy: policy.to_owned(),
                runbook: linked.then(|| "https://a.example/$x?y=\"1\"&z='#b".replace('"', "%22")),
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_exported_is_imported_as_it_was(
        slos in proptest::collection::vec(promised(), 1..6),
        policy in policies(),
    ) {
        let mut slos = slos;
        for (place, slo) in slos.iter_mut().enumerate() {
            slo.id = format!("{}.{place}", service(slo));
        }
        // `OpenSLO` knows services by small letters, digits and dashes only: two that look alike there are one.
        slos.sort_by_key(service);
        slos.dedup_by(|a, b| {
            let small = |slo: &Slo| crate::generate::spec::label(&service(slo));
            small(a) == small(b) && service(a) != service(b)
        });
        if let [one, other, ..] = slos.as_slice()
            && one.objective.ppm() % 2 == 0
        {
            // Only requests are weighed by events.
            let counts_requests = |slo: &Slo| {
                let is_vital = matches!(slo.sli, Sli::Vital(vital) if vital != Vital::Handshake);
                slo.slices.is_none() && slo.probe.is_none() && !is_vital
            };
            let weigh = one.objective.ppm() % 4 == 0
                || !counts_requests(one)
                || !counts_requests(other);
            let part = |slo: &Slo, weight| Part {
                slo: slo.id.clone(),
                weight,
                counted: String::new(),
            };
            let composite = Slo {
                id: "whole".to_owned(),
                about: About::Parts,
                sli: Sli::Composite(if weigh { Weighing::Minutes } else { Weighing::Events }),
                slices: weigh.then_some(Slices::WEIGHED),
                parts: vec![part(one, 3), part(other, 1)],
                probe: None,
                ..one.clone()
            };
            slos.push(composite);
            Slo::compose(&mut slos);
        }
        let policies = [Policy::shipped(), vec![policy.clone()]].concat();
        let plan = plan(slos.clone(), policies);
        for spec in [Spec::OpenSlo, Spec::Sloth] {
            let text = specify(&plan, spec);
            let mut imported = import(&sources(&text), Some(spec)).unwrap();
            prop_assert_eq!(&imported.notes, &[], "{}", text);
            let mut found: Vec<Slo> = imported.slos().cloned().collect();
            let mut promised = slos.clone();
            for slos in [&mut found, &mut promised] {
                slos.sort_by(|a, b| a.id.cmp(&b.id));
            }
            prop_assert_eq!(&found, &promised);
            if slos.iter().any(|slo| slo.policy == policy.name) {
                prop_assert_eq!(&imported.policies, &vec![policy.clone()]);
            }

            // As a configuration, too; what a probe is and what leads to an upstream stands elsewhere.
            imported.without_surroundings();
            let draft = imported.draft();
            let resolved = parse("draft", &draft, Path::new(""), &|_| None);
            let resolved = resolved.map_err(|report| TestCaseError::fail(format!("{report:?}\n{draft}")))?;
            let mut found = resolved.slos;
            found.sort_by(|a, b| a.id.cmp(&b.id));
            for slo in &mut found {
                slo.owner = None;
            }
            let stands_alone = |slo: &Slo| {
                slo.probe.is_none() && !matches!(slo.about, About::Upstream(_) | About::Owner(_))
            };
            let left: Vec<String> = promised
                .iter()
                .filter(|slo| !stands_alone(slo))
                .map(|slo| slo.id.clone())
                .collect();
            promised.retain(|slo| {
                stands_alone(slo) && slo.parts.iter().all(|part| !left.contains(&part.slo))
            });
            prop_assert_eq!(&found, &promised);
            prop_assert!(
                resolved.proxy.routes.iter().all(|route| route.owner.as_deref() == Some("the $HOME team"))
            );
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[ -~\n\t:\\-\\[\\]{}&*!|>'\"#%@`,?äÿ\u{feff}\u{2028}]{0,200}") {
        drop(import(&sources(&text), None));
    }

    #[test]
    fn no_damage_to_a_document_makes_it_panic(
        cuts in proptest::collection::vec((0_usize..3_000, 0_usize..40, ".{0,6}"), 1..4),
        sloth in any::<bool>(),
    ) {
        let mut text = if sloth { SLOTH.to_owned() } else { OPENSLO.to_owned() };
        for (at, length, instead) in cuts {
            let begin = text.floor_char_boundary(at % text.len().max(1));
            let end = text.floor_char_boundary((begin + length).min(text.len()));
            text.replace_range(begin..end.max(begin), &instead);
        }
        if let Ok(imported) = import(&sources(&text), None) {
            let mut imported = imported;
            imported.without_surroundings();
            let draft = imported.draft();
            prop_assert!(parse("draft", &draft, Path::new(""), &|_| None).is_ok(), "{}", draft);
        }
    }
}

/// As people write it.
const SLOTH: &str = r#"
version: "prometheus/v1"
service: "My Service"
labels:
  owner: "team-a"
  tier: "2"
slos:
  - name: "requests-availability"
    objective: 99.9
    description: "Most requests are answered."
    labels: {category: availability}
    sli:
      events:
        error_query: sum(rate(http_requests_total{job="a",code=~"(5..|429)"}[{{.window}}]))
        total_query: sum(rate(http_requests_total{job="a"}[{{.window}}]))
    alerting:
      name: MyServiceHighErrorRate
      labels: {category: availability}
      annotations:
        summary: High error rate
        runbook: https://wiki.example/a
      page_alert:
        labels: {severity: pageteam}
      ticket_alert:
        disable: true
  - name: "latency"
    objective: 95
    sli:
      events:
        error_query: |
          sum(rate(http_request_duration_seconds_count[{{.window}}]))
          - sum(rate(http_request_duration_seconds_bucket{le="0.25"}[{{.window}}]))
        total_query: sum(rate(http_request_duration_seconds_count[{{.window}}]))
    alerting: {page_alert: {disable: true}, ticket_alert: {disable: true}}
  - name: "backlog"
    objective: 99
    sli: {raw: {error_ratio_query: "avg(queue_stuck)"}}
  - name: "plugged"
    objective: 99
    sli: {plugin: {id: "sloth-common/x", options: {}}}
  - name: "perfect"
    objective: 100
    sli: {raw: {error_ratio_query: "avg(rate(x{code=\"500\"}[5m]))"}}
"#;

#[test]
fn a_document_of_sloth_is_carried_and_every_other_word_is_told() {
    let imported = read(SLOTH);
    let slos: Vec<&Slo> = imported.slos().collect();
    let [available, fast] = slos.as_slice() else {
        panic!("{slos:?}");
    };
    assert_eq!(available.id, "requests-availability");
    assert_eq!(available.about.route(), Some("My-Service"));
    assert_eq!(available.sli, Sli::AVAILABILITY);
    assert_eq!(available.objective.to_string(), "99.9%");
    assert_eq!(available.window, Window::days(30));
    assert_eq!(available.policy, "workbook");
    assert_eq!(available.runbook.as_deref(), Some("https://wiki.example/a"));
    let under = Duration::from_millis(250);
    assert_eq!(fast.sli, Sli::Latency { under });
    let expected = [
        "specs.yaml:3:1: changed: service: the route is called `My-Service`",
        "specs.yaml:6:3: lost: labels.tier: labels of the service are not carried",
        "lost: slos[0].labels.category: an SLO has no labels of its own here",
        "changed: slos[0]: the query is not carried: Vestibule counts the requests of route `My-Service` itself, as an availability",
        "changed: slos[0].alerting.name: alerts have names of Vestibule's",
        "lost: slos[0].alerting.labels.category: labels of alerts are Vestibule's own",
        "lost: slos[0].alerting.annotations.summary: annotations of alerts are Vestibule's own",
        "lost: slos[0].alerting.page_alert.labels: labels and annotations of alerts are Vestibule's own",
        "lost: slos[0].alerting.ticket_alert.disable: the alert is not switched off",
        "changed: slos[1]: the query is not carried: Vestibule counts the requests of route `My-Service` itself, as a latency under 250ms",
        "lost: slos[1].alerting.page_alert.disable",
        "lost: slos[1].alerting.ticket_alert.disable",
        "lost: slos[2]: left out: its query asks neither how requests ended nor how long they took",
        "lost: slos[3]: left out: what a plugin asks for is not in the document",
        "lost: slos[4]: left out: 100% is out of range",
    ];
    let notes = notes(&imported);
    for words in expected {
        assert!(
            notes.iter().any(|note| note.contains(words)),
            "{words}: {notes:#?}"
        );
    }
    // The last SLO's query has a note of its own.
    assert_eq!(notes.len(), expected.len() + 1, "{notes:#?}");
    assert!(imported.has_losses());
    let draft = imported.draft();
    assert!(
        draft.contains("# Most requests are answered.\n[[slo]]\n"),
        "{draft}"
    );
    assert!(draft.contains("owner = \"team-a\""), "{draft}");
}

const OPENSLO: &str = r#"
apiVersion: openslo/v1
kind: DataSource
metadata: {name: prom}
spec: {type: Prometheus}
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: errors}
spec:
  ratioMetric:
    counter: true
    bad: {metricSource: {metricSourceRef: prom, spec: {query: 'rate(http_requests_total{status=~"5.."}[5m])'}}}
    total: {metricSource: {metricSourceRef: prom, spec: {query: 'rate(http_requests_total[5m])'}}}
---
apiVersion: openslo/v1
kind: SLI
metadata: {name: alone}
spec: {thresholdMetric: {metricSource: {spec: {query: x}}}}
---
apiVersion: openslo/v1
kind: SLO
metadata:
  name: web
  displayName: The web
  labels: {team: shop, env: prod}
  annotations: {jira: X-1}
spec:
  description: It answers.
  service: shop
  indicatorRef: errors
  timeWindow: [{duration: 1M, isRolling: false, calendar: {startTime: "2020-01-21 12:30:00", timeZone: UTC}}]
  budgetingMethod: Timeslices
  objectives:
    - {target: 0.999, timeSliceTarget: 0.9, timeSliceWindow: 1m}
    - {targetPercent: 99.5, displayName: soft}
  alertPolicies: [page]
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: saturation}
spec:
  service: shop
  indicator: {metadata: {name: s}, spec: {thresholdMetric: {metricSource: {spec: {query: x}}}}}
  timeWindow: [{duration: 4w, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{op: lte, value: 0.8, target: 0.99}]
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: fast}
spec:
  service: shop
  indicator:
    metadata: {name: fast}
    spec:
      ratioMetric:
        good: {metricSource: {type: Prometheus, spec: {query: 'rate(x_seconds_bucket{le="0.5"}[5m])'}}}
        total: {metricSource: {type: Prometheus, spec: {query: 'rate(x_seconds_count[5m])'}}}
  timeWindow: [{duration: 4w, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.95}]
"#;

#[test]
fn a_file_of_openslo_is_carried_and_every_other_word_is_told() {
    let imported = read(OPENSLO);
    let ids: Vec<(&str, String, Window)> = imported
        .slos()
        .map(|slo| (slo.id.as_str(), slo.objective.to_string(), slo.window))
        .collect();
    assert_eq!(
        ids,
        [
            ("web-1", "99.9%".to_owned(), Window::days(30)),
            ("web-2", "99.5%".to_owned(), Window::days(30)),
            ("fast", "95%".to_owned(), Window::days(28)),
        ]
    );
    let expected = [
        "lost: kind: DataSource objects are not carried",
        "lost: kind: no SLO uses the indicator `alone`",
        "lost: metadata.displayName",
        "lost: metadata.labels.env",
        "lost: metadata.annotations.jira",
        "changed: spec.indicator: the query is not carried",
        "changed: spec.timeWindow[0].duration: `1M` becomes 30d",
        "lost: spec.timeWindow[0].isRolling: a calendar window becomes a rolling one",
        "changed: spec.budgetingMethod: OpenSLO does not say what a slice without a request is",
        "lost: spec.budgetingMethod: time slices become Occurrences",
        "lost: spec.objectives[1].displayName",
        "lost: spec.alertPolicies[0]",
        "lost: spec.indicator: left out: a threshold of a metric is not a share of requests",
        "changed: spec.indicator: the query is not carried: Vestibule counts the requests of route `shop` itself, as a latency under 500ms",
        "changed: spec.objectives[0]: the SLO is called `web-1`",
        "changed: spec.objectives[1]: the SLO is called `web-2`",
    ];
    let notes = notes(&imported);
    for words in expected {
        assert!(
            notes.iter().any(|note| note.contains(words)),
            "{words}: {notes:#?}"
        );
    }
    assert_eq!(notes.len(), expected.len(), "{notes:#?}");
    let slices = imported
        .slos()
        .map(|slo| slo.slices.map(|it| it.to_string()));
    let slices: Vec<_> = slices.collect();
    let carried = Some("slices of 1m, good from 90%, empty ones skip".to_owned());
    assert_eq!(slices, [carried, None, None]);
}

#[test]
fn slos_of_one_name_get_that_of_their_service() {
    let document = |service: &str| {
        format!(
            "version: prometheus/v1\nservice: {service}\nslos:\n- name: up\n  objective: 99\n  sli: {{raw: {{error_ratio_query: 'x{{code=\"5\"}}'}}}}\n"
        )
    };
    let imported = read(&format!("{}---\n{}", document("a"), document("b")));
    let ids: Vec<&str> = imported.slos().map(|slo| slo.id.as_str()).collect();
    assert_eq!(ids, ["a-up", "b-up"]);
    let notes = notes(&imported);
    assert!(
        notes
            .iter()
            .any(|note| note.contains("several SLOs are called `up`: this one is `b-up`")),
        "{notes:#?}"
    );
}

#[test]
fn a_document_that_is_wrong_is_refused_at_its_place() {
    for (text, words) in [
        ("", "there is no document"),
        ("a: [1\n", "this is not YAML"),
        ("- 1\n", "a document is a mapping"),
        (
            "apiVersion: openslo/v1alpha\nkind: SLO\n",
            "only openslo/v1 is read",
        ),
        (
            "apiVersion: sloth.slok.dev/v1\nkind: PrometheusServiceLevel\n",
            "Kubernetes resource",
        ),
        ("hello: you\n", "neither OpenSLO v1 nor Sloth's"),
        ("version: prometheus/v1\nslos: []\n", "`service` is missing"),
        ("version: prometheus/v1\nservice: a\n", "`slos` is missing"),
        (
            "version: prometheus/v1\nservice: a\nslos: 5\n",
            "`slos` should be a list, and is a text",
        ),
        (
            "version: prometheus/v1\nservice: a\nslos: [{objective: 9, sli: {}}]\n",
            "`slos[0].name` is missing",
        ),
        (
            "version: prometheus/v1\nservice: a\nslos: [{name: a, objective: 9}]\n",
            "`slos[0].sli` is missing",
        ),
        (
            "version: prometheus/v1\nservice: a\nslos: [{name: a, objective: [9], sli: {raw: {error_ratio_query: 'x{code=\"5\"}'}}}]\n",
            "`slos[0].objective` should be a percentage",
        ),
        (
            "version: prometheus/v1\nservice: a\nslos: [{name: a, objective: 9, sli: {}}]\n",
            "neither events nor raw nor plugin",
        ),
        (
            "version: prometheus/v1\nservice: a\nslos: [{name: a, objective: 9, sli: {plugin: {id: a}}, alerting: {annotations: {vestibule_sli: x}}}]\n",
            "annotation `sli` does not say",
        ),
        ("apiVersion: openslo/v1\nkind: Cat\n", "no kind `Cat`"),
        (
            "apiVersion: openslo/v1\nkind: SLO\nmetadata: {name: a}\n",
            "`spec` is missing",
        ),
        (
            "apiVersion: openslo/v1\nkind: SLO\nmetadata: {name: a}\nspec: {service: a, indicatorRef: b, timeWindow: [{duration: 1d, isRolling: true}], objectives: [{op: lt}]}\n",
            "there is no indicator",
        ),
    ] {
        let outcome = import(&sources(text), None);
        let said = match outcome {
            Err(reports) => reports.iter().map(|report| report.render(false)).collect(),
            Ok(imported) => notes(&imported).join("\n"),
        };
        assert!(said.contains(words), "{text}: {said}");
    }
    // Told at its place, with the line.
    let said = refused("version: prometheus/v1\nservice: a\nslos: 5\n");
    assert!(said.contains("specs.yaml:3:7"), "{said}");
}

#[test]
fn a_format_that_was_not_asked_for_is_refused() {
    let reports = import(&sources(SLOTH), Some(Spec::OpenSlo)).unwrap_err();
    assert!(
        reports[0]
            .render(false)
            .contains("this document is Sloth's")
    );
}

#[test]
fn an_indicator_in_another_file_is_found() {
    let (first, rest) = OPENSLO.split_at(
        OPENSLO
            .find("---\napiVersion: openslo/v1\nkind: SLO")
            .unwrap(),
    );
    let sources = [(rest, "slos.yaml"), (first, "slis.yaml")].map(|(text, name)| Source {
        name: name.to_owned(),
        text: text.to_owned(),
    });
    let imported = import(&sources, None).unwrap_or_else(|reports| panic!("{reports:?}"));
    assert_eq!(imported.slos().count(), 3);
    assert_eq!(imported.notes[0].file, "slos.yaml");
}

#[test]
fn windows_beyond_what_is_kept_keep_history_longer() {
    let imported = read(&OPENSLO.replace("4w", "1Y"));
    let draft = imported.draft();
    assert!(draft.contains("[history]\nhours = \"365d\""), "{draft}");
    assert!(parse("draft", &draft, Path::new(""), &|_| None).is_ok());
}

#[test]
fn only_policies_that_a_configuration_lacks_are_written() {
    let slo = Slo {
        id: "a".into(),
        about: About::Route("r".into()),
        owner: None,
        sli: Sli::AVAILABILITY,
        slices: None,
        parts: Vec::new(),
        probe: None,
        objective: "99%".parse().unwrap(),
        window: Window::days(7),
        calendar: None,
        policy: "own".into(),
        runbook: None,
    };
    let mut own = Policy::workbook();
    own.name = "own".to_owned();
    let plan = plan(vec![slo], vec![own.clone()]);
    let imported = read(&specify(&plan, Spec::Sloth));
    assert!(imported.tables(&[]).contains("[[policy]]"));
    assert!(!imported.tables(&[own]).contains("[[policy]]"));
}
