//! From definitions to probes that are ready to run: roots are read once, however many probes share them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::definition::{Definition, Target};
use super::run::Probe;
use crate::net::examine::Trust;
use crate::net::tls::TlsError;

/// Why a probe cannot be run.
#[derive(Debug, thiserror::Error)]
#[error("probe {name}: {source}")]
pub struct PrepareError {
    /// Its name.
    pub name: String,
    /// What is wrong with its roots.
    pub source: Box<TlsError>,
}

/// Makes every probe ready.
///
/// # Errors
/// Naming the first whose roots cannot be had.
pub fn prepare(definitions: Vec<Definition>) -> Result<Vec<Arc<Probe>>, PrepareError> {
    let mut known: HashMap<Option<PathBuf>, Trust> = HashMap::new();
    let mut trusted = |definition: &Definition| -> Result<Option<Trust>, TlsError> {
        let speaks_tls = match &definition.target {
            // A redirect may lead there.
            Target::Http(url) => url.tls || definition.http.redirects > 0,
            Target::Tcp(_) => false,
            Target::Tls(_) => true,
        };
        if !speaks_tls {
            return Ok(None);
        }
        if definition.tls.insecure {
            return Ok(Some(Trust::anything()));
        }
        let roots = &definition.tls.roots;
        if let Some(trust) = known.get(roots) {
            return Ok(Some(trust.clone()));
        }
        let trust = Trust::load(roots.as_deref())?;
        known.insert(roots.clone(), trust.clone());
        Ok(Some(trust))
    };
    let prepared = definitions.into_iter().map(|definition| {
        let trust = trusted(&definition).map_err(|source| PrepareError {
            name: definition.name.clone(),
            source: Box::new(source),
        })?;
        Ok(Arc::new(Probe::new(definition, trust)))
    });
    prepared.collect()
}
