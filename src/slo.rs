//! Judging: error budgets, burn rates, alerts. Pure functions of counts and a passed-in time.

pub mod alert;
pub mod policy;
pub mod state;
