//! The pre-flight: whether an authority that asked now would find what it looks for (RFC 8555, 8.3).
//!
//! A text of ours is put where answers to `http-01` stand and asked for as the authority would: by the host's public name, at every
//! address that it has. What is in the way of a renewal weeks from now is so found today. It costs the authority nothing.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::LOCATION;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Full;
use ring::rand::{SecureRandom as _, SystemRandom};
use rustls::ClientConfig;
use tokio::task::JoinSet;

use super::desk::Posted;
use super::issuer::Office;
use super::{Authority, Challenge, Wanted};
use crate::clock::Clock as _;
use crate::net::challenge::HTTP_PREFIX;
use crate::net::dns::{self, Kinds};
use crate::net::examine::hex;
use crate::net::post;
use crate::net::tls::client_config;
use crate::snapshot::PreflightView;

/// After a start, until what stands in front sends traffic here.
const SETTLING: Duration = Duration::from_secs(300);
/// One that failed is flown again after this long, and one that goes on failing after [`STILL`].
const AGAIN: Duration = Duration::from_secs(60);
const STILL: Duration = Duration::from_secs(600);
/// For one host, whatever its addresses and redirects.
const PATIENCE: Duration = Duration::from_secs(8);
/// Addresses of a host that are asked.
const MOST_ADDRESSES: usize = 8;
/// Redirects that are followed, as public authorities do.
const MOST_REDIRECTS: usize = 10;
/// The largest answer. Ours is short.
const LARGEST: usize = 16 * 1_024;

/// Flies every so often, for ever.
pub(super) async fn go_on(office: Rc<Office>, wanted: Wanted, authority: Authority) {
    let Some(every) = due(&authority) else {
        return std::future::pending().await;
    };
    let mut wait = every.min(SETTLING);
    loop {
        tokio::time::sleep(wait).await;
        let seen = fly(&office, &wanted, &authority).await;
        wait = match seen.iter().map(|it| it.failures).max() {
            None | Some(0) => every,
            Some(1) => every.min(AGAIN),
            Some(_) => every.min(STILL),
        };
    }
}

/// How often; `None`: never.
fn due(authority: &Authority) -> Option<Duration> {
    authority
        .preflight_every
        .filter(|_| authority.challenge == Challenge::Http)
}

/// Asks for a text of ours at every host of the certificate, and keeps what came of it.
pub(super) async fn fly(
    office: &Rc<Office>,
    wanted: &Wanted,
    authority: &Authority,
) -> Vec<PreflightView> {
    let Ok(_turn) = office.flights.acquire().await else {
        // It is never closed.
        return Vec::new();
    };
    let found = match ask(office, wanted, authority).await {
        Ok(found) => found,
        // Nothing was asked: that tells nothing of the hosts.
        Err(why) => {
            tracing::warn!("no pre-flight for `{}`: {why}", wanted.name);
            return office.flown(&wanted.name);
        }
    };
    let (before, now) = (office.flown(&wanted.name), office.clock.now());
    let views = found.into_iter().map(|(host, found)| {
        let failures = before.iter().find(|it| it.host == host);
        let failures = failures.map_or(0, |it| it.failures);
        let (addresses, error) = match found {
            Ok(addresses) => (addresses, None),
            Err(why) => (Vec::new(), Some(why)),
        };
        PreflightView {
            host,
            at: now,
            addresses: addresses.iter().map(ToString::to_string).collect(),
            failures: if error.is_some() {
                failures.saturating_add(1)
            } else {
                0
            },
            error,
        }
    });
    let mut views: Vec<PreflightView> = views.collect();
    views.sort_by(|a, b| a.host.cmp(&b.host));
    office.land(&wanted.name, views.clone());
    views
}

type Found = Result<Vec<SocketAddr>, String>;

async fn ask(
    office: &Rc<Office>,
    wanted: &Wanted,
    authority: &Authority,
) -> Result<Vec<(String, Found)>, String> {
    // Whatever a redirect to TLS shows, public authorities take it: there may be no certificate yet.
    let tls = client_config(None, true).map_err(|error| error.to_string())?;
    let canary = Arc::new(Canary {
        token: format!("vestibule-preflight-{}", word()?),
        text: word()?,
        hosts: wanted.hosts.clone(),
        port: authority.http_port,
        resolver: authority.preflight_resolver,
        tls,
    });
    let mut posted = Posted::on(&office.desk);
    posted.put_http(&canary.token, &canary.text);
    if !posted.publish().await {
        return Err("nobody serves any more".to_owned());
    }
    let mut asking = JoinSet::new();
    for host in wanted.hosts.clone() {
        let canary = Arc::clone(&canary);
        asking.spawn(async move {
            let found = tokio::time::timeout(PATIENCE, canary.is_found_at(&host)).await;
            let late = |_| Err(format!("no answer within {} s", PATIENCE.as_secs()));
            (host, found.unwrap_or_else(late))
        });
    }
    let found = asking.join_all().await;
    posted.withdraw().await;
    Ok(found)
}

/// 16 random bytes, as hexadecimal digits.
fn word() -> Result<String, String> {
    let mut bytes = [0; 16];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_unspecified| "there is no randomness to be had".to_owned())?;
    Ok(hex(&bytes))
}

/// What is put up, and whom it is asked of.
struct Canary {
    token: String,
    text: String,
    hosts: Vec<String>,
    port: u16,
    resolver: Option<SocketAddr>,
    tls: Arc<ClientConfig>,
}

