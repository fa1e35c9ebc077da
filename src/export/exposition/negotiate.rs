//! Which format a reader is answered in (RFC 9110, 12.5.1; Prometheus, "Content negotiation").

/// A format of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Prometheus' text, version 0.0.4: what everybody reads, and what is answered when nothing else is asked for.
    Text,
    /// OpenMetrics text.
    OpenMetrics,
    /// Length-delimited `io.prometheus.client.MetricFamily` messages.
    Protobuf,
}

/// Elements of `Accept` that are looked at. Prometheus sends five.
const MAX_ELEMENTS: usize = 32;

/// What a reader is answered in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The format.
    pub format: Format,
    /// The word for how names are escaped that the reader is told; `None`: it did not ask.
    escaping: Option<&'static str>,
    /// OpenMetrics before it was a standard, which is the same page.
    is_draft: bool,
}

/// A media range that we can answer.
struct Range {
    negotiated: Negotiated,
    /// 3 for a format by name, 2 for `text/*`, 1 for `*/*`.
    specificity: u8,
    /// Thousandths.
    quality: u16,
}

impl Negotiated {
    /// What the value of `Accept` prefers. Empty, foreign and malformed values get text: a page that is not understood
    /// is worth more to whoever looks for the trouble than no page.
    pub fn from_accept(accept: &str) -> Self {
        let elements = elements(accept, ',').take(MAX_ELEMENTS);
        let ranges: Vec<Range> = elements.flat_map(ranges).collect();
        let mut best: Option<(u16, Self)> = None;
        // In the reader's order, so that the first of equals is taken.
        for range in &ranges {
            // The most specific one decides.
            let is_overruled = ranges.iter().any(|other| {
                other.negotiated.format == range.negotiated.format
                    && other.specificity > range.specificity
            });
            if !is_overruled && range.quality > best.map_or(0, |(quality, _)| quality) {
                best = Some((range.quality, range.negotiated));
            }
        }
        best.map_or(Self::plain(Format::Text), |(_, negotiated)| negotiated)
    }

    /// The value of `Content-Type`.
    pub fn content_type(self) -> String {
        let mut text = match (self.format, self.is_draft) {
            (Format::Text, _) => "text/plain; version=0.0.4; charset=utf-8",
            (Format::OpenMetrics, false) => {
                "application/openmetrics-text; version=1.0.0; charset=utf-8"
            }
            (Format::OpenMetrics, true) => {
                "application/openmetrics-text; version=0.0.1; charset=utf-8"
            }
            (Format::Protobuf, _) => {
                "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
            }
        }
        .to_owned();
        if let Some(escaping) = self.escaping {
            text.push_str("; escaping=");
            text.push_str(escaping);
        }
        text
    }

    const fn plain(format: Format) -> Self {
        Self {
            format,
            escaping: None,
            is_draft: false,
        }
    }
}

/// What one element of `Accept` lets us answer.
fn ranges(element: &str) -> Vec<Range> {
    let mut parts = elements(element, ';');
    let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
    let (mut quality, mut escaping, mut is_draft) = (1_000, None, false);
    let (mut version, mut message, mut encoding) = (None, None, None);
    for (name, value) in parts.filter_map(|part| part.split_once('=')) {
        let value = value.trim().trim_matches('"');
        match name.trim().to_ascii_lowercase().as_str() {
            "q" => quality = thousandths(value),
            "version" => version = Some(value),
            "proto" => message = Some(value),
            "encoding" => encoding = Some(value),
            "escaping" => escaping = Some(escaped(value)),
            _ => {}
        }
    }
    let (formats, specificity): (&[Format], u8) = match kind.as_str() {
        // 1.0.0 is the same text, in which names may be of any characters. Ours are not.
        "text/plain" if matches!(version, None | Some("0.0.4" | "1.0.0")) => (&[Format::Text], 3),
        "application/openmetrics-text" if matches!(version, None | Some("0.0.1" | "1.0.0")) => {
            is_draft = version == Some("0.0.1");
            (&[Format::OpenMetrics], 3)
        }
        "application/vnd.google.protobuf"
            if message == Some("io.prometheus.client.MetricFamily")
                && encoding == Some("delimited") =>
        {
            (&[Format::Protobuf], 3)
        }
        "text/*" => (&[Format::Text], 2),
        // Whoever does not say that they read protobuf does not.
        "application/*" => (&[Format::OpenMetrics], 2),
        "*/*" => (&[Format::Text, Format::OpenMetrics], 1),
        _ => (&[], 0),
    };
    let range = |format: &Format| Range {
        negotiated: Negotiated {
            format: *format,
            escaping,
            is_draft,
        },
        specificity,
        quality,
    };
    formats.iter().map(range).collect()
}

/// Elements between separators that are not inside quotes, without the space around them.
fn elements(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    text.split(move |character| {
        quoted ^= character == '"';
        character == separator && !quoted
    })
    .map(str::trim)
    .filter(|element| !element.is_empty())
}

