//! From where else a compared probe looks at its route: at our own listener, and at each endpoint behind it.
//!
//! Only who knows both the probe and the proxy can say that. A view asks what the probe asks, in the way in which that
//! vantage is asked: the listener as whatever is in front of it would, an endpoint as this proxy would. What such a view
//! cannot be held to (what the proxy adds to a response, what TLS in front of it shows) is not expected of it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::header::HOST;
use http::{HeaderName, HeaderValue};

use crate::model::Vantage;
use crate::probe::definition::{
    Definition, Family, HostPort, HttpVersion, Manner, Target, TlsSettings, Url, View,
};
use crate::proxy::config::{Config, Endpoint, HostHeader, Https, Listener, Route};

/// Endpoints of an upstream that are looked at; further ones are not.
pub const MOST_ENDPOINTS: usize = 8;

const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The same definitions with their views filled in. `bound` says where a listener listens by now; without it, where the
/// configuration puts it.
pub fn with_views(
    definitions: &[Definition],
    proxy: &Config,
    bound: impl Fn(&str) -> Option<SocketAddr>,
) -> Vec<Definition> {
    let with = |definition: &Definition| Definition {
        views: views(definition, proxy, &bound),
        ..definition.clone()
    };
    definitions.iter().map(with).collect()
}

fn views(
    definition: &Definition,
    proxy: &Config,
    bound: &dyn Fn(&str) -> Option<SocketAddr>,
) -> Vec<View> {
    let Target::Http(url) = &definition.target else {
        return Vec::new();
    };
    let route = definition.route.as_ref().filter(|_| definition.compare);
    let Some(route) = route.and_then(|id| proxy.routes.iter().find(|it| it.id == *id)) else {
        return Vec::new();
    };
    let mut views = Vec::new();
    views.extend(of_ingress(definition, url, route, proxy, bound));
    let upstreams = proxy.upstreams.iter();
    let upstream = upstreams
        .filter(|it| it.name == route.upstream)
        .flat_map(|upstream| upstream.endpoints.iter().map(move |it| (upstream, it)));
    for (upstream, endpoint) in upstream.take(MOST_ENDPOINTS) {
        // The same host and port as the proxy connects to, or none that can be connected to.
        let Some(place) = HostPort::of(&endpoint.host, endpoint.port) else {
            continue;
        };
        let tls = TlsSettings {
            server_name: upstream.tls.server_name.clone(),
            roots: upstream.tls.roots.clone(),
            insecure: upstream.tls.insecure,
        };
        views.push(of_endpoint(definition, url, route, (endpoint, &place), tls));
        views.push(View {
            vantage: Vantage::Tcp,
            at: endpoint.to_string(),
            target: Target::Tcp(place),
            manner: Manner::plain(definition.manner.timeout),
        });
    }
    views
}

/// Our listener that such a request arrives at: of those that the route takes requests from the one with the target's port,
/// or else the first. One that speaks TLS when the target does; or one in plain text, which something in front of it hands
/// requests to.
fn of_ingress(
    definition: &Definition,
    url: &Url,
    route: &Route,
    proxy: &Config,
    bound: &dyn Fn(&str) -> Option<SocketAddr>,
) -> Option<View> {
    let fits = |listener: &&Listener| {
        route.listeners.is_empty() || route.listeners.contains(&listener.name)
    };
    let speaks = |tls: bool| {
        let mut those: Vec<&Listener> = proxy
            .listeners
            .iter()
            .filter(fits)
            .filter(|listener| listener.certificates.is_empty() != tls)
            .collect();
        // Stable: among equals the first one.
        those.sort_by_key(|listener| listener.address.port() != url.place.port);
        those.first().copied()
    };
    let behind = || speaks(false).filter(|_| route.https == Https::Any);
    let (listener, tls) = match (url.tls, speaks(url.tls)) {
        (tls, Some(listener)) => (listener, tls),
        (true, None) => (behind()?, false),
        (false, None) => return None,
    };
    let address = bound(&listener.name).unwrap_or(listener.address);
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    if address.port() == 0 {
        return None;
    }
    let mut manner = Manner {
        connect_to: Some(SocketAddr::new(ip, address.port())),
        family: Family::Any,
        source: None,
        resolver: None,
        ..definition.manner.clone()
    };
    if tls != url.tls {
        keep_host(&mut manner, url);
        manner
            .http
            .headers
            .push((X_FORWARDED_PROTO, HeaderValue::from_static("https")));
        without_tls(&mut manner);
        manner.stands_for = Some(url.place.clone());
    }
    let target = Url { tls, ..url.clone() };
    Some(View {
        vantage: Vantage::Ingress,
        at: listener.name.clone(),
        target: Target::Http(target),
        manner,
    })
}

