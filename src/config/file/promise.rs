//! What is promised, and when someone hears of it: SLOs and policies.

use std::time::Duration;

use super::MILLISECOND;
use crate::config::keys::{Item, Keys, Located, Section};
use crate::config::kind::{
    BUDGET_SHARE, BurnRate, CLIENT_ERRORS, Count, Flag, NAME, OBJECTIVE, OWNER, PERCENT, Promised,
    Promising, Spanning, Time, WEB_PAGE, Word, ZONE,
};
use crate::config::outline::Rule;
use crate::model::{ClientErrors, EmptySlice, Objective, Reading, Weighing, Window, Zone};
use crate::slo::guards::Guards;
use crate::slo::policy::{DEFAULT_POLICY, Factor, Severity, Share, Tier};

/// `[[slo]]`
#[derive(Clone, Debug)]
pub(in crate::config) struct Slo {
    pub(in crate::config) id: Option<Located<String>>,
    pub(in crate::config) route: Option<Located<String>>,
    pub(in crate::config) upstream: Option<Located<String>>,
    pub(in crate::config) owner: Option<Located<String>>,
    pub(in crate::config) limit: Option<Located<String>>,
    pub(in crate::config) ingress: Located<bool>,
    pub(in crate::config) weigh: Option<Located<Weighing>>,
    pub(in crate::config) parts: Vec<Item<Part>>,
    pub(in crate::config) sli: Option<Located<Indicator>>,
    pub(in crate::config) reading: Option<Located<Reading>>,
    pub(in crate::config) bad_status: Vec<Located<ClientErrors>>,
    pub(in crate::config) under: Option<Located<Duration>>,
    pub(in crate::config) probe: Option<Located<String>>,
    pub(in crate::config) most: Option<Located<u8>>,
    pub(in crate::config) within: Option<Located<Duration>>,
    pub(in crate::config) objective: Option<Located<Objective>>,
    pub(in crate::config) window: Located<Promised>,
    pub(in crate::config) zone: Option<Located<Zone>>,
    pub(in crate::config) budgeting: Located<Budgeting>,
    pub(in crate::config) slice: Option<Located<Window>>,
    pub(in crate::config) slice_objective: Option<Located<Objective>>,
    pub(in crate::config) empty_slice: Option<Located<EmptySlice>>,
    pub(in crate::config) policy: Located<String>,
    pub(in crate::config) runbook: Option<Located<String>>,
}

/// What an SLO is about, before its details are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Indicator {
    Availability,
    Latency,
    Connection,
    RateLimit,
    Probe,
    TlsHandshake,
    Cpu,
    Memory,
    ConfigApply,
    Health,
    Composite,
}

impl Indicator {
    /// Whether it is counted beside requests, by whoever looks after the process.
    pub(in crate::config) const fn is_vital(self) -> bool {
        self.is_of_the_edge() || matches!(self, Self::Health)
    }

    /// Whether it is about the edge itself, whatever requests come.
    pub(in crate::config) const fn is_of_the_edge(self) -> bool {
        match self {
            Self::TlsHandshake | Self::Cpu | Self::Memory | Self::ConfigApply => true,
            Self::Availability
            | Self::Latency
            | Self::Connection
            | Self::RateLimit
            | Self::Probe
            | Self::Health
            | Self::Composite => false,
        }
    }
}

/// The keys that say what an SLO is about.
const ABOUT: [&str; 5] = ["route", "upstream", "owner", "limit", "ingress"];

const INDICATORS: Word<Indicator> = Word(&[
    ("availability", Indicator::Availability),
    ("latency", Indicator::Latency),
    ("connection", Indicator::Connection),
    ("rate-limit", Indicator::RateLimit),
    ("probe", Indicator::Probe),
    ("tls-handshake", Indicator::TlsHandshake),
    ("cpu", Indicator::Cpu),
    ("memory", Indicator::Memory),
    ("config-apply", Indicator::ConfigApply),
    ("health", Indicator::Health),
    ("composite", Indicator::Composite),
]);

const WEIGHINGS: Word<Weighing> =
    Word(&[("minutes", Weighing::Minutes), ("events", Weighing::Events)]);

const READINGS: Word<Reading> = Word(&[("fault", Reading::FAULT), ("all", Reading::All)]);

/// What the events of a budget are, before the slices are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Budgeting {
    Occurrences,
    Timeslices,
    RatioTimeslices,
}

const BUDGETINGS: Word<Budgeting> = Word(&[
    ("occurrences", Budgeting::Occurrences),
    ("timeslices", Budgeting::Timeslices),
    ("ratio-timeslices", Budgeting::RatioTimeslices),
]);

const EMPTY_SLICES: Word<EmptySlice> = Word(&[
    ("skip", EmptySlice::Skip),
    ("good", EmptySlice::Good),
    ("bad", EmptySlice::Bad),
]);

