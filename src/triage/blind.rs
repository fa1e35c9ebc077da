//! What probes do not see: routes that nobody looks at from outside, probes that found nothing lately, and those that do
//! not see what users see.

use serde::{Deserialize, Serialize};

use super::words;
use crate::model::Vantage;

/// What is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlindKind {
    /// Users fail, and every probe of the route is well.
    Unseen,
    /// A probe fails, and users do well.
    Alone,
    /// Users wait many times as long as a probe does.
    Faster,
    /// A probe should have been run, and was not.
    NoResult,
    /// A probe is compared, and one of its vantages is missing.
    NoVantage,
    /// A route has traffic, and no probe.
    NoProbe,
}

impl BlindKind {
    /// Every one of them.
    pub const ALL: [Self; 6] = [
        Self::Unseen,
        Self::Alone,
        Self::Faster,
        Self::NoResult,
        Self::NoVantage,
        Self::NoProbe,
    ];

    /// Its word in JSON and text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unseen => "unseen",
            Self::Alone => "alone",
            Self::Faster => "faster",
            Self::NoResult => "no_result",
            Self::NoVantage => "no_vantage",
            Self::NoProbe => "no_probe",
        }
    }
}

/// One thing that probes do not see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlindSpot {
    /// What is missing.
    pub kind: BlindKind,
    /// The route; `null`: the probe looks at none.
    pub route: Option<String>,
    /// The probe; `null`: there is none.
    pub probe: Option<String>,
    /// The same in words.
    pub text: String,
}

/// What users of a route did lately.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traffic<'a> {
    /// The route.
    pub route: &'a str,
    /// Their valid requests.
    pub valid: u64,
    /// Those that were bad.
    pub bad: u64,
    /// The median of their durations, in microseconds.
    pub p50_us: Option<u64>,
}

/// What is known of a probe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look<'a> {
    /// Its name.
    pub name: &'a str,
    /// The route that it looks at.
    pub route: Option<&'a str>,
    /// Whether it is not expected to be run: paused, in maintenance, or configured a moment ago.
    pub is_off: bool,
    /// Whether it was run within two intervals.
    pub is_fresh: bool,
    /// Whether its last run was well; `None`: it has had none.
    pub is_well: Option<bool>,
    /// Whether its failure is a standing rather than a hiccup.
    pub fails: bool,
    /// The median of its last good runs, in microseconds.
    pub p50_us: Option<u64>,
    /// Vantages that it should have looked from, and did not.
    pub missing: Vec<Vantage>,
}

/// Requests below which users' experience tells nothing.
const ENOUGH: u64 = 20;
/// How many times as long users wait before a probe is said not to ask what they ask.
const TIMES: u64 = 10;
/// And how much longer, in microseconds.
const LONGER_US: u64 = 50_000;

/// Everything that is not seen, what matters most first. Empty when no probe is configured: then nobody expects to see.
pub fn blind_spots(traffic: &[Traffic<'_>], looks: &[Look<'_>]) -> Vec<BlindSpot> {
    if looks.is_empty() {
        return Vec::new();
    }
    let mut spots = Vec::new();
    for users in traffic {
        of_route(users, looks, &mut spots);
    }
    for look in looks.iter().filter(|look| !look.is_off) {
        of_probe(look, &mut spots);
    }
    spots.sort_by_key(|spot| spot.kind);
    spots
}

