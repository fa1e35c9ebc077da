//! Judges every SLO once a second.
//!
//! The engine holds nothing but the alerts' states: the events come from whoever is asked for a window's sum, the time
//! is passed in, and what changed is returned for the caller to act on.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::alert::{Alert, AlertKind, AlertState, AlertStatus, Condition, RowStatus, Transition};
use super::budget::Budget;
use super::guards::Guards;
use super::policy::{LASTING, Policy, PolicyRow, Row, Severity, Tier};
use super::state::SloState;
use super::{burn, forecast};
use crate::model::{Period, Slo, SloKey, Span, Tally, Timestamp, Window};

/// Judges SLOs by their policies.
#[derive(Clone, Debug)]
pub struct Engine {
    watched: Vec<Watched>,
    /// Firing alerts whose SLO or row is no longer configured: they are resolved with the next evaluation.
    orphans: Vec<Orphan>,
}

/// What one evaluation came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Every SLO, in the order they were given.
    pub slos: Vec<SloStatus>,
    /// Every alert that is not inactive.
    pub alerts: Vec<AlertStatus>,
    /// What changed since the last evaluation.
    pub transitions: Vec<Transition>,
}

/// How one SLO stands.
#[derive(Clone, Debug, PartialEq)]
pub struct SloStatus {
    /// Its key.
    pub key: SloKey,
    /// What is promised.
    pub slo: Arc<Slo>,
    /// The period of the calendar that the budget is for; `None`: it rolls.
    pub period: Option<Period>,
    /// Events in the budget's window, or in its period so far.
    pub tally: Tally,
    /// Events of the last five minutes.
    pub recent: Tally,
    /// Good ÷ valid in the budget's window; `None` without a valid event.
    pub sli_ratio: Option<f64>,
    /// Share of the error budget that is left, of the events counted; may be negative; `None` without a valid event.
    pub remaining_ratio: Option<f64>,
    /// The same, if history that is missing from the window had been good (see
    /// [`forecast::expected_remaining_ratio`]). Equal to it once the window is covered.
    pub expected_remaining_ratio: Option<f64>,
    /// Burn rate by window, rising; `None` where nothing was valid. Holds [`burn::WINDOWS`], the budget's window and
    /// those of the policy.
    pub burn: Vec<(Window, Option<f64>)>,
    /// How it stands.
    pub state: SloState,
    /// Share of the budget's window that was measured, 0 to 1. Of a calendar's period the whole is meant, what is still to
    /// come too.
    pub coverage_ratio: f64,
    /// Seconds until the budget is empty if errors go on as over the last five minutes, or the last hour when five
    /// minutes hold too few to tell; `None`: not at this rate (see [`forecast::time_to_empty_s`]), or not before the
    /// calendar's period ends and the budget begins anew.
    pub time_to_empty_s: Option<u64>,
}

impl SloStatus {
    /// The burn rate over `window`; `None` where nothing was valid or the window was not read.
    pub fn burn_over(&self, window: Window) -> Option<f64> {
        let place = self
            .burn
            .binary_search_by_key(&window, |(window, _)| *window)
            .ok()?;
        self.burn[place].1
    }
}

/// An SLO is low on budget below this share of it.
const LOW: f64 = 0.1;

impl Engine {
    /// Watches `slos`, each by the policy of `policies` that it names. One that names none of them is judged, but has
    /// no alerts.
    pub fn new(slos: Vec<(SloKey, Slo)>, policies: &[Policy]) -> Self {
        let watched = slos
            .into_iter()
            .map(|(key, slo)| Watched::new(key, slo, policies))
            .collect();
        Self {
            watched,
            orphans: Vec::new(),
        }
    }

