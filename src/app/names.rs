//! Where the names of endpoints lead.
//!
//! Each connection looks its name up by itself; here the same question is asked now and then, for people: when a service
//! cannot be reached, the first thing to know is which address its name gave. A name that suddenly leads to none of the
//! addresses it led to lately is an event on the change rail. One that takes turns among its addresses is not.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};

use crate::config::Resolved;
use crate::model::{Event, EventKind, Scope, Timestamp};
use crate::names::{MOST_NAMES, Name, Plan, Use};
use crate::probe::definition::Target;
use crate::routing::pattern::HostPattern;

/// From one round to the next.
const EVERY: Duration = Duration::from_secs(15);
/// For one name: a resolver that hangs must not hold up the others.
const PATIENCE: Duration = Duration::from_secs(5);
/// Names that are looked up at most.
const MOST: usize = 1_000;
/// Names that are looked up at once, and threads that look-ups may keep: the system's resolver cannot be told to give up, so
/// one that hangs keeps its thread until it ends.
const AT_ONCE: usize = 16;
/// Addresses that are remembered of a name, the newest.
const REMEMBERED: usize = 64;

/// What one round found: each name with its addresses, none when it does not resolve; `None`: nothing was learned of it.
pub(super) type Looked = Vec<(String, Option<BTreeSet<IpAddr>>)>;

/// How names are looked up.
#[derive(Clone)]
struct Looking {
    /// A permit for each thread that a look-up keeps, also one that nobody waits for any more.
    threads: Arc<Semaphore>,
    patience: Duration,
    resolve: fn(&str) -> io::Result<BTreeSet<IpAddr>>,
}

fn resolve(name: &str) -> io::Result<BTreeSet<IpAddr>> {
    let addresses = (name, 0).to_socket_addrs()?;
    Ok(addresses.map(|address| address.ip()).collect())
}

/// Looks up and tells, until nobody listens any more. New names are looked up at once.
pub(super) async fn run(mut names: watch::Receiver<BTreeSet<String>>, tell: mpsc::Sender<Looked>) {
    let looking = Looking {
        threads: Arc::new(Semaphore::new(AT_ONCE)),
        patience: PATIENCE,
        resolve,
    };
    loop {
        let wanted = names.borrow_and_update().clone();
        let looked = look(&looking, wanted).await;
        if tell.send(looked).await.is_err() {
            return;
        }
        if let Ok(Err(_gone)) = tokio::time::timeout(EVERY, names.changed()).await {
            return;
        }
    }
}

/// The names of a configuration's endpoints; addresses are none.
pub(super) fn wanted(resolved: &Resolved) -> BTreeSet<String> {
    let endpoints = resolved.proxy.upstreams.iter().flat_map(|it| &it.endpoints);
    let names = endpoints.filter(|endpoint| endpoint.host.parse::<IpAddr>().is_err());
    names
        .map(|endpoint| endpoint.host.clone())
        .take(MOST)
        .collect()
}

/// The names that name servers are asked for: of routes, of upstreams and of probes. A pattern is none.
pub(super) fn plan(resolved: &Resolved) -> Plan {
    let mut uses: BTreeMap<String, Vec<Use>> = BTreeMap::new();
    let mut add = |host: &str, by: Use| {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        if host.parse::<IpAddr>().is_err() && (uses.contains_key(&host) || uses.len() < MOST_NAMES)
        {
            uses.entry(host).or_default().push(by);
        }
    };
    for route in &resolved.proxy.routes {
        for host in &route.hosts {
            if let HostPattern::Exact(host) = host {
                add(host, Use::Route(route.id.clone()));
            }
        }
    }
    for upstream in &resolved.proxy.upstreams {
        for endpoint in &upstream.endpoints {
            add(&endpoint.host, Use::Upstream(upstream.name.clone()));
        }
    }
    for probe in &resolved.probes.definitions {
        let host = match &probe.target {
            Target::Http(url) | Target::WebSocket(url) => &url.place.host,
            Target::Tcp(place)
            | Target::Tls(place)
            | Target::Dns(place)
            | Target::Grpc(place, _) => &place.host,
            Target::Icmp(host) => host,
        };
        // One that connects elsewhere asks nobody where that is.
        if probe.manner.connect_to.is_none() {
            add(host, Use::Probe(probe.name.clone()));
        }
    }
    let names = uses.into_iter().map(|(name, mut uses)| {
        uses.sort();
        uses.dedup();
        Name { name, uses }
    });
    Plan {
        names: if resolved.names.enabled {
            names.collect()
        } else {
            Vec::new()
        },
        config: resolved.names.clone(),
    }
}

