//! The pieces that screens are put together from.

pub(crate) mod bars;
pub(crate) mod calendar;
pub(crate) mod changes;
pub(crate) mod digest;
pub(crate) mod health;
pub(crate) mod history;
pub(crate) mod lanes;
pub(crate) mod listing;
pub(crate) mod routes;
pub(crate) mod rule;
pub(crate) mod status;
pub(crate) mod table;
pub(crate) mod tabs;
pub(crate) mod verdict;
