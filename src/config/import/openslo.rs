//! `OpenSLO` v1: services, indicators and SLOs, each an object of its own.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::{Context, Fields, name, route};
use super::sloth::{left_out, note_query, renamed};
use super::tree::{Node, Place};
use super::{Fate, Imported, Promise, Service, draft, marks, query};
use crate::config::code::Code;
use crate::generate::spec::{OF_OPENSLO, label};
use crate::model::{
    About, Calendar, CalendarUnit, EmptySlice, Objective, Sli, Slices, Slo, Timestamp, Window,
    Worth, Zone,
};
use crate::slo::policy::DEFAULT_POLICY;

/// What an indicator is, or why it is none of ours.
type Found = Result<Sli, String>;

pub(super) fn read(documents: &[&Node], context: &mut Context<'_>, imported: &mut Imported) {
    let mut indicators: BTreeMap<&str, (Found, &Place)> = BTreeMap::new();
    let mut slos = Vec::new();
    for document in documents {
        let Some(mut top) = Fields::of(document, "", context) else {
            continue;
        };
        top.take("apiVersion");
        let at = top.place_of("kind");
        let (Some(kind), Some(at)) = (top.required("kind", context), at) else {
            continue;
        };
        match kind {
            "Service" => service(top, context, imported),
            "SLI" => {
                let Some((called, found)) = object_indicator(top, context) else {
                    continue;
                };
                indicators.insert(called, (found, &document.place));
            }
            "SLO" => slos.push((*document, top)),
            "DataSource" | "AlertPolicy" | "AlertCondition" | "AlertNotificationTarget" => {
                let what = format!("{kind} objects are not carried: {}", instead(kind));
                context.note_at(at, Fate::Lost, "kind", what);
            }
            other => {
                let finding = format!("OpenSLO v1 has no kind `{other}`");
                context.refuse(document, Code::InvalidValue, finding);
            }
        }
    }
    let mut used = BTreeSet::new();
    for (document, top) in slos {
        slo(document, top, &indicators, &mut used, context, imported);
    }
    for (called, (_, place)) in &indicators {
        if !used.contains(called) {
            let what = format!("no SLO uses the indicator `{called}`");
            context.note_at(place, Fate::Lost, "kind", what);
        }
    }
}

fn instead(kind: &str) -> &'static str {
    match kind {
        "DataSource" => "Vestibule counts requests itself",
        "AlertNotificationTarget" => "receivers are `[[notify]]`",
        _ => "when someone is told is a `[[policy]]`, and the default one pages and opens tickets",
    }
}

/// The names that an object has.
struct Metadata<'n> {
    name: &'n str,
    display: Option<&'n str>,
    owner: Option<&'n str>,
    marks: marks::Marks,
}

fn metadata<'n>(
    top: &mut Fields<'n>,
    context: &mut Context<'_>,
    imported: &mut Imported,
) -> Option<Metadata<'n>> {
    if !top.has("metadata") {
        top.missing("metadata", context);
    }
    let mut fields = top.map("metadata", context)?;
    let called = fields.required("name", context);
    let at = fields.place_of("displayName");
    let display = fields.text("displayName", context);
    if let (Some(called), Some(display), Some(at)) = (called, display, at)
        && display != called
        && !is_name_of(display, called)
    {
        let what = format!("a name for people: it is called `{called}` here");
        context.note_at(at, Fate::Lost, fields.path("displayName"), what);
    }
    let mut owner = None;
    if let Some(mut labels) = fields.map("labels", context) {
        for key in ["owner", "team"] {
            if owner.is_none() {
                owner = labels.text(key, context);
            }
        }
        labels.lose(context, |_| "labels are not carried".to_owned());
    }
    let mut found = marks::Marks::default();
    if let Some(mut annotations) = fields.map("annotations", context) {
        let key = format!("{OF_OPENSLO}owner");
        owner = owner.or(annotations.text(&key, context));
        found = marks::read(&mut annotations, OF_OPENSLO, context, imported);
        annotations.lose(context, |_| "annotations are not carried".to_owned());
    }
    fields.lose(context, |key| format!("`{key}` has no counterpart"));
    Some(Metadata {
        name: called?,
        display,
        owner,
        marks: found,
    })
}

