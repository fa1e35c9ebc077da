//! The pre-flight: whether an authority that asked now would find what it looks for (RFC 8555, 8.3).
//!
//! A text of ours is put where answers to `http-01` stand and asked for as the authority would: by the host's public name, at every
//! address that it has. What is in the way of a renewal weeks from now is so found today. It costs the authority nothing.

use std::fmt::Display;
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
use tokio::time::timeout;

use super::desk::Posted;
use super::issuer::Office;
use super::{Authority, Challenge, Wanted};
use crate::clock::Clock as _;
use crate::net::challenge::HTTP_PREFIX;
use crate::net::connect::ConnectError;
use crate::net::dns::{self, Kinds, LookupError};
use crate::net::examine::hex;
use crate::net::post::{self, PostError};
use crate::net::tls::client_config;
use crate::snapshot::PreflightView;

/// After a start, until what stands in front sends traffic here.
const SETTLING: Duration = Duration::from_secs(300);
/// One that failed is flown again after this long, and one that goes on failing after [`STILL`].
const AGAIN: Duration = Duration::from_secs(60);
const STILL: Duration = Duration::from_secs(600);
/// For one address of a host, whatever its redirects, and for each look-up.
const PATIENCE: Duration = Duration::from_secs(8);
/// Addresses of a host that are asked.
const MOST_ADDRESSES: usize = 8;
/// Redirects that are followed, as public authorities do.
const MOST_REDIRECTS: usize = 10;
/// Characters of a foreign host that are told.
const TOLD: usize = 100;
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
        let seen = fly(&office, &wanted, &authority, Asked::Daily).await;
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

/// Why a pre-flight is flown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// It was due.
    Daily,
    /// Somebody wants to know.
    ByHand,
}

/// Asks for a text of ours at every host of the certificate, and keeps what came of it. One by hand counts no failure: several in
/// a row would open a ticket that only the next one that is due could close.
pub(super) async fn fly(
    office: &Rc<Office>,
    wanted: &Wanted,
    authority: &Authority,
    asked: Asked,
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
        let (addresses, failures, error) = match found {
            Ok(addresses) => (addresses, 0, None),
            Err(Miss::Lost(why)) => {
                let one_more = u64::from(asked == Asked::Daily);
                (Vec::new(), failures.saturating_add(one_more), Some(why))
            }
            Err(Miss::Unseen(why)) => (Vec::new(), failures, Some(why)),
        };
        PreflightView {
            host,
            at: now,
            addresses: addresses.iter().map(ToString::to_string).collect(),
            failures,
            error,
        }
    });
    let mut views: Vec<PreflightView> = views.collect();
    views.sort_by(|a, b| a.host.cmp(&b.host));
    office.land(&wanted.name, views.clone());
    views
}

/// The addresses at which our text was found.
type Found = Result<Vec<SocketAddr>, Miss>;

/// Why our text was not found at a host.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Miss {
    /// An authority would not find it either.
    Lost(String),
    /// It could not be looked for from here, which tells nothing of what an authority would find.
    Unseen(String),
}

impl Miss {
    fn lost(why: impl Display) -> Self {
        Self::Lost(why.to_string())
    }

    fn unseen(why: impl Display) -> Self {
        Self::Unseen(format!("not looked at: {why}"))
    }

