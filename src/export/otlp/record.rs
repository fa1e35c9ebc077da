//! A finished request on its way from the thread that served it to the exporter's.
//!
//! The request threads write bytes into a buffer that they have anyway, as for the access log, and hand it over when it
//! is full: no lock, no allocation, no decision. What is looked at closer, and what it is called in OpenTelemetry, is
//! decided where the bytes are read. They never leave the process, so they carry no version.

use std::net::IpAddr;

use crate::model::{AccessRecord, Fault, Outcome, Phase, Phases, serving_span};

/// What a request left behind.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Record<'a> {
    /// When it ended, in milliseconds since the epoch.
    pub(super) at_ms: u64,
    pub(super) duration_us: u64,
    pub(super) outcome: Outcome,
    pub(super) status: Option<u16>,
    pub(super) phases: Phases,
    pub(super) attempts: u8,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) client: IpAddr,
    pub(super) sampled: bool,
    pub(super) trace_id: &'a [u8],
    pub(super) span_id: &'a [u8],
    pub(super) parent_id: &'a [u8],
    pub(super) route: &'a [u8],
    pub(super) endpoint: &'a [u8],
    pub(super) scheme: &'a [u8],
    pub(super) protocol: &'a [u8],
    pub(super) method: &'a [u8],
    pub(super) host: &'a [u8],
    pub(super) path: &'a [u8],
    pub(super) user_agent: &'a [u8],
    pub(super) request_id: &'a [u8],
}

impl Record<'_> {
    /// The span of our serving the request. `None`: it has no trace.
    pub(super) fn server_span(&self) -> Option<u64> {
        let client = std::str::from_utf8(self.span_id).ok()?;
        u64::from_str_radix(client, 16).ok().map(serving_span)
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
        endpoint,
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
        endpoint.as_bytes(),
        scheme.as_bytes(),
        protocol.as_bytes(),
        method.as_bytes(),
        host,
        path.as_bytes(),
        user_agent,
        request_id.as_bytes(),
    ] {
        let text = text.get(..MAX_TEXT).unwrap_or(text);
        buffer.extend_from_slice(&(text.len() as u16).to_le_bytes());
        buffer.extend_from_slice(text);
    }
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
        let [fault, attempts, sampled] = self.take()?;
        let client = std::net::Ipv6Addr::from(self.take::<16>()?);
        Some(Record {
            at_ms,
            duration_us,
            outcome: Fault::ALL
                .get(usize::from(fault))
                .map_or(Outcome::Good, |fault| fault.outcome()),
            status: (status > 0).then_some(status),
            phases,
            attempts,
            bytes_in,
            bytes_out,
            client: client.to_canonical(),
            sampled: sampled == 1,
            trace_id: self.text()?,
            span_id: self.text()?,
            parent_id: self.text()?,
            route: self.text()?,
            endpoint: self.text()?,
            scheme: self.text()?,
            protocol: self.text()?,
            method: self.text()?,
            host: self.text()?,
            path: self.text()?,
            user_agent: self.text()?,
            request_id: self.text()?,
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::model::{Observation, RouteKey, Source, Timestamp};

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
        let record = AccessRecord {
            at: Timestamp::from_secs(1_700_000_000),
            observation: &observation,
            route: "shop",
            endpoint: "http://10.0.0.1:8080",
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
                last.attempts,
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
