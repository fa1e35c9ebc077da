//! Services with protocols of their own: mail and databases that switch to TLS, gRPC, WebSocket, echoes; and programs whose
//! answers are JSON.

use std::convert::Infallible;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use super::{Authority, DAY, closed, page, probe, says, speaks};

/// A server of `grpc.health.v1`: `good` and `shop.Orders` are serving, `bad` is not, others are unknown.
pub(super) struct Health {
    pub(super) address: SocketAddr,
}

impl Health {
    pub(super) fn start() -> Self {
        Self::with("shop.Orders")
    }

    fn with(good: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        listener.set_nonblocking(true).expect("it can");
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.expect("a runtime").block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
                while let Ok((stream, _)) = listener.accept().await {
                    let service = service_fn(move |request| check(request, good));
                    let served = http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), service);
                    tokio::spawn(served);
                }
            });
        });
        Self { address }
    }
}

async fn check(
    request: Request<Incoming>,
    good: &str,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    let asked = request
        .into_body()
        .collect()
        .await
        .expect("a body")
        .to_bytes();
    // A prefix of five bytes, field 1, a length below 128, the name.
    let name = asked.get(7..).unwrap_or_default().to_vec();
    let name = String::from_utf8(name).expect("a name");
    let (serving, status) = match name.as_str() {
        "good" => (Some(1), "0"),
        name if name == good => (Some(1), "0"),
        "bad" => (Some(2), "0"),
        _ => (None, "5"),
    };
    let body = serving.map_or(Bytes::new(), |serving| {
        Bytes::from(vec![0, 0, 0, 0, 2, 8, serving])
    });
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    let body = Full::new(body).with_trailers(async move { Some(Ok(trailers)) });
    let response = Response::builder().header("content-type", "application/grpc");
    Ok(response.body(body).expect("a response"))
}

#[test]
fn grpc_services_fail_for_their_own_reasons() {
    for (server, reason) in [
        (Health::start().address, "ok"),
        (Health::with("another").address, "grpc_unhealthy"),
        (closed(), "connect_refused"),
        (speaks("220 mail\r\n"), "http_reset"),
    ] {
        let (found, all) = probe("orders-serve", &[("ORDERS", server.to_string())]);
        assert_eq!(found, reason, "{all}");
    }
}

/// What a server says at each step after what it has heard, and whether TLS begins then.
type Script = &'static [(&'static [u8], &'static [u8])];

/// A server that greets, follows a script, and then shakes hands.
fn switches(greeting: &'static [u8], script: Script, pair: &(String, String)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pair.0.as_bytes()).collect();
    let key = PrivateKeyDer::from_pem_slice(pair.1.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain.expect("certificates"), key)
        .expect("a configuration");
    let config = Arc::new(config);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(stream), config) = (stream, Arc::clone(&config)) else {
                continue;
            };
            // Whoever asked may go at any time.
            thread::spawn(move || drop(follow(stream, greeting, script, config)));
        }
    });
    address
}

fn follow(
    mut stream: TcpStream,
    greeting: &[u8],
    script: Script,
    config: Arc<ServerConfig>,
) -> std::io::Result<()> {
    stream.write_all(greeting)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    for (wanted, answer) in script {
        let mut heard = Vec::new();
        if wanted.ends_with(b"\n") {
            reader.read_until(b'\n', &mut heard)?;
        } else {
            heard.resize(wanted.len(), 0);
            reader.read_exact(&mut heard)?;
        }
        let fits =
            heard == *wanted || (wanted.len() < heard.len() && heard.starts_with(&wanted[..4]));
        assert!(fits, "heard {:?}", String::from_utf8_lossy(&heard));
        stream.write_all(answer)?;
    }
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    let mut tls = rustls::StreamOwned::new(connection, stream);
    let mut rest = Vec::new();
    tls.read_to_end(&mut rest).map(drop)
}

const SMTP: Script = &[
    (b"EHLO\n", b"250-mail.test\r\n250-STARTTLS\r\n250 HELP\r\n"),
    (b"STARTTLS\r\n", b"220 go ahead\r\n"),
];

const GREETING: &[u8] = b"220-mail.test\r\n220 ESMTP\r\n";

