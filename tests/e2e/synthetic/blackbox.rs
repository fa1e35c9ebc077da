//! `/probe` beside the real `blackbox_exporter`: what that answers, we answer, and more where it goes blind.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::resolvers::Named;
use super::services::Health;
use super::{Authority, DAY, Server, closed, page, speaks};
use crate::daemon::until;
use crate::harness::{Home, fetched, skip};
use crate::origin::Origin;

/// A process that goes with its test.
pub(super) struct Process(pub(super) Child);

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A port that was free a moment ago.
pub(super) fn free() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

/// The original with this file of modules: the one that is installed, or a newer one. `None` when it is not there.
fn original(program: &Path, file: &Path) -> Option<(Process, SocketAddr)> {
    let address = free();
    let child = Command::new(program)
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--web.listen-address={address}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let process = Process(child);
    until("blackbox_exporter", || TcpStream::connect(address).ok());
    Some((process, address))
}

/// `vestibule probe serve` with the files of a directory.
fn ours(dir: &Path) -> (Process, SocketAddr) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_vestibule"))
        .args(["probe", "serve", "--listen", "127.0.0.1:0", "--dir"])
        .arg(dir)
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .expect("it starts");
    let mut line = String::new();
    let out = child.stdout.as_mut().expect("piped");
    BufReader::new(out).read_line(&mut line).expect("a line");
    let address = line
        .split("http://")
        .nth(1)
        .and_then(|rest| rest.split('/').next());
    let address = address.and_then(|text| text.parse().ok());
    (
        Process(child),
        address.unwrap_or_else(|| panic!("no address in {line:?}")),
    )
}

/// Asks for a page; gives its status and its body.
fn get(address: SocketAddr, path: &str, header: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request =
        format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n{header}connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("it hears");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
    let body = if head
        .to_ascii_lowercase()
        .contains("transfer-encoding: chunked")
    {
        // Chunks of text: every second line is a length.
        let mut whole = String::new();
        let mut rest = body;
        while let Some((length, chunk)) = rest.split_once("\r\n") {
            let length = usize::from_str_radix(length, 16).expect("a length");
            let (text, after) = chunk.split_at(length);
            whole.push_str(text);
            rest = after.trim_start_matches("\r\n");
            if length == 0 {
                break;
            }
        }
        whole
    } else {
        body.to_owned()
    };
    (status.expect("a status"), body)
}

/// The samples of a page: name and labels, and the value.
fn samples(page: &str) -> Vec<(String, BTreeMap<String, String>, f64)> {
    page.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').expect("a value");
            let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
            let labels = labels.trim_end_matches('}');
            // No label of these pages has a quote and a comma beside each other in its value.
            let pairs = labels.split("\",").filter(|pair| !pair.is_empty());
            let labels = pairs.map(|pair| {
                let (name, value) = pair.split_once("=\"").expect("a label");
                (name.to_owned(), value.trim_end_matches('"').to_owned())
            });
            (
                name.to_owned(),
                labels.collect(),
                value.parse().expect("a number"),
            )
        })
        .collect()
}

/// Series whose values must be the same, not only their names and labels. Times cannot be.
const SAME: [&str; 21] = [
    "probe_success",
    "probe_ip_protocol",
    "probe_ip_addr_hash",
    "probe_failed_due_to_regex",
    "probe_http_status_code",
    "probe_http_content_length",
    "probe_http_uncompressed_body_length",
    "probe_http_redirects",
    "probe_http_ssl",
    "probe_http_last_modified_timestamp_seconds",
    "probe_ssl_earliest_cert_expiry",
    "probe_ssl_last_chain_expiry_timestamp_seconds",
    "probe_ssl_last_chain_info",
    "probe_tls_version_info",
    "probe_dns_answer_rrs",
    "probe_dns_authority_rrs",
    "probe_dns_additional_rrs",
    "probe_dns_query_succeeded",
    "probe_dns_serial",
    "probe_grpc_healthcheck_response",
    "probe_icmp_reply_hop_limit",
];

