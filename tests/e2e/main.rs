//! The real binary, from outside.

#![allow(
    clippy::disallowed_methods,
    clippy::format_push_string,
    clippy::large_stack_arrays,
    clippy::too_many_lines,
    dropping_copy_types,
    reason = "tests keep deadlines of their own, send pieces larger than a limit, and tell one story in one place"
)]

mod acme;
mod adversary;
mod alerts;
mod balance;
mod blame;
mod bodies;
mod breaker;
mod certs;
mod client;
mod composites;
mod daemon;
mod departures;
mod export;
mod gameday;
mod harness;
mod health;
mod hidden;
mod hindsight;
mod http2;
mod lifecycle;
mod limits;
mod metrics;
mod mtls;
mod notify;
mod origin;
mod peers;
mod policy;
mod preamble;
mod promises;
mod proxy;
mod retry;
mod routing;
mod scopes;
mod slowdown;
mod synthetic;
mod terminal;
mod tls;
mod top;
mod watching;
mod websocket;
mod wire;
