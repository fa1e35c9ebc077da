//! The instrumented reverse proxy.

pub mod config;
