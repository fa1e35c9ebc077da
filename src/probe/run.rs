//! One run of a probe: from nothing to a judged answer, in at most its timeout.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;

use super::definition::{Capture, Definition, Expectations, Family, HostPort, Manner, Target};
use super::journey::{self, Carried};
use super::{dns, grpc, http, icmp, tcp, websocket};
use crate::clock::{Clock, SystemClock, Tick};
use crate::model::{ProbeFailure, ProbePhase, ProbeRun, Vantage, ViewRun};
use crate::net::dns::{Kinds, LookupError, lookup};
use crate::net::examine::{self, Trust};
use crate::net::mark::MarkKey;

/// A probe, ready to run again and again.
#[derive(Clone, Debug)]
pub struct Probe {
    definition: Definition,
    /// `None` when it never speaks TLS.
    trust: Option<Trust>,
    /// Its views, in the order of the definition's.
    views: Vec<Arc<Self>>,
}

impl Probe {
    /// A probe that judges chains by `trust`, and looks from these vantages as well.
    pub(super) const fn new(
        definition: Definition,
        trust: Option<Trust>,
        views: Vec<Arc<Self>>,
    ) -> Self {
        Self {
            definition,
            trust,
            views,
        }
    }

    /// Requests and connections that one run makes at once.
    pub const fn width(&self) -> usize {
        1 + self.views.len()
    }

    /// What it is.
    pub const fn definition(&self) -> &Definition {
        &self.definition
    }

    /// Runs it once, now. With `key`, its requests carry the mark that keeps them out of users' SLIs.
    pub async fn run(&self, clock: SystemClock, key: Option<&MarkKey>) -> ProbeRun {
        self.run_until(clock, key, std::future::pending()).await
    }

    /// The same. Once `stopped` is over, a journey goes on with what cleans up after it; others just end. Its views look at
    /// the same time, each within the same timeout.
    pub async fn run_until(
        &self,
        clock: SystemClock,
        key: Option<&MarkKey>,
        stopped: impl Future<Output = ()>,
    ) -> ProbeRun {
        // Ends with this run, however that comes.
        let mut looking = JoinSet::new();
        for (place, view) in self.views.iter().enumerate() {
            let vantage = self.definition.views[place].vantage;
            // Only the proxy knows what to do with a mark; an upstream could use it.
            let key = key.filter(|_| vantage == Vantage::Ingress).cloned();
            let view = Arc::clone(view);
            looking.spawn(async move {
                let never = std::future::pending();
                (place, view.run_alone(clock, key.as_ref(), never).await)
            });
        }
        let mut run = self.run_alone(clock, key, stopped).await;
        let mut seen = Vec::with_capacity(self.views.len());
        while let Some(looked) = looking.join_next().await {
            // One that broke saw nothing.
            seen.extend(looked.ok());
        }
        seen.sort_by_key(|(place, _)| *place);
        let views = seen.into_iter().map(|(place, run)| {
            let view = &self.definition.views[place];
            ViewRun::of(view.vantage, &view.at, run)
        });
        run.views = views.collect();
        run
    }

    async fn run_alone(
        &self,
        clock: SystemClock,
        key: Option<&MarkKey>,
        stopped: impl Future<Output = ()>,
    ) -> ProbeRun {
        let definition = &self.definition;
        let began = clock.tick();
        let mut attempt = Attempt {
            name: &definition.name,
            manner: &definition.manner,
            trust: self.trust.as_ref(),
            key,
            clock,
            deadline: Instant::from_std(clock.instant(began.plus(definition.manner.timeout))),
            captures: &[],
            carried: None,
            lasted_us: None,
            seen: ProbeRun::default(),
        };
        let ended = match &definition.target {
            Target::Http(url) if !definition.steps.is_empty() => {
                journey::run(&mut attempt, url, &definition.steps, stopped).await
            }
            Target::Http(url) => http::run(&mut attempt, url).await,
            Target::Tcp(place) => tcp::run(&mut attempt, place, false).await,
            Target::Tls(place) => tcp::run(&mut attempt, place, true).await,
            Target::Dns(place) => dns::run(&mut attempt, place).await,
            Target::Grpc(place, tls) => grpc::run(&mut attempt, place, *tls).await,
            Target::WebSocket(url) => websocket::run(&mut attempt, url).await,
            Target::Icmp(host) => icmp::run(&mut attempt, host).await,
        };
        let lasted_us = attempt.lasted_us;
        let mut seen = attempt.seen;
        seen.duration_us = lasted_us.unwrap_or_else(|| clock.tick().micros_since(began));
        let expect = &definition.manner.expect;
        let ended = ended.and_then(|()| judge(expect, &seen, clock));
        let (failure, detail) = match turned(expect, ended) {
            Ok(detail) => (
                None,
                detail.unwrap_or_else(|| std::mem::take(&mut seen.detail)),
            ),
            Err(Failed { failure, detail }) => (Some(failure), detail),
        };
        (seen.failure, seen.detail) = (failure, one_line(&detail));
        seen
    }
}

