//! `vestibule generate`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::{Exit, complain, fancy, say};
use crate::config::{self, Resolved};
use crate::generate::{Artifact, Place, Plan, SHORTEST, What, generate};
use crate::proxy::config::Route;

/// Writes what is asked for below `out`, or with `check` says which files there are not as they would be written.
/// `out` as `-` prints.
pub(super) fn run(what: &[What], from: &Path, out: &Path, check: bool) -> Exit {
    let resolved = match config::load(from) {
        Ok(resolved) => resolved,
        Err(report) => {
            complain(&format!("{report}\n{}", report.render(fancy())));
            return Exit::Config;
        }
    };
    let plan = plan(resolved);
    if what.contains(&What::Rules) {
        for (policy, window) in plan.too_short() {
            complain(&format!(
                "warning: policy `{policy}` has a window of {window}, which is less than {SHORTEST}: Prometheus scrapes every 15s \
                 and may never see it exceeded, though Vestibule itself does"
            ));
        }
    }
    let artifacts: Vec<Artifact> = what
        .iter()
        .flat_map(|what| generate(&plan, *what))
        .collect();
    if out == Path::new("-") {
        print(&artifacts);
        return Exit::Ok;
    }
    let leftover = leftover(&artifacts, out);
    if check {
        return compare(&artifacts, &leftover, out);
    }
    for artifact in &artifacts {
        let path = out.join(&artifact.path);
        if let Err(error) = write(&path, &artifact.text) {
            complain(&format!("cannot write {}: {error}", path.display()));
            return Exit::Io;
        }
        say(&format!("{}\n", path.display()));
    }
    for path in leftover {
        complain(&format!(
            "{} is no longer generated: remove it",
            path.display()
        ));
    }
    Exit::Ok
}

/// What is generated for a configuration.
pub(super) fn plan(resolved: Resolved) -> Plan {
    let routes = resolved.proxy.routes.into_iter();
    let places = routes.map(|route| {
        let Route {
            id,
            upstream,
            owner,
            ..
        } = route;
        (id, Place { upstream, owner })
    });
    Plan {
        slos: resolved.slos,
        policies: resolved.policies,
        places: places.collect(),
        links: resolved.links,
        sloth: resolved.sloth,
        admin: resolved.admin.listen,
    }
}

fn print(artifacts: &[Artifact]) {
    for (place, artifact) in artifacts.iter().enumerate() {
        if artifacts.len() > 1 {
            let gap = if place == 0 { "" } else { "\n" };
            say(&format!("{gap}==> {} <==\n", artifact.path));
        }
        say(&artifact.text);
    }
}

/// Replaces a file whole, so that whoever reads it meanwhile never sees a half.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir)?;
    }
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    fs::write(&fresh, text)?;
    fs::rename(&fresh, path)
}

fn compare(artifacts: &[Artifact], leftover: &BTreeSet<PathBuf>, out: &Path) -> Exit {
    let mut stale = 0;
    for artifact in artifacts {
        let path = out.join(&artifact.path);
        let why = match fs::read_to_string(&path) {
            Ok(text) if text == artifact.text => continue,
            Ok(text) => format!(
                "differs from line {} on",
                first_difference(&text, &artifact.text)
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => "is missing".to_owned(),
            Err(error) => format!("cannot be read: {error}"),
        };
        stale += 1;
        complain(&format!("{} {why}", path.display()));
    }
    for path in leftover {
        complain(&format!("{} is no longer generated", path.display()));
    }
    if stale + leftover.len() > 0 {
        complain(
            "the files are stale: run the same command without --check, and commit what it writes",
        );
        return Exit::Warn;
    }
    say(&format!("{} files are fresh\n", artifacts.len()));
    Exit::Ok
}

/// The first line in which two texts differ, from 1.
fn first_difference(one: &str, other: &str) -> usize {
    let alike = one.lines().zip(other.lines()).take_while(|(a, b)| a == b);
    alike.count() + 1
}

/// Files beside the generated ones that were generated once, and would not be again.
fn leftover(artifacts: &[Artifact], out: &Path) -> BTreeSet<PathBuf> {
    let written: BTreeSet<PathBuf> = artifacts
        .iter()
        .map(|artifact| out.join(&artifact.path))
        .collect();
    // Only directories that hold nothing but one kind; `alerts` itself is shared.
    let own = [
        "alerts/rules",
        "alerts/tests",
        "alerts/runbooks",
        "alerts/scrape",
    ];
    let own = own.map(|dir| out.join(dir));
    let dirs: BTreeSet<&Path> = written.iter().filter_map(|path| path.parent()).collect();
    dirs.into_iter()
        .filter(|dir| own.iter().any(|own| own == dir))
        .filter_map(|dir| fs::read_dir(dir).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| !written.contains(path))
        .filter(|path| fs::read_to_string(path).is_ok_and(|text| crate::generate::is_ours(&text)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_differs_is_named() {
        assert_eq!(first_difference("a\nb\n", "a\nc\n"), 2);
        assert_eq!(first_difference("a\n", "a\nc\n"), 2);
        assert_eq!(first_difference("", "a"), 1);
    }
}