const WITHOUT: Script = &[
    (b"EHLO\n", b"250-mail.test\r\n250 HELP\r\n"),
    (b"QUIT\n", b""),
];

const EAGER: Script = &[
    (b"EHLO\n", b"250 STARTTLS\r\n"),
    (b"STARTTLS\r\n", b"220 go\r\n250 injected\r\n"),
];

const ASKED: &[u8] = &[0, 0, 0, 8, 4, 210, 22, 47];

#[test]
fn mail_and_databases_switch_to_tls_or_say_why_not() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = Authority::new("a root");
    let roots = dir.path().join("roots.pem");
    fs::write(&roots, &root.pem).expect("written");
    let mail = root.vouch("mail.example", -DAY, 80 * DAY);
    let old = root.vouch("mail.example", -80 * DAY, -DAY);
    let other = root.vouch("other.example", -DAY, 80 * DAY);
    for (server, reason) in [
        (switches(GREETING, SMTP, &mail), "ok"),
        (switches(GREETING, SMTP, &old), "tls_expired"),
        (switches(GREETING, SMTP, &other), "tls_name"),
        (switches(GREETING, EAGER, &mail), "tls_alert"),
        (switches(GREETING, WITHOUT, &mail), "assert_body"),
        (speaks("554 no room\r\n"), "assert_body"),
        (closed(), "connect_refused"),
    ] {
        let variables = [
            ("MAIL", server.to_string()),
            ("ROOTS", roots.display().to_string()),
        ];
        let (found, all) = probe("mail-encrypts", &variables);
        assert_eq!(found, reason, "{all}");
        let saw_chain = all["chain"][0]["not_after"].is_string();
        assert_eq!(
            saw_chain,
            matches!(reason, "ok" | "tls_expired" | "tls_name"),
            "{all}"
        );
    }
    for (server, reason) in [
        (switches(b"", &[(ASKED, b"S")], &mail), "ok"),
        (switches(b"", &[(ASKED, b"N")], &mail), "assert_body"),
        (closed(), "connect_refused"),
    ] {
        let (found, all) = probe("database-encrypts", &[("DATABASE", server.to_string())]);
        assert_eq!(found, reason, "{all}");
    }
}

#[test]
fn imap_pop3_and_ftp_switch_as_their_standards_say() {
    let root = Authority::new("a root");
    let pair = root.vouch("mail.example", -DAY, 80 * DAY);
    let dir = tempfile::tempdir().expect("a directory");
    for (protocol, greeting, script) in [
        (
            "imap",
            &b"* OK ready\r\n"[..],
            &[(&b"a STARTTLS\r\n"[..], &b"* 1 x\r\na OK begin\r\n"[..])][..],
        ),
        ("pop3", b"+OK ready\r\n", &[(b"STLS\r\n", b"+OK begin\r\n")]),
        (
            "ftp",
            b"220-hello\r\n220 ready\r\n",
            &[(b"AUTH TLS\r\n", b"234 begin\r\n")],
        ),
    ] {
        let server = switches(greeting, Box::leak(Box::new(script.to_vec())), &pair);
        let file = dir.path().join("a.toml");
        let text = format!(
            "[[probe]]\nname = 'a'\ntarget = 'tls://{server}'\ntimeout = '5s'\n\
             tls.starttls = '{protocol}'\ntls.insecure = true\n"
        );
        fs::write(&file, text).expect("written");
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .args(["probe", "run"])
            .arg(&file)
            .current_dir(dir.path())
            .output()
            .expect("it runs");
        assert!(output.status.success(), "{protocol}: {output:?}");
    }
}

/// A server that switches to WebSocket and answers as it is told: pings, and what is said.
fn chat(pongs: bool, answer: Option<&'static str>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || drop(chat_with(stream, pongs, answer)));
        }
    });
    address
}

