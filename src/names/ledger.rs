//! What is known of each name over time, and who still goes by what it no longer says.
//!
//! Nothing here asks or reads a clock: what was seen is told, with the time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::look::{Said, Sight};
use super::{Name, Use};
use crate::model::Timestamp;
use crate::snapshot::{DroppedView, NameView, SaidView};

/// Addresses that were dropped, remembered of each name.
const MOST_DROPPED: usize = 32;
/// For how long they are.
const REMEMBERED: Duration = Duration::from_secs(7 * 86_400);
/// A connection longer ago than this says nothing about now.
const LATELY: Duration = Duration::from_secs(60);

/// Every name.
#[derive(Debug, Default)]
pub struct Ledger {
    names: BTreeMap<String, Known>,
    /// How many connections had come to each of our addresses when that was last told.
    arrived: BTreeMap<IpAddr, u64>,
}

#[derive(Debug, Default)]
struct Known {
    uses: Vec<Use>,
    looked_at: Option<Timestamp>,
    resolvers: Vec<Said>,
    authorities: Vec<Said>,
    /// What the authority says, the last time that it said something.
    truth: Option<Truth>,
    dropped: BTreeMap<IpAddr, Dropped>,
    /// The lowest and the highest time to live that the authority has given, in seconds.
    lives: Option<(u32, u32)>,
    /// When it changed lately, the newest last.
    changes: VecDeque<Timestamp>,
    /// When its time to live last fell.
    lowered_at: Option<Timestamp>,
    /// When an address that it had dropped came back.
    returned: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Truth {
    addresses: BTreeSet<IpAddr>,
    ttl_s: u32,
}

/// An address that the authority no longer gives.
#[derive(Clone, Debug)]
struct Dropped {
    /// When that was noticed: a round late at most.
    at: Timestamp,
    /// For how many seconds its last answer might be kept.
    ttl_s: u32,
    /// Connections from clients that came to it after that.
    connections: u64,
    last: Option<Timestamp>,
    /// Our own connections that are kept open to it.
    kept: u64,
}

impl Dropped {
    /// How long nobody should have gone by it any more; `None`: one still may.
    fn past(&self, now: Timestamp) -> Option<Duration> {
        let end = self.at.plus(Duration::from_secs(self.ttl_s.into()));
        (now > end).then(|| now.since(end))
    }
}

/// Somebody who goes by what an authority dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stale {
    /// The name.
    pub name: String,
    /// What uses it.
    pub uses: Vec<Use>,
    /// Since when: the end of the time to live.
    pub since: Timestamp,
    /// Who, and for how long, in words.
    pub text: String,
}

impl Ledger {
    /// These names are looked at from now on; what is known of those that stay is kept.
    pub fn plan(&mut self, names: &[Name]) {
        let mut before = std::mem::take(&mut self.names);
        for name in names {
            let mut known = before.remove(&name.name).unwrap_or_default();
            known.uses.clone_from(&name.uses);
            self.names.insert(name.name.clone(), known);
        }
    }

    /// Takes in a round of looking; gives what is to be told of names, in words.
    pub fn absorb(&mut self, now: Timestamp, sights: Vec<Sight>) -> Vec<(Vec<Use>, String)> {
        let mut told = Vec::new();
        for sight in sights {
            let Some(known) = self.names.get_mut(&sight.name) else {
                // A reload was quicker.
                continue;
            };
            let text = known.absorb(now, sight);
            told.extend(text.map(|text| (known.uses.clone(), text)));
        }
        told
    }

    /// How many connections have come to each of our addresses since the start.
    pub fn arrivals(&mut self, now: Timestamp, totals: &[(IpAddr, u64)]) {
        for (address, total) in totals {
            let before = self.arrived.insert(*address, *total).unwrap_or(0);
            // A total never falls; a worker that is late stands where it stood.
            let new = total.saturating_sub(before);
            if new == 0 {
                continue;
            }
            let public = || self.names.values().filter(|known| known.is_public());
            // Whoever comes by another name that leads here is not stale.
            if public().any(|known| known.leads_to(*address)) {
                continue;
            }
            let public = self.names.values_mut().filter(|known| known.is_public());
            for known in public {
                if let Some(dropped) = known.dropped.get_mut(address)
                    && dropped.past(now).is_some()
                {
                    dropped.connections += new;
                    dropped.last = Some(now);
                }
            }
        }
    }

