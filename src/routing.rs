//! Which route takes a request: one pure model shared by the data plane and everything that explains it.

pub mod pattern;
