//! The vocabulary: values that every other module speaks in.
//!
//! Nothing here reads a clock, opens a file or knows how it will be shown. Counts are integers, promises are parts per
//! million, durations on records are integer microseconds.

mod about;
mod access;
mod attempt;
mod calendar;
mod certificate;
mod circuit;
mod directory;
mod durations;
mod event;
mod exemplar;
mod exponential;
mod handshake;
mod ids;
mod latency;
mod objective;
mod observation;
mod outcome;
mod probe;
mod slices;
mod slo;
mod slot;
mod spread;
mod time;
mod trace;
mod vital;
mod words;

pub use about::About;
pub use access::{AccessRecord, WriteAccessLine};
pub use attempt::{Attempt, Attempts, MAX_ATTEMPTS};
pub use calendar::{Calendar, CalendarUnit, CalendarUnitError, Period, Zone, ZoneError};
pub use certificate::CertificateFacts;
pub use circuit::CircuitPhase;
pub use directory::{Directory, Full, MAX_NAMES, NO_ROUTE};
pub use durations::{Durations, MAX_FURTHER_BOUNDS};
pub use event::{Event, EventKind, Scope};
pub use exemplar::Exemplar;
pub use exponential::{Exponential, SCALE};
pub use handshake::{Handshake, Handshakes, PreambleFailure};
pub use ids::{EndpointKey, RouteKey, SloKey};
pub use latency::{Latency, LatencyError, Percentiles};
pub use objective::{Objective, ObjectiveError};
pub use observation::{Observation, Phase, Phases, Source};
pub use outcome::{Fault, Outcome, Side};
pub use probe::{
    DnsAnswer, DnsRecord, Missed, ProbeFailure, ProbePhase, ProbePhases, ProbeRun, SlotOutcome,
    SlotRecord, StepRun, Vantage, ViewRun,
};
pub use slices::{EmptySlice, MILLION, Slices, Worth};
pub use slo::{ClientErrors, ClientErrorsError, Part, Reading, Sli, Slo, Weighing};
pub use slot::{Counts, EndpointTally, RouteSlot, Slot, Span, Tally};
pub use spread::Spread;
pub use time::{Timestamp, Window, WindowError};
pub use trace::{TraceShare, attempt_span};
pub use vital::Vital;
