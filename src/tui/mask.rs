//! The privacy mask: what may be somebody's secret is not shown to whoever looks over a shoulder or at a shared screen.
//!
//! Clients' addresses never leave the daemon. What can hold a secret is a URL in somebody's words (a probe's target, what
//! it found, an event): the values of its query, and a password before its host.

use std::borrow::Cow;

/// What stands for what is masked.
const MASKED: char = '…';

/// `text` with the values of queries and what stands before the host of a URL masked; their names stay.
pub(crate) fn masked(text: &str) -> Cow<'_, str> {
    if !text.contains(['?', '@', '#']) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    let mut changed = false;
    for piece in text.split_inclusive(is_end) {
        let word = piece.trim_end_matches(is_end);
        // What a sentence puts around a URL; within one, these may stand for themselves.
        let core = word.trim_end_matches(AROUND);
        let hidden = query(&users(core));
        changed |= hidden != core;
        shown.push_str(&hidden);
        shown.push_str(piece.get(core.len()..).unwrap_or_default());
    }
    if changed {
        Cow::Owned(shown)
    } else {
        Cow::Borrowed(text)
    }
}

/// Where a URL in a text ends at the latest: none of these is in one unencoded (RFC 3986, 2).
fn is_end(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '`' | '<' | '>')
}

/// What may follow a URL in a sentence.
const AROUND: [char; 4] = ['\'', ')', ',', ';'];

/// Each `scheme://user:password@host` of a word without who.
fn users(word: &str) -> String {
    let mut pieces = word.split("://");
    let mut shown = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(['/', '?', '#', ',']).unwrap_or(piece.len());
        let (authority, rest) = piece.split_at(end);
        shown.push_str("://");
        if let Some((_, host)) = authority.rsplit_once('@') {
            shown.push(MASKED);
            shown.push('@');
            shown.push_str(host);
        } else {
            shown.push_str(authority);
        }
        shown.push_str(rest);
    }
    shown
}

/// A word with the values of its query and fragment masked.
fn query(word: &str) -> String {
    let (rest, fragment) = match word.split_once('#') {
        Some((rest, fragment)) => (rest, Some(fragment)),
        None => (word, None),
    };
    let (path, query) = match rest.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (rest, None),
    };
    let mut shown = path.to_owned();
    if let Some(query) = query {
        // A question mark that ends a word asks a question.
        let pairs: Vec<String> = query.split('&').map(pair).collect();
        shown.push('?');
        shown.push_str(&pairs.join("&"));
    }
    if let Some(fragment) = fragment {
        shown.push('#');
        if fragment.contains('=') {
            let pairs: Vec<String> = fragment.split('&').map(pair).collect();
            shown.push_str(&pairs.join("&"));
        } else {
            shown.push_str(fragment);
        }
    }
    shown
}

/// A name stays, its value does not; what has no name may be a token.
fn pair(pair: &str) -> String {
    match pair.split_once('=') {
        Some((_, "")) => pair.to_owned(),
        Some((name, _)) => format!("{name}={MASKED}"),
        None if pair.is_empty() => String::new(),
        None => MASKED.to_string(),
    }
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
            ("/a?b=&c", "/a?b=&…"),
            ("?=x=y", "?=…"),
            ("really? yes", "really? yes"),
            ("(why?) and 'what?'", "(why?) and 'what?'"),
            ("/a?token=abc(secret)def", "/a?token=…"),
            ("/a?filter=name'secret'", "/a?filter=…'"),
            ("POST /hook?T0K3N", "POST /hook?…"),
            ("/a#access_token=secret&x=", "/a#access_token=…&x="),
            (
                "https://a.example,https://u:pw@b.example/c",
                "https://a.example,https://…@b.example/c",
            ),
            (
                "(see https://a.example/b?c=d)",
                "(see https://a.example/b?c=…)",
            ),
            ("", ""),
        ] {
            assert_eq!(masked(text), shown);
        }
    }
}
