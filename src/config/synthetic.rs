//! Files of probes, `synthetic/*.toml`: the same reading as the configuration's, and the same reports.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::{fs, io};

use toml::de::DeTable;

mod aim;
mod built;
mod journey;

use aim::{Aim, Kind, check_manner};
use built::{definition, module};

use super::code::Code;
use super::file::{self, File, ProbeFile};
use super::finding::{Finding, Findings, Span, did_you_mean};
use super::keys::{Located, Reading, read};
use super::report::Report;
use super::{LARGEST_FILE, read_file};
use crate::probe::definition::{Definition, Target};
use crate::probe::module::Module;

/// The probes of several files, or what is wrong with each of these.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    /// Every probe, by file and then in the order of the file, with the file it stands in.
    pub definitions: Vec<(PathBuf, Definition)>,
    /// Every module, in the same order.
    pub modules: Vec<Module>,
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
    let mut modules: Vec<Module> = Vec::new();
    let mut taken = Taken::default();
    for path in files {
        match load_file(path, &taken) {
            Ok(found) => {
                for definition in found.probes {
                    let name = definition.name.clone();
                    taken.probes.insert(name, path.clone());
                    definitions.push((path.clone(), definition));
                }
                for module in found.modules {
                    taken.modules.insert(module.name.clone(), path.clone());
                    modules.push(module);
                }
            }
            Err(report) => reports.push(report),
        }
    }
    if reports.is_empty() {
        Ok(Probes {
            definitions,
            modules,
        })
    } else {
        Err(reports)
    }
}

/// The names that other files have given, and which.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) probes: BTreeMap<String, PathBuf>,
    pub(super) modules: BTreeMap<String, PathBuf>,
}

/// What a file holds.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) probes: Vec<Definition>,
    pub(super) modules: Vec<Module>,
}

/// The probes of the configuration's directory of them. What is wrong with them is told at its key, a line for each
/// file: the whole of it is `vestibule probe list`'s.
pub(super) fn of(file: &File, base: &Path, findings: &mut Findings) -> Probes {
    let wanted = file.slos.iter().filter_map(|slo| slo.value.probe.as_ref());
    let Some(dir) = &file.probes.dir else {
        for name in wanted {
            let message = format!("there is no probe `{}`", name.value);
            let finding = Finding::new(Code::UnknownName, name.span.clone(), message)
                .reason("there are no probes at all")
                .help("name the directory of their files: `dir` in `[probes]`");
            findings.add(finding);
        }
        return Probes::default();
    };
    // Named as they are written, not as they were found.
    let path = base.join(&dir.value);
    let written = |found: &Path| match found.strip_prefix(&path) {
        Ok(file) if file != Path::new("") => dir.value.join(file).display().to_string(),
        Ok(_) | Err(_) => dir.value.display().to_string(),
    };
    let loaded = match load_probe_dir(&path) {
        Ok(loaded) => loaded,
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
            return Probes::default();
        }
    };
    let probes = &loaded.definitions;
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
    loaded
}