/// What `theirs` has and `ours` has not.
fn lacking(theirs: &str, ours: &str) -> Vec<String> {
    let ours = samples(ours);
    let lacking = samples(theirs).into_iter().filter(|(name, labels, value)| {
        // A time of the year 1, or of 1970, says that there is none.
        let is_time = name.ends_with("timestamp_seconds") || name.ends_with("cert_expiry");
        if *value <= 0.0 && is_time {
            return false;
        }
        // It counts the redirect that it did not follow as well.
        let room = if name == "probe_http_redirects" {
            1.5
        } else {
            0.5
        };
        !ours.iter().any(|(our_name, our_labels, our_value)| {
            let same_labels = labels.iter().all(|(label, text)| {
                let ours = our_labels.get(label);
                match label.as_str() {
                    // Which suite is chosen is each client's own preference.
                    "cipher" => ours.is_some(),
                    // Version 0.23 leaves out a zero at the beginning.
                    "serialnumber" => {
                        let number = |text: &String| text.trim_start_matches('0').to_owned();
                        ours.map(number) == Some(number(text))
                    }
                    _ => ours == Some(text),
                }
            });
            let same = !SAME.contains(&name.as_str()) || (our_value - value).abs() < room;
            our_name == name && same_labels && same
        })
    });
    lacking.map(|sample| format!("{sample:?}")).collect()
}

const LAST_MODIFIED: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\nx-a: one\r\n\
                             last-modified: Mon, 02 Nov 2026 10:00:00 GMT\r\ncontent-length: 6\r\n\r\n<html>";

