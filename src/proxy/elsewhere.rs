//! What is elsewhere: redirects that a route answers itself, and paths that are another upstream.

use std::borrow::Cow;

use http::StatusCode;

/// Where a path has gone. What comes out has a path's one form, since what goes in has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Moved {
    /// All of it is this path now.
    Path(String),
    /// Its first bytes, those of the route's prefix, are another prefix now.
    Prefix {
        /// The route's prefix, without `/` at its end; empty: `/`.
        from: String,
        /// Another, written alike.
        to: String,
    },
}

impl Moved {
    /// Where `path` has gone, which a route with that prefix has taken.
    pub fn path(&self, path: &str) -> String {
        match self {
            Self::Path(path) => path.clone(),
            Self::Prefix { from, to } => {
                let rest = path.strip_prefix(from.as_str()).unwrap_or(path);
                // Both prefixes go by whole elements: the rest is empty or begins with a `/`.
                if to.is_empty() && rest.is_empty() {
                    "/".to_owned()
                } else {
                    format!("{to}{rest}")
                }
            }
        }
    }
}

/// A redirect that a route answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// 301, 302, 307 or 308.
    pub status: StatusCode,
    /// The scheme it leads to; `None`: the request's.
    pub scheme: Option<&'static str>,
    /// The host it leads to, IPv6 in brackets; `None`: the request's.
    pub host: Option<String>,
    /// The port it leads to; `None`: the scheme's, or the request's as long as scheme and host stay.
    pub port: Option<u16>,
    /// Where the path has gone; `None`: nowhere.
    pub path: Option<Moved>,
}

/// To the same place over TLS: what `https = "redirect"` means.
pub const TO_TLS: Redirect = Redirect {
    status: StatusCode::PERMANENT_REDIRECT,
    scheme: Some("https"),
    host: None,
    port: None,
    path: None,
};

impl Redirect {
    /// The place it leads a request to, in what `Location` says. The query goes along. As long as scheme and host stay, it is
    /// a path alone, so that the port stays as well.
    pub fn place(&self, scheme: &str, host: &str, path: &str, query: Option<&str>) -> String {
        let path = self
            .path
            .as_ref()
            .map_or(Cow::Borrowed(path), |moved| Cow::Owned(moved.path(path)));
        let (mark, query) = query.map_or(("", Cow::Borrowed("")), |query| ("?", ascii(query)));
        if self.scheme.is_none() && self.host.is_none() && self.port.is_none() {
            return format!("{path}{mark}{query}");
        }
        let scheme = self.scheme.unwrap_or(scheme);
        let host = self.host.as_deref().unwrap_or(host);
        let port = self
            .port
            .map_or_else(String::new, |port| format!(":{port}"));
        format!("{scheme}://{host}{port}{path}{mark}{query}")
    }
}

/// A query as a header may carry it: clients send other letters raw, which RFC 3986 wants percent-encoded.
fn ascii(query: &str) -> Cow<'_, str> {
    use std::fmt::Write as _;
    if query.is_ascii() {
        return Cow::Borrowed(query);
    }
    let mut encoded = String::with_capacity(2 * query.len());
    for letter in query.chars() {
        if letter.is_ascii() {
            encoded.push(letter);
        } else {
            for byte in letter.encode_utf8(&mut [0; 4]).bytes() {
                write!(encoded, "%{byte:02X}").expect("writing to memory cannot fail");
            }
        }
    }
    Cow::Owned(encoded)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::pattern::PathPattern;
    use crate::routing::target;

    fn prefix(from: &str, to: &str) -> Moved {
        let (from, to) = (from.to_owned(), to.to_owned());
        Moved::Prefix { from, to }
    }

    #[test]
    fn a_path_goes_where_its_prefix_goes() {
        for (from, to, path, gone) in [
            ("/api", "/v2", "/api/x", "/v2/x"),
            ("/api", "/v2", "/api", "/v2"),
            ("/api", "/v2", "/api/", "/v2/"),
            ("/api", "", "/api/x", "/x"),
            ("/api", "", "/api", "/"),
            ("", "/v2", "/x", "/v2/x"),
            ("", "/v2", "/", "/v2/"),
            ("", "", "/x", "/x"),
        ] {
            assert_eq!(prefix(from, to).path(path), gone, "{from} {to} {path}");
        }
        assert_eq!(Moved::Path("/y".to_owned()).path("/x/z"), "/y");
    }

    #[test]
    fn a_place_names_no_more_than_has_changed() {
        let redirect = |scheme, host: Option<&str>, port, path| Redirect {
            status: StatusCode::FOUND,
            scheme,
            host: host.map(ToOwned::to_owned),
            port,
            path,
        };
        let elsewhere = redirect(None, Some("new.test"), None, None);
        assert_eq!(
            elsewhere.place("http", "shop.test", "/", Some("q=é")),
            "http://new.test/?q=%C3%A9"
        );
        for (redirect, place) in [
            (
                redirect(None, None, None, Some(prefix("/a", "/b"))),
                "/b/x?q=1",
            ),
            (
                redirect(Some("https"), None, None, None),
                "https://shop.test/a/x?q=1",
            ),
            (
                redirect(None, Some("new.test"), Some(81), None),
                "http://new.test:81/a/x?q=1",
            ),
        ] {
            assert_eq!(
                redirect.place("http", "shop.test", "/a/x", Some("q=1")),
                place
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn what_has_one_form_keeps_it(
            first in "[a-z]{1,3}",
            rest in "(/[a-z%.;F2]{0,4}){0,3}",
            to in "(/[a-z]{1,3}){0,2}",
        ) {
            let raw = format!("/{first}{rest}");
            let from = format!("/{first}");
            if let Ok(path) = target::path(&raw)
                && PathPattern::Prefix(from.clone()).takes(&path.text)
            {
                let gone = prefix(&from, &to).path(&path.text);
                let again = target::path(&gone).map(|path| path.text.into_owned());
                proptest::prop_assert_eq!(again, Ok(gone.clone()), "{}", path.text);
            }
        }
    }
}