    /// Watches other SLOs by other policies. Alerts keep their state by their id; one that fires and is gone resolves
    /// with the next evaluation.
    pub fn replace(&mut self, slos: Vec<(SloKey, Slo)>, policies: &[Policy]) {
        let mut before: BTreeMap<String, (Alert, Orphan)> = self
            .watched
            .iter()
            .flat_map(|watched| {
                watched.alerts.iter().map(|armed| {
                    (
                        armed.id.clone(),
                        (armed.alert, Orphan::of(armed, &watched.slo)),
                    )
                })
            })
            .collect();
        self.watched = Self::new(slos, policies).watched;
        for armed in self
            .watched
            .iter_mut()
            .flat_map(|watched| &mut watched.alerts)
        {
            if let Some((alert, _)) = before.remove(&armed.id) {
                armed.alert = alert;
            }
        }
        self.orphans.extend(
            before
                .into_values()
                .filter(|(alert, _)| alert.state() == AlertState::Firing)
                .map(|(_, orphan)| orphan),
        );
    }

    /// The alerts that are not inactive, to be kept over a restart: (id, state, since when).
    pub fn export(&self) -> Vec<(String, AlertState, Timestamp)> {
        self.watched
            .iter()
            .flat_map(|watched| &watched.alerts)
            .filter(|armed| armed.alert.state() != AlertState::Inactive)
            .map(|armed| (armed.id.clone(), armed.alert.state(), armed.alert.since()))
            .collect()
    }

    /// Takes up what [`Engine::export`] gave. Nothing is announced again; an alert that fired and is no longer
    /// configured resolves with the next evaluation.
    pub fn restore(&mut self, states: impl IntoIterator<Item = (String, AlertState, Timestamp)>) {
        let mut states: BTreeMap<String, (AlertState, Timestamp)> = states
            .into_iter()
            .map(|(id, state, since)| (id, (state, since)))
            .collect();
        for armed in self
            .watched
            .iter_mut()
            .flat_map(|watched| &mut watched.alerts)
        {
            if let Some((state, since)) = states.remove(&armed.id) {
                armed.alert = Alert::restored(state, since);
            }
        }
        self.orphans.extend(
            states
                .into_iter()
                .filter(|(_, (state, _))| *state == AlertState::Firing)
                .filter_map(|(id, _)| Orphan::parse(id)),
        );
    }

    /// Judges everything at `now`. `read` gives an SLO's events in a window that ends now.
    pub fn evaluate(
        &mut self,
        now: Timestamp,
        read: &dyn Fn(SloKey, Window) -> Span,
    ) -> Evaluation {
        let mut evaluation = Evaluation::default();
        evaluation
            .transitions
            .extend(self.orphans.drain(..).map(|orphan| orphan.resolve(now)));
        let mut spans = Vec::new();
        for watched in &mut self.watched {
            spans.clear();
            watched.turn(now);
            let elapsed = watched.period.map(|period| period.elapsed(now));
            spans.extend(
                watched
                    .windows
                    .iter()
                    .copied()
                    .chain(elapsed)
                    .map(|window| read(watched.key, window)),
            );
            watched.evaluate(now, &spans, &mut evaluation);
        }
        evaluation
    }
}

/// One SLO and its alerts.
#[derive(Clone, Debug)]
struct Watched {
    key: SloKey,
    slo: Arc<Slo>,
    /// Those of its policy.
    guards: Guards,
    /// Every window that is needed, rising.
    windows: Vec<Window>,
    /// The place of the budget's own among them; with a calendar, after them.
    whole: usize,
    /// The place of the one that says how much traffic is usual: a calendar's period may only have begun.
    usual: usize,
    /// The period of the calendar that the last evaluation fell in.
    period: Option<Period>,
    alerts: Vec<Armed>,
}

/// One alert, its row, and the places of the row's windows in [`Watched::windows`].
#[derive(Clone, Debug)]
struct Armed {
    id: String,
    /// As the policy has it.
    nominal: PolicyRow,
    /// As the period's length makes it.
    row: Row,
    long: usize,
    short: usize,
    alert: Alert,
}

