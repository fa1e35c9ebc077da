//! Vestibule: an ingress observability and SLO companion with a built-in proxy and a terminal UI.
//!
//! The tree is the architecture, and its rows import only downwards (`tests/architecture.rs` holds them so):
//!
//! | row | modules | what they are |
//! | --- | --- | --- |
//! | L0 vocabulary | [`model`], [`clock`], [`catalog`] | values; no tokio, no files |
//! | L1 engines | [`sli`], [`slo`], [`triage`], [`routing`], [`snapshot`], [`generate`] | pure functions of values and a passed-in time |
//! | L2 adapters | [`net`], [`proxy`], [`probe`], [`cert`], [`names`], [`store`], [`export`], [`notify`], [`admin`], [`tui`], [`telemetry`] | sockets, files, tasks; islands that never import each other, above `net` |
//! | L3 composition | [`config`], [`app`], [`demo`], [`gameday`], [`cli`] | the only place where parts meet |
//!
//! One request's way through it: a worker of [`proxy`] accepts and routes it, forwards it, and at its end, error or
//! drop makes exactly one [`model::Observation`]. The worker's [`sli`] recorder counts it; once a second
//! [`app`] merges every worker's shard into slots, feeds the rings and [`store`], lets [`slo`] judge and
//! [`triage`] say the one sentence, and publishes one immutable [`snapshot::Snapshot`] that [`tui`], [`admin`] and
//! [`export`] read.

pub mod admin;
pub mod app;
pub mod catalog;
pub mod cert;
pub mod cli;
pub mod clock;
pub mod config;
pub mod demo;
pub mod export;
pub mod gameday;
pub mod generate;
pub mod model;
pub mod names;
pub mod net;
pub mod notify;
pub mod probe;
pub mod proxy;
pub mod routing;
pub mod sli;
pub mod slo;
pub mod snapshot;
pub mod store;
pub mod telemetry;
pub mod triage;
pub mod tui;
