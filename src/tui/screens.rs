//! The screens, one file each.

pub(crate) mod help;
pub(crate) mod route;
pub(crate) mod triage;
