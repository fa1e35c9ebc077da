//! The real binary, from outside.

#![allow(
    clippy::disallowed_methods,
    clippy::large_stack_arrays,
    reason = "tests keep deadlines of their own, and send pieces larger than a limit"
)]

mod blame;
mod client;
mod daemon;
mod departures;
mod http2;
mod lifecycle;
mod origin;
mod proxy;
mod terminal;
mod top;
mod wire;
