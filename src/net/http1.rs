//! The client half of HTTP/1.1 framing, without any io.
//!
//! We only ever speak it to upstreams, one exchange at a time, so it can be small: parse a response head, then decode
//! its body. The side that faces the world is hyper's. What an upstream sends is untrusted all the same: every length
//! is bounded, and a message with two readings (both length and chunked, two different lengths, a transfer coding other
//! than `chunked`) is an error rather than a guess (RFC 9112, 6.3).

use bytes::{Buf, Bytes, BytesMut};
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use http::{Method, StatusCode, Version};

/// The largest response head.
pub const MAX_HEAD_BYTES: usize = 64 * 1024;
/// The most headers in a response head or trailer section.
pub const MAX_HEADERS: usize = 128;

/// How a response broke the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtocolError {
    /// Not an HTTP/1 response head.
    #[error("not an HTTP/1 response")]
    Head,
    /// The head is larger than [`MAX_HEAD_BYTES`] or has more than [`MAX_HEADERS`] headers.
    #[error("the response head is too large")]
    HeadTooLarge,
    /// The head frames the body in two ways.
    #[error("the response frames its body ambiguously")]
    Framing,
    /// A chunk's size or ending is malformed.
    #[error("a chunk of the response is malformed")]
    Chunk,
}

/// How a response's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// After so many bytes; at least 1.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection.
    UntilClose,
}

/// A parsed response head.
#[derive(Debug)]
pub struct Head {
    /// The status.
    pub status: StatusCode,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// The headers, the framing ones included.
    pub headers: HeaderMap,
    /// How the body ends.
    pub framing: Framing,
    /// Whether the connection may be used again after the body.
    pub keep_alive: bool,
}

/// Takes a response head off the front of `buffer`; `None` when it is not complete yet.
///
/// # Errors
/// When what is there can never become one.
pub fn parse_head(buffer: &mut BytesMut, method: &Method) -> Result<Option<Head>, ProtocolError> {
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut slots);
    let length = match response.parse(buffer) {
        Ok(httparse::Status::Complete(length)) if length <= MAX_HEAD_BYTES => length,
        Ok(httparse::Status::Partial) if buffer.len() < MAX_HEAD_BYTES => return Ok(None),
        Ok(_) | Err(httparse::Error::TooManyHeaders) => return Err(ProtocolError::HeadTooLarge),
        Err(_) => return Err(ProtocolError::Head),
    };
    let status = response
        .code
        .and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or(ProtocolError::Head)?;
    let version = match response.version {
        Some(1) => Version::HTTP_11,
        Some(0) => Version::HTTP_10,
        _ => return Err(ProtocolError::Head),
    };
    // Names and values by their place, so that the buffer can be split off before values are cut from it uncopied.
    let base = buffer.as_ptr() as usize;
    let mut places = [(0, 0, 0, 0); MAX_HEADERS];
    let count = response.headers.len();
    for (place, header) in places.iter_mut().zip(response.headers.iter()) {
        let name = header.name.as_ptr() as usize - base;
        // An empty value may point anywhere.
        let value = if header.value.is_empty() {
            0
        } else {
            header.value.as_ptr() as usize - base
        };
        *place = (name, header.name.len(), value, header.value.len());
    }
    let bytes = buffer.split_to(length).freeze();
    let mut headers = HeaderMap::with_capacity(count + 4);
    for &(name, name_length, value, value_length) in places.iter().take(count) {
        let name = HeaderName::from_bytes(&bytes[name..name + name_length]);
        let value = HeaderValue::from_maybe_shared(bytes.slice(value..value + value_length));
        let (Ok(name), Ok(value)) = (name, value) else {
            return Err(ProtocolError::Head);
        };
        headers.append(name, value);
    }
    let framing = framing(status, method, version, &headers)?;
    let keep_alive = keep_alive(version, &headers) && framing != Framing::UntilClose;
    Ok(Some(Head {
        status,
        version,
        headers,
        framing,
        keep_alive,
    }))
}

