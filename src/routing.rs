//! Which route takes a request: one pure model shared by the data plane and everything that explains it.
//!
//! A request's host and path are brought into one form first ([`target`]); that form is matched ([`matcher`]) and that
//! same form is forwarded, so nothing behind us can read the request differently from how it was judged. [`explain`]
//! says the same thing the long way round: every rule, and why it lost.

pub mod condition;
pub mod explain;
pub mod expression;
pub mod matcher;
pub mod pattern;
pub mod target;
pub mod witness;