fn load_file(path: &Path, taken: &Taken) -> Result<Found, Report> {
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
pub(super) fn parse_probes(
    name: &str,
    text: &str,
    base: &Path,
    taken: &Taken,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Found, Report> {
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
    let probes: Option<Vec<_>> = file
        .probes
        .into_iter()
        .map(|item| definition(item.value, base))
        .collect();
    let modules: Option<Vec<_>> = file
        .modules
        .into_iter()
        .map(|item| module(item.value, base))
        .collect();
    let complete = "a required key that is missing or refused is an error, and there is none";
    Ok(Found {
        probes: probes.expect(complete),
        modules: modules.expect(complete),
    })
}

fn refused(name: &str, text: &str, finding: Finding) -> Report {
    let mut findings = Findings::default();
    findings.add(finding);
    Report::new(name, text, findings)
}

fn check(file: &ProbeFile, base: &Path, taken: &Taken, findings: &mut Findings) {
    if file.probes.is_empty() && file.modules.is_empty() && findings.errors() == 0 {
        let finding = Finding::about_the_file(Code::MissingKey, "there is no `[[probe]]`");
        findings.add(finding.help("add a `[[probe]]` table, or a `[[module]]`"));
    }
    let names = file.probes.iter().map(|probe| &probe.value.name);
    check_names("probe", names, &taken.probes, findings);
    let names = file.modules.iter().map(|module| &module.value.name);
    check_names("module", names, &taken.modules, findings);
    for probe in &file.probes {
        let every = &probe.value.every;
        if every.value.subsec_nanos() != 0 {
            let message = "`every` is not a whole number of seconds";
            findings.add(Finding::new(Code::Range, every.span.clone(), message));
        }
        let aim = probe.value.target.as_ref().map(|target| Aim {
            kind: Kind::of(&target.value),
            text: target.value.to_string(),
            span: target.span.clone(),
        });
        check_manner(&probe.value.manner, aim.as_ref(), base, findings);
        journey::check(&probe.value, findings);
        check_compare(&probe.value, findings);
    }
    for module in &file.modules {
        let aim = module.value.prober.as_ref().map(|prober| Aim {
            kind: Kind::of_module(prober.value),
            text: "of this kind".to_owned(),
            span: prober.span.clone(),
        });
        check_manner(&module.value.manner, aim.as_ref(), base, findings);
    }
}

/// Whether a probe that is compared can be.
fn check_compare(probe: &file::Probe, findings: &mut Findings) {
    if !probe.compare.value {
        return;
    }
    let at = || probe.compare.span.clone();
    if probe.route.is_none() {
        let finding = Finding::new(Code::MissingKey, at(), "`compare` needs `route`");
        findings.add(finding.help("name the route whose upstream is asked directly"));
    }
    let target = probe.target.as_ref();
    if let Some(target) = target.filter(|it| !matches!(it.value, Target::Http(_))) {
        let message = "`compare` only goes with `http://` and `https://` targets";
        let finding = Finding::new(Code::Conflict, at(), message);
        findings.add(finding.also(target.span.clone(), "aimed at this"));
    }
    if let Some(step) = probe.steps.first() {
        let message = "a journey is not compared: its steps would be taken everywhere";
        let finding = Finding::new(Code::Conflict, at(), message);
        findings.add(finding.also(step.span.clone(), "its first step"));
    }
    if let Some(failure) = &probe.manner.expect.failure {
        let message = "what is expected to fail is not compared";
        let finding = Finding::new(Code::Conflict, at(), message);
        findings.add(finding.also(failure.span.clone(), "it should fail"));
    }
}

fn check_names<'a>(
    what: &str,
    names: impl Iterator<Item = &'a Option<Located<String>>>,
    taken: &BTreeMap<String, PathBuf>,
    findings: &mut Findings,
) {
    let mut here: HashMap<&str, Span> = HashMap::new();
    for name in names.flatten() {
        let message = format!("another {what} is called `{}`", name.value);
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
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use std::time::Duration;

    use super::*;
    use crate::probe::definition;

    fn parse(text: &str) -> Result<Vec<Definition>, Report> {
        let taken = Taken {
            probes: BTreeMap::from([("elsewhere".to_owned(), PathBuf::from("other.toml"))]),
            modules: BTreeMap::new(),
        };
        let found = parse_probes("p.toml", text, Path::new("/p"), &taken, &|_| None)?;
        Ok(found.probes)
    }

    #[test]
    fn the_smallest_probe_has_all_defaults() {
        let probes = parse("[[probe]]\nname = 'a'\ntarget = 'http://a/'\n").unwrap();
        let [probe] = probes.as_slice() else { panic!() };
        let manner = definition::Manner::plain(Duration::from_secs(10));
        assert_eq!((probe.every.as_secs(), &probe.manner), (30, &manner));
        assert!(!probe.paused && probe.maintenance.is_empty() && probe.route.is_none());
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
target = "grpcs://a:1"
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
                "8 config::conflict",
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

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let http = "target = 'http://a/'\ncompare = true\n";
        for (keys, refused) in [
            (format!("{http}route = 'r'\n"), None),
            (http.to_owned(), Some("`compare` needs `route`")),
            (
                "target = 'tcp://a:1'\ncompare = true\nroute = 'r'\n".to_owned(),
                Some("only goes with `http://`"),
            ),
            (
                format!("{http}route = 'r'\n[[probe.step]]\nname = 's'\ntarget = '/'\n"),
                Some("a journey is not compared"),
            ),
            (
                format!("{http}route = 'r'\nexpect.failure = 'connect_refused'\n"),
                Some("expected to fail"),
            ),
        ] {
            let found = parse(&format!("[[probe]]\nname = 'a'\n{keys}"));
            let found = found.err().map(|report| report.render(false));
            match (refused, found) {
                (None, None) => {}
                (Some(words), Some(report)) if report.contains(words) => {}
                (_, found) => panic!("{keys}: {found:?}"),
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            drop(parse(&text));
            drop(parse(&format!("[[probe]]\nname = 'a'\ntarget = {text:?}\n")));
        }
    }
}
