//! A finished request on its way from the thread that served it to the exporter's.
//!
//! The request threads write bytes into a buffer that they have anyway, as for the access log, and hand it over when it
//! is full: no lock, no allocation, no decision. What is looked at closer, and what it is called in OpenTelemetry, is
//! decided where the bytes are read. They never leave the process, so they carry no version.

use std::net::IpAddr;

use crate::model::{AccessRecord, Attempt, Fault, Outcome, Phase, Phases, attempt_span};

/// What a request left behind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Record<'a> {
    /// When it ended, in milliseconds since the epoch.
    pub(super) at_ms: u64,
    pub(super) duration_us: u64,
    pub(super) outcome: Outcome,
    pub(super) status: Option<u16>,
    pub(super) phases: Phases,
    /// Attempts made; those that were remembered are [`Record::attempts`].
    pub(super) attempts_made: u8,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) client: IpAddr,
    pub(super) sampled: bool,
    pub(super) trace_id: &'a [u8],
    pub(super) span_id: &'a [u8],
    pub(super) parent_id: &'a [u8],
    pub(super) route: &'a [u8],
    pub(super) scheme: &'a [u8],
    pub(super) protocol: &'a [u8],
    pub(super) method: &'a [u8],
    pub(super) host: &'a [u8],
    pub(super) path: &'a [u8],
    pub(super) user_agent: &'a [u8],
    pub(super) request_id: &'a [u8],
    /// [`Record::attempts`], as written.
    attempts: &'a [u8],
}

impl<'a> Record<'a> {
    /// The span of our serving the request. `None`: it has no trace.
    pub(super) fn server_span(&self) -> Option<u64> {
        let span = std::str::from_utf8(self.span_id).ok()?;
        u64::from_str_radix(span, 16).ok()
    }

    /// The span of one of its attempts, which the upstream was told of. `None`: it has no trace.
    pub(super) fn attempt_span(&self, attempt: &Attempt<&[u8]>) -> Option<u64> {
        Some(attempt_span(self.server_span()?, attempt.ordinal))
    }

    /// What was tried, by the endpoints' addresses.
    pub(super) fn attempts(&self) -> impl Iterator<Item = Attempt<&'a [u8]>> + use<'a> {
        let mut rest = Reader(self.attempts);
        std::iter::from_fn(move || rest.attempt())
    }

    /// The endpoint tried last; empty when none was.
    pub(super) fn endpoint(&self) -> &'a [u8] {
        self.attempts().last().map_or(b"", |last| last.endpoint)
    }

    /// When it began and ended, in nanoseconds since the epoch.
    pub(super) fn span_ns(&self) -> (u64, u64) {
        let end = self.at_ms.saturating_mul(1_000_000);
        (
            end.saturating_sub(self.duration_us.saturating_mul(1_000)),
            end,
        )
    }

    /// Why it failed, in the semantic conventions' words: a passed-on 5xx is its own number.
    pub(super) fn error_type(&self) -> Option<String> {
        let fault = self.outcome.fault()?;
        match (fault, self.status) {
            (Fault::UpstreamStatus, Some(status)) => Some(status.to_string()),
            _ => Some(fault.as_str().to_owned()),
        }
    }

    /// The method if it is a known one, else `_OTHER`, so that nobody can make up values.
    pub(super) fn known_method(&self) -> &'static str {
        METHODS
            .iter()
            .find(|method| method.as_bytes() == self.method)
            .map_or("_OTHER", |method| method)
    }

    /// `1.1` of `HTTP/1.1`; `2` for HTTP/2.
    pub(super) fn version(&self) -> &'static str {
        match self.protocol {
            b"HTTP/2.0" => "2",
            b"HTTP/1.0" => "1.0",
            _ => "1.1",
        }
    }
}

/// RFC 9110 and RFC 5789 (HTTP semantic conventions, `http.request.method`).
const METHODS: [&str; 9] = [
    "GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "CONNECT",
];

/// A host and its port, of a `Host` header or an endpoint's address.
pub(super) fn host_and_port(text: &[u8]) -> (String, Option<u16>) {
    let text = String::from_utf8_lossy(text);
    let text = text.split_once("://").map_or(&*text, |(_, rest)| rest);
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host, port.parse().ok())
        }
        _ => (text, None),
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    (bare.unwrap_or(host).to_owned(), port)
}

/// The longest text taken over from a request.
const MAX_TEXT: usize = 1_024;
const NONE_U32: u32 = u32::MAX;