    /// Where our own kept connections lead now: the name, the address, and how many.
    pub fn kept(&mut self, connections: &[(&str, IpAddr, u64)]) {
        for (name, known) in &mut self.names {
            for (address, dropped) in &mut known.dropped {
                let to_it = connections
                    .iter()
                    .filter(|(host, to, _)| host.eq_ignore_ascii_case(name) && to == address);
                dropped.kept = to_it.map(|(_, _, count)| count).sum();
            }
        }
    }

    /// Everybody who is stale for at least `grace`, the longest first.
    pub fn stale(&self, now: Timestamp, grace: Duration) -> Vec<Stale> {
        let mut all: Vec<Stale> = self
            .names
            .iter()
            .flat_map(|(name, known)| known.stale(name, now, grace))
            .collect();
        all.sort_by_key(|stale| stale.since);
        all
    }

    /// Everything, by name.
    pub fn views(&self, now: Timestamp) -> Vec<NameView> {
        let names = self.names.iter();
        names.map(|(name, known)| known.view(name, now)).collect()
    }
}

/// A time to live that is this many times lower than it was is one that was lowered.
const LOWERED: u32 = 10;
/// For so long nothing moves before a lowered time to live is taken for forgotten.
const FORGOTTEN: Duration = Duration::from_secs(86_400);

/// Within this time a name that has changed so often takes turns, and nobody is behind on it.
const TURNING: Duration = Duration::from_secs(3_600);
const TURNS: usize = 3;

impl Known {
    fn leads_to(&self, address: IpAddr) -> bool {
        let truth = self.truth.as_ref();
        truth.is_some_and(|truth| truth.addresses.contains(&address))
    }

    /// Whether its authority gives some of many addresses, others each time.
    fn takes_turns(&self, now: Timestamp) -> bool {
        let is_recent = |at: &Timestamp| now.since(*at) < TURNING;
        self.changes
            .iter()
            .copied()
            .filter(|at| is_recent(at))
            .count()
            >= TURNS
            || self.returned.is_some_and(|at| is_recent(&at))
    }

    /// Whether its time to live was lowered, for a move as it seems, and stayed low although nothing has moved for long.
    fn has_forgotten_life(&self, now: Timestamp) -> bool {
        let low = self.truth.as_ref().zip(self.lives);
        let low = low.is_some_and(|(truth, (_, highest))| {
            !truth.addresses.is_empty() && truth.ttl_s.saturating_mul(LOWERED) <= highest
        });
        let since = self.lowered_at.max(self.changes.back().copied());
        low && since.is_some_and(|since| now.since(since) > FORGOTTEN)
    }

    /// Whether clients come to us by it.
    fn is_public(&self) -> bool {
        self.uses.iter().any(|it| match it {
            Use::Route(_) | Use::Probe(_) => true,
            Use::Upstream(_) => false,
        })
    }

    fn absorb(&mut self, now: Timestamp, sight: Sight) -> Option<String> {
        let Sight {
            name,
            resolvers,
            authorities,
        } = sight;
        self.looked_at = Some(now);
        self.resolvers = resolvers;
        self.authorities = authorities;
        self.dropped
            .retain(|_, dropped| now.since(dropped.at) < REMEMBERED);
        let said = self.authorities.iter().find_map(|said| {
            let answer = said.answer.as_ref().ok()?;
            let decides = matches!(answer.rcode.as_str(), "NOERROR" | "NXDOMAIN");
            (answer.authoritative && decides).then_some(answer)
        })?;
        let truth = Truth {
            addresses: said.addresses.clone(),
            // A name without an address has no records whose life could be known.
            ttl_s: said.ttl_s.unwrap_or(0),
        };
        for address in &truth.addresses {
            if self.dropped.remove(address).is_some() {
                self.returned = Some(now);
            }
        }
        if let Some(ttl_s) = said.ttl_s {
            let (lowest, highest) = self.lives.unwrap_or((ttl_s, ttl_s));
            self.lives = Some((lowest.min(ttl_s), highest.max(ttl_s)));
        }
        let before = self.truth.replace(truth.clone())?;
        if truth.ttl_s < before.ttl_s {
            self.lowered_at = Some(now);
        }
        let has_changed = before.addresses != truth.addresses;
        if has_changed {
            self.changes.push_back(now);
            while self.changes.len() > TURNS {
                self.changes.pop_front();
            }
        }
        for address in before.addresses.difference(&truth.addresses) {
            let dropped = Dropped {
                at: now,
                ttl_s: before.ttl_s,
                connections: 0,
                last: None,
                kept: 0,
            };
            self.dropped.insert(*address, dropped);
        }
        while self.dropped.len() > MOST_DROPPED {
            let oldest = self.dropped.iter().min_by_key(|(_, dropped)| dropped.at);
            let oldest = oldest.map(|(address, _)| *address)?;
            self.dropped.remove(&oldest);
        }
        (has_changed && !self.takes_turns(now)).then(|| {
            format!(
                "{name} leads to {} by its authority, before to {}; that may be kept for {} s",
                list(&truth.addresses),
                list(&before.addresses),
                before.ttl_s
            )
        })
    }

