//! The privacy mask: what may be somebody's secret is not shown to whoever looks over a shoulder or at a shared screen.
//!
//! Clients' addresses never leave the daemon. What can hold a secret is a URL in somebody's words (a probe's target, what
//! it found, an event): the values of its query, and a password before its host.

use std::borrow::Cow;

/// What stands for what is masked.
const MASKED: char = '…';

/// `text` with the values of queries and what stands before the host of a URL masked; their names stay.
pub(crate) fn masked(text: &str) -> Cow<'_, str> {
    if !text.contains('?') && !text.contains('@') {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut changed = false;
    for piece in text.split_inclusive(is_end) {
        let word = piece.trim_end_matches(is_end);
        let hidden = query(user(word));
        changed |= hidden != word;
        shown.push_str(&hidden);
        shown.push_str(piece.get(word.len()..).unwrap_or_default());
    }
    if changed {
        Cow::Owned(shown)
    } else {
        Cow::Borrowed(text)
    }
}

/// Where a URL in a text ends at the latest.
fn is_end(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '<' | '>' | '(' | ')')
}

/// `scheme://user:password@host` without who.
fn user(word: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = word.split_once("://") else {
        return Cow::Borrowed(word);
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    match authority.rsplit_once('@') {
        Some((_, host)) => Cow::Owned(format!("{scheme}://{MASKED}@{host}{path}")),
        None => Cow::Borrowed(word),
    }
}

/// A query with its values masked.
fn query(word: Cow<'_, str>) -> String {
    let Some((path, query)) = word.split_once('?') else {
        return word.into_owned();
    };
    let (query, fragment) = match query.split_once('#') {
        Some((query, fragment)) => (query, Some(fragment)),
        None => (query, None),
    };
    let pair = |pair: &str| match pair.split_once('=') {
        Some((name, value)) if !value.is_empty() => format!("{name}={MASKED}"),
        Some(_) | None => pair.to_owned(),
    };
    let query: Vec<String> = query.split('&').map(pair).collect();
    let mut shown = format!("{path}?{}", query.join("&"));
    if let Some(fragment) = fragment {
        shown.push('#');
        shown.push_str(fragment);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_masked_and_everything_else_stays() {
        for (text, shown) in [
            ("nothing to hide: a=b", "nothing to hide: a=b"),
            (
                "GET https://a.example/pay?card=4111&try=1#top failed",
                "GET https://a.example/pay?card=…&try=…#top failed",
            ),
            ("\"/a?token=x\" (what?)", "\"/a?token=…\" (what?)"),
            ("https://me:secret@a.example/b@c", "https://…@a.example/b@c"),
            ("mail ada@example.org", "mail ada@example.org"),
            ("/a?b=&c", "/a?b=&c"),
            ("?=x=y", "?=…"),
            ("", ""),
        ] {
            assert_eq!(masked(text), shown);
        }
    }
}
