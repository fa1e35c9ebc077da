//! `${VAR}` and `${VAR:-default}` in string values.
//!
//! Expansion happens after TOML is read, value by value, so a variable can hold neither a quote nor a table that
//! changes the file's structure. What a variable holds is not expanded again. `$$` is a plain `$`.

use std::borrow::Cow;

/// Why a text cannot be expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ExpandError {
    /// A `${` that is not closed or holds no variable's name.
    Malformed,
    /// This variable is not set and has no default.
    Unset(String),
}

/// `text` with its variables replaced by what `env` says.
pub(super) fn expand<'t>(
    text: &'t str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Cow<'t, str>, ExpandError> {
    if !text.contains('$') {
        return Ok(Cow::Borrowed(text));
    }
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some(after) = after.strip_prefix('{') {
            let (inside, after) = after.split_once('}').ok_or(ExpandError::Malformed)?;
            expanded.push_str(&value(inside, env)?);
            rest = after;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded.push_str(rest);
    Ok(Cow::Owned(expanded))
}

fn value(inside: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, ExpandError> {
    let (name, default) = match inside.split_once(":-") {
        Some((name, default)) => (name, Some(default)),
        None => (inside, None),
    };
    let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
    if !name.starts_with(letter) || !name.chars().all(|c| letter(c) || c.is_ascii_digit()) {
        return Err(ExpandError::Malformed);
    }
    match (env(name), default) {
        // As a shell does it: with `:-`, an empty variable counts as unset.
        (Some(value), Some(default)) if value.is_empty() => Ok(default.to_owned()),
        (Some(value), _) => Ok(value),
        (None, Some(default)) => Ok(default.to_owned()),
        (None, None) => Err(ExpandError::Unset(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("shop.example".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${HOST}".to_owned()),
            _ => None,
        }
    }

    #[test]
    fn variables_are_replaced_once() {
        for (text, expanded) in [
            ("plain", "plain"),
            ("${HOST}", "shop.example"),
            ("www.${HOST}:80", "www.shop.example:80"),
            ("${NOPE:-a b}", "a b"),
            ("${NOPE:-}", ""),
            ("${EMPTY:-x}", "x"),
            ("${EMPTY}", ""),
            ("${NESTED}", "${HOST}"),
            ("$$ $${HOST} $HOST 5$", "$ ${HOST} $HOST 5$"),
        ] {
            assert_eq!(expand(text, &env).as_deref(), Ok(expanded), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_replaced_says_why() {
        for text in ["${", "${HOST", "${}", "${1A}", "${A B}", "${:-x}", "${ä}"] {
            assert_eq!(expand(text, &env), Err(ExpandError::Malformed), "{text}");
        }
        let unset = ExpandError::Unset("NOPE".to_owned());
        assert_eq!(expand("a${NOPE}", &env), Err(unset));
    }
}
