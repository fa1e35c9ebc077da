//! The list of lints, as Markdown.

use std::fmt::Write as _;

use super::{Lint, Severity};

/// Every lint with why it matters and what to do: `docs/lints.md`.
pub fn page() -> String {
    let mut page = String::from(INTRODUCTION);
    for (group, title) in GROUPS {
        write!(page, "\n## {title}\n").expect("writing to a string cannot fail");
        for lint in Lint::ALL.iter().filter(|lint| lint.id().starts_with(group)) {
            let severity = match lint.severity() {
                Severity::Error => "error",
                Severity::Warning => "warning",
                Severity::Note => "note",
            };
            write!(
                page,
                "\n### {}\n\n**{}.** ({severity}) {} Fix: {}.\n",
                lint.id(),
                lint.title(),
                lint.why(),
                lint.fix()
            )
            .expect("writing to a string cannot fail");
        }
    }
    page.push_str(ELSEWHERE);
    page
}

const GROUPS: [(char, &str); 6] = [
    ('R', "Routes"),
    ('L', "Resilience"),
    ('T', "TLS"),
    ('S', "Security"),
    ('A', "Alerting"),
    ('O', "Operations"),
];

const INTRODUCTION: &str = "\
<!-- Written by `config::lint::page`; a test compares. -->

# Lints

`vestibule check` runs these over a configuration that has no errors. Where a request can prove what a lint says, it prints one:
`vestibule explain` shows the same. Ids are stable and never reused.

A finding is an error, a warning or a note. `--fail-on` says from which on the exit status is 1 (errors, unless told otherwise);
`--format sarif` and `--format junit` are for the machines of a merge request.

What is meant so is written down, with its reason:

```toml
[[allow]]
lints = [\"R005\"]
about = \"web\"                                   # a route, upstream, certificate or SLO; without it, everywhere
reason = \"the service answers 404 for those itself\"
```
";

const ELSEWHERE: &str = "
## Told by the reader already

These are found whenever a configuration is read, not only by `check`; [config.md](config.md#diagnostics) has them all.

| known as | what it says |
| --- | --- |
| `config::same_match` | two routes take exactly the same requests |
| `config::no_endpoints` | an upstream has nobody to answer |
| `config::no_routes` | every request is answered 404 |
| `config::insecure_upstream` | an upstream's certificates are not verified |
| `config::not_loopback` | the admin API would listen where others reach it |
| `config::route_without_slo` | nothing is promised about a route |
| `config::policy_never_fires` | every row of an SLO's policy asks for more than a total outage burns |
| `config::row_never_fires` | one of them does: factor × (1 − objective) is 1 or more |
| `config::short_window` | a row's short window is not shorter than its long one |
| `config::window_beyond_history` | an SLO's or a row's window is longer than history is kept |
| `config::unused` | nothing refers to an upstream, a certificate, a policy or an allowance |
";
