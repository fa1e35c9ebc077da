//! `vestibule check`.

use std::path::Path;

use super::{Exit, complain, fancy, say};
use crate::config;
use crate::model::Directory;
use crate::net::tls::ticketer;
use crate::proxy::generation::Generation;

pub(super) fn check(file: &Path, json: bool) -> Exit {
    let resolved = match config::load(file) {
        Ok(resolved) => resolved,
        Err(report) => {
            if json {
                say(&format!("{:#}\n", report.to_json()));
            } else {
                complain(&format!("{report}\n{}", report.render(fancy())));
            }
            return Exit::Config;
        }
    };
    // What only building shows: keys that do not belong to their certificates, names that TLS cannot verify.
    let built = ticketer().map_err(Into::into).and_then(|tickets| {
        Generation::build(&resolved.proxy, &mut Directory::default(), &tickets)
    });
    if let Err(error) = built {
        if json {
            let found = serde_json::json!({
                "file": file.display().to_string(),
                "errors": 1,
                "diagnostics": [{ "code": "config::build", "severity": "error", "message": error.to_string() }],
                "omitted": 0,
            });
            say(&format!("{found:#}\n"));
        } else {
            complain(&format!("{}: {error}", file.display()));
        }
        return Exit::Config;
    }
    if json {
        say(&format!("{:#}\n", resolved.warnings.to_json()));
    } else if !resolved.warnings.is_empty() {
        complain(&format!(
            "{}\n{}",
            resolved.warnings,
            resolved.warnings.render(fancy())
        ));
    }
    if !json {
        let (routes, slos) = (resolved.proxy.routes.len(), resolved.slos.len());
        say(&format!(
            "{} is right: {routes} routes, {slos} SLOs\n",
            file.display()
        ));
    }
    Exit::Ok
}
