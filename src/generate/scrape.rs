//! A configuration for Prometheus that scrapes Vestibule, reads the rules, and knows Alertmanager.

use super::yaml::Yaml;
use super::{ALERTS, Artifact, JOB, Plan, banner};

const ABOUT: &str = "\
A configuration for Prometheus 2.42 and later. Take over the job and the rule files into the one that you have.

    promtool check config prometheus.yaml

The page is the same whoever asks, in the text format: nothing here depends on a version of Prometheus. Vestibule
listens for scrapers on loopback only (`admin.listen`): Prometheus, or an agent that forwards by `remote_write`, runs on
the same machine. Labels like `region` belong to the target or to `global.external_labels`.";

/// Where scrapers are sent when the configuration names no address.
const CUSTOMARY: &str = "127.0.0.1:9190";

/// The file.
pub(super) fn scrape(plan: &Plan) -> Artifact {
    let target = plan
        .admin
        .map_or_else(|| CUSTOMARY.to_owned(), |address| address.to_string());
    let targets = |targets: &[&str]| {
        let group = Yaml::map([("targets", Yaml::texts(targets.iter().copied()))]);
        Yaml::List(vec![group])
    };
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
        "# To send samples on to a store that keeps them for longer:\n#remote_write:\n#  - url: https://metrics.example/api/v1/write\n",
    );
    Artifact {
        path: format!("{ALERTS}/prometheus.yaml"),
        text,
    }
}
