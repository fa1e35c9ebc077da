//! What other tools need to watch Vestibule: rules, their unit tests, dashboards, routing, runbooks, scraping.
//!
//! Everything here is a function of the configuration, the catalog and the policy table. Nothing needs to run, and the
//! same configuration gives the same text, so that the files can be committed and their freshness checked.
//!
//! The oldest Prometheus that is written for is 2.42, the oldest Alertmanager 0.25.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::model::{About, Sli, Slo, Vital, Window};
use crate::slo::alert::AlertKind;
use crate::slo::guards::Guards;
use crate::slo::policy::{Policy, Row, Severity};
use crate::triage::Topic;

mod alarm;
mod alertmanager;
mod grafana;
mod promql;
mod promtool;
mod rules;
mod runbook;
mod scrape;
mod shape;
mod sloth;
pub mod spec;
mod yaml;

pub use alarm::{CERTIFICATE_ENDS, CERTIFICATE_WRONG, OUTAGE, WATCHDOG, alertname};

/// Where links in generated files lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Links {
    /// Grafana's root.
    pub grafana: String,
    /// The directory in which the runbooks are published; `None`: they are named by their path as files.
    pub runbooks: Option<String>,
}

/// What is generated for.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What is promised.
    pub slos: Vec<Slo>,
    /// Every policy that an SLO may name.
    pub policies: Vec<Policy>,
    /// Where every route leads and who answers for it, by its id.
    pub places: BTreeMap<String, Place>,
    /// Where links lead.
    pub links: Links,
    /// Whether SLOs are recorded under Sloth's names as well.
    pub sloth: bool,
    /// Where scrapers reach the admin API; `None`: only over its socket.
    pub admin: Option<SocketAddr>,
}

/// What a route belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Its upstream.
    pub upstream: String,
    /// Who answers for it; `None`: nobody is named.
    pub owner: Option<String>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Its path below the directory that is generated into, with `/` between its parts.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Recording and alerting rules for Prometheus.
    Rules,
    /// Unit tests of the rules for promtool.
    Tests,
    /// Routing, grouping and inhibition for Alertmanager.
    Alertmanager,
    /// Dashboards for Grafana, in its classic model.
    Dashboards,
    /// The same in Grafana's model v2.
    DashboardsV2,
    /// A page for every alert.
    Runbooks,
    /// A configuration for Prometheus that scrapes Vestibule, and the same job for its versions.
    Scrape,
}

impl What {
    /// Every kind; of the two models of dashboards the classic one, which more versions of Grafana read.
    pub const ALL: [Self; 6] = [
        Self::Rules,
        Self::Tests,
        Self::Alertmanager,
        Self::Dashboards,
        Self::Runbooks,
        Self::Scrape,
    ];
}

/// The runbook of an alert, in Markdown, empty when there is none; the page that [`What::Runbooks`] makes also has the
/// rules of a configuration.
pub fn runbook_of(kind: AlertKind, severity: Severity) -> String {
    runbook::of(alertname(kind, severity))
}

/// The runbook for what a verdict is about, in Markdown; of a budget's, the one for its alerts of this severity.
pub fn runbook_about(topic: Topic, severity: Severity) -> String {
    runbook::about(topic, severity)
}

/// The files of one kind.
pub fn generate(plan: &Plan, what: What) -> Vec<Artifact> {
    match what {
        What::Rules if plan.sloth => [rules::rules(plan), sloth::rules(plan)].concat(),
        What::Rules => rules::rules(plan),
        What::Tests => promtool::tests(plan),
        What::Alertmanager => vec![alertmanager::alertmanager(plan)],
        What::Dashboards => grafana::dashboards(plan, grafana::Model::Classic),
        What::DashboardsV2 => grafana::dashboards(plan, grafana::Model::V2),
        What::Runbooks => runbook::runbooks(plan),
        What::Scrape => scrape::scrape(plan),
    }
}

/// The directory that holds everything Prometheus and Alertmanager read.
const ALERTS: &str = "alerts";

/// The shortest window that rules can use: four scrapes of the generated configuration, so that a lost one does no harm.
pub const SHORTEST: Window = Window::minutes(1);

/// The name under which Prometheus scrapes Vestibule.
const JOB: &str = "vestibule";

