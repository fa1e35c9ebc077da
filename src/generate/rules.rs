//! Recording and alerting rules.
//!
//! Each SLO has a group: what is recorded, and below it the alerts that read it, so that both see the same samples. An
//! alert is one row of the SLO's policy, with the guards of the live engine ([`Guards`]): its long and its short window
//! are over the factor, enough events were bad, also in view of the usual traffic, and there is enough history, or so much
//! trouble that history would not matter. It resolves as the engine's does, when its condition has not held for a minute.
//!
//! What a figure covers: `increase` estimates what happened between a window's edge and its first sample. Ratios
//! divide two such estimates over the same samples, so the error cancels; a number of events is compared half an event
//! below, so that it does not fail by a rounding.

use std::collections::BTreeSet;
use std::time::Duration;

use super::alarm::{self, Alarm};
use super::promql::{Recorded, about, decimal, select, threshold};
use super::yaml::Yaml;
use super::{ALERTS, Artifact, Plan, banner};
use crate::catalog::SLO_EVENTS;
use crate::model::{Reading, Sli, Slices, Slo, Window, Worth};
use crate::slo::alert::HOLD;
use crate::slo::burn::Z_SQUARED_E4;
use crate::slo::guards::Guards;
use crate::slo::policy::{Row, Severity};

const ABOUT: &str = "\
Recording and alerting rules for Prometheus 2.42 and later, and what is compatible with it.

    promtool check rules --lint=all --lint-fatal *.yaml

A budget group looks back over the whole window of its SLO: Prometheus must keep samples as long
(--storage.tsdb.retention.time), or what remains is that of the samples that are there.";

/// Windows that dashboards show for every SLO, whatever its policy.
pub(super) const SHOWN: [Window; 3] = [Window::minutes(5), Window::hours(1), Window::hours(6)];

/// The rules: a file for the ingress, and one for each SLO.
pub(super) fn rules(plan: &Plan) -> Vec<Artifact> {
    let mut files = vec![file(
        "vestibule",
        "",
        vec![group("vestibule", None, fixed(plan))],
    )];
    for slo in &plan.slos {
        let mut rules = recordings(plan, slo);
        rules.extend(plan.rows(slo).iter().map(|row| burn(plan, slo, row)));
        rules.push(absent(plan, slo));
        let name = format!("vestibule-budget-{}", slo.id);
        let groups = vec![
            group(&format!("vestibule-slo-{}", slo.id), None, rules),
            group(&name, Some("5m"), budget(plan, slo)),
        ];
        files.push(file(&format!("slo-{}", slo.id), &unsaid(slo), groups));
    }
    files
}

/// What the rules of an SLO cannot say.
fn unsaid(slo: &Slo) -> String {
    let Some(calendar) = &slo.calendar else {
        return String::new();
    };
    format!(
        "\n\n\
         The budget of {} begins anew with each {calendar}, which PromQL cannot follow. What is recorded here rolls over {},\n\
         and factors are those of a period of that length: Vestibule's own are up to a twelfth lower or higher, by the real one.\n\
         What is left of the period is in vestibule_slo_error_budget_remaining_ratio.",
        slo.id, slo.window
    )
}

fn file(name: &str, unsaid: &str, groups: Vec<Yaml>) -> Artifact {
    let document = Yaml::map([("groups", Yaml::List(groups))]);
    Artifact {
        path: format!("{ALERTS}/rules/{name}.yaml"),
        text: banner(&format!("{ABOUT}{unsaid}")) + &document.document(),
    }
}

fn group(name: &str, interval: Option<&str>, rules: Vec<Yaml>) -> Yaml {
    let mut entries = vec![("name", Yaml::text(name))];
    entries.extend(interval.map(|interval| ("interval", Yaml::Word(interval.to_owned()))));
    entries.push(("rules", Yaml::List(rules)));
    Yaml::map(entries)
}

// === Recording ===

/// Every window that is recorded for an SLO, rising.
pub(super) fn windows(plan: &Plan, slo: &Slo) -> BTreeSet<Window> {
    let rows = plan.rows(slo).into_iter();
    rows.flat_map(|row| [row.long, row.short])
        .chain(SHOWN)
        .collect()
}

/// Every long window of the SLO's policy.
fn long_windows(plan: &Plan, slo: &Slo) -> BTreeSet<Window> {
    plan.rows(slo).iter().map(|row| row.long).collect()
}

/// Windows of which it is recorded beside the alerts how much of them is covered: the long ones, and an hour to begin with.
fn covered(plan: &Plan, slo: &Slo) -> BTreeSet<Window> {
    let mut windows = long_windows(plan, slo);
    windows.insert(Window::hours(1));
    windows
}