impl Section for Slo {
    const TITLE: &'static str = "`[[slo]]`";

    #[expect(clippy::too_many_lines, reason = "one entry for each key, in order")]
    fn read(keys: &mut Keys<'_, '_>) -> Self {
        let slo = Self {
            id: keys.required("id", &NAME, "Its unique id, as alerts name it."),
            route: keys.optional(
                "route",
                &NAME,
                "another of `upstream`, `owner` and `ingress` says what it is about",
                "The id of the route it is about.",
            ),
            upstream: keys.optional(
                "upstream",
                &NAME,
                "one of the others says what it is about",
                "The name of the upstream it is about: the requests of every route that leads there, as their users saw them. \
                 What the edge failed before it came to the upstream counts too.",
            ),
            owner: keys.optional(
                "owner",
                &OWNER,
                "one of the others says what it is about",
                "The owner it is about: the requests of every route that this `owner` answers for.",
            ),
            limit: keys.optional(
                "limit",
                &NAME,
                "one of the others says what it is about",
                "Only with `sli = \"rate-limit\"`: the name of the rate limit it is about: every request that this limit was \
                 asked about, on whatever route. So each tier has a budget of its own.",
            ),
            ingress: keys.or(
                "ingress",
                &Flag,
                false,
                "Whether it is about all that comes in: the requests of every route, and those that no route takes.",
            ),
            sli: keys.required(
                "sli",
                &INDICATORS,
                "What counts. `availability`: a request is good unless the edge or the upstream failed it; a client's \
                 own mistake does not count. `latency`: a request that succeeded is good when all of it took at most \
                 `under`. `connection`: an attempt is good when it got a connection to its endpoint, though another attempt made \
                 up for it. `rate-limit`: a request is good unless it was over a rate limit. `probe`: a second is good when the probe's slot that it lies in was; users' requests do not \
                 count. `tls-handshake`: a handshake with a client is good when it was completed, and bad when the client \
                 refused the certificate or the edge failed. `cpu`, `memory`: a second is good when at most `most` of the \
                 processors or of the memory that this process may use was used. `config-apply`: a configuration that was to \
                 be applied is good when it was, `within` so long. `health`: a second of an endpoint is good when it was in \
                 service all through. `composite`: other SLOs weighed together, each a `[[slo.part]]`; it is about what they are about. Users and probes \
                 are blended only like that.",
            ),
            reading: keys.optional(
                "reading",
                &READINGS,
                "`fault`",
                "Only with `sli = \"availability\"`: which requests failed. `fault`: those that the edge or the upstream \
                 failed; a client's error is good when a service answered it, and does not count when the edge did. \
                 `all`: every one answered 4xx or 5xx as well; only what its client left before an answer does not \
                 count.",
            ),
            bad_status: keys.list(
                "bad_status",
                &CLIENT_ERRORS,
                100,
                "no 4xx is bad",
                "Only with `sli = \"availability\"` and `reading = \"fault\"`: answers with these statuses are failures \
                 too, whoever gave them.",
            ),
            under: keys.optional(
                "under",
                &Time(MILLISECOND..=Duration::from_secs(600)),
                "only with `sli = \"latency\"`, and required there",
                "The longest good duration.",
            ),
            probe: keys.optional(
                "probe",
                &NAME,
                "only with `sli = \"probe\"`, and required there",
                "The name of the probe in `probes.dir`.",
            ),
            most: keys.optional(
                "most",
                &PERCENT,
                "`70%`",
                "Only with `sli = \"cpu\"` and `\"memory\"`: the largest good share of what may be used.",
            ),
            within: keys.optional(
                "within",
                &Time(MILLISECOND..=Duration::from_secs(3_600)),
                "`30s`",
                "Only with `sli = \"config-apply\"`: the longest good time from the reload that was asked for to the moment \
                 at which every worker serves by the new configuration.",
            ),
            weigh: keys.optional(
                "weigh",
                &WEIGHINGS,
                "`minutes`",
                "Only with `sli = \"composite\"`: how its parts are weighed. `minutes`: each minute, every part that counted \
                 anything in it weighs its share of good events by its weight, whatever the traffic. `events`: each event \
                 of a part counts as often as the part weighs.",
            ),
            parts: keys.tables(
                "part",
                0,
                MOST_PARTS,
                "Only with `sli = \"composite\"`, and required there: an SLO that is part of it.",
            ),
            objective: keys.optional(
                "objective",
                &OBJECTIVE,
                "`99.9%` with `connection`, `99%` with `rate-limit` and `health`, `99.99%` with `tls-handshake`, `95%` with \
                 `cpu`, `memory` and `config-apply`, and required with all others",
                "The share of requests that must be good, with at most four digits after the point. What it leaves is \
                 the error budget.",
            ),
            window: keys.or(
                "window",
                &Promising(Window::hours(1)..=Window::days(366)),
                Promised::Rolling(Window::days(30)),
                "The window of the error budget. It rolls, or, by the calendar, the budget begins anew at the midnight \
                 before each Monday, each month or each quarter.",
            ),
            zone: keys.optional(
                "zone",
                &ZONE,
                "`UTC`",
                "Only with a calendar window: the time zone whose midnight it is.",
            ),
            budgeting: keys.or(
                "budgeting",
                &BUDGETINGS,
                Budgeting::Occurrences,
                "What the objective is a share of. `occurrences`: requests. `timeslices`: slices of time, each good when \
                 `slice_objective` of its requests were. `ratio-timeslices`: slices of time, each worth the share of its \
                 requests that was good.",
            ),
            slice: keys.optional(
                "slice",
                &Spanning(Window::minutes(1)..=Window::days(1)),
                "only with slices, and required there",
                "How long a slice is: whole minutes that divide a day. They begin at midnight in universal time. The \
                 shortest window of the policy must hold two: of `workbook`, slices of 1m and 2m.",
            ),
            slice_objective: keys.optional(
                "slice_objective",
                &OBJECTIVE,
                "only with `budgeting = \"timeslices\"`, and required there",
                "The share of a slice's requests that must be good for the slice to be.",
            ),
            empty_slice: keys.optional(
                "empty_slice",
                &EMPTY_SLICES,
                "only with slices, and required there",
                "What a slice without a valid request is: `skip`, it does not count; `good`; or `bad`. One of which a part \
                 was not measured never counts as empty.",
            ),
            policy: keys.or(
                "policy",
                &NAME,
                DEFAULT_POLICY.to_owned(),
                "The name of its alerting policy.",
            ),
            runbook: keys.optional(
                "runbook",
                &WEB_PAGE,
                "alerts link none",
                "The page that says what to do, linked by its alerts.",
            ),
        };
        for (place, first) in ABOUT.iter().enumerate() {
            for second in &ABOUT[place + 1..] {
                keys.rule(Rule::AtMostOne(first, second));
            }
        }
        keys.rule(Rule::OnlyWith {
            key: "under",
            of: "sli",
            value: "latency",
        });
        keys.rule(Rule::OnlyWith {
            key: "slice_objective",
            of: "budgeting",
            value: "timeslices",
        });
        keys.rule(Rule::OnlyWith {
            key: "probe",
            of: "sli",
            value: "probe",
        });
        slo.founded()
    }
}

