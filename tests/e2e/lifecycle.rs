//! The life of a daemon, with the program as it is built: what it counts, keeps, judges, reloads, loses and says.
//!
//! Every test starts its own process on ports that the system chooses, in a directory of its own, with its own service
//! behind it; addresses come from the daemon's own snapshot. Nothing sleeps for a fixed time: what is waited for has a
//! deadline. What cannot be tried on this machine says so and is skipped, and fails instead where `VESTIBULE_CI=1`.

use crate::harness;

mod admin;
mod command;
mod contract;
mod crash;
mod demo;
mod drain;
mod exactness;
mod judgement;
pub(crate) mod origin;
pub(crate) mod prometheus;
mod reload;