impl Watched {
    fn new(key: SloKey, slo: Slo, policies: &[Policy]) -> Self {
        let policy = policies.iter().find(|policy| policy.name == slo.policy);
        let rows = policy.map_or_else(Vec::new, |policy| policy.rows_over(slo.window));
        let guards = policy.map_or_else(Guards::default, |policy| policy.guards);
        let mut windows: Vec<Window> = burn::WINDOWS
            .into_iter()
            .chain([slo.window])
            .chain(rows.iter().flat_map(|row| [row.long, row.short]))
            .collect();
        windows.sort_unstable();
        windows.dedup();
        let nominal = policy.map_or(&[][..], |policy| &policy.rows);
        let alerts = rows
            .iter()
            .zip(nominal)
            .map(|(row, nominal)| Armed {
                id: format!("{}:{}:{}", slo.id, row.severity.as_str(), row.tier.as_str()),
                nominal: *nominal,
                row: *row,
                long: place(&windows, row.long),
                short: place(&windows, row.short),
                alert: Alert::default(),
            })
            .collect();
        let usual = place(&windows, slo.window);
        let whole = match &slo.calendar {
            None => usual,
            Some(_) => windows.len(),
        };
        Self {
            key,
            guards: guards.of(&slo),
            slo: Arc::new(slo),
            windows,
            whole,
            usual,
            period: None,
            alerts,
        }
    }

    /// Takes up the period of the calendar that `now` is in.
    fn turn(&mut self, now: Timestamp) {
        let Some(calendar) = &self.slo.calendar else {
            return;
        };
        if self.period.is_some_and(|period| period.holds(now)) {
            return;
        }
        let period = calendar.period(now);
        for armed in &mut self.alerts {
            armed.row = armed.nominal.within(period.length(), self.slo.window);
        }
        self.period = Some(period);
    }

    /// How long the budget's window is.
    fn length(&self) -> Window {
        self.period.map_or(self.slo.window, Period::length)
    }

    /// Judges by `spans`, which are the events in [`Watched::windows`].
    fn evaluate(&mut self, now: Timestamp, spans: &[Span], evaluation: &mut Evaluation) {
        let (objective, guards) = (self.slo.objective, self.guards);
        let whole = spans[self.whole];
        let burn: Vec<_> = self
            .windows
            .iter()
            .zip(spans)
            .map(|(window, span)| (*window, burn::rate(span.tally, objective)))
            .collect();
        let recent = self.span(spans, RECENT).tally;
        let goes_on = burn::exceeds(recent, objective, LASTING);
        let mut state = self.quiet_state(spans);
        for armed in &mut self.alerts {
            let (long, short) = (spans[armed.long], spans[armed.short]);
            let condition = Condition::of(
                &armed.row,
                objective,
                (long, short, spans[self.usual]),
                guards,
            );
            state = state.max(alarm(armed.row.severity, condition, short, goes_on, guards));
            let from = armed.alert.evaluate(now, condition);
            let (burn_long, burn_short) = (burn[armed.long].1, burn[armed.short].1);
            if let Some(from) = from {
                evaluation.transitions.push(Transition {
                    alert: armed.id.clone(),
                    kind: AlertKind::Burn,
                    slo: Some(self.slo.id.clone()),
                    route: self.slo.about.route().map(ToOwned::to_owned),
                    severity: armed.row.severity,
                    tier: Some(armed.row.tier),
                    from,
                    to: armed.alert.state(),
                    at: now,
                    burn_long,
                    burn_short,
                    runbook: self.slo.runbook.clone(),
                    text: armed.text(&self.slo.id, burn_long, burn_short),
                });
            }
            if armed.alert.state() != AlertState::Inactive {
                evaluation.alerts.push(AlertStatus {
                    id: armed.id.clone(),
                    kind: AlertKind::Burn,
                    severity: armed.row.severity,
                    state: armed.alert.state(),
                    since: armed.alert.since(),
                    about: self.slo.id.clone(),
                    slo: Some(self.slo.id.clone()),
                    route: self.slo.about.route().map(ToOwned::to_owned),
                    scope: self.slo.about.wide_scope(),
                    burn: Some(RowStatus {
                        row: armed.row,
                        burn_long,
                        burn_short,
                    }),
                    runbook: self.slo.runbook.clone(),
                    text: armed.text(&self.slo.id, burn_long, burn_short),
                });
            }
        }
        let budget = Budget::new(objective, whole.tally);
        let window = self.length();
        let empty_s = forecast::time_to_empty_s(whole, window, objective, self.current(spans));
        let left_s = self.period.map_or(u64::MAX, |period| period.left_s(now));
        evaluation.slos.push(SloStatus {
            key: self.key,
            slo: Arc::clone(&self.slo),
            period: self.period,
            tally: whole.tally,
            recent,
            sli_ratio: budget.sli_ratio(),
            remaining_ratio: budget.remaining_ratio(),
            expected_remaining_ratio: forecast::expected_remaining_ratio(whole, window, objective),
            burn,
            state,
            coverage_ratio: whole.covered_s.min(window.as_secs()) as f64 / window.as_secs() as f64,
            time_to_empty_s: empty_s.filter(|secs| *secs < left_s),
        });
    }