fn framing(
    status: StatusCode,
    method: &Method,
    version: Version,
    headers: &HeaderMap,
) -> Result<Framing, ProtocolError> {
    let length = content_length(headers)?;
    let coded = headers.contains_key(TRANSFER_ENCODING);
    if status.is_informational()
        || status == StatusCode::NO_CONTENT
        || status == StatusCode::NOT_MODIFIED
        || *method == Method::HEAD
    {
        return Ok(Framing::None);
    }
    if coded {
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
        let chunked = codings
            .next()
            .is_some_and(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
        let only = codings.next().is_none();
        return if chunked && only && length.is_none() && version == Version::HTTP_11 {
            Ok(Framing::Chunked)
        } else {
            Err(ProtocolError::Framing)
        };
    }
    Ok(match length {
        Some(0) => Framing::None,
        Some(length) => Framing::Length(length),
        None => Framing::UntilClose,
    })
}

fn content_length(headers: &HeaderMap) -> Result<Option<u64>, ProtocolError> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    let digits = first.as_bytes();
    // Nineteen digits always fit; a sign, a space or a list never pass.
    let plain = !digits.is_empty() && digits.len() <= 19 && digits.iter().all(u8::is_ascii_digit);
    if !plain || values.next().is_some() {
        return Err(ProtocolError::Framing);
    }
    let length = digits
        .iter()
        .fold(0_u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    Ok(Some(length))
}

fn keep_alive(version: Version, headers: &HeaderMap) -> bool {
    let says = |token: &[u8]| {
        headers.get_all(CONNECTION).iter().any(|value| {
            value
                .as_bytes()
                .split(|byte| *byte == b',')
                .any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
        })
    };
    if version == Version::HTTP_11 {
        !says(b"close")
    } else {
        says(b"keep-alive")
    }
}

/// What a decoder made of the bytes at hand.
#[derive(Debug, PartialEq)]
pub enum Decoded {
    /// Body bytes.
    Data(Bytes),
    /// The trailer section; the end follows.
    Trailers(HeaderMap),
    /// The body is complete; what is left in the buffer is not part of it.
    End,
    /// More bytes are needed.
    More,
}

/// Takes a body apart.
#[derive(Debug)]
pub struct Decoder(State);

#[derive(Debug)]
enum State {
    Length(u64),
    UntilClose,
    ChunkSize,
    Chunk(u64),
    ChunkEnd,
    Trailers,
    End,
}

/// The longest chunk-size line: sixteen digits and what extensions may be. Extensions are dropped.
const MAX_CHUNK_LINE: usize = 256;

impl Decoder {
    /// For a body that ends as `framing` says.
    pub const fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::None | Framing::Length(0) => State::End,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkSize,
            Framing::UntilClose => State::UntilClose,
        })
    }

    /// Whether the body is complete.
    pub const fn is_end(&self) -> bool {
        matches!(self.0, State::End)
    }

    /// Whether the connection's end is this body's proper end.
    pub const fn ends_with_connection(&self) -> bool {
        matches!(self.0, State::UntilClose)
    }

    /// How many bytes are still to come, when the framing says.
    pub const fn remaining(&self) -> Option<u64> {
        match self.0 {
            State::Length(length) => Some(length),
            State::End => Some(0),
            State::UntilClose
            | State::ChunkSize
            | State::Chunk(_)
            | State::ChunkEnd
            | State::Trailers => None,
        }
    }

    /// Takes the next piece off the front of `buffer`.
    ///
    /// # Errors
    /// When the framing is broken.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Decoded, ProtocolError> {
        loop {
            match &mut self.0 {
                State::End => return Ok(Decoded::End),
                State::Length(left) => {
                    let Some(data) = take(buffer, left) else {
                        return Ok(Decoded::More);
                    };
                    if *left == 0 {
                        self.0 = State::End;
                    }
                    return Ok(Decoded::Data(data));
                }
                State::UntilClose => {
                    return Ok(if buffer.is_empty() {
                        Decoded::More
                    } else {
                        Decoded::Data(buffer.split().freeze())
                    });
                }
                State::ChunkSize => match chunk_size(buffer)? {
                    None => return Ok(Decoded::More),
                    Some(0) => self.0 = State::Trailers,
                    Some(size) => self.0 = State::Chunk(size),
                },
                State::Chunk(left) => {
                    let Some(data) = take(buffer, left) else {
                        return Ok(Decoded::More);
                    };
                    if *left == 0 {
                        self.0 = State::ChunkEnd;
                    }
                    return Ok(Decoded::Data(data));
                }
                State::ChunkEnd => {
                    match buffer.get(..2) {
                        None => return Ok(Decoded::More),
                        Some(b"\r\n") => buffer.advance(2),
                        Some(_) => return Err(ProtocolError::Chunk),
                    }
                    self.0 = State::ChunkSize;
                }
                State::Trailers => {
                    let Some(trailers) = trailers(buffer)? else {
                        return Ok(Decoded::More);
                    };
                    self.0 = State::End;
                    return Ok(if trailers.is_empty() {
                        Decoded::End
                    } else {
                        Decoded::Trailers(trailers)
                    });
                }
            }
        }
    }
}

