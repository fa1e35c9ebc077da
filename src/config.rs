//! `vestibule.toml`: one file in, every part's `Config` out, or everything that is wrong with it at once.
//!
//! The file's shape is written once, in `file`, and read three ways: as a parser, as the JSON Schema
//! ([`schema`](fn@schema)) and as the reference ([`reference`](fn@reference)). What is read there is located, so that the
//! rules between keys (`rules`) can still point at the text. Only this module knows the file format; no part knows this
//! module.

use std::fs::File;
use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::de::DeTable;

use crate::generate::Links;
use crate::model::{Slo, Timestamp};
use crate::proxy::config::Endpoint;
use crate::slo::policy::Policy;
use crate::{admin, cert, export, notify, probe, proxy, store};

mod code;
mod expand;
mod file;
mod finding;
pub mod foreign;
mod hash;
pub mod import;
mod keys;
mod kind;
pub mod lint;
mod names;
mod otlp;
mod outline;
mod pem;
mod reference;
mod report;
mod resolve;
mod rules;
mod schema;
mod synthetic;
mod vantage;

pub use code::{Code, Severity};
pub use otlp::otlp_variables;
pub use reference::{probe_reference, reference};
pub use report::{Diagnostic, Position, Report};
pub use schema::schema;
pub use synthetic::{Probes, load_probe_dir, load_probe_files};
pub use vantage::{MOST_ENDPOINTS, with_views};

use finding::{Finding, Findings};
use keys::Reading;

/// What each part is told.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// The data plane.
    pub proxy: proxy::config::Config,
    /// Who issues certificates, and which.
    pub acme: cert::acme::Config,
    /// Where lists of revoked certificates come from.
    pub revocation: cert::revocation::Config,
    /// History on disk.
    pub store: store::Config,
    /// The admin API.
    pub admin: admin::Config,
    /// The access log.
    pub access_log: export::accesslog::Config,
    /// The export of telemetry.
    pub otlp: export::otlp::Config,
    /// What is promised. Every route and policy they name exists.
    pub slos: Vec<Slo>,
    /// The policies that come with Vestibule, then the file's.
    pub policies: Vec<Policy>,
    /// Who is told of alerts.
    pub receivers: Vec<notify::Receiver>,
    /// Where the links of generated files lead.
    pub links: Links,
    /// Whether SLOs are recorded under Sloth's names as well.
    pub sloth: bool,
    /// Synthetic probes. Every route they name exists.
    pub probes: probe::Config,
    /// The names that are looked at, and how.
    pub names: crate::names::Config,
    /// This instance's name.
    pub instance: String,
    /// The same for every instance that is told the same by its file and environment: 16 hexadecimal digits.
    pub hash: String,
    /// Where all this was read: the file's path, or `command line`.
    pub source: String,
    /// What is probably not meant so; [`Report::errors`] is 0.
    pub warnings: Report,
    /// Whether the admin socket follows the state directory.
    socket_is_default: bool,
    /// Whether the probes' key follows it.
    key_is_default: bool,
}

/// Why `--listen` cannot be obeyed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the configuration has {0} listeners, so it is unclear which one should listen elsewhere")]
pub struct OverrideError(usize);

/// Why a URL is not something to stand in front of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}{}", help.as_ref().map(|help| format!(": {help}")).unwrap_or_default())]
pub struct UrlError {
    message: String,
    help: Option<String>,
}

impl Resolved {
    /// Listens at `address` instead of where the configuration says.
    ///
    /// # Errors
    /// When there is more than one listener.
    pub fn override_listen(&mut self, address: SocketAddr) -> Result<(), OverrideError> {
        match self.proxy.listeners.as_mut_slice() {
            [listener] => {
                listener.address = address;
                Ok(())
            }
            listeners => Err(OverrideError(listeners.len())),
        }
    }