async fn look(looking: &Looking, names: BTreeSet<String>) -> Looked {
    let mut looked = Vec::with_capacity(names.len());
    let mut waiting = names.into_iter();
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        while tasks.len() < AT_ONCE {
            let Some(name) = waiting.next() else { break };
            tasks.spawn(look_up(looking.clone(), name));
        }
        match tasks.join_next().await {
            Some(Ok(found)) => looked.push(found),
            // A name whose look-up panicked is one that nothing is known of.
            Some(Err(_)) => {}
            None => return looked,
        }
    }
}

async fn look_up(looking: Looking, name: String) -> (String, Option<BTreeSet<IpAddr>>) {
    let Looking {
        threads,
        patience,
        resolve,
    } = looking;
    // All threads may be kept by look-ups of earlier rounds. That says nothing of this name.
    let Ok(Ok(thread)) = tokio::time::timeout(patience, threads.acquire_owned()).await else {
        return (name, None);
    };
    let wanted = name.clone();
    let asked = tokio::task::spawn_blocking(move || {
        let found = resolve(&wanted);
        drop(thread);
        found
    });
    let found = match tokio::time::timeout(patience, asked).await {
        Ok(Ok(Ok(addresses))) => addresses,
        Ok(Ok(Err(_)) | Err(_)) | Err(_) => BTreeSet::new(),
    };
    (name, Some(found))
}

/// All names that are known.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<String, Known>);

#[derive(Debug, Default)]
struct Known {
    /// What the last look-up gave.
    now: BTreeSet<IpAddr>,
    /// What it led to when it last led anywhere.
    last: BTreeSet<IpAddr>,
    /// What it led to since it moved, the newest last.
    recent: VecDeque<IpAddr>,
}

impl Names {
    /// Takes in a round of looking up; gives the names that moved.
    pub(super) fn absorb(
        &mut self,
        now: Timestamp,
        looked: Looked,
        resolved: &Resolved,
    ) -> Vec<Event> {
        let names: BTreeSet<&String> = looked.iter().map(|(name, _)| name).collect();
        self.0.retain(|name, _| names.contains(name));
        let mut events = Vec::new();
        for (name, addresses) in looked {
            let Some(addresses) = addresses else { continue };
            let known = self.0.entry(name.clone()).or_default();
            known.now.clone_from(&addresses);
            if addresses.is_empty() {
                continue;
            }
            let is_new = known.recent.is_empty();
            let moved = !is_new && !addresses.iter().any(|it| known.recent.contains(it));
            if moved {
                events.push(event(now, &name, &known.last, &addresses, resolved));
                known.recent.clear();
            }
            known.recent.retain(|it| !addresses.contains(it));
            known.recent.extend(addresses.iter().copied());
            while known.recent.len() > REMEMBERED {
                known.recent.pop_front();
            }
            known.last = addresses;
        }
        events
    }

    /// The addresses that a name led to when it was last looked up; `None`: it was not yet.
    pub(super) fn of(&self, name: &str) -> Option<impl Iterator<Item = &IpAddr>> {
        self.0.get(name).map(|known| known.now.iter())
    }
}