fn chat_with(mut stream: TcpStream, pongs: bool, answer: Option<&str>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut key = String::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let header = line.split_once(':');
        if let Some((_, value)) =
            header.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"))
        {
            value.trim().clone_into(&mut key);
        }
        if line.trim().is_empty() {
            break;
        }
    }
    // RFC 6455, section 4.2.2.
    let both = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let digest = ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, both.as_bytes());
    let accept = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, digest);
    write!(
        stream,
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {accept}\r\n\r\n"
    )?;
    loop {
        // Short frames, masked, as clients send them.
        let mut head = [0; 6];
        reader.read_exact(&mut head)?;
        let mut data = vec![0; usize::from(head[1] & 0x7f)];
        reader.read_exact(&mut data)?;
        for (place, byte) in data.iter_mut().enumerate() {
            *byte ^= head[2 + place % 4];
        }
        let (kind, said) = match head[0] & 0x0f {
            1 => (
                1,
                answer.map_or(data.clone(), |text| text.as_bytes().to_vec()),
            ),
            9 if pongs => (10, data),
            9 => continue,
            _ => return Ok(()),
        };
        stream.write_all(&[0x80 | kind, said.len() as u8])?;
        stream.write_all(&said)?;
    }
}

#[test]
fn websockets_fail_for_their_own_reasons() {
    for (server, reason) in [
        (chat(true, None), "ok"),
        (chat(true, Some("bye")), "assert_body"),
        (chat(false, None), "websocket_refused"),
        (
            page("HTTP/1.1 404 No\r\ncontent-length: 0\r\n\r\n"),
            "websocket_refused",
        ),
        (
            says("", false, Duration::from_secs(60)),
            "http_timeout_headers",
        ),
        (closed(), "connect_refused"),
    ] {
        let (found, all) = probe("chat-answers", &[("CHAT", server.to_string())]);
        assert_eq!(found, reason, "{all}");
    }
}

#[test]
fn a_host_answers_or_the_kernel_is_in_the_way() {
    let (found, all) = probe("host-answers", &[("HOST", "127.0.0.1".to_owned())]);
    assert!(matches!(found.as_str(), "ok" | "not_permitted"), "{all}");
    if found == "ok" {
        // Reserved (RFC 1112, section 4), so nobody is there; whether a router says so is not ours.
        let (found, all) = probe("host-answers", &[("HOST", "240.0.0.1".to_owned())]);
        let expected = ["icmp_timeout", "connect_unreachable", "internal"];
        assert!(expected.contains(&found.as_str()), "{all}");
    }
}

/// An answer in JSON.
fn json(body: &str) -> SocketAddr {
    let length = body.len();
    let text = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    );
    page(text.leak())
}

#[test]
fn programs_interfaces_fail_for_their_own_reasons() {
    let fine = r#"{"status":"up","version":"1.20","checks":[{"name":"db","up":true}]}"#;
    for (server, reason) in [
        (json(fine), "ok"),
        (json(&fine.replace("\"up\",", "\"down\",")), "assert_json"),
        (json(&fine.replace("true", "false")), "assert_json"),
        (json(&fine.replace("1.20", "next")), "assert_json"),
        (json("{\"status\":"), "assert_json"),
        (json("{}"), "assert_json"),
        (
            page("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\n{}"),
            "assert_header",
        ),
        (closed(), "connect_refused"),
    ] {
        let (found, all) = probe("shop-is-healthy", &[("SHOP", format!("http://{server}"))]);
        assert_eq!(found, reason, "{all}");
    }
}

#[test]
fn a_secret_is_read_for_each_run_and_sent_to_its_own_host_only() {
    let dir = tempfile::tempdir().expect("a directory");
    let token = dir.path().join("token");
    let fine = crate::origin::Origin::ok();
    let run = |url: String| {
        let variables = [("SHOP", url), ("TOKEN_FILE", token.display().to_string())];
        probe("orders-with-a-token", &variables)
    };
    let (found, all) = run(fine.url());
    assert_eq!(found, "not_permitted", "{all}");
    for secret in ["first", "second"] {
        fs::write(&token, format!("{secret}\n")).expect("written");
        let (found, all) = run(fine.url());
        assert_eq!(found, "ok", "{all}");
        assert!(!all.to_string().contains(secret), "{all}");
    }
    let sent: Vec<_> = fine
        .requests()
        .iter()
        .map(|request| request.header("authorization").map(ToOwned::to_owned))
        .collect();
    assert_eq!(
        sent,
        [
            Some("Bearer first".to_owned()),
            Some("Bearer second".to_owned())
        ]
    );
    let refuses = page("HTTP/1.1 401 No\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(run(format!("http://{refuses}")).0, "http_status");
}
