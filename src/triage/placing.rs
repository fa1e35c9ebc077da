//! Where a fault lies, by looking at one route from several vantages in the same moment.
//!
//! What the edge finds is what users find. Of what it comes to before any request (a name, a connection, a handshake) no
//! service is guilty; of the rest the innermost vantage that fails as well is: when an endpoint fails when it is asked
//! directly, then all in front of it must fail too. When it is well and our own listener is not, the fault is between the
//! two: here. When both are well, it is in front of us.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::{Locus, words};
use crate::model::{ProbeFailure, ProbeRun, Vantage, ViewRun};

/// Where a fault lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FaultPlace {
    /// The name: it leads nowhere, or elsewhere.
    Dns,
    /// Between whoever asks and this ingress.
    Network,
    /// A certificate, or the handshake.
    Tls,
    /// This ingress.
    Ingress,
    /// The service behind it.
    Upstream,
    /// What was seen does not say.
    Unknown,
}

impl FaultPlace {
    /// Every one of them.
    pub const ALL: [Self; 6] = [
        Self::Dns,
        Self::Network,
        Self::Tls,
        Self::Ingress,
        Self::Upstream,
        Self::Unknown,
    ];

    /// Its word in JSON, labels and text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Network => "network",
            Self::Tls => "tls",
            Self::Ingress => "ingress",
            Self::Upstream => "upstream",
            Self::Unknown => "unknown",
        }
    }

    /// Whose it is then.
    pub const fn side(self) -> Locus {
        match self {
            Self::Dns | Self::Network => Locus::Network,
            Self::Tls => Locus::Certificate,
            Self::Ingress => Locus::Edge,
            Self::Upstream => Locus::Upstream,
            Self::Unknown => Locus::Unknown,
        }
    }
}

/// Where a fault lies, and what speaks for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placing {
    /// Where.
    pub place: FaultPlace,
    /// What was seen, in words. May hold untrusted text.
    pub why: String,
    /// The endpoints that fail when they are asked directly.
    pub endpoints: Vec<String>,
}

/// Places the fault of a run that failed; `None` of one that is well. `was_well_at` are the addresses at which the probe
/// was well lately: a name that now leads to another one has moved.
pub fn place(run: &ProbeRun, was_well_at: &[String]) -> Option<Placing> {
    let failure = run.failure?;
    let views = Views::of(run);
    let (place, mut why) = match stage(failure) {
        Stage::Name => (FaultPlace::Dns, "the name leads nowhere".to_owned()),
        Stage::Connect => connecting(run, &views, was_well_at),
        Stage::Handshake => handshake(run, &views, was_well_at),
        Stage::Exchange => exchange(run, &views, was_well_at),
        Stage::Ours => (
            FaultPlace::Unknown,
            "the probe itself could not be run".to_owned(),
        ),
    };
    let outside = said(failure, &run.detail);
    if why.is_empty() {
        why = outside;
    } else {
        write!(why, " ({outside})").expect("writing to memory cannot fail");
    }
    let endpoints = match place {
        FaultPlace::Upstream => views.failing_endpoints(),
        _ => Vec::new(),
    };
    Some(Placing {
        place,
        why,
        endpoints,
    })
}

/// What an exchange comes to before it fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Name,
    Connect,
    Handshake,
    /// There is a connection, and a request on it.
    Exchange,
    /// It says nothing about what is probed.
    Ours,
}

