//! How many requests who may make.

use crate::config::keys::{Keys, Located, Section};
use crate::config::kind::{Count, HEADER_CONDITION, LIMIT_KEY, NAME, RATE, Word};
use crate::proxy::config::{LimitKey, Rate};
use crate::routing::condition::HeaderCondition;

/// `[[rate_limit]]`
#[derive(Clone, Debug)]
pub(in crate::config) struct RateLimit {
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) key: Located<LimitKey>,
    pub(in crate::config) rate: Option<Located<Rate>>,
    pub(in crate::config) burst: Located<usize>,
    pub(in crate::config) headers: Vec<Located<HeaderCondition>>,
    pub(in crate::config) keys: Located<usize>,
    pub(in crate::config) report: Located<bool>,
}

/// Whether a limit stops anybody.
const MODES: Word<bool> = Word(&[("enforce", false), ("report", true)]);

impl Section for RateLimit {
    const TITLE: &'static str = "`[[rate_limit]]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            name: keys.required("name", &NAME, "Its unique name: routes name it in `rate_limits`, series are labelled by it."),
            key: keys.or(
                "key",
                &LIMIT_KEY,
                LimitKey::Client,
                "Who has a bucket of their own. `client`: each address, each /64 network of IPv6. `header:NAME`: each value of \
                 a header; a request without it goes by its address. `route`: each route. `all`: nobody, there is one bucket. \
                 A header can be made up by whoever sends it: check it before, or limit by `client` as well.",
            ),
            rate: keys.required(
                "rate",
                &RATE,
                "How many requests may come in the long run.",
            ),
            burst: keys.or(
                "burst",
                &Count(1..=1_000_000),
                20,
                "How many may come at once after a pause.",
            ),
            headers: keys.list(
                "headers",
                &HEADER_CONDITION,
                16,
                "every request",
                "Headers that a request must have for the limit to apply: so tiers are made, each with a limit of its own.",
            ),
            keys: keys.or(
                "keys",
                &Count(64..=4_194_304),
                65_536,
                "Keys that are remembered, 16 bytes each, rounded up to a power of two. With more of them at once those that \
                 have used up the least are forgotten, and counted in `vestibule_rate_limit_evictions_total`.",
            ),
            report: keys.or(
                "mode",
                &MODES,
                false,
                "`enforce` answers 429 what is over the limit. `report` only counts it, to see whom a limit would hit.",
            ),
        }
    }
}