    /// How it stands when no row minds: with little budget, with little history, without data, or well.
    fn quiet_state(&self, spans: &[Span]) -> SloState {
        let whole = spans[self.whole];
        if whole.tally.valid() == 0 {
            return SloState::NoData;
        }
        let left = forecast::expected_remaining_ratio(whole, self.length(), self.slo.objective);
        if left.is_some_and(|left| left < LOW) && whole.tally.bad >= self.guards.ticket_min_bad {
            return SloState::Low;
        }
        if self.is_warming(spans) {
            return SloState::Warming;
        }
        SloState::Ok
    }

    /// Whether not even the quickest long window holds enough history: of the rows that page, or of all if none does.
    /// The others would keep an SLO "warming" for a day and a half, in which a fast burn is noticed all the same.
    fn is_warming(&self, spans: &[Span]) -> bool {
        let quickest = |severity: &[Severity]| {
            self.alerts
                .iter()
                .filter(|armed| severity.contains(&armed.row.severity))
                .map(|armed| armed.long)
                .min()
        };
        quickest(&[Severity::Page])
            .or_else(|| quickest(&[Severity::Ticket]))
            .is_some_and(|long| !burn::is_grown(spans[long], self.windows[long]))
    }

    /// The events that tell how the budget burns now: the last five minutes. When they hold too few bad ones to give a
    /// rate, but some, or when they hold no request at all, the last hour instead.
    fn current(&self, spans: &[Span]) -> Tally {
        let enough = self.guards.ticket_min_bad;
        let recent = self.span(spans, RECENT).tally;
        if recent.bad >= enough || (recent.bad == 0 && recent.valid() > 0) {
            return recent;
        }
        let hour = self.span(spans, Window::hours(1)).tally;
        if hour.bad >= enough {
            hour
        } else {
            Tally::default()
        }
    }

    fn span(&self, spans: &[Span], window: Window) -> Span {
        spans[place(&self.windows, window)]
    }
}

/// The window that "now" is.
const RECENT: Window = Window::minutes(5);

/// Where `window` stands among `windows`, which holds it.
fn place(windows: &[Window], window: Window) -> usize {
    windows
        .binary_search(&window)
        .expect("every window that is asked for was put in when the SLO was taken up")
}

