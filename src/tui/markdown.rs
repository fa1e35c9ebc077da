//! Text of others in Markdown of ours.

use super::fmt::visible;

/// Foreign text in a cell of a table or a line of a list: it becomes no other cell, line, tag, emphasis, link, mention or
/// formula. Line breaks and control characters are written out.
pub(crate) fn cell(text: &str) -> String {
    let visible = visible(text);
    let mut safe = String::with_capacity(visible.len());
    let mut chars = visible.chars().peekable();
    // What stands before a dot, since some renderers make a link of any `www.`.
    let mut word = String::new();
    while let Some(char) = chars.next() {
        match char {
            '|' | '\\' | '<' | '>' | '[' | ']' | '`' | '*' | '_' | '~' | '$' | '&' | '#' | '@' => {
                safe.extend(['\\', char]);
            }
            // A scheme alone is no link, and what looks like a shorthand for an image is none.
            ':' if chars.peek().is_some_and(|next| !next.is_whitespace()) && !is_time(&word) => {
                safe.extend(['\\', char]);
            }
            '.' if word.eq_ignore_ascii_case("www") => safe.extend(['\\', char]),
            _ => safe.push(char),
        }
        if char.is_alphanumeric() {
            word.push(char);
        } else {
            word.clear();
        }
    }
    safe
}

/// A colon of `14:02` and of a port is nobody's link.
fn is_time(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_text_stays_text_in_its_cell() {
        for (text, safe) in [
            ("a | b\n<img>", r"a \| b\\n\<img\>"),
            ("**bold** _and_ `code`", r"\*\*bold\*\* \_and\_ \`code\`"),
            ("[x](http://evil)", r"\[x\](http\://evil)"),
            ("https://evil", r"https\://evil"),
            ("see www.evil", r"see www\.evil"),
            ("at 14:02 it was: bad", "at 14:02 it was: bad"),
            ("@all #1 $x$ &lt; ~~a~~", r"\@all \#1 \$x\$ \&lt; \~\~a\~\~"),
            (":smile:", r"\:smile:"),
        ] {
            assert_eq!(cell(text), safe);
        }
        assert!(!cell("x\u{1b}[2J").contains('\u{1b}'));
    }
}
