//! Silences: what is meant to be so, who says it, why, and until when.
//!
//! A silence keeps alerts from being told; it does not keep them from firing, from being shown or from spending the
//! budget. It ends by itself, and none mutes an outage of the ingress or a certificate that ends within a day: whoever
//! wrote it did not think of those.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use regex::{Regex, RegexBuilder};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::alert::AlertKind;
use super::policy::{Severity, Tier};
use crate::model::Timestamp;

/// The longest that a silence may last.
pub const LONGEST: Duration = Duration::from_secs(24 * 3_600);
/// The longest window of a deploy.
pub const LONGEST_WINDOW: Duration = Duration::from_secs(3_600);
/// The shortest of either.
pub const SHORTEST: Duration = Duration::from_secs(60);
/// Silences at a time.
pub const MOST: usize = 100;
/// Matchers of one silence.
pub const MOST_MATCHERS: usize = 16;
/// The longest owner, reason or value, in characters.
pub const MOST_TEXT: usize = 200;
/// The largest compiled expression that is kept, in bytes: a deploy's window names every route of its upstream.
const MOST_EXPRESSION: usize = 16 << 20;
/// The largest compiled expression that people may ask for, in bytes.
const MOST_ASKED: usize = 64 << 10;

/// What a matcher looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Label {
    /// The SLO's id.
    Slo,
    /// The route's id.
    Route,
    /// Several routes together: `upstream:web`, `owner:payments`, `ingress`.
    Scope,
    /// Who answers for it.
    Owner,
    /// `page` or `ticket`.
    Severity,
    /// `fast`, `medium`, `slow` or `long`.
    Tier,
    /// What was noticed, an [`AlertKind`].
    Kind,
    /// The certificate's name.
    Name,
    /// The part of Vestibule.
    Part,
}

impl Label {
    /// Every label.
    pub const ALL: [Self; 9] = [
        Self::Slo,
        Self::Route,
        Self::Scope,
        Self::Owner,
        Self::Severity,
        Self::Tier,
        Self::Kind,
        Self::Name,
        Self::Part,
    ];

    /// Its word in a matcher.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Slo => "slo",
            Self::Route => "route",
            Self::Scope => "scope",
            Self::Owner => "owner",
            Self::Severity => "severity",
            Self::Tier => "tier",
            Self::Kind => "kind",
            Self::Name => "name",
            Self::Part => "part",
        }
    }
}

/// An alert, as matchers see it. An absent label is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject<'a> {
    /// What was noticed.
    pub kind: AlertKind,
    /// How loudly.
    pub severity: Severity,
    /// How fast the budget burns.
    pub tier: Option<Tier>,
    /// The SLO it is about.
    pub slo: &'a str,
    /// The route it is about.
    pub route: &'a str,
    /// Several routes together that it is about.
    pub scope: &'a str,
    /// Who answers for the route.
    pub owner: &'a str,
    /// What it is about, in a word.
    pub about: &'a str,
}

impl<'a> Subject<'a> {
    /// The value of `label`.
    pub fn label(&self, label: Label) -> &'a str {
        match label {
            Label::Slo => self.slo,
            Label::Route => self.route,
            Label::Scope => self.scope,
            Label::Owner => self.owner,
            Label::Severity => self.severity.as_str(),
            Label::Tier => self.tier.map_or("", Tier::as_str),
            Label::Kind => self.kind.as_str(),
            Label::Name if self.kind == AlertKind::Certificate => self.about,
            Label::Part if self.kind == AlertKind::Degraded => self.about,
            Label::Name | Label::Part => "",
        }
    }
}

/// A condition on one label: `slo=checkout`, `route!=web`, `owner=~"team-(a|b)"`, `tier!~slow`. Expressions match the
/// whole value, as Alertmanager's do.
#[derive(Clone, Debug)]
pub struct Matcher {
    label: Label,
    is_equal: bool,
    value: Value,
}

#[derive(Clone, Debug)]
enum Value {
    Exact(String),
    Expression(String, Regex),
}