fn events(slo: &Slo, result: Option<&str>) -> String {
    let mut labels = vec![("slo", slo.id.as_str())];
    labels.extend(result.map(|result| ("result", result)));
    select(&SLO_EVENTS, &labels)
}

fn record(slo: &Slo, what: Recorded, window: Window, expr: String) -> Yaml {
    Yaml::map([
        ("record", Yaml::text(what.name(window))),
        ("expr", Yaml::Block(expr)),
        (
            "labels",
            Yaml::map([("slo", Yaml::text(&slo.id)), about_label(slo)]),
        ),
    ])
}

fn recordings(plan: &Plan, slo: &Slo) -> Vec<Yaml> {
    let mut rules = Vec::new();
    for window in windows(plan, slo) {
        let (bad, all) = (events(slo, Some("bad")), events(slo, None));
        rules.push(record(
            slo,
            Recorded::Bad,
            window,
            format!("sum(rate({bad}[{window}]))"),
        ));
        rules.push(record(
            slo,
            Recorded::Valid,
            window,
            format!("sum(rate({all}[{window}]))"),
        ));
        rules.push(record(
            slo,
            Recorded::Errors,
            window,
            format!(
                "{} / ({} > 0)",
                Recorded::Bad.of(slo, window),
                Recorded::Valid.of(slo, window)
            ),
        ));
    }
    for window in long_windows(plan, slo) {
        rules.push(increased(slo, Recorded::BadIncrease, window));
        if plan.guards(slo).confidence {
            rules.push(increased(slo, Recorded::ValidIncrease, window));
        }
    }
    let mut shorter = None;
    for window in covered(plan, slo) {
        rules.push(coverage(slo, window, shorter));
        shorter = Some((window, Recorded::Coverage.of(slo, window)));
    }
    rules
}

/// A series of the other group of the same SLO. Groups are evaluated at moments of their own, in any order, and one may be
/// late: what is read of another is its last sample, not that of this moment.
fn of_other_group(series: &str) -> String {
    format!("last_over_time({series}[15m])")
}

/// How many events there were in a window. A rate times the window's length would be the same in Prometheus, but not in
/// VictoriaMetrics, whose rate is one over the samples that are there.
fn increased(slo: &Slo, what: Recorded, window: Window) -> Yaml {
    let result = (what == Recorded::BadIncrease).then_some("bad");
    let events = events(slo, result);
    record(
        slo,
        what,
        window,
        format!("sum(increase({events}[{window}]))"),
    )
}

/// How much of a window there are samples from: the age of the oldest sample in it, looked for in 120 steps of at most
/// three hours.
///
/// A step of three days is 36 minutes, so a young series' age is read in a `shorter` window, whose steps are finer: in
/// what is recorded of that.
fn coverage(slo: &Slo, window: Window, shorter: Option<(Window, String)>) -> Yaml {
    let (seconds, step) = (window.as_secs(), (window.as_secs() / 120).clamp(15, 10_800));
    let oldest = format!(
        "min(min_over_time(timestamp({})[{window}:{step}s]))",
        events(slo, Some("good"))
    );
    let share = format!("(time() - {oldest}) / {seconds}");
    let share = shorter.map_or_else(
        || format!("clamp_max({share}, 1)"),
        |(shorter, recorded)| {
            let known = format!("max({recorded}) * {} / {seconds}", shorter.as_secs());
            format!("clamp_max(\n  {share} > {known}\n  or {known},\n  1\n)")
        },
    );
    record(slo, Recorded::Coverage, window, share)
}

/// What is left over the SLO's window, weighted by requests: from counts, never from averaged ratios.
fn budget(plan: &Plan, slo: &Slo) -> Vec<Yaml> {
    let window = slo.window;
    let share = decimal(u64::from(slo.objective.budget_ppm()), 6);
    let mut rules = Vec::new();
    let (longs, guards) = (long_windows(plan, slo), plan.guards(slo));
    // An alert's window has some already.
    let is_alerts = longs.contains(&window);
    let mut counted = |what: Recorded, is_there: bool| {
        let recorded = what.of(slo, window);
        if is_there {
            return of_other_group(&recorded);
        }
        rules.push(increased(slo, what, window));
        recorded
    };
    let bad = counted(Recorded::BadIncrease, is_alerts);
    let valid = counted(Recorded::ValidIncrease, is_alerts && guards.confidence);
    if guards.volume_weight {
        let known = covered(plan, slo);
        let mut share_of = |window: Window, shorter: Option<(Window, String)>| {
            let recorded = Recorded::Coverage.of(slo, window);
            if known.contains(&window) {
                return of_other_group(&recorded);
            }
            rules.push(coverage(slo, window, shorter));
            recorded
        };
        let steps = [Window::hours(6), Window::days(1), Window::days(3)];
        let steps: BTreeSet<Window> = steps.into_iter().chain(known.iter().copied()).collect();
        let shorter = steps.range(..window).fold(None, |shorter, step| {
            Some((*step, share_of(*step, shorter)))
        });
        let coverage = share_of(window, shorter);
        rules.push(record(
            slo,
            Recorded::Usual,
            window,
            format!("{valid} / ({} * {coverage})", window.as_secs()),
        ));
    }
    rules.push(record(
        slo,
        Recorded::Remaining,
        window,
        format!("1 - {bad} / ({share} * {valid} > 0)"),
    ));
    rules
}

