//! What went wrong in a time, with the facts that a postmortem asks for.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::app;
use crate::cli::Exit;
use crate::config::Resolved;
use crate::model::{About, Event, EventKind, Fault, Side, Sli, Slo, Tally, Timestamp};
use crate::proxy::config::Route;
use crate::slo::attribution::Piece;
use crate::slo::incident::{Counted, Incident, NOTICEABLE, incidents};
use crate::store::{History, QueryError, Reader};
use crate::triage::{Locus, Verdict, answers, side_of_faults};

/// All incidents of a time.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Report {
    /// The time's beginning.
    pub(in crate::cli) from: Timestamp,
    /// Its end.
    pub(in crate::cli) to: Timestamp,
    /// How far the history reaches back.
    pub(in crate::cli) counting_since: Timestamp,
    /// The oldest first.
    pub(in crate::cli) incidents: Vec<Told>,
}

/// One incident.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Told {
    /// Its name: when it began.
    pub(in crate::cli) id: String,
    pub(in crate::cli) began: Timestamp,
    /// To the end of its last minute; the newest may go on.
    pub(in crate::cli) ended: Timestamp,
    pub(in crate::cli) lasted_s: u64,
    /// When an alert about it first fired; `null`: none did.
    pub(in crate::cli) detected: Option<Timestamp>,
    /// From its beginning to then, in seconds.
    pub(in crate::cli) detected_after_s: Option<u64>,
    /// What that alert said.
    pub(in crate::cli) alert: Option<String>,
    /// Whom it hurt, the most first.
    pub(in crate::cli) damages: Vec<Damage>,
    /// What was said at its worst minute, or when it was told; `null` in a list, and when it cannot be read.
    pub(in crate::cli) verdict: Option<Verdict>,
    /// Changes of the hour before, the newest first.
    pub(in crate::cli) changed_before: Vec<Event>,
    /// What people and their tools did from its beginning on.
    pub(in crate::cli) done: Vec<Event>,
    /// Everything that happened from an hour before to a quarter of an hour after, the oldest first.
    pub(in crate::cli) timeline: Vec<Event>,
    /// What the bad requests were, by whole hours; see `vestibule slo show`.
    pub(in crate::cli) parts: Vec<Part>,
    /// Minutes with bad events.
    pub(in crate::cli) minutes: Vec<Minute>,
}

/// What it did to one SLO.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Damage {
    pub(in crate::cli) slo: String,
    /// Empty when it is about several routes together.
    pub(in crate::cli) route: String,
    /// What it is about: `route:checkout`, `upstream:web`, `owner:payments` or `ingress`.
    pub(in crate::cli) scope: String,
    pub(in crate::cli) owner: Option<String>,
    pub(in crate::cli) good: u64,
    pub(in crate::cli) bad: u64,
    /// Of a composite what each part counted meanwhile, in its order; empty otherwise.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(in crate::cli) parts: Vec<DamagedPart>,
    /// The share of the window's budget that this is; `null` without a budget.
    pub(in crate::cli) budget_ratio: Option<f64>,
    /// The minute with the highest share of bad events.
    pub(in crate::cli) worst_at: Timestamp,
    pub(in crate::cli) worst_ratio: f64,
}

/// What a part of a composite counted meanwhile.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct DamagedPart {
    pub(in crate::cli) slo: String,
    /// What it is about, as of [`Damage::scope`].
    pub(in crate::cli) scope: String,
    pub(in crate::cli) weight: u32,
    pub(in crate::cli) good: u64,
    pub(in crate::cli) bad: u64,
}

impl Damage {
    /// What the SLO is about, in a word.
    pub(in crate::cli) fn about(&self) -> &str {
        if self.route.is_empty() {
            &self.scope
        } else {
            &self.route
        }
    }
}

/// Some of a route's bad requests.
#[derive(Debug, PartialEq, Serialize)]
pub(in crate::cli) struct Part {
    pub(in crate::cli) route: String,
    pub(in crate::cli) dimension: String,
    #[serde(rename = "part")]
    pub(in crate::cli) name: String,
    pub(in crate::cli) bad: u64,
    /// Their share of the route's bad requests of these hours, 0 to 1.
    pub(in crate::cli) share: f64,
}

/// A minute of one SLO.
#[derive(Debug, Serialize)]
pub(in crate::cli) struct Minute {
    pub(in crate::cli) at: Timestamp,
    pub(in crate::cli) slo: String,
    pub(in crate::cli) good: u64,
    pub(in crate::cli) bad: u64,
}