/// What is expected of every kind of target once it has answered.
pub(super) fn judge(
    expect: &Expectations,
    seen: &ProbeRun,
    clock: SystemClock,
) -> Result<(), Failed> {
    if let (Some(left), Some(leaf)) = (expect.certificate_left, seen.chain.first()) {
        let least = leaf.lifetime_ms() as i64 / 1_000 * i64::from(left);
        let is = leaf.left_ms(clock.now());
        if is < least {
            let share = is as f64 / leaf.lifetime_ms() as f64 * 100.0;
            let detail = format!(
                "{share:.1} % of the certificate's life is left, expected at least {} %; it ends {}",
                f64::from(left) / 10.0,
                leaf.not_after
            );
            return Err(Failed::new(ProbeFailure::AssertCertificate, detail));
        }
    }
    match expect.under {
        Some(under) if u128::from(seen.duration_us) > under.as_micros() => {
            let detail = format!(
                "it took {:.1} ms, expected at most {:.1} ms",
                seen.duration_us as f64 / 1_000.0,
                under.as_secs_f64() * 1_000.0
            );
            Err(Failed::new(ProbeFailure::AssertLatency, detail))
        }
        Some(_) | None => Ok(()),
    }
}

/// A negative test is well when it fails as it should; then with a word of how.
pub(super) fn turned(
    expect: &Expectations,
    ended: Result<(), Failed>,
) -> Result<Option<String>, Failed> {
    match (expect.failure, ended) {
        (None, ended) => ended.map(|()| None),
        (Some(wanted), Err(Failed { failure, detail })) if wanted == failure => Ok(Some(format!(
            "failed as expected, {}: {detail}",
            failure.as_str()
        ))),
        (Some(_), Err(failed)) => Err(failed),
        (Some(wanted), Ok(())) => {
            let detail = format!("it succeeded, expected {}", wanted.as_str());
            Err(Failed::new(ProbeFailure::AssertFailure, detail))
        }
    }
}

/// A run that has come to its end early.
#[derive(Debug)]
pub(super) struct Failed {
    failure: ProbeFailure,
    detail: String,
}

impl Failed {
    pub(super) fn new(failure: ProbeFailure, detail: impl Into<String>) -> Self {
        Self {
            failure,
            detail: detail.into(),
        }
    }

    pub(super) const fn failure(&self) -> ProbeFailure {
        self.failure
    }

    /// The same in other words.
    pub(super) fn said(self, words: impl FnOnce(String) -> String) -> Self {
        Self {
            detail: words(self.detail),
            ..self
        }
    }

    /// The same, said to have happened in a part of the whole.
    pub(super) fn within(self, part: &str) -> Self {
        Self {
            detail: format!("{part}: {}", self.detail),
            ..self
        }
    }
}

/// A run under way.
pub(super) struct Attempt<'a> {
    pub(super) name: &'a str,
    pub(super) manner: &'a Manner,
    trust: Option<&'a Trust>,
    pub(super) key: Option<&'a MarkKey>,
    pub(super) clock: SystemClock,
    deadline: Instant,
    /// What is to be taken out of the answer.
    pub(super) captures: &'a [Capture],
    /// What the steps of a journey leave to one another; `None`: it is none.
    pub(super) carried: Option<&'a mut Carried>,
    /// How long it took, when that is not until its end, in microseconds.
    pub(super) lasted_us: Option<u64>,
    pub(super) seen: ProbeRun,
}

