//! One configuration, compiled: what every worker reads while serving, swapped whole on reload.

use std::sync::Arc;

use rustc_hash::FxHashMap;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use rustls::server::ProducesTickets;

use super::balance::Shares;
use super::config::{Config, HostHeader, Limits, Network, Route, Timeouts, Upstream};
use super::gate::{Gate, GateCount};
use super::health::{Checked, Standing};
use super::limit::{self, LimitCount};
use super::shown::{Shown, ShownError};
use crate::clock::Tick;
use crate::model::{Directory, EndpointKey, Full, RouteKey};
use crate::net::connect::Target;
use crate::net::tls::{self, TlsError};
use crate::routing::matcher::{Listeners, Matcher};

/// Why a configuration cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Trust roots.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// What listeners show, and how they judge clients.
    #[error(transparent)]
    Shown(#[from] ShownError),
    /// An endpoint's or upstream's name cannot be verified by TLS.
    #[error("upstream `{upstream}`: `{name}` is not a name that TLS can verify")]
    ServerName {
        /// The upstream.
        upstream: String,
        /// The name.
        name: String,
    },
    /// Too many names.
    #[error(transparent)]
    Full(#[from] Full),
}

/// One configuration, compiled.
#[derive(Debug)]
pub struct Generation {
    pub(super) matcher: Matcher,
    /// By name; `None` while no route tells listeners apart, so that nothing is looked up for nothing.
    listener_places: Option<FxHashMap<String, Listeners>>,
    pub(super) routes: Vec<RouteEntry>,
    pub(super) upstreams: Vec<UpstreamEntry>,
    pub(super) limits: Limits,
    pub(super) rate_limits: limit::Limits,
    pub(super) trusted_proxies: Vec<Network>,
    /// Names of the listeners.
    listeners: Vec<String>,
    /// Names of the listeners that expect a PROXY header.
    preambles: Vec<String>,
    /// Whether a route answers some clients only.
    pub(super) guarded: bool,
    shown: Arc<Shown>,
}

/// A route as the request path needs it.
#[derive(Debug)]
pub(super) struct RouteEntry {
    pub(super) key: RouteKey,
    pub(super) route: Route,
    /// Its place in [`Generation::upstreams`]; `None`: it redirects.
    pub(super) upstream: Option<usize>,
    /// Places of its limits in [`Generation::rate_limits`].
    pub(super) rate_limits: Box<[usize]>,
}

/// An upstream as the request path needs it.
#[derive(Debug)]
pub(super) struct UpstreamEntry {
    pub(super) upstream: Upstream,
    pub(super) endpoints: Vec<EndpointEntry>,
    /// Who may go to it; `None`: everybody.
    pub(super) gate: Option<Arc<Gate>>,
    pub(super) shares: Shares,
}

/// An endpoint as the request path needs it.
#[derive(Debug)]
pub(super) struct EndpointEntry {
    pub(super) key: EndpointKey,
    /// As configured, for logs.
    pub(super) address: String,
    /// What the Host header says when the route wants the endpoint's.
    pub(super) authority: String,
    pub(super) target: Target,
    /// What its health checks say; `None`: it has none.
    pub(super) standing: Option<Arc<Standing>>,
}

impl Generation {
    /// Compiles `config`: reads certificates and roots, gives keys to new names.
    ///
    /// # Errors
    /// When a certificate cannot be used; nothing is changed then but the directory's names.
    pub fn build(
        config: &Config,
        directory: &mut Directory,
        ticketer: &Arc<dyn ProducesTickets>,
    ) -> Result<Self, BuildError> {
        let upstreams = config
            .upstreams
            .iter()
            .map(|upstream| UpstreamEntry::build(upstream, directory))
            .collect::<Result<Vec<_>, _>>()?;
        let mut routes = Vec::with_capacity(config.routes.len());
        for route in &config.routes {
            let named = |entry: &UpstreamEntry| entry.upstream.name == route.upstream;
            // The configuration's resolver refuses dangling references.
            let upstream = upstreams.iter().position(named);
            let place = |name: &String| config.rate_limits.iter().position(|it| it.name == *name);
            routes.push(RouteEntry {
                rate_limits: route.rate_limits.iter().filter_map(place).collect(),
                key: directory.route(&route.id)?,
                route: route.clone(),
                upstream,
            });
        }
        let listeners_differ = config.routes.iter().any(|it| !it.listeners.is_empty());
        let named = config.listeners.iter().enumerate();
        let places = named.map(|(index, it)| (it.name.clone(), Listeners::one(index)));
        let expecting = config.listeners.iter().filter(|it| it.proxy_protocol);
        Ok(Self {
            matcher: Matcher::new(&config.rules()),
            listener_places: listeners_differ.then(|| places.collect()),
            routes,
            upstreams,
            limits: config.limits,
            rate_limits: limit::Limits::new(&config.rate_limits),
            trusted_proxies: config.trusted_proxies.clone(),
            guarded: config.routes.iter().any(Route::is_guarded),
            listeners: config.listeners.iter().map(|it| it.name.clone()).collect(),
            preambles: expecting.map(|it| it.name.clone()).collect(),
            shown: Arc::new(Shown::build(config, ticketer)?),
        })
    }

    /// The listener `name` as the matcher knows it.
    pub(super) fn listener_place(&self, name: &str) -> Listeners {
        match &self.listener_places {
            None => Listeners::ALL,
            // One that is being closed by a reload is in no route's list.
            Some(places) => places.get(name).copied().unwrap_or(Listeners::NONE),
        }
    }

    /// Whether a connection by the listener `name` begins with a PROXY header.
    pub(super) fn expects_preamble(&self, name: &str) -> bool {
        self.preambles.iter().any(|it| it == name)
    }

    /// Whether it has a listener `name`.
    pub(super) fn has_listener(&self, name: &str) -> bool {
        self.listeners.iter().any(|it| it == name)
    }

    /// What its listeners show at first.
    pub fn shown(&self) -> &Arc<Shown> {
        &self.shown
    }

    /// What each rate limit has come to.
    pub fn limit_counts(&self) -> impl Iterator<Item = LimitCount<'_>> {
        self.rate_limits.counts()
    }

    /// Takes over what `before` knows: about the endpoints that both check, so that a reload does not send traffic to one
    /// that is known to be down, how much is used up of the rate limits that both have, and how the gates of upstreams
    /// stand.
    pub fn adopt(&mut self, before: &Self) {
        self.rate_limits.adopt(&before.rate_limits);
        for entry in &mut self.upstreams {
            let same = |it: &&UpstreamEntry| it.upstream.name == entry.upstream.name;
            let known = before.upstreams.iter().find(same);
            // What was found out about other endpoints says nothing of these.
            let places =
                |it: &UpstreamEntry| it.endpoints.iter().map(|it| it.key).collect::<Vec<_>>();
            let stays = known.is_some_and(|it| places(it) == places(entry));
            let known = known.and_then(|it| it.gate.as_ref());
            if let (Some(own), Some(known)) = (&mut entry.gate, known) {
                if stays && own.goes_by(known) {
                    *own = Arc::clone(known);
                } else {
                    own.carry(known);
                }
            }
        }
        let mut known = FxHashMap::default();
        for endpoint in before.upstreams.iter().flat_map(|it| &it.endpoints) {
            known.extend(endpoint.standing.as_ref().map(|it| (endpoint.key, it)));
        }
        for endpoint in self.upstreams.iter_mut().flat_map(|it| &mut it.endpoints) {
            if let (Some(own), Some(known)) = (&mut endpoint.standing, known.get(&endpoint.key)) {
                *own = Arc::clone(known);
            }
        }
    }

    /// How the gate of every upstream stands that has one.
    pub fn gates(&self, now: Tick) -> impl Iterator<Item = GateCount> {
        let gates = self.upstreams.iter();
        gates.filter_map(move |it| Some(it.gate.as_ref()?.count(&it.upstream.name, now)))
    }

    /// Every endpoint that has health checks, and what they found.
    pub fn standings(&self) -> impl Iterator<Item = (EndpointKey, Checked)> {
        let endpoints = self.upstreams.iter().flat_map(|it| &it.endpoints);
        endpoints.filter_map(|endpoint| Some((endpoint.key, endpoint.standing.as_ref()?.checked())))
    }
}

