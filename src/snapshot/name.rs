//! The names that traffic depends on, as their servers see them.

use std::collections::BTreeSet;

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
    /// The lowest time to live that the authority has given since this process started, in seconds; `null`: none.
    #[serde(default)]
    pub ttl_lowest_s: Option<u32>,
    /// The highest one.
    #[serde(default)]
    pub ttl_highest_s: Option<u32>,
    /// Whether it was lowered to a tenth or less, as for a move, and left there although nothing has moved for a day.
    #[serde(default)]
    pub ttl_forgotten: bool,
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
    /// The serial number of the name's zone that it gives, of an authority; `null`: it gave none, or is a resolver.
    #[serde(default)]
    pub serial: Option<u32>,
}

/// What is known of a name, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameGauges {
    /// By what resolvers say.
    pub resolvers: SourceGauges,
    /// By what authorities say.
    pub authorities: SourceGauges,
    /// For how many seconds clients, and connections of our own, have gone by an address past its time to live.
    pub clients_s: Option<u64>,
    /// The same of connections of our own.
    pub kept_s: Option<u64>,
    /// Connections of clients to addresses past their time to live.
    pub late_connections: u64,
    /// The newest serial number of its zone, and how far the authority that is furthest behind is from it.
    pub serial: Option<(u32, u32)>,
}

/// What resolvers, or authorities, say of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceGauges {
    /// The lowest time to live.
    pub ttl_s: Option<u32>,
    /// Addresses of either family that any of them gives.
    pub ipv4: u64,
    /// The same of the other.
    pub ipv6: u64,
    /// Servers that answered, and with nothing stale.
    pub answered: u64,
    /// Servers whose answer is stale.
    pub stale: u64,
    /// Servers that did not answer.
    pub failed: u64,
    /// How long the slowest that answered took, in microseconds.
    pub slowest_us: Option<u64>,
    /// The longest that one has given an address past its time to live, in seconds.
    pub stale_s: Option<u64>,
}

impl NameGauges {
    /// By the label of the source.
    pub fn by_source(&self) -> [(&'static str, &SourceGauges); 2] {
        [
            ("resolver", &self.resolvers),
            ("authority", &self.authorities),
        ]
    }

    /// For how many seconds somebody has gone by an old address, by whom; 0: nobody does.
    pub fn stale(&self) -> [(&'static str, u64); 3] {
        [
            ("resolver", self.resolvers.stale_s.unwrap_or(0)),
            ("clients", self.clients_s.unwrap_or(0)),
            ("connections", self.kept_s.unwrap_or(0)),
        ]
    }
}

impl NameView {
    /// The same in numbers.
    pub fn gauges(&self) -> NameGauges {
        let past = |of: fn(&DroppedView) -> u64| {
            let by = self.dropped.iter().filter(|it| of(it) > 0);
            by.filter_map(|it| it.past_s).max()
        };
        let late = self.dropped.iter().filter(|it| it.past_s.is_some());
        NameGauges {
            resolvers: SourceGauges::of(&self.resolvers),
            authorities: SourceGauges::of(&self.authorities),
            clients_s: past(|it| it.connections),
            kept_s: past(|it| it.kept),
            late_connections: late.map(|it| it.connections).sum(),
            serial: serials(self.authorities.iter().filter_map(|it| it.serial)),
        }
    }
}

impl SourceGauges {
    fn of(said: &[SaidView]) -> Self {
        let addresses: BTreeSet<&str> = said
            .iter()
            .flat_map(|it| it.addresses.iter().map(String::as_str))
            .collect();
        let ipv6 = addresses.iter().filter(|it| it.contains(':')).count() as u64;
        let is_stale = |it: &&SaidView| it.stale_s.is_some() || it.kept_too_long;
        let answered = || said.iter().filter(|it| it.error.is_none());
        let stale = answered().filter(is_stale).count() as u64;
        Self {
            ttl_s: said.iter().filter_map(|it| it.ttl_s).min(),
            ipv4: addresses.len() as u64 - ipv6,
            ipv6,
            answered: answered().count() as u64 - stale,
            stale,
            failed: said.len() as u64 - answered().count() as u64,
            slowest_us: answered().map(|it| it.rtt_us).max(),
            stale_s: said.iter().filter_map(|it| it.stale_s).max(),
        }
    }
}

/// The newest of some serial numbers, and how far the oldest is behind it. They go in a circle (RFC 1982): of two, the newer is the
/// one that is less than half of it ahead.
fn serials(mut all: impl Iterator<Item = u32>) -> Option<(u32, u32)> {
    let first = all.next()?;
    let (mut newest, mut oldest) = (first, first);
    let is_newer = |a: u32, b: u32| a != b && a.wrapping_sub(b) < 1 << 31;
    for serial in all {
        if is_newer(serial, newest) {
            newest = serial;
        }
        if is_newer(oldest, serial) {
            oldest = serial;
        }
    }
    Some((newest, newest.wrapping_sub(oldest)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_go_in_a_circle() {
        for (all, expected) in [
            (&[][..], None),
            (&[7], Some((7, 0))),
            (&[7, 9, 8], Some((9, 2))),
            (&[u32::MAX, 3], Some((3, 4))),
        ] {
            assert_eq!(serials(all.iter().copied()), expected, "{all:?}");
        }
    }
}