impl Metadata<'_> {
    /// The name before it was made one that `OpenSLO` takes, if that is the displayed one.
    fn called(&self) -> &str {
        match self.display {
            Some(display) if is_name_of(display, self.name) => display,
            _ => self.name,
        }
    }
}

/// Whether `display` is a name of ours that was made into `called`.
fn is_name_of(display: &str, called: &str) -> bool {
    label(display) == called && name(display) == display
}

fn service(mut top: Fields<'_>, context: &mut Context<'_>, imported: &mut Imported) {
    let Some(metadata) = metadata(&mut top, context, imported) else {
        return;
    };
    let about = top
        .map("spec", context)
        .and_then(|mut spec| {
            let about = spec.text("description", context);
            spec.lose(context, |key| format!("`{key}` has no counterpart"));
            about
        })
        .map(str::to_owned);
    let service: &mut Service = imported
        .services
        .entry(route(metadata.called()))
        .or_default();
    service.owner = metadata.owner.map(str::to_owned).or(service.owner.take());
    service.about = about.or(service.about.take());
    top.lose(context, |key| format!("`{key}` has no counterpart"));
}

fn object_indicator<'n>(
    mut top: Fields<'n>,
    context: &mut Context<'_>,
) -> Option<(&'n str, Found)> {
    let mut fields = top.map("metadata", context)?;
    let called = fields.required("name", context);
    fields.take("displayName");
    fields.lose(context, |_| {
        "an indicator has no object of its own".to_owned()
    });
    let Some(spec) = top.map("spec", context) else {
        top.missing("spec", context);
        return None;
    };
    let found = indicator_spec(spec, context);
    top.lose(context, |key| format!("`{key}` has no counterpart"));
    Some((called?, found?))
}

fn indicator_spec(mut spec: Fields<'_>, context: &mut Context<'_>) -> Option<Found> {
    spec.take("description");
    let found = if let Some(mut ratio) = spec.map("ratioMetric", context) {
        ratio.take("counter");
        if ratio.take("raw").is_some() {
            ratio.take("rawType");
            Err("a raw ratio is not counted".to_owned())
        } else {
            let mut queries = Vec::new();
            for key in ["good", "bad", "total"] {
                if let Some(source) = ratio.map(key, context) {
                    queries.push(metric_source(source, context));
                }
            }
            if queries.len() < 2 {
                ratio.missing("total", context);
                return None;
            }
            let queries: Result<Vec<&str>, String> = queries.into_iter().collect();
            ratio.lose(context, |key| format!("`{key}` has no counterpart"));
            queries.and_then(|queries| query::recognise(&queries))
        }
    } else if spec.take("thresholdMetric").is_some() {
        Err("a threshold of a metric is not a share of requests".to_owned())
    } else {
        spec.missing("ratioMetric", context);
        return None;
    };
    spec.lose(context, |key| format!("`{key}` has no counterpart"));
    Some(found)
}

/// The query of a metric source, or why it is not one.
fn metric_source<'n>(mut fields: Fields<'n>, context: &mut Context<'_>) -> Result<&'n str, String> {
    let Some(mut source) = fields.map("metricSource", context) else {
        fields.missing("metricSource", context);
        return Err("it has no metric source".to_owned());
    };
    source.take("metricSourceRef");
    source.take("type");
    let mut spec = source
        .map("spec", context)
        .ok_or_else(|| "its metric source has no query".to_owned())?;
    let query = ["query", "promql"]
        .into_iter()
        .find_map(|key| spec.text(key, context));
    // What else a source needs to be asked is part of the query, which is not carried.
    query.ok_or_else(|| "its metric source has no query of PromQL".to_owned())
}