fn event(
    at: Timestamp,
    name: &str,
    before: &BTreeSet<IpAddr>,
    after: &BTreeSet<IpAddr>,
    resolved: &Resolved,
) -> Event {
    let upstreams = resolved.proxy.upstreams.iter();
    let mut used = upstreams.flat_map(|upstream| {
        let named = upstream.endpoints.iter().filter(|it| it.host == name);
        named.map(|endpoint| (upstream.name.clone(), endpoint.to_string()))
    });
    let first = used.next();
    // What concerns several is about all of them.
    let alone = used.all(|(upstream, _)| first.as_ref().is_some_and(|(it, _)| *it == upstream));
    let (upstream, endpoint) = first.filter(|_| alone).unzip();
    let list = |addresses: &BTreeSet<IpAddr>| {
        const SHOWN: usize = 3;
        let mut shown: Vec<String> = addresses
            .iter()
            .take(SHOWN)
            .map(ToString::to_string)
            .collect();
        if addresses.len() > SHOWN {
            shown.push(format!("{} more", addresses.len() - SHOWN));
        }
        shown.join(", ")
    };
    Event {
        at,
        kind: EventKind::Name,
        scope: Scope {
            upstream,
            endpoint,
            ..Scope::default()
        },
        text: format!(
            "{name} leads to {}, before to {}",
            list(after),
            list(before)
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn resolved() -> Resolved {
        let text = "state = { dir = '/tmp/none' }\n[[listener]]\nname = 'l'\naddress = '127.0.0.1:0'\n\
             [[upstream]]\nname = 'checkout'\nendpoints = ['http://checkout.internal:8080']\n\
             [[upstream]]\nname = 'a'\nendpoints = ['http://both.internal']\n\
             [[upstream]]\nname = 'b'\nendpoints = ['http://both.internal', 'http://10.0.0.1']\n\
             [[route]]\nid = 'r'\nupstream = 'checkout'\n";
        crate::config::parse("t", text, Path::new(""), &|_| None).expect("it is valid")
    }

    fn told(names: &mut Names, name: &str, addresses: &[&str]) -> Vec<(String, Option<String>)> {
        let addresses = addresses.iter().map(|it| it.parse().unwrap()).collect();
        let looked = vec![(name.to_owned(), Some(addresses))];
        let events = names.absorb(Timestamp::from_secs(1), looked, &resolved());
        let events = events.into_iter();
        events
            .map(|event| (event.text, event.scope.upstream))
            .collect()
    }

    #[test]
    fn addresses_are_no_names() {
        let names = wanted(&resolved());
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(names, ["both.internal", "checkout.internal"]);
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_told_once_and_one_that_takes_turns_never() {
        let mut names = Names::default();
        let name = "checkout.internal";
        for addresses in [
            &["10.0.4.31", "10.0.4.32"][..],
            &["10.0.4.32", "10.0.4.33"],
            // Does not resolve for a moment.
            &[],
            &["10.0.4.31"],
            &["10.0.4.33"],
        ] {
            assert_eq!(told(&mut names, name, addresses), [], "{addresses:?}");
        }
        assert!(told(&mut names, name, &[]).is_empty());
        assert_eq!(names.of(name).unwrap().count(), 0, "it does not resolve");
        let expected = "checkout.internal leads to 10.0.9.9, before to 10.0.4.33";
        assert_eq!(
            told(&mut names, name, &["10.0.9.9"]),
            [(expected.to_owned(), Some("checkout".to_owned()))]
        );
        assert_eq!(told(&mut names, name, &["10.0.9.9"]), []);
        let back = told(&mut names, name, &["10.0.4.31"]);
        assert_eq!(back.len(), 1, "its way back is a change again");
    }

    #[test]
    fn what_several_upstreams_use_is_about_all() {
        let mut names = Names::default();
        told(&mut names, "both.internal", &["10.0.0.1"]);
        let moved = told(&mut names, "both.internal", &["10.0.0.2"]);
        assert_eq!(moved[0].1, None);
    }

    /// Looks up `names`, in two rounds.
    fn looked(names: &[String], looking: &Looking) -> [Looked; 2] {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let names: BTreeSet<_> = names.iter().cloned().collect();
        let rounds = runtime.block_on(async {
            [
                look(looking, names.clone()).await,
                look(looking, names).await,
            ]
        });
        runtime.shutdown_background();
        rounds.map(|mut looked| {
            looked.sort();
            looked
        })
    }

    #[test]
    fn a_name_is_looked_up() {
        let looking = Looking {
            threads: Arc::new(Semaphore::new(AT_ONCE)),
            patience: PATIENCE,
            resolve,
        };
        let wanted = ["localhost", "does-not-exist.invalid"].map(str::to_owned);
        let [looked, _] = looked(&wanted, &looking);
        let none = Some(BTreeSet::new());
        assert_eq!(looked[0], ("does-not-exist.invalid".to_owned(), none));
        let found = looked[1].1.as_ref().unwrap();
        assert!(found.iter().any(IpAddr::is_loopback), "{looked:?}");
    }

    #[test]
    fn look_ups_that_hang_keep_so_many_threads_and_no_more() {
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let looking = Looking {
            threads: Arc::new(Semaphore::new(AT_ONCE)),
            patience: Duration::from_millis(50),
            resolve: |_| {
                STARTED.fetch_add(1, Ordering::Relaxed);
                // For as long as the test lives, and longer.
                std::thread::park_timeout(Duration::from_secs(600));
                Ok(BTreeSet::new())
            },
        };
        let names: Vec<_> = (0..AT_ONCE + 4).map(|it| format!("host-{it:02}")).collect();
        let [first, second] = looked(&names, &looking);
        assert_eq!(STARTED.load(Ordering::Relaxed), AT_ONCE);
        let unknown = |looked: &Looked| looked.iter().filter(|(_, it)| it.is_none()).count();
        assert_eq!((unknown(&first), unknown(&second)), (4, names.len()));
        let mut names = Names::default();
        told(&mut names, "host-00", &["10.0.0.1"]);
        names.absorb(Timestamp::from_secs(2), second, &resolved());
        assert_eq!(
            names.of("host-00").unwrap().count(),
            1,
            "nothing was learned"
        );
    }
}
