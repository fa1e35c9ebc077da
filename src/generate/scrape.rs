//! A configuration for Prometheus that scrapes Vestibule, reads the rules, and knows Alertmanager; and for each range of
//! versions the job with what only these know, and `remote_write`.
//!
//! A key that a Prometheus does not know is an error to it. `scrape_native_histograms` came with 3.8 and is needed from 3.9
//! on, where the flag that did the same no longer does anything; `always_scrape_classic_histograms` is 3.0's name.

use super::yaml::Yaml;
use super::{ALERTS, Artifact, JOB, Plan, banner};

const ABOUT: &str = "\
A configuration for Prometheus 2.42 and later. Take over the job and the rule files into the one that you have.

    promtool check config prometheus.yaml

Nothing here depends on a version of Prometheus; scrape/ has the job with native histograms, which does. Vestibule
listens for scrapers on loopback only (`admin.listen`): Prometheus, or an agent that forwards by `remote_write`, runs on
the same machine. Labels like `region` belong to the target or to `global.external_labels`.";

/// Where scrapers are sent when the configuration names no address.
const CUSTOMARY: &str = "127.0.0.1:9190";

/// A range of versions of Prometheus that know the same keys.
struct Range {
    /// The first of them, which names the file.
    first: &'static str,
    about: &'static str,
    /// What the job has beside the target.
    job: &'static [&'static str],
    /// What `remote_write` has beside the address.
    remote: &'static [(&'static str, &'static str)],
}

const RANGES: [Range; 3] = [
    Range {
        first: "2.42",
        about: "Prometheus 2.42 and later 2.x: classic histograms. `--enable-feature=exemplar-storage` keeps exemplars.",
        job: &[],
        remote: &[("send_exemplars", "true")],
    },
    Range {
        first: "3.0",
        about: "Prometheus 3.0 to 3.7: with `--enable-feature=native-histograms` both kinds of histogram are kept, without it the\nclassic ones.",
        job: &["always_scrape_classic_histograms"],
        remote: &[
            ("send_exemplars", "true"),
            ("send_native_histograms", "true"),
        ],
    },
    Range {
        first: "3.8",
        about: "Prometheus 3.8 and later: both kinds of histogram are kept. Earlier versions refuse `scrape_native_histograms`.",
        job: &[
            "scrape_native_histograms",
            "always_scrape_classic_histograms",
        ],
        remote: &[
            ("send_exemplars", "true"),
            ("send_native_histograms", "true"),
            ("protobuf_message", "io.prometheus.write.v2.Request"),
        ],
    },
];

/// The files.
pub(super) fn scrape(plan: &Plan) -> Vec<Artifact> {
    let ranges = RANGES.iter().map(|range| of_range(plan, range));
    std::iter::once(whole(plan)).chain(ranges).collect()
}

fn target(plan: &Plan) -> String {
    plan.admin
        .map_or_else(|| CUSTOMARY.to_owned(), |address| address.to_string())
}

fn targets(targets: &[&str]) -> Yaml {
    let group = Yaml::map([("targets", Yaml::texts(targets.iter().copied()))]);
    Yaml::List(vec![group])
}

/// The job, and where samples are sent on to, with the keys of a range of versions.
fn of_range(plan: &Plan, range: &Range) -> Artifact {
    let word = |word: &str| Yaml::Word(word.to_owned());
    let mut job = vec![
        ("job_name", Yaml::text(JOB)),
        ("metrics_path", Yaml::text("/metrics")),
    ];
    job.extend(range.job.iter().map(|key| (*key, word("true"))));
    job.push(("static_configs", targets(&[&target(plan)])));
    let mut remote = vec![("url", Yaml::text("https://metrics.example/api/v1/write"))];
    remote.extend(range.remote.iter().map(|(key, value)| (*key, word(value))));
    let document = Yaml::map([
        ("scrape_configs", Yaml::List(vec![Yaml::map(job)])),
        ("remote_write", Yaml::List(vec![Yaml::map(remote)])),
    ]);
    let about = format!(
        "{}\n\nTake over the job, and `remote_write` with an address of yours if samples are kept elsewhere for longer. The\nalerts' `route:*` recordings and `vestibule_*` are what dashboards ask for.",
        range.about
    );
    Artifact {
        path: format!("{ALERTS}/scrape/prometheus-{}.yaml", range.first),
        text: banner(&about) + &document.document(),
    }
}

/// A configuration that works with every version.
fn whole(plan: &Plan) -> Artifact {
    let target = target(plan);
    let document = Yaml::map([
        (
            "global",
            Yaml::map([
                ("scrape_interval", Yaml::Word("15s".into())),
                ("evaluation_interval", Yaml::Word("15s".into())),
            ]),
        ),
        ("rule_files", Yaml::texts(["rules/*.yaml"])),
        (
            "alerting",
            Yaml::map([(
                "alertmanagers",
                Yaml::List(vec![Yaml::map([(
                    "static_configs",
                    targets(&["127.0.0.1:9093"]),
                )])]),
            )]),
        ),
        (
            "scrape_configs",
            Yaml::List(vec![Yaml::map([
                ("job_name", Yaml::text(JOB)),
                ("metrics_path", Yaml::text("/metrics")),
                ("static_configs", targets(&[&target])),
            ])]),
        ),
    ]);
    let mut text = banner(ABOUT);
    if plan.admin.is_none() {
        text.push_str("#\n# The configuration has no `admin.listen`: set it to ");
        text.push_str(CUSTOMARY);
        text.push_str(", or nothing answers.\n");
    }
    text.push_str(&document.document());
    text.push_str(
        "# To send samples on to a store that keeps them for longer; scrape/ has what each version knows beside it:\n#remote_write:\n#  - url: https://metrics.example/api/v1/write\n",
    );
    Artifact {
        path: format!("{ALERTS}/prometheus.yaml"),
        text,
    }
}
