//! Alerts that speak when they should not, or too late.

use super::{Hits, Lint, Subject};
use crate::slo::policy::LASTING;

pub(super) fn check(subject: &Subject<'_>, hits: &mut Hits) {
    for item in &subject.file.slos {
        let (slo, named) = (&item.value, &item.value.policy);
        let Some(id) = &slo.id else { continue };
        let mut policies = subject.policies.iter();
        let Some(policy) = policies.find(|policy| policy.name == named.value) else {
            continue;
        };
        // Of a calendar's periods the shortest: its factors are the lowest.
        let window = slo.window.value.shortest();
        for row in policy.rows_over(window) {
            let tier = row.tier.as_str();
            if row.factor < LASTING {
                let factor = f64::from(row.factor.0) / 1_000.0;
                let message = format!(
                    "the {tier} row of policy `{}` fires at {factor} times the rate that `{}` can bear for {window}",
                    policy.name, id.value
                );
                hits.add(Lint::A501, &id.value, named.span.clone(), message)
                    .set_reason("below 1 the budget lasts");
            }
            if row.long >= window {
                let message = format!(
                    "the {tier} row of policy `{}` looks back {}, and `{}` promises {window}",
                    policy.name, row.long, id.value
                );
                hits.add(Lint::A502, &id.value, named.span.clone(), message)
                    .set_reason("not shorter than the promise");
            }
        }
    }
}
