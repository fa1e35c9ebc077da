//! Certificates: which there are, where they are shown, and how much of their lives is left.
//!
//! [`expiry`] is the pure part: when a certificate should have been renewed, and when that is worth a ticket or a page.
//! [`revocation`] reads what issuers have revoked. [`inventory`] looks: at files, and at what our own listeners really show for each host. [`acme`] has certificates issued
//! and renewed while we run.

pub mod acme;
pub mod expiry;
pub mod inventory;
pub mod revocation;
