//! How a probe asks: the keys that probes and modules share.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::Expect;
use super::{MILLISECOND, SECOND};
use crate::config::finding::Span;
use crate::config::keys::{Item, Keys, Located, Section};
use crate::config::kind::{
    ADDRESS, Count, DOMAIN, FILE, Flag, HEADER, IP, METHOD, OWNER, PATTERN, RECORD_TYPE,
    SERVER_NAME, Size, TEXT, Time, Word,
};
use crate::config::outline::Rule;
use crate::probe::definition::{Family, HttpVersion, Pattern, StartTls};

/// What probes and modules have in common.
#[derive(Debug)]
pub(in crate::config) struct Manner {
    pub(in crate::config) timeout: Located<Duration>,
    pub(in crate::config) connect_to: Option<Located<SocketAddr>>,
    pub(in crate::config) resolver: Option<Located<SocketAddr>>,
    pub(in crate::config) family: Located<Family>,
    pub(in crate::config) source: Option<Located<IpAddr>>,
    pub(in crate::config) http: Http,
    pub(in crate::config) tcp: Tcp,
    pub(in crate::config) dns: Dns,
    pub(in crate::config) grpc: Grpc,
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
    pub(in crate::config) dns: Option<Span>,
    pub(in crate::config) grpc: Option<Span>,
    pub(in crate::config) tls: Option<Span>,
}

const FAMILIES: Word<Family> = Word(&[
    ("any", Family::Any),
    ("ipv4", Family::V4),
    ("ipv6", Family::V6),
    ("prefer_ipv4", Family::PreferV4),
    ("prefer_ipv6", Family::PreferV6),
]);

impl Manner {
    /// Asks for its keys; `usual` is the timeout when none is written.
    pub(super) fn read(keys: &mut Keys<'_, '_>, usual: Duration) -> Self {
        Self {
            timeout: keys.or(
                "timeout",
                &Time(MILLISECOND..=SECOND * 120),
                usual,
                "For the whole run, redirects included. It may be longer than `every`: runs do not wait for one \
                 another.",
            ),
            connect_to: keys.optional(
                "connect_to",
                &ADDRESS,
                "the address that the target's name has",
                "Connect here whatever the target's name resolves to: one listener, one server behind a name.",
            ),
            resolver: keys.optional(
                "resolver",
                &ADDRESS,
                "whom the system asks",
                "The resolver that is asked for the name's addresses: the one that users have. It is asked each time, without \
                 a cache.",
            ),
            family: keys.or(
                "family",
                &FAMILIES,
                Family::Any,
                "Which of the name's addresses is taken, the first one of this family. Others are not tried: a probe \
                 that did would not notice a dead one.",
            ),
            source: keys.optional(
                "source",
                &IP,
                "what the system chooses",
                "The address of this machine to ask from.",
            ),
            http: keys.table(
                "http",
                "How the page is asked for. Only with `http://` and `https://` targets, and `http.headers` with `ws://` \
                 and `wss://`.",
            ),
            tcp: keys.table(
                "tcp",
                "What is said and heard. Only with `tcp://`, `tls://`, `ws://` and `wss://` targets.",
            ),
            dns: keys.table("dns", "What is asked. Only with `dns://` targets."),
            grpc: keys.table("grpc", "What is asked. Only with `grpc://` and `grpcs://` targets."),
            tls: keys.table(
                "tls",
                "How the server's certificate is judged. Only with targets that are reached over TLS.",
            ),
            expect: keys.table("expect", "What must hold for it to be well."),
            written: Written {
                http: keys.key_span("http"),
                tcp: keys.key_span("tcp"),
                dns: keys.key_span("dns"),
                grpc: keys.key_span("grpc"),
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
    pub(in crate::config) bearer_file: Option<Located<PathBuf>>,
    pub(in crate::config) user: Option<Located<String>>,
    pub(in crate::config) password_file: Option<Located<PathBuf>>,
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
        keys.rule(Rule::AtMostOne("bearer_file", "user"));
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
            bearer_file: keys.optional(
                "bearer_file",
                &FILE,
                "none",
                "A file whose content is sent as `Authorization: Bearer`. Read for each run; sent to the target's own host \
                 only. A relative path starts beside this file.",
            ),
            user: keys.optional(
                "user",
                &OWNER,
                "none",
                "The user name of `Authorization: Basic`. Needs `password_file`.",
            ),
            password_file: keys.optional(
                "password_file",
                &FILE,
                "none",
                "The file of the password that goes with `user`. Read for each run.",
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
    pub(in crate::config) steps: Vec<Item<StepTable>>,
    pub(in crate::config) send: Option<Located<String>>,
}

impl Section for Tcp {
    const TITLE: &'static str = "`[probe.tcp]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            steps: keys.tables(
                "step",
                0,
                50,
                "A step of a dialogue, before `send`: hear, say, perhaps begin TLS.",
            ),
            send: keys.optional(
                "send",
                &TEXT,
                "nothing",
                "What is said once connected. What is answered is held to `expect.body`.",
            ),
        }
    }
}

/// `[[probe.tcp.step]]`
#[derive(Debug)]
pub(in crate::config) struct StepTable {
    pub(in crate::config) expect: Option<Located<Pattern>>,
    pub(in crate::config) send: Option<Located<String>>,
    pub(in crate::config) starttls: Located<bool>,
}

impl Section for StepTable {
    const TITLE: &'static str = "`[[probe.tcp.step]]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            expect: keys.optional(
                "expect",
                &PATTERN,
                "nothing is waited for",
                "Lines are read until one matches this regular expression.",
            ),
            send: keys.optional(
                "send",
                &TEXT,
                "nothing",
                "What is said then, line ends included. `$${1}` and `$${name}` are what `expect` captured.",
            ),
            starttls: keys.or("starttls", &Flag, false, "Begin TLS then."),
        }
    }
}

