//! One authority, and our account with it.

use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use instant_acme::{Account, ExternalAccountKey, NewAccount};

use super::Authority;
use super::http::Http;
use super::keep::Keep;
use super::trouble::{Phase, Trouble, insist};
use crate::net::tls;

/// One authority, and our account with it once it was asked for.
#[derive(Debug)]
pub(super) struct Teller {
    pub(super) authority: Authority,
    keep: Keep,
    /// How it is spoken to. Across an await: who comes second waits for the account that the first one makes.
    line: tokio::sync::Mutex<Line>,
}

/// What is kept of an authority from one request to the next.
#[derive(Debug, Default)]
struct Line {
    /// Made when it is first needed, since its roots are read from disk.
    http: Option<Http>,
    account: Option<Rc<Shared>>,
}

/// An account; the library's does not print itself.
pub(super) struct Shared(pub(super) Account);

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Shared").field(&self.0.id()).finish()
    }
}

impl Teller {
    pub(super) fn new(authority: Authority, keep: Keep) -> Self {
        Self {
            authority,
            keep,
            line: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn keep(&self) -> &Keep {
        &self.keep
    }

    /// The account; made when there is none.
    pub(super) async fn account(&self) -> Result<Rc<Shared>, Trouble> {
        let mut line = self.line.lock().await;
        if let Some(account) = &line.account {
            return Ok(Rc::clone(account));
        }
        let http = if let Some(http) = &line.http {
            http.clone()
        } else {
            let config = tls::client_config(self.authority.roots.as_deref(), false)
                .map_err(|error| Trouble::new(Phase::Account, error))?;
            line.http.insert(Http::new(config)).clone()
        };
        let account = Rc::new(Shared(self.open(http).await?));
        line.account = Some(Rc::clone(&account));
        Ok(account)
    }

    /// For how long it wants to be left alone, as it said with its last refusal; told once. Asks nobody.
    pub(super) async fn refused_for(&self) -> Option<Duration> {
        self.line.lock().await.http.as_ref()?.refused_for()
    }

    /// Draws the consequence of what went wrong: an account that it does not know is forgotten, and one that could not even
    /// be found is looked for anew, with roots as they are then.
    pub(super) async fn learn(&self, trouble: &Trouble) {
        let mut line = self.line.lock().await;
        if trouble.stranger {
            self.keep.forget_account(&self.authority.directory);
        }
        if trouble.stranger || trouble.phase == Phase::Order {
            // Its directory may have changed: the next one to ask reads it anew.
            line.account = None;
        }
        if trouble.phase == Phase::Account {
            *line = Line::default();
        }
    }

    async fn open(&self, http: Http) -> Result<Account, Trouble> {
        let phase = Phase::Account;
        let authority = &self.authority;
        if let Some(known) = self.keep.account(&authority.directory) {
            let builder = Account::builder_with_http(Box::new(http));
            let account = builder.from_credentials(known).await;
            return account.map_err(|error| Trouble::told(phase, &error));
        }
        let binding = match &authority.binding {
            Some(binding) => Some(mac_key(&binding.id, &binding.key)?),
            None => None,
        };
        let contact: Vec<&str> = authority.contacts.iter().map(String::as_str).collect();
        let wanted = NewAccount {
            contact: &contact,
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let made = insist(async || {
            let builder = Account::builder_with_http(Box::new(http.clone()));
            let directory = authority.directory.clone();
            builder.create(&wanted, directory, binding.as_ref()).await
        });
        let (account, credentials) = made.await.map_err(|error| Trouble::told(phase, &error))?;
        let kept = self.keep.put_account(&authority.directory, &credentials);
        kept.map_err(|error| Trouble::new(phase, format!("cannot keep the account: {error}")))?;
        Ok(account)
    }
}

fn mac_key(id: &str, file: &Path) -> Result<ExternalAccountKey, Trouble> {
    let trouble = |why: &dyn std::fmt::Display| {
        Trouble::new(
            Phase::Account,
            format!("no MAC key in {}: {why}", file.display()),
        )
    };
    let text = std::fs::read_to_string(file).map_err(|error| trouble(&error))?;
    let text = text.trim().trim_end_matches('=');
    let key = base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|error| trouble(&error))?;
    Ok(ExternalAccountKey::new(id.to_owned(), &key))
}