impl Canary {
    /// The addresses of the host, at each of which our text was found.
    async fn is_found_at(&self, host: &str) -> Found {
        let addresses = self.addresses(host, self.port).await?;
        for address in &addresses {
            let found = self.is_found(host, *address).await;
            found.map_err(|why| format!("{address}: {why}"))?;
        }
        Ok(addresses)
    }

    async fn addresses(&self, host: &str, port: u16) -> Found {
        let named = |why: String| format!("the name did not resolve: {why}");
        let mut found: Vec<SocketAddr> = if let Some(resolver) = self.resolver {
            let looked = dns::lookup(resolver, host, Kinds::Any).await;
            let looked = looked.map_err(|error| named(error.to_string()))?;
            let addresses = looked.addresses.into_iter();
            addresses.map(|(ip, _)| (ip, port).into()).collect()
        } else {
            let looked = tokio::net::lookup_host((host, port)).await;
            looked.map_err(|error| named(error.to_string()))?.collect()
        };
        found.sort();
        found.dedup();
        found.truncate(MOST_ADDRESSES);
        if found.is_empty() {
            return Err(named("it has no address".to_owned()));
        }
        Ok(found)
    }

    async fn is_found(&self, host: &str, address: SocketAddr) -> Result<(), String> {
        let port = match self.port {
            80 => String::new(),
            port => format!(":{port}"),
        };
        let text = format!("http://{host}{port}{HTTP_PREFIX}{}", self.token);
        let mut url: Uri = text.parse().map_err(|_none| format!("{text} is no URL"))?;
        let mut address = address;
        for _ in 0..=MOST_REDIRECTS {
            let request = Request::builder()
                .uri(url.clone())
                .body(Full::new(Bytes::new()));
            let request = request.map_err(|error| error.to_string())?;
            let answer = post::send_to(address, &self.tls, request, LARGEST, PATIENCE).await;
            let answer = answer.map_err(|error| error.to_string())?;
            let Some(next) = redirect(&url, &answer)? else {
                return self.judge(&answer);
            };
            let is_ours = |host: &&str| self.hosts.iter().any(|it| it.eq_ignore_ascii_case(host));
            // Whoever answers for the name must not decide where else we connect to.
            let Some(host) = next.host().filter(is_ours) else {
                let to = next.host().unwrap_or_default();
                return Err(format!(
                    "it redirects to {to}, which is no host of the certificate"
                ));
            };
            let usual = match next.scheme_str() {
                Some("https") => 443,
                _ => 80,
            };
            let port = next.port_u16().unwrap_or(usual);
            address = *self
                .addresses(host, port)
                .await?
                .first()
                .ok_or("it redirects to a host without an address")?;
            url = next;
        }
        Err(format!("it redirects more than {MOST_REDIRECTS} times"))
    }

    fn judge(&self, answer: &Response<Bytes>) -> Result<(), String> {
        let status = answer.status();
        if status != StatusCode::OK {
            return Err(format!(
                "answered {}: another server, or something in front that keeps the path for itself",
                status.as_u16()
            ));
        }
        if answer.body().trim_ascii() == self.text.as_bytes() {
            Ok(())
        } else {
            Err("answered with another text: it is another server".to_owned())
        }
    }
}

/// Where an answer redirects to; `None`: it does not.
fn redirect(from: &Uri, answer: &Response<Bytes>) -> Result<Option<Uri>, String> {
    let Some(to) = answer
        .headers()
        .get(LOCATION)
        .filter(|_| matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308))
    else {
        return Ok(None);
    };
    let refuse = || "it redirects to what is no URL".to_owned();
    let to: Uri = to
        .to_str()
        .ok()
        .and_then(|to| to.parse().ok())
        .ok_or_else(refuse)?;
    if to.scheme().is_some() {
        return Ok(Some(to));
    }
    let mut parts = to.into_parts();
    parts.scheme = from.scheme().cloned();
    parts.authority = parts.authority.or_else(|| from.authority().cloned());
    Uri::from_parts(parts).map(Some).map_err(|_none| refuse())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirect_is_read_from_where_it_was_given() {
        let at = |status: u16, to: &str| {
            let answer = Response::builder().status(status).header(LOCATION, to);
            answer.body(Bytes::new()).unwrap()
        };
        let from = Uri::from_static("http://shop.test/.well-known/acme-challenge/t");
        for (status, to, read) in [
            (200, "/x", None),
            (301, "/x", Some("http://shop.test/x")),
            (
                308,
                "https://www.shop.test/y",
                Some("https://www.shop.test/y"),
            ),
        ] {
            let found = redirect(&from, &at(status, to)).unwrap();
            assert_eq!(found.map(|it| it.to_string()).as_deref(), read, "{to}");
        }
        assert!(redirect(&from, &at(302, "a b")).is_err());
    }

    #[test]
    fn only_our_own_text_is_found() {
        let canary = Canary {
            token: "t".to_owned(),
            text: "ours".to_owned(),
            hosts: Vec::new(),
            port: 80,
            resolver: None,
            tls: client_config(None, true).unwrap(),
        };
        let said = |status: u16, text: &'static str| {
            let answer = Response::builder().status(status);
            canary.judge(&answer.body(Bytes::from_static(text.as_bytes())).unwrap())
        };
        assert_eq!(said(200, "ours\n"), Ok(()));
        assert!(said(200, "theirs").unwrap_err().contains("another text"));
        assert!(said(404, "ours").unwrap_err().contains("answered 404"));
    }
}
