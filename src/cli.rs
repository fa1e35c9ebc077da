//! The command line: what is asked, done, and what the exit code says.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::generate::What;
use crate::net::address::Address;

mod asked;
mod certs;
mod check;
mod daemon;
mod decision;
mod deploy;
mod diff;
mod explain;
mod gameday;
mod generate;
mod incident;
mod names;
mod notify;
mod outcome;
mod probe;
mod run;
mod silence;
mod slo;
mod status;
mod top;
mod watch;

/// Exit codes, once. Those above 63 are sysexits.h's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done, or all well.
    Ok = 0,
    /// `status`: something to look at in working hours. Elsewhere: failed.
    Warn = 1,
    /// `status`: something to wake for.
    Crit = 2,
    /// `status`: no data yet, or too little history to say. `slo list`: a budget is overspent.
    Unknown = 3,
    /// The command line is wrong.
    Usage = 64,
    /// No daemon answers.
    Unavailable = 69,
    /// A socket, a file or a thread could not be had.
    Io = 74,
    /// Another instance holds the state directory; later it may not.
    Busy = 75,
    /// The configuration is wrong.
    Config = 78,
}

impl Exit {
    /// Every code, rising.
    pub const ALL: [Self; 9] = [
        Self::Ok,
        Self::Warn,
        Self::Crit,
        Self::Unknown,
        Self::Usage,
        Self::Unavailable,
        Self::Io,
        Self::Busy,
        Self::Config,
    ];

