//! Certificates that are issued while we run (ACME: RFC 8555; renewal information: RFC 9773).
//!
//! [`renewal`] and [`budget`] are the pure part: when a certificate is to be renewed, and how often at most it may be.
//! `keep` is what lies on disk, which is also what is served after a restart. `order` goes from an account, which is kept by
//! `teller`, to a chain, one phase after the other; `desk` has what authorities are shown meanwhile, and `hook` what writes to
//! the DNS. `preflight` looks whether an authority would find what it asks for. [`issuer`] has a task for every certificate of the configuration, `care`, on a thread of its own.
//!
//! What is issued is decided by the configuration alone. A handshake for an unknown host starts nothing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub mod budget;
mod care;
mod desk;
mod hook;
mod http;
pub mod issuer;
mod keep;
mod order;
mod preflight;
pub mod renewal;
mod teller;
mod trouble;

/// Who issues certificates, and which.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// By unique name.
    pub authorities: Vec<Authority>,
    /// By unique name; the authority of each is among them.
    pub certificates: Vec<Wanted>,
}

impl Config {
    /// The authority of this name.
    pub fn authority(&self, name: &str) -> Option<&Authority> {
        self.authorities.iter().find(|it| it.name == name)
    }
}

/// A certificate authority that speaks ACME, and our account with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authority {
    /// Unique name.
    pub name: String,
    /// The URL of its directory, `https`.
    pub directory: String,
    /// `mailto:` addresses.
    pub contacts: Vec<String>,
    /// How it is shown that a name is ours.
    pub challenge: Challenge,
    /// The program that writes to the DNS; there with [`Challenge::Dns`].
    pub hook: Option<PathBuf>,
    /// Variables of our environment that the program is given besides the usual ones, by name.
    pub hook_environment: Vec<String>,
    /// How long a record needs to be everywhere once the program has ended.
    pub hook_wait: Duration,
    /// The profile of its certificates; `None`: it chooses.
    pub profile: Option<String>,
    /// The account that it knows us by already.
    pub binding: Option<Binding>,
    /// PEM roots that its directory is verified by; `None`: the system's.
    pub roots: Option<PathBuf>,
    /// How long before its end a certificate is renewed when the authority does not say; `None`: a share of its life.
    pub renew_before: Option<Duration>,
    /// At the latest after so long it is asked again when to renew.
    pub ask_every: Duration,
    /// The port that it asks with [`Challenge::Http`].
    pub http_port: u16,
    /// How often we look whether it would find what it asks for there; `None`: never.
    pub preflight_every: Option<Duration>,
    /// Who is asked for our hosts' addresses then; `None`: whom the system asks.
    pub preflight_resolver: Option<SocketAddr>,
    /// Where account and certificates are kept.
    pub dir: PathBuf,
    /// Whether that follows from the state directory.
    pub dir_is_default: bool,
}

impl Authority {
    /// Where the certificate of this name is kept: key and chain in one file, so that the two always belong together.
    pub fn file(&self, certificate: &str) -> PathBuf {
        self.dir.join(format!("{certificate}.pem"))
    }
}

/// Where an authority's things are kept when the configuration does not say.
pub fn default_dir(state: &Path, authority: &str) -> PathBuf {
    state.join("acme").join(authority)
}

/// An account that somebody has with an authority before ACME (RFC 8555, 7.3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Its id.
    pub id: String,
    /// A file with its MAC key, base64url.
    pub key: PathBuf,
}

/// How it is shown that a name is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// By a text at a path of plain HTTP.
    Http,
    /// By a certificate in a handshake that asks for nothing else.
    TlsAlpn,
    /// By a record in the DNS.
    Dns,
}

impl Challenge {
    /// Its name in RFC 8555 and RFC 8737.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http-01",
            Self::TlsAlpn => "tls-alpn-01",
            Self::Dns => "dns-01",
        }
    }
}

/// A certificate that is to be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Unique name.
    pub name: String,
    /// The authority's name.
    pub authority: String,
    /// The hosts it is for, lower case; a wildcard is written `*.example.com`.
    pub hosts: Vec<String>,
}