/// What users of a route meet and its probes do not, or the other way round.
fn of_route(users: &Traffic<'_>, looks: &[Look<'_>], spots: &mut Vec<BlindSpot>) {
    let route = users.route;
    let mut tell = |kind, probe: Option<&str>, text| {
        spots.push(BlindSpot {
            kind,
            route: Some(route.to_owned()),
            probe: probe.map(str::to_owned),
            text,
        });
    };
    let of_route = || looks.iter().filter(|look| look.route == Some(route));
    if of_route().all(|look| look.is_off) {
        if users.valid > 0 {
            let text = format!("route {route} has users, and no probe looks at it");
            tell(BlindKind::NoProbe, None, text);
        }
        return;
    }
    if users.valid < ENOUGH {
        return;
    }
    let seen: Vec<&Look<'_>> = of_route().filter(|look| look.is_well.is_some()).collect();
    let many = format!("{}/{}", users.bad, users.valid);
    if let Some(first) = seen.first()
        && users.bad * 20 >= users.valid
        && seen.iter().all(|look| look.is_well == Some(true))
    {
        let name = words::plain(first.name);
        let text = format!(
            "users of {route} fail ({many}) while probe {name} is well: it does not ask what they ask"
        );
        tell(BlindKind::Unseen, Some(first.name), text);
    }
    for look in seen {
        let name = words::plain(look.name);
        if look.fails && users.bad * 100 < users.valid {
            let text = format!("probe {name} fails while users of {route} do well ({many} bad)");
            tell(BlindKind::Alone, Some(look.name), text);
        }
        if let (Some(users), Some(probe)) = (users.p50_us, look.p50_us)
            && users >= probe.saturating_mul(TIMES)
            && users - probe >= LONGER_US
        {
            let text = format!(
                "users of {route} wait {} where probe {name} waits {}: it does not ask what they ask",
                words::latency(users.into()),
                words::latency(probe.into())
            );
            tell(BlindKind::Faster, Some(look.name), text);
        }
    }
}

/// What a probe should see and does not.
fn of_probe(look: &Look<'_>, spots: &mut Vec<BlindSpot>) {
    let name = words::plain(look.name);
    let mut tell = |kind, text| {
        spots.push(BlindSpot {
            kind,
            route: look.route.map(str::to_owned),
            probe: Some(look.name.to_owned()),
            text,
        });
    };
    if !look.is_fresh {
        let text = format!("probe {name} should have been run, and was not");
        tell(BlindKind::NoResult, text);
    }
    for vantage in &look.missing {
        let what = match vantage {
            Vantage::Ingress => "no listener of ours takes what it asks",
            Vantage::Edge | Vantage::Upstream | Vantage::Tcp => {
                "its upstream has no endpoint that can be asked"
            }
        };
        let from = vantage.as_str();
        let text = format!("probe {name} does not look from {from}: {what}");
        tell(BlindKind::NoVantage, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_probes_do_not_see_is_named() {
        let look = Look {
            name: "p",
            route: Some("r"),
            is_fresh: true,
            is_well: Some(true),
            p50_us: Some(2_000),
            ..Look::default()
        };
        let users = |valid, bad, p50_us| Traffic {
            route: "r",
            valid,
            bad,
            p50_us: Some(p50_us),
        };
        let failing = Look {
            is_well: Some(false),
            fails: true,
            ..look.clone()
        };
        for (what, users, look, expected) in [
            ("both are well", users(100, 0, 3_000), look.clone(), vec![]),
            ("both fail", users(100, 50, 3_000), failing.clone(), vec![]),
            (
                "users fail",
                users(100, 5, 3_000),
                look.clone(),
                vec![BlindKind::Unseen],
            ),
            (
                "too few users to tell",
                users(19, 19, 3_000),
                look.clone(),
                vec![],
            ),
            (
                "the probe fails",
                users(100, 0, 3_000),
                failing,
                vec![BlindKind::Alone],
            ),
            (
                "users wait",
                users(100, 0, 80_000),
                look.clone(),
                vec![BlindKind::Faster],
            ),
            (
                "it looks elsewhere",
                users(1, 0, 3_000),
                Look {
                    route: None,
                    ..look.clone()
                },
                vec![BlindKind::NoProbe],
            ),
            (
                "it is paused",
                users(1, 0, 3_000),
                Look {
                    is_off: true,
                    is_fresh: false,
                    ..look.clone()
                },
                vec![BlindKind::NoProbe],
            ),
            (
                "it was not run",
                users(1, 0, 3_000),
                Look {
                    is_fresh: false,
                    ..look.clone()
                },
                vec![BlindKind::NoResult],
            ),
            (
                "a vantage is missing",
                users(1, 0, 3_000),
                Look {
                    missing: vec![Vantage::Ingress],
                    ..look
                },
                vec![BlindKind::NoVantage],
            ),
        ] {
            let found: Vec<BlindKind> = blind_spots(&[users], &[look])
                .iter()
                .map(|it| it.kind)
                .collect();
            assert_eq!(found, expected, "{what}");
        }
        assert!(
            blind_spots(&[users(100, 100, 1)], &[]).is_empty(),
            "nobody looks"
        );
    }
}