#[test]
fn whatever_blackbox_exporter_says_is_said_with_the_same_names_and_labels() {
    let dir = tempfile::tempdir().expect("a directory");
    let root = Authority::new("a root");
    let between = root.below("an intermediate");
    fs::write(dir.path().join("roots.pem"), &root.pem).expect("written");
    let roots = dir.path().join("roots.pem");
    let file = dir.path().join("blackbox.yml");
    let ca = format!(
        "tls_config: {{ca_file: {}, server_name: shop.example}}",
        roots.display()
    );
    let modules = format!(
        "modules:\n\
         \x20 plain: {{prober: http}}\n\
         \x20 post: {{prober: http, http: {{method: POST, body: x, headers: {{X-A: b}}, preferred_ip_protocol: ip4}}}}\n\
         \x20 stays: {{prober: http, http: {{follow_redirects: false, valid_status_codes: [301]}}}}\n\
         \x20 has: {{prober: http, http: {{fail_if_body_not_matches_regexp: ['<html']}}}}\n\
         \x20 lacks: {{prober: http, http: {{fail_if_body_matches_regexp: ['\\Q<html\\E']}}}}\n\
         \x20 header: {{prober: http, http: {{fail_if_header_not_matches: [{{header: x-a, regexp: two}}]}}}}\n\
         \x20 encrypted: {{prober: http, http: {{fail_if_not_ssl: true}}}}\n\
         \x20 old: {{prober: http, http: {{valid_http_versions: ['HTTP/2.0']}}}}\n\
         \x20 https: {{prober: http, http: {{{ca}}}}}\n\
         \x20 insecure: {{prober: http, http: {{tls_config: {{insecure_skip_verify: true}}}}}}\n\
         \x20 tcp: {{prober: tcp}}\n\
         \x20 banner: {{prober: tcp, timeout: 5s, tcp: {{query_response: [{{expect: '^220 (.*)', send: 'HELO ${{1}}'}}]}}}}\n\
         \x20 tls: {{prober: tcp, tcp: {{tls: true, {ca}}}}}\n\
         \x20 icmp: {{prober: icmp}}\n\
         \x20 dns: {{prober: dns, timeout: 2s, dns: {{query_name: shop.example, query_type: A}}}}\n\
         \x20 serial: {{prober: dns, timeout: 2s, dns: {{query_name: shop.example, query_type: SOA}}}}\n\
         \x20 stream: {{prober: dns, timeout: 2s, dns: {{query_name: shop.example, query_type: A, transport_protocol: tcp}}}}\n\
         \x20 login: {{prober: http, http: {{basic_auth: {{username: me, password: secret}}}}}}\n\
         \x20 grpc: {{prober: grpc, timeout: 5s, grpc: {{service: good}}}}\n\
         \x20 grpc_bad: {{prober: grpc, timeout: 5s, grpc: {{service: bad}}}}\n"
    );
    fs::write(&file, modules).expect("written");
    let installed = Path::new("prometheus-blackbox-exporter");
    let mut originals: Vec<_> = original(installed, &file).into_iter().collect();
    if originals.is_empty() {
        skip("prometheus-blackbox-exporter is not installed");
    }
    match fetched("blackbox-exporter-new") {
        Some(newer) => originals.extend(original(&newer, &file)),
        None => skip("blackbox-exporter-new is not installed"),
    }
    let Some((_, theirs)) = originals.first() else {
        return;
    };
    let theirs = *theirs;
    let imported = Command::new(env!("CARGO_BIN_EXE_vestibule"))
        .args(["probe", "import"])
        .arg(&file)
        .output()
        .expect("it runs");
    assert!(imported.status.success(), "{imported:?}");
    let probes = dir.path().join("probes");
    fs::create_dir(&probes).expect("made");
    fs::write(probes.join("modules.toml"), imported.stdout).expect("written");
    let (_ours, ours) = ours(&probes);
    let whole = |(leaf, key): (String, String)| (format!("{leaf}{}", between.pem), key);
    let (chain, key) = whole(between.vouch("shop.example", -DAY, 80 * DAY));
    let good = Server::start(dir.path(), &chain, &key);
    let (chain, key) = whole(between.vouch("shop.example", -90 * DAY, -DAY));
    let expired = Server::start(dir.path(), &chain, &key);
    let html = page(LAST_MODIFIED);
    let moved = page("HTTP/1.1 301 Moved\r\nlocation: /again\r\ncontent-length: 0\r\n\r\n");
    let greets = speaks("220 mail.test\r\n");
    let mut differences = Vec::new();
    let health = Health::start();
    let zones = dir.path().join("zones");
    fs::create_dir(&zones).expect("made");
    let named = Named::start(&zones, "@ IN A 192.0.2.1\n");
    if named.is_none() {
        skip("named is not installed");
    }
    let zone = named.as_ref().map_or_else(free, |named| named.address);
    for (module, target) in [
        ("plain", format!("http://{html}/")),
        ("plain", format!("{html}")),
        ("plain", format!("http://{moved}/")),
        (
            "plain",
            format!(
                "http://{}/",
                page("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n")
            ),
        ),
        ("plain", format!("http://{}/", closed())),
        ("plain", "http://no-such-host.invalid/".to_owned()),
        ("plain", format!("http://{greets}/")),
        ("post", format!("http://{html}/")),
        ("stays", format!("http://{moved}/")),
        ("has", format!("http://{html}/")),
        ("lacks", format!("http://{html}/")),
        ("header", format!("http://{html}/")),
        ("encrypted", format!("http://{html}/")),
        ("old", format!("http://{html}/")),
        ("https", format!("https://{}/", good.address)),
        ("https", format!("https://{}/", expired.address)),
        ("plain", format!("https://{}/", good.address)),
        ("insecure", format!("https://{}/", expired.address)),
        ("tcp", html.to_string()),
        ("tcp", closed().to_string()),
        ("banner", greets.to_string()),
        ("banner", speaks("nothing\r\n").to_string()),
        ("tls", good.address.clone()),
        ("tls", expired.address.clone()),
        ("icmp", "127.0.0.1".to_owned()),
        ("dns", free().to_string()),
        ("dns", zone.to_string()),
        ("serial", zone.to_string()),
        ("stream", zone.to_string()),
        ("login", format!("http://{html}/")),
        ("grpc", health.address.to_string()),
        ("grpc_bad", health.address.to_string()),
    ] {
        let path = format!("/probe?module={module}&target={target}");
        for (place, (_, theirs)) in originals.iter().enumerate() {
            let (code, expected) = get(*theirs, &path, "");
            let (our_code, found) = get(ours, &path, "");
            assert_eq!((code, our_code), (200, 200), "{path}: {found}");
            let mut lacking = lacking(&expected, &found);
            if target.starts_with("https") {
                // This server's page tells about the connection, which is another one each time.
                lacking.retain(|sample| !sample.contains("body_length"));
            }
            if !lacking.is_empty() {
                differences.push(format!("original {place}, {path}: {lacking:?}"));
            }
        }
    }
    assert_eq!(differences, Vec::<String>::new());
    // Where it goes blind.
    let path = format!("/probe?module=https&target=https://{}/", expired.address);
    let (_, found) = get(ours, &path, "");
    for wanted in [
        "probe_failure_info{reason=\"tls_expired\"} 1",
        "probe_cert_not_before_seconds ",
        "probe_cert_not_after_seconds{position=\"1\"} ",
        "probe_cert_name_match 1",
        "probe_phase_seconds{phase=\"tls\"} ",
    ] {
        assert!(found.contains(wanted), "{wanted} is not in\n{found}");
    }
    for question in [
        "module=nope&target=a",
        "module=plain",
        "module=plain&target=",
    ] {
        let path = format!("/probe?{question}");
        assert_eq!(
            (get(theirs, &path, "").0, get(ours, &path, "").0),
            (400, 400),
            "{question}"
        );
    }
}

