//! The shape of a file of probes, `synthetic/*.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::{DAY, MILLISECOND, SECOND};
use crate::config::finding::Span;
use crate::config::keys::{Item, Keys, Located, Section};
use crate::config::kind::{
    ADDRESS, Count, FAILURE, FILE, Flag, HEADER, HEADER_TEXT, METHOD, NAME, PATTERN, SERVER_NAME,
    SHARE, STATUSES, Size, TARGET, TEXT, Time, WEB_PAGE, Word,
};
use crate::model::ProbeFailure;
use crate::probe::definition::{Family, HttpVersion, Pattern, Statuses, Target};

/// Probes in one file.
const MOST_PROBES: usize = 1_000;

/// A whole file of probes.
#[derive(Debug)]
pub(in crate::config) struct ProbeFile {
    pub(in crate::config) probes: Vec<Item<Probe>>,
}

impl Section for ProbeFile {
    const TITLE: &'static str = "a file of probes";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            probes: keys.tables(
                "probe",
                1,
                MOST_PROBES,
                "A check that is run on a schedule, as a user would do it.",
            ),
        }
    }
}

/// `[[probe]]`
#[derive(Debug)]
pub(in crate::config) struct Probe {
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) target: Option<Located<Target>>,
    pub(in crate::config) every: Located<Duration>,
    pub(in crate::config) timeout: Located<Duration>,
    pub(in crate::config) route: Option<Located<String>>,
    pub(in crate::config) runbook: Option<Located<String>>,
    pub(in crate::config) paused: Located<bool>,
    pub(in crate::config) connect_to: Option<Located<SocketAddr>>,
    pub(in crate::config) family: Located<Family>,
    pub(in crate::config) http: Http,
    pub(in crate::config) tcp: Tcp,
    pub(in crate::config) tls: Tls,
    pub(in crate::config) expect: Expect,
    /// Where keys stand that go with some targets only.
    pub(in crate::config) written: Written,
}

/// Where each of these is written, if it is.
#[derive(Debug)]
pub(in crate::config) struct Written {
    pub(in crate::config) http: Option<Span>,
    pub(in crate::config) tcp: Option<Span>,
    pub(in crate::config) tls: Option<Span>,
}

const FAMILIES: Word<Family> = Word(&[
    ("any", Family::Any),
    ("ipv4", Family::V4),
    ("ipv6", Family::V6),
]);

impl Section for Probe {
    const TITLE: &'static str = "`[[probe]]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            name: keys.required(
                "name",
                &NAME,
                "Its unique name, among those of all files. When its slots are follows from it, so a restart changes \
                 nothing.",
            ),
            target: keys.required(
                "target",
                &TARGET,
                "What it is aimed at. `tcp://` connects, `tls://` shakes hands as well, `http://` and `https://` ask \
                 for a page.",
            ),
            every: keys.or(
                "every",
                &Time(SECOND..=DAY),
                SECOND * 30,
                "From one slot to the next. A failed slot costs an error budget as much time as this. Whole seconds.",
            ),
            timeout: keys.or(
                "timeout",
                &Time(MILLISECOND..=SECOND * 120),
                SECOND * 10,
                "For the whole run, redirects included. It may be longer than `every`: runs do not wait for one \
                 another.",
            ),
            route: keys.optional(
                "route",
                &NAME,
                "none",
                "The id of the route in `vestibule.toml` that it looks at from outside.",
            ),
            runbook: keys.optional(
                "runbook",
                &WEB_PAGE,
                "none",
                "The page that says what to do when it fails.",
            ),
            paused: keys.or(
                "paused",
                &Flag,
                false,
                "Switches it off without forgetting it: its slots are missed, as `paused`.",
            ),
            connect_to: keys.optional(
                "connect_to",
                &ADDRESS,
                "the address that the target's name has",
                "Connect here whatever the target's name resolves to: one listener, one server behind a name.",
            ),
            family: keys.or(
                "family",
                &FAMILIES,
                Family::Any,
                "Which of the name's addresses is taken, the first one of this family. Others are not tried: a probe \
                 that did would not notice a dead one.",
            ),
            http: keys.table(
                "http",
                "How the page is asked for. Only with `http://` and `https://` targets.",
            ),
            tcp: keys.table("tcp", "What is said. Only with `tcp://` targets."),
            tls: keys.table(
                "tls",
                "How the server's certificate is judged. Only with `https://` and `tls://` targets.",
            ),
            expect: keys.table("expect", "What must hold for it to be well."),
            written: Written {
                http: keys.key_span("http"),
                tcp: keys.key_span("tcp"),
                tls: keys.key_span("tls"),
            },
        }
    }
}

/// `[probe.http]`
#[derive(Debug)]
pub(in crate::config) struct Http {
    pub(in crate::config) method: Located<String>,
    pub(in crate::config) headers: Vec<Located<(HeaderName, HeaderValue)>>,
    pub(in crate::config) body: Option<Located<String>>,
    pub(in crate::config) redirects: Located<usize>,
    pub(in crate::config) version: Located<HttpVersion>,
    pub(in crate::config) max_body: Located<u64>,
}

