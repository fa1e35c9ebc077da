//! What spent an SLO's budget, spell by spell.

use serde::{Deserialize, Serialize};

use super::SpentPart;
use crate::model::{Event, Timestamp};

/// What spent an SLO's budget, from its history.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spending {
    /// The SLO.
    pub slo: String,
    /// When this was read.
    pub at: Timestamp,
    /// Bad events that the window's valid events allow, those of missing history at the observed rate among them.
    pub allowed: f64,
    /// Bad events in the window.
    pub bad: u64,
    /// The spells that spent most, the most first, at most 20.
    pub spells: Vec<Spell>,
    /// Share of the budget that was spent outside of them; `null` when nothing was valid.
    pub rest_ratio: Option<f64>,
    /// What was left of the budget at the end of each column, from its beginning to now; `null` before the first
    /// valid event.
    pub left: Vec<Option<f64>>,
    /// The start of the first column.
    pub start: Timestamp,
    /// A column's width in seconds.
    pub step_s: u64,
    /// What the bad events were, as in [`super::SloDetail::spent`].
    #[serde(default)]
    pub parts: Vec<SpentPart>,
}

/// A time in which a budget was spent faster than it may be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spell {
    /// Its beginning.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// Bad events in it.
    pub bad: u64,
    /// Share of the window's budget that they are.
    pub ratio: f64,
    /// The change shortly before it; `null`: there was none. Not proof of anything.
    pub event: Option<Event>,
}