// === Alerting ===

/// The name of the alert that a row of an SLO's policy makes.
pub(super) const fn burn_name(severity: Severity) -> &'static str {
    match severity {
        Severity::Page => alarm::BURNS_FAST,
        Severity::Ticket => alarm::BURNS_SLOWLY,
    }
}

/// The condition of one row.
pub(super) fn condition(slo: &Slo, row: &Row, guards: Guards) -> String {
    let (long, short) = (row.long, row.short);
    let over = threshold(slo, row.factor);
    let errors = |window| Recorded::Errors.of(slo, window);
    let mut lines = vec![
        format!("{} > {over}", errors(long)),
        format!("and {} > {over}", errors(short)),
    ];
    if let Some(fewer) = guards.min_bad(row.severity).checked_sub(1) {
        let bad = Recorded::BadIncrease.of(slo, long);
        lines.push(format!("and {bad} > {fewer}.5"));
    }
    if guards.volume_weight {
        // Until it is known what is usual, everything is.
        lines.push(format!(
            "unless {} <= {over} * {} * {} * {}",
            Recorded::BadIncrease.of(slo, long),
            long.as_secs(),
            Recorded::Coverage.of(slo, long),
            of_other_group(&Recorded::Usual.of(slo, slo.window)),
        ));
    }
    if guards.confidence {
        // Wilson's lower bound is above what must be exceeded.
        lines.push(format!(
            "and ({} - {over}) ^ 2 * {} > {} * {over} * (1 - {over})",
            errors(long),
            Recorded::ValidIncrease.of(slo, long),
            decimal(u64::from(Z_SQUARED_E4), 4),
        ));
    }
    if guards.young_history {
        let coverage = Recorded::Coverage.of(slo, long);
        lines.push("and (".to_owned());
        lines.push(format!("  {coverage} >= 0.5"));
        lines.push(format!("  or {} * {coverage} > {over}", errors(long)));
        lines.push(")".to_owned());
    }
    lines.join("\n")
}

/// The alert of one row.
pub(super) fn burn(plan: &Plan, slo: &Slo, row: &Row) -> Yaml {
    let name = burn_name(row.severity);
    let factor = decimal(u64::from(row.factor.0), 3);
    let summary = match row.severity {
        Severity::Page => "An error budget burns so fast that someone must act now.",
        Severity::Ticket => "An error budget burns faster than it can last.",
    };
    let of = match slo.slices {
        None => "of the requests".to_owned(),
        Some(Slices {
            every,
            worth: Worth::Whole(objective),
            empty: _,
        }) => format!("of the slices of {every} had less than {objective} of good requests: some"),
        Some(Slices {
            every,
            worth: Worth::Share,
            empty: _,
        }) => format!("of the requests, on the mean over slices of {every},"),
    };
    let what = match slo.sli {
        Sli::Availability(reading) => {
            let how = match reading {
                Reading::All => "were answered 4xx or 5xx".to_owned(),
                Reading::Fault { also } if reading.counts_client_errors() => {
                    format!("failed or were answered {also}")
                }
                Reading::Fault { .. } => "failed".to_owned(),
            };
            format!("{of} of {} {how}", slo.about)
        }
        Sli::Latency { under } => format!(
            "{of} of {} took longer than {}",
            slo.about,
            humantime::format_duration(under)
        ),
        Sli::Probe { .. } => format!(
            "of the time probe {} of {} failed",
            slo.probe.as_deref().unwrap_or_default(),
            slo.about
        ),
        Sli::Connection => format!(
            "{} of {} got no connection",
            of.replacen("requests", "attempts", 1),
            slo.about
        ),
        Sli::RateLimit => format!("{of} of {} were over a rate limit", slo.about),
        Sli::Vital(vital) => vital.bad(&slo.about),
        Sli::Composite(_) => format!("of what {} weigh was bad", slo.weights()),
    };
    let description = format!(
        "{{{{ $value | humanizePercentage }}}} {what} over {}, and the last {} say that it goes on. \
         {} promises {}; this is more than {factor} times too many, and spends the budget of {} in {}.",
        row.long,
        row.short,
        slo.id,
        slo.objective,
        slo.window,
        rough(slo.window.as_secs() * 1_000 / u64::from(row.factor.0.max(1))),
    );
    let runbook = slo.runbook.clone().unwrap_or_else(|| plan.runbook(name));
    let mut labels = severity_labels(Some(row.severity));
    labels.push(("burnrate_tier", Yaml::text(row.tier.as_str())));
    labels.extend(slo_labels(slo));
    if plan.sloth {
        labels.extend(super::sloth::alert_labels(slo, row.severity));
    }
    alert(
        name,
        &condition(slo, row, plan.guards(slo)),
        &[("keep_firing_for", rough_unit(HOLD))],
        labels,
        summary,
        &description,
        runbook,
        plan.dashboard("vestibule-slo", &format!("var-slo={}", slo.id)),
    )
}

