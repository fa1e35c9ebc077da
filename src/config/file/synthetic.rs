//! The shape of a file of probes, `synthetic/*.toml`.

use std::time::Duration;

use super::{DAY, MILLISECOND, SECOND};
use crate::config::keys::{Item, Keys, Located, Section};
use crate::config::kind::{Flag, MAINTENANCE, NAME, TARGET, Time, WEB_PAGE, Word};
use crate::probe::definition::{MOST_STEPS, Target};
use crate::probe::maintenance::Maintenance;
use crate::probe::module::{LONGEST, Prober};

mod expect;
mod journey;
mod manner;

pub(in crate::config) use expect::{Answer, Expect, JsonTable};
pub(in crate::config) use journey::{CaptureTable, JourneyTable};
pub(in crate::config) use manner::{Manner, StepTable};

/// Probes in one file.
const MOST_PROBES: usize = 1_000;

/// A whole file of probes.
#[derive(Debug)]
pub(in crate::config) struct ProbeFile {
    pub(in crate::config) probes: Vec<Item<Probe>>,
    pub(in crate::config) modules: Vec<Item<Module>>,
}

impl Section for ProbeFile {
    const TITLE: &'static str = "a file of probes";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            probes: keys.tables(
                "probe",
                0,
                MOST_PROBES,
                "A check that is run on a schedule, as a user would do it.",
            ),
            modules: keys.tables(
                "module",
                0,
                MOST_PROBES,
                "A manner of probing without a target: `/probe?module=NAME&target=TARGET` aims it, as with \
                 `blackbox_exporter`. `vestibule probe import blackbox.yml` writes such tables. All keys of a probe but \
                 those of its schedule go here as well.",
            ),
        }
    }
}

/// `[[probe]]`
#[derive(Debug)]
pub(in crate::config) struct Probe {
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) target: Option<Located<Target>>,
    pub(in crate::config) every: Located<Duration>,
    pub(in crate::config) route: Option<Located<String>>,
    pub(in crate::config) runbook: Option<Located<String>>,
    pub(in crate::config) paused: Located<bool>,
    pub(in crate::config) maintenance: Vec<Located<Maintenance>>,
    pub(in crate::config) manner: Manner,
    pub(in crate::config) steps: Vec<Item<JourneyTable>>,
    pub(in crate::config) compare: Located<bool>,
    pub(in crate::config) hurry: Option<Located<bool>>,
}

impl Section for Probe {
    const TITLE: &'static str = "`[[probe]]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            name: keys.required(
                "name",
                &NAME,
                "Its unique name, among those of all files. When its slots are follows from it, so a restart changes \
                 nothing.",
            ),
            target: keys.required(
                "target",
                &TARGET,
                "What it is aimed at. `tcp://` connects, `tls://` shakes hands as well, `http://` and `https://` ask \
                 for a page.",
            ),
            every: keys.or(
                "every",
                &Time(SECOND..=DAY),
                SECOND * 30,
                "From one slot to the next. A failed slot costs an error budget as much time as this. Whole seconds.",
            ),
            route: keys.optional(
                "route",
                &NAME,
                "none",
                "The id of the route in `vestibule.toml` that it looks at from outside.",
            ),
            compare: keys.or(
                "compare",
                &Flag,
                false,
                "Looks at its route from elsewhere in the same slot: at this ingress's own listener, and at each endpoint of \
                 the route's upstream with a request of its own and with a mere connection. What they find together says \
                 where a fault lies. Needs `route` and an `http://` or `https://` target.",
            ),
            hurry: keys.optional(
                "hurry",
                &Flag,
                "true; false for a journey",
                "Whether it is run up to six times as often, at most once a second: after a failure until it was well five times in a \
                 row, for ten minutes at most, and while an alert of its route or of an SLO that counts it is pending or fires. A slot then counts for so much less: the ratio stays what it would be.",
            ),
            runbook: keys.optional(
                "runbook",
                &WEB_PAGE,
                "none",
                "The page that says what to do when it fails.",
            ),
            paused: keys.or(
                "paused",
                &Flag,
                false,
                "Switches it off without forgetting it: its slots are missed, as `paused`.",
            ),
            maintenance: keys.list(
                "maintenance",
                &MAINTENANCE,
                50,
                "never",
                "When nobody expects it to be well: its slots are missed, as `maintenance`.",
            ),
            manner: Manner::read(keys, SECOND * 10),
            steps: keys.tables(
                "step",
                0,
                MOST_STEPS,
                "A request of a journey: with steps, a probe asks for them one after another instead of for its target, and \
                 fails with the first that fails. Only with `http://` and `https://` targets.",
            ),
        }
    }
}

/// `[[module]]`
#[derive(Debug)]
pub(in crate::config) struct Module {
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) prober: Option<Located<Prober>>,
    pub(in crate::config) manner: Manner,
}

const PROBERS: Word<Prober> = Word(&[
    ("http", Prober::Http),
    ("tcp", Prober::Tcp),
    ("tls", Prober::Tls),
    ("dns", Prober::Dns),
    ("grpc", Prober::Grpc),
    ("grpcs", Prober::Grpcs),
    ("websocket", Prober::WebSocket),
    ("icmp", Prober::Icmp),
]);

impl Section for Module {
    const TITLE: &'static str = "`[[module]]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            name: keys.required(
                "name",
                &NAME,
                "Its name, unique among the modules of all files.",
            ),
            prober: keys.required("prober", &PROBERS, "What it speaks."),
            manner: Manner::read(keys, LONGEST),
        }
    }
}
