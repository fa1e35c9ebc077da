//! `vestibule check`.

use std::fmt::Write as _;
use std::path::Path;

use clap::ValueEnum;
use serde_json::{Value, json};

use super::{Exit, complain, fancy, say};
use crate::clock::{Clock as _, SystemClock};
use crate::config::lint::Lint;
use crate::config::{self, Code, Diagnostic, Report, Severity};
use crate::model::Directory;
use crate::net::tls::ticketer;
use crate::probe::prepare::prepare;
use crate::proxy::generation::Generation;

/// How to say what was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// With the text of the file, for people
    Human,
    /// One object
    Json,
    /// SARIF 2.1.0
    Sarif,
    /// The XML of `JUnit`
    Junit,
}

/// From which severity on the exit code says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum FailOn {
    /// Errors
    Error,
    /// Errors and warnings
    Warning,
    /// Everything
    Note,
    /// Nothing but a refused configuration
    Never,
}

impl FailOn {
    fn severity(self) -> Option<Severity> {
        match self {
            Self::Error => Some(Severity::Error),
            Self::Warning => Some(Severity::Warning),
            Self::Note => Some(Severity::Note),
            Self::Never => None,
        }
    }
}

pub(super) fn check(file: &Path, format: Format, fail_on: FailOn) -> Exit {
    let resolved = match config::check(file, SystemClock::new().now()) {
        Ok(resolved) => resolved,
        Err(report) => {
            match format {
                Format::Human => complain(&format!("{report}\n{}", report.render(fancy()))),
                Format::Json => say(&format!("{:#}\n", report.to_json())),
                Format::Sarif => say(&format!("{:#}\n", sarif(&report))),
                Format::Junit => say(&junit(&report, Some(Severity::Error))),
            }
            return Exit::Config;
        }
    };
    // What only building shows: keys that do not belong to their certificates, names that TLS cannot verify.
    let built = ticketer().map_err(Into::into).and_then(|tickets| {
        Generation::build(&resolved.proxy, &mut Directory::default(), &tickets)
    });
    let prepared = prepare(resolved.probes.definitions.clone());
    let built = built.map(drop).map_err(|error| error.to_string());
    let built = built.and(prepared.map(drop).map_err(|error| error.to_string()));
    if let Err(error) = built {
        not_built(file, format, &error);
        return Exit::Config;
    }
    let report = &resolved.warnings;
    let (routes, slos) = (resolved.proxy.routes.len(), resolved.slos.len());
    match format {
        Format::Human => {
            if !report.is_empty() {
                complain(&format!("{report}\n{}", report.render(fancy())));
            }
            let file = file.display();
            let right = if report.has(Severity::Warning) {
                "can be used"
            } else {
                "is right"
            };
            let hash = &resolved.hash;
            say(&format!(
                "{file} {right}: {routes} routes, {slos} SLOs, hash {hash}\n"
            ));
        }
        Format::Json => {
            let mut found = report.to_json();
            found["hash"] = json!(resolved.hash);
            say(&format!("{found:#}\n"));
        }
        Format::Sarif => say(&format!("{:#}\n", sarif(report))),
        Format::Junit => say(&junit(report, fail_on.severity())),
    }
    match fail_on.severity() {
        Some(severity) if report.has(severity) => Exit::Warn,
        Some(_) | None => Exit::Ok,
    }
}

/// Says that a configuration that reads well cannot be built.
fn not_built(file: &Path, format: Format, error: &str) {
    let file = file.display().to_string();
    match format {
        Format::Human => complain(&format!("{file}: {error}")),
        Format::Json => {
            let found = json!({
                "file": file,
                "errors": 1,
                "diagnostics": [{ "code": "config::build", "severity": "error", "message": error }],
                "omitted": 0,
            });
            say(&format!("{found:#}\n"));
        }
        Format::Sarif => {
            let result = json!({
                "ruleId": "config::build",
                "level": "error",
                "message": { "text": error },
                "locations": [{ "physicalLocation": { "artifactLocation": { "uri": file } } }],
            });
            say(&format!("{:#}\n", sarif_log(&[], &[result])));
        }
        Format::Junit => {
            let case = junit_case("config::build", &file, error, Some(("error", error)));
            say(&junit_suite(1, 1, &case));
        }
    }
}

