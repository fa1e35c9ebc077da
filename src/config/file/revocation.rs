//! `[revocation]`: where lists of revoked certificates come from.

use std::path::PathBuf;

use crate::config::keys::{Keys, Located, Section};
use crate::config::kind::{FILE, Flag};

/// `[revocation]`
#[derive(Clone, Debug)]
pub(in crate::config) struct Revocation {
    pub(in crate::config) fetch: Located<bool>,
    pub(in crate::config) files: Vec<Located<PathBuf>>,
    pub(in crate::config) issuers_file: Option<Located<PathBuf>>,
}

impl Section for Revocation {
    const TITLE: &'static str = "`[revocation]`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            fetch: keys.or(
                "fetch",
                &Flag,
                true,
                "Whether the lists that certificates of the configuration name (CRL distribution points, http and https) are \
                 fetched: once a day, or when half of a list's time is over. Those of certificates that live for ten days at \
                 most are not.",
            ),
            files: keys.list(
                "files",
                &FILE,
                32,
                "none",
                "Lists in files, DER or PEM; read every minute.",
            ),
            issuers_file: keys.optional(
                "issuers_file",
                &FILE,
                "issuers are in the chains",
                "PEM certificates of issuers, by which lists are verified when a chain does not hold them.",
            ),
        }
    }
}