/// Why a text is no [`Matcher`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MatcherError {
    /// There is no operator.
    #[error(
        "`{0}` is no matcher: write LABEL=VALUE, LABEL!=VALUE, LABEL=~EXPRESSION or LABEL!~EXPRESSION"
    )]
    Form(String),
    /// There is no such label.
    #[error("`{0}` is no label; there are: slo, route, owner, severity, tier, kind, name, part")]
    Label(String),
    /// The value of a label with few values is none of them.
    #[error("`{value}` is no {label}; there are: {known}")]
    Value {
        /// The label.
        label: &'static str,
        /// What was written.
        value: String,
        /// What there is.
        known: String,
    },
    /// The expression cannot be read.
    #[error("`{0}` is no expression: {1}")]
    Expression(String, String),
    /// The value is too long.
    #[error("a value has at most {MOST_TEXT} characters")]
    Long,
}

impl FromStr for Matcher {
    type Err = MatcherError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::read(text, MOST_EXPRESSION)
    }
}

/// Compiles an expression that must match the whole value, to `most_bytes` at most.
fn expression(text: &str, most_bytes: usize) -> Result<Regex, MatcherError> {
    let compiled = |text: &str| RegexBuilder::new(text).size_limit(most_bytes).build();
    // Compiled by itself first, so that it cannot close the group that it is put into.
    compiled(text)
        .and_then(|_alone| compiled(&format!("^(?:{text})$")))
        .map_err(|error| MatcherError::Expression(text.to_owned(), error.to_string()))
}

/// Refuses a value that no alert can have.
fn check_word(label: Label, value: &str) -> Result<(), MatcherError> {
    let known: Vec<&str> = match label {
        Label::Severity => vec!["page", "ticket"],
        Label::Tier => vec!["fast", "medium", "slow", "long"],
        Label::Kind => AlertKind::ALL.map(AlertKind::as_str).to_vec(),
        Label::Slo | Label::Route | Label::Scope | Label::Owner | Label::Name | Label::Part => {
            return Ok(());
        }
    };
    if known.contains(&value) {
        return Ok(());
    }
    Err(MatcherError::Value {
        label: label.as_str(),
        value: value.to_owned(),
        known: known.join(", "),
    })
}

impl Matcher {
    /// Reads one whose expression takes `most_bytes` at most.
    fn read(text: &str, most_bytes: usize) -> Result<Self, MatcherError> {
        let no_matcher = || MatcherError::Form(text.to_owned());
        let at = text.find(['=', '!']).ok_or_else(no_matcher)?;
        let (name, rest) = text.split_at(at);
        let operators = [
            ("=~", true, true),
            ("!~", false, true),
            ("!=", false, false),
            ("=", true, false),
        ];
        let (value, is_equal, is_expression) = operators
            .into_iter()
            .find_map(|(operator, equal, expression)| {
                Some((rest.strip_prefix(operator)?, equal, expression))
            })
            .ok_or_else(no_matcher)?;
        let name = name.trim();
        let label = Label::ALL
            .into_iter()
            .find(|label| label.as_str() == name)
            .ok_or_else(|| MatcherError::Label(name.to_owned()))?;
        let value = value.trim();
        let bare = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'))
            .unwrap_or(value);
        let value = if is_expression {
            Value::Expression(bare.to_owned(), expression(bare, most_bytes)?)
        } else {
            check_word(label, bare)?;
            Value::Exact(bare.to_owned())
        };
        Ok(Self {
            label,
            is_equal,
            value,
        })
    }

    /// Refuses what is more than a person needs.
    fn check_asked(&self) -> Result<(), MatcherError> {
        let (value, is_expression) = self.value();
        if value.chars().count() > MOST_TEXT {
            return Err(MatcherError::Long);
        }
        if is_expression {
            expression(value, MOST_ASKED)?;
        }
        Ok(())
    }

    /// The label is exactly `value`.
    pub fn exactly(label: Label, value: &str) -> Self {
        Self {
            label,
            is_equal: true,
            value: Value::Exact(value.to_owned()),
        }
    }

    /// The label is one of `values`, at least one.
    ///
    /// # Errors
    /// When they are too many for one expression: some hundred thousand characters.
    pub fn one_of<'a>(
        label: Label,
        values: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, MatcherError> {
        let escaped: Vec<String> = values.into_iter().map(regex::escape).collect();
        let text = escaped.join("|");
        let whole = expression(&text, MOST_EXPRESSION)?;
        Ok(Self {
            label,
            is_equal: true,
            value: Value::Expression(text, whole),
        })
    }

    /// What it looks at.
    pub const fn label(&self) -> Label {
        self.label
    }