impl<'a> Attempt<'a> {
    /// One request of this journey, within its time.
    pub(super) fn within<'b>(
        &self,
        manner: &'b Manner,
        captures: &'b [Capture],
        carried: &'b mut Carried,
    ) -> Attempt<'b>
    where
        'a: 'b,
    {
        Attempt {
            name: self.name,
            manner,
            trust: self.trust,
            key: self.key,
            clock: self.clock,
            deadline: self.deadline,
            captures,
            carried: Some(carried),
            lasted_us: None,
            seen: ProbeRun::default(),
        }
    }

    /// Has the whole timeout before it again.
    pub(super) fn begin_anew(&mut self) {
        let end = self.clock.tick().plus(self.manner.timeout);
        self.deadline = Instant::from_std(self.clock.instant(end));
    }
    /// Waits for a part of the run. Its time is kept also when it fails or the run's time is over.
    pub(super) async fn phase<T, E>(
        &mut self,
        phase: ProbePhase,
        late: ProbeFailure,
        work: impl Future<Output = Result<T, E>>,
        failed: impl FnOnce(E) -> Failed,
    ) -> Result<T, Failed> {
        let began = self.clock.tick();
        let done = tokio::time::timeout_at(self.deadline, work).await;
        self.spend(phase, began);
        match done {
            Ok(done) => done.map_err(failed),
            Err(_over) => {
                let detail = format!(
                    "no end of `{}` within the timeout of {}",
                    phase.as_str(),
                    humantime::format_duration(self.manner.timeout)
                );
                Err(Failed::new(late, detail))
            }
        }
    }

    fn spend(&mut self, phase: ProbePhase, began: Tick) {
        let spent = self.clock.tick().micros_since(began);
        *self.seen.phases[phase.index()].get_or_insert(0) += spent;
    }

    /// Resolves and connects. Of several addresses it takes the first of the wanted family: a probe that tried them all
    /// would not notice that one is dead.
    pub(super) async fn connect(
        &mut self,
        place: &HostPort,
        instead: Option<SocketAddr>,
    ) -> Result<TcpStream, Failed> {
        let address = self.locate(place, instead).await?;
        let source = self.manner.source;
        let connected = self
            .phase(
                ProbePhase::Connect,
                ProbeFailure::ConnectTimeout,
                dial(address, source),
                |error| Failed::new(connect_failure(&error), format!("{address}: {error}")),
            )
            .await?;
        // A small request is two writes, which must not wait for each other's acknowledgement. Without it, it is only
        // slower.
        connected.set_nodelay(true).unwrap_or_default();
        Ok(connected)
    }

    /// Where `place` is.
    pub(super) async fn locate(
        &mut self,
        place: &HostPort,
        instead: Option<SocketAddr>,
    ) -> Result<SocketAddr, Failed> {
        let address = match (instead, place.host.parse::<IpAddr>()) {
            (Some(address), _) => address,
            (None, Ok(ip)) => SocketAddr::new(ip, place.port),
            (None, Err(_)) => self.resolve(place).await?,
        };
        self.seen.address = Some(address.to_string());
        Ok(address)
    }

    async fn resolve(&mut self, place: &HostPort) -> Result<SocketAddr, Failed> {
        let HostPort { host, port } = place;
        let addresses: Vec<SocketAddr> = if let Some(resolver) = self.manner.resolver {
            self.ask_for(resolver, place).await?
        } else {
            let looking = tokio::net::lookup_host((host.as_str(), *port));
            let looked_up = self
                .phase(
                    ProbePhase::Resolve,
                    ProbeFailure::DnsTimeout,
                    looking,
                    |error| Failed::new(dns_failure(&error), format!("{host}: {error}")),
                )
                .await?;
            looked_up.collect()
        };
        let is = |v4: bool| addresses.iter().find(|address| address.is_ipv4() == v4);
        let found = match self.manner.family {
            Family::Any => addresses.first(),
            Family::V4 => is(true),
            Family::V6 => is(false),
            Family::PreferV4 => is(true).or_else(|| is(false)),
            Family::PreferV6 => is(false).or_else(|| is(true)),
        };
        found.copied().ok_or_else(|| {
            let detail = format!("{host} has no address of the wanted family");
            Failed::new(ProbeFailure::DnsNxdomain, detail)
        })
    }

    /// The addresses of `place` as `resolver` gives them.
    async fn ask_for(
        &mut self,
        resolver: SocketAddr,
        HostPort { host, port }: &HostPort,
    ) -> Result<Vec<SocketAddr>, Failed> {
        let kinds = match self.manner.family {
            Family::V4 => Kinds::V4,
            Family::V6 => Kinds::V6,
            Family::Any | Family::PreferV4 | Family::PreferV6 => Kinds::Any,
        };
        let failed = |error: LookupError| {
            let failure = match &error {
                LookupError::Nxdomain | LookupError::Nameless => ProbeFailure::DnsNxdomain,
                LookupError::Refused(_) | LookupError::Io(_) => ProbeFailure::DnsServfail,
            };
            Failed::new(failure, format!("{host}, asked of {resolver}: {error}"))
        };
        let looked = self
            .phase(
                ProbePhase::Resolve,
                ProbeFailure::DnsTimeout,
                lookup(resolver, host, kinds),
                failed,
            )
            .await?;
        let addresses = looked.addresses.into_iter();
        Ok(addresses
            .map(|(ip, _)| SocketAddr::new(ip, *port))
            .collect())
    }

    /// Shakes hands. The chain is kept whether or not it is trusted.
    pub(super) async fn handshake(
        &mut self,
        tcp: TcpStream,
        place: &HostPort,
        alpn: &[&[u8]],
    ) -> Result<TlsStream<TcpStream>, Failed> {
        let settings = &self.manner.tls;
        let name = settings.server_name.as_ref().unwrap_or(&place.host);
        let Ok(server_name) = ServerName::try_from(name.clone()) else {
            let detail = format!("{name} is not a name that TLS can verify");
            return Err(Failed::new(ProbeFailure::TlsName, detail));
        };
        let Some(trust) = self.trust else {
            // `prepare` loads them wherever this can be reached.
            return Err(Failed::new(ProbeFailure::Internal, "no roots were loaded"));
        };
        let examining = async { Ok::<_, Failed>(trust.examine(tcp, server_name, alpn).await) };
        let examined = self
            .phase(
                ProbePhase::Tls,
                ProbeFailure::TlsTimeout,
                examining,
                |error| error,
            )
            .await?;
        self.seen.chain = examined.chain;
        self.seen.verified_until = examined.verified_until;
        let stream = examined.shaken.map_err(|error| {
            let failure = examine::failure(&error, &self.seen.chain);
            Failed::new(failure, error.to_string())
        })?;
        self.seen.encrypted = true;
        let (_, session) = stream.get_ref();
        self.seen.tls_version = session.protocol_version().map(|version| match version {
            rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2".to_owned(),
            rustls::ProtocolVersion::TLSv1_3 => "TLSv1.3".to_owned(),
            other => format!("{other:?}"),
        });
        self.seen.tls_cipher = session
            .negotiated_cipher_suite()
            .and_then(|suite| suite.suite().as_str())
            .map(ToOwned::to_owned);
        Ok(stream)
    }
}

