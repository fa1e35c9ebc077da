//! Files of probes, `synthetic/*.toml`: the same reading as the configuration's, and the same reports.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::{fs, io};

use toml::de::DeTable;

use super::code::Code;
use super::file::{File, Probe, ProbeFile};
use super::finding::{Finding, Findings, Span, did_you_mean};
use super::keys::{Item, Reading, read};
use super::pem::{self, Section};
use super::report::Report;
use super::{LARGEST_FILE, read_file};
use crate::probe::definition::{Definition, Expectations, HttpRequest, Target, TlsSettings};

/// The probes of several files, or what is wrong with each of these.
#[derive(Clone, Debug)]
pub struct Probes {
    /// Every probe, by file and then in the order of the file, with the file it stands in.
    pub definitions: Vec<(PathBuf, Definition)>,
}

/// Reads every `*.toml` in `dir`, in the order of their names.
///
/// # Errors
/// Everything that is wrong with them: one report for each file that is refused.
pub fn load_probe_dir(dir: &Path) -> Result<Probes, Vec<Report>> {
    let list = || -> io::Result<Vec<PathBuf>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let hidden = path
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if !hidden
                && path
                    .extension()
                    .is_some_and(|extension| extension == "toml")
            {
                files.push(path);
            }
        }
        files.sort_unstable();
        Ok(files)
    };
    let files = list().map_err(|error| {
        let message = format!("cannot read the directory of probes: {error}");
        vec![refused(
            &dir.display().to_string(),
            "",
            Finding::about_the_file(Code::Unreadable, message),
        )]
    })?;
    load_probe_files(&files)
}

/// Reads files of probes. Names are unique among all of them.
///
/// # Errors
/// Everything that is wrong with them: one report for each file that is refused.
pub fn load_probe_files(files: &[PathBuf]) -> Result<Probes, Vec<Report>> {
    let mut reports = Vec::new();
    let mut definitions: Vec<(PathBuf, Definition)> = Vec::new();
    let mut taken: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in files {
        match load_file(path, &taken) {
            Ok(found) => {
                for definition in found {
                    taken.insert(definition.name.clone(), path.clone());
                    definitions.push((path.clone(), definition));
                }
            }
            Err(report) => reports.push(report),
        }
    }
    if reports.is_empty() {
        Ok(Probes { definitions })
    } else {
        Err(reports)
    }
}

/// The probes of the configuration's directory of them. What is wrong with them is told at its key, a line for each
/// file: the whole of it is `vestibule probe list`'s.
pub(super) fn of(file: &File, base: &Path, findings: &mut Findings) -> Vec<Definition> {
    let wanted = file.slos.iter().filter_map(|slo| slo.value.probe.as_ref());
    let Some(dir) = &file.probes.dir else {
        for name in wanted {
            let message = format!("there is no probe `{}`", name.value);
            let finding = Finding::new(Code::UnknownName, name.span.clone(), message)
                .reason("there are no probes at all")
                .help("name the directory of their files: `dir` in `[probes]`");
            findings.add(finding);
        }
        return Vec::new();
    };
    // Named as they are written, not as they were found.
    let path = base.join(&dir.value);
    let written = |found: &Path| match found.strip_prefix(&path) {
        Ok(file) if file != Path::new("") => dir.value.join(file).display().to_string(),
        Ok(_) | Err(_) => dir.value.display().to_string(),
    };
    let probes = match load_probe_dir(&path) {
        Ok(probes) => probes.definitions,
        Err(reports) => {
            for report in reports {
                let first = report.diagnostics().first();
                let place = first.and_then(|first| first.position);
                let found = match report.errors() {
                    1 => "1 error".to_owned(),
                    errors => format!("{errors} errors"),
                };
                let reason = first.map_or_else(String::new, |first| match place {
                    Some(place) => format!("line {}: {}", place.line, first.message),
                    None => first.message.clone(),
                });
                let finding = Finding::new(
                    Code::Probes,
                    dir.span.clone(),
                    format!("{found} in {}", written(Path::new(report.file()))),
                )
                .reason(reason)
                .help(format!(
                    "`vestibule probe list --dir {}` shows all of it",
                    dir.value.display()
                ));
                findings.add(finding);
            }
            return Vec::new();
        }
    };
    let routes: Vec<_> = file
        .routes
        .iter()
        .map(|route| route.value.id.as_ref())
        .collect();
    // A route whose id could not be read may be the one.
    let complete = routes.iter().all(Option::is_some);
    for (place, probe) in probes.iter().filter(|_| complete) {
        let Some(route) = &probe.route else { continue };
        if !routes.iter().flatten().any(|id| id.value == *route) {
            let message = format!(
                "probe `{}` in {} looks at route `{route}`, which does not exist",
                probe.name,
                written(place)
            );
            let known = routes.iter().flatten().map(|id| id.value.as_str());
            let help = did_you_mean(route, known).map(|meant| format!("did you mean \"{meant}\"?"));
            let finding =
                Finding::new(Code::UnknownName, dir.span.clone(), message).maybe_help(help);
            findings.add(finding);
        }
    }
    for name in wanted {
        let mut known = probes.iter().map(|(_, probe)| probe.name.as_str());
        if !known.clone().any(|known| known == name.value) {
            let message = format!("there is no probe `{}`", name.value);
            let help = did_you_mean(&name.value, &mut known)
                .map(|meant| format!("did you mean \"{meant}\"?"));
            let finding = Finding::new(Code::UnknownName, name.span.clone(), message)
                .reason(format!("not in {}", dir.value.display()))
                .maybe_help(help);
            findings.add(finding);
        }
    }
    probes.into_iter().map(|(_, probe)| probe).collect()
}

