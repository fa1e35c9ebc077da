//! What an SLO is about: one route, or several together.

use std::fmt;

/// Whose events an SLO counts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum About {
    /// One route, by its id.
    Route(String),
    /// Every route of an upstream, by the upstream's name.
    Upstream(String),
    /// Every route that someone answers for.
    Owner(String),
    /// What one rate limit was asked, by its name: the requests of whoever it is for, on every route that has it.
    Limit(String),
    /// Everything that comes in, also what no route takes.
    Ingress,
    /// What its parts are about, of a composite.
    Parts,
}

impl About {
    /// The route, when it is about one alone.
    pub fn route(&self) -> Option<&str> {
        match self {
            Self::Route(id) => Some(id),
            Self::Upstream(_) | Self::Owner(_) | Self::Limit(_) | Self::Ingress | Self::Parts => {
                None
            }
        }
    }

    /// The upstream, when it is about all of one.
    pub fn upstream(&self) -> Option<&str> {
        match self {
            Self::Upstream(name) => Some(name),
            Self::Route(_) | Self::Owner(_) | Self::Limit(_) | Self::Ingress | Self::Parts => None,
        }
    }

    /// Whether it is about a route of this id, upstream and owner, perhaps among others.
    pub fn holds(&self, route: &str, upstream: Option<&str>, owner: Option<&str>) -> bool {
        match self {
            Self::Route(id) => id == route,
            Self::Upstream(name) => upstream == Some(name),
            Self::Owner(name) => owner == Some(name),
            Self::Ingress => true,
            // Who has a limit, only the route knows.
            Self::Limit(_) | Self::Parts => false,
        }
    }

    /// Its label: `route:checkout`, `upstream:web`, `owner:payments`, `limit:gold`, `ingress`, `parts`.
    pub fn scope(&self) -> String {
        match self {
            Self::Route(id) => format!("route:{id}"),
            Self::Upstream(name) => format!("upstream:{name}"),
            Self::Owner(name) => format!("owner:{name}"),
            Self::Limit(name) => format!("limit:{name}"),
            Self::Ingress => "ingress".to_owned(),
            Self::Parts => "parts".to_owned(),
        }
    }

    /// The same, when it is about more than one route: the label that stands in for `route`.
    pub fn wide_scope(&self) -> Option<String> {
        match self {
            Self::Route(_) => None,
            Self::Upstream(_) | Self::Owner(_) | Self::Limit(_) | Self::Ingress | Self::Parts => {
                Some(self.scope())
            }
        }
    }

    /// What [`About::scope`] gave; `None` when it did not.
    pub fn from_scope(scope: &str) -> Option<Self> {
        match scope {
            "ingress" => return Some(Self::Ingress),
            "parts" => return Some(Self::Parts),
            _ => {}
        }
        let (kind, name) = scope.split_once(':')?;
        let name = name.to_owned();
        match kind {
            "route" => Some(Self::Route(name)),
            "upstream" => Some(Self::Upstream(name)),
            "owner" => Some(Self::Owner(name)),
            "limit" => Some(Self::Limit(name)),
            _ => None,
        }
    }
}

/// `route checkout`, `upstream web`, `owner payments`, `the ingress`
impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Route(id) => write!(f, "route {id}"),
            Self::Upstream(name) => write!(f, "upstream {name}"),
            Self::Owner(name) => write!(f, "owner {name}"),
            Self::Limit(name) => write!(f, "rate limit {name}"),
            Self::Ingress => f.write_str("the ingress"),
            Self::Parts => f.write_str("its parts"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_read_as_it_is_written() {
        for about in [
            About::Route("a.b".to_owned()),
            About::Upstream("web:8080".to_owned()),
            About::Owner("team a".to_owned()),
            About::Limit("gold".to_owned()),
            About::Ingress,
            About::Parts,
        ] {
            assert_eq!(About::from_scope(&about.scope()), Some(about));
        }
        for text in ["", "route", "team:a", "Ingress"] {
            assert_eq!(About::from_scope(text), None, "{text}");
        }
    }

    #[test]
    fn the_ingress_is_every_route_and_what_none_takes() {
        let of = |about: About| {
            [
                ("a", Some("web"), Some("team")),
                ("b", Some("web"), None),
                ("none", None, None),
            ]
            .map(|(route, upstream, owner)| about.holds(route, upstream, owner))
        };
        assert_eq!(of(About::Route("b".to_owned())), [false, true, false]);
        assert_eq!(of(About::Upstream("web".to_owned())), [true, true, false]);
        assert_eq!(of(About::Owner("team".to_owned())), [true, false, false]);
        assert_eq!(of(About::Ingress), [true; 3]);
    }
}
