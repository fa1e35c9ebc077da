//! Journeys: several requests one after another, where a later one says what an earlier one was told.

use std::collections::{BTreeMap, BTreeSet};

use http::HeaderName;

use super::{JsonPath, JsonWants, Manner, Pattern, Url};

/// Steps of one journey.
pub const MOST_STEPS: usize = 20;
/// Values captured by one step.
pub const MOST_CAPTURES: usize = 20;
/// The longest value that is captured, in bytes; a longer one is not the token or address that was meant.
pub const LONGEST_CAPTURE: usize = 8 * 1024;

/// One request of a journey, and what is expected of its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct JourneyStep {
    /// Its name, unique within the journey.
    pub name: String,
    /// A URL, or a path at the journey's target. May hold `{{name}}`, as may headers, the body, and texts that are expected.
    pub target: String,
    /// How it asks, and what it expects. All but the request and the expectations are the journey's.
    pub manner: Manner,
    /// What later steps need of the answer.
    pub captures: Vec<Capture>,
    /// It is done last, whatever became of the others, as long as there is what it needs.
    pub cleanup: bool,
}

/// A value that later steps write as `{{name}}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Capture {
    /// Its name.
    pub name: String,
    /// Where it is found.
    pub source: CaptureSource,
}

/// Where in an answer a value is found.
#[derive(Clone, Debug, PartialEq)]
pub enum CaptureSource {
    /// The first node that a query of the body finds: a text as it is, anything else as compact JSON.
    Json(JsonPath),
    /// The first value of the header; with a pattern, what that captures of it.
    Header(HeaderName, Option<Pattern>),
    /// What the pattern captures of the body: its first group, or all of the match when it has none.
    Body(Pattern),
}

/// How a value is written into its place, so that it stays the one value that it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writing {
    /// As it is.
    Plain,
    /// Within a JSON string (RFC 8259, 7).
    Json,
    /// Within a URL: everything that is not unreserved is percent-encoded (RFC 3986, 2.3), but for a value that begins the
    /// URL, which is one itself. Nothing, `.` and `..` would change where it leads, and are no values there.
    Url,
    /// Within a form (`application/x-www-form-urlencoded`): percent-encoded likewise.
    Form,
}

impl Writing {
    /// Whether it may stand in its place, which is where the text `begins` or not.
    fn takes(self, value: &str, begins: bool) -> bool {
        self != Self::Url || begins || !matches!(value, "" | "." | "..")
    }

    fn put(self, value: &str, begins: bool, out: &mut String) {
        match self {
            Self::Plain => out.push_str(value),
            Self::Json => {
                let quoted = serde_json::Value::from(value).to_string();
                let inner = quoted.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
                out.push_str(inner.unwrap_or_default());
            }
            Self::Url if begins => out.push_str(value),
            Self::Url | Self::Form => {
                for byte in value.bytes() {
                    match byte {
                        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                            out.push(char::from(byte));
                        }
                        other => {
                            const HEX: &[u8; 16] = b"0123456789ABCDEF";
                            out.push('%');
                            out.push(char::from(HEX[usize::from(other >> 4)]));
                            out.push(char::from(HEX[usize::from(other & 15)]));
                        }
                    }
                }
            }
        }
    }
}

/// A text with places for captured values. Whatever between `{{` and `}}` is no name stays as it is.
#[derive(Clone, Copy, Debug)]
pub struct Template<'a>(pub &'a str);

/// A piece of a [`Template`].
enum Piece<'a> {
    Text(&'a str),
    Place(&'a str),
}

impl<'a> Template<'a> {
    /// The names that it has places for.
    pub fn names(self) -> impl Iterator<Item = &'a str> {
        self.pieces().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Place(name) => Some(name),
        })
    }

    /// The text with its places filled.
    ///
    /// # Errors
    /// The name of a value that there is none of, or none that may stand there.
    pub fn filled(
        self,
        values: &BTreeMap<String, String>,
        writing: Writing,
    ) -> Result<String, &'a str> {
        let mut out = String::with_capacity(self.0.len());
        for (number, piece) in self.pieces().enumerate() {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Place(name) => {
                    let (value, begins) = (values.get(name).ok_or(name)?, number == 0);
                    if !writing.takes(value, begins) {
                        return Err(name);
                    }
                    writing.put(value, begins, &mut out);
                }
            }
        }
        Ok(out)
    }

    fn pieces(self) -> impl Iterator<Item = Piece<'a>> {
        let (mut rest, mut place) = (self.0, None);
        std::iter::from_fn(move || {
            if let Some(name) = place.take() {
                return Some(Piece::Place(name));
            }
            if rest.is_empty() {
                return None;
            }
            let Some((before, name, after)) = first_place(rest) else {
                return Some(Piece::Text(std::mem::take(&mut rest)));
            };
            rest = after;
            if before.is_empty() {
                return Some(Piece::Place(name));
            }
            place = Some(name);
            Some(Piece::Text(before))
        })
    }
}