async fn dial(address: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(source) = source else {
        return TcpStream::connect(address).await;
    };
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(address).await
}

pub(super) fn connect_failure(error: &io::Error) -> ProbeFailure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => ProbeFailure::ConnectRefused,
        // The kernel's own patience ended before ours.
        io::ErrorKind::TimedOut => ProbeFailure::ConnectTimeout,
        _ => match error
            .raw_os_error()
            .map(rustix::io::Errno::from_raw_os_error)
        {
            // Nothing is wrong with the target.
            Some(
                rustix::io::Errno::MFILE
                | rustix::io::Errno::NFILE
                | rustix::io::Errno::NOBUFS
                | rustix::io::Errno::NOMEM
                | rustix::io::Errno::ADDRNOTAVAIL
                | rustix::io::Errno::INVAL,
            ) => ProbeFailure::Internal,
            _ => ProbeFailure::ConnectUnreachable,
        },
    }
}

/// The C library's resolver tells a name that is not there from trouble by its text alone (`gai_strerror`).
fn dns_failure(error: &io::Error) -> ProbeFailure {
    let text = error.to_string();
    if text.contains("Name or service not known") || text.contains("No address associated") {
        ProbeFailure::DnsNxdomain
    } else {
        ProbeFailure::DnsServfail
    }
}

/// Characters of a detail.
const LONGEST_DETAIL: usize = 400;

fn one_line(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(LONGEST_DETAIL).collect()
}

/// What is left of a run's time; zero when it is over.
impl Attempt<'_> {
    pub(super) fn left(&self) -> Duration {
        self.deadline
            .saturating_duration_since(Instant::from_std(self.clock.instant(self.clock.tick())))
    }
}
