//! The instrumented reverse proxy.
//!
//! A request never leaves its thread: each worker has its own runtime, listening sockets, upstream connections and
//! recorder. Its way through this folder: [`listener`] binds, `worker` accepts, `connection` guards the client's side,
//! `forward` routes and picks, `gate` says whether an upstream may be asked now, `pool` connects, `exchange` speaks to the upstream, `observe` makes the one observation. Beside it, on the control thread, [`health`] asks endpoints how they are.

mod balance;
mod certified;
pub mod config;
mod connection;
pub mod elsewhere;
mod exchange;
mod flood;
mod forward;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod gate;
pub mod generation;
mod handshake;
mod headers;
pub mod health;
mod identity;
pub mod limit;
pub mod listener;
pub mod observe;
mod pool;
mod preamble;
mod respond;
mod retry;
pub mod shown;
mod socket;
mod tunnel;
pub mod worker;
