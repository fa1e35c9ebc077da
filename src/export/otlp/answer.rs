//! What a receiver's answer means for the batch it answers (OTLP 1.x, "OTLP/HTTP Response" and "OTLP/gRPC Response").

use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use prost::Message;

/// What became of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Taken, but for so many items.
    Taken {
        /// Items that the receiver threw away.
        rejected: u64,
        /// Its words about them; also warnings without a loss.
        message: String,
    },
    /// Not now: try again, at the earliest after the time that the receiver named.
    Later {
        /// Why.
        error: String,
        /// What the receiver asked for.
        after: Option<Duration>,
    },
    /// Never: the same bytes would be refused again.
    Refused {
        /// Why.
        error: String,
    },
}

/// The answer of a receiver that speaks HTTP.
pub(super) fn of_http(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Answer {
    if status.is_success() {
        return taken(body);
    }
    let said = status_message(body);
    let error = format!("it answered {status}{said}");
    match status {
        StatusCode::TOO_MANY_REQUESTS
        | StatusCode::BAD_GATEWAY
        | StatusCode::SERVICE_UNAVAILABLE
        | StatusCode::GATEWAY_TIMEOUT => Answer::Later {
            error,
            after: retry_after(headers),
        },
        _ => Answer::Refused { error },
    }
}

/// The answer of a receiver that speaks gRPC: the status is in the trailers, or among the headers when there is no body.
pub(super) fn of_grpc(
    status: StatusCode,
    headers: &HeaderMap,
    trailers: &HeaderMap,
    body: &[u8],
) -> Answer {
    let field = |name: &str| trailers.get(name).or_else(|| headers.get(name));
    let Some(code) =
        field("grpc-status").and_then(|value| value.to_str().ok()?.parse::<u32>().ok())
    else {
        // A proxy's answer rather than the receiver's; its status is all there is.
        return of_http(
            if status.is_success() {
                StatusCode::BAD_GATEWAY
            } else {
                status
            },
            headers,
            &[],
        );
    };
    if code == 0 {
        // One message, uncompressed: we accept no other encoding.
        return taken(body.get(PREFIX..).unwrap_or_default());
    }
    let said = field("grpc-message").map_or_else(String::new, |message| {
        format!(": {}", visible(message.as_bytes()))
    });
    let error = format!("it answered gRPC status {code}{said}");
    match code {
        // Cancelled, deadline exceeded, aborted, out of range, unavailable, data loss.
        1 | 4 | 10 | 11 | 14 | 15 => Answer::Later {
            error,
            after: field("grpc-status-details-bin").and_then(|value| retry_info(value.as_bytes())),
        },
        // Resource exhausted: only when the receiver says when it recovers.
        8 => {
            match field("grpc-status-details-bin").and_then(|value| retry_info(value.as_bytes())) {
                Some(after) => Answer::Later {
                    error,
                    after: Some(after),
                },
                None => Answer::Refused { error },
            }
        }
        _ => Answer::Refused { error },
    }
}

/// The bytes before a gRPC message: whether it is compressed, and its length.
pub(super) const PREFIX: usize = 5;

/// The three signals' responses have the same two fields in the same places.
#[derive(Clone, PartialEq, Message)]
struct Response {
    #[prost(message, optional, tag = "1")]
    partial_success: Option<Partial>,
}

#[derive(Clone, PartialEq, Message)]
struct Partial {
    #[prost(int64, tag = "1")]
    rejected: i64,
    #[prost(string, tag = "2")]
    message: String,
}

/// A success without a readable body is one: some receivers answer with an empty or JSON body.
fn taken(body: &[u8]) -> Answer {
    let partial = Response::decode(body)
        .ok()
        .and_then(|response| response.partial_success);
    let Partial { rejected, message } = partial.unwrap_or_default();
    Answer::Taken {
        rejected: u64::try_from(rejected).unwrap_or(0),
        message: visible(message.as_bytes()),
    }
}

/// `google.rpc.Status`, which an error's body should be.
#[derive(Clone, PartialEq, Message)]
struct Status {
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    delay: Option<Delay>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

fn status_message(body: &[u8]) -> String {
    let message = Status::decode(body).map(|status| status.message);
    match message {
        Ok(message) if !message.is_empty() => format!(": {}", visible(message.as_bytes())),
        // Plain text, most likely.
        Err(_) if !body.is_empty() => format!(": {}", visible(body)),
        Ok(_) | Err(_) => String::new(),
    }
}

/// The delay of the `RetryInfo` among a gRPC status's details.
fn retry_info(encoded: &[u8]) -> Option<Duration> {
    let status = Status::decode(&*base64(encoded)?).ok()?;
    let info = status
        .details
        .iter()
        .find(|detail| detail.type_url.ends_with("google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(&*info.value).ok()?.delay?;
    let seconds = u64::try_from(delay.seconds).ok()?;
    let nanos = u32::try_from(delay.nanos).ok()?.min(999_999_999);
    Some(Duration::new(seconds, nanos))
}

/// RFC 4648, padded or not, as binary gRPC metadata is.
fn base64(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut held, mut bits) = (0_u32, 0);
    for byte in text.iter().take_while(|byte| **byte != b'=') {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        held = held << 6 | u32::from(six);
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((held >> bits) as u8);
            held &= (1 << bits) - 1;
        }
    }
    Some(bytes)
}

/// `Retry-After` in seconds. A date is not understood: clocks differ, and the usual backoff does.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    text.trim().parse().ok().map(Duration::from_secs)
}

/// A stranger's words, short and harmless on a terminal.
fn visible(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars()
        .take(LONGEST)
        .map(plain)
        .collect::<String>()
        .trim()
        .to_owned()
}

/// The longest message taken over.
const LONGEST: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let field = |(name, value): &(&'static str, &str)| {
            (http::HeaderName::from_static(name), value.parse().unwrap())
        };
        fields.iter().map(field).collect()
    }

    #[test]
    fn what_is_tried_again_over_http_is_what_the_specification_lists() {
        for status in 300..600 {
            let status = StatusCode::from_u16(status).unwrap();
            let later = matches!(
                of_http(status, &HeaderMap::new(), b""),
                Answer::Later { .. }
            );
            assert_eq!(
                later,
                matches!(status.as_u16(), 429 | 502 | 503 | 504),
                "{status}"
            );
        }
    }

    #[test]
    fn what_is_tried_again_over_grpc_is_what_the_specification_lists() {
        for code in 1..=16 {
            let trailers = headers(&[("grpc-status", &code.to_string())]);
            let answer = of_grpc(StatusCode::OK, &HeaderMap::new(), &trailers, b"");
            let later = matches!(answer, Answer::Later { .. });
            assert_eq!(later, matches!(code, 1 | 4 | 10 | 11 | 14 | 15), "{code}");
        }
    }

    #[test]
    fn an_exhausted_receiver_that_says_when_it_recovers_is_tried_again_then() {
        // Status { details: [Any { type.googleapis.com/google.rpc.RetryInfo, RetryInfo { 7 s } }] }
        let info = RetryInfo {
            delay: Some(Delay {
                seconds: 7,
                nanos: 0,
            }),
        };
        let status = Status {
            message: String::new(),
            details: vec![Any {
                type_url: "type.googleapis.com/google.rpc.RetryInfo".to_owned(),
                value: info.encode_to_vec(),
            }],
        };
        let mut text = String::new();
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for three in status.encode_to_vec().chunks(3) {
            let word = three
                .iter()
                .fold(0_u32, |word, byte| word << 8 | u32::from(*byte))
                << (8 * (3 - three.len()));
            for place in 0..=three.len() {
                text.push(char::from(
                    alphabet[(word >> (18 - 6 * place) & 63) as usize],
                ));
            }
        }
        let trailers = headers(&[("grpc-status", "8"), ("grpc-status-details-bin", &text)]);
        let answer = of_grpc(StatusCode::OK, &HeaderMap::new(), &trailers, b"");
        assert!(
            matches!(answer, Answer::Later { after: Some(after), .. } if after == Duration::from_secs(7)),
            "{answer:?}"
        );
    }

    #[test]
    fn what_a_receiver_threw_away_is_read_from_its_success() {
        let response = Response {
            partial_success: Some(Partial {
                rejected: 3,
                message: "too old\n".to_owned(),
            }),
        };
        let answer = of_http(StatusCode::OK, &HeaderMap::new(), &response.encode_to_vec());
        assert_eq!(
            answer,
            Answer::Taken {
                rejected: 3,
                message: "too old".to_owned()
            }
        );
        for body in [&b""[..], b"{}", b"\xff\xff\xff"] {
            let answer = of_http(StatusCode::OK, &HeaderMap::new(), body);
            assert_eq!(
                answer,
                Answer::Taken {
                    rejected: 0,
                    message: String::new()
                }
            );
        }
    }

    #[test]
    fn a_receiver_may_say_when_to_come_back() {
        let headers = headers(&[("retry-after", "7")]);
        let answer = of_http(StatusCode::TOO_MANY_REQUESTS, &headers, b"");
        assert!(
            matches!(answer, Answer::Later { after: Some(after), .. } if after == Duration::from_secs(7))
        );
    }

    #[test]
    fn garbage_is_shown_cut_and_without_control_characters() {
        let body = [b"\x1b[2J".repeat(200), vec![0xff; 9]].concat();
        let Answer::Refused { error } = of_http(StatusCode::BAD_REQUEST, &HeaderMap::new(), &body)
        else {
            panic!("400 is final");
        };
        assert!(
            error.chars().count() < 300 && !error.contains('\u{1b}'),
            "{error}"
        );
    }
}
