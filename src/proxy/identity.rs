//! Request ids and W3C trace context: kept when well formed, made when not.

use std::cell::Cell;

use crate::model::{TraceShare, attempt_span};

/// Identifiers of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct TraceContext {
    /// `00-<trace id>-<span id>-<flags>`, ASCII.
    text: [u8; TEXT],
    /// The span of serving the request, which is in the text.
    span: u64,
    /// The client's span.
    parent: Option<[u8; 16]>,
}

const TEXT: usize = 55;
const TRACE_ID: std::ops::Range<usize> = 3..35;
const SPAN_ID: std::ops::Range<usize> = 36..52;

impl TraceContext {
    /// Continues a client's trace with a span of our own, or begins one when `incoming` is absent or malformed.
    ///
    /// A trace we begin is marked sampled unless told otherwise: with the flag cleared, services that follow their
    /// parent's decision would stop tracing altogether the day we are put in front of them.
    pub(super) fn continue_or_begin(incoming: Option<&[u8]>, ids: &IdSource) -> Self {
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-01";
        let incoming = incoming.filter(|incoming| well_formed(incoming));
        if let Some(incoming) = incoming {
            // The version is ours; later versions promise that these fields stay where they are.
            text[3..].copy_from_slice(&incoming[3..TEXT]);
        } else {
            let low = ids.next();
            hex(&mut text[3..19], ids.next());
            hex(&mut text[19..35], low);
            if !ids.begins.is_sampled(low) {
                text[54] = b'0';
            }
        }
        let span = ids.next();
        hex(&mut text[SPAN_ID], span);
        let parent = |incoming: &[u8]| incoming[SPAN_ID].try_into().ok();
        Self {
            text,
            span,
            parent: incoming.and_then(parent),
        }
    }

    /// Whether it is the client's trace. If not, the client's `tracestate` says nothing about it (W3C Trace Context,
    /// 3.3).
    pub(super) fn is_continued(&self) -> bool {
        self.parent.is_some()
    }

    /// What an upstream is told at an attempt, whose span is the parent of what the upstream does.
    pub(super) fn of_attempt(&self, ordinal: u8) -> Self {
        let mut told = *self;
        told.span = attempt_span(self.span, ordinal);
        hex(&mut told.text[SPAN_ID], told.span);
        told
    }

    /// The header's value.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// 32 hexadecimal digits.
    pub(super) fn trace_id(&self) -> &str {
        std::str::from_utf8(&self.text[TRACE_ID]).unwrap_or_default()
    }

    /// Ours: 16 hexadecimal digits.
    pub(super) fn span_id(&self) -> &str {
        std::str::from_utf8(&self.text[SPAN_ID]).unwrap_or_default()
    }

    /// The client's: 16 hexadecimal digits, or empty when the trace began here.
    pub(super) fn parent_id(&self) -> &str {
        let parent = self.parent.as_ref().map_or(&[][..], |parent| parent);
        std::str::from_utf8(parent).unwrap_or_default()
    }

    /// The ids of the trace and of the span of serving the request, when spans of this request are exported whatever
    /// becomes of it: its beginner marked it as sampled, or it begins here and is of the share.
    pub(super) fn exported(&self, share: TraceShare) -> Option<(u128, u64)> {
        if self.is_continued() && !self.is_sampled() {
            return None;
        }
        let trace = number(&self.text[TRACE_ID]);
        let is_exported = self.is_continued() || share.is_sampled(trace as u64);
        is_exported.then_some((trace, self.span))
    }

    /// Whether the trace is marked as sampled (W3C Trace Context, 3.2.2.5).
    pub(super) fn is_sampled(&self) -> bool {
        matches!(
            self.text[TEXT - 1],
            b'1' | b'3' | b'5' | b'7' | b'9' | b'b' | b'd' | b'f'
        )
    }
}

