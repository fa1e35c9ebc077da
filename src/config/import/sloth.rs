//! Sloth's `prometheus/v1`: a document for each service.

use super::fields::{Context, Fields, name, route};
use super::tree::{Node, Place, Value};
use super::{Fate, Imported, Promise, Service, draft, marks, query};
use crate::config::code::Code;
use crate::config::finding::Finding;
use crate::generate::spec::{OF_SLOTH, SLOTHS_ALERT};
use crate::model::{About, Objective, Sli, Slo, Window};
use crate::slo::policy::DEFAULT_POLICY;

/// The period that Sloth itself assumes.
const PERIOD: Window = Window::days(30);

pub(super) fn read(document: &Node, context: &mut Context<'_>, imported: &mut Imported) {
    let Some(mut top) = Fields::of(document, "", context) else {
        return;
    };
    top.take("version");
    let at = top.place_of("service");
    let Some(service) = top.required("service", context) else {
        return;
    };
    let route = route(service);
    if let (true, Some(at)) = (route != service, at) {
        let what = format!("the route is called `{route}`");
        context.note_at(at, Fate::Changed, "service", what);
    }
    let mut owner = None;
    if let Some(mut labels) = top.map("labels", context) {
        for key in ["owner", "team"] {
            if owner.is_none() {
                owner = labels.text(key, context).map(str::to_owned);
            }
        }
        labels.lose(context, |_| {
            "labels of the service are not carried".to_owned()
        });
    }
    let known: &mut Service = imported.services.entry(route.clone()).or_default();
    known.owner = known.owner.take().or(owner);
    if !top.has("slos") {
        top.missing("slos", context);
    }
    for (place, slo) in top.list("slos", context).iter().enumerate() {
        one(slo, &format!("slos[{place}]"), &route, context, imported);
    }
    top.lose(context, |key| format!("`{key}` has no counterpart"));
}

fn one(
    node: &Node,
    path: &str,
    route: &str,
    context: &mut Context<'_>,
    imported: &mut Imported,
) -> Option<()> {
    let mut fields = Fields::of(node, path, context)?;
    let called = fields.required("name", context);
    let objective = fields.take("objective");
    let about = fields.text("description", context);
    let indicator = fields.map("sli", context);
    let alerting = fields.map("alerting", context);
    if objective.is_none() {
        fields.missing("objective", context);
    }
    if let Some(labels) = fields.map("labels", context) {
        labels.lose(context, |_| {
            "an SLO has no labels of its own here: `slo` and `route` say which it is".to_owned()
        });
    }
    if indicator.is_none() && !fields.has("sli") {
        fields.missing("sli", context);
    }
    fields.lose(context, |key| format!("`{key}` has no counterpart"));

    let alerting = alerting.map(|alerting| self::alerting(alerting, context, imported));
    let alerting = alerting.unwrap_or_default();
    let (called, objective, indicator) = (called?, objective?, indicator?);
    let id = renamed(called, node, path, context);
    let ours = alerting.marks.sli;
    let place = indicator.place.clone();
    let found = self::indicator(indicator, ours.is_some(), context)?;
    let sli = match ours.map_or(found, Ok) {
        Ok(sli) => sli,
        Err(why) => return left_out(&place, path, &why, context),
    };
    if ours.is_none() {
        note_query(&place, path, sli, route, context);
    }
    let text = match &objective.value {
        Value::Text(text) => text.as_str(),
        other => {
            let message = format!(
                "`{path}.objective` should be a percentage, and is {}",
                other.kind()
            );
            context.refuse(objective, Code::WrongType, message);
            return None;
        }
    };
    let objective = match format!("{text}%").parse::<Objective>() {
        Ok(objective) => objective,
        Err(error) => return left_out(&objective.place, path, &error.to_string(), context),
    };
    let slo = Slo {
        id,
        about: alerting
            .marks
            .about
            .unwrap_or_else(|| About::Route(route.to_owned())),
        owner: None,
        sli,
        slices: alerting.marks.slices,
        parts: alerting.marks.parts,
        probe: alerting.marks.probe,
        objective,
        window: alerting.marks.window.unwrap_or(PERIOD),
        calendar: alerting.marks.calendar.clone(),
        policy: alerting
            .marks
            .policy
            .unwrap_or_else(|| DEFAULT_POLICY.to_owned()),
        runbook: if ours.is_some() {
            alerting.marks.runbook
        } else {
            alerting.runbook
        },
    };
    imported.promises.push(Promise {
        slo,
        about: about.map(str::to_owned),
        service: route.to_owned(),
        place: context.named(&node.place),
    });
    Some(())
}

/// The name of a configuration for one of a document.
pub(super) fn renamed(called: &str, node: &Node, path: &str, context: &mut Context<'_>) -> String {
    let id = name(called);
    if id != called {
        let what = format!("the SLO is called `{id}`");
        context.note_at(&node.place, Fate::Changed, format!("{path}.name"), what);
    }
    id
}

