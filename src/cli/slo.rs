//! `vestibule slo`.

use std::path::{Path, PathBuf};

use clap::{Subcommand, ValueEnum};

use super::{Connect, DEFAULT_FILE, Exit, complain, fancy, generate, say};
use crate::config;
use crate::generate::spec::{Spec, specify};

mod backtest;
mod hours;
mod import;
mod past;
mod propose;
mod report;
mod shown;
mod simulate;
mod whatif;

#[derive(Debug, Subcommand)]
pub(super) enum SloCommand {
    /// List what a running daemon promises: objective, budget left, burn, how it stands; the worst first
    ///
    /// The exit code is 3 when one is breached: its budget is overspent, with what is missing of the window taken to have
    /// been good. 69: no daemon answers.
    List {
        #[command(flatten)]
        connect: Connect,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one SLO in full: its budget, its burn over every window, and what spent it
    ///
    /// Bad events by day, and where requests failed by kind, status, endpoint and version: the parts of each sum to the
    /// whole. The exit code is 3 when it is breached, 64 when there is none of this id.
    Show {
        /// The SLO
        id: String,
        #[command(flatten)]
        connect: Connect,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Judge the stored history by several policies side by side: what each would have told, how soon, and how often of nothing
    ///
    /// Runs the engine that judges live traffic over the minutes in the state directory, so that another objective or
    /// policy can be tried on the traffic of last month. Nothing needs to run, and a daemon that does is not disturbed.
    /// History is kept by the minute for `history.minutes`; before that by the hour, in which no short window can be
    /// seen, so the look begins where the minutes do.
    #[command(after_help = backtest::HELP)]
    Backtest(backtest::BacktestArguments),
    /// Say what another threshold or objective would have come to: budget used and fastest burn, with bounds that hold
    ///
    /// Reads the integers and the latency distributions of the stored history. Nothing needs to run, and a daemon that does
    /// is not disturbed.
    #[command(after_help = whatif::HELP)]
    WhatIf(whatif::WhatIfArguments),
    /// Propose SLOs for the routes that have none, from what they did, ready to be pasted
    ///
    /// Reads the stored history. Nothing needs to run, and a daemon that does is not disturbed.
    #[command(after_help = propose::HELP)]
    Propose(propose::ProposeArguments),
    /// Report a week or a month in Markdown: what was kept, what it cost, what happened
    ///
    /// For each SLO the objective, what was counted in integers, the budget used and left, the period before, the worst hour and
    /// day; incidents, alerts, deploys; by owner. Reads the stored history: nothing needs to run, and a daemon that does is not
    /// disturbed.
    #[command(after_help = report::HELP)]
    Report(report::ReportArguments),
    /// Play incidents to the alerts and say when they would tell somebody, at what cost, and when they would end
    ///
    /// Runs the engine that judges live traffic over made-up traffic, second by second in model time, for every policy side
    /// by side. Nothing needs to run and nothing is read but what is named. 64: there is no such shape, policy or SLO, or a
    /// file of your own is wrong. 74: it cannot be read. 78: the configuration is wrong.
    #[command(after_help = simulate::HELP)]
    Simulate(simulate::SimulateArguments),
    /// Print the SLOs of a configuration file as other tools write them
    ///
    /// They count the good and bad events of Vestibule's own series. Neither format can say all of an alerting policy.
    Export {
        /// The configuration file
        #[arg(long, short, value_name = "FILE", default_value = DEFAULT_FILE)]
        from: PathBuf,
        /// Whose words
        #[arg(long, value_enum, default_value_t = Format::Openslo)]
        format: Format,
    },
    /// Turn SLO specifications of other tools into SLOs of a configuration file
    ///
    /// Service, objective, window, owner and runbook are carried. Queries are not: Vestibule counts requests itself, and
    /// recognises whether a query asks for availability or for a latency. Whatever is not carried as it is written is
    /// told on standard error, with its file and line.
    #[command(after_help = import::HELP)]
    Import(import::ImportArguments),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    #[value(help = "OpenSLO v1")]
    Openslo,
    /// Sloth, prometheus/v1
    Sloth,
}

impl Format {
    const fn spec(self) -> Spec {
        match self {
            Self::Openslo => Spec::OpenSlo,
            Self::Sloth => Spec::Sloth,
        }
    }
}

pub(super) fn slo(command: SloCommand) -> Exit {
    match command {
        SloCommand::List { connect, json } => shown::list(&connect.connect, json),
        SloCommand::Show { id, connect, json } => shown::show(&connect.connect, &id, json),
        SloCommand::Backtest(arguments) => backtest::backtest(&arguments),
        SloCommand::WhatIf(arguments) => whatif::what_if(&arguments),
        SloCommand::Propose(arguments) => propose::propose(&arguments),
        SloCommand::Report(arguments) => report::report(&arguments),
        SloCommand::Simulate(arguments) => simulate::simulate(&arguments),
        SloCommand::Export { from, format } => export(&from, format.spec()),
        SloCommand::Import(asked) => import::import(&asked),
    }
}

/// Prints the promises of a configuration as `spec` has them.
fn export(from: &Path, spec: Spec) -> Exit {
    match config::load(from) {
        Ok(resolved) => {
            say(&specify(&generate::plan(resolved), spec));
            Exit::Ok
        }
        Err(report) => {
            complain(&format!("{report}\n{}", report.render(fancy())));
            Exit::Config
        }
    }
}
