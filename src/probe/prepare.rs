//! From definitions to probes that are ready to run: roots are read once, however many probes share them.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::definition::{Definition, JourneyStep, Target, View};
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
    let mut roots = Roots::default();
    let prepared = definitions.into_iter().map(|definition| {
        let refused = |source| PrepareError {
            name: definition.name.clone(),
            source: Box::new(source),
        };
        let trust = roots.of(&definition).map_err(refused)?;
        let mut views = Vec::with_capacity(definition.views.len());
        for view in &definition.views {
            let looked = looked_from(&definition, view);
            let trust = roots.of(&looked).map_err(refused)?;
            views.push(Arc::new(Probe::new(looked, trust, Vec::new())));
        }
        Ok(Arc::new(Probe::new(definition, trust, views)))
    });
    prepared.collect()
}

/// The same probe from another vantage.
fn looked_from(definition: &Definition, view: &View) -> Definition {
    Definition {
        target: view.target.clone(),
        manner: view.manner.clone(),
        steps: Vec::new(),
        maintenance: Vec::new(),
        hurry: false,
        compare: false,
        views: Vec::new(),
        ..definition.clone()
    }
}

/// Roots by the file that they were read from; the system's by none.
#[derive(Debug, Default)]
pub(super) struct Roots(HashMap<Option<PathBuf>, Trust>);

impl Roots {
    /// How a probe judges chains; `None` when it never sees one.
    pub(super) fn of(&mut self, definition: &Definition) -> Result<Option<Trust>, TlsError> {
        let manner = &definition.manner;
        let speaks_tls = match &definition.target {
            // A redirect may lead there.
            Target::Http(url) => {
                let may_lead_there = |step: &JourneyStep| {
                    step.manner.http.redirects > 0 || !step.target.starts_with('/')
                };
                url.tls || manner.http.redirects > 0 || definition.steps.iter().any(may_lead_there)
            }
            Target::Tcp(_) => manner.dialogue.steps.iter().any(|step| step.starttls),
            Target::Tls(_) | Target::Grpc(_, true) => true,
            Target::WebSocket(url) => url.tls,
            Target::Dns(_) | Target::Grpc(_, false) | Target::Icmp(_) => false,
        };
        if !speaks_tls {
            return Ok(None);
        }
        if manner.tls.insecure {
            return Ok(Some(Trust::anything()));
        }
        let path = &manner.tls.roots;
        if let Some(trust) = self.0.get(path) {
            return Ok(Some(trust.clone()));
        }
        let trust = Trust::load(path.as_deref())?;
        self.0.insert(path.clone(), trust.clone());
        Ok(Some(trust))
    }
}