fn slo<'n>(
    document: &'n Node,
    mut top: Fields<'n>,
    indicators: &BTreeMap<&'n str, (Found, &Place)>,
    used: &mut BTreeSet<&'n str>,
    context: &mut Context<'_>,
    imported: &mut Imported,
) -> Option<()> {
    let metadata = metadata(&mut top, context, imported);
    if !top.has("spec") {
        top.missing("spec", context);
    }
    let mut spec = top.map("spec", context)?;
    top.lose(context, |key| format!("`{key}` has no counterpart"));
    let service = spec.required("service", context);
    let about = spec.text("description", context);
    let window = window(&mut spec, context);
    let method = budgeting(&mut spec, context);
    for (place, policy) in spec.list("alertPolicies", context).iter().enumerate() {
        let what = format!("alert policies are not carried: {}", instead("AlertPolicy"));
        let path = format!("spec.alertPolicies[{place}]");
        context.note_at(&policy.place, Fate::Lost, path, what);
    }
    let indicator = indicator(&mut spec, indicators, used, context);
    let objectives = spec.list("objectives", context);
    if objectives.is_empty() {
        spec.missing("objectives", context);
    }
    spec.lose(context, |key| format!("`{key}` has no counterpart"));

    let (metadata, service) = (metadata?, service?);
    let route = route_of(service, imported);
    let id = renamed(metadata.called(), document, "metadata", context);
    let (found, place) = indicator?;
    let (window, calendar) = match (window?, metadata.marks.window) {
        (_, Some(window)) => (window, metadata.marks.calendar.clone()),
        (Ok(found), None) => found,
        (Err(why), None) => return left_out(&document.place, "spec.timeWindow", &why, context),
    };
    let ours = metadata.marks.sli;
    let sli = match ours.map_or(found, Ok) {
        Ok(sli) => sli,
        Err(why) => return left_out(place, "spec.indicator", &why, context),
    };
    if ours.is_none() {
        note_query(place, "spec.indicator", sli, &route, context);
    }
    imported.services.entry(route.clone()).or_default();
    let runbook = metadata.marks.runbook.filter(|url| draft::is_web_page(url));
    for (number, node) in objectives.iter().enumerate() {
        let path = format!("spec.objectives[{number}]");
        let Some(objective) = objective(node, &path, ours.is_some(), method, context) else {
            continue;
        };
        let (objective, slices) = match objective {
            (Ok(objective), slices) => (objective, slices),
            (Err(why), _) => {
                left_out(&node.place, &path, &why, context);
                continue;
            }
        };
        let id = if objectives.len() == 1 {
            id.clone()
        } else {
            let short: String = id.chars().take(60).collect();
            let id = format!("{short}-{}", number + 1);
            let what = format!("the SLO is called `{id}`");
            context.note_at(&node.place, Fate::Changed, path, what);
            id
        };
        imported.promises.push(Promise {
            slo: Slo {
                id,
                about: metadata
                    .marks
                    .about
                    .clone()
                    .unwrap_or_else(|| About::Route(route.clone())),
                owner: None,
                sli,
                slices: metadata.marks.slices.or(slices),
                parts: metadata.marks.parts.clone(),
                probe: metadata.marks.probe.clone(),
                objective,
                window,
                calendar: calendar.clone(),
                policy: metadata
                    .marks
                    .policy
                    .clone()
                    .unwrap_or_else(|| DEFAULT_POLICY.to_owned()),
                runbook: runbook.clone(),
            },
            about: about.map(str::to_owned),
            service: route.clone(),
            place: context.named(&node.place),
        });
    }
    Some(())
}

/// The route of a service: the one whose name became this one, or one of this name.
fn route_of(service: &str, imported: &Imported) -> String {
    let known = imported.services.keys();
    let mut known = known.filter(|known| label(known) == service);
    match (known.next(), known.next()) {
        (Some(one), None) => one.clone(),
        _ => route(service),
    }
}

/// The window, and the calendar it follows.
type Budgeted = (Window, Option<Calendar>);