impl UpstreamEntry {
    fn build(upstream: &Upstream, directory: &mut Directory) -> Result<Self, BuildError> {
        let mut client: Option<Arc<ClientConfig>> = None;
        let mut endpoints = Vec::with_capacity(upstream.endpoints.len());
        for endpoint in &upstream.endpoints {
            let address = endpoint.to_string();
            let tls = if endpoint.tls {
                let name = upstream.tls.server_name.as_ref().unwrap_or(&endpoint.host);
                let verified = ServerName::try_from(name.clone()).ok();
                let verified = verified.ok_or_else(|| BuildError::ServerName {
                    upstream: upstream.name.clone(),
                    name: name.clone(),
                })?;
                let config = match &client {
                    Some(config) => Arc::clone(config),
                    None => {
                        tls::client_config(upstream.tls.roots.as_deref(), upstream.tls.insecure)?
                    }
                };
                client = Some(Arc::clone(&config));
                Some((config, verified))
            } else {
                None
            };
            endpoints.push(EndpointEntry {
                key: directory.endpoint(&upstream.name, &address)?,
                authority: address
                    .split_once("://")
                    .map_or("", |(_, authority)| authority)
                    .to_owned(),
                address,
                standing: upstream.health.as_ref().map(|_| Arc::default()),
                target: Target {
                    host: endpoint.host.clone(),
                    port: endpoint.port,
                    tls,
                },
            });
        }
        let weights = upstream.endpoints.iter().map(|it| it.weight);
        let addresses = endpoints.iter().map(|it| it.address.as_str());
        Ok(Self {
            shares: Shares::new(addresses.zip(weights)),
            gate: upstream.breaker.as_ref().map(|it| Arc::new(Gate::new(it))),
            upstream: upstream.clone(),
            endpoints,
        })
    }
}