const VERSIONS: Word<HttpVersion> = Word(&[
    ("any", HttpVersion::Any),
    ("1.1", HttpVersion::Http1),
    ("2", HttpVersion::Http2),
]);

impl Section for Http {
    const TITLE: &'static str = "`[probe.http]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            method: keys.or("method", &METHOD, "GET".to_owned(), "The method."),
            headers: keys.list(
                "headers",
                &HEADER,
                50,
                "User-Agent and Accept",
                "Headers to send. Keep secrets in variables: `Authorization: Bearer ${TOKEN}`. Authorization and Cookie \
                 do not follow a redirect to another host.",
            ),
            body: keys.optional("body", &TEXT, "none is sent", "The body."),
            redirects: keys.or(
                "redirects",
                &Count(0..=20),
                0,
                "Redirects that are followed. With 0 a redirect's own status is judged.",
            ),
            version: keys.or(
                "version",
                &VERSIONS,
                HttpVersion::Any,
                "The version of HTTP. `any` lets a server choose over TLS, and is HTTP/1.1 in plain text.",
            ),
            max_body: keys.or(
                "max_body",
                &Size(1..=64 << 20),
                1 << 20,
                "The largest body that is read; a larger one fails as `too_large`.",
            ),
        }
    }
}

/// `[probe.tcp]`
#[derive(Debug)]
pub(in crate::config) struct Tcp {
    pub(in crate::config) send: Option<Located<String>>,
}

impl Section for Tcp {
    const TITLE: &'static str = "`[probe.tcp]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            send: keys.optional(
                "send",
                &TEXT,
                "nothing",
                "What is said once connected. What is answered is held to `expect.body`.",
            ),
        }
    }
}

/// `[probe.tls]`
#[derive(Debug)]
pub(in crate::config) struct Tls {
    pub(in crate::config) server_name: Option<Located<String>>,
    pub(in crate::config) roots_file: Option<Located<PathBuf>>,
    pub(in crate::config) insecure: Located<bool>,
}

impl Section for Tls {
    const TITLE: &'static str = "`[probe.tls]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            server_name: keys.optional(
                "server_name",
                &SERVER_NAME,
                "the target's host",
                "The name that is asked for (SNI) and that the certificate is verified for.",
            ),
            roots_file: keys.optional(
                "roots_file",
                &FILE,
                "the system's",
                "The roots to verify by. A relative path starts beside this file.",
            ),
            insecure: keys.or(
                "insecure",
                &Flag,
                false,
                "Take any certificate. Its dates are still known and alerted on.",
            ),
        }
    }
}

/// `[probe.expect]`
#[derive(Debug)]
pub(in crate::config) struct Expect {
    pub(in crate::config) failure: Option<Located<ProbeFailure>>,
    pub(in crate::config) status: Vec<Located<Statuses>>,
    pub(in crate::config) headers: Vec<Located<(HeaderName, String)>>,
    pub(in crate::config) body: Vec<Located<String>>,
    pub(in crate::config) body_lacks: Vec<Located<String>>,
    pub(in crate::config) body_matches: Vec<Located<Pattern>>,
    pub(in crate::config) under: Option<Located<Duration>>,
    pub(in crate::config) certificate_left: Option<Located<u32>>,
}

impl Section for Expect {
    const TITLE: &'static str = "`[probe.expect]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            failure: keys.optional(
                "failure",
                &FAILURE,
                "it must succeed",
                "It is well when it fails for just this reason: that a port is closed, that a page is not public.",
            ),
            status: keys.list(
                "status",
                &STATUSES,
                20,
                "`2xx`",
                "The status is one of these. HTTP only.",
            ),
            headers: keys.list(
                "headers",
                &HEADER_TEXT,
                50,
                "any",
                "Each of these headers is there and contains the text, which may be empty. HTTP only.",
            ),
            body: keys.list(
                "body",
                &TEXT,
                50,
                "anything",
                "The body contains each of these; for `tcp://`, what the service says.",
            ),
            body_lacks: keys.list(
                "body_lacks",
                &TEXT,
                50,
                "anything",
                "The body contains none of these.",
            ),
            body_matches: keys.list(
                "body_matches",
                &PATTERN,
                50,
                "anything",
                "The body matches each of these regular expressions, somewhere.",
            ),
            under: keys.optional(
                "under",
                &Time(MILLISECOND..=SECOND * 120),
                "the timeout",
                "The whole run takes at most this long.",
            ),
            certificate_left: keys.optional(
                "certificate_left",
                &SHARE,
                "that it is valid",
                "At least this share of the certificate's life is left. Shares rather than days: a certificate may live \
                 for a year or for six days. TLS only.",
            ),
        }
    }
}
