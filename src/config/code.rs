//! Every rule that a configuration can break, by its stable code.

use std::fmt;

use super::lint::Lint;

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// The configuration is refused, or, when only a lint says so, bound to fail.
    Error,
    /// It is taken, but probably not meant so.
    Warning,
    /// It is taken and may well be meant so; worth knowing.
    Note,
}

impl Severity {
    /// The severity's word in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// A rule. Its text is stable: scripts may match on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Two keys that exclude each other, or one that needs another.
    Conflict,
    /// A name, id, address or list item given twice.
    Duplicate,
    /// A value that is not what its key takes.
    InvalidValue,
    /// Not a loopback address.
    Loopback,
    /// A required key or table is not there.
    MissingKey,
    /// A file that should be PEM is not.
    Pem,
    /// No row of the policy can ever fire for the objective.
    PolicyNeverFires,
    /// A file of probes that is wrong.
    Probes,
    /// A number outside its range.
    Range,
    /// A name that means something else already.
    Reserved,
    /// Two routes that take exactly the same requests.
    SameMatch,
    /// A short window that is not shorter than its long one.
    ShortWindow,
    /// Not TOML.
    Syntax,
    /// Bytes beyond what a configuration may have.
    TooLarge,
    /// More items than there may be.
    TooMany,
    /// The configuration file cannot be read.
    Unreadable,
    /// A file that the configuration names cannot be read.
    UnreadableFile,
    /// A key that nothing reads.
    UnknownKey,
    /// A name that nothing has.
    UnknownName,
    /// A `${…}` that is not one.
    Variable,
    /// An environment variable that is not set.
    VariableUnset,
    /// A window longer than the history that is kept.
    WindowBeyondHistory,
    /// A value of the wrong TOML type.
    WrongType,

    /// A standard environment variable that is not understood.
    Environment,
    /// An upstream whose certificates are not verified.
    InsecureUpstream,
    /// An upstream without endpoints.
    NoEndpoints,
    /// No route at all.
    NoRoutes,
    /// A route that nothing is promised about.
    RouteWithoutSlo,
    /// A policy row that can never fire for the objective.
    RowNeverFires,
    /// Something that nothing refers to.
    Unused,

    /// What a lint found.
    Lint(Lint),
}

impl Code {
    /// Every code but the lints', errors first, in the order of the reference.
    pub const ALL: [Self; 30] = [
        Self::Unreadable,
        Self::TooLarge,
        Self::Syntax,
        Self::UnknownKey,
        Self::MissingKey,
        Self::WrongType,
        Self::InvalidValue,
        Self::Range,
        Self::TooMany,
        Self::Variable,
        Self::VariableUnset,
        Self::Duplicate,
        Self::Conflict,
        Self::UnknownName,
        Self::Reserved,
        Self::SameMatch,
        Self::Loopback,
        Self::UnreadableFile,
        Self::Pem,
        Self::Probes,
        Self::ShortWindow,
        Self::WindowBeyondHistory,
        Self::PolicyNeverFires,
        Self::RowNeverFires,
        Self::Environment,
        Self::InsecureUpstream,
        Self::NoEndpoints,
        Self::NoRoutes,
        Self::RouteWithoutSlo,
        Self::Unused,
    ];