/// Appends one record.
pub fn write_record(buffer: &mut Vec<u8>, record: &AccessRecord<'_>) {
    let AccessRecord {
        at,
        observation,
        route,
        endpoint: _,
        attempts,
        client,
        scheme,
        protocol,
        method,
        host,
        path,
        user_agent,
        request_id,
        trace_id,
        span_id,
        parent_id,
        sampled,
    } = record;
    buffer.extend_from_slice(&at.as_millis().to_le_bytes());
    buffer.extend_from_slice(&observation.duration_us.to_le_bytes());
    buffer.extend_from_slice(&observation.bytes_in.to_le_bytes());
    buffer.extend_from_slice(&observation.bytes_out.to_le_bytes());
    for micros in observation.phases {
        // The one duration that cannot be told from none is longer than an hour.
        buffer.extend_from_slice(&micros.unwrap_or(NONE_U32).to_le_bytes());
    }
    buffer.extend_from_slice(&observation.status.unwrap_or(0).to_le_bytes());
    let fault = observation.outcome.fault();
    let fault = fault.map_or(Fault::COUNT, Fault::index) as u8;
    buffer.extend_from_slice(&[fault, observation.attempts, u8::from(*sampled)]);
    match client {
        IpAddr::V4(address) => buffer.extend_from_slice(&address.to_ipv6_mapped().octets()),
        IpAddr::V6(address) => buffer.extend_from_slice(&address.octets()),
    }
    for text in [
        trace_id.as_bytes(),
        span_id.as_bytes(),
        parent_id.as_bytes(),
        route.as_bytes(),
        scheme.as_bytes(),
        protocol.as_bytes(),
        method.as_bytes(),
        host,
        path.as_bytes(),
        user_agent,
        request_id.as_bytes(),
    ] {
        write_text(buffer, text);
    }
    let length_at = buffer.len();
    buffer.extend_from_slice(&[0; 2]);
    for attempt in *attempts {
        write_attempt(buffer, attempt);
    }
    let length = buffer.len() - length_at - 2;
    buffer[length_at..length_at + 2].copy_from_slice(&(length as u16).to_le_bytes());
}

fn write_text(buffer: &mut Vec<u8>, text: &[u8]) {
    let text = text.get(..MAX_TEXT).unwrap_or(text);
    buffer.extend_from_slice(&(text.len() as u16).to_le_bytes());
    buffer.extend_from_slice(text);
}

fn write_attempt(buffer: &mut Vec<u8>, attempt: &Attempt<&str>) {
    let Attempt {
        endpoint,
        ordinal,
        began_us,
        ended_us,
        status,
        fault,
    } = attempt;
    write_text(buffer, endpoint.as_bytes());
    buffer.extend_from_slice(&began_us.to_le_bytes());
    buffer.extend_from_slice(&ended_us.unwrap_or(NONE_U32).to_le_bytes());
    buffer.extend_from_slice(&status.unwrap_or(0).to_le_bytes());
    let fault = fault.map_or(Fault::COUNT, Fault::index) as u8;
    buffer.extend_from_slice(&[fault, *ordinal]);
}