    /// The same, said of an address.
    fn at(self, address: SocketAddr) -> Self {
        match self {
            Self::Lost(why) => Self::Lost(format!("{address}: {why}")),
            Self::Unseen(why) => Self::Unseen(format!("{address}: {why}")),
        }
    }
}

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
            let found = canary.is_found_at(&host).await;
            (host, found)
        });
    }
    let mut found = Vec::new();
    while let Some(joined) = asking.join_next().await {
        found.extend(joined.ok());
    }
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
    async fn is_found_at(self: &Arc<Self>, host: &str) -> Found {
        let addresses = self.addresses(host, self.port).await?;
        let mut asking = JoinSet::new();
        for address in addresses {
            let (canary, host) = (Arc::clone(self), host.to_owned());
            asking.spawn(async move {
                let found = timeout(PATIENCE, canary.is_found(&host, address)).await;
                let late = |_| Err(Miss::Lost(late()));
                let found = found.unwrap_or_else(late);
                (address, found.map_err(|miss| miss.at(address)))
            });
        }
        let (mut found, mut unseen) = (Vec::new(), None);
        while let Some(joined) = asking.join_next().await {
            match joined {
                Ok((address, Ok(()))) => found.push(address),
                Ok((_, Err(miss @ Miss::Unseen(_)))) => unseen = Some(miss),
                Ok((_, Err(miss @ Miss::Lost(_)))) => return Err(miss),
                Err(_gone) => unseen = Some(Miss::unseen("it was given up")),
            }
        }
        found.sort();
        // A machine without IPv6 says nothing of the address that others reach by it.
        match unseen {
            Some(miss) if found.is_empty() => Err(miss),
            Some(_) | None => Ok(found),
        }
    }

    async fn addresses(&self, host: &str, port: u16) -> Found {
        let found = timeout(PATIENCE, self.look_up(host, port)).await;
        let mut found = found.map_err(|_late| Miss::unseen("the resolver takes too long"))??;
        found.sort();
        found.dedup();
        found.truncate(MOST_ADDRESSES);
        if found.is_empty() {
            return Err(Miss::lost("the name did not resolve: it has no address"));
        }
        Ok(found)
    }

    async fn look_up(&self, host: &str, port: u16) -> Found {
        let nameless = |error: &dyn Display| format!("the name did not resolve: {error}");
        if let Some(resolver) = self.resolver {
            let looked = dns::lookup(resolver, host, Kinds::Any).await;
            let looked = looked.map_err(|error| match error {
                LookupError::Nxdomain | LookupError::Nameless => Miss::lost(nameless(&error)),
                // Whoever is asked here is not whom an authority asks.
                LookupError::Refused(_) | LookupError::Io(_) => Miss::unseen(nameless(&error)),
            })?;
            let addresses = looked.addresses.into_iter();
            return Ok(addresses.map(|(ip, _)| (ip, port).into()).collect());
        }
        let looked = tokio::net::lookup_host((host, port)).await;
        let found = looked.map_err(|error| {
            // The system's resolver tells apart only in words what does not exist and what it could not find out.
            if error.to_string().contains("emporary failure") {
                Miss::unseen(nameless(&error))
            } else {
                Miss::lost(nameless(&error))
            }
        })?;
        Ok(found.collect())
    }

    async fn is_found(&self, host: &str, address: SocketAddr) -> Result<(), Miss> {
        let port = match self.port {
            80 => String::new(),
            port => format!(":{port}"),
        };
        let text = format!("http://{host}{port}{HTTP_PREFIX}{}", self.token);
        let none = |_| Miss::unseen(format_args!("{text} is no URL"));
        let mut url: Uri = text.parse().map_err(none)?;
        let mut address = address;
        for _ in 0..=MOST_REDIRECTS {
            let request = Request::builder()
                .uri(url.clone())
                .body(Full::new(Bytes::new()));
            let request = request.map_err(Miss::unseen)?;
            let answer = post::send_to(address, &self.tls, request, LARGEST, PATIENCE).await;
            let answer = answer.map_err(|error| failure(&error))?;
            let Some(next) = redirect(&url, &answer)? else {
                return self.judge(&answer).map_err(Miss::Lost);
            };
            let (host, port) = self.follows(&next)?;
            let addresses = self.addresses(host, port).await?;
            let first = addresses.first();
            address =
                *first.ok_or_else(|| Miss::lost("it redirects to a host without an address"))?;
            url = next;
        }
        Err(Miss::Lost(format!(
            "it redirects more than {MOST_REDIRECTS} times"
        )))
    }

    /// The host and port of a redirect that may be followed: whoever answers for the name must not decide where else we connect
    /// to.
    fn follows<'a>(&self, next: &'a Uri) -> Result<(&'a str, u16), Miss> {
        let host = next.host().unwrap_or_default();
        if !self.hosts.iter().any(|it| it.eq_ignore_ascii_case(host)) {
            let to: String = host.chars().take(TOLD).collect();
            let told = format!("it redirects to {to}, which is no host of the certificate");
            return Err(Miss::unseen(told));
        }
        let usual = match next.scheme_str() {
            Some("https") => 443,
            _ => 80,
        };
        let port = next.port_u16().unwrap_or(usual);
        // Authorities ask no other (CA/Browser Forum Baseline Requirements, 3.2.2.4.19).
        if [self.port, 80, 443].contains(&port) {
            Ok((host, port))
        } else {
            Err(Miss::Lost(format!(
                "it redirects to port {port}, which authorities do not follow"
            )))
        }
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

fn late() -> String {
    format!("no answer within {} s", PATIENCE.as_secs())
}

/// What a failed request says: a machine that has no way to an address cannot look there.
fn failure(error: &PostError) -> Miss {
    use std::io::ErrorKind;
    match error {
        PostError::Connect(ConnectError::Failed(source))
            if matches!(
                source.kind(),
                ErrorKind::NetworkUnreachable
                    | ErrorKind::AddrNotAvailable
                    | ErrorKind::Unsupported
            ) =>
        {
            Miss::unseen(error)
        }
        PostError::Late(_) => Miss::Lost(late()),
        PostError::Url | PostError::Connect(_) | PostError::Http(_) | PostError::Body(_) => {
            Miss::lost(error)
        }
    }
}

/// Where an answer redirects to; `None`: it does not.
fn redirect(from: &Uri, answer: &Response<Bytes>) -> Result<Option<Uri>, Miss> {
    let Some(to) = answer
        .headers()
        .get(LOCATION)
        .filter(|_| matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308))
    else {
        return Ok(None);
    };
    let refuse = || Miss::lost("it redirects to what is no URL");
    let to = to.to_str().map_err(|_other| refuse())?;
    let origin = format!(
        "{}://{}",
        from.scheme_str().unwrap_or("http"),
        from.authority().map_or("", |authority| authority.as_str())
    );
    // RFC 3986, 5.2, for what servers write.
    let whole = if to.contains("://") {
        to.to_owned()
    } else if to.starts_with("//") {
        format!("{}:{to}", from.scheme_str().unwrap_or("http"))
    } else if to.starts_with('/') {
        format!("{origin}{to}")
    } else {
        let (directory, _) = from.path().rsplit_once('/').unwrap_or_default();
        format!("{origin}{directory}/{to}")
    };
    let whole: Uri = whole.parse().map_err(|_none| refuse())?;
    if matches!(whole.scheme_str(), Some("http" | "https")) {
        Ok(Some(whole))
    } else {
        Err(refuse())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canary(hosts: &[&str]) -> Canary {
        Canary {
            token: "t".to_owned(),
            text: "ours".to_owned(),
            hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
            port: 80,
            resolver: None,
            tls: client_config(None, true).unwrap(),
        }
    }

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
            (302, "//www.shop.test/z", Some("http://www.shop.test/z")),
            (
                302,
                "u",
                Some("http://shop.test/.well-known/acme-challenge/u"),
            ),
            (
                308,
                "https://www.shop.test/y",
                Some("https://www.shop.test/y"),
            ),
        ] {
            let found = redirect(&from, &at(status, to)).unwrap();
            assert_eq!(found.map(|it| it.to_string()).as_deref(), read, "{to}");
        }
        for none in ["a b", "ftp://shop.test/x"] {
            assert!(matches!(
                redirect(&from, &at(302, none)),
                Err(Miss::Lost(_))
            ));
        }
    }

    #[test]
    fn only_our_own_hosts_and_the_ports_of_authorities_are_followed() {
        let canary = canary(&["shop.test"]);
        let follows = |to: &'static str| canary.follows(&Uri::from_static(to)).map(|it| it.1);
        assert_eq!(follows("http://SHOP.test/x"), Ok(80));
        assert_eq!(follows("https://shop.test/x"), Ok(443));
        assert!(matches!(
            follows("http://shop.test:6379/"),
            Err(Miss::Lost(_))
        ));
        let elsewhere = follows("http://metadata.test/");
        assert!(matches!(elsewhere, Err(Miss::Unseen(_))));
    }

    #[test]
    fn what_cannot_be_reached_from_here_is_not_lost() {
        let failed = |kind: std::io::ErrorKind| {
            failure(&PostError::Connect(ConnectError::Failed(kind.into())))
        };
        let unreachable = failed(std::io::ErrorKind::NetworkUnreachable);
        assert!(matches!(unreachable, Miss::Unseen(_)));
        let reset = failed(std::io::ErrorKind::ConnectionReset);
        assert!(matches!(reset, Miss::Lost(_)));
        let refused = failure(&PostError::Connect(ConnectError::Refused));
        assert!(matches!(refused, Miss::Lost(_)));
    }

    #[test]
    fn only_our_own_text_is_found() {
        let canary = canary(&[]);
        let said = |status: u16, text: &'static str| {
            let answer = Response::builder().status(status);
            canary.judge(&answer.body(Bytes::from_static(text.as_bytes())).unwrap())
        };
        assert_eq!(said(200, "ours\n"), Ok(()));
        assert!(said(200, "theirs").unwrap_err().contains("another text"));
        assert!(said(404, "ours").unwrap_err().contains("answered 404"));
    }
}