fn load_file(path: &Path, taken: &BTreeMap<String, PathBuf>) -> Result<Vec<Definition>, Report> {
    let name = path.display().to_string();
    let unreadable = |message: String| Finding::about_the_file(Code::Unreadable, message);
    let bytes = read_file(path).map_err(|error| {
        refused(
            &name,
            "",
            unreadable(format!("cannot read the file: {error}")),
        )
    })?;
    let text = String::from_utf8(bytes)
        .map_err(|error| refused(&name, "", unreadable(format!("it is not UTF-8: {error}"))))?;
    let base = path.parent().unwrap_or(Path::new(""));
    parse_probes(&name, &text, base, taken, &|name| std::env::var(name).ok())
}

/// Reads one file from its text. `taken` are the names that other files have given, and which.
fn parse_probes(
    name: &str,
    text: &str,
    base: &Path,
    taken: &BTreeMap<String, PathBuf>,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Vec<Definition>, Report> {
    if text.len() as u64 > LARGEST_FILE {
        let finding = Finding::about_the_file(Code::TooLarge, "the file is larger than 8 MiB");
        return Err(refused(name, "", finding));
    }
    let document = DeTable::parse(text).map_err(|error| {
        let finding = match error.span() {
            Some(span) => {
                Finding::new(Code::Syntax, span, "this is not TOML").reason(error.message())
            }
            None => Finding::about_the_file(Code::Syntax, error.message()),
        };
        refused(name, text, finding)
    })?;
    let nothing = DeTable::new();
    let mut reading = Reading {
        text,
        nothing: &nothing,
        env,
        findings: Findings::default(),
    };
    let file: ProbeFile = read(document.get_ref(), &mut reading);
    let mut findings = reading.findings;
    check(&file, base, taken, &mut findings);
    if findings.errors() > 0 {
        return Err(Report::new(name, text, findings));
    }
    let definitions: Option<Vec<_>> = file
        .probes
        .into_iter()
        .map(|item| definition(item.value, base))
        .collect();
    Ok(definitions
        .expect("a required key that is missing or refused is an error, and there is none"))
}

fn refused(name: &str, text: &str, finding: Finding) -> Report {
    let mut findings = Findings::default();
    findings.add(finding);
    Report::new(name, text, findings)
}

fn check(
    file: &ProbeFile,
    base: &Path,
    taken: &BTreeMap<String, PathBuf>,
    findings: &mut Findings,
) {
    let mut here: HashMap<&str, Span> = HashMap::new();
    for probe in &file.probes {
        if let Some(name) = &probe.value.name {
            let message = format!("another probe is called `{}`", name.value);
            let finding = Finding::new(Code::Duplicate, name.span.clone(), message);
            if let Some(first) = here.get(name.value.as_str()) {
                findings.add(
                    finding
                        .reason("again here")
                        .also(first.clone(), "first here"),
                );
            } else if let Some(other) = taken.get(&name.value) {
                findings.add(finding.reason(format!("it stands in {}", other.display())));
            } else {
                here.insert(&name.value, name.span.clone());
            }
        }
        check_probe(probe, base, findings);
    }
}

fn check_probe(item: &Item<Probe>, base: &Path, findings: &mut Findings) {
    let probe = &item.value;
    if probe.every.value.subsec_nanos() != 0 {
        let message = "`every` is not a whole number of seconds";
        findings.add(Finding::new(Code::Range, probe.every.span.clone(), message));
    }
    if let Some(roots) = &probe.tls.roots_file
        && let Err(error) = pem::check(&base.join(&roots.value), Section::Certificate)
    {
        let written = roots.value.display();
        let finding = match error {
            pem::Error::Unreadable(error) => {
                let message = format!("cannot read `{written}`: {error}");
                Finding::new(Code::UnreadableFile, roots.span.clone(), message)
                    .help("a relative path starts in the directory of this file")
            }
            pem::Error::Absent => {
                let message = format!("`{written}` holds no certificate in PEM form");
                Finding::new(Code::Pem, roots.span.clone(), message)
                    .help(Section::Certificate.begins())
            }
        };
        findings.add(finding);
    }
    let Some(target) = &probe.target else { return };
    let (is_http, is_tcp) = match &target.value {
        Target::Http(_) => (true, false),
        Target::Tcp(_) => (false, true),
        Target::Tls(_) => (false, false),
    };
    let may_be_tls = match &target.value {
        Target::Http(url) => url.tls || probe.http.redirects.value > 0,
        Target::Tcp(_) => false,
        Target::Tls(_) => true,
    };
    let (written, expect) = (&probe.written, &probe.expect);
    let first = |spans: &[Option<&Span>]| spans.iter().flatten().next().map(|span| (*span).clone());
    let http_only = first(&[
        written.http.as_ref(),
        expect.status.first().map(|it| &it.span),
        expect.headers.first().map(|it| &it.span),
    ]);
    let body_only = first(&[
        expect.body.first().map(|it| &it.span),
        expect.body_lacks.first().map(|it| &it.span),
        expect.body_matches.first().map(|it| &it.span),
    ]);
    let tls_only = first(&[
        written.tls.as_ref(),
        expect.certificate_left.as_ref().map(|it| &it.span),
    ]);
    for (fits, span, targets) in [
        (is_http, http_only, "`http://` and `https://`"),
        (is_tcp, written.tcp.clone(), "`tcp://`"),
        (
            is_http || is_tcp,
            body_only,
            "`http://`, `https://` and `tcp://`",
        ),
        (may_be_tls, tls_only, "`https://` and `tls://`"),
    ] {
        let Some(span) = span.filter(|_| !fits) else {
            continue;
        };
        let finding = Finding::new(
            Code::Conflict,
            span,
            format!("this only goes with {targets} targets"),
        )
        .reason(format!("the target is {}", target.value))
        .also(target.span.clone(), "aimed at this")
        .help("leave it out, or write another target");
        findings.add(finding);
    }
    if let (Some(under), timeout) = (&expect.under, &probe.timeout)
        && under.value > timeout.value
    {
        let finding = Finding::new(
            Code::Conflict,
            under.span.clone(),
            "`under` is longer than `timeout`, so it could never be broken",
        )
        .help("shorten it, or raise `timeout`");
        findings.add(finding);
    }
}

fn definition(probe: Probe, base: &Path) -> Option<Definition> {
    let Probe {
        name,
        target,
        every,
        timeout,
        route,
        runbook,
        paused,
        connect_to,
        family,
        http,
        tcp,
        tls,
        expect,
        written: _,
    } = probe;
    let plain = |list: Vec<super::keys::Located<String>>| {
        list.into_iter().map(|located| located.value).collect()
    };
    Some(Definition {
        name: name?.value,
        target: target?.value,
        every: every.value,
        timeout: timeout.value,
        route: route.map(|route| route.value),
        runbook: runbook.map(|page| page.value),
        paused: paused.value,
        connect_to: connect_to.map(|address| address.value),
        family: family.value,
        http: HttpRequest {
            // A kind of the same letters, and shorter, than HTTP allows.
            method: http.method.value.parse().ok()?,
            headers: http.headers.into_iter().map(|it| it.value).collect(),
            body: http.body.map(|body| body.value).unwrap_or_default(),
            redirects: http.redirects.value as u32,
            version: http.version.value,
            max_body: http.max_body.value,
        },
        send: tcp.send.map(|text| text.value),
        tls: TlsSettings {
            server_name: tls.server_name.map(|name| name.value),
            roots: tls.roots_file.map(|path| base.join(path.value)),
            insecure: tls.insecure.value,
        },
        expect: Expectations {
            failure: expect.failure.map(|failure| failure.value),
            statuses: expect.status.into_iter().map(|it| it.value).collect(),
            headers: expect.headers.into_iter().map(|it| it.value).collect(),
            body: plain(expect.body),
            body_lacks: plain(expect.body_lacks),
            body_matches: expect.body_matches.into_iter().map(|it| it.value).collect(),
            under: expect.under.map(|under| under.value),
            certificate_left: expect.certificate_left.map(|share| share.value),
        },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Vec<Definition>, Report> {
        let taken = BTreeMap::from([("elsewhere".to_owned(), PathBuf::from("other.toml"))]);
        parse_probes("p.toml", text, Path::new("/p"), &taken, &|_| None)
    }

    #[test]
    fn the_smallest_probe_has_all_defaults() {
        let probes = parse("[[probe]]\nname = 'a'\ntarget = 'http://a/'\n").unwrap();
        let [probe] = probes.as_slice() else { panic!() };
        assert_eq!((probe.every.as_secs(), probe.timeout.as_secs()), (30, 10));
        assert_eq!(probe.http, HttpRequest::default());
        assert_eq!(probe.expect, Expectations::default());
        assert!(!probe.paused && probe.connect_to.is_none() && probe.route.is_none());
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let report = parse(
            r#"
[[probe]]
name = "a"
target = "tcp://a:1"
every = "1500ms"
tiemout = "3s"
http.method = "GET"
expect.status = ["2xx"]
expect.certificate_left = "10%"

[[probe]]
name = "a"
target = "tls://a:1"
tcp.send = "x"
tls.roots_file = "nowhere.pem"
expect.body = ["x"]
expect.failure = "connect_refsued"

[[probe]]
name = "elsewhere"
target = "https://a"
timeout = "1s"
expect.under = "2s"
expect.body_matches = ["("]
"#,
        )
        .unwrap_err();
        let found: Vec<String> = report
            .diagnostics()
            .iter()
            .map(|diagnostic| {
                let line = diagnostic.position.map_or(0, |position| position.line);
                format!("{line} {}", diagnostic.code)
            })
            .collect();
        assert_eq!(
            found,
            [
                "5 config::out_of_range",
                "6 config::unknown_key",
                "7 config::conflict",
                "9 config::conflict",
                "12 config::duplicate",
                "14 config::conflict",
                "15 config::unreadable_file",
                "16 config::conflict",
                "17 config::invalid_value",
                "20 config::duplicate",
                "23 config::conflict",
                "24 config::invalid_value",
            ],
            "{}",
            report.render(false)
        );
        assert!(report.render(false).contains("did you mean `timeout`?"));
        assert!(
            report
                .render(false)
                .contains("did you mean \"connect_refused\"?")
        );
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            drop(parse(&text));
            drop(parse(&format!("[[probe]]\nname = 'a'\ntarget = {text:?}\n")));
        }
    }
}
