//! Synthetic probes: what users would see, asked for from outside, on a schedule.
//!
//! [`schedule`] is the pure core: which slots there are and how each one ends.

pub mod schedule;
