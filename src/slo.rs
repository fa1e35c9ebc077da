//! Judging: error budgets, burn rates, alerts. Pure functions of counts and a passed-in time.

pub mod alert;
pub mod budget;
pub mod burn;
pub mod engine;
pub mod forecast;
pub mod policy;
pub mod state;
