//! Asking: every name, of every resolver, and of the authority for its zone.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use hickory_proto::rr::{RData, RecordType};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::{Authority, Config, Plan};
use crate::clock::{Clock as _, SystemClock, Tick};
use crate::net::dns::{self, decode};

/// For one question.
const PATIENCE: Duration = Duration::from_secs(2);
/// Names that are asked for at once.
const AT_ONCE: usize = 16;
/// Servers that are asked for a name, of resolvers and of authorities each.
const MOST_SERVERS: usize = 4;
/// Aliases that are followed.
const MOST_ALIASES: usize = 8;
/// How long the servers of a zone are remembered.
const ZONE_LIFE: Duration = Duration::from_secs(300);

/// What one name's servers say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// The name.
    pub name: String,
    /// What each resolver says.
    pub resolvers: Vec<Said>,
    /// What each authority for the zone says; empty when none is known.
    pub authorities: Vec<Said>,
}

/// What one server says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// The server.
    pub server: SocketAddr,
    /// From the first question to the last answer, in microseconds.
    pub rtt_us: u64,
    /// What it says, or why it says nothing.
    pub answer: Result<Answer, String>,
}

/// What a server says of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The response code, like `NOERROR`.
    pub rcode: String,
    /// Whether it answers for its own zone.
    pub authoritative: bool,
    /// The addresses of both families.
    pub addresses: BTreeSet<IpAddr>,
    /// For how many seconds the answer may be kept: the lowest of its records'.
    pub ttl_s: Option<u32>,
    /// Extended errors (RFC 8914).
    pub extended_errors: Vec<(u16, String)>,
    /// Where the last alias leads when there is no address of it in the answer.
    pub alias: Option<String>,
    /// The serial number of the zone that the server answers for.
    pub serial: Option<u32>,
}

/// Looks and tells, until nobody listens any more. A new plan is looked at at once.
pub async fn run(
    mut plans: watch::Receiver<Plan>,
    tell: mpsc::Sender<Vec<Sight>>,
    clock: SystemClock,
) {
    let mut zones = Zones::default();
    loop {
        let plan = plans.borrow_and_update().clone();
        if plan.config.enabled {
            let seen = look(&plan, &mut zones, clock).await;
            if tell.send(seen).await.is_err() {
                return;
            }
        }
        let every = plan.config.every;
        if let Ok(Err(_gone)) = tokio::time::timeout(every, plans.changed()).await {
            return;
        }
    }
}

/// The servers for each name and for what its aliases lead to, and when they were found. No more than there are names and
/// aliases that are followed; each is forgotten after [`ZONE_LIFE`].
#[derive(Debug, Default)]
struct Zones(HashMap<String, (Tick, Vec<SocketAddr>)>);

/// What is known of zones while one name is looked at: what was known before, and what was found since.
struct Known<'a> {
    config: &'a Config,
    before: &'a HashMap<String, Vec<SocketAddr>>,
    found: HashMap<String, Vec<SocketAddr>>,
}

impl Known<'_> {
    /// Who answers for a name; looked for when nobody knows.
    async fn authorities(&mut self, name: &str) -> Vec<SocketAddr> {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        let known = self.before.get(&name).or_else(|| self.found.get(&name));
        if let Some(known) = known {
            return known.clone();
        }
        let servers = authorities(&name, self.config).await;
        // Who could not be found a moment ago may be found in the next round.
        if !servers.is_empty() {
            self.found.insert(name, servers.clone());
        }
        servers
    }
}

async fn look(plan: &Plan, zones: &mut Zones, clock: SystemClock) -> Vec<Sight> {
    let mut config = plan.config.clone();
    if config.resolvers.is_empty() {
        config.resolvers = of_the_system().await;
    }
    config.resolvers.truncate(MOST_SERVERS);
    let config = Arc::new(config);
    let now = clock.tick();
    zones.0.retain(|_, (at, _)| now < at.plus(ZONE_LIFE));
    let before = zones.0.iter();
    let before = before.map(|(name, (_, servers))| (name.clone(), servers.clone()));
    let before: Arc<HashMap<_, _>> = Arc::new(before.collect());
    let mut waiting = plan.names.iter();
    let mut asking = JoinSet::new();
    let mut seen = Vec::with_capacity(plan.names.len());
    loop {
        while asking.len() < AT_ONCE {
            let Some(name) = waiting.next() else { break };
            let (name, config) = (name.name.clone(), Arc::clone(&config));
            let before = Arc::clone(&before);
            asking.spawn(async move {
                let mut known = Known {
                    config: &config,
                    before: &before,
                    found: HashMap::new(),
                };
                let sight = look_at(name, &mut known, clock).await;
                (sight, known.found)
            });
        }
        match asking.join_next().await {
            Some(Ok((sight, found))) => {
                let found = found.into_iter();
                zones
                    .0
                    .extend(found.map(|(name, servers)| (name, (now, servers))));
                seen.push(sight);
            }
            // A name whose look-up panicked is one that nothing is known of.
            Some(Err(_)) => {}
            None => break,
        }
    }
    seen.sort_by(|a, b| a.name.cmp(&b.name));
    seen
}

