//! Judging: error budgets, burn rates, alerts. Pure functions of counts and a passed-in time.

pub mod alert;
pub mod attribution;
pub mod backtest;
pub mod booking;
pub mod budget;
pub mod burn;
pub mod engine;
pub mod forecast;
pub mod guards;
pub mod incident;
pub mod outage;
pub mod policy;
pub mod propose;
pub mod score;
pub mod silence;
pub mod simulate;
pub mod slowdown;
pub mod state;
pub mod usual;
pub mod whatif;