/// The records of a buffer that [`write_record`] filled.
pub(super) fn records(buffer: &[u8]) -> impl Iterator<Item = Record<'_>> {
    let mut rest = Reader(buffer);
    std::iter::from_fn(move || rest.record())
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let length = usize::from(u16::from_le_bytes(self.take()?));
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(text)
    }

    fn record(&mut self) -> Option<Record<'a>> {
        let (at_ms, duration_us) = (self.u64()?, self.u64()?);
        let (bytes_in, bytes_out) = (self.u64()?, self.u64()?);
        let mut phases = Phases::default();
        for phase in Phase::ALL {
            let micros = u32::from_le_bytes(self.take()?);
            phases[phase.index()] = (micros != NONE_U32).then_some(micros);
        }
        let status = u16::from_le_bytes(self.take()?);
        let [fault, attempts_made, sampled] = self.take()?;
        let client = std::net::Ipv6Addr::from(self.take::<16>()?);
        Some(Record {
            at_ms,
            duration_us,
            outcome: Fault::ALL
                .get(usize::from(fault))
                .map_or(Outcome::Good, |fault| fault.outcome()),
            status: (status > 0).then_some(status),
            phases,
            attempts_made,
            bytes_in,
            bytes_out,
            client: client.to_canonical(),
            sampled: sampled == 1,
            trace_id: self.text()?,
            span_id: self.text()?,
            parent_id: self.text()?,
            route: self.text()?,
            scheme: self.text()?,
            protocol: self.text()?,
            method: self.text()?,
            host: self.text()?,
            path: self.text()?,
            user_agent: self.text()?,
            request_id: self.text()?,
            attempts: self.text()?,
        })
    }

    fn attempt(&mut self) -> Option<Attempt<&'a [u8]>> {
        let endpoint = self.text()?;
        let began_us = u32::from_le_bytes(self.take()?);
        let ended_us = u32::from_le_bytes(self.take()?);
        let status = u16::from_le_bytes(self.take()?);
        let [fault, ordinal] = self.take()?;
        Some(Attempt {
            endpoint,
            ordinal,
            began_us,
            ended_us: (ended_us != NONE_U32).then_some(ended_us),
            status: (status > 0).then_some(status),
            fault: Fault::ALL.get(usize::from(fault)).copied(),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{Observation, RouteKey, Source, Timestamp};

    const REFUSED: Attempt<&str> = Attempt {
        endpoint: "http://10.0.0.1:8080",
        ordinal: 0,
        began_us: 3,
        ended_us: Some(20),
        status: None,
        fault: Some(Fault::ConnectRefused),
    };
    const ANSWERED: Attempt<&str> = Attempt {
        endpoint: "http://10.0.0.2:8080",
        ordinal: 1,
        began_us: 20,
        ended_us: None,
        status: Some(404),
        fault: None,
    };

    /// A buffer with one record of a request with this outcome, as the proxy would write it.
    pub(in crate::export::otlp) fn buffer(
        outcome: Outcome,
        status: Option<u16>,
        duration_us: u64,
        parent_id: &str,
        sampled: bool,
    ) -> Vec<u8> {
        let observation = Observation {
            route: RouteKey(1),
            endpoint: None,
            source: Source::Proxy,
            outcome,
            status,
            duration_us,
            phases: [Some(3), None, Some(40), None],
            attempts: 2,
            bytes_in: 5,
            bytes_out: 6,
        };
        let mut buffer = Vec::new();
        let attempts = [REFUSED, ANSWERED];
        let record = AccessRecord {
            at: Timestamp::from_secs(1_700_000_000),
            observation: &observation,
            route: "shop",
            endpoint: ANSWERED.endpoint,
            attempts: &attempts,
            client: "192.0.2.7".parse().unwrap(),
            scheme: "https",
            protocol: "HTTP/2.0",
            method: "GET",
            host: b"shop.test:8443",
            path: "/a",
            user_agent: b"curl",
            request_id: "r-1",
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
            span_id: "00f067aa0ba902b7",
            parent_id,
            sampled,
        };
        write_record(&mut buffer, &record);
        buffer
    }

    #[test]
    fn what_is_read_is_what_was_written() {
        let mut all = Vec::new();
        for fault in Fault::ALL {
            all.extend(buffer(fault.outcome(), fault.status(), 77, "", false));
        }
        all.extend(buffer(
            Outcome::Good,
            Some(200),
            78,
            "1111111111111111",
            true,
        ));
        let read: Vec<Record<'_>> = records(&all).collect();
        assert_eq!(read.len(), Fault::COUNT + 1);
        for (record, fault) in read.iter().zip(Fault::ALL) {
            assert_eq!(record.outcome, fault.outcome());
            assert_eq!(record.status, fault.status());
        }
        let last = read.last().unwrap();
        assert_eq!(
            (last.outcome, last.status, last.sampled),
            (Outcome::Good, Some(200), true)
        );
        assert_eq!(last.phases, [Some(3), None, Some(40), None]);
        assert_eq!(
            (
                last.duration_us,
                last.attempts_made,
                last.bytes_in,
                last.bytes_out
            ),
            (78, 2, 5, 6)
        );
        assert_eq!(last.client, "192.0.2.7".parse::<IpAddr>().unwrap());
        assert_eq!(
            (last.route, last.parent_id, last.request_id),
            (&b"shop"[..], &b"1111111111111111"[..], &b"r-1"[..])
        );
        let attempts = [REFUSED, ANSWERED].map(|attempt| Attempt {
            endpoint: attempt.endpoint.as_bytes(),
            ordinal: attempt.ordinal,
            began_us: attempt.began_us,
            ended_us: attempt.ended_us,
            status: attempt.status,
            fault: attempt.fault,
        });
        assert_eq!(last.attempts().collect::<Vec<_>>(), attempts);
        assert_eq!(last.endpoint(), ANSWERED.endpoint.as_bytes());
    }

    #[test]
    fn hosts_and_ports_are_told_apart() {
        for (text, host, port) in [
            ("shop.test", "shop.test", None),
            ("shop.test:81", "shop.test", Some(81)),
            ("http://10.0.0.1:8080", "10.0.0.1", Some(8_080)),
            ("[::1]:9", "::1", Some(9)),
            ("https://[::1]", "::1", None),
            ("", "", None),
        ] {
            assert_eq!(host_and_port(text.as_bytes()), (host.to_owned(), port));
        }
    }

    #[test]
    fn half_a_record_is_none() {
        let whole = buffer(Outcome::Good, None, 0, "", true);
        for length in 0..whole.len() {
            assert_eq!(records(&whole[..length]).count(), 0);
        }
    }
}
