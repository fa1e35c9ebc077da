//! The names that traffic depends on, as their servers see them.

use serde::{Deserialize, Serialize};

use crate::model::Timestamp;

/// One name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameView {
    /// The name.
    pub name: String,
    /// What uses it: `route web`, `probe front`, `upstream checkout`.
    pub uses: Vec<String>,
    /// When it was last looked at; `null`: not yet.
    pub looked_at: Option<Timestamp>,
    /// What each resolver says.
    pub resolvers: Vec<SaidView>,
    /// What each authority for the zone says; empty: none was found.
    pub authorities: Vec<SaidView>,
    /// Addresses that the authority gave within the last seven days and no longer does.
    pub dropped: Vec<DroppedView>,
}

/// What one server says of a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaidView {
    /// The server.
    pub server: String,
    /// The addresses that it gives.
    pub addresses: Vec<String>,
    /// For how many seconds they may be kept; `null`: there is no record.
    pub ttl_s: Option<u32>,
    /// The response code, like `NOERROR`; `null`: it did not answer.
    pub rcode: Option<String>,
    /// Whether it answers for its own zone.
    pub authoritative: bool,
    /// Extended errors (RFC 8914): the code, and what the server says of it. Untrusted.
    pub extended_errors: Vec<(u16, String)>,
    /// How long it took to answer for both families, in microseconds.
    pub rtt_us: u64,
    /// Why it did not answer; `null`: it did.
    pub error: Option<String>,
    /// For how many seconds it has given an address that it should have let go of; `null`: it does not.
    pub stale_s: Option<u64>,
    /// Whether it says itself that it should have let go of its answer.
    pub kept_too_long: bool,
}

/// An address that a name no longer leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DroppedView {
    /// The address.
    pub address: String,
    /// When it was seen to be gone: a round late at most.
    pub at: Timestamp,
    /// For how many seconds its last answer might be kept.
    pub ttl_s: u32,
    /// For how many seconds nobody should have gone by it; `null`: one still may.
    pub past_s: Option<u64>,
    /// Connections that clients made to it after that.
    pub connections: u64,
    /// Our own connections that are kept open to it.
    pub kept: u64,
}