fn take(buffer: &mut BytesMut, left: &mut u64) -> Option<Bytes> {
    if buffer.is_empty() {
        return None;
    }
    let count = usize::try_from(*left).map_or(buffer.len(), |left| left.min(buffer.len()));
    *left -= count as u64;
    Some(buffer.split_to(count).freeze())
}

/// Reads `size [;extension] CRLF` off the front.
fn chunk_size(buffer: &mut BytesMut) -> Result<Option<u64>, ProtocolError> {
    let line = buffer
        .get(..buffer.len().min(MAX_CHUNK_LINE))
        .unwrap_or_default();
    let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
        return if line.len() == MAX_CHUNK_LINE {
            Err(ProtocolError::Chunk)
        } else {
            Ok(None)
        };
    };
    let line = line
        .get(..end)
        .and_then(|line| line.strip_suffix(b"\r"))
        .ok_or(ProtocolError::Chunk)?;
    let digits = line
        .iter()
        .take_while(|byte| byte.is_ascii_hexdigit())
        .count();
    let (size, rest) = line.split_at(digits);
    let extension = rest.is_empty() || rest.trim_ascii_start().starts_with(b";");
    if !(1..=16).contains(&digits) || !extension || rest.contains(&b'\r') {
        return Err(ProtocolError::Chunk);
    }
    let digit = |byte: &u8| u64::from(char::from(*byte).to_digit(16).unwrap_or_default());
    let size = size
        .iter()
        .fold(0_u64, |sum, byte| (sum << 4) | digit(byte));
    buffer.advance(end + 1);
    Ok(Some(size))
}