/// Events that are read at most.
const EVENTS: u32 = 20_000;
const HOUR: Duration = Duration::from_secs(3_600);
const AFTER: Duration = Duration::from_secs(900);

/// The name of what began at `at`.
pub(in crate::cli) fn name(at: Timestamp) -> String {
    // 2026-11-23T14:02:00.000Z, to the minute.
    let whole: String = at.to_string().chars().take(16).collect();
    format!("{whole}Z")
}

/// What went wrong between two moments.
pub(in crate::cli) struct Found {
    resolved: Arc<Resolved>,
    /// Newest first.
    events: Vec<Event>,
    report: Report,
}

impl Found {
    pub(in crate::cli) fn read(
        resolved: &Arc<Resolved>,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Self, QueryError> {
        let dir = &resolved.store.dir;
        let reader = Reader::open(dir)?;
        let history = History::read(dir, to)?;
        let events = reader.events_until(to.plus(AFTER), EVENTS)?;
        let mut pieces: Vec<(&Slo, Vec<Piece>)> = Vec::new();
        for slo in &resolved.slos {
            let mut of_slo = Vec::new();
            let each = |start_secs, width_s, tally| {
                of_slo.push(Piece {
                    start_secs,
                    width_s,
                    tally,
                });
            };
            reader.slo_history(
                (&slo.id, &slo.counted()),
                from.as_secs(),
                to.as_secs(),
                each,
            )?;
            pieces.push((slo, of_slo));
        }
        let counted: Vec<Counted<'_>> = pieces
            .iter()
            .map(|(slo, pieces)| Counted { slo, pieces })
            .collect();
        let allowed = |slo: &Slo, at: Timestamp| allowed(&reader, &history, slo, at, to);
        let found = incidents(&counted, &events, NOTICEABLE, allowed)?;
        let told = found.iter();
        let told = told.map(|it| told_of(it, &counted, &events, resolved));
        let report = Report {
            from,
            to,
            counting_since: history.counting_since,
            incidents: told.collect(),
        };
        Ok(Self {
            resolved: Arc::clone(resolved),
            events,
            report,
        })
    }

    /// Keeps the incident of this name, or the newest.
    ///
    /// # Errors
    /// When there is none.
    pub(in crate::cli) fn only(&mut self, id: Option<&str>) -> Result<(), String> {
        let incidents = &mut self.report.incidents;
        let place = match id {
            Some(id) => incidents.iter().position(|it| it.id == id),
            None => incidents.len().checked_sub(1),
        };
        let place = place.ok_or_else(|| match id {
            Some(id) => {
                format!("there is no incident {id}; see `vestibule incident list --days 92`")
            }
            None => "there is no incident in the history".to_owned(),
        })?;
        let chosen = incidents.swap_remove(place);
        *incidents = vec![chosen];
        Ok(())
    }

    /// As it is listed.
    pub(in crate::cli) fn report(self) -> Report {
        self.report
    }

    /// With what is worked out for each incident: what was said, and what its bad requests were.
    pub(in crate::cli) fn full(mut self) -> Result<Report, (String, Exit)> {
        let failed = |error: QueryError| (error.to_string(), Exit::Io);
        let dir = &self.resolved.store.dir;
        for told in &mut self.report.incidents {
            let worst = told.damages.first().map(|it| it.worst_at);
            // The minute must be over; and what was told later than the worst minute was told knowing more.
            let last = told.ended;
            let at = told
                .detected
                .max(worst)
                .map(|at| at.plus(Duration::from_secs(60)));
            let at = at.map_or(last, |at| at.min(last));
            let said = app::told_at(&self.resolved, at);
            let history = History::read(dir, told.ended.plus(HOUR)).map_err(failed)?;
            told.parts = parts(&history, told, &self.resolved).map_err(failed)?;
            let verdict = said.ok().and_then(|verdicts| {
                let hurt = |slo: &String| told.damages.iter().any(|it| it.slo == *slo);
                let about = |it: &Verdict| it.slo.as_ref().is_some_and(hurt);
                verdicts.into_iter().find(about)
            });
            told.verdict = verdict.map(|verdict| completed(verdict, told));
            let (earliest, latest) = (told.began.minus(HOUR), told.ended.plus(AFTER));
            let near = self.events.iter().rev();
            let near = near.filter(|event| event.at >= earliest && event.at <= latest);
            told.timeline = near.cloned().collect();
        }
        Ok(self.report)
    }
}

/// Bad events that the budget of an SLO allows: of the window that ends with `at`, or of the calendar's period that the second
/// before it lies in, as far as it is known by `now`. What is missing of either is taken to be as busy as what was measured.
fn allowed(
    reader: &Reader,
    history: &History,
    slo: &Slo,
    at: Timestamp,
    now: Timestamp,
) -> Result<f64, QueryError> {
    let (begin, end, length) = if let Some(calendar) = &slo.calendar {
        let period = calendar.period(at.minus(Duration::from_secs(1)));
        let end = period.end_secs.min(now.as_secs());
        (period.start_secs, end, period.length().as_secs())
    } else {
        let (end, length) = (at.as_secs(), slo.window.as_secs());
        (end.saturating_sub(length), end, length)
    };
    let whole = reader.slo_over(&slo.id, begin, end)?;
    // An SLO that came later was not measured before.
    let mut stored = history.slos.iter().zip(&history.origins);
    let own = stored.find(|((id, _), _)| *id == slo.id);
    let first = own.map_or(0, |(_, origin)| origin.since_secs);
    let since = history.counting_since.as_secs().max(first).max(begin);
    let covered = end.saturating_sub(since).clamp(1, length.max(1));
    let ppm = f64::from(slo.objective.budget_ppm());
    Ok(whole.valid() as f64 * ppm / 1e6 * length as f64 / covered as f64)
}

/// A verdict on the past knows neither the second nor the faults: the history's incident and its parts do.
fn completed(verdict: Verdict, told: &Told) -> Verdict {
    let of_kind = told.parts.iter().filter(|it| it.dimension == "kind");
    let faults = of_kind.filter_map(|it| {
        let mut known = Fault::ALL.iter();
        let fault = known.find(|fault| fault.as_str() == it.name)?;
        Some((*fault, it.bad))
    });
    let faults: Vec<(Fault, u64)> = faults
        .filter(|it| it.0.side() != Side::Downstream)
        .collect();
    let most = faults.iter().max_by_key(|(_, bad)| *bad);
    let side = match verdict.side {
        Locus::Unknown => side_of_faults(&faults),
        known => known,
    };
    let fault = most.map(|(fault, _)| fault.as_str().to_owned());
    let mut verdict = Verdict {
        side,
        fault: verdict.fault.or(fault),
        onset: Some(told.began),
        ..verdict
    };
    let level = verdict.severity.as_str().to_uppercase();
    let said = answers::of(&verdict, told.ended).join("; ");
    verdict.text = format!("{level}: {said}");
    verdict
}

fn told_of(
    incident: &Incident<'_>,
    counted: &[Counted<'_>],
    events: &[Event],
    resolved: &Resolved,
) -> Told {
    let Incident {
        from,
        to,
        damages,
        detected,
    } = incident;
    let concerns = |event: &Event| {
        let scope = &event.scope;
        let is_free = scope.route.is_none() && scope.upstream.is_none();
        is_free
            || damages.iter().any(|it| {
                let mut routes = resolved.proxy.routes.iter();
                routes.any(|route| {
                    is_of(route, it.slo, &resolved.slos)
                        && (scope.route.as_ref() == Some(&route.id)
                            || scope.upstream.as_ref() == Some(&route.upstream))
                })
            })
    };
    let earliest = from.minus(HOUR);
    // Slots are a minute wide: a change within the first of them may be the reason.
    let begun = from.plus(Duration::from_secs(60));
    let before = events.iter().filter(|event| {
        event.kind.is_change() && event.at >= earliest && event.at <= begun && concerns(event)
    });
    let acts = |kind: EventKind| {
        matches!(
            kind,
            EventKind::Deploy | EventKind::Config | EventKind::Operator | EventKind::Process
        )
    };
    let done = events.iter().rev().filter(|event| {
        acts(event.kind) && event.at > begun && event.at <= to.plus(AFTER) && concerns(event)
    });
    let mut minutes = Vec::new();
    for one in counted {
        let inside = one.pieces.iter().filter(|piece| {
            let at = Timestamp::from_secs(piece.start_secs);
            at >= *from && at < *to && piece.tally.bad > 0
        });
        let hurt = damages.iter().any(|it| it.slo.id == one.slo.id);
        minutes.extend(inside.filter(|_| hurt).map(|piece| Minute {
            at: Timestamp::from_secs(piece.start_secs),
            slo: one.slo.id.clone(),
            good: piece.tally.good,
            bad: piece.tally.bad,
        }));
    }
    minutes.sort_by(|a, b| a.at.cmp(&b.at).then_with(|| a.slo.cmp(&b.slo)));
    let ratio = |tally: Tally| tally.bad as f64 / tally.valid().max(1) as f64;
    Told {
        id: name(*from),
        began: *from,
        ended: *to,
        lasted_s: to.since(*from).as_secs(),
        detected: detected.map(|event| event.at),
        detected_after_s: detected.map(|event| event.at.since(*from).as_secs()),
        alert: detected.map(|event| event.text.clone()),
        damages: damages
            .iter()
            .map(|it| Damage {
                slo: it.slo.id.clone(),
                route: it.slo.about.route().unwrap_or_default().to_owned(),
                scope: it.slo.about.scope(),
                owner: it.slo.owner.clone(),
                good: it.tally.good,
                bad: it.tally.bad,
                parts: parts_of(it.slo, counted, *from, *to),
                budget_ratio: it.budget_ratio,
                worst_at: Timestamp::from_secs(it.worst.start_secs),
                worst_ratio: ratio(it.worst.tally),
            })
            .collect(),
        verdict: None,
        changed_before: before.cloned().collect(),
        done: done.cloned().collect(),
        timeline: Vec::new(),
        parts: Vec::new(),
        minutes,
    }
}

/// What a composite's parts counted from one moment to another.
fn parts_of(
    slo: &Slo,
    counted: &[Counted<'_>],
    from: Timestamp,
    to: Timestamp,
) -> Vec<DamagedPart> {
    let inside = from.as_secs()..to.as_secs();
    let parts = slo.parts.iter().map(|part| {
        let of_it = counted.iter().filter(|one| one.slo.id == part.slo);
        let scope = of_it.clone().next().map(|one| one.slo.about.scope());
        let pieces = of_it.flat_map(|one| one.pieces);
        let pieces = pieces.filter(|piece| inside.contains(&piece.start_secs));
        let Tally { good, bad } = pieces.fold(Tally::default(), |sum, it| sum + it.tally);
        DamagedPart {
            slo: part.slo.clone(),
            scope: scope.unwrap_or_default(),
            weight: part.weight,
            good,
            bad,
        }
    });
    parts.collect()
}

/// The SLO itself, or of a composite its parts.
fn counting<'a>(slo: &'a Slo, slos: &'a [Slo]) -> impl Iterator<Item = &'a Slo> {
    let part = |it: &&Slo| slo.parts.iter().any(|part| part.slo == it.id);
    let own = slo.parts.is_empty().then_some(slo);
    own.into_iter().chain(slos.iter().filter(part))
}

/// Whether an SLO, or a part of it, is about a route.
fn is_of(route: &Route, slo: &Slo, slos: &[Slo]) -> bool {
    counting(slo, slos).any(|it| route.is_in(&it.about))
}

/// What the bad requests of the hours that the incident lies in were, of routes whose availability it hurt.
fn parts(history: &History, told: &Told, resolved: &Resolved) -> Result<Vec<Part>, QueryError> {
    let slos = &resolved.slos;
    let hurt = slos
        .iter()
        .filter(|slo| told.damages.iter().any(|damage| damage.slo == slo.id));
    let hurt = hurt.flat_map(|slo| counting(slo, slos));
    let about: Vec<&About> = hurt
        .filter(|slo| matches!(slo.sli, Sli::Availability(_)))
        .map(|slo| &slo.about)
        .collect();
    let routes = resolved.proxy.routes.iter();
    let routes: HashSet<&str> = routes
        .filter(|route| about.iter().any(|about| route.is_in(about)))
        .map(|route| route.id.as_str())
        .collect();
    let first = told.began.as_secs() / 3_600 * 3_600;
    let mut sums: BTreeMap<(String, String, String), u64> = BTreeMap::new();
    history.bad_parts(first, |(route, hour, part)| {
        let id = &history.routes[route].0;
        if routes.contains(&id.as_str()) && hour < told.ended.as_secs() {
            let key = (id.clone(), part.dimension, part.part);
            *sums.entry(key).or_default() += part.count;
        }
    })?;
    let mut wholes: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    for ((route, dimension, _), bad) in &sums {
        *wholes.entry((route, dimension)).or_default() += bad;
    }
    let share = |route: &str, dimension: &str, bad: u64| {
        bad as f64 / wholes.get(&(route, dimension)).copied().unwrap_or(1).max(1) as f64
    };
    let mut parts: Vec<Part> = sums
        .iter()
        .map(|((route, dimension, part), bad)| Part {
            route: route.clone(),
            dimension: dimension.clone(),
            name: part.clone(),
            bad: *bad,
            share: share(route, dimension, *bad),
        })
        .collect();
    parts.sort_by(|a, b| {
        let place = |it: &Part| (it.route.clone(), it.dimension.clone());
        place(a).cmp(&place(b)).then(b.bad.cmp(&a.bad))
    });
    Ok(parts)
}