    /// The code's text, `config::…` or a lint's id.
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// What the rule is, in one sentence of Markdown.
    pub const fn about(self) -> &'static str {
        self.row().1
    }

    /// Whether breaking the rule refuses the configuration.
    pub const fn severity(self) -> Severity {
        match self {
            Self::Conflict
            | Self::Duplicate
            | Self::InvalidValue
            | Self::Loopback
            | Self::MissingKey
            | Self::Pem
            | Self::PolicyNeverFires
            | Self::Probes
            | Self::Range
            | Self::Reserved
            | Self::SameMatch
            | Self::ShortWindow
            | Self::Syntax
            | Self::TooLarge
            | Self::TooMany
            | Self::Unreadable
            | Self::UnreadableFile
            | Self::UnknownKey
            | Self::UnknownName
            | Self::Variable
            | Self::VariableUnset
            | Self::WindowBeyondHistory
            | Self::WrongType => Severity::Error,
            Self::Environment
            | Self::InsecureUpstream
            | Self::NoEndpoints
            | Self::NoRoutes
            | Self::RouteWithoutSlo
            | Self::RowNeverFires
            | Self::Unused => Severity::Warning,
            Self::Lint(lint) => lint.severity(),
        }
    }

    #[expect(clippy::too_many_lines, reason = "a table: one row per rule")]
    const fn row(self) -> (&'static str, &'static str) {
        match self {
            Self::Conflict => (
                "config::conflict",
                "Two keys exclude each other, or one needs another.",
            ),
            Self::Duplicate => (
                "config::duplicate",
                "A name, an id, a listener's address or an item of a list is given twice.",
            ),
            Self::InvalidValue => (
                "config::invalid_value",
                "A value is not what its key takes: no duration, host, URL, percentage …",
            ),
            Self::Loopback => (
                "config::not_loopback",
                "The admin API may only listen on a loopback address: it has no authentication.",
            ),
            Self::MissingKey => (
                "config::missing_key",
                "A key or a table that must be there is not.",
            ),
            Self::Pem => (
                "config::not_pem",
                "A certificate, key or roots file holds no such PEM section.",
            ),
            Self::PolicyNeverFires => (
                "config::policy_never_fires",
                "No row of the SLO's policy can fire, even if every request failed: the alert would be silent for ever.",
            ),
            Self::Probes => (
                "config::probes",
                "A file of probes is wrong, or the directory of them cannot be read.",
            ),
            Self::Range => (
                "config::out_of_range",
                "A number, duration, size or window lies outside its range.",
            ),
            Self::Reserved => (
                "config::reserved",
                "The name has a meaning of its own: route `none`, or a policy that Vestibule brings along.",
            ),
            Self::SameMatch => (
                "config::same_match",
                "Two routes take the same host, path and method, so one of them could never be chosen.",
            ),
            Self::ShortWindow => (
                "config::short_window",
                "A policy row's short window is not shorter than its long one.",
            ),
            Self::Syntax => ("config::syntax", "The file is not TOML."),
            Self::TooLarge => ("config::too_large", "The file is larger than 8 MiB."),
            Self::TooMany => (
                "config::too_many",
                "There are more tables or list items than allowed.",
            ),
            Self::Unreadable => (
                "config::unreadable",
                "The configuration file cannot be opened or read, or is not UTF-8.",
            ),
            Self::UnreadableFile => (
                "config::unreadable_file",
                "A certificate, key or roots file cannot be read.",
            ),
            Self::UnknownKey => (
                "config::unknown_key",
                "A key or table that Vestibule does not know.",
            ),
            Self::UnknownName => (
                "config::unknown_name",
                "A reference to a route, upstream, certificate or policy that does not exist.",
            ),
            Self::Variable => (
                "config::variable",
                "A `${…}` is not closed or does not hold a variable's name.",
            ),
            Self::VariableUnset => (
                "config::variable_unset",
                "A `${VAR}` without a default names an environment variable that is not set.",
            ),
            Self::WindowBeyondHistory => (
                "config::window_beyond_history",
                "An SLO's or a policy's window is longer than history is kept.",
            ),
            Self::WrongType => (
                "config::wrong_type",
                "A value has the wrong TOML type, for example a number where a string belongs.",
            ),
            Self::Environment => (
                "config::environment",
                "An `OTEL_…` environment variable has a value that is not understood, and is ignored.",
            ),
            Self::InsecureUpstream => (
                "config::insecure_upstream",
                "The upstream's certificates are not verified: anyone on the way can read and change its traffic.",
            ),
            Self::NoEndpoints => (
                "config::no_endpoints",
                "The upstream has no endpoints: its requests are answered 503.",
            ),
            Self::NoRoutes => (
                "config::no_routes",
                "There is no route: every request is answered 404.",
            ),
            Self::RouteWithoutSlo => (
                "config::route_without_slo",
                "No SLO is about this route: it is measured, but nothing ever alerts.",
            ),
            Self::RowNeverFires => (
                "config::row_never_fires",
                "A row of the SLO's policy asks for a burn rate that even a total outage does not reach.",
            ),
            Self::Unused => (
                "config::unused",
                "An upstream, certificate or policy that nothing refers to, or an allowance that allows nothing.",
            ),
            Self::Lint(lint) => (lint.id(), lint.why()),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