impl Plan {
    /// The rows of the SLO's policy, loudest first.
    fn rows(&self, slo: &Slo) -> Vec<Row> {
        self.policy(slo)
            .map_or_else(Vec::new, |policy| policy.rows_over(slo.window))
    }

    /// What must be given beside the burn rate of the SLO's rows.
    fn guards(&self, slo: &Slo) -> Guards {
        let guards = self.policy(slo).map(|policy| policy.guards);
        guards.unwrap_or_default().of(slo)
    }

    fn policy(&self, slo: &Slo) -> Option<&Policy> {
        let mut policies = self.policies.iter();
        policies.find(|policy| policy.name == slo.policy)
    }

    /// Rows whose windows are too short for Prometheus, as (policy, window): the rules of these would miss what Vestibule
    /// itself sees.
    pub fn too_short(&self) -> Vec<(&str, Window)> {
        let mut found: Vec<(&str, Window)> = self
            .slos
            .iter()
            .flat_map(|slo| {
                let rows = self.rows(slo).into_iter();
                rows.map(|row| (slo.policy.as_str(), row.short))
            })
            .filter(|(_, window)| *window < SHORTEST)
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    /// Each SLO about several routes, with those that are about a part of the same events: when one of them pages, the wide
    /// one says nothing new to the same owner.
    fn widened(&self) -> Vec<(Vec<&str>, &str)> {
        let wide = self.slos.iter().filter(|slo| slo.about.route().is_none());
        let narrower = wide.map(|wide| {
            let parts = self.slos.iter().filter(|slo| self.is_part(slo, wide));
            (parts.map(|slo| slo.id.as_str()).collect(), &*wide.id)
        });
        narrower
            .filter(|(parts, _): &(Vec<&str>, &str)| !parts.is_empty())
            .collect()
    }

    /// Whether every event of `slo` is one of `wide`, which is about more, or a part of it.
    fn is_part(&self, slo: &Slo, wide: &Slo) -> bool {
        let same_kind = match (slo.sli, wide.sli) {
            (Sli::Availability(_), Sli::Availability(_))
            | (Sli::Latency { .. }, Sli::Latency { .. })
            | (Sli::Connection, Sli::Connection)
            | (Sli::RateLimit, Sli::RateLimit)
            | (Sli::Vital(Vital::Health), Sli::Vital(Vital::Health)) => true,
            (
                Sli::Availability(_)
                | Sli::Latency { .. }
                | Sli::Connection
                | Sli::RateLimit
                | Sli::Probe { .. }
                | Sli::Vital(_)
                | Sli::Composite(_),
                _,
            ) => false,
        };
        let is_inside = match &slo.about {
            About::Route(id) => self.places.get(id).is_some_and(|place| {
                wide.about
                    .holds(id, Some(&place.upstream), place.owner.as_deref())
            }),
            About::Upstream(_) | About::Owner(_) => wide.about == About::Ingress,
            About::Limit(_) | About::Ingress | About::Parts => false,
        };
        let is_weighed = wide.parts.iter().any(|part| part.slo == slo.id);
        is_weighed || (same_kind && is_inside && slo.about != wide.about)
    }

    /// Where the page of the alert `name` is.
    fn runbook(&self, name: &str) -> String {
        let base = self.links.runbooks.as_deref().map_or_else(
            || format!("{ALERTS}/runbooks"),
            |base| base.trim_end_matches('/').to_owned(),
        );
        format!("{base}/{name}.md")
    }

    /// Where the dashboard `uid` is; `query` is what follows the `?`, or nothing.
    fn dashboard(&self, uid: &str, query: &str) -> String {
        let base = self.links.grafana.trim_end_matches('/');
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{base}/d/{uid}{mark}{query}")
    }
}

/// What every generated file that can have a comment says of itself.
const MARK: &str =
    "Written by `vestibule generate` from the configuration: change that, and generate again.";

/// The first lines of a generated file, as comments.
fn banner(about: &str) -> String {
    let mut lines = String::new();
    for line in about.lines().chain([MARK]) {
        lines.push_str(if line.is_empty() { "#" } else { "# " });
        lines.push_str(line);
        lines.push('\n');
    }
    lines
}

/// Whether a text was generated.
pub fn is_ours(text: &str) -> bool {
    text.lines().take(20).any(|line| line.contains(MARK))
}