/// The first place in `text`: what comes before it, its name, what comes after.
fn first_place(text: &str) -> Option<(&str, &str, &str)> {
    let braces = text.char_indices().filter(|(_, c)| *c == '{');
    braces
        .map(|(at, _)| text.split_at(at))
        .find_map(|(before, from)| {
            let (name, after) = from.strip_prefix("{{")?.split_once("}}")?;
            let name = name.trim();
            is_name(name).then_some((before, name, after))
        })
}

/// Whether it can be the name of a captured value: a letter or `_`, then letters, digits and `_`; at most 64.
pub fn is_name(text: &str) -> bool {
    let mut chars = text.chars();
    let first = chars.next();
    text.len() <= 64
        && first.is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

impl JourneyStep {
    /// Where it leads, from the journey's target; `None` when that is no URL of `http` or `https`.
    pub fn url(&self, journey: &Url, filled: &str) -> Option<Url> {
        if filled.starts_with("http://") || filled.starts_with("https://") {
            Url::parse(filled)
        } else {
            filled.starts_with('/').then(|| journey.join(filled))?
        }
    }

    /// Every name that it needs a value of.
    pub fn needs(&self) -> BTreeSet<&str> {
        let Manner { http, expect, .. } = &self.manner;
        let headers = http
            .headers
            .iter()
            .filter_map(|(_, value)| value.to_str().ok());
        let expected = expect.headers.iter().map(|(_, text)| text.as_str());
        let json = expect.json.iter().filter_map(|it| match &it.wants {
            JsonWants::Equals(text) => Some(text.as_str()),
            JsonWants::Found | JsonWants::Count(_) | JsonWants::Matches(_) => None,
        });
        [self.target.as_str(), http.body.as_str()]
            .into_iter()
            .chain(headers)
            .chain(expect.body.iter().map(String::as_str))
            .chain(expected)
            .chain(json)
            .flat_map(|text| Template(text).names())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn places_are_filled_and_all_else_stays_as_it_is() {
        let values = values(&[("id", "7"), ("who", "a")]);
        for (text, filled) in [
            ("/orders/{{id}}", "/orders/7"),
            ("{{ id }}{{who}}", "7a"),
            ("{{{id}}}", "{7}"),
            ("{\"a\":{\"b\":{}}}", "{\"a\":{\"b\":{}}}"),
            ("{{ not a name }} {{}} {{", "{{ not a name }} {{}} {{"),
            ("", ""),
        ] {
            let is = Template(text).filled(&values, Writing::Plain);
            assert_eq!(is.as_deref(), Ok(filled), "{text}");
        }
        let missing = Template("{{id}}-{{other}}").filled(&values, Writing::Plain);
        assert_eq!(missing, Err("other"));
    }

    #[test]
    fn a_value_cannot_leave_its_place() {
        let values = values(&[
            ("v", "a/../b?c=\"d\"&e"),
            ("url", "https://b.example/x?y=1"),
        ]);
        let filled = |text, writing| Template(text).filled(&values, writing).unwrap();
        assert_eq!(
            filled("/x/{{v}}", Writing::Url),
            "/x/a%2F..%2Fb%3Fc%3D%22d%22%26e"
        );
        assert_eq!(
            filled("{\"v\":\"{{v}}\"}", Writing::Json),
            "{\"v\":\"a/../b?c=\\\"d\\\"&e\"}"
        );
        assert_eq!(filled("{{url}}", Writing::Url), "https://b.example/x?y=1");
        assert_eq!(
            filled("a={{v}}", Writing::Form),
            "a=a%2F..%2Fb%3Fc%3D%22d%22%26e"
        );
        for value in ["", ".", ".."] {
            let up = BTreeMap::from([("v".to_owned(), value.to_owned())]);
            let is = Template("/orders/{{v}}").filled(&up, Writing::Url);
            assert_eq!(is, Err("v"), "{value:?}");
        }
    }

    proptest! {
        #[test]
        fn any_value_is_one_json_string(value in ".{0,60}") {
            let values = values(&[("v", &value)]);
            let filled = Template("{\"v\":\"{{v}}\"}").filled(&values, Writing::Json).unwrap();
            let read: serde_json::Value = serde_json::from_str(&filled).unwrap();
            prop_assert_eq!(read["v"].as_str(), Some(value.as_str()));
        }

        #[test]
        fn a_text_without_names_is_itself(text in "[{}a ]{0,30}") {
            prop_assume!(Template(&text).names().next().is_none());
            let filled = Template(&text).filled(&BTreeMap::new(), Writing::Plain);
            prop_assert_eq!(filled, Ok(text.clone()));
        }
    }
}