/// The window. `None` when it is refused, and why not when it cannot be had.
fn window(spec: &mut Fields<'_>, context: &mut Context<'_>) -> Option<Result<Budgeted, String>> {
    let windows = spec.list("timeWindow", context);
    let [one] = windows else {
        if windows.is_empty() {
            return Some(Err("it has no time window".to_owned()));
        }
        context.refuse(&windows[1], Code::TooMany, "an SLO has one time window");
        return None;
    };
    let mut fields = Fields::of(one, "spec.timeWindow[0]", context)?;
    let duration = fields.required("duration", context);
    let at = fields.place_of("isRolling");
    let rolling = fields.text("isRolling", context);
    if fields.has("calendar") || rolling != Some("true") {
        let unit = duration.and_then(unit);
        let calendar = fields.map("calendar", context);
        let calendar = calendar.map(|calendar| aligned(calendar, unit, context));
        if let Some(calendar) = calendar.flatten() {
            fields.lose(context, |key| format!("`{key}` has no counterpart"));
            return Some(Ok((calendar.unit.nominal(), Some(calendar))));
        }
        let what = "a calendar window becomes a rolling one of the same length, since it is no week, month or \
                    quarter that begins at its zone's midnight";
        let at = at.unwrap_or(fields.place);
        context.note_at(at, Fate::Lost, fields.path("isRolling"), what);
    }
    let place = fields.place;
    fields.lose(context, |key| format!("`{key}` has no counterpart"));
    let duration = duration?;
    let length = |unit: char, days: u32| {
        let count: u32 = duration.strip_suffix(unit)?.parse().ok()?;
        count.checked_mul(days)?.checked_mul(86_400)
    };
    let about = [('M', 30), ('Q', 90), ('Y', 365)]
        .into_iter()
        .find_map(|(unit, days)| length(unit, days));
    if let Some(seconds) = about {
        let what = format!("`{duration}` becomes {}", Window::from_secs(seconds));
        context.note_at(place, Fate::Changed, "spec.timeWindow[0].duration", what);
    }
    let exact = duration.parse::<Window>().ok();
    let found = about
        .or(length('w', 7))
        .map(Window::from_secs)
        .or(exact)
        .filter(|window| (Window::hours(1)..=Window::days(366)).contains(window));
    let found = found.map(|window| (window, None));
    Some(found.ok_or_else(|| format!("a window of `{duration}` is not one of 1h to 366d")))
}

/// The unit of the calendar that is so long.
fn unit(duration: &str) -> Option<CalendarUnit> {
    match duration {
        "1w" | "7d" => Some(CalendarUnit::Week),
        "1M" => Some(CalendarUnit::Month),
        "1Q" | "3M" => Some(CalendarUnit::Quarter),
        _ => None,
    }
}

/// The calendar, if its periods begin where ours do.
fn aligned(
    mut calendar: Fields<'_>,
    unit: Option<CalendarUnit>,
    context: &mut Context<'_>,
) -> Option<Calendar> {
    let start = calendar.text("startTime", context);
    let zone = calendar.text("timeZone", context);
    calendar.lose(context, |key| format!("`{key}` has no counterpart"));
    let (unit, zone): (_, Zone) = (unit?, zone?.parse().ok()?);
    let start: Timestamp = format!("{}Z", start?.replacen(' ', "T", 1)).parse().ok()?;
    // As if in universal time: whether the date begins a period is the same everywhere.
    let dates = Calendar {
        unit,
        zone: Zone::UTC,
    };
    let begins = dates.period(start).start_secs * 1_000 == start.as_millis();
    begins.then_some(Calendar { unit, zone })
}

/// How a budget is counted, and where that stands.
#[derive(Clone, Copy)]
enum Method<'n> {
    Occurrences,
    Timeslices(&'n Place),
    RatioTimeslices(&'n Place),
}

fn budgeting<'n>(spec: &mut Fields<'n>, context: &mut Context<'_>) -> Method<'n> {
    let at = spec.place_of("budgetingMethod");
    match (spec.text("budgetingMethod", context), at) {
        (Some("Timeslices"), Some(at)) => Method::Timeslices(at),
        (Some("RatioTimeslices"), Some(at)) => Method::RatioTimeslices(at),
        (Some(method), Some(at)) if method != "Occurrences" => {
            let what = format!("`{method}` becomes Occurrences: each request is counted by itself");
            context.note_at(at, Fate::Lost, "spec.budgetingMethod", what);
            Method::Occurrences
        }
        _ => Method::Occurrences,
    }
}

/// The slices that an objective says; `None`, and told, when they cannot be had.
fn slices(
    method: Method<'_>,
    fields: &mut Fields<'_>,
    context: &mut Context<'_>,
) -> Option<Slices> {
    let (at, by_share) = match method {
        Method::Occurrences => return None,
        Method::Timeslices(at) => (at, false),
        Method::RatioTimeslices(at) => (at, true),
    };
    let every = fields.text("timeSliceWindow", context);
    let target = fields.text("timeSliceTarget", context);
    let divides = |every: &Window| {
        every.as_secs().is_multiple_of(60) && 86_400_u64.is_multiple_of(every.as_secs())
    };
    let every = every.and_then(|text| text.parse().ok()).filter(divides);
    let worth = if by_share {
        Some(Worth::Share)
    } else {
        let target = target.and_then(shifted);
        target.and_then(|text| text.parse().ok()).map(Worth::Whole)
    };
    let (Some(every), Some(worth)) = (every, worth) else {
        let what = "time slices become Occurrences: they need a `timeSliceWindow` of whole minutes that divides a \
                    day, and a `timeSliceTarget`";
        context.note_at(at, Fate::Lost, "spec.budgetingMethod", what);
        return None;
    };
    let what = "OpenSLO does not say what a slice without a request is: it is `skip`";
    context.note_at(at, Fate::Changed, "spec.budgetingMethod", what);
    Some(Slices {
        every,
        worth,
        empty: EmptySlice::Skip,
    })
}

fn indicator<'n>(
    spec: &mut Fields<'n>,
    indicators: &BTreeMap<&'n str, (Found, &Place)>,
    used: &mut BTreeSet<&'n str>,
    context: &mut Context<'_>,
) -> Option<(Found, &'n Place)> {
    if let Some(place) = spec.place_of("indicatorRef") {
        let called = spec.text("indicatorRef", context)?;
        used.insert(called);
        let found = indicators.get(called).map_or_else(
            || Err(format!("there is no indicator `{called}` in the files")),
            |(found, _)| found.clone(),
        );
        return Some((found, place));
    }
    let Some(mut indicator) = spec.map("indicator", context) else {
        spec.missing("indicator", context);
        return None;
    };
    let place = indicator.place;
    // Its names are those of an object that there is none of here.
    indicator.take("metadata");
    let Some(inner) = indicator.map("spec", context) else {
        indicator.missing("spec", context);
        return None;
    };
    let found = indicator_spec(inner, context);
    indicator.lose(context, |key| format!("`{key}` has no counterpart"));
    Some((found?, place))
}