    /// Keeps state in `dir` instead of where the configuration says. The admin socket and the probes' key move along
    /// unless the configuration has put them somewhere itself.
    pub fn override_state_dir(&mut self, dir: PathBuf) {
        if self.socket_is_default {
            self.admin.socket = default_socket(&dir);
        }
        if self.key_is_default {
            self.probes.key_file = default_key(&dir);
        }
        for authority in self
            .acme
            .authorities
            .iter_mut()
            .filter(|it| it.dir_is_default)
        {
            authority.dir = cert::acme::default_dir(&dir, &authority.name);
        }
        for wanted in &self.acme.certificates {
            let file = self
                .acme
                .authority(&wanted.authority)
                .map(|it| it.file(&wanted.name));
            let mut certificates = self.proxy.certificates.iter_mut();
            if let (Some(file), Some(certificate)) =
                (file, certificates.find(|it| it.name == wanted.name))
            {
                certificate.chain.clone_from(&file);
                certificate.key = file;
            }
        }
        self.store.dir = dir;
    }
}

fn default_socket(state_dir: &Path) -> PathBuf {
    state_dir.join("vestibule.sock")
}

fn default_key(state_dir: &Path) -> PathBuf {
    state_dir.join("probe.key")
}

/// The largest file that is read.
const LARGEST_FILE: u64 = 8 << 20;

/// Reads the configuration at `path`. Relative paths in it start in its directory; variables are the process's.
///
/// # Errors
/// Everything that is wrong with it, or that it cannot be read.
pub fn load(path: &Path) -> Result<Resolved, Report> {
    let source = path.display().to_string();
    let text = read(path)?;
    let base = path.parent().unwrap_or(Path::new(""));
    parse(&source, &text, base, &|name| std::env::var(name).ok())
}

/// As [`load`], with what the lints find as of `now` among the warnings.
///
/// # Errors
/// Everything that is wrong with it, or that it cannot be read.
pub fn check(path: &Path, now: Timestamp) -> Result<Resolved, Report> {
    let text = read(path)?;
    let source = path.display().to_string();
    let base = path.parent().unwrap_or(Path::new(""));
    parse_and_lint(&source, &text, base, &|name| std::env::var(name).ok(), now)
}

/// The text of the file at `path`.
fn read(path: &Path) -> Result<String, Report> {
    let source = path.display().to_string();
    let refuse = |finding: Finding, text: &str| {
        let mut findings = Findings::default();
        findings.add(finding);
        Report::new(&source, text, findings)
    };
    let bytes = read_file(path).map_err(|error| {
        let message = format!("cannot read the configuration: {error}");
        let finding = Finding::about_the_file(Code::Unreadable, message);
        let help = (error.kind() == io::ErrorKind::NotFound)
            .then_some("name another file, or start from vestibule.example.toml");
        refuse(finding.maybe_help(help), "")
    })?;
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let finding = Finding::new(Code::Unreadable, at..at, "this byte is not UTF-8")
            .help("save the file as UTF-8");
        refuse(finding, &String::from_utf8_lossy(error.as_bytes()))
    })
}

/// Reads at most one byte more than a configuration may have, so that [`parse`] sees that it is too large.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a configuration from its text. `source_name` is what reports call it, relative paths start in `base_dir`, and
/// `env` says what variables hold.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(
    source_name: &str,
    text: &str,
    base_dir: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Resolved, Report> {
    parse_with(source_name, text, base_dir, env, None)
}

/// As [`parse`], with what the lints find as of `now` among the warnings.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse_and_lint(
    source_name: &str,
    text: &str,
    base_dir: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    now: Timestamp,
) -> Result<Resolved, Report> {
    parse_with(source_name, text, base_dir, env, Some(now))
}

fn parse_with(
    source_name: &str,
    text: &str,
    base_dir: &Path,
    env: &dyn Fn(&str) -> Option<String>,
    lint_at: Option<Timestamp>,
) -> Result<Resolved, Report> {
    let refuse = |finding: Finding| {
        let mut findings = Findings::default();
        findings.add(finding);
        Report::new(source_name, text, findings)
    };
    if text.len() as u64 > LARGEST_FILE {
        let finding =
            Finding::about_the_file(Code::TooLarge, "the configuration is larger than 8 MiB");
        return Err(refuse(finding));
    }
    let document = DeTable::parse(text).map_err(|error| {
        refuse(match error.span() {
            Some(span) => {
                Finding::new(Code::Syntax, span, "this is not TOML").reason(error.message())
            }
            None => Finding::about_the_file(Code::Syntax, error.message()),
        })
    })?;
    let nothing = DeTable::new();
    let mut reading = Reading {
        text,
        nothing: &nothing,
        env,
        findings: Findings::default(),
    };
    let file: file::File = keys::read(document.get_ref(), &mut reading);
    let mut findings = reading.findings;
    let probes = synthetic::of(&file, base_dir, &mut findings);
    rules::check(&file, base_dir, env, &mut findings);
    if findings.errors() > 0 {
        return Err(Report::new(source_name, text, findings));
    }
    let linted = lint_at.map(|now| (file.clone(), now));
    let nothing = Report::new(source_name, text, Findings::default());
    let resolved = resolve::resolve(file, probes, base_dir, source_name.to_owned(), env, nothing);
    let mut resolved =
        resolved.expect("a required key that is missing or refused is an error, and there is none");
    if let Some((file, now)) = linted {
        lint::run(text, &file, &resolved, now, &mut findings);
    }
    resolved.hash = hash::of(&resolved, base_dir);
    resolved.warnings = Report::new(source_name, text, findings);
    Ok(resolved)
}