/// Reads the trailer section with its closing empty line off the front.
fn trailers(buffer: &mut BytesMut) -> Result<Option<HeaderMap>, ProtocolError> {
    let mut slots = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let (length, found) = match httparse::parse_headers(buffer, &mut slots) {
        Ok(httparse::Status::Complete(complete)) => complete,
        Ok(httparse::Status::Partial) if buffer.len() < MAX_HEAD_BYTES => return Ok(None),
        Ok(httparse::Status::Partial) => return Err(ProtocolError::HeadTooLarge),
        Err(_) => return Err(ProtocolError::Chunk),
    };
    let mut trailers = HeaderMap::with_capacity(found.len());
    for header in found {
        let name = HeaderName::from_bytes(header.name.as_bytes());
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(header.value)) else {
            return Err(ProtocolError::Chunk);
        };
        trailers.append(name, value);
    }
    buffer.advance(length);
    Ok(Some(trailers))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(text: &str) -> Result<Option<Head>, ProtocolError> {
        parse_head(&mut BytesMut::from(text), &Method::GET)
    }

    #[test]
    fn the_framing_follows_from_the_head() {
        for (text, framing, keep_alive) in [
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
                Framing::Length(5),
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
                Framing::None,
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                Framing::Chunked,
                true,
            ),
            ("HTTP/1.1 200 OK\r\n\r\n", Framing::UntilClose, false),
            ("HTTP/1.1 204 No Content\r\n\r\n", Framing::None, true),
            (
                "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
                Framing::None,
                true,
            ),
            (
                "HTTP/1.1 200 OK\r\nConnection: foo, Close\r\nContent-Length: 1\r\n\r\n",
                Framing::Length(1),
                false,
            ),
            (
                "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n",
                Framing::Length(1),
                false,
            ),
            (
                "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\n",
                Framing::Length(1),
                true,
            ),
        ] {
            let head = head(text).unwrap().unwrap();
            assert_eq!(
                (head.framing, head.keep_alive),
                (framing, keep_alive),
                "{text}"
            );
        }
    }

    #[test]
    fn a_head_with_two_readings_is_refused() {
        for fields in [
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: 5\r\nContent-Length: 5",
            "Content-Length: +5",
            "Content-Length: 5, 5",
            "Content-Length: 99999999999999999999",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: identity",
        ] {
            let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n");
            assert_eq!(head(&text).err(), Some(ProtocolError::Framing), "{fields}");
        }
    }

    #[test]
    fn a_head_without_end_is_cut_off() {
        let endless = format!("HTTP/1.1 200 OK\r\nX: {}", "a".repeat(MAX_HEAD_BYTES));
        assert_eq!(head(&endless).err(), Some(ProtocolError::HeadTooLarge));
        let many = format!(
            "HTTP/1.1 200 OK\r\n{}\r\n",
            "X: 1\r\n".repeat(MAX_HEADERS + 1)
        );
        assert_eq!(head(&many).err(), Some(ProtocolError::HeadTooLarge));
        assert_eq!(head("SSH-2.0-OpenSSH\r\n").err(), Some(ProtocolError::Head));
    }

    /// Feeds `wire` in the given pieces and collects what comes out.
    fn decode(
        framing: Framing,
        wire: &[u8],
        cuts: &[usize],
    ) -> Result<(Vec<u8>, Option<HeaderMap>, bool), ProtocolError> {
        let mut decoder = Decoder::new(framing);
        let (mut buffer, mut body, mut trailers) = (BytesMut::new(), Vec::new(), None);
        let mut from = 0;
        for cut in cuts.iter().copied().chain([wire.len()]) {
            let cut = cut.clamp(from, wire.len());
            buffer.extend_from_slice(&wire[from..cut]);
            from = cut;
            loop {
                match decoder.decode(&mut buffer)? {
                    Decoded::Data(data) => body.extend_from_slice(&data),
                    Decoded::Trailers(found) => trailers = Some(found),
                    Decoded::End | Decoded::More => break,
                }
            }
        }
        Ok((body, trailers, decoder.is_end()))
    }

    #[test]
    fn chunks_are_joined_and_trailers_kept_apart() {
        let wire = b"4;ext=1\r\nWiki\r\n5\r\npedia\r\n0\r\nX-Sum: 9\r\n\r\n";
        let (body, trailers, end) = decode(Framing::Chunked, wire, &[]).unwrap();
        assert_eq!((body.as_slice(), end), (&b"Wikipedia"[..], true));
        assert_eq!(trailers.unwrap()["x-sum"], "9");
    }

    #[test]
    fn a_malformed_chunk_is_an_error() {
        for wire in [
            &b"x\r\n"[..],
            b"\r\n",
            b"+4\r\nWiki\r\n",
            b"0x4\r\nWiki\r\n",
            b"4 \r\nWiki\r\n",
            b"4\nWiki\r\n",
            b"4\r\nWikiXX",
            b"11111111111111111\r\n",
            b"4\rx\nWiki\r\n",
            &[b'1'; MAX_CHUNK_LINE + 1],
        ] {
            assert_eq!(
                decode(Framing::Chunked, wire, &[]),
                Err(ProtocolError::Chunk),
                "{wire:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn where_the_wire_is_cut_makes_no_difference(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..5),
            mut cuts in prop::collection::vec(0_usize..300, 0..12),
        ) {
            cuts.sort_unstable();
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let (body, trailers, end) = decode(Framing::Chunked, &wire, &cuts).unwrap();
            prop_assert_eq!((body, trailers, end), (chunks.concat(), None, true));
        }

        #[test]
        fn no_bytes_make_it_panic(wire in prop::collection::vec(any::<u8>(), 0..200)) {
            drop(parse_head(&mut BytesMut::from(&wire[..]), &Method::GET));
            drop(decode(Framing::Chunked, &wire, &[]));
        }
    }
}
