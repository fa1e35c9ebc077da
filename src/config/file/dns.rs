//! The names that traffic depends on.

use std::net::SocketAddr;
use std::time::Duration;

use super::{HOUR, SECOND};
use crate::config::keys::{Item, Keys, Located, Section};
use crate::config::kind::{ADDRESS, DOMAIN, Flag, Time};
use crate::names::{EVERY, GRACE};

/// `[dns]`
#[derive(Clone, Debug)]
pub(in crate::config) struct Dns {
    pub(in crate::config) enabled: Located<bool>,
    pub(in crate::config) resolvers: Vec<Located<SocketAddr>>,
    pub(in crate::config) every: Located<Duration>,
    pub(in crate::config) grace: Located<Duration>,
    pub(in crate::config) authorities: Vec<Item<DnsAuthority>>,
}

impl Section for Dns {
    const TITLE: &'static str = "`[dns]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            enabled: keys.or(
                "enabled",
                &Flag,
                false,
                "Looks at the names of routes, upstreams and probes: what resolvers and the authorities for their zones say, and \
                 who still goes by what these no longer say. `vestibule names` lists them.",
            ),
            resolvers: keys.list(
                "resolvers",
                &ADDRESS,
                4,
                "those of `/etc/resolv.conf`",
                "The resolvers that users have.",
            ),
            every: keys.or(
                "every",
                &Time(SECOND..=HOUR),
                EVERY,
                "From one round of questions to the next.",
            ),
            grace: keys.or(
                "grace",
                &Time(SECOND..=HOUR),
                GRACE,
                "How long after a time to live has ended somebody who still goes by it is told of.",
            ),
            authorities: keys.tables(
                "authority",
                0,
                100,
                "Who answers for a zone, where its NS records do not say so from here.",
            ),
        }
    }
}

/// `[[dns.authority]]`
#[derive(Clone, Debug)]
pub(in crate::config) struct DnsAuthority {
    pub(in crate::config) zone: Option<Located<String>>,
    pub(in crate::config) servers: Vec<Located<SocketAddr>>,
}

impl Section for DnsAuthority {
    const TITLE: &'static str = "`[[dns.authority]]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            zone: keys.required(
                "zone",
                &DOMAIN,
                "The zone's name. The longest that a name is in holds.",
            ),
            servers: keys.list(
                "servers",
                &ADDRESS,
                4,
                "nobody is asked for the zone",
                "Its servers. The first that answers for the zone decides what is true.",
            ),
        }
    }
}
