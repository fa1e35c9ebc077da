//! `[[acme]]`: who issues certificates, and how it is convinced that names are ours.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;

use super::{DAY, HOUR, SECOND};
use crate::cert::acme::Challenge;
use crate::config::keys::{Keys, Located, Section};
use crate::config::kind::{
    ADDRESS, CONTACT, Count, FILE, FOLDER_NAME, Flag, NAME, OWNER, SERVICE, Time, VARIABLE, Word,
};
use crate::config::outline::Rule;

/// `[[acme]]`
#[derive(Clone, Debug)]
pub(in crate::config) struct Authority {
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) directory: Option<Located<Uri>>,
    pub(in crate::config) accept_terms: Option<Located<bool>>,
    pub(in crate::config) contacts: Vec<Located<String>>,
    pub(in crate::config) challenge: Located<Challenge>,
    pub(in crate::config) hook: Option<Located<PathBuf>>,
    pub(in crate::config) hook_environment: Vec<Located<String>>,
    pub(in crate::config) hook_wait: Located<Duration>,
    pub(in crate::config) profile: Option<Located<String>>,
    pub(in crate::config) eab_id: Option<Located<String>>,
    pub(in crate::config) eab_key_file: Option<Located<PathBuf>>,
    pub(in crate::config) roots_file: Option<Located<PathBuf>>,
    pub(in crate::config) renew_before: Option<Located<Duration>>,
    pub(in crate::config) ask_every: Located<Duration>,
    pub(in crate::config) http_port: Option<Located<usize>>,
    pub(in crate::config) preflight: Option<Located<bool>>,
    pub(in crate::config) preflight_every: Option<Located<Duration>>,
    pub(in crate::config) preflight_resolver: Option<Located<SocketAddr>>,
    pub(in crate::config) dir: Option<Located<PathBuf>>,
}

const CHALLENGE: Word<Challenge> = Word(&[
    ("http-01", Challenge::Http),
    ("tls-alpn-01", Challenge::TlsAlpn),
    ("dns-01", Challenge::Dns),
]);

impl Section for Authority {
    const TITLE: &'static str = "`[[acme]]`";

    #[expect(clippy::too_many_lines, reason = "a table: one entry per key")]
    fn read(keys: &mut Keys<'_, '_>) -> Self {
        let section = Self {
            name: keys.required(
                "name",
                &FOLDER_NAME,
                "Its unique name, by which certificates name it.",
            ),
            directory: keys.required(
                "directory",
                &SERVICE,
                "The URL of its directory. Try with the staging one first: \
                 `https://acme-staging-v02.api.letsencrypt.org/directory` has generous limits and issues what nobody \
                 trusts; with another URL an account of its own is made and every certificate issued anew.",
            ),
            accept_terms: keys.required(
                "accept_terms",
                &Flag,
                "That you have read its terms of service and agree to them. It must be `true`.",
            ),
            contacts: keys.list(
                "contacts",
                &CONTACT,
                10,
                "it knows nobody to write to",
                "Whom it may write to about the account.",
            ),
            challenge: keys.or(
                "challenge",
                &CHALLENGE,
                Challenge::Http,
                "How it is shown that a name is ours. `http-01`: it asks port 80 of the name, which must reach a plain \
                 listener of ours. `tls-alpn-01`: it asks port 443, which must reach a TLS listener of ours. `dns-01`: it \
                 asks the DNS, where `hook` puts the answer; the only way to a wildcard.",
            ),
            hook: keys.optional(
                "hook",
                &FILE,
                "only with `challenge = \"dns-01\"`, and required there",
                "A program that writes to the DNS. Called as `HOOK present _acme-challenge.shop.example VALUE`, it makes \
                 a TXT record and ends with 0; as `HOOK cleanup …` with the same words, it removes that record. It has \
                 two minutes, and is ended then with all that it has started. Of the environment it is given `PATH`, `HOME`, \
                 `LANG`, `LC_ALL` and `TZ`, and nothing else.",
            ),
            hook_environment: keys.list(
                "hook_environment",
                &VARIABLE,
                32,
                "it is given no others",
                "Variables of Vestibule's environment that `hook` is given too, by name: where the credentials of a DNS \
                 service come from.",
            ),
            hook_wait: keys.or(
                "hook_wait",
                &Time(Duration::ZERO..=HOUR),
                SECOND * 30,
                "How long a record needs to be at all servers of the zone once `hook` has ended.",
            ),
            profile: keys.optional(
                "profile",
                &NAME,
                "the authority chooses",
                "The profile of its certificates, for example `shortlived`. Its directory lists what there is.",
            ),
            eab_id: keys.optional(
                "eab_id",
                &OWNER,
                "it needs no external account",
                "The id of the account that it knows you by already (external account binding).",
            ),
            eab_key_file: keys.optional(
                "eab_key_file",
                &FILE,
                "required with `eab_id`",
                "A file with that account's MAC key, base64url.",
            ),
            roots_file: keys.optional(
                "roots_file",
                &FILE,
                "the system's roots",
                "PEM roots that its directory is verified by: for a private authority.",
            ),
            renew_before: keys.optional(
                "renew_before",
                &Time(SECOND..=DAY * 3_650),
                "a third of the lifetime; half of one below 10 days",
                "How long before its end a certificate is renewed when the authority does not say when (RFC 9773). Held \
                 within the certificate's life.",
            ),
            ask_every: keys.or(
                "ask_every",
                &Time(SECOND..=DAY),
                DAY,
                "At the latest after so long the authority is asked again when to renew, whatever it said.",
            ),
            http_port: keys.optional(
                "http_port",
                &Count(1..=65_535),
                "80",
                "Only with `challenge = \"http-01\"`: the port that it asks. A public authority asks no other than 80; a private one \
                 may.",
            ),
            preflight: keys.optional(
                "preflight",
                &Flag,
                "`true`",
                "Only with `challenge = \"http-01\"`: whether we look ourselves, between renewals, if it would find what it asks \
                 for: a text of ours is put at `/.well-known/acme-challenge/` and asked for by each host's public name, at every \
                 address it has. Two failures in a row are a ticket.",
            ),
            preflight_every: keys.optional(
                "preflight_every",
                &Time(SECOND..=DAY * 30),
                "`1d`",
                "Only with `challenge = \"http-01\"`: how often that is looked at. One that failed is repeated sooner.",
            ),
            preflight_resolver: keys.optional(
                "preflight_resolver",
                &ADDRESS,
                "whom the system asks",
                "Only with `challenge = \"http-01\"`: the resolver that is asked for the hosts' addresses then. Name a public one \
                 where the system's gives internal addresses.",
            ),
            dir: keys.optional(
                "dir",
                &FILE,
                "`acme/NAME` in the state directory",
                "Where the account's key and the certificates are kept; readable by the owner alone.",
            ),
        };
        keys.rule(Rule::OnlyWith {
            key: "hook",
            of: "challenge",
            value: "dns-01",
        });
        section
    }
}