/// What `vestibule run <url>` means without a file: everything goes to `url`, with an availability of 99.9 % and 95 % of
/// requests under 300 ms promised over 30 days. Listens on `listen`, otherwise on 127.0.0.1:8080; keeps state in
/// `state_dir`, otherwise in `./vestibule-state`.
///
/// # Errors
/// When `url` is not `http://` or `https://`, a host and perhaps a port.
pub fn for_url(
    url: &str,
    listen: Option<SocketAddr>,
    state_dir: Option<PathBuf>,
) -> Result<Resolved, UrlError> {
    let endpoint = kind::Kind::read(&kind::ENDPOINT, kind::Scalar::Text(url))
        .map_err(|kind::Refusal { message, help, .. }| UrlError { message, help })?;
    let text = file_for(&endpoint);
    // There is no `$` in an endpoint that was read; the environment may ask for telemetry.
    let env = |name: &str| std::env::var(name).ok();
    let mut resolved =
        parse("command line", &text, Path::new(""), &env).expect("the built-in file holds");
    if let Some(address) = listen {
        resolved
            .override_listen(address)
            .expect("the built-in file has one listener");
    }
    if let Some(dir) = state_dir {
        resolved.override_state_dir(dir);
    }
    Ok(resolved)
}

/// The smallest useful file. Being one, it has the defaults of every other.
fn file_for(endpoint: &Endpoint) -> String {
    format!(
        r#"
[[listener]]
name = "default"
address = "127.0.0.1:8080"

[[upstream]]
name = "default"
endpoints = ["{endpoint}"]

[[route]]
id = "default"
upstream = "default"
websocket = true
max_body = "1024GiB"

[[slo]]
id = "default-availability"
route = "default"
sli = "availability"
objective = "99.9%"

[[slo]]
id = "default-latency"
route = "default"
sli = "latency"
under = "300ms"
objective = "95%"
"#
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::model::{Sli, Window};
    use crate::routing::pattern::PathPattern;

    fn read(text: &str) -> Result<Resolved, Report> {
        parse("test.toml", text, Path::new("/etc/v"), &|_| None)
    }

    #[test]
    fn a_url_alone_is_a_whole_configuration() {
        let resolved = for_url("http://127.0.0.1:3000", None, None).unwrap();
        let [route] = resolved.proxy.routes.as_slice() else {
            panic!("one route");
        };
        assert_eq!(
            (route.id.as_str(), route.upstream.as_str()),
            ("default", "default")
        );
        assert!(route.hosts.is_empty() && route.methods.is_empty() && route.websocket);
        assert_eq!(route.path, PathPattern::Prefix(String::new()));
        assert_eq!(
            resolved.proxy.upstreams[0].endpoints[0].to_string(),
            "http://127.0.0.1:3000"
        );
        assert_eq!(
            resolved.proxy.listeners[0].address.to_string(),
            "127.0.0.1:8080"
        );
        let promised: Vec<_> = resolved
            .slos
            .iter()
            .map(|slo| {
                (
                    slo.id.as_str(),
                    slo.sli,
                    slo.objective.to_string(),
                    slo.window,
                )
            })
            .collect();
        let under = Duration::from_millis(300);
        assert_eq!(
            promised,
            [
                (
                    "default-availability",
                    Sli::AVAILABILITY,
                    "99.9%".to_owned(),
                    Window::days(30)
                ),
                (
                    "default-latency",
                    Sli::Latency { under },
                    "95%".to_owned(),
                    Window::days(30)
                ),
            ]
        );
        assert!(resolved.slos.iter().all(|slo| slo.policy == "workbook"));
        assert_eq!(resolved.store, store::Config::new("vestibule-state".into()));
        assert_eq!(
            resolved.admin.socket,
            Path::new("vestibule-state/vestibule.sock")
        );
        assert!(resolved.warnings.is_empty(), "{:?}", resolved.warnings);
    }

    #[test]
    fn what_the_command_line_says_goes_before_the_file() {
        let address: SocketAddr = "127.0.0.1:0".parse().unwrap();
        let resolved = for_url("https://[::1]", Some(address), Some("/s".into())).unwrap();
        assert_eq!(resolved.proxy.listeners[0].address, address);
        assert_eq!(resolved.store.dir, Path::new("/s"));
        assert_eq!(resolved.admin.socket, Path::new("/s/vestibule.sock"));

        let mut resolved = read(
            "[admin]\nsocket = \"a.sock\"\n\
             [[listener]]\nname = \"a\"\naddress = \"127.0.0.1:0\"\n\
             [[listener]]\nname = \"b\"\naddress = \"127.0.0.1:0\"\n",
        )
        .unwrap();
        assert_eq!(resolved.override_listen(address), Err(OverrideError(2)));
        resolved.override_state_dir("/s".into());
        assert_eq!(resolved.admin.socket, Path::new("/etc/v/a.sock"));
    }

    #[test]
    fn a_url_that_is_none_is_refused_in_one_line() {
        for url in [
            "",
            "localhost:3000",
            "http://a/b",
            "http://${HOME}",
            "ftp://a",
        ] {
            let error = for_url(url, None, None).unwrap_err().to_string();
            assert!(!error.contains('\n') && !error.is_empty(), "{error}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_read_is_reported_like_any_other_mistake() {
        let dir = tempfile::tempdir().unwrap();
        let report = load(&dir.path().join("nope.toml")).unwrap_err();
        assert_eq!(report.diagnostics()[0].code, Code::Unreadable);
        assert_eq!(report.errors(), 1);

        let path = dir.path().join("latin1.toml");
        std::fs::write(&path, b"a = 1\n# b\xfccher\n").unwrap();
        let report = load(&path).unwrap_err();
        let position = report.diagnostics()[0].position;
        assert_eq!(position, Some(Position { line: 2, column: 4 }));
    }

    #[test]
    fn a_file_that_is_too_large_is_not_parsed() {
        let text = "#".repeat((LARGEST_FILE + 1) as usize);
        assert_eq!(
            read(&text).unwrap_err().diagnostics()[0].code,
            Code::TooLarge
        );
    }

    #[test]
    fn a_flood_of_mistakes_is_counted_and_cut() {
        let text: String = (0..5_000).fold(String::new(), |text, i| text + &format!("k{i} = 1\n"));
        let report = read(&text).unwrap_err();
        // And one more for the missing listener.
        assert_eq!(report.errors(), 5_001);
        assert_eq!(report.diagnostics().len(), 100);
        assert!(
            report.to_string().ends_with("4901 of them not shown"),
            "{report}"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in any::<String>()) {
            if let Err(report) = read(&text) {
                prop_assert!(report.errors() > 0);
                prop_assert!(!report.render(false).is_empty());
                prop_assert!(!report.render(true).is_empty());
            }
        }

        /// Closer to home than random text: a file that holds, with a piece replaced by another.
        #[test]
        fn a_damaged_file_never_panics(
            at in any::<prop::sample::Index>(),
            gone in 0_usize..40,
            put in "[\\[\\]{}\"'$=.,#\n a-z0-9ä\u{1b}-]{0,12}",
        ) {
            let endpoint = kind::Kind::read(&kind::ENDPOINT, kind::Scalar::Text("http://a")).unwrap();
            let text: Vec<char> = file_for(&endpoint).chars().collect();
            let at = at.index(text.len());
            let damaged: String = text[..at]
                .iter()
                .copied()
                .chain(put.chars())
                .chain(text[(at + gone).min(text.len())..].iter().copied())
                .collect();
            if let Err(report) = read(&damaged) {
                prop_assert!(report.errors() > 0);
                prop_assert!(!report.render(true).is_empty());
            }
        }
    }
}
