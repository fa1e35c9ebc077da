//! What could be used by somebody it is not meant for.

use std::net::{IpAddr, SocketAddr};

use super::{Hits, Lint, Subject};
use crate::config::file::Upstream;
use crate::config::keys::Located;
use crate::proxy::config::{Endpoint, HostHeader};

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
    for (at, item) in subject.routes() {
        let route = &subject.proxy.routes[at];
        if route.hosts.is_empty() && route.host_header == HostHeader::Client {
            let id = subject.id(at);
            let message = format!("route `{id}` passes on whatever Host a client sends");
            hits.add(Lint::S307, id, item.span.clone(), message)
                .set_reason("takes every host");
        }
    }
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