/// W3C Trace Context, 3.2: version, trace id, parent id, flags; all-zero ids and version `ff` are invalid.
fn well_formed(value: &[u8]) -> bool {
    let lower_hex = |bytes: &[u8]| {
        bytes
            .iter()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let Some(head) = value.get(..TEXT) else {
        return false;
    };
    let length = value.len() == TEXT || (head[..2] != *b"00" && value[TEXT] == b'-');
    let dashes = head[2] == b'-' && head[35] == b'-' && head[52] == b'-';
    let hex = lower_hex(&head[..2])
        && lower_hex(&head[3..35])
        && lower_hex(&head[36..52])
        && lower_hex(&head[53..]);
    let zero = |range: &[u8]| range.iter().all(|byte| *byte == b'0');
    length && dashes && hex && head[..2] != *b"ff" && !zero(&head[3..35]) && !zero(&head[36..52])
}

/// A request's id.
#[derive(Clone, Debug)]
pub(super) enum RequestId {
    /// The client's, well formed.
    Client(http::HeaderValue),
    /// Ours: 32 hexadecimal digits.
    Ours([u8; 32]),
}

/// The longest id taken over from a client.
const MAX_REQUEST_ID: usize = 128;

impl RequestId {
    /// The client's id when it is short and plain, else a new one.
    pub(super) fn keep_or_make(incoming: Option<&http::HeaderValue>, ids: &IdSource) -> Self {
        let plain =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
        let keep = |value: &&http::HeaderValue| {
            (1..=MAX_REQUEST_ID).contains(&value.len()) && value.as_bytes().iter().all(plain)
        };
        if let Some(value) = incoming.filter(keep) {
            return Self::Client(value.clone());
        }
        let mut id = [0; 32];
        hex(&mut id[..16], ids.next());
        hex(&mut id[16..], ids.next());
        Self::Ours(id)
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Client(value) => value.as_bytes(),
            Self::Ours(id) => id,
        }
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).unwrap_or_default()
    }
}

/// Unique numbers, one source per worker. Not secret: they name requests, they do not guard anything.
#[derive(Debug)]
pub(super) struct IdSource {
    state: Cell<u64>,
    begins: TraceShare,
}

impl IdSource {
    /// Seeded by the system, so that workers and restarts do not repeat each other.
    pub(super) fn from_system(begins: TraceShare) -> Self {
        let mut seed = [0; 8];
        // Without randomness the address of a fresh allocation and the process id still differ between runs.
        if rustix::rand::getrandom(&mut seed[..], rustix::rand::GetRandomFlags::empty()).is_err() {
            let place = std::ptr::from_ref(Box::new(0_u8).as_ref()) as u64;
            seed = (place ^ u64::from(std::process::id()).rotate_left(32)).to_le_bytes();
        }
        Self {
            state: Cell::new(u64::from_le_bytes(seed)),
            begins,
        }
    }

    /// The next number; never zero. `SplitMix64` (Steele, Lea, Flood 2014): one addition and a mix.
    fn next(&self) -> u64 {
        let state = self.state.get().wrapping_add(0x9E37_79B9_7F4A_7C15);
        self.state.set(state);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)).max(1)
    }
}

fn hex(target: &mut [u8], number: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (place, byte) in target.iter_mut().rev().enumerate() {
        *byte = DIGITS[(number >> (4 * place) & 15) as usize];
    }
}