const fn stage(failure: ProbeFailure) -> Stage {
    match failure {
        ProbeFailure::DnsNxdomain
        | ProbeFailure::DnsServfail
        | ProbeFailure::DnsTimeout
        | ProbeFailure::DnsStale => Stage::Name,
        ProbeFailure::ConnectRefused
        | ProbeFailure::ConnectTimeout
        | ProbeFailure::ConnectUnreachable => Stage::Connect,
        ProbeFailure::TlsAlert
        | ProbeFailure::TlsExpired
        | ProbeFailure::TlsNotYet
        | ProbeFailure::TlsName
        | ProbeFailure::TlsIncomplete
        | ProbeFailure::TlsUntrusted
        | ProbeFailure::TlsTimeout
        | ProbeFailure::AssertCertificate => Stage::Handshake,
        ProbeFailure::HttpTimeoutHeaders
        | ProbeFailure::HttpTimeoutBody
        | ProbeFailure::HttpReset
        | ProbeFailure::HttpStatus
        | ProbeFailure::AssertBody
        | ProbeFailure::AssertCapture
        | ProbeFailure::AssertHeader
        | ProbeFailure::AssertJson
        | ProbeFailure::AssertProtocol
        | ProbeFailure::AssertAnswer
        | ProbeFailure::GrpcUnhealthy
        | ProbeFailure::WebsocketRefused
        | ProbeFailure::IcmpTimeout
        | ProbeFailure::AssertLatency
        | ProbeFailure::RedirectLoop
        | ProbeFailure::TooLarge => Stage::Exchange,
        ProbeFailure::NotPermitted | ProbeFailure::Internal | ProbeFailure::AssertFailure => {
            Stage::Ours
        }
    }
}

/// What the other vantages saw.
struct Views<'a> {
    ingress: Option<&'a ViewRun>,
    direct: Vec<&'a ViewRun>,
    tcp: Vec<&'a ViewRun>,
}

impl<'a> Views<'a> {
    fn of(run: &'a ProbeRun) -> Self {
        let of = |vantage: Vantage| {
            let all = run.views.iter();
            // What the probe could not do itself is no sight.
            all.filter(move |view| {
                view.vantage == vantage && view.failure.is_none_or(|it| stage(it) != Stage::Ours)
            })
        };
        Self {
            ingress: of(Vantage::Ingress).next(),
            direct: of(Vantage::Upstream).collect(),
            tcp: of(Vantage::Tcp).collect(),
        }
    }

    fn failing_endpoints(&self) -> Vec<String> {
        let failing = self.direct.iter().filter(|view| view.failure.is_some());
        failing.map(|view| view.at.clone()).collect()
    }

    /// The fault behind the ingress that the first endpoint that fails shows; `None`: all are well, or none was asked.
    fn behind(&self) -> Option<(FaultPlace, String)> {
        let first = self.direct.iter().find(|view| view.failure.is_some())?;
        let failure = first.failure?;
        let all = self.direct.len();
        let failing = self.failing_endpoints().len();
        let at = words::plain(&first.at);
        let who = match (failing, all) {
            (1, 1) => format!("{at} fails when it is asked directly"),
            (failing, all) if failing == all => {
                format!("all {all} endpoints fail when they are asked directly, {at}")
            }
            (failing, all) => {
                format!("{failing} of {all} endpoints fail when they are asked directly, {at}")
            }
        };
        let why = format!("{who}: {}", said(failure, &first.detail));
        let takes = |at: &str| {
            let tcp = self.tcp.iter().find(|view| view.at == at);
            tcp.is_some_and(|view| view.failure.is_none())
        };
        Some(match stage(failure) {
            Stage::Name => (FaultPlace::Dns, why),
            Stage::Handshake => (FaultPlace::Tls, why),
            Stage::Exchange if takes(&first.at) => {
                (FaultPlace::Upstream, format!("{why}; it takes connections"))
            }
            Stage::Connect | Stage::Exchange | Stage::Ours => (FaultPlace::Upstream, why),
        })
    }
}

/// No connection from outside.
fn connecting(run: &ProbeRun, views: &Views<'_>, was_well_at: &[String]) -> (FaultPlace, String) {
    let Some(ingress) = views.ingress else {
        return moved(run, was_well_at).unwrap_or((FaultPlace::Unknown, String::new()));
    };
    match ingress.failure.map(stage) {
        Some(Stage::Connect) => (
            FaultPlace::Ingress,
            format!("listener {} takes no connection", words::plain(&ingress.at)),
        ),
        _ => moved(run, was_well_at).unwrap_or_else(|| {
            let at = words::plain(&ingress.at);
            let why = format!("listener {at} takes connections, from outside none arrives");
            (FaultPlace::Network, why)
        }),
    }
}

