//! Incidents that are told to everybody: ten hours each, at 99.9 %.

use vestibule::slo::simulate::{Errors, Shape, Stretch};

/// How long every shape is watched.
pub(crate) const HOURS: u64 = 10;

const MINUTE: u64 = 60;
/// Requests an hour: fifty a second.
const BUSY: u64 = 50 * 3_600;

/// So many minutes of so many requests an hour, of which so many in a million fail.
const fn of(minutes: u64, per_hour: u64, ppm: u32) -> Stretch {
    Stretch {
        lasts_s: minutes * MINUTE,
        per_hour,
        errors: Errors::Share(ppm),
    }
}

const fn busy(minutes: u64, ppm: u32) -> Stretch {
    of(minutes, BUSY, ppm)
}

const fn seconds(seconds: u64, per_hour: u64, ppm: u32) -> Stretch {
    Stretch {
        lasts_s: seconds,
        per_hour,
        errors: Errors::Share(ppm),
    }
}

fn shape(name: &str, stretches: impl IntoIterator<Item = Stretch>) -> Shape {
    let mut shape = Shape {
        name: name.to_owned(),
        about: String::new(),
        stretches: stretches.into_iter().collect(),
    };
    // What follows is healthy, to the end of the watch.
    let rest = HOURS * 60 * MINUTE - shape.lasts_s();
    let last = shape.stretches[shape.stretches.len() - 1];
    if rest > 0 {
        shape.stretches.push(Stretch {
            lasts_s: rest,
            errors: Errors::Share(0),
            ..last
        });
    }
    shape
}

fn repeated(times: usize, parts: &[Stretch]) -> impl Iterator<Item = Stretch> + '_ {
    parts.iter().copied().cycle().take(times * parts.len())
}

pub(crate) fn shapes() -> Vec<Shape> {
    const ALL: u32 = 1_000_000;
    // Long enough that the pages' windows are grown.
    let before = busy(200, 0);
    let few = of(200, 10, 0);
    vec![
        shape("quiet", [busy(600, 500)]),
        shape("idle", [of(600, 0, 0)]),
        shape("total-outage", [before, busy(10, ALL)]),
        shape("total-outage-without-end", [before, busy(400, ALL)]),
        shape("ninety-seconds", [before, seconds(90, BUSY, ALL)]),
        shape("half-a-minute", [before, seconds(30, BUSY, ALL)]),
        shape("fifteen-percent", [before, busy(10, 150_000)]),
        shape("five-percent", [before, busy(30, 50_000)]),
        shape("two-percent", [before, busy(60, 20_000)]),
        shape("nearly-one-percent", [before, busy(300, 9_500)]),
        shape("seven-times", [before, busy(390, 7_000)]),
        shape("just-under-the-page", [before, busy(120, 14_000)]),
        shape("just-over-the-page", [before, busy(120, 15_500)]),
        shape("slow-burn", [busy(600, 3_500)]),
        shape("deploy-spike", [before, busy(4, 30_000)]),
        shape(
            "flapping",
            [before]
                .into_iter()
                .chain(repeated(6, &[busy(5, ALL), busy(25, 0)])),
        ),
        shape(
            "spikes",
            [before].into_iter().chain(repeated(
                12,
                &[seconds(20, BUSY, ALL), seconds(580, BUSY, 0)],
            )),
        ),
        shape(
            "ramp",
            [
                before,
                busy(20, 1_000),
                busy(20, 5_000),
                busy(20, 20_000),
                busy(20, 100_000),
                busy(20, 9_000),
            ],
        ),
        shape(
            "two-incidents",
            [before, busy(5, 300_000), busy(90, 0), busy(5, 300_000)],
        ),
        shape(
            "never-quite-well",
            [before, busy(15, 150_000), busy(120, 4_000)],
        ),
        shape("clients-leave", [before, busy(3, ALL), of(120, 0, 0)]),
        shape("idle-gap", [busy(180, 300), of(40, 0, 0), busy(60, 300)]),
        shape("newborn-outage", [busy(30, ALL)]),
        shape("newborn-hiccup", [seconds(8, BUSY, ALL), busy(60, 0)]),
        shape(
            "quiet-hours",
            [
                before,
                of(60, BUSY / 50, 0),
                of(20, BUSY / 50, 500_000),
                of(60, BUSY / 50, 0),
                of(60, BUSY / 5, 100_000),
                busy(10, 0),
            ],
        ),
        shape("surge", [before, of(30, 10 * BUSY, 20_000), busy(10, 0)]),
        shape("no-page-at-ten-an-hour", [few, of(6, 10, ALL)]),
        shape("dead-at-ten-an-hour", [few, of(180, 10, ALL)]),
        shape("dead-at-forty-an-hour", [of(200, 40, 0), of(60, 40, ALL)]),
        shape(
            "half-fail-at-hundred-an-hour",
            [of(200, 100, 0), of(60, 100, 500_000)],
        ),
    ]
}
