//! `vestibule diff`: which requests are treated differently by another configuration.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::asked::Asked;
use super::decision::{Decision, Table};
use super::{Exit, explain, say};
use crate::routing::matcher::Listeners;
use crate::routing::witness::{Samples, Witness};

/// Compares two configurations by the requests of `urls`, or by requests made of both of them.
pub(super) fn diff(old: &Table, new: &Table, urls: Option<&Path>, json: bool) -> Exit {
    let asked = match urls.map(explain::read) {
        Some(Ok(asked)) => asked,
        Some(Err(exit)) => return exit,
        None => requests(old, new),
    };
    let changes: Vec<Change<'_>> = asked
        .iter()
        .filter_map(|asked| Change::find(asked, old.decide(asked), new.decide(asked)))
        .collect();
    if json {
        let changes: Vec<Value> = changes.iter().map(Change::to_json).collect();
        let text = json!({ "requests": asked.len(), "changes": changes });
        say(&format!("{text:#}\n"));
    } else {
        say(&lines(asked.len(), &changes));
    }
    if changes.is_empty() {
        Exit::Ok
    } else {
        Exit::Warn
    }
}

/// A request that the two configurations treat differently.
struct Change<'a> {
    asked: &'a Asked,
    /// What differs, and from what to what.
    what: Vec<(&'static str, String, String)>,
    old: Decision,
    new: Decision,
}

impl<'a> Change<'a> {
    fn find(asked: &'a Asked, old: Decision, new: Decision) -> Option<Self> {
        let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "none".to_owned());
        let mut what = Vec::new();
        if old.route != new.route {
            what.push(("route", or_none(&old.route), or_none(&new.route)));
        }
        if old.refused != new.refused {
            what.push(("answer", answer(&old), answer(&new)));
        }
        if old.upstream != new.upstream {
            what.push(("upstream", upstream(&old), upstream(&new)));
        }
        if old.certificate != new.certificate {
            what.push(("certificate", certificate(&old), certificate(&new)));
        }
        // Of two routes that go nowhere alike nothing more is known.
        if old.refused.is_none() && new.refused.is_none() {
            let (before, after) = (steps(&old), steps(&new));
            let mut names: Vec<&'static str> = before.keys().chain(after.keys()).copied().collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let value = |steps: &BTreeMap<&str, &str>| {
                    steps.get(name).map_or("nothing", |value| value).to_owned()
                };
                if before.get(name) != after.get(name) {
                    what.push((name, value(&before), value(&after)));
                }
            }
        }
        (!what.is_empty()).then_some(Self {
            asked,
            what,
            old,
            new,
        })
    }

    fn to_json(&self) -> Value {
        let what: Vec<Value> = self
            .what
            .iter()
            .map(|(what, old, new)| json!({ "what": what, "old": old, "new": new }))
            .collect();
        json!({
            "request": self.asked.to_string(),
            "changes": what,
            "old": self.old,
            "new": self.new,
        })
    }
}

fn steps(decision: &Decision) -> BTreeMap<&'static str, &str> {
    let steps = decision.policy.iter();
    steps.map(|step| (step.what, step.value.as_str())).collect()
}

fn answer(decision: &Decision) -> String {
    let Some(refused) = &decision.refused else {
        return "the upstream's".to_owned();
    };
    match refused.status {
        Some(status) => format!("{status}, {}", refused.reason),
        None => refused.reason.clone(),
    }
}

fn upstream(decision: &Decision) -> String {
    decision.upstream.as_ref().map_or("none".to_owned(), |it| {
        format!("{}: {}", it.name, it.endpoints.join(", "))
    })
}

fn certificate(decision: &Decision) -> String {
    decision
        .certificate
        .as_ref()
        .map_or("none".to_owned(), |it| {
            format!("{} for {}", it.name, it.covers.join(", "))
        })
}

/// Requests that are printed; the rest is counted.
const SHOWN: usize = 50;

fn lines(requests: usize, changes: &[Change<'_>]) -> String {
    if changes.is_empty() {
        return format!("all {requests} requests are treated alike\n");
    }
    let mut text = format!(
        "{} of {requests} requests are treated differently\n",
        changes.len()
    );
    for change in changes.iter().take(SHOWN) {
        put(&mut text, &format!("\n{}", change.asked));
        for (what, old, new) in &change.what {
            put(&mut text, &format!("  {what:<20} {old}  ->  {new}"));
        }
    }
    if changes.len() > SHOWN {
        let rest = changes.len() - SHOWN;
        put(
            &mut text,
            &format!("\nand {rest} more; --json shows all of them"),
        );
    }
    text
}

fn put(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("writing to a string cannot fail");
}

/// Requests that are compared at most.
const MOST_REQUESTS: usize = 200_000;

/// Requests made of both configurations: for every route of either, in each way that it can be reached.
fn requests(old: &Table, new: &Table) -> Vec<Asked> {
    let rules: Vec<_> = [old.rules(), new.rules()].concat();
    let most_listeners = [old, new].map(|it| it.resolved.proxy.listeners.len());
    let samples = Samples::new(&rules, most_listeners[0].max(most_listeners[1]));
    let mut asked: Vec<Asked> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for table in [old, new] {
        for rule in table.rules() {
            for witness in samples.requests(rule) {
                for found in asked_by(table, &witness) {
                    if asked.len() == MOST_REQUESTS {
                        return asked;
                    }
                    if seen.insert((found.listener.clone(), found.to_string())) {
                        asked.push(found);
                    }
                }
            }
        }
    }
    asked
}

/// A request over every scheme that the listeners it may come in by speak.
fn asked_by(table: &Table, witness: &Witness) -> Vec<Asked> {
    let listeners = table.resolved.proxy.listeners.iter().enumerate();
    let reached = listeners.filter(|(at, _)| Listeners::one(*at).meets(witness.listener));
    let mut schemes: Vec<(bool, Option<String>)> = reached
        .map(|(_, listener)| {
            // Named only where it makes a difference, for the other configuration may call it otherwise.
            let named = witness.listener != Listeners::ALL;
            (
                !listener.certificates.is_empty(),
                named.then(|| listener.name.clone()),
            )
        })
        .collect();
    schemes.dedup();
    let asked = schemes.into_iter().filter_map(|(tls, listener)| {
        let scheme = if tls { "https" } else { "http" };
        let query = witness.query.as_ref().map(|query| format!("?{query}"));
        let url = format!(
            "{scheme}://{}{}{}",
            witness.host,
            witness.path,
            query.unwrap_or_default()
        );
        let asked = Asked::new(&witness.method, &url, &[]).ok()?;
        let headers = witness.headers.clone();
        Some(Asked {
            listener,
            headers,
            ..asked
        })
    });
    asked.collect()
}
