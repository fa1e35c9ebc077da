//! HTTP/1 read byte by byte, independently of the program under test.

use std::io::{self, Read};

/// A message as it came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Message {
    /// The request line or the status line.
    pub(crate) first_line: String,
    /// Names in lower case, in the order they came.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    /// How many chunks the body came in; `None`: it was not chunked.
    pub(crate) chunks: Option<usize>,
    /// Whether it came to its proper end.
    pub(crate) whole: bool,
}

impl Message {
    /// The only value of a header; fails when there are several.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut named = self.headers.iter().filter(|(other, _)| other == name);
        let first = named.next();
        assert_eq!(named.next(), None, "one {name} in {:?}", self.headers);
        first.map(|(_, value)| value.as_str())
    }

    /// Every value of a header.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = move |header: &&(String, String)| header.0 == name;
        let value = |header: &'a (String, String)| header.1.as_str();
        self.headers.iter().filter(named).map(value)
    }

    /// Whether there is such a header.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.all(name).next().is_some()
    }

    /// A request's target.
    pub(crate) fn target(&self) -> &str {
        self.first_line.split(' ').nth(1).unwrap_or_default()
    }

    /// A response's status.
    pub(crate) fn status(&self) -> u16 {
        let status = self.first_line.split(' ').nth(1);
        status
            .and_then(|status| status.parse().ok())
            .unwrap_or_else(|| panic!("no status in {:?}", self.first_line))
    }

    /// The body as text.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Bytes of a stream, with those read too many kept.
pub(crate) struct Reader<R> {
    inner: R,
    ahead: Vec<u8>,
}

impl<R: Read> Reader<R> {
    pub(crate) fn new(inner: R) -> Self {
        Self {
            inner,
            ahead: Vec::new(),
        }
    }

    pub(crate) fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// Reads more; false at the end, however it came. Fails when nothing comes at all.
    pub(crate) fn more(&mut self) -> bool {
        let mut piece = [0; 64 * 1024];
        match self.inner.read(&mut piece) {
            Ok(0) => false,
            Ok(count) => {
                self.ahead.extend_from_slice(&piece[..count]);
                true
            }
            Err(error) if is_late(&error) => {
                let ahead = String::from_utf8_lossy(&self.ahead);
                panic!("nothing more came within the deadline after {ahead:?}")
            }
            Err(_) => false,
        }
    }

    /// So many bytes, or all there were.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        while self.ahead.len() < count && self.more() {}
        let count = count.min(self.ahead.len());
        self.ahead.drain(..count).collect()
    }

    /// What is there, or comes next; empty at the end.
    pub(crate) fn some(&mut self) -> Vec<u8> {
        if self.ahead.is_empty() {
            self.more();
        }
        std::mem::take(&mut self.ahead)
    }

    /// Everything up to the end.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        while self.more() {}
        std::mem::take(&mut self.ahead)
    }

    /// A head with an empty body; `None` when the stream ends first.
    pub(crate) fn head(&mut self) -> Option<Message> {
        let mut lines = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            lines.push(line);
        }
        let mut lines = lines.into_iter();
        Some(Message {
            first_line: lines.next().unwrap_or_default(),
            headers: lines.map(|line| field(&line)).collect(),
            ..Message::default()
        })
    }

    /// The body of `message`, framed as its head says, or until the stream ends if it says nothing and `open` does.
    pub(crate) fn body(&mut self, message: &mut Message, open: bool) {
        if message.has("transfer-encoding") {
            assert_eq!(message.header("transfer-encoding"), Some("chunked"));
            assert!(!message.has("content-length"), "{:?}", message.headers);
            message.chunks = Some(0);
            message.whole = self.chunks(message).is_some();
        } else if let Some(length) = message.header("content-length") {
            let length = length.parse().expect("a length is a number");
            message.body = self.take(length);
            message.whole = message.body.len() == length;
        } else if open {
            message.body = self.rest();
            message.whole = true;
        } else {
            message.whole = true;
        }
    }

    fn chunks(&mut self, message: &mut Message) -> Option<()> {
        loop {
            let size = self.line()?;
            let size = usize::from_str_radix(&size, 16).expect("a chunk has a size");
            if size == 0 {
                break;
            }
            let data = self.take(size);
            message.body.extend_from_slice(&data);
            message.chunks = message.chunks.map(|count| count + 1);
            if data.len() < size || self.take(2) != b"\r\n" {
                return None;
            }
        }
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Some(());
            }
            message.trailers.push(field(&line));
        }
    }

    fn line(&mut self) -> Option<String> {
        let end = loop {
            match self.ahead.windows(2).position(|pair| pair == b"\r\n") {
                Some(end) => break end,
                None if self.more() => {}
                None => return None,
            }
        };
        let line: Vec<u8> = self.ahead.drain(..end + 2).take(end).collect();
        Some(line.iter().copied().map(char::from).collect())
    }
}

/// Whether a read or write ran into its deadline.
pub(crate) fn is_late(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(':').expect("a field has a name");
    (name.to_ascii_lowercase(), value.trim().to_owned())
}
