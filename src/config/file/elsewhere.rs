//! What is elsewhere: `[route.redirect]`, `[route.rewrite]`, and `[route.hsts]`.

use std::time::Duration;

use http::StatusCode;

use super::DAY;
use crate::config::keys::{Keys, Located, Section};
use crate::config::kind::{Count, EXACT_PATH, Flag, PATH_PREFIX, SERVER_NAME, Time, Word};
use crate::config::outline::Rule;
use crate::routing::pattern::PathPattern;

/// `[route.redirect]`
#[derive(Clone, Debug)]
pub(in crate::config) struct RouteRedirect {
    pub(in crate::config) status: Located<StatusCode>,
    pub(in crate::config) scheme: Option<Located<&'static str>>,
    pub(in crate::config) host: Option<Located<String>>,
    pub(in crate::config) port: Option<Located<usize>>,
    pub(in crate::config) path: Option<Located<PathPattern>>,
    pub(in crate::config) prefix: Option<Located<PathPattern>>,
}

const STATUSES: Word<StatusCode> = Word(&[
    ("301", StatusCode::MOVED_PERMANENTLY),
    ("302", StatusCode::FOUND),
    ("307", StatusCode::TEMPORARY_REDIRECT),
    ("308", StatusCode::PERMANENT_REDIRECT),
]);

const SCHEMES: Word<&'static str> = Word(&[("http", "http"), ("https", "https")]);

impl RouteRedirect {
    /// The first thing that it changes.
    pub(in crate::config) fn changes(&self) -> Option<&crate::config::finding::Span> {
        let scheme = self.scheme.as_ref().map(|it| &it.span);
        let host = self.host.as_ref().map(|it| &it.span);
        let path = self.path.as_ref().map(|it| &it.span);
        let prefix = self.prefix.as_ref().map(|it| &it.span);
        let port = self.port.as_ref().map(|it| &it.span);
        scheme.or(host).or(port).or(path).or(prefix)
    }
}

impl Section for RouteRedirect {
    const TITLE: &'static str = "`route.redirect`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        let section = Self {
            status: keys.or(
                "status",
                &STATUSES,
                StatusCode::TEMPORARY_REDIRECT,
                "The status: `301` and `308` may be remembered by clients for good, `301` and `302` let them turn a POST into \
                 a GET.",
            ),
            scheme: keys.optional("scheme", &SCHEMES, "the request's", "The scheme it leads to."),
            host: keys.optional(
                "host",
                &SERVER_NAME,
                "the request's",
                "The host it leads to.",
            ),
            port: keys.optional(
                "port",
                &Count(1..=65_535),
                "the scheme's, or the request's while scheme and host stay",
                "The port it leads to.",
            ),
            path: keys.optional(
                "path",
                &EXACT_PATH,
                "the request's",
                "The path it leads to. The query always goes along.",
            ),
            prefix: keys.optional(
                "prefix",
                &PATH_PREFIX,
                "the request's",
                "What stands in the place of the route's `path`: with `path = \"/old\"` and `prefix = \"/new\"` `/old/x` leads to \
                 `/new/x`.",
            ),
        };
        keys.rule(Rule::AtMostOne("path", "prefix"));
        section
    }
}

/// `[route.rewrite]`
#[derive(Clone, Debug)]
pub(in crate::config) struct RouteRewrite {
    pub(in crate::config) path: Option<Located<PathPattern>>,
    pub(in crate::config) prefix: Option<Located<PathPattern>>,
}

impl Section for RouteRewrite {
    const TITLE: &'static str = "`route.rewrite`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        let section = Self {
            path: keys.optional(
                "path",
                &EXACT_PATH,
                "the request's",
                "The path that the upstream is asked for. The query goes along.",
            ),
            prefix: keys.optional(
                "prefix",
                &PATH_PREFIX,
                "the request's",
                "What stands in the place of the route's `path`: with `path = \"/api\"` and `prefix = \"/\"` the upstream is asked \
                 for `/x` instead of `/api/x`.",
            ),
        };
        keys.rule(Rule::AtMostOne("path", "prefix"));
        section
    }
}

/// `[route.hsts]`
#[derive(Clone, Debug)]
pub(in crate::config) struct RouteHsts {
    pub(in crate::config) max_age: Option<Located<Duration>>,
    pub(in crate::config) subdomains: Located<bool>,
    pub(in crate::config) preload: Located<bool>,
}

impl Section for RouteHsts {
    const TITLE: &'static str = "`route.hsts`";

    fn read(keys: &mut Keys<'_, '_>) -> Self {
        Self {
            max_age: keys.optional(
                "max_age",
                &Time(Duration::ZERO..=DAY * 3_650),
                "nothing is said",
                "How long clients remember it, in whole seconds. Begin with minutes: it cannot be taken back before. `0s` takes \
                 it back.",
            ),
            subdomains: keys.or(
                "subdomains",
                &Flag,
                false,
                "Whether it holds for every host below as well.",
            ),
            preload: keys.or(
                "preload",
                &Flag,
                false,
                "Whether browsers may have it built in. They ask for `subdomains` and a year.",
            ),
        }
    }
}