fn objective(
    node: &Node,
    path: &str,
    is_ours: bool,
    method: Method<'_>,
    context: &mut Context<'_>,
) -> Option<(Result<Objective, String>, Option<Slices>)> {
    let mut fields = Fields::of(node, path, context)?;
    if is_ours {
        // It says the target again.
        fields.take("displayName");
    }
    let share = fields.text("target", context);
    let percent = fields.text("targetPercent", context);
    let text = match (share, percent) {
        (Some(share), _) => shifted(share),
        (None, Some(percent)) => Some(format!("{percent}%")),
        (None, None) => {
            fields.missing("target", context);
            return None;
        }
    };
    let slices = slices(method, &mut fields, context);
    for key in ["op", "value"] {
        if let Some(node) = fields.take(key) {
            let what = "a threshold of a metric has no counterpart".to_owned();
            context.note_at(&node.place, Fate::Lost, fields.path(key), what);
        }
    }
    fields.lose(context, |key| match key {
        "timeSliceTarget" | "timeSliceWindow" => "requests are counted, not time slices".to_owned(),
        "indicator" | "indicatorRef" | "compositeWeight" => {
            "composite SLOs have no counterpart".to_owned()
        }
        other => format!("`{other}` has no counterpart"),
    });
    let read = text.map(|text| text.parse::<Objective>().map_err(|error| error.to_string()));
    let shown = share.or(percent).unwrap_or_default();
    let read = read.unwrap_or_else(|| Err(format!("a target of `{shown}` is not a share below 1")));
    Some((read, slices))
}

/// A share like `0.9995` as a percentage, digit by digit: `99.95%`.
fn shifted(share: &str) -> Option<String> {
    let (whole, fraction) = share.split_once('.').unwrap_or((share, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let fraction = format!("{fraction:0<2}");
    let (first, rest) = fraction.split_at_checked(2)?;
    let whole = format!("{whole}{first}");
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { "0" } else { whole };
    let rest = rest.trim_end_matches('0');
    let rest = if rest.is_empty() { "0" } else { rest };
    Some(format!("{whole}.{rest}%"))
}

#[cfg(test)]
mod unit {
    use super::*;

    #[test]
    fn a_share_becomes_a_percentage_digit_by_digit() {
        for (share, percent) in [
            ("0.9995", Some("99.95%")),
            ("0.9", Some("90.0%")),
            ("0.999999", Some("99.9999%")),
            ("0.05", Some("5.0%")),
            ("1", Some("100.0%")),
            ("0.990", Some("99.0%")),
            ("1e-1", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(shifted(share).as_deref(), percent, "{share}");
        }
    }
}