/// SARIF 2.1.0 (OASIS): one run, its rules those that were broken.
fn sarif(report: &Report) -> Value {
    let mut rules: Vec<Value> = Vec::new();
    let mut results = Vec::new();
    for diagnostic in report.diagnostics() {
        let code = diagnostic.code;
        if rules.iter().all(|rule| rule["id"] != code.as_str()) {
            let (name, fix) = match code {
                Code::Lint(lint) => (Lint::title(lint), Lint::fix(lint)),
                other => (other.about(), ""),
            };
            rules.push(json!({
                "id": code.as_str(),
                "shortDescription": { "text": name },
                "fullDescription": { "text": code.about() },
                "help": { "text": fix },
                "defaultConfiguration": { "level": code.severity().as_str() },
            }));
        }
        let mut place = json!({ "artifactLocation": { "uri": report.file() } });
        if let Some(position) = diagnostic.position {
            place["region"] = json!({ "startLine": position.line, "startColumn": position.column });
        }
        let mut result = json!({
            "ruleId": code.as_str(),
            "level": code.severity().as_str(),
            "message": { "text": whole(diagnostic) },
            "locations": [{ "physicalLocation": place }],
        });
        if let Some(witness) = &diagnostic.witness {
            result["properties"] = json!({ "request": witness.request, "route": witness.route });
        }
        results.push(result);
    }
    sarif_log(&rules, &results)
}

fn sarif_log(rules: &[Value], results: &[Value]) -> Value {
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "vestibule",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "results": results,
        }],
    })
}

/// The XML of `JUnit`: a case for each finding, failed from `fail_on` on; and one that passes when there is none.
fn junit(report: &Report, fail_on: Option<Severity>) -> String {
    let mut cases = String::new();
    let (mut count, mut failures) = (0, 0);
    for diagnostic in report.diagnostics() {
        let (severity, code) = (diagnostic.code.severity(), diagnostic.code.as_str());
        let place = diagnostic.position.map_or_else(
            || report.file().to_owned(),
            |it| format!("{}:{}", report.file(), it.line),
        );
        let fails = fail_on.is_some_and(|from| severity <= from);
        count += 1;
        failures += usize::from(fails);
        let text = whole(diagnostic);
        let failure = fails.then_some((severity.as_str(), text.as_str()));
        cases.push_str(&junit_case(code, &place, &text, failure));
    }
    if count == 0 {
        count = 1;
        cases = junit_case("configuration", report.file(), "nothing was found", None);
    }
    junit_suite(count, failures, &cases)
}

fn junit_suite(tests: usize, failures: usize, cases: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites><testsuite name=\"vestibule check\" tests=\"{tests}\" failures=\"{failures}\">\n\
         {cases}</testsuite></testsuites>\n"
    )
}

fn junit_case(code: &str, place: &str, text: &str, failure: Option<(&str, &str)>) -> String {
    let (code, place, text) = (escaped(code), escaped(place), escaped(text));
    let mut case = format!("  <testcase classname=\"{place}\" name=\"{code}: {text}\">");
    if let Some((severity, text)) = failure {
        let text = escaped(text);
        write!(case, "<failure type=\"{severity}\" message=\"{text}\"/>")
            .expect("writing to a string cannot fail");
    }
    case.push_str("</testcase>\n");
    case
}

/// Message, fix and witness in one line.
fn whole(diagnostic: &Diagnostic) -> String {
    let mut text = diagnostic.message.clone();
    if let Some(help) = &diagnostic.help {
        write!(text, "; {help}").expect("writing to a string cannot fail");
    }
    if let Some(witness) = &diagnostic.witness {
        write!(text, "; try {}", witness.request).expect("writing to a string cannot fail");
    }
    text
}

/// `text` within an attribute of XML 1.0, which has no controls.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_is_never_broken_by_what_it_quotes() {
        let case = junit_case("R002", "a\"b", "<&\u{1}>", Some(("warning", "'\"'")));
        assert_eq!(
            case,
            "  <testcase classname=\"a&quot;b\" name=\"R002: &lt;&amp;\u{fffd}&gt;\">\
             <failure type=\"warning\" message=\"'&quot;'\"/></testcase>\n"
        );
    }
}