    /// How long a server has given out what it should have let go of; `None`: it has not.
    fn overdue(&self, said: &Said, now: Timestamp) -> Option<(IpAddr, Duration)> {
        let answer = said.answer.as_ref().ok()?;
        let dropped = self.dropped.iter();
        let given = dropped.filter(|(address, _)| answer.addresses.contains(address));
        let overdue = given.filter_map(|(address, it)| Some((*address, it.past(now)?)));
        overdue.max_by_key(|(_, past)| *past)
    }

    fn stale(&self, name: &str, now: Timestamp, grace: Duration) -> Vec<Stale> {
        let mut all = Vec::new();
        if self.takes_turns(now) {
            return all;
        }
        let mut tell = |past: Duration, text: String| {
            if past >= grace {
                all.push(Stale {
                    name: name.to_owned(),
                    uses: self.uses.clone(),
                    since: now.minus(past),
                    text,
                });
            }
        };
        for said in &self.resolvers {
            if let Some((address, past)) = self.overdue(said, now) {
                let (server, secs) = (said.server, past.as_secs());
                let text = format!(
                    "resolver {server} still gives {address} for {name}, {secs} s past its time to live"
                );
                tell(past, text);
            }
        }
        for (address, dropped) in &self.dropped {
            let Some(past) = dropped.past(now) else {
                continue;
            };
            let secs = past.as_secs();
            if dropped.last.is_some_and(|last| now.since(last) < LATELY) {
                let text = format!(
                    "clients still come to {address}, which {name} no longer leads to: {} connections, {secs} s past \
                     its time to live",
                    dropped.connections
                );
                tell(past, text);
            }
            if dropped.kept > 0 {
                let text = format!(
                    "{} of our own connections to {name} still lead to {address}, {secs} s past its time to live",
                    dropped.kept
                );
                tell(past, text);
            }
        }
        all
    }

    fn view(&self, name: &str, now: Timestamp) -> NameView {
        let said = |said: &Said| {
            let answer = said.answer.as_ref().ok();
            let addresses = answer.iter().flat_map(|it| &it.addresses);
            SaidView {
                server: said.server.to_string(),
                addresses: addresses.map(ToString::to_string).collect(),
                ttl_s: answer.and_then(|it| it.ttl_s),
                rcode: answer.map(|it| it.rcode.clone()),
                authoritative: answer.is_some_and(|it| it.authoritative),
                extended_errors: answer
                    .map(|it| it.extended_errors.clone())
                    .unwrap_or_default(),
                rtt_us: said.rtt_us,
                error: said.answer.as_ref().err().cloned(),
                stale_s: self.overdue(said, now).map(|(_, past)| past.as_secs()),
                kept_too_long: answer.is_some_and(super::look::Answer::is_kept_too_long),
                serial: answer.and_then(|it| it.serial),
            }
        };
        let dropped = self.dropped.iter().map(|(address, dropped)| DroppedView {
            address: address.to_string(),
            at: dropped.at,
            ttl_s: dropped.ttl_s,
            past_s: dropped.past(now).map(|past| past.as_secs()),
            connections: dropped.connections,
            kept: dropped.kept,
        });
        NameView {
            name: name.to_owned(),
            uses: self.uses.iter().map(Use::in_words).collect(),
            looked_at: self.looked_at,
            resolvers: self.resolvers.iter().map(said).collect(),
            authorities: self.authorities.iter().map(said).collect(),
            dropped: dropped.collect(),
            ttl_lowest_s: self.lives.map(|(lowest, _)| lowest),
            ttl_highest_s: self.lives.map(|(_, highest)| highest),
            ttl_forgotten: self.has_forgotten_life(now),
        }
    }
}

