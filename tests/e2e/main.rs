//! The real binary, from outside.

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