/// What [`hex`] wrote.
fn number(digits: &[u8]) -> u128 {
    digits.iter().fold(0, |number, digit| {
        let digit = if digit.is_ascii_digit() {
            digit - b'0'
        } else {
            // Lower case by the check of what comes in, and ours.
            digit.wrapping_sub(b'a' - 10) & 15
        };
        number << 4 | u128::from(digit)
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    const PARENT: &[u8] = b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn seven() -> IdSource {
        IdSource {
            state: Cell::new(7),
            begins: TraceShare::ALL,
        }
    }

    fn continued(incoming: &[u8]) -> bool {
        let ids = seven();
        let context = TraceContext::continue_or_begin(Some(incoming), &ids);
        context.trace_id().as_bytes() == &PARENT[3..35]
    }

    #[test]
    fn a_well_formed_trace_goes_on_with_a_span_of_ours() {
        let context = TraceContext::continue_or_begin(Some(PARENT), &seven());
        assert_eq!(context.trace_id().as_bytes(), &PARENT[3..35]);
        assert_ne!(context.as_bytes()[36..52], PARENT[36..52]);
        assert_eq!(context.as_bytes()[52..], PARENT[52..]);
        assert!(continued(
            b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-future"
        ));
    }

    #[test]
    fn a_malformed_trace_is_not_continued() {
        for incoming in [
            &b""[..],
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            b"ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            b"00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            b"00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            b"01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01x",
            &[b'0'; 55],
        ] {
            assert!(!continued(incoming));
        }
    }

    #[test]
    fn a_clients_request_id_is_kept_only_when_short_and_plain() {
        let ids = seven();
        for (text, kept) in [
            ("abc-1", true),
            ("", false),
            ("a b", false),
            ("a\"b", false),
            (&"a".repeat(129), false),
        ] {
            let value = HeaderValue::from_str(text).unwrap();
            let id = RequestId::keep_or_make(Some(&value), &ids);
            assert_eq!(id.as_str() == text, kept, "{text}");
        }
    }

    #[test]
    fn a_trace_begun_here_is_marked_by_its_share_and_a_continued_one_as_it_came() {
        for (share, marked) in [(0.0, 0), (1.0, 1_000)] {
            let ids = IdSource::from_system(TraceShare::new(share));
            let begun = (0..1_000).map(|_| TraceContext::continue_or_begin(None, &ids));
            assert_eq!(begun.filter(TraceContext::is_sampled).count(), marked);
            assert!(TraceContext::continue_or_begin(Some(PARENT), &ids).is_sampled());
        }
        let context = TraceContext::continue_or_begin(Some(PARENT), &seven());
        assert_eq!(context.parent_id(), "00f067aa0ba902b7");
    }

    #[test]
    fn it_is_known_early_which_traces_are_exported() {
        let (all, none) = (TraceShare::ALL, TraceShare::new(0.0));
        let ids = IdSource::from_system(TraceShare::ALL);
        let begun = TraceContext::continue_or_begin(None, &ids);
        assert_eq!(begun.exported(none), None);
        let (trace, span) = begun.exported(all).unwrap();
        assert_eq!(format!("{trace:032x}"), begun.trace_id());
        assert_eq!(format!("{span:016x}"), begun.span_id());
        let continued = TraceContext::continue_or_begin(Some(PARENT), &ids);
        assert!(continued.exported(none).is_some());
        let unmarked = [&PARENT[..53], b"00"].concat();
        let unmarked = TraceContext::continue_or_begin(Some(&unmarked), &ids);
        assert!(unmarked.is_continued());
        assert_eq!(unmarked.exported(all), None);
    }

    #[test]
    fn each_attempt_is_told_of_a_span_of_its_own_in_the_same_trace() {
        let context = TraceContext::continue_or_begin(Some(PARENT), &seven());
        let mut spans = vec![context.span_id().to_owned()];
        for ordinal in [0, 1, 2, u8::MAX] {
            let told = context.of_attempt(ordinal);
            assert_eq!(told.as_bytes()[..36], context.as_bytes()[..36]);
            assert_eq!(told.as_bytes()[52..], context.as_bytes()[52..]);
            spans.push(told.span_id().to_owned());
        }
        spans.sort_unstable();
        spans.dedup();
        assert_eq!(spans.len(), 5);
    }

    #[test]
    fn ids_differ() {
        let ids = IdSource::from_system(TraceShare::ALL);
        let mut seen: Vec<u64> = (0..1_000).map(|_| ids.next()).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 1_000);
    }
}
