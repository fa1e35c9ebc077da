//! The policies that rules and engine are held against each other by.

use vestibule::slo::guards::Guards;
use vestibule::slo::policy::Policy;

/// Those that are shipped, and one that tells only what is no chance, however little is usual.
pub(crate) fn policies() -> Vec<Policy> {
    let sure = Policy {
        name: "sure".to_owned(),
        guards: Guards {
            page_min_bad: 0,
            ticket_min_bad: 0,
            volume_weight: false,
            confidence: true,
            ..Guards::default()
        },
        ..Policy::hourly()
    };
    [Policy::shipped(), vec![sure]].concat()
}