/// An SLO that a configuration cannot have.
pub(super) fn left_out(
    place: &Place,
    path: &str,
    why: &str,
    context: &mut Context<'_>,
) -> Option<()> {
    let what = format!("left out: {why}");
    context.note_at(place, Fate::Lost, path, what);
    None
}

pub(super) fn note_query(
    place: &Place,
    path: &str,
    sli: Sli,
    route: &str,
    context: &mut Context<'_>,
) {
    let counted = match sli {
        Sli::Latency { under } => {
            format!("as a latency under {}", humantime::format_duration(under))
        }
        Sli::Availability(_)
        | Sli::Connection
        | Sli::RateLimit
        | Sli::Probe { .. }
        | Sli::Vital(_)
        | Sli::Composite(_) => "as an availability".to_owned(),
    };
    let what = format!(
        "the query is not carried: Vestibule counts the requests of route `{route}` itself, {counted}"
    );
    context.note_at(place, Fate::Changed, path, what);
}

/// What the indicator is. `None` when it is refused.
fn indicator(
    mut fields: Fields<'_>,
    is_ours: bool,
    context: &mut Context<'_>,
) -> Option<Result<Sli, String>> {
    let found = if let Some(mut events) = fields.map("events", context) {
        let bad = events.required("error_query", context);
        let all = events.required("total_query", context);
        events.lose(context, |key| format!("`{key}` has no counterpart"));
        let (bad, all) = (bad?, all?);
        if is_ours {
            Err(String::new())
        } else {
            query::recognise(&[bad, all])
        }
    } else if let Some(mut raw) = fields.map("raw", context) {
        let ratio = raw.required("error_ratio_query", context)?;
        raw.lose(context, |key| format!("`{key}` has no counterpart"));
        query::recognise(&[ratio])
    } else if fields.take("plugin").is_some() {
        Err("what a plugin asks for is not in the document".to_owned())
    } else {
        let message = format!("`{}` has neither events nor raw nor plugin", fields.path);
        let at = fields.place.span.start;
        let finding = Finding::new(Code::MissingKey, at..at, message);
        context.wrong(fields.place.file, finding);
        return None;
    };
    fields.lose(context, |key| format!("`{key}` has no counterpart"));
    Some(found)
}

#[derive(Default)]
struct Alerting {
    marks: marks::Marks,
    runbook: Option<String>,
}

fn alerting(
    mut fields: Fields<'_>,
    context: &mut Context<'_>,
    imported: &mut Imported,
) -> Alerting {
    let mut found = Alerting::default();
    if let Some(mut annotations) = fields.map("annotations", context) {
        found.marks = marks::read(&mut annotations, OF_SLOTH, context, imported);
        for key in ["runbook_url", "runbook"] {
            if found.runbook.is_none() {
                found.runbook = annotations.text(key, context).map(str::to_owned);
            }
        }
        if found.marks.sli.is_none() {
            found.runbook = web_page(found.runbook, &annotations, context);
        }
        annotations.lose(context, |_| {
            "annotations of alerts are Vestibule's own; only a runbook's URL is carried".to_owned()
        });
    }
    let is_ours = found.marks.sli.is_some();
    let at = fields.place_of("name");
    if let (Some(called), Some(at)) = (fields.text("name", context), at)
        && called != SLOTHS_ALERT
    {
        let what = "alerts have names of Vestibule's, one for pages and one for tickets".to_owned();
        context.note_at(at, Fate::Changed, fields.path("name"), what);
    }
    for key in ["page_alert", "ticket_alert"] {
        let Some(mut alert) = fields.map(key, context) else {
            continue;
        };
        let at = alert.place_of("disable");
        if let (Some("true"), Some(at)) = (alert.text("disable", context), at) {
            let what = "the alert is not switched off: give the SLO a policy without such rows";
            context.note_at(at, Fate::Lost, alert.path("disable"), what);
        }
        if is_ours {
            alert.take("labels");
        }
        alert.lose(context, |_| {
            "labels and annotations of alerts are Vestibule's own".to_owned()
        });
    }
    if let Some(labels) = fields.map("labels", context) {
        labels.lose(context, |_| {
            "labels of alerts are Vestibule's own".to_owned()
        });
    }
    fields.lose(context, |key| format!("`{key}` has no counterpart"));
    found
}

/// A runbook that a configuration takes.
fn web_page(
    runbook: Option<String>,
    fields: &Fields<'_>,
    context: &mut Context<'_>,
) -> Option<String> {
    let url = runbook?;
    if draft::is_web_page(&url) {
        return Some(url);
    }
    let what = format!("the runbook `{url}` is not a URL");
    context.note_at(fields.place, Fate::Lost, fields.path("runbook"), what);
    None
}