/// A connection from outside, and no handshake.
fn handshake(run: &ProbeRun, views: &Views<'_>, was_well_at: &[String]) -> (FaultPlace, String) {
    let Some(ingress) = views.ingress else {
        return (FaultPlace::Tls, String::new());
    };
    let at = words::plain(&ingress.at);
    match ingress.failure.map(stage) {
        Some(Stage::Handshake) => (FaultPlace::Tls, format!("listener {at} shows the same")),
        Some(Stage::Connect) => (
            FaultPlace::Ingress,
            format!("listener {at} takes no connection"),
        ),
        // Someone else's certificate, at someone else's address.
        _ => moved(run, was_well_at).unwrap_or_else(|| {
            let why = format!("listener {at} shows a good one: it is another's in front of it");
            (FaultPlace::Tls, why)
        }),
    }
}

/// A request from outside, and not the answer that is expected.
fn exchange(run: &ProbeRun, views: &Views<'_>, was_well_at: &[String]) -> (FaultPlace, String) {
    let behind = views.behind();
    match views.ingress {
        Some(ingress) if ingress.failure.is_none() => {
            moved(run, was_well_at).unwrap_or_else(|| {
                let at = words::plain(&ingress.at);
                let why = format!("listener {at} answers well: it is in front of it");
                (FaultPlace::Network, why)
            })
        }
        Some(ingress) => {
            let at = words::plain(&ingress.at);
            match behind {
                Some(behind) => behind,
                None if views.direct.is_empty() => (
                    FaultPlace::Unknown,
                    format!("listener {at} fails as well, and no endpoint was asked directly"),
                ),
                None => (
                    FaultPlace::Ingress,
                    format!("listener {at} fails as well, and the endpoints answer well"),
                ),
            }
        }
        None => behind
            .or_else(|| moved(run, was_well_at))
            .unwrap_or((FaultPlace::Unknown, String::new())),
    }
}

/// The name leads to an address at which it was never well, while it was elsewhere.
fn moved(run: &ProbeRun, was_well_at: &[String]) -> Option<(FaultPlace, String)> {
    let address = run.address.as_ref()?;
    // Without a name there is nothing that could have moved.
    let was_looked_up = run.phases[crate::model::ProbePhase::Resolve.index()].is_some();
    let before = was_well_at.last()?;
    (was_looked_up && !was_well_at.contains(address)).then(|| {
        let why = format!(
            "the name leads to {}, where it was never well; it was at {}",
            words::plain(address),
            words::plain(before)
        );
        (FaultPlace::Dns, why)
    })
}