fn of_endpoint(
    definition: &Definition,
    url: &Url,
    route: &Route,
    (endpoint, place): (&Endpoint, &HostPort),
    tls: TlsSettings,
) -> View {
    let mut manner = Manner {
        connect_to: None,
        family: Family::Any,
        source: None,
        resolver: None,
        tls,
        stands_for: Some(url.place.clone()),
        ..definition.manner.clone()
    };
    without_tls(&mut manner);
    // What this proxy speaks to endpoints.
    manner.http.version = HttpVersion::Http1;
    let asked_for = manner.http.headers.iter().find(|(name, _)| *name == HOST);
    let asked_for = asked_for.map(|(_, host)| host.clone());
    let edits = &route.request_headers;
    let headers = &mut manner.http.headers;
    headers.retain(|(name, _)| !edits.replaces(name));
    let more = edits.set.iter().chain(&edits.add);
    headers.extend(more.map(|line| (line.name.clone(), line.value.clone())));
    match route.host_header {
        HostHeader::Client => keep_host(&mut manner, url),
        HostHeader::Endpoint => manner.http.headers.retain(|(name, _)| *name != HOST),
    }
    let scheme = if url.tls { "https" } else { "http" };
    let host = asked_for.or_else(|| HeaderValue::from_str(&url.authority()).ok());
    let headers = &mut manner.http.headers;
    headers.push((X_FORWARDED_PROTO, HeaderValue::from_static(scheme)));
    headers.extend(host.map(|host| (X_FORWARDED_HOST, host)));
    // What the proxy makes of a response's headers is not the endpoint's to have.
    let edits = &route.response_headers;
    let is_ours =
        |name: &HeaderName| edits.replaces(name) || edits.add.iter().any(|line| line.name == *name);
    let expect = &mut manner.expect;
    expect.headers.retain(|(name, _)| !is_ours(name));
    expect.header_matches.retain(|(name, _)| !is_ours(name));
    expect
        .header_matches_none
        .retain(|(name, _)| !is_ours(name));
    View {
        vantage: Vantage::Upstream,
        at: endpoint.to_string(),
        target: Target::Http(Url {
            tls: endpoint.tls,
            place: place.clone(),
            target: url.target.clone(),
        }),
        manner,
    }
}

/// Asks for the target's host wherever that is asked.
fn keep_host(manner: &mut Manner, url: &Url) {
    let headers = &mut manner.http.headers;
    let is_there = headers.iter().any(|(name, _)| *name == HOST);
    let host = HeaderValue::from_str(&url.authority()).ok();
    headers.extend(host.filter(|_| !is_there).map(|host| (HOST, host)));
}

/// Expects nothing of how it was connected.
fn without_tls(manner: &mut Manner) {
    manner.expect.encrypted = None;
    manner.expect.certificate_left = None;
    manner.expect.http_versions.clear();
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Resolved;

    fn proxy(more: &str) -> Resolved {
        let text = format!(
            "state = {{ dir = '/tmp/none' }}\n[[listener]]\nname = 'plain'\naddress = '0.0.0.0:80'\n\
             [[upstream]]\nname = 'u'\nendpoints = ['http://a.internal:81', 'http://10.0.0.2:82']\n\
             [[route]]\nid = 'r'\nupstream = 'u'\n{more}"
        );
        crate::config::parse("t", &text, Path::new(""), &|_| None).expect("it is valid")
    }

    fn seen(target: &str, more: &str) -> Vec<View> {
        let mut manner = Manner::plain(std::time::Duration::from_secs(1));
        manner.expect.encrypted = Some(true);
        let definition = Definition {
            name: "p".to_owned(),
            target: Target::parse(target).unwrap(),
            every: std::time::Duration::from_secs(30),
            route: Some("r".to_owned()),
            runbook: None,
            paused: false,
            maintenance: Vec::new(),
            manner,
            steps: Vec::new(),
            hurry: false,
            compare: true,
            views: Vec::new(),
        };
        let with = with_views(&[definition], &proxy(more).proxy, |_| None);
        with.into_iter().flat_map(|it| it.views).collect()
    }

    fn headers(view: &View) -> Vec<String> {
        let headers = view.manner.http.headers.iter();
        let text = |(name, value): &(HeaderName, HeaderValue)| {
            format!("{name}: {}", value.to_str().unwrap())
        };
        headers.map(text).collect()
    }

    #[test]
    fn a_route_is_looked_at_at_our_listener_and_at_each_endpoint() {
        let views = seen("http://shop.example/a?b", "");
        let told: Vec<String> = views
            .iter()
            .map(|view| format!("{} {} {}", view.vantage.as_str(), view.at, view.target))
            .collect();
        assert_eq!(
            told,
            [
                "ingress plain http://shop.example/a?b",
                "upstream http://a.internal:81 http://a.internal:81/a?b",
                "tcp http://a.internal:81 tcp://a.internal:81",
                "upstream http://10.0.0.2:82 http://10.0.0.2:82/a?b",
                "tcp http://10.0.0.2:82 tcp://10.0.0.2:82",
            ]
        );
        let to = views[0].manner.connect_to.map(|it| it.to_string());
        assert_eq!(to.as_deref(), Some("127.0.0.1:80"));
        assert_eq!(
            headers(&views[1]),
            [
                "host: shop.example",
                "x-forwarded-proto: http",
                "x-forwarded-host: shop.example"
            ]
        );
    }

    #[test]
    fn a_listener_behind_something_that_ends_tls_is_asked_as_that_would() {
        let views = seen("https://shop.example/", "");
        assert_eq!(views[0].target.to_string(), "http://shop.example:443/");
        assert_eq!(
            headers(&views[0]),
            ["host: shop.example", "x-forwarded-proto: https"]
        );
        assert_eq!(views[0].manner.expect.encrypted, None);
        // One that sends everybody to TLS cannot be asked.
        let views = seen("https://shop.example/", "https = 'redirect'\n");
        assert_eq!(views[0].vantage, Vantage::Upstream);
    }

    #[test]
    fn an_endpoint_is_asked_what_the_proxy_would_ask() {
        let views = seen(
            "https://shop.example/",
            "host_header = 'endpoint'\nrequest_headers.set = ['x-key: 7']\n",
        );
        let view = views.iter().find(|it| it.vantage == Vantage::Upstream);
        assert_eq!(
            headers(view.unwrap()),
            [
                "x-key: 7",
                "x-forwarded-proto: https",
                "x-forwarded-host: shop.example"
            ]
        );
    }
}