/// Whom this system asks.
async fn of_the_system() -> Vec<SocketAddr> {
    // Without the file there is nobody to ask.
    let text = tokio::fs::read_to_string("/etc/resolv.conf").await;
    servers_in(&text.unwrap_or_default())
}

fn servers_in(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let server = line.strip_prefix("nameserver")?.trim();
        // Of an address with a zone only the address is understood here.
        let ip: IpAddr = server.split('%').next()?.parse().ok()?;
        Some(SocketAddr::new(ip, 53))
    });
    servers.collect()
}

/// What everybody says of one name.
async fn look_at(name: String, known: &mut Known<'_>, clock: SystemClock) -> Sight {
    let mut resolvers = Vec::with_capacity(known.config.resolvers.len());
    for server in &known.config.resolvers {
        resolvers.push(ask(*server, &name, true, clock).await);
    }
    let servers = known.authorities(&name).await;
    let mut said = Vec::with_capacity(servers.len());
    for server in servers {
        said.push(ask_through(server, &name, known, clock).await);
    }
    Sight {
        name,
        resolvers,
        authorities: said,
    }
}

/// What an authority says of a name; of an alias, what the authority for where it leads says.
async fn ask_through(
    server: SocketAddr,
    name: &str,
    known: &mut Known<'_>,
    clock: SystemClock,
) -> Said {
    let mut said = ask(server, name, false, clock).await;
    let serial = match &said.answer {
        Ok(_) => serial(server, name).await,
        Err(_) => None,
    };
    let mut lowest = None;
    for _ in 0..MOST_ALIASES {
        let Ok(answer) = &said.answer else { break };
        lowest = [lowest, answer.ttl_s].into_iter().flatten().min();
        let Some(alias) = answer.alias.clone() else {
            break;
        };
        let Some(next) = known.authorities(&alias).await.first().copied() else {
            // An alias alone says nothing of addresses: neither which, nor that there are none.
            said.answer = Err(format!("no authority for its alias {alias} was found"));
            break;
        };
        let further = ask(next, &alias, false, clock).await;
        said = Said {
            server,
            rtt_us: said.rtt_us.saturating_add(further.rtt_us),
            answer: further.answer,
        };
    }
    if let Some(alias) = said.answer.as_ref().ok().and_then(|it| it.alias.as_ref()) {
        said.answer = Err(format!(
            "its aliases lead on to {alias}, and no further than {MOST_ALIASES} are followed"
        ));
    }
    if let Ok(answer) = &mut said.answer {
        answer.ttl_s = [lowest, answer.ttl_s].into_iter().flatten().min();
        answer.serial = serial;
    }
    said
}

/// The serial number of the zone that `name` is in, as its authority gives it: as the answer for a zone's own name, otherwise beside
/// the answer that there is none (RFC 2308, 2.2).
async fn serial(server: SocketAddr, name: &str) -> Option<u32> {
    let asked = dns::question(dns::name(name)?, RecordType::SOA, false);
    let answer = tokio::time::timeout(PATIENCE, dns::ask(server, &asked)).await;
    let answer = answer.ok()?.ok()?;
    let mut records = answer.answers.iter().chain(&answer.authorities);
    records.find_map(|record| match &record.data {
        RData::SOA(soa) => Some(soa.serial),
        _ => None,
    })
}

/// Asks one server for a name's addresses of both families.
async fn ask(server: SocketAddr, name: &str, recurse: bool, clock: SystemClock) -> Said {
    let began = clock.tick();
    let mut whole = Answer::default();
    let mut failed = None;
    for kind in [RecordType::A, RecordType::AAAA] {
        match one(server, name, kind, recurse).await {
            Ok(answer) => whole.add(answer),
            Err(why) => {
                failed = Some(why);
                break;
            }
        }
    }
    if !whole.addresses.is_empty() {
        whole.alias = None;
    }
    Said {
        server,
        rtt_us: clock.tick().micros_since(began),
        answer: failed.map_or(Ok(whole), Err),
    }
}

async fn one(
    server: SocketAddr,
    name: &str,
    kind: RecordType,
    recurse: bool,
) -> Result<Answer, String> {
    let name = dns::name(name).ok_or("it is no name that can be asked for")?;
    let asked = dns::question(name, kind, recurse);
    let answer = tokio::time::timeout(PATIENCE, dns::ask(server, &asked)).await;
    let answer = answer
        .map_err(|_late| format!("no answer within {} s", PATIENCE.as_secs()))?
        .map_err(|error| error.to_string())?;
    let seen = decode(&answer);
    let records = || answer.answers.iter().map(|record| &record.data);
    let addresses = records().filter_map(|data| match data {
        RData::A(ip) => Some(IpAddr::V4(ip.0)),
        RData::AAAA(ip) => Some(IpAddr::V6(ip.0)),
        _ => None,
    });
    let mut aliases = records().filter_map(|data| match data {
        RData::CNAME(name) => Some(name.0.to_ascii()),
        _ => None,
    });
    Ok(Answer {
        addresses: addresses.collect(),
        ttl_s: seen.answers.iter().map(|record| record.ttl).min(),
        alias: aliases.next_back(),
        rcode: seen.rcode,
        authoritative: seen.authoritative,
        extended_errors: seen.extended_errors,
        serial: None,
    })
}

