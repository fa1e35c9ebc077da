//! What could be used by somebody it is not meant for.

use std::net::{IpAddr, SocketAddr};

use super::{Hits, Lint, Subject};
use crate::config::file::Upstream;
use crate::config::keys::Located;
use crate::proxy::config::{Encoded, Endpoint, HostHeader};
use crate::routing::explain::{self, Standing};
use crate::routing::witness::Witness;

pub(super) fn check(subject: &Subject<'_>, hits: &mut Hits) {
    for item in &subject.file.upstreams {
        let Upstream {
            name, endpoints, ..
        } = &item.value;
        let name = name.as_ref().map_or("", |name| &name.value);
        for endpoint in endpoints {
            ourselves(subject, name, endpoint, hits);
            if is_metadata(&endpoint.value.host) {
                let message = format!("upstream `{name}` is at {}", endpoint.value.host);
                hits.add(Lint::S313, name, endpoint.span.clone(), message)
                    .set_reason("answers with the machine's credentials");
            }
        }
    }
    for network in &subject.file.proxy.trusted_proxies {
        if network.value.is_everything() {
            let message = format!("{} is everybody", network.value);
            hits.add(Lint::S302, "proxy", network.span.clone(), message)
                .set_reason("anyone may name any address");
        }
    }
    guards(subject, hits);
    for (at, item) in subject.routes() {
        let route = &subject.proxy.routes[at];
        let passes_on = route.redirect.is_none() && route.host_header == HostHeader::Client;
        if route.hosts.is_empty() && passes_on {
            let id = subject.id(at);
            let message = format!("route `{id}` passes on whatever Host a client sends");
            hits.add(Lint::S307, id, item.span.clone(), message)
                .set_reason("takes every host");
        }
    }
}

/// Comparisons of guarded routes with others: enough for every table but the largest, which are looked through in part.
const MOST_COMPARISONS: usize = 200_000;

/// Routes that answer some clients only, and the ways around them.
fn guards(subject: &Subject<'_>, hits: &mut Hits) {
    let routes = &subject.proxy.routes;
    let mut left = MOST_COMPARISONS;
    for (at, item) in subject.routes().filter(|(at, _)| routes[*at].is_guarded()) {
        let rule = &subject.rules[at];
        let requests = subject.samples.requests(rule);
        if let Some((witness, other)) = requests.iter().find_map(|it| respelt(subject, at, it)) {
            let (id, other_id) = (subject.id(at), subject.id(other));
            let message = format!("`{}` goes past the guard of route `{id}`", witness.path);
            hits.add(
                Lint::S304,
                other_id,
                subject.file.routes[other].span.clone(),
                message,
            )
            .set_reason("takes it, and answers everybody")
            .set_also(item.span.clone(), "is guarded")
            .set_witness(subject.witnessed(&witness));
        }
        for (other, other_item) in subject.routes() {
            if left == 0 {
                return;
            }
            left -= 1;
            if other == at || routes[other].is_guarded() {
                continue;
            }
            let within = subject
                .samples
                .requests(&subject.rules[other])
                .into_iter()
                .find(|it| {
                    let standing = explain::explain(std::slice::from_ref(rule), &it.request());
                    standing == [Standing::Wins] && subject.is_taken_by(it, other)
                });
            if let Some(witness) = within {
                let (id, other_id) = (subject.id(at), subject.id(other));
                let message = format!(
                    "route `{other_id}` answers everybody for what `{id}` would answer some for"
                );
                hits.add(Lint::S305, other_id, other_item.span.clone(), message)
                    .set_reason("more specific, and without the guard")
                    .set_also(item.span.clone(), "is guarded")
                    .set_witness(subject.witnessed(&witness));
            }
        }
    }
}

/// Another spelling of a guarded request that a route without a guard takes to the same upstream.
fn respelt(subject: &Subject<'_>, guarded: usize, request: &Witness) -> Option<(Witness, usize)> {
    let routes = &subject.proxy.routes;
    let path = &request.path;
    // One upper-case letter, a parameter, an encoded separator: what case-insensitive servers, servlet containers and
    // servers that decode twice read as the path itself.
    let upper = path.find(|c: char| c.is_ascii_lowercase()).map(|at| {
        let mut path = path.clone().into_bytes();
        path[at] = path[at].to_ascii_uppercase();
        String::from_utf8_lossy(&path).into_owned()
    });
    let (first, rest) = path
        .get(1..)?
        .split_once('/')
        .unwrap_or((path.get(1..)?, ""));
    let parameter = Some(format!("/{first};a/{rest}"));
    let encoded = (!rest.is_empty()).then(|| format!("/{first}%2F{rest}"));
    [upper, parameter, encoded]
        .into_iter()
        .flatten()
        .find_map(|path| {
            let witness = request.at(&path);
            let winner = subject.matcher.find(&witness.request())?;
            let (other, own) = (&routes[winner], &routes[guarded]);
            let refused = path.contains("%2F") && other.encoded == Encoded::Refuse;
            let around = !other.is_guarded() && other.upstream == own.upstream && !refused;
            (around && subject.is_taken_by(&witness, winner)).then_some((witness, winner))
        })
}

fn ourselves(subject: &Subject<'_>, name: &str, endpoint: &Located<Endpoint>, hits: &mut Hits) {
    let Endpoint { host, port, .. } = &endpoint.value;
    let address = if host == "localhost" {
        IpAddr::from([127, 0, 0, 1])
    } else if let Ok(address) = host.parse::<IpAddr>() {
        address
    } else {
        return;
    };
    let is_there = |listening: SocketAddr| {
        let here = listening.ip() == address
            || listening.ip().is_unspecified()
                && (address.is_loopback() || address.is_unspecified());
        here && listening.port() == *port
    };
    let what = if subject.admin.listen.is_some_and(is_there) {
        "the admin API".to_owned()
    } else {
        let mut listeners = subject.proxy.listeners.iter();
        match listeners.find(|listener| is_there(listener.address)) {
            Some(listener) => format!("listener `{}`", listener.name),
            None => return,
        }
    };
    let message = format!("upstream `{name}` leads to {what} of this Vestibule");
    hits.add(Lint::S301, name, endpoint.span.clone(), message)
        .set_reason(what);
}

/// Whether clouds answer there with credentials, or nothing but the link is there.
fn is_metadata(host: &str) -> bool {
    const NAMES: [&str; 3] = ["metadata", "metadata.google.internal", "instance-data"];
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            address.is_link_local() || address.octets() == [100, 100, 100, 200]
        }
        Ok(IpAddr::V6(address)) => {
            address.is_unicast_link_local()
                || address.segments() == [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]
        }
        Err(_) => NAMES.contains(&host.to_ascii_lowercase().as_str()),
    }
}