fn absent(plan: &Plan, slo: &Slo) -> Yaml {
    let mut labels = severity_labels(Some(Severity::Ticket));
    labels.extend(slo_labels(slo));
    alert(
        alarm::SLO_ABSENT,
        &format!("absent({})", events(slo, None)),
        &[("for", "10m".to_owned())],
        labels,
        "An SLO is not measured.",
        &format!(
            "No series of {} arrives: it is neither met nor missed, and its alerts are silent.",
            slo.id
        ),
        plan.runbook(alarm::SLO_ABSENT),
        plan.dashboard("vestibule-slo", &format!("var-slo={}", slo.id)),
    )
}

fn fixed(plan: &Plan) -> Vec<Yaml> {
    alarm::alarms()
        .iter()
        .map(|alarm| {
            let Alarm {
                name,
                severity,
                expr,
                lasts,
                summary,
                description,
                dashboard,
                proof: _,
            } = alarm;
            let lasts: Vec<_> = lasts
                .iter()
                .map(|lasts| ("for", (*lasts).to_owned()))
                .collect();
            alert(
                name,
                expr,
                &lasts,
                severity_labels(*severity),
                summary,
                description,
                plan.runbook(name),
                plan.dashboard(dashboard, ""),
            )
        })
        .collect()
}

/// The words of the mixins' guide and our own.
pub(super) fn severity_labels(severity: Option<Severity>) -> Vec<(&'static str, Yaml)> {
    let word = match severity {
        Some(Severity::Page) => "critical",
        Some(Severity::Ticket) => "warning",
        None => "none",
    };
    let mut labels = vec![("severity", Yaml::text(word))];
    labels.extend(severity.map(|severity| ("slo_severity", Yaml::text(severity.as_str()))));
    labels
}

/// What the SLO is about.
fn about_label(slo: &Slo) -> (&'static str, Yaml) {
    let (label, value) = about(slo);
    (label, Yaml::text(value))
}

fn slo_labels(slo: &Slo) -> Vec<(&'static str, Yaml)> {
    let mut labels = vec![("slo", Yaml::text(&slo.id)), about_label(slo)];
    let owner = slo.owner.as_ref();
    labels.extend(owner.map(|owner| ("owner", Yaml::text(owner))));
    labels
}

#[expect(
    clippy::too_many_arguments,
    reason = "one for each key of an alert, in their order"
)]
fn alert(
    name: &str,
    expr: &str,
    timers: &[(&'static str, String)],
    labels: Vec<(&'static str, Yaml)>,
    summary: &str,
    description: &str,
    runbook: String,
    dashboard: String,
) -> Yaml {
    let mut entries = vec![
        ("alert", Yaml::text(name)),
        ("expr", Yaml::Block(expr.to_owned())),
    ];
    entries.extend(
        timers
            .iter()
            .map(|(key, time)| (*key, Yaml::Word(time.clone()))),
    );
    entries.push(("labels", Yaml::map(labels)));
    entries.push((
        "annotations",
        Yaml::map([
            ("summary", Yaml::text(summary)),
            ("description", Yaml::text(description)),
            ("runbook_url", Yaml::Text(runbook)),
            ("dashboard_url", Yaml::Text(dashboard)),
        ]),
    ));
    Yaml::map(entries)
}

fn rough_unit(time: Duration) -> String {
    Window::from_secs(time.as_secs() as u32).to_string()
}

/// A length in its two largest units: `2d 2h`.
fn rough(seconds: u64) -> String {
    let text = humantime::format_duration(Duration::from_secs(seconds)).to_string();
    let parts: Vec<&str> = text.split(' ').take(2).collect();
    parts.join(" ").replace("days", "d").replace("day", "d")
}