/// What one row makes of an SLO's state; [`SloState::Ok`] when nothing. Whether it `goes_on` now tells what rises from
/// what recovers: a short window of hours stays over its factor long after the trouble has stopped.
fn alarm(
    severity: Severity,
    condition: Condition,
    short: Span,
    goes_on: bool,
    guards: Guards,
) -> SloState {
    // The word is said before the page, so it must not be said of what could never become one: after a burst of fifty
    // requests, five that fail by chance burn ten times too fast.
    let counts = short.tally.bad >= guards.page_min_bad;
    let alarms = match severity {
        Severity::Page if condition.holds() => return SloState::Critical,
        Severity::Page => condition.short && counts,
        Severity::Ticket => condition.holds(),
    };
    if alarms && goes_on {
        SloState::Rising
    } else if alarms || (condition.long && condition.proven) {
        SloState::Recovering
    } else {
        SloState::Ok
    }
}

impl Armed {
    fn text(&self, slo: &str, burn_long: Option<f64>, burn_short: Option<f64>) -> String {
        let Row {
            severity,
            tier,
            long,
            short,
            factor,
        } = self.row;
        let factor = f64::from(factor.0) / 1_000.0;
        let (severity, tier) = (severity.as_str(), tier.as_str());
        let over = |burn: Option<f64>, window| match burn {
            Some(burn) => format!("{} over {window}", multiple(burn)),
            None => format!("no requests over {window}"),
        };
        let (long, short) = (over(burn_long, long), over(burn_short, short));
        match self.alert.state() {
            AlertState::Firing => format!(
                "{slo}: {tier} burn fires ({severity}): burning {long} and {short}, both above {factor}x"
            ),
            AlertState::Pending => format!(
                "{slo}: {tier} burn is pending ({severity}): burning {long} and {short}, above {factor}x, with too little history to be sure"
            ),
            AlertState::Resolved => format!(
                "{slo}: {tier} burn resolved ({severity}): {long} and {short}, not above {factor}x for a minute"
            ),
            AlertState::Inactive => {
                format!("{slo}: {tier} burn is over ({severity}): {long} and {short}")
            }
        }
    }
}

/// A burn rate for people: `122x`, `14.5x`, `0.3x`.
fn multiple(burn: f64) -> String {
    if burn >= 100.0 {
        format!("{burn:.0}x")
    } else if burn == 0.0 || burn >= 0.05 {
        format!("{burn:.1}x")
    } else {
        "<0.1x".to_owned()
    }
}

/// An alert that fires and is no longer configured.
#[derive(Clone, Debug)]
struct Orphan {
    id: String,
    slo: String,
    route: Option<String>,
    severity: Severity,
    tier: Tier,
    runbook: Option<String>,
}

impl Orphan {
    fn of(armed: &Armed, slo: &Slo) -> Self {
        Self {
            id: armed.id.clone(),
            slo: slo.id.clone(),
            route: slo.about.route().map(ToOwned::to_owned),
            severity: armed.row.severity,
            tier: armed.row.tier,
            runbook: slo.runbook.clone(),
        }
    }

    /// What an id alone tells; `None` when it is not one of ours.
    fn parse(id: String) -> Option<Self> {
        let (rest, tier) = id.rsplit_once(':')?;
        let (slo, severity) = rest.rsplit_once(':')?;
        let severity = [Severity::Page, Severity::Ticket]
            .into_iter()
            .find(|known| known.as_str() == severity)?;
        let tier = [Tier::Fast, Tier::Medium, Tier::Slow, Tier::Long]
            .into_iter()
            .find(|known| known.as_str() == tier)?;
        Some(Self {
            slo: slo.to_owned(),
            route: None,
            severity,
            tier,
            runbook: None,
            id,
        })
    }

    fn resolve(self, now: Timestamp) -> Transition {
        Transition {
            text: format!("{}: no longer configured, so resolved", self.id),
            alert: self.id,
            kind: AlertKind::Burn,
            slo: Some(self.slo),
            route: self.route,
            severity: self.severity,
            tier: Some(self.tier),
            from: AlertState::Firing,
            to: AlertState::Resolved,
            at: now,
            burn_long: None,
            burn_short: None,
            runbook: self.runbook,
        }
    }
}