/// `[probe.dns]`
#[derive(Debug)]
pub(in crate::config) struct Dns {
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) kind: Located<String>,
    pub(in crate::config) recurse: Located<bool>,
    pub(in crate::config) transport: Located<bool>,
}

const TRANSPORTS: Word<bool> = Word(&[("udp", false), ("tcp", true)]);

impl Section for Dns {
    const TITLE: &'static str = "`[probe.dns]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            name: keys.optional("name", &DOMAIN, "the root", "The name that is asked for."),
            kind: keys.or("type", &RECORD_TYPE, "A".to_owned(), "The type of records."),
            recurse: keys.or(
                "recurse",
                &Flag,
                true,
                "Whether the server may ask others. Switch it off to ask an authority what it knows itself.",
            ),
            transport: keys.or(
                "transport",
                &TRANSPORTS,
                false,
                "An answer over UDP that was cut off is asked for again over TCP.",
            ),
        }
    }
}

/// `[probe.grpc]`
#[derive(Debug)]
pub(in crate::config) struct Grpc {
    pub(in crate::config) service: Option<Located<String>>,
}

impl Section for Grpc {
    const TITLE: &'static str = "`[probe.grpc]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            service: keys.optional(
                "service",
                &TEXT,
                "the server as a whole",
                "The service whose health is asked for (`grpc.health.v1`).",
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
    pub(in crate::config) starttls: Option<Located<StartTls>>,
}

const PROTOCOLS: Word<StartTls> = Word(&[
    ("smtp", StartTls::Smtp),
    ("imap", StartTls::Imap),
    ("pop3", StartTls::Pop3),
    ("ftp", StartTls::Ftp),
    ("postgres", StartTls::Postgres),
]);

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
            starttls: keys.optional(
                "starttls",
                &PROTOCOLS,
                "TLS begins at once",
                "The protocol by which the connection is asked to become encrypted. Only with `tls://` targets.",
            ),
        }
    }
}
