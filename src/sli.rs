//! From observations to counts.

pub mod recorder;