    /// Whether the label must match; `false`: it must not.
    pub const fn is_equal(&self) -> bool {
        self.is_equal
    }

    /// The value, and whether it is an expression.
    pub fn value(&self) -> (&str, bool) {
        match &self.value {
            Value::Exact(value) => (value, false),
            Value::Expression(text, _) => (text, true),
        }
    }

    /// Whether a label of this value meets it.
    pub fn takes(&self, value: &str) -> bool {
        let equal = match &self.value {
            Value::Exact(wanted) => wanted == value,
            Value::Expression(_, expression) => expression.is_match(value),
        };
        equal == self.is_equal
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, is_expression) = self.value();
        let operator = match (self.is_equal, is_expression) {
            (true, false) => "=",
            (false, false) => "!=",
            (true, true) => "=~",
            (false, true) => "!~",
        };
        write!(f, "{}{operator}{value}", self.label.as_str())
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Matcher {}

impl Serialize for Matcher {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Matcher {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// What a silence is asked for with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wish {
    /// All of them must be met.
    #[serde(deserialize_with = "asked")]
    pub matchers: Vec<Matcher>,
    /// For how many seconds.
    pub seconds: u64,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
}

/// Reads matchers that somebody asks for: few and small ones, so that reading them costs little.
fn asked<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Matcher>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    if texts.len() > MOST_MATCHERS {
        return Err(de::Error::custom(SilenceRefused::Matchers));
    }
    let read = texts.iter().map(|text| Matcher::read(text, MOST_ASKED));
    read.collect::<Result<_, _>>().map_err(de::Error::custom)
}

/// A silence in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Its id, unique in the state directory.
    pub id: String,
    /// All of them must be met.
    pub matchers: Vec<Matcher>,
    /// Who answers for it.
    pub owner: String,
    /// Why.
    pub reason: String,
    /// When it began.
    pub from: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
    /// The upstream whose deploy it belongs to; `None`: a person made it.
    #[serde(default)]
    pub deploy: Option<String>,
}

