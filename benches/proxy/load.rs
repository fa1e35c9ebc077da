//! The load generators.

use std::process::Command;

use super::peer::Peer;

/// What is asked of a proxy.
pub(crate) struct Load {
    pub(crate) tool: Tool,
    pub(crate) tls: bool,
    pub(crate) path: &'static str,
}

/// Who asks, and how.
#[derive(Clone, Copy)]
pub(crate) enum Tool {
    /// HTTP/1.1; `close` opens a new connection for each request.
    Wrk { connections: u32, close: bool },
    /// HTTP/2.
    H2load { connections: u32, streams: u32 },
}

/// What a browser sends along.
const HEADERS: [&str; 5] = [
    "User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Accept-Language: en-US,en;q=0.5",
    "Accept-Encoding: gzip, deflate, br",
    "Cookie: session=0123456789abcdef0123456789abcdef; theme=dark",
];

impl Load {
    pub(crate) fn program(&self) -> &'static str {
        match self.tool {
            Tool::Wrk { .. } => "wrk",
            Tool::H2load { .. } => "h2load",
        }
    }

    /// Puts load on a peer for so long; gives the number of requests answered.
    pub(crate) fn run(&self, peer: &Peer, seconds: u64) -> u64 {
        let (scheme, port) = if self.tls {
            ("https", peer.tls)
        } else {
            ("http", peer.plain)
        };
        // By name: the certificate is chosen by it.
        let url = format!("{scheme}://localhost:{port}{}", self.path);
        let mut command = Command::new(self.program());
        for header in HEADERS {
            command.args(["-H", header]);
        }
        match self.tool {
            Tool::Wrk { connections, close } => {
                if close {
                    command.args(["-H", "Connection: close"]);
                }
                command.args(["-t1", &format!("-c{connections}"), &format!("-d{seconds}s")]);
            }
            Tool::H2load {
                connections,
                streams,
            } => {
                command.args(["-t1", "-c", &connections.to_string()]);
                command.args(["-m", &streams.to_string(), "-D", &seconds.to_string()]);
            }
        }
        let output = command.arg(url).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let answered = match self.tool {
            Tool::Wrk { .. } => answered_to_wrk(&text),
            Tool::H2load { .. } => answered_to_h2load(&text),
        };
        answered.unwrap_or_else(|| panic!("{} against {}: {text}", self.program(), peer.name))
    }
}

/// `  123 requests in 3.00s, 1.20MB read`; none when some were answered with an error.
fn answered_to_wrk(text: &str) -> Option<u64> {
    if text.contains("Non-2xx") {
        return None;
    }
    let line = text.lines().find(|line| line.contains(" requests in "))?;
    line.split_whitespace().next()?.parse().ok()
}

/// `requests: 123 total, 123 started, 123 done, 123 succeeded, 0 failed, 0 errored, 0 timeout`; none when some failed.
fn answered_to_h2load(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("requests: "))?;
    let count = |what: &str| -> Option<u64> {
        let item = line.split(", ").find(|item| item.ends_with(what))?;
        item.split(' ').next()?.parse().ok()
    };
    let succeeded = count("succeeded")?;
    (count("failed")? == 0 && succeeded > 0).then_some(succeeded)
}
