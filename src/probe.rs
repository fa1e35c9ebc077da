//! Synthetic probes: what users would see, asked for from outside, on a schedule.
//!
//! [`schedule`] is the pure core: which slots there are and how each one ends. A [`definition`] says what a probe is,
//! [`run`] runs it once and keeps everything that was learnt up to a failure.
//!
//! A probe always opens a connection of its own: one that is kept alive hides a name that has moved, a certificate that
//! has changed and a listener that is gone.

pub mod blackbox;
pub mod definition;
mod dns;
mod grpc;
mod http;
mod icmp;
mod journey;
pub mod maintenance;
pub mod module;
pub mod prepare;
pub mod run;
pub mod runner;
pub mod schedule;
pub mod serve;
mod tcp;
mod websocket;

use std::path::PathBuf;

use definition::Definition;
use module::Module;

/// What probing is told.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Every probe; names are unique.
    pub definitions: Vec<Definition>,
    /// Manners of probing that others aim; names are unique.
    pub modules: Vec<Module>,
    /// The key that marks their requests.
    pub key_file: PathBuf,
}
