//! Measuring: observations become counts, and counts become what happened over time.

pub mod blame;
pub mod composite;
pub mod recorder;
pub mod ring;
pub mod shares;
pub mod slicer;