/// Why there is no such silence.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SilenceRefused {
    /// It would mute everything without saying so.
    #[error("a silence needs 1 to {MOST_MATCHERS} matchers")]
    Matchers,
    /// A matcher is too long or too large.
    #[error(transparent)]
    Matcher(#[from] MatcherError),
    /// It is too short or too long.
    #[error("a silence lasts from a minute to 24 hours")]
    Duration,
    /// It has no owner or reason, or too long ones.
    #[error("{0} must have 1 to {MOST_TEXT} characters")]
    Length(&'static str),
    /// There are too many.
    #[error("there are {MOST} silences already")]
    TooMany,
    /// There is none of this id.
    #[error("there is no silence `{0}`")]
    Unknown(String),
}

impl Silence {
    /// Whether it keeps an alert from being told.
    pub fn mutes(&self, subject: &Subject<'_>, now: Timestamp) -> bool {
        let Subject { kind, severity, .. } = *subject;
        now >= self.from
            && now < self.until
            && !kind.is_never_muted(severity)
            && self
                .matchers
                .iter()
                .all(|matcher| matcher.takes(subject.label(matcher.label)))
    }
}

/// Every silence in force, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Silences(Vec<Silence>);

impl Silences {
    /// Begins a silence that somebody asked for.
    ///
    /// # Errors
    /// When it has no owner, no reason, no matcher or no end in sight, or a matcher that is too long or too large.
    pub fn add(&mut self, wish: Wish, now: Timestamp) -> Result<&Silence, SilenceRefused> {
        let lasts = Duration::from_secs(wish.seconds);
        if !(SHORTEST..=LONGEST).contains(&lasts) {
            return Err(SilenceRefused::Duration);
        }
        if !(1..=MOST_MATCHERS).contains(&wish.matchers.len()) {
            return Err(SilenceRefused::Matchers);
        }
        for matcher in &wish.matchers {
            matcher.check_asked()?;
        }
        for (what, text) in [("owner", &wish.owner), ("reason", &wish.reason)] {
            if !(1..=MOST_TEXT).contains(&text.trim().chars().count()) {
                return Err(SilenceRefused::Length(what));
            }
        }
        self.push(Silence {
            id: self.free_id(now),
            matchers: wish.matchers,
            owner: wish.owner.trim().to_owned(),
            reason: wish.reason.trim().to_owned(),
            from: now,
            until: now.plus(lasts),
            deploy: None,
        })
    }

    /// Begins the window of a deploy of `upstream`: tickets about its routes are muted, pages are not; with a `scope`, also
    /// those about that. An earlier window of the same upstream ends.
    ///
    /// # Errors
    /// When there are too many silences, or too many routes for one of them. The earlier window stays then.
    pub fn open_window<'a>(
        &mut self,
        upstream: &str,
        (routes, scope): (impl IntoIterator<Item = &'a str>, Option<&str>),
        (owner, reason): (&str, &str),
        lasts: Duration,
        now: Timestamp,
    ) -> Result<&Silence, SilenceRefused> {
        let routes = Matcher::one_of(Label::Route, routes)?;
        // An alert is about a route or about all of the upstream: it takes one for each.
        let scope = scope.map(|scope| Matcher::exactly(Label::Scope, scope));
        let of_others = |silence: &Silence| silence.deploy.as_deref() != Some(upstream);
        let others = self.0.iter().filter(|silence| of_others(silence)).count();
        if others + 1 + usize::from(scope.is_some()) > MOST {
            return Err(SilenceRefused::TooMany);
        }
        self.0.retain(of_others);
        for matcher in scope.into_iter().chain([routes]) {
            self.push(Silence {
                id: self.free_id(now),
                matchers: vec![
                    Matcher::exactly(Label::Severity, Severity::Ticket.as_str()),
                    matcher,
                ],
                owner: owner.to_owned(),
                reason: reason.to_owned(),
                from: now,
                until: now.plus(lasts.clamp(SHORTEST, LONGEST_WINDOW)),
                deploy: Some(upstream.to_owned()),
            })?;
        }
        Ok(&self.0[self.0.len() - 1])
    }

    /// Ends a silence before its time.
    ///
    /// # Errors
    /// When there is none of this id.
    pub fn expire(&mut self, id: &str) -> Result<Silence, SilenceRefused> {
        let place = self.0.iter().position(|silence| silence.id == id);
        let place = place.ok_or_else(|| SilenceRefused::Unknown(id.to_owned()))?;
        let ended = self.0.remove(place);
        // A deploy's window is one, though it may take two silences.
        if let Some(upstream) = &ended.deploy {
            self.0
                .retain(|silence| silence.deploy.as_ref() != Some(upstream));
        }
        Ok(ended)
    }

    /// Takes out those whose time is over. A clock that was set back ends those that have not begun.
    pub fn lapse(&mut self, now: Timestamp) -> Vec<Silence> {
        let in_force = |silence: &Silence| silence.from <= now && now < silence.until;
        let (kept, over) = std::mem::take(&mut self.0).into_iter().partition(in_force);
        self.0 = kept;
        over
    }

    /// All of them, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Silence> {
        self.0.iter()
    }

    /// The first that mutes an alert.
    pub fn muting(&self, subject: &Subject<'_>, now: Timestamp) -> Option<&Silence> {
        self.0.iter().find(|silence| silence.mutes(subject, now))
    }

    fn push(&mut self, silence: Silence) -> Result<&Silence, SilenceRefused> {
        if self.0.len() >= MOST {
            return Err(SilenceRefused::TooMany);
        }
        self.0.push(silence);
        Ok(&self.0[self.0.len() - 1])
    }

    /// The moment it began, in letters and digits, counted up while it is taken.
    fn free_id(&self, now: Timestamp) -> String {
        let is_free = |id: &String| self.0.iter().all(|silence| silence.id != *id);
        (0..=MOST as u64)
            .map(|more| format!("{:x}", now.as_millis().saturating_add(more)))
            .find(is_free)
            .expect("fewer silences than numbers")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000);

    fn subject(kind: AlertKind, severity: Severity) -> Subject<'static> {
        Subject {
            kind,
            severity,
            tier: (kind == AlertKind::Burn).then_some(Tier::Fast),
            slo: "checkout-available",
            route: "checkout",
            scope: "",
            owner: "team-a",
            about: "shop",
        }
    }

    fn wish(matchers: &[&str], seconds: u64) -> Wish {
        Wish {
            matchers: matchers.iter().map(|text| text.parse().unwrap()).collect(),
            seconds,
            owner: "ada".to_owned(),
            reason: "a planned migration".to_owned(),
        }
    }

    #[test]
    fn a_matcher_is_read_as_alertmanager_reads_it_and_written_as_it_was() {
        let burn = subject(AlertKind::Burn, Severity::Page);
        for (text, takes) in [
            ("slo=checkout-available", true),
            ("slo=\"checkout-available\"", true),
            ("slo=checkout", false),
            ("slo!=checkout", true),
            ("route=~check.*", true),
            ("route=~check", false),
            ("route=~web|checkout", true),
            ("owner!~team-.", false),
            ("name=shop", false),
            ("part=", true),
            ("tier=fast", true),
        ] {
            let matcher: Matcher = text.parse().unwrap();
            assert_eq!(matcher.takes(burn.label(matcher.label())), takes, "{text}");
            let again: Matcher = matcher.to_string().parse().unwrap();
            assert_eq!(again, matcher);
        }
        for (text, wrong) in [
            ("checkout", "no matcher"),
            ("region=eu", "no label"),
            ("severity=critical", "there are: page, ticket"),
            ("route=~(", "no expression"),
            ("route=~a)|(b", "no expression"),
        ] {
            let error = text.parse::<Matcher>().unwrap_err().to_string();
            assert!(error.contains(wrong), "{text}: {error}");
        }
    }

    #[test]
    fn what_nobody_may_sleep_through_is_never_muted() {
        let mut silences = Silences::default();
        silences.add(wish(&["severity=~.*"], 3_600), NOW).unwrap();
        for (kind, severity, muted) in [
            (AlertKind::Burn, Severity::Page, true),
            (AlertKind::Burn, Severity::Ticket, true),
            (AlertKind::Surge, Severity::Page, true),
            (AlertKind::Crash, Severity::Page, true),
            (AlertKind::Certificate, Severity::Ticket, true),
            (AlertKind::Certificate, Severity::Page, false),
            (AlertKind::Outage, Severity::Page, false),
        ] {
            let subject = subject(kind, severity);
            assert_eq!(
                silences.muting(&subject, NOW).is_some(),
                muted,
                "{subject:?}"
            );
        }
    }

    #[test]
    fn a_silence_without_owner_reason_matcher_or_end_is_refused() {
        let mut silences = Silences::default();
        let mut refused = |wish: Wish| silences.add(wish, NOW).cloned().unwrap_err();
        assert_eq!(refused(wish(&[], 3_600)), SilenceRefused::Matchers);
        assert_eq!(refused(wish(&["slo=a"], 86_401)), SilenceRefused::Duration);
        assert_eq!(refused(wish(&["slo=a"], 0)), SilenceRefused::Duration);
        let blank = |owner: &str, reason: &str| Wish {
            owner: owner.to_owned(),
            reason: reason.to_owned(),
            ..wish(&["slo=a"], 60)
        };
        assert_eq!(refused(blank(" ", "x")), SilenceRefused::Length("owner"));
        assert_eq!(refused(blank("x", "")), SilenceRefused::Length("reason"));
        for _ in 0..MOST {
            silences.add(wish(&["slo=a"], 60), NOW).unwrap();
        }
        assert_eq!(
            silences.add(wish(&["slo=a"], 60), NOW).cloned(),
            Err(SilenceRefused::TooMany)
        );
        let ids: std::collections::BTreeSet<&str> =
            silences.iter().map(|silence| silence.id.as_str()).collect();
        assert_eq!(ids.len(), MOST);
    }

    #[test]
    fn it_ends_by_itself_or_before() {
        let mut silences = Silences::default();
        let id = silences.add(wish(&["slo=a"], 60), NOW).unwrap().id.clone();
        silences.add(wish(&["slo=b"], 120), NOW).unwrap();
        assert_eq!(silences.lapse(NOW.plus(Duration::from_secs(59))), []);
        let over = silences.lapse(NOW.plus(Duration::from_secs(60)));
        assert_eq!(over.len(), 1);
        assert!(silences.expire(&id).is_err());
        let other = silences.iter().next().unwrap().id.clone();
        assert!(silences.expire(&other).is_ok());
        assert_eq!(silences.iter().count(), 0);
    }

    #[test]
    fn a_deploys_window_mutes_its_routes_tickets_and_no_page() {
        let mut silences = Silences::default();
        let open = |silences: &mut Silences, version: &str| {
            let lasts = Duration::from_secs(600);
            let said = ("ci", version);
            silences
                .open_window(
                    "shop",
                    (["checkout", "a.b"], Some("upstream:shop")),
                    said,
                    lasts,
                    NOW,
                )
                .cloned()
        };
        open(&mut silences, "v1").unwrap();
        open(&mut silences, "v2").unwrap();
        assert_eq!(
            silences.iter().count(),
            2,
            "the next deploy replaces the window"
        );
        let wide = Subject {
            route: "",
            scope: "upstream:shop",
            ..subject(AlertKind::Burn, Severity::Ticket)
        };
        assert!(silences.muting(&wide, NOW).is_some());
        let ingress = Subject {
            scope: "ingress",
            ..wide
        };
        assert_eq!(silences.muting(&ingress, NOW), None);
        let muted = |severity, route| {
            let subject = Subject {
                route,
                ..subject(AlertKind::Burn, severity)
            };
            silences.muting(&subject, NOW).is_some()
        };
        assert!(muted(Severity::Ticket, "checkout"));
        assert!(!muted(Severity::Page, "checkout"));
        assert!(!muted(Severity::Ticket, "web"));
        assert!(!muted(Severity::Ticket, "axb"), "names are not expressions");
        let one = silences.iter().next().unwrap().id.clone();
        silences.expire(&one).unwrap();
        assert_eq!(silences.iter().count(), 0, "it ends as a whole");
    }

    #[test]
    fn what_people_ask_for_is_short_and_small() {
        let mut silences = Silences::default();
        let long = format!("slo={}", "a".repeat(MOST_TEXT + 1));
        let refused = silences.add(wish(&[&long], 60), NOW).cloned();
        assert_eq!(refused, Err(SilenceRefused::Matcher(MatcherError::Long)));
        let large = "slo=~(.{99}){9}";
        let refused = silences.add(wish(&[large], 60), NOW).cloned().unwrap_err();
        assert!(matches!(
            refused,
            SilenceRefused::Matcher(MatcherError::Expression(..))
        ));
        for fine in [
            "owner=~team-[a-z]+",
            "route=~.*",
            "slo!~(?i)a|b",
            r"route=~api-\d+",
            r"owner=~team-\w+",
        ] {
            silences.add(wish(&[fine], 60), NOW).unwrap();
        }
        let read = |matchers: Vec<&str>| {
            let text = serde_json::json!({
                "matchers": matchers, "seconds": 60, "owner": "ada", "reason": "x"
            });
            serde_json::from_value::<Wish>(text)
        };
        assert!(read(vec!["slo=~a|b"]).is_ok());
        assert!(read(vec![large]).is_err());
        assert!(read(vec!["slo=a"; MOST_MATCHERS + 1]).is_err());
    }

    #[test]
    fn a_window_over_many_routes_is_the_same_after_it_was_kept() {
        let routes: Vec<String> = (0..40).map(|n| format!("a.long-route_{n}")).collect();
        let mut silences = Silences::default();
        let names = routes.iter().map(String::as_str);
        let lasts = Duration::from_secs(600);
        let open = silences.open_window("shop", (names, None), ("ci", "v1"), lasts, NOW);
        assert!(open.unwrap().matchers[1].to_string().len() > MOST_TEXT);
        let text = serde_json::to_string(&silences).unwrap();
        let again: Silences = serde_json::from_str(&text).unwrap();
        assert_eq!(again, silences);
        let subject = Subject {
            route: &routes[39],
            ..subject(AlertKind::Burn, Severity::Ticket)
        };
        assert!(again.muting(&subject, NOW).is_some());
    }

    #[test]
    fn a_window_over_too_many_routes_is_refused_and_the_earlier_one_stays() {
        let mut silences = Silences::default();
        let huge = "a".repeat(1 << 20);
        for (route, taken) in [("web", true), (huge.as_str(), false)] {
            let lasts = Duration::from_secs(600);
            let opened = silences.open_window("shop", ([route], None), ("ci", "v1"), lasts, NOW);
            assert_eq!(opened.is_ok(), taken);
            assert_eq!(silences.iter().count(), 1);
        }
    }

    #[test]
    fn it_is_the_same_after_it_was_kept() {
        let mut silences = Silences::default();
        silences
            .add(wish(&["slo=~a|b", "owner!=x"], 60), NOW)
            .unwrap();
        let text = serde_json::to_string(&silences).unwrap();
        assert_eq!(serde_json::from_str::<Silences>(&text).unwrap(), silences);
    }
}
