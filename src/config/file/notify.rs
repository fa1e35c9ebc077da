//! Who is told of alerts.

use std::path::PathBuf;
use std::time::Duration;

use super::SECOND;
use crate::config::keys::{Keys, Located, Section};
use crate::config::kind::{FILE, Flag, NAME, SERVICE, Time, Word};
use crate::notify::Kind;
use crate::slo::policy::Severity;
use http::Uri;

/// `[[notify]]`
#[derive(Clone, Debug)]
pub(in crate::config) struct Receiver {
    pub(in crate::config) name: Option<Located<String>>,
    pub(in crate::config) kind: Option<Located<Kind>>,
    pub(in crate::config) url: Option<Located<Uri>>,
    pub(in crate::config) severities: Vec<Located<Severity>>,
    pub(in crate::config) key_file: Option<Located<PathBuf>>,
    pub(in crate::config) token_file: Option<Located<PathBuf>>,
    pub(in crate::config) roots_file: Option<Located<PathBuf>>,
    pub(in crate::config) timeout: Located<Duration>,
    pub(in crate::config) watchdog: Located<bool>,
}

const KINDS: Word<Kind> = Word(&[
    ("alertmanager", Kind::Alertmanager),
    ("webhook", Kind::Webhook),
    ("slack", Kind::Slack),
]);

const SEVERITIES: Word<Severity> = Word(&[("page", Severity::Page), ("ticket", Severity::Ticket)]);

impl Section for Receiver {
    const TITLE: &'static str = "`[[notify]]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            name: keys.required("name", &NAME, "Its unique name, as status and log know it."),
            kind: keys.required(
                "kind",
                &KINDS,
                "What it understands. `alertmanager`: its API v2; what fires is repeated every minute, as it wants. \
                 `webhook`: one JSON message for each alert that begins or ends. `slack`: a text message, as Slack and \
                 Mattermost take it.",
            ),
            url: keys.required(
                "url",
                &SERVICE,
                "Where it listens. Alertmanager is named by its root. A URL that is a secret belongs into the \
                 environment: `${VARIABLE}`.",
            ),
            severities: keys.list(
                "severities",
                &SEVERITIES,
                2,
                "both",
                "What it wants to hear of.",
            ),
            key_file: keys.optional(
                "key_file",
                &FILE,
                "messages are not signed",
                "Holds a key. Header `x-vestibule-signature` is then `sha256=` and the HMAC-SHA256 of \
                 `x-vestibule-timestamp`, a point and the message.",
            ),
            token_file: keys.optional(
                "token_file",
                &FILE,
                "no token is sent",
                "Holds a token that is sent as `authorization: Bearer`.",
            ),
            roots_file: keys.optional(
                "roots_file",
                &FILE,
                "the system's",
                "Certificates of the issuers that are trusted, as PEM.",
            ),
            timeout: keys.or(
                "timeout",
                &Time(SECOND..=SECOND * 60),
                SECOND * 10,
                "The most that one delivery may take. A failed one is tried again, after a second at first and a \
                 minute at most.",
            ),
            watchdog: keys.or(
                "watchdog",
                &Flag,
                false,
                "Tells it every minute that alerting works, for a service that reports when this stops. Alertmanager \
                 gets the alert `VestibuleWatchdog`, a webhook a message of the status `watchdog`, a chat nothing.",
            ),
        }
    }
}