impl RouteEntry {
    /// How long one attempt may take of a request that may be repeated.
    pub(super) fn timeouts_of_attempt(&self) -> Timeouts {
        let timeouts = self.route.timeouts;
        let per_try = self.route.retry.as_ref().and_then(|retry| retry.per_try);
        Timeouts {
            first_byte: per_try.map_or(timeouts.first_byte, |it| it.min(timeouts.first_byte)),
            ..timeouts
        }
    }

    /// The Host header the upstream sees.
    pub(super) fn host<'a>(&self, client: &'a [u8], endpoint: &'a EndpointEntry) -> &'a [u8] {
        match self.route.host_header {
            HostHeader::Client => client,
            HostHeader::Endpoint => endpoint.authority.as_bytes(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(health: &str, directory: &mut Directory) -> Generation {
        let text = format!(
            "[[listener]]\nname = 'l'\naddress = '127.0.0.1:0'\n\
             [[upstream]]\nname = 'u'\nendpoints = ['http://a', 'http://b']\n{health}\n"
        );
        let read = crate::config::parse("t", &text, std::path::Path::new(""), &|_| None);
        let tickets = tls::ticketer().unwrap();
        Generation::build(&read.unwrap().proxy, directory, &tickets).unwrap()
    }

    #[test]
    fn a_reload_does_not_forget_which_endpoints_are_down() {
        let mut directory = Directory::default();
        let before = built("health.probe = 'tcp'", &mut directory);
        assert_eq!(before.standings().count(), 2);
        let standing = before.upstreams[0].endpoints[1].standing.as_ref().unwrap();
        standing.set(false);

        let mut after = built("health = { probe = 'tcp', fall = 9 }", &mut directory);
        assert!(after.standings().all(|(_, checked)| checked.up));
        after.adopt(&before);
        let up: Vec<bool> = after.standings().map(|(_, checked)| checked.up).collect();
        assert_eq!(up, [true, false]);

        let mut unchecked = built("", &mut directory);
        unchecked.adopt(&after);
        assert_eq!(unchecked.standings().count(), 0);
    }
}
