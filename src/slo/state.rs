//! How an SLO stands, in one word.

use serde::{Deserialize, Serialize};

/// How an SLO stands. Ordered from best to worst, so that the worst of several is their maximum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SloState {
    /// Burning no faster than any policy row minds.
    Ok,
    /// No valid event in the window: neither met nor missed.
    NoData,
    /// Too little history to judge by the long windows, and nothing alarming in what there is.
    Warming,
    /// A window is still over its factor, but the last five minutes do not burn: the trouble has stopped, its spend has
    /// not aged out.
    Recovering,
    /// Little of the budget is left, though it does not burn fast now.
    Low,
    /// Burning, but nobody is woken yet: only the short window of a row that pages is over its factor, or both windows
    /// of one that makes a ticket.
    Rising,
    /// Both windows of a row that pages are over its factor.
    Critical,
}

impl SloState {
    /// The state's word in JSON, labels and text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NoData => "no_data",
            Self::Warming => "warming",
            Self::Recovering => "recovering",
            Self::Low => "low",
            Self::Rising => "rising",
            Self::Critical => "critical",
        }
    }
}