    /// Which commands end with it, and what it means then.
    pub const fn about(self) -> (&'static str, &'static str) {
        match self {
            Self::Ok => ("all", "done; the verdict: ok"),
            Self::Warn => ("all", "failed; the verdict: warn"),
            Self::Crit => ("`status`, `watch`", "the verdict: crit"),
            Self::Unknown => (
                "`status`, `watch`, `slo list`",
                "the verdict: unknown; an SLO is breached",
            ),
            Self::Usage => ("all", "wrong usage, like an unknown upstream"),
            Self::Unavailable => (
                "`status`, `watch`, `top`, `deploy`, `silence`",
                "no Vestibule answers there",
            ),
            Self::Io => ("all", "a file, socket or disk failed"),
            Self::Busy => (
                "`run`, `demo`",
                "the state directory is in use by another instance",
            ),
            Self::Config => (
                "`run`, `check`, `generate`, `slo`, `incident`",
                "the configuration is refused",
            ),
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

const AFTER_HELP: &str = "\
Exit codes:
   0  done; status: all well         64  wrong command line
   1  failed; status: warning        69  no daemon answers
   2  status: critical               74  a socket, file or thread could not be had
   3  status: no data yet;           75  another instance holds the state directory
      slo list: one is breached      78  wrong configuration

Start here:
  vestibule demo                          a whole incident in two minutes, on this machine alone
  vestibule run http://127.0.0.1:3000     put it in front of a service, without a file
  vestibule top                           watch it";

/// Ingress observability and SLO companion: an instrumented reverse proxy that says whose fault it is.
#[derive(Debug, Parser)]
#[command(name = "vestibule", version, about, after_help = AFTER_HELP, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Proxy traffic, measure it, judge it
    ///
    /// With a URL, everything goes there: one route `default`, promised 99.9 % available and 95 % under 300 ms over
    /// 30 days. With a configuration file, what it says. SIGHUP reads the file again; SIGTERM finishes what is under
    /// way and stops.
    Run(RunArguments),
    /// Show a whole incident, embedded: real upstreams, real traffic, a bad deploy and its rollback
    Demo(DemoArguments),
    /// Hold a game day: a real fault on this machine alone, to see that everything says what it should and when
    ///
    /// Writes a timeline: what was expected, when it came, and what else happened. The exit code is 0 when everything came in
    /// time and in order, and 1 when not.
    #[command(subcommand)]
    Gameday(gameday::GamedayCommand),
    /// Watch a running daemon on a full screen
    Top {
        #[command(flatten)]
        connect: Connect,
        /// Draw with ASCII only
        #[arg(long)]
        ascii: bool,
        /// For a light background
        #[arg(long)]
        light: bool,
        /// Where `e` writes its evidence
        #[arg(long, value_name = "DIR", default_value = ".")]
        evidence: PathBuf,
    },
    /// Say how a running daemon's service stands, in a few lines; the exit code says it too
    Status {
        #[command(flatten)]
        connect: Connect,
        /// Everything, as JSON
        #[arg(long)]
        json: bool,
    },
    /// Follow a running daemon in plain lines: one for each thing that changes, none while nothing does
    ///
    /// For screen readers, logs and scripts: words only, no colour, nothing is drawn over. The first lines say how things stand.
    /// A daemon that goes away is told once, and followed again when it is back. At the end the exit code is that of `status`:
    /// 0 all well, 1 a warning, 2 critical, 3 not known; 69 when no daemon answers.
    Watch(watch::WatchArguments),
    /// Tell a running daemon that a new version of a service went live
    ///
    /// Errors that begin shortly after are then compared with it. Call it from your deploy pipeline.
    Deploy {
        /// The upstream that got a new version
        upstream: String,
        /// The version
        version: String,
        /// Who or what deployed it
        #[arg(long)]
        by: Option<String>,
        /// Mute tickets about the upstream's routes for so long, a minute to an hour; pages are told all the same
        ///
        /// What the SLOs of these routes spend meanwhile is booked to the deploy, and counted in their budgets as always.
        /// The window ends by itself, or with the next deploy of the upstream.
        #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
        window: Option<Duration>,
        #[command(flatten)]
        connect: Connect,
        /// The event as recorded, as JSON
        #[arg(long)]
        json: bool,
    },
    /// Keep alerts from being told for a while: who, why and until when
    ///
    /// A silence ends by itself, after a day at the latest, and when the daemon does not stop well. It mutes neither an
    /// outage of the whole ingress nor a certificate that ends within a day, and keeps nothing from being shown.
    #[command(subcommand)]
    Silence(silence::SilenceCommand),
    /// About those who are told of alerts
    #[command(subcommand)]
    Notify(NotifyCommand),
    /// Check a configuration file without starting anything
    ///
    /// What refuses it is an error, exit code 78. What it probably does not mean is a lint, with a request that shows it
    /// where one can; docs/lints.md has them all. What is meant so belongs into an `[[allow]]` with its reason.
    Check {
        /// The file
        #[arg(long, short, value_name = "FILE", default_value = DEFAULT_FILE)]
        config: PathBuf,
        /// What was found, as JSON; short for --format json
        #[arg(long, conflicts_with = "format")]
        json: bool,
        /// How to say what was found: sarif and junit are what merge requests show
        #[arg(long, value_enum, default_value_t = check::Format::Human)]
        format: check::Format,
        /// The exit code is 1 from this severity on; the configuration is taken all the same
        #[arg(long, value_enum, value_name = "SEVERITY", default_value_t = check::FailOn::Error)]
        fail_on: check::FailOn,
    },
    /// Say which route takes a request, why the others do not, and what is done to it
    ///
    /// Read from the configuration alone, by the same rules as the data plane: nothing is started and nothing is sent.
    /// The exit code is 0 when the request goes to an upstream and 1 when it is answered here, with 404 say.
    #[command(after_help = EXPLAIN_HELP)]
    Explain(ExplainArguments),
    /// Say which requests another configuration treats differently: route, answer, upstream, certificate or policy
    ///
    /// Compares by requests made of the routes of both, or by those of --urls, which may be an access log: so a change is
    /// tried on the traffic of yesterday before it is live. The exit code is 0 when nothing changes and 1 when something
    /// does.
    Diff {
        /// The configuration now
        old: PathBuf,
        /// The configuration to come
        new: PathBuf,
        /// Requests to compare by: a line is `[METHOD] URL`, or one of the access log; `-` is standard input
        #[arg(long, value_name = "FILE")]
        urls: Option<PathBuf>,
        /// Everything, as JSON
        #[arg(long)]
        json: bool,
    },
    /// Say which certificates there are, where they are seen, and how long they live; the exit code says if all is well
    ///
    /// 0: nothing is wrong. 1: a renewal is overdue, or a ticket. 2: something to wake for. 69: no daemon answers. What is
    /// issued while Vestibule runs says by whom, when it is renewed, and why it last failed; `renew` does it now.
    Certs(certs::CertsArguments),
    /// List the names that a daemon's traffic depends on, what each resolver and authority says of them, and who is behind
    ///
    /// 0: nobody goes by what an authority dropped. 1: somebody does, longer than may be. 69: no daemon answers.
    Names(names::NamesArguments),
    /// Look at services from outside: run synthetic probes, list them
    #[command(subcommand)]
    Probe(probe::ProbeCommand),
    /// About the configuration file
    #[command(subcommand)]
    Config(ConfigCommand),
    /// About what is promised
    #[command(subcommand)]
    Slo(slo::SloCommand),
    /// What went wrong: list incidents of the stored history, show one, export them for a postmortem
    #[command(subcommand, after_help = incident::HELP)]
    Incident(incident::IncidentCommand),
    /// Write what other tools need: Prometheus rules, dashboards, Alertmanager routing, runbooks
    ///
    /// Made from the configuration alone: nothing needs to run, and the same configuration gives the same files, so
    /// commit them. In your pipeline, --check fails with exit code 1 when they are stale.
    #[command(after_help = GENERATE_HELP)]
    Generate {
        /// What to write
        #[arg(value_enum)]
        what: Generated,
        /// The configuration file
        #[arg(long, short, value_name = "FILE", default_value = DEFAULT_FILE)]
        from: PathBuf,
        /// The directory to write into; `-` prints instead
        #[arg(long, short, value_name = "DIR", default_value = ".")]
        out: PathBuf,
        /// Write nothing; fail when a file is missing or not what would be written
        #[arg(long)]
        check: bool,
        /// The model of the dashboards
        #[arg(long, value_enum, default_value_t = DashboardModel::Classic)]
        format: DashboardModel,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DashboardModel {
    /// Grafana 10 and later: dashboards/
    Classic,
    /// Grafana 13 and later, dashboard.grafana.app/v2: dashboards/v2/
    V2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Generated {
    /// Recording and alerting rules for Prometheus: alerts/rules/
    Rules,
    /// Unit tests of the rules for promtool: alerts/tests/
    Tests,
    /// Routes, grouping and inhibition for Alertmanager: alerts/alertmanager.yaml
    Alertmanager,
    /// Dashboards for Grafana 10 and later: dashboards/
    Dashboards,
    /// A page for every alert that the rules can raise: alerts/runbooks/
    Runbooks,
    /// Prometheus configurations that scrape Vestibule: alerts/prometheus.yaml, and by version in alerts/scrape/
    Scrape,
    /// All of these
    All,
}

impl Generated {
    fn what(self, model: DashboardModel) -> Vec<What> {
        let what = match self {
            Self::Rules => &[What::Rules][..],
            Self::Tests => &[What::Tests],
            Self::Alertmanager => &[What::Alertmanager],
            Self::Dashboards => &[What::Dashboards],
            Self::Runbooks => &[What::Runbooks],
            Self::Scrape => &[What::Scrape],
            Self::All => &What::ALL,
        };
        let of_model = |what: &What| match (what, model) {
            (What::Dashboards, DashboardModel::V2) => What::DashboardsV2,
            (what, DashboardModel::Classic | DashboardModel::V2) => *what,
        };
        what.iter().map(of_model).collect()
    }
}

const GENERATE_HELP: &str = "\
Examples:
  vestibule generate all --from vestibule.toml            write everything below this directory
  vestibule generate all --from vestibule.toml --check    in a pipeline: are the committed files fresh?
  vestibule generate rules --from vestibule.toml --out -  print the rules
  vestibule generate dashboards --format v2               for Grafana 13: dashboards/v2/

Then, with the tools themselves:
  promtool check rules --lint=all --lint-fatal alerts/rules/*.yaml
  promtool test rules alerts/tests/*.yaml
  promtool check config alerts/prometheus.yaml
  amtool check-config alerts/alertmanager.yaml";

const EXPLAIN_HELP: &str = "\
Examples:
  vestibule explain https://shop.example/cart
  vestibule explain POST http://shop.example/cart -H 'x-canary: always'
  vestibule explain --urls urls.txt --json      one JSON object per line
  vestibule explain --urls access.jsonl         the requests of the access log";

#[derive(Debug, Args)]
struct ExplainArguments {
    /// `[METHOD] URL`; the method is GET unless given
    #[arg(num_args = 1..=2, required_unless_present = "urls", conflicts_with = "urls", value_name = "[METHOD] URL")]
    request: Vec<String>,
    /// A header of the request, like 'x-canary: always'; may be repeated
    #[arg(
        short = 'H',
        long = "header",
        value_name = "NAME: VALUE",
        conflicts_with = "urls"
    )]
    headers: Vec<String>,
    /// Requests to explain in one line each: a line is `[METHOD] URL`, or one of the access log; `-` is standard input
    #[arg(long, value_name = "FILE")]
    urls: Option<PathBuf>,
    /// The configuration file
    #[arg(long, short, value_name = "FILE", default_value = DEFAULT_FILE)]
    config: PathBuf,
    /// The listener it comes in by, instead of the one that its scheme and port lead to
    #[arg(long, value_name = "NAME")]
    listener: Option<String>,
    /// Every route that does not match, too
    #[arg(long)]
    all: bool,
    /// Everything, as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct RunArguments {
    /// The service to put it in front of, like <http://127.0.0.1:3000>
    url: Option<String>,
    /// The configuration file, vestibule.toml unless a URL is given
    #[arg(long, short, value_name = "FILE", conflicts_with = "url")]
    config: Option<PathBuf>,
    /// Listen here instead; with a file only if it has one listener
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
    /// Keep history and the admin socket here instead
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// How to write Vestibule's own log
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Debug, Args)]
struct DemoArguments {
    /// One line per change instead of the full screen
    #[arg(long)]
    headless: bool,
    /// Stop after this many seconds
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// Keep the demo's state here instead of in a directory that is removed at the end
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Args)]
struct Connect {
    /// The daemon's admin socket, or http://127.0.0.1:PORT of its admin.listen
    #[arg(long, value_name = "SOCKET|URL", env = "VESTIBULE_CONNECT", default_value = DEFAULT_SOCKET)]
    connect: Address,
}

#[derive(Debug, Subcommand)]
enum NotifyCommand {
    /// Send a message about nothing to every `[[notify]]`, or to one, and say whether it arrived
    ///
    /// Works without a daemon. Exit code 1 when one was not told.
    Test {
        /// The name of the only one to tell
        receiver: Option<String>,
        /// The configuration file
        #[arg(long, short, value_name = "FILE", default_value = DEFAULT_FILE)]
        config: PathBuf,
        /// One line of JSON for each
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Print the JSON Schema of the configuration file, for editors
    Schema,
    /// Print the reference of every key, as Markdown
    Reference,
    /// Print the list of lints, as Markdown
    Lints,
}

const DEFAULT_FILE: &str = "vestibule.toml";
const DEFAULT_SOCKET: &str = "vestibule-state/vestibule.sock";

/// Parses the arguments, does what they ask, and gives the exit code.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Asked-for help goes to standard output and is no failure.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Ok
            };
            drop(error.print());
            return exit.into();
        }
    };
    match arguments.command {
        Command::Run(arguments) => run::run(arguments),
        Command::Demo(arguments) => run::demo(arguments),
        Command::Gameday(command) => gameday::gameday(command),
        Command::Top {
            connect,
            ascii,
            light,
            evidence,
        } => top::top(connect.connect, ascii, light, evidence),
        Command::Status { connect, json } => status::status(&connect.connect, json),
        Command::Watch(arguments) => watch::watch(&arguments),
        Command::Deploy {
            upstream,
            version,
            by,
            window,
            connect,
            json,
        } => deploy::deploy(
            &connect.connect,
            &crate::admin::Deploy {
                upstream,
                version,
                by,
                window_s: window.map(|window| window.as_secs()),
            },
            json,
        ),
        Command::Silence(command) => silence::silence(command),
        Command::Notify(NotifyCommand::Test {
            receiver,
            config,
            json,
        }) => notify::test(&config, receiver.as_deref(), json),
        Command::Check {
            config,
            json,
            format,
            fail_on,
        } => {
            let format = if json { check::Format::Json } else { format };
            check::check(&config, format, fail_on)
        }
        Command::Slo(command) => slo::slo(command),
        Command::Incident(command) => incident::incident(command),
        Command::Generate {
            what,
            from,
            out,
            check,
            format,
        } => generate::run(&what.what(format), &from, &out, check),
        Command::Explain(arguments) => explain(&arguments),
        Command::Diff {
            old,
            new,
            urls,
            json,
        } => match (table(&old), table(&new)) {
            (Ok(old), Ok(new)) => diff::diff(&old, &new, urls.as_deref(), json),
            (Err(exit), _) | (_, Err(exit)) => exit,
        },
        Command::Certs(arguments) => certs::certs(&arguments),
        Command::Names(arguments) => names::names(&arguments),
        Command::Probe(command) => probe::probe(command),
        Command::Config(ConfigCommand::Schema) => {
            say(&format!("{:#}\n", crate::config::schema()));
            Exit::Ok
        }
        Command::Config(ConfigCommand::Reference) => {
            say(&crate::config::reference());
            Exit::Ok
        }
        Command::Config(ConfigCommand::Lints) => {
            say(&crate::config::lint::page());
            Exit::Ok
        }
    }
    .into()
}

fn explain(arguments: &ExplainArguments) -> Exit {
    let table = match table(&arguments.config) {
        Ok(table) => table,
        Err(exit) => return exit,
    };
    if let Some(file) = &arguments.urls {
        return explain::many(&table, file, arguments.listener.as_deref(), arguments.json);
    }
    let (method, url) = match arguments.request.as_slice() {
        [method, url] => (method.as_str(), url.as_str()),
        [url] => ("GET", url.as_str()),
        _ => return Exit::Usage,
    };
    match asked::Asked::new(method, url, &arguments.headers) {
        Ok(mut asked) => {
            asked.listener.clone_from(&arguments.listener);
            explain::one(&table, &asked, arguments.all, arguments.json)
        }
        Err(error) => {
            complain(&error.to_string());
            Exit::Usage
        }
    }
}

/// The configuration in `file`, to be asked; complains when it cannot be.
fn table(file: &Path) -> Result<decision::Table, Exit> {
    let resolved = crate::config::load(file).map_err(|report| {
        complain(&format!("{report}\n{}", report.render(fancy())));
        Exit::Config
    })?;
    decision::Table::new(resolved).map_err(|error| {
        complain(&format!("{}: {error}", file.display()));
        Exit::Config
    })
}

/// Prints to standard output. A reader that has gone (`| head`) is no failure.
fn say(text: &str) {
    let mut out = io::stdout().lock();
    drop(out.write_all(text.as_bytes()).and_then(|()| out.flush()));
}

/// Prints to standard error.
fn complain(text: &str) {
    drop(
        io::stderr()
            .lock()
            .write_all(format!("vestibule: {}\n", text.trim_end()).as_bytes()),
    );
}

/// Whether standard error is a terminal that wants colour.
fn fancy() -> bool {
    io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// A runtime for one command.
fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_help_names_every_exit_code() {
        let words = AFTER_HELP.split_whitespace();
        let named: Vec<u8> = words.filter_map(|word| word.parse().ok()).collect();
        for exit in Exit::ALL {
            assert!(named.contains(&(exit as u8)), "{exit:?}");
        }
        assert_eq!(named.len(), Exit::ALL.len());
    }

    #[test]
    fn a_url_and_a_file_exclude_each_other() {
        assert!(
            Arguments::try_parse_from(["vestibule", "run", "http://a:1", "--config", "x"]).is_err()
        );
        assert!(
            Arguments::try_parse_from([
                "vestibule",
                "run",
                "http://a:1",
                "--listen",
                "127.0.0.1:0"
            ])
            .is_ok()
        );
    }
}
