//! One request that a number is made of, and where to read more about it.

use super::Timestamp;

/// A request whose trace is exported. The newer one is the greater, and of two of one moment always the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exemplar {
    /// When it ended.
    pub at: Timestamp,
    /// How long it took, in microseconds.
    pub duration_us: u64,
    /// Its trace.
    pub trace_id: u128,
    /// The span of our serving it.
    pub span_id: u64,
}