/// A weight from 0 to 1 in thousandths. What is none excludes nothing and prefers nothing: it counts as the least.
fn thousandths(weight: &str) -> u16 {
    let parsed = weight.parse::<f32>().ok();
    let valid = parsed.filter(|weight| (0.0..=1.0).contains(weight));
    valid.map_or(1, |weight| (weight * 1_000.0).round() as u16)
}

/// The scheme of escaping that our names are in anyway: they have letters, digits and underscores only. One that would
/// write even those otherwise is answered with the one that we have.
fn escaped(asked: &str) -> &'static str {
    match asked {
        "allow-utf-8" => "allow-utf-8",
        "values" => "values",
        _ => "underscores",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMETHEUS_2_42: &str = "application/openmetrics-text;version=1.0.0,\
        application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    const PROMETHEUS_2_42_NATIVE: &str = "application/vnd.google.protobuf;\
        proto=io.prometheus.client.MetricFamily;encoding=delimited,\
        application/openmetrics-text;version=1.0.0;q=0.8,\
        application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    const PROMETHEUS_3: &str = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
        application/openmetrics-text;version=0.0.1;q=0.4,\
        text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
    const PROMETHEUS_3_NATIVE: &str = "application/vnd.google.protobuf;\
        proto=io.prometheus.client.MetricFamily;encoding=delimited;escaping=allow-utf-8;q=0.6,\
        application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.1";
    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    const DELIMITED: &str = "application/vnd.google.protobuf; \
        proto=io.prometheus.client.MetricFamily; encoding=delimited";

    #[test]
    fn readers_get_what_they_prefer() {
        use Format::{OpenMetrics, Protobuf, Text};
        for (accept, format, escaping) in [
            ("", Text, None),
            ("*/*", Text, None),
            (BROWSER, Text, None),
            ("text/*", Text, None),
            ("application/*", OpenMetrics, None),
            ("application/json", Text, None),
            ("text/plain;version=0.0.4", Text, None),
            ("text/plain;version=0.0.3,*/*;q=0.1", Text, None),
            (PROMETHEUS_2_42, OpenMetrics, None),
            (PROMETHEUS_2_42_NATIVE, Protobuf, None),
            (PROMETHEUS_3, OpenMetrics, Some("allow-utf-8")),
            (PROMETHEUS_3_NATIVE, Protobuf, Some("allow-utf-8")),
            (
                "application/openmetrics-text, text/plain",
                OpenMetrics,
                None,
            ),
            ("text/plain, application/openmetrics-text", Text, None),
            ("text/plain;q=0,*/*", OpenMetrics, None),
            ("text/plain;q=0.1,*/*;q=0.5", OpenMetrics, None),
            (
                "application/openmetrics-text;q=0,text/plain;q=0.001",
                Text,
                None,
            ),
            ("application/openmetrics-text;q=0", Text, None),
            (
                "application/openmetrics-text;version=0.0.1;q=0.2,application/openmetrics-text;q=0.3",
                OpenMetrics,
                None,
            ),
            (
                "APPLICATION/OpenMetrics-Text ; Version=\"1.0.0\" ; Q=1",
                OpenMetrics,
                None,
            ),
            ("application/openmetrics-text;version=2.0.0", Text, None),
            (
                "application/openmetrics-text;q=nonsense,text/plain;q=0.5",
                Text,
                None,
            ),
            // Messages that do not say where one ends, and other messages.
            (
                "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=text",
                Text,
                None,
            ),
            (
                "application/vnd.google.protobuf;proto=other;encoding=delimited",
                Text,
                None,
            ),
            (
                "text/plain;x=\"a,application/openmetrics-text;b\"",
                Text,
                None,
            ),
            ("text/plain;escaping=dots", Text, Some("underscores")),
        ] {
            let negotiated = Negotiated::from_accept(accept);
            assert_eq!(
                (negotiated.format, negotiated.escaping),
                (format, escaping),
                "{accept}"
            );
        }
    }

    #[test]
    fn an_endless_list_is_not_read_to_its_end() {
        let many = format!(
            "{}application/openmetrics-text",
            "text/html,".repeat(100_000)
        );
        assert_eq!(Negotiated::from_accept(&many).format, Format::Text);
    }

    #[test]
    fn the_content_type_says_what_it_is() {
        for (accept, content_type) in [
            ("", "text/plain; version=0.0.4; charset=utf-8"),
            (
                PROMETHEUS_3,
                "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8",
            ),
            (
                "application/openmetrics-text; version=0.0.1",
                "application/openmetrics-text; version=0.0.1; charset=utf-8",
            ),
            (DELIMITED, DELIMITED),
        ] {
            assert_eq!(Negotiated::from_accept(accept).content_type(), content_type);
        }
    }
}