impl Slo {
    /// With the target that goes without saying, where there is one: errors of connections stay below 0.1 %, and what is over
    /// a rate limit is tracked against one in a hundred. One handshake in ten thousand may fail by our doing. A line of 70 %
    /// is crossed now and then by a process that is well; for 43 minutes of an hour it is not, and that pages.
    fn founded(mut self) -> Self {
        if let (None, Some(sli)) = (&self.objective, &self.sli) {
            let ppm = match sli.value {
                Indicator::Connection => 999_000,
                Indicator::RateLimit | Indicator::Health => 990_000,
                Indicator::TlsHandshake => 999_900,
                Indicator::Cpu | Indicator::Memory | Indicator::ConfigApply => 950_000,
                Indicator::Availability
                | Indicator::Latency
                | Indicator::Probe
                | Indicator::Composite => return self,
            };
            let value = Objective::try_from_ppm(ppm).ok();
            self.objective = value.map(|value| Located {
                value,
                span: sli.span.clone(),
            });
        }
        self
    }
}

/// How many parts a composite may have.
const MOST_PARTS: usize = 32;

/// `[[slo.part]]`
#[derive(Clone, Debug)]
pub(in crate::config) struct Part {
    pub(in crate::config) slo: Option<Located<String>>,
    pub(in crate::config) weight: Located<usize>,
}

impl Section for Part {
    const TITLE: &'static str = "`[[slo.part]]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            slo: keys.required(
                "slo",
                &NAME,
                "The id of the SLO; not one that is composite itself.",
            ),
            weight: keys.or(
                "weight",
                &Count(1..=1_000),
                1,
                "How much it weighs beside the others.",
            ),
        }
    }
}

/// `[[policy]]`
#[derive(Clone, Debug)]
pub(in crate::config) struct Policy {
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) rows_of: Option<Located<Shipped>>,
    pub(in crate::config) page_min_bad: Located<usize>,
    pub(in crate::config) ticket_min_bad: Located<usize>,
    pub(in crate::config) volume_weight: Located<bool>,
    pub(in crate::config) confidence: Located<bool>,
    pub(in crate::config) rows: Vec<Item<PolicyRow>>,
}

/// A policy that Vestibule brings along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum Shipped {
    Hourly,
    Workbook,
}