impl Answer {
    /// Whether the server says that it should have let go of it.
    pub fn is_kept_too_long(&self) -> bool {
        let mut codes = self.extended_errors.iter().map(|(code, _)| *code);
        codes.any(|code| matches!(code, 3 | 19))
    }

    /// Adds what was answered of the other family.
    fn add(&mut self, other: Self) {
        let Self {
            rcode,
            authoritative,
            addresses,
            ttl_s,
            extended_errors,
            alias,
            serial: _,
        } = other;
        self.addresses.extend(addresses);
        self.ttl_s = [self.ttl_s, ttl_s].into_iter().flatten().min();
        self.authoritative |= authoritative;
        for error in extended_errors {
            if !self.extended_errors.contains(&error) {
                self.extended_errors.push(error);
            }
        }
        self.alias = self.alias.take().or(alias);
        if self.rcode.is_empty() || self.rcode == "NOERROR" {
            self.rcode = rcode;
        }
    }
}

/// Who answers for a name: as configured, or by the NS records of the nearest zone above it.
async fn authorities(name: &str, config: &Config) -> Vec<SocketAddr> {
    if let Some(known) = configured(name, &config.authorities) {
        return known.iter().take(MOST_SERVERS).copied().collect();
    }
    let Some(resolver) = config.resolvers.first() else {
        return Vec::new();
    };
    let mut zone = name.trim_end_matches('.');
    loop {
        let servers = name_servers(*resolver, zone).await;
        if !servers.is_empty() {
            return servers;
        }
        // Nobody asks the servers of a top-level domain for a name that does not exist.
        match zone.split_once('.') {
            Some((_, above)) if above.contains('.') => zone = above,
            Some(_) | None => return Vec::new(),
        }
    }
}

/// The servers of the longest zone that `name` is in.
fn configured<'a>(name: &str, authorities: &'a [Authority]) -> Option<&'a [SocketAddr]> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let holds = |authority: &&Authority| {
        let below = name.strip_suffix(authority.zone.as_str());
        below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let authorities = authorities.iter().filter(holds);
    let longest = authorities.max_by_key(|authority| authority.zone.len());
    longest.map(|authority| authority.servers.as_slice())
}

/// The addresses of a zone's name servers; none when it is no zone.
async fn name_servers(resolver: SocketAddr, zone: &str) -> Vec<SocketAddr> {
    let Some(asked) = dns::name(zone) else {
        return Vec::new();
    };
    let asked = dns::question(asked, RecordType::NS, true);
    let answer = tokio::time::timeout(PATIENCE, dns::ask(resolver, &asked)).await;
    let Ok(Ok(answer)) = answer else {
        return Vec::new();
    };
    let named = answer
        .answers
        .iter()
        .filter_map(|record| match &record.data {
            RData::NS(name) => Some(name.0.to_ascii()),
            _ => None,
        });
    let mut servers = Vec::new();
    for name in named.take(MOST_SERVERS) {
        // Those of IPv4 come first: one of IPv6 is asked where there is no other, whether it can be reached from here or not.
        let looked = dns::lookup(resolver, &name, dns::Kinds::Any);
        if let Ok(Ok(looked)) = tokio::time::timeout(PATIENCE, looked).await {
            let first = looked.addresses.first();
            servers.extend(first.map(|(ip, _)| SocketAddr::new(*ip, 53)));
        }
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_zone_answers_for_a_name() {
        let zone = |zone: &str, port| Authority {
            zone: zone.to_owned(),
            servers: vec![SocketAddr::from(([127, 0, 0, 1], port))],
        };
        let zones = [zone("example", 1), zone("shop.example", 2)];
        for (name, port) in [
            ("shop.example", Some(2)),
            ("www.Shop.example.", Some(2)),
            ("workshop.example", Some(1)),
            ("other.test", None),
        ] {
            let found = configured(name, &zones).map(|servers| servers[0].port());
            assert_eq!(found, port, "{name}");
        }
    }

    #[test]
    fn the_systems_resolvers_are_read_from_its_file() {
        let text =
            "# none\nsearch a\nnameserver 192.0.2.53\nnameserver fe80::1%eth0\nnameserver x\n";
        let servers: Vec<String> = servers_in(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.53:53", "[fe80::1]:53"]);
    }
}