fn list(addresses: &BTreeSet<IpAddr>) -> String {
    const SHOWN: usize = 3;
    if addresses.is_empty() {
        return "nowhere".to_owned();
    }
    let shown: Vec<String> = addresses
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect();
    let shown = shown.join(", ");
    match addresses.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::names::look::Answer;

    const AT: fn(u64) -> Timestamp = Timestamp::from_secs;

    fn said(port: u16, addresses: &[&str], authoritative: bool) -> Said {
        Said {
            server: SocketAddr::from(([127, 0, 0, 1], port)),
            rtt_us: 100,
            answer: Ok(Answer {
                rcode: "NOERROR".to_owned(),
                authoritative,
                addresses: addresses.iter().map(|it| it.parse().unwrap()).collect(),
                ttl_s: Some(60),
                ..Answer::default()
            }),
        }
    }

    fn sight(resolver: &[&str], authority: &[&str]) -> Vec<Sight> {
        vec![Sight {
            name: "shop.example".to_owned(),
            resolvers: vec![said(1, resolver, false)],
            authorities: vec![said(2, authority, true)],
        }]
    }

    fn ledger() -> Ledger {
        let mut ledger = Ledger::default();
        ledger.plan(&[Name {
            name: "shop.example".to_owned(),
            uses: vec![Use::Route("shop".to_owned()), Use::Upstream("u".to_owned())],
        }]);
        ledger
    }

    const OLD: &str = "192.0.2.1";
    const NEW: &str = "192.0.2.2";

    fn told(ledger: &Ledger, now: u64, grace: u64) -> Vec<String> {
        let stale = ledger.stale(AT(now), Duration::from_secs(grace));
        stale.into_iter().map(|stale| stale.text).collect()
    }

    #[test]
    fn a_resolver_may_be_behind_for_as_long_as_the_old_time_to_live() {
        let mut ledger = ledger();
        assert_eq!(ledger.absorb(AT(1_000), sight(&[OLD], &[OLD])), []);
        let moved = ledger.absorb(AT(1_010), sight(&[OLD], &[NEW]));
        let text = "shop.example leads to 192.0.2.2 by its authority, before to 192.0.2.1; that may be kept for 60 s";
        assert_eq!(moved[0].1, text);
        assert_eq!(told(&ledger, 1_070, 0), [""; 0], "it still may");
        let late = "resolver 127.0.0.1:1 still gives 192.0.2.1 for shop.example, 42 s past its time to live";
        assert_eq!(told(&ledger, 1_112, 0), [late]);
        assert_eq!(told(&ledger, 1_112, 60), [""; 0], "within the grace");
        assert_eq!(ledger.views(AT(1_112))[0].resolvers[0].stale_s, Some(42));
        ledger.absorb(AT(1_113), sight(&[NEW], &[NEW]));
        assert_eq!(told(&ledger, 1_200, 0), [""; 0], "it has caught up");
    }

    #[test]
    fn nobody_is_behind_on_a_name_whose_authority_takes_turns() {
        let mut ledger = ledger();
        let some = |place: u64| format!("198.51.100.{place}");
        let mut told_of = 0;
        for round in 0..20 {
            let (before, now) = (some(round), some(round + 1));
            let moved = ledger.absorb(AT(1_000 + 15 * round), sight(&[&before], &[&now]));
            told_of += moved.len();
        }
        assert_eq!(
            told_of, 2,
            "from the third change within an hour on it is its way"
        );
        assert_eq!(told(&ledger, 1_400, 0), [""; 0]);

        let mut back = self::ledger();
        for (at, address) in [(1_000, OLD), (1_010, NEW), (1_020, OLD), (1_030, NEW)] {
            back.absorb(AT(at), sight(&[OLD], &[address]));
        }
        assert_eq!(told(&back, 1_200, 0), [""; 0], "it came back");
        assert_eq!(told(&back, 1_040 + 3_600, 0).len(), 1, "an hour ago");
    }

    #[test]
    fn whoever_comes_by_another_name_to_a_shared_address_is_not_behind() {
        let mut ledger = ledger();
        let name = |name: &str| Name {
            name: name.to_owned(),
            uses: vec![Use::Route("shop".to_owned())],
        };
        ledger.plan(&[name("shop.example"), name("old.example")]);
        let both = |shop: &str, old: &str| {
            let mut sights = sight(&[shop], &[shop]);
            sights.extend(sight(&[old], &[old]).into_iter().map(|it| Sight {
                name: "old.example".to_owned(),
                ..it
            }));
            sights
        };
        ledger.absorb(AT(1_000), both(OLD, OLD));
        ledger.absorb(AT(1_010), both(OLD, NEW));
        ledger.arrivals(AT(1_100), &[(OLD.parse().unwrap(), 40)]);
        assert_eq!(told(&ledger, 1_110, 0), [""; 0]);
        ledger.absorb(AT(1_120), both(NEW, NEW));
        ledger.arrivals(AT(1_300), &[(OLD.parse().unwrap(), 50)]);
        assert!(
            !told(&ledger, 1_310, 0).is_empty(),
            "nobody is led there any more"
        );
    }

    #[test]
    fn who_comes_to_an_old_address_is_counted_from_the_end_of_its_life() {
        let mut ledger = ledger();
        let (old, new) = (OLD.parse().unwrap(), NEW.parse().unwrap());
        ledger.absorb(AT(1_000), sight(&[OLD], &[OLD]));
        ledger.arrivals(AT(1_001), &[(old, 50), (new, 7)]);
        ledger.absorb(AT(1_010), sight(&[NEW], &[NEW]));
        ledger.arrivals(AT(1_050), &[(old, 80), (new, 9)]);
        assert_eq!(told(&ledger, 1_071, 0), [""; 0], "those were early enough");
        ledger.arrivals(AT(1_080), &[(old, 85), (new, 9)]);
        ledger.kept(&[("SHOP.example", old, 3), ("shop.example", new, 2)]);
        assert_eq!(
            told(&ledger, 1_081, 0),
            [
                "clients still come to 192.0.2.1, which shop.example no longer leads to: 5 connections, 11 s past its \
                 time to live",
                "3 of our own connections to shop.example still lead to 192.0.2.1, 11 s past its time to live",
            ]
        );
        ledger.kept(&[]);
        assert_eq!(told(&ledger, 1_200, 0), [""; 0], "nobody came lately");
        // Back where it was, nobody is stale.
        ledger.absorb(AT(1_210), sight(&[OLD], &[OLD]));
        ledger.arrivals(AT(1_220), &[(old, 99)]);
        assert_eq!(told(&ledger, 1_221, 0), [""; 0]);
        let view = &ledger.views(AT(1_221))[0];
        assert_eq!(view.dropped.len(), 1, "the other one");
    }

    #[test]
    fn a_life_that_was_lowered_for_a_move_is_told_when_it_is_forgotten() {
        let mut ledger = ledger();
        let seen = |ttl_s: u32, address: &str| {
            let mut seen = sight(&[address], &[address]);
            if let Ok(answer) = &mut seen[0].authorities[0].answer {
                answer.ttl_s = Some(ttl_s);
            }
            seen
        };
        let day = 86_400;
        let is_told = |ledger: &Ledger, now: u64| ledger.views(AT(now))[0].ttl_forgotten;
        ledger.absorb(AT(1_000), seen(3_600, OLD));
        ledger.absorb(AT(2_000), seen(60, OLD));
        ledger.absorb(AT(3_000), seen(60, NEW));
        assert!(!is_told(&ledger, 3_000 + day), "the move is not long ago");
        assert!(is_told(&ledger, 3_001 + day));
        let view = &ledger.views(AT(3_000))[0];
        assert_eq!(
            (view.ttl_lowest_s, view.ttl_highest_s),
            (Some(60), Some(3_600))
        );
        ledger.absorb(AT(4_000 + day), seen(1_800, NEW));
        assert!(!is_told(&ledger, 9_000 + 2 * day), "it was raised again");
    }

    #[test]
    fn a_silent_authority_changes_nothing() {
        let mut ledger = ledger();
        ledger.absorb(AT(1_000), sight(&[OLD], &[OLD]));
        let mut silent = sight(&[OLD], &[OLD]);
        silent[0].authorities[0].answer = Err("no answer".to_owned());
        assert_eq!(ledger.absorb(AT(1_010), silent), []);
        assert!(ledger.views(AT(1_011))[0].dropped.is_empty());
    }
}