/// `tls_expired: the certificate has expired`.
fn said(failure: ProbeFailure, detail: &str) -> String {
    let detail = words::plain(detail);
    if detail.is_empty() {
        failure.as_str().to_owned()
    } else {
        format!("{}: {detail}", failure.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::ProbePhase;

    type Seen = Option<ProbeFailure>;

    fn run(edge: Seen, ingress: Option<Seen>, direct: &[Seen], tcp: &[Seen]) -> ProbeRun {
        let view = |vantage, place: usize, failure| ViewRun {
            vantage,
            at: format!("e{place}"),
            failure,
            detail: "d".to_owned(),
            duration_us: 1,
            phases: Default::default(),
            status: None,
            address: None,
        };
        let mut views: Vec<ViewRun> = Vec::new();
        views.extend(ingress.map(|it| view(Vantage::Ingress, 0, it)));
        for (place, failure) in direct.iter().enumerate() {
            views.push(view(Vantage::Upstream, place, *failure));
        }
        for (place, failure) in tcp.iter().enumerate() {
            views.push(view(Vantage::Tcp, place, *failure));
        }
        let mut run = ProbeRun {
            failure: edge,
            address: Some("192.0.2.1:443".to_owned()),
            views,
            ..ProbeRun::default()
        };
        run.phases[ProbePhase::Resolve.index()] = Some(1);
        run
    }

    /// What is seen from the edge, the listener, the endpoints (`-`: nobody looked), whether the name still leads to where
    /// it was well, and where the fault is then.
    const TABLE: &str = "
        a name that is gone                  | dns_nxdomain         | ok                   | ok              | here      | dns
        a resolver that is silent            | dns_timeout          | ok                   | ok              | here      | dns
        a name that moved to nobody          | connect_refused      | ok                   | ok              | elsewhere | dns
        a name that moved to somebody else   | tls_name             | ok                   | ok              | elsewhere | dns
        a name that moved to another service | http_status          | ok                   | ok              | elsewhere | dns
        a firewall                           | connect_timeout      | ok                   | ok              | here      | network
        a gateway in front                   | http_status          | ok                   | ok              | here      | network
        an expired certificate               | tls_expired          | tls_expired          | ok              | here      | tls
        one of something in front            | tls_expired          | ok                   | ok              | here      | tls
        an expired one and a dead service    | tls_expired          | tls_expired          | connect_refused | here      | tls
        a listener that is gone              | connect_refused      | connect_refused      | ok              | here      | ingress
        a route that is gone                 | http_status          | http_status          | ok              | here      | ingress
        a dead service                       | http_status          | http_status          | connect_refused | here      | upstream
        one that hangs                       | http_timeout_headers | http_timeout_headers | http_timeout_headers | here | upstream
        one endpoint of two                  | http_status          | http_status          | ok http_status  | here      | upstream
        an endpoint whose name is gone       | http_status          | http_status          | dns_nxdomain    | here      | dns
        an endpoint with a bad certificate   | http_status          | http_status          | tls_untrusted   | here      | tls
        nothing to compare with              | http_status          | -                    | -               | here      | unknown
        no look behind                       | http_status          | http_status          | -               | here      | unknown
        no look at the listener              | http_status          | -                    | http_status     | here      | upstream
        our own trouble                      | not_permitted        | not_permitted        | ok              | here      | unknown";

    #[test]
    fn four_vantages_place_a_fault() {
        let failure = |word: &str| {
            ProbeFailure::parse(word).or_else(|| {
                assert_eq!(word, "ok");
                None
            })
        };
        for line in TABLE.lines().skip(1) {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let [what, edge, ingress, direct, leads, expected] = cells[..] else {
                panic!("{line}");
            };
            let ingress = (ingress != "-").then(|| failure(ingress));
            let direct: Vec<Seen> = direct
                .split_whitespace()
                .filter(|word| *word != "-")
                .map(failure)
                .collect();
            let before = if leads == "here" {
                "192.0.2.1:443"
            } else {
                "192.0.2.9:443"
            };
            let seen = run(failure(edge), ingress, &direct, &direct);
            let placing = place(&seen, &[before.to_owned()]).expect("it failed");
            assert_eq!(placing.place.as_str(), expected, "{what}: {}", placing.why);
            assert!(placing.why.contains(edge), "{what}: {}", placing.why);
        }
        let well = run(None, Some(Some(ProbeFailure::HttpStatus)), &[], &[]);
        assert_eq!(place(&well, &[]), None);
    }

    #[test]
    fn the_endpoint_that_fails_is_named() {
        let failing = Some(ProbeFailure::HttpStatus);
        let seen = run(failing, Some(failing), &[None, failing], &[None, None]);
        let placing = place(&seen, &[]).unwrap();
        assert_eq!(placing.endpoints, ["e1"]);
        assert_eq!(
            placing.why,
            "1 of 2 endpoints fail when they are asked directly, e1: http_status: d; it takes connections \
             (http_status)"
        );
    }

    proptest! {
        /// Nobody behind us is blamed for what fails before a request.
        #[test]
        fn no_service_is_blamed_for_a_name_a_connection_or_a_handshake(
            edge in prop::sample::select(ProbeFailure::ALL.to_vec()),
            ingress in prop::option::of(prop::option::of(prop::sample::select(ProbeFailure::ALL.to_vec()))),
            direct in prop::collection::vec(prop::option::of(prop::sample::select(ProbeFailure::ALL.to_vec())), 0..3),
        ) {
            let seen = run(Some(edge), ingress, &direct, &direct);
            let placing = place(&seen, &[]).expect("it failed");
            if stage(edge) != Stage::Exchange {
                prop_assert!(placing.place != FaultPlace::Upstream);
            }
            if placing.place == FaultPlace::Upstream {
                prop_assert!(!placing.endpoints.is_empty());
            }
        }
    }
}