const SHIPPED: Word<Shipped> =
    Word(&[("workbook", Shipped::Workbook), ("hourly", Shipped::Hourly)]);

/// How many bad events an alert may be told to wait for.
pub(in crate::config) const MOST_MIN_BAD: u64 = 1_000_000;

impl Section for Policy {
    const TITLE: &'static str = "`[[policy]]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        let usual = Guards::default();
        let count = Count(0..=MOST_MIN_BAD);
        let policy = Self {
            name: keys.required("name", &NAME, "Its unique name."),
            rows_of: keys.optional(
                "rows_of",
                &SHIPPED,
                "the rows below",
                "The policy whose rows it takes instead of its own: for what differs only in how few events are judged.",
            ),
            page_min_bad: keys.or(
                "page_min_bad",
                &count,
                usual.page_min_bad as usize,
                "Bad events that a page needs in its long window, so that one failure of ten requests wakes nobody. 0 \
                 switches it off. For `sli = \"probe\"` it is three failed slots, unless 0.",
            ),
            ticket_min_bad: keys.or(
                "ticket_min_bad",
                &count,
                usual.ticket_min_bad as usize,
                "Bad events that a ticket needs in its long window; for `sli = \"probe\"` two failed slots, unless 0.",
            ),
            volume_weight: keys.or(
                "volume_weight",
                &Flag,
                usual.volume_weight,
                "Whether a long window counts by its share of the traffic that is usual over the SLO's window: with a \
                 tenth of the usual requests, ten times the factor must be exceeded. A busier window counts as it is. \
                 Switch it off where nights are quiet and matter.",
            ),
            confidence: keys.or(
                "confidence",
                &Flag,
                usual.confidence,
                "Whether the long window's ratio must be above the threshold with a confidence of 99.9 %, by Wilson's \
                 lower bound. It asks for 2 bad of 10, 27 of 1,000 or 181 of 10,000 where 14.4 times too fast at 99.9% is \
                 1, 15 and 145, and so delays what is certain anyway. Nothing is asked of shares of slices and of composites.",
            ),
            rows: keys.tables(
                "row",
                0,
                16,
                "Needed without `rows_of`. A row fires while the burn rate over both its windows is above its factor: the long window says that \
                 it matters, the short one that it still goes on.",
            ),
        };
        keys.rule(Rule::AtMostOne("rows_of", "row"));
        policy
    }
}

/// `[[policy.row]]`
#[derive(Clone, Debug)]
pub(in crate::config) struct PolicyRow {
    pub(in crate::config) severity: Option<Located<Severity>>,
    pub(in crate::config) tier: Option<Located<Tier>>,
    pub(in crate::config) long: Option<Located<Window>>,
    pub(in crate::config) short: Option<Located<Window>>,
    pub(in crate::config) factor: Option<Located<Factor>>,
    pub(in crate::config) spend: Option<Located<Share>>,
    pub(in crate::config) least: Option<Located<Factor>>,
}

const SEVERITIES: Word<Severity> = Word(&[("page", Severity::Page), ("ticket", Severity::Ticket)]);

const TIERS: Word<Tier> = Word(&[
    ("fast", Tier::Fast),
    ("medium", Tier::Medium),
    ("slow", Tier::Slow),
    ("long", Tier::Long),
]);

impl Section for PolicyRow {
    const TITLE: &'static str = "`[[policy.row]]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        let window = Spanning(Window::from_secs(10)..=Window::days(366));
        let row = Self {
            severity: keys.required(
                "severity",
                &SEVERITIES,
                "How loudly: `page` wakes someone, `ticket` waits for working hours.",
            ),
            tier: keys.required(
                "tier",
                &TIERS,
                "How fast, as a stable label, once per policy; a receiver may let the faster silence the slower.",
            ),
            long: keys.required("long", &window, "The window that says that it matters."),
            short: keys.required(
                "short",
                &window,
                "The window that says that it still goes on; shorter than `long`, commonly a twelfth of it.",
            ),
            factor: keys.optional(
                "factor",
                &BurnRate,
                "`spend` says it",
                "The burn rate that must be exceeded. 1 spends the budget exactly in the SLO's window.",
            ),
            spend: keys.optional(
                "spend",
                &BUDGET_SHARE,
                "`factor` says it",
                "The share of the budget that is spent within `long` at the burn rate that must be exceeded, which is \
                 share × the SLO's window ÷ `long`: 2% in an hour are 14.4 over 30 days, and 3.36 over 7.",
            ),
            least: keys.optional(
                "least",
                &BurnRate,
                "whatever `spend` comes to",
                "With `spend`: the lowest burn rate that it may come to, for SLOs with short windows. Below 1 an alert \
                 fires although the budget lasts.",
            ),
        };
        keys.rule(Rule::AtMostOne("factor", "spend"));
        keys.rule(Rule::AtMostOne("factor", "least"));
        row
    }
}