/// What the examples of the original's documentation have that there is nothing like here. Each of their modules is there all the same,
/// but for the one that asks a socket of the file system.
const LEFT_OUT: [&str; 15] = [
    "http_2xx_oauth_client_credentials: http.oauth2",
    "http_3xx: http.enable_http3",
    "http_3xx: http.valid_http_versions",
    "http_gzip: http.compression",
    "http_gzip_with_accept_encoding: http.compression",
    "http_json_cel_match: http.fail_if_body_json_not_matches_cel",
    "http_post_body_file: http.body_file",
    "http_with_header_from_files: http.http_headers.X-API-Key.files",
    "http_with_proxy: http.proxy_url",
    "http_with_proxy: http.skip_resolve_phase_with_proxy",
    "http_with_proxy_and_headers: http.proxy_connect_header",
    "http_with_proxy_and_headers: http.proxy_url",
    "icmp_ttl5: icmp.ttl",
    "ssh_banner_extract: tcp.query_response.labels",
    "unix_socket_ping: all of it",
];

#[test]
fn the_examples_of_the_original_are_imported_and_what_is_left_out_is_said() {
    let Some(examples) = fetched("blackbox-examples") else {
        skip("blackbox-exporter-new is not installed");
        return;
    };
    let (mut all, mut imported, mut left) = (0, 0, Vec::new());
    for file in ["blackbox.yml", "example.yml"] {
        let path = examples.join(file);
        let text = fs::read_to_string(&path).expect("it was fetched");
        all += text.matches("\n    prober: ").count();
        let output = Command::new(env!("CARGO_BIN_EXE_vestibule"))
            .args(["probe", "import"])
            .arg(&path)
            .output()
            .expect("it runs");
        let toml = String::from_utf8(output.stdout).expect("a text");
        assert_eq!(
            output.status.code(),
            Some(1),
            "it says what is missing: {toml}"
        );
        imported += toml.matches("[[module]]\n").count();
        let lines = toml
            .lines()
            .filter_map(|line| line.strip_prefix("# not carried over: module "));
        left.extend(lines.filter_map(|line| Some(line.rsplit_once(": ")?.0.to_owned())));
    }
    left.sort();
    assert_eq!(left, LEFT_OUT);
    assert_eq!((all, imported), (38, 37));
}

#[test]
fn a_daemon_answers_for_its_modules_within_the_time_of_the_scrape() {
    let origin = Origin::ok();
    let hangs = super::says("", false, std::time::Duration::from_secs(60));
    let home = Home::new(&format!(
        "proxy.workers = 1\nprobes.dir = 'synthetic'\n{}\
         [[listener]]\nname = 'http'\naddress = '127.0.0.1:0'\n",
        crate::daemon::one_route(&[origin.url()])
    ));
    fs::create_dir(home.path("synthetic")).expect("made");
    let secret = "Authorization: Bearer hunter2";
    let file =
        format!("[[module]]\nname = 'with_secret'\nprober = 'http'\nhttp.headers = ['{secret}']\n");
    fs::write(home.path("synthetic/a.toml"), file).expect("written");
    let daemon = home.run();
    let url = origin.url();
    let line = format!("GET /probe?module=with_secret&target={url}&debug=true");
    let answer = daemon.ask(&line);
    let found = answer.text();
    assert_eq!(answer.status, 200, "{found}");
    assert!(
        found.contains("probe_success 1") && !found.contains("hunter2"),
        "{found}"
    );
    for block in [
        "Logs for the probe:",
        "Metrics that would have been returned:",
        "Module configuration:",
    ] {
        assert!(found.contains(block), "{block} is not in\n{found}");
    }
    let sent = origin.request();
    assert_eq!(sent.header("authorization"), Some("Bearer hunter2"));
    // The module that needs no file, against something that hangs.
    let line = format!("GET /probe?target=http://{hangs}/");
    let timeout = "x-prometheus-scrape-timeout-seconds: 1.5";
    let answer = daemon.try_ask(&line, &[timeout], b"").expect("it answers");
    let found = answer.text();
    assert!(found.contains("reason=\"http_timeout_headers\""), "{found}");
    let took = samples(&found)
        .into_iter()
        .find(|(name, ..)| name == "probe_duration_seconds");
    let took = took.expect("a duration").2;
    assert!((0.9..1.4).contains(&took), "{took}");
}
