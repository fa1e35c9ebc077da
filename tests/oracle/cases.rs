//! What is promised of an incident's events: of one route by every policy, and of some incidents also about several routes and
//! as a composite, whose rules have other labels, other guards and other events.

use vestibule::model::{About, Part, Sli, Slices, Slo, Tally, Timestamp, Weighing, Window};
use vestibule::model::{SloKey, Span};
use vestibule::sli::composite::Composite;
use vestibule::slo::alert::AlertState;
use vestibule::slo::engine::Engine;
use vestibule::slo::simulate::{Shape, play};

use super::policies::policies;
use super::{MINUTE, Spell};

/// One SLO for each shape.
pub(crate) struct Case {
    /// Its id, and its policy.
    pub(crate) slo: Slo,
    /// Whether it is judged of every incident.
    is_thorough: bool,
}

/// How much the part of a composite weighs.
const WEIGHT: u32 = 3;

/// Incidents that are told of everything.
const EVERYWHERE: [&str; 8] = [
    "total-outage",
    "fifteen-percent",
    "slow-burn",
    "flapping",
    "two-incidents",
    "idle-gap",
    "newborn-outage",
    "quiet-hours",
];

pub(crate) fn cases() -> Vec<Case> {
    let thorough = policies().into_iter().map(|policy| Case {
        slo: slo(&policy.name, &policy.name),
        is_thorough: true,
    });
    let some = |slo: Slo| Case {
        slo,
        is_thorough: false,
    };
    let about = [
        ("of-upstream", About::Upstream("u".to_owned())),
        ("of-owner", About::Owner("o".to_owned())),
        ("of-ingress", About::Ingress),
    ];
    let wide = about.map(|(id, about)| {
        some(Slo {
            about,
            ..slo(id, "workbook")
        })
    });
    let composite = |id: &str, weighing: Weighing| {
        some(Slo {
            about: About::Parts,
            sli: Sli::Composite(weighing),
            slices: (weighing == Weighing::Minutes).then_some(Slices::WEIGHED),
            parts: vec![Part {
                slo: "workbook".to_owned(),
                weight: WEIGHT,
                counted: String::new(),
            }],
            ..slo(id, "workbook")
        })
    };
    let composites = [
        composite("by-events", Weighing::Events),
        composite("by-minutes", Weighing::Minutes),
    ];
    thorough.chain(wide).chain(composites).collect()
}

pub(crate) fn slo(id: &str, policy: &str) -> Slo {
    Slo {
        calendar: None,
        slices: None,
        id: id.to_owned(),
        about: About::Route("r".to_owned()),
        owner: None,
        sli: Sli::AVAILABILITY,
        parts: Vec::new(),
        probe: None,
        objective: "99.9%".parse().unwrap(),
        window: Window::days(30),
        policy: policy.to_owned(),
        runbook: None,
    }
}

impl Case {
    /// Whether it is judged of this incident.
    pub(crate) fn takes(&self, shape: &Shape) -> bool {
        self.is_thorough || EVERYWHERE.contains(&&*shape.name)
    }

    /// Its events by the second: those of the shape, or what they weigh.
    pub(crate) fn events(&self, shape: &Shape) -> Vec<Tally> {
        let events: Vec<Tally> = shape.events(self.slo.objective).collect();
        let Sli::Composite(weighing) = self.slo.sli else {
            return events;
        };
        let composite = Composite::new(weighing, vec![WEIGHT]);
        match weighing {
            Weighing::Events => events.iter().map(|it| composite.weigh(&[*it])).collect(),
            Weighing::Minutes => {
                let mut weighed = vec![Tally::default(); events.len()];
                for (place, minute) in events.chunks(MINUTE as usize).enumerate() {
                    let sum = minute.iter().fold(Tally::default(), |sum, it| sum + *it);
                    let last = place * MINUTE as usize + minute.len() - 1;
                    weighed[last] = composite.weigh(&[sum]);
                }
                weighed
            }
        }
    }

    /// When it fires in the live engine, by tier.
    pub(crate) fn live(&self, shape: &Shape) -> Vec<(String, Spell)> {
        if self.is_thorough {
            let policies = policies();
            let own = policies.iter().filter(|it| it.name == self.slo.policy);
            let own: Vec<_> = own.cloned().collect();
            let played = play(shape, &slo("s", ""), &own, 0);
            let firings = played.into_iter().flat_map(|it| it.firings);
            return firings
                .map(|it| (it.row.tier.as_str().to_owned(), (it.from_s, it.until_s)))
                .collect();
        }
        self.judged(&self.events(shape))
    }

    /// The engine over these events, second by second.
    fn judged(&self, events: &[Tally]) -> Vec<(String, Spell)> {
        // Later than any window reaches back.
        const BEGIN: u64 = 100 * 86_400;
        let mut engine = Engine::new(vec![(SloKey(0), self.slo.clone())], &policies());
        let mut sums = vec![Tally::default()];
        let mut firings: Vec<(String, Spell)> = Vec::new();
        for (second, tally) in (1_u64..).zip(events) {
            sums.push(sums[sums.len() - 1] + *tally);
            let over = |_, window: Window| {
                let inside = window.as_secs().min(second);
                Span {
                    tally: sums[second as usize] - sums[(second - inside) as usize],
                    covered_s: inside,
                }
            };
            let evaluation = engine.evaluate(Timestamp::from_secs(BEGIN + second), &over);
            for change in evaluation.transitions {
                let tier = change.alert.rsplit(':').next().unwrap().to_owned();
                match change.to {
                    AlertState::Firing => firings.push((tier, (second, None))),
                    AlertState::Resolved => {
                        let mut open = firings.iter_mut().rev();
                        let open = open.find(|(known, _)| *known == tier);
                        open.expect("it fired").1.1 = Some(second);
                    }
                    AlertState::Inactive | AlertState::Pending => {}
                }
            }
        }
        firings
    }

    /// Its `route` as it is exported: empty when it is about several.
    pub(crate) fn route(&self) -> &str {
        self.slo.about.route().unwrap_or_default()
    }

    /// The SLO of a shape, as a configuration has it.
    pub(crate) fn config(&self, shape: &str) -> String {
        let Slo {
            id,
            about,
            sli,
            policy,
            ..
        } = &self.slo;
        let about = match about {
            About::Route(id) => format!("route = \"{id}\"\n"),
            About::Upstream(name) => format!("upstream = \"{name}\"\n"),
            About::Owner(name) => format!("owner = \"{name}\"\n"),
            About::Limit(name) => format!("limit = \"{name}\"\n"),
            About::Ingress => "ingress = true\n".to_owned(),
            About::Parts => String::new(),
        };
        let head = format!(
            "[[slo]]\nid = \"{shape}.{id}\"\n{about}sli = \"{}\"\nobjective = \"99.9%\"\npolicy = \"{policy}\"\n",
            sli.as_str()
        );
        match sli {
            Sli::Composite(weighing) => format!(
                "{head}weigh = \"{}\"\n[[slo.part]]\nslo = \"{shape}.workbook\"\nweight = {WEIGHT}\n",
                weighing.as_str()
            ),
            _ => head,
        }
    }
}
