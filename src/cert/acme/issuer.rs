//! Looks after every certificate that is issued while we run, on a thread of its own.
//!
//! Each has a task that sleeps until something is due. It changes what is served by handing it to whoever serves and
//! waiting until all of them have it; what is kept on disk is kept first, so that a crash at any point leaves a certificate
//! that works and a count that is not too low.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};
use tokio::task::LocalSet;

use super::care::{Care, WAITING};
use super::desk::Desk;
use super::keep::Keep;
use super::teller::Teller;
use super::{Authority, Challenge, Config, Wanted, preflight};
use crate::clock::{Clock as _, SystemClock};
use crate::net::certificate::ServerCertificate;
use crate::net::challenge::Answers;
use crate::snapshot::{IssuanceView, PreflightView};

/// What is to be looked after.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Who issues, and what.
    pub config: Config,
    /// By certificate's name: where a listener shows it.
    pub shown_at: Vec<(String, SocketAddr)>,
}

/// What those who serve are told.
#[derive(Debug)]
pub enum Told {
    /// Authorities are to be shown this from now on.
    Answers {
        /// All of it.
        answers: Arc<Answers>,
        /// To be told once every worker has it.
        done: oneshot::Sender<()>,
    },
    /// A certificate was issued and is to be served.
    Issued {
        /// Its name.
        name: String,
        /// The certificate.
        certificate: Arc<ServerCertificate>,
        /// To be told once every worker has it.
        done: oneshot::Sender<()>,
    },
    /// Something happened, in one line.
    Happened(String),
}

/// Why a renewal that was asked for does not begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenewRefused {
    /// None of that name is issued while we run.
    #[error("no certificate `{name}` is issued here; there are: {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// It is being issued already, or the budget is spent.
    #[error("{0}")]
    Busy(String),
}

/// Why a pre-flight that was asked for does not begin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreflightRefused {
    /// None of that name is issued while we run.
    #[error("no certificate `{name}` is issued here; there are: {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Nobody asks its hosts over plain HTTP.
    #[error("`{name}` is issued by `{challenge}`, for which nothing is asked of port 80")]
    OtherChallenge {
        /// The certificate.
        name: String,
        /// How it is shown that its hosts are ours.
        challenge: &'static str,
    },
    /// The process is ending.
    #[error("the thread that issues certificates has ended")]
    Gone,
}

type Preflight = (
    String,
    oneshot::Sender<Result<Vec<PreflightView>, PreflightRefused>>,
);
type Renewal = (String, oneshot::Sender<Result<(), RenewRefused>>);

/// The thread that looks after certificates.
#[derive(Debug)]
pub struct Issuer {
    plans: watch::Sender<Plan>,
    renewals: mpsc::Sender<Renewal>,
    preflights: mpsc::Sender<Preflight>,
    views: watch::Receiver<Vec<IssuanceView>>,
    /// Ends when the plans do.
    thread: JoinHandle<()>,
}

/// Asks for a certificate to be renewed now.
#[derive(Clone, Debug)]
pub struct Renewals(mpsc::Sender<Renewal>);

impl Renewals {
    /// Renews the certificate of this name now, whatever its age; the budget holds.
    ///
    /// # Errors
    /// When it does not begin.
    pub async fn renew(&self, name: String) -> Result<(), RenewRefused> {
        let (reply, answer) = oneshot::channel();
        let gone =
            || RenewRefused::Busy("the thread that issues certificates has ended".to_owned());
        if self.0.send((name, reply)).await.is_err() {
            return Err(gone());
        }
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// Asks for pre-flights.
#[derive(Clone, Debug)]
pub struct Preflights(mpsc::Sender<Preflight>);

impl Preflights {
    /// Looks now whether the authority of this certificate would find what it asks for at each of its hosts.
    ///
    /// # Errors
    /// When that cannot be looked at.
    pub async fn fly(&self, name: String) -> Result<Vec<PreflightView>, PreflightRefused> {
        let (reply, answer) = oneshot::channel();
        if self.0.send((name, reply)).await.is_err() {
            return Err(PreflightRefused::Gone);
        }
        answer.await.unwrap_or(Err(PreflightRefused::Gone))
    }
}

/// Certificates that are being issued at a time.
const MAX_ORDERS: usize = 4;
/// Certificates that a pre-flight is under way for at a time.
const MAX_FLIGHTS: usize = 4;
/// Messages that may wait for those who serve.
const MESSAGES: usize = 64;
/// At the end of the process, for the records of open orders to be removed.
const CLOSING: Duration = Duration::from_secs(10);

impl Issuer {
    /// Starts the thread, with nothing to do.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(clock: SystemClock) -> io::Result<(Self, mpsc::Receiver<Told>)> {
        let (plans, plan) = watch::channel(Plan::default());
        let (renewals, asked) = mpsc::channel(MESSAGES);
        let (preflights, flights) = mpsc::channel(MESSAGES);
        let (tell, told) = mpsc::channel(MESSAGES);
        let (show, views) = watch::channel(Vec::new());
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new()
            .name("acme".to_owned())
            .spawn(move || {
                let office = Rc::new(Office {
                    clock,
                    desk: Rc::new(Desk::new(tell)),
                    turns: Semaphore::new(MAX_ORDERS),
                    flights: Semaphore::new(MAX_FLIGHTS),
                    flown: RefCell::default(),
                    shown_at: RefCell::default(),
                    views: RefCell::default(),
                    order: RefCell::default(),
                    show,
                });
                let local = LocalSet::new();
                local.block_on(&runtime, office.open(plan, asked, flights));
                drop(local);
                // A look-up of a name that hangs is nobody's business any more.
                runtime.shutdown_background();
            })?;
        let issuer = Self {
            plans,
            renewals,
            preflights,
            views,
            thread,
        };
        Ok((issuer, told))
    }

    /// Looks after this from now on. What both plans have goes on undisturbed.
    pub fn plan(&self, plan: Plan) {
        self.plans.send_if_modified(|known| {
            let is_new = *known != plan;
            *known = plan;
            is_new
        });
    }

    /// How every certificate stands, in the plan's order.
    pub fn views(&self) -> Vec<IssuanceView> {
        self.views.borrow().clone()
    }

    /// Ends the thread, and waits until open orders have removed what they left in the DNS: ten seconds at most.
    pub fn close(self) {
        let Self { plans, thread, .. } = self;
        drop(plans);
        if thread.join().is_err() {
            tracing::error!("the thread that has certificates issued ended in a panic");
        }
    }

    /// Asks for pre-flights.
    pub fn preflights(&self) -> Preflights {
        Preflights(self.preflights.clone())
    }

    /// Asks for renewals.
    pub fn renewals(&self) -> Renewals {
        Renewals(self.renewals.clone())
    }
}

/// What all tasks of the thread share.
#[derive(Debug)]
pub(super) struct Office {
    pub(super) clock: SystemClock,
    pub(super) desk: Rc<Desk>,
    pub(super) turns: Semaphore,
    pub(super) flights: Semaphore,
    /// What the last pre-flight of each certificate found, by its name.
    flown: RefCell<BTreeMap<String, Vec<PreflightView>>>,
    pub(super) shown_at: RefCell<Vec<(String, SocketAddr)>>,
    views: RefCell<BTreeMap<String, IssuanceView>>,
    /// The names in the plan's order.
    order: RefCell<Vec<String>>,
    show: watch::Sender<Vec<IssuanceView>>,
}

/// One certificate and the task that looks after it.
struct Ward {
    wanted: Wanted,
    authority: Authority,
    asked: Rc<Asked>,
    task: tokio::task::JoinHandle<()>,
}

/// What is looked after: wards by their certificates' names, and whom they are issued by, by name.
#[derive(Default)]
struct Wards {
    wards: BTreeMap<String, Ward>,
    /// One for each authority, whatever is reloaded: two would make two accounts.
    tellers: BTreeMap<String, Rc<Teller>>,
}

/// A renewal that somebody asked for.
#[derive(Debug, Default)]
pub(super) struct Asked {
    pub(super) now: Cell<bool>,
    pub(super) busy: Cell<bool>,
    /// Why it may not be ordered at the moment.
    pub(super) spent: RefCell<Option<String>>,
    pub(super) wake: Notify,
}

impl Office {
    async fn open(
        self: Rc<Self>,
        mut plans: watch::Receiver<Plan>,
        mut renewals: mpsc::Receiver<Renewal>,
        mut flights: mpsc::Receiver<Preflight>,
    ) {
        let mut all = Wards::default();
        let desk = Rc::clone(&self.desk);
        let sweeping = tokio::task::spawn_local(async move { desk.sweep().await });
        loop {
            tokio::select! {
                changed = plans.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    let plan = plans.borrow_and_update().clone();
                    self.follow(plan, &mut all);
                }
                Some((name, reply)) = renewals.recv() => {
                    // Whoever asked may have given up waiting.
                    drop(reply.send(renew(&all.wards, &name)));
                }
                Some((name, reply)) = flights.recv() => self.fly(&all.wards, name, reply),
            }
        }
        let closing = async {
            // Each leaves what it has put up when it is gone.
            let wards = all.wards.into_values().map(|ward| ward.task);
            for task in wards.chain([sweeping]) {
                task.abort();
                drop(task.await);
            }
            // Answers of our own listeners end with them.
            self.desk.remove_left().await;
        };
        if tokio::time::timeout(CLOSING, closing).await.is_err() {
            tracing::warn!(
                "records of open orders may stand in the DNS still: the hook did not end in time"
            );
        }
    }

    fn follow(self: &Rc<Self>, plan: Plan, all: &mut Wards) {
        let Plan { config, shown_at } = plan;
        let Wards { wards, tellers } = all;
        tellers.retain(|_, teller| config.authorities.contains(&teller.authority));
        self.shown_at.replace(shown_at);
        let names = config.certificates.iter().map(|it| it.name.clone());
        self.order.replace(names.collect());
        wards.retain(|name, ward| {
            let stays = config.certificates.contains(&ward.wanted)
                && config.authorities.contains(&ward.authority);
            if !stays {
                ward.task.abort();
                self.views.borrow_mut().remove(name);
                self.flown.borrow_mut().remove(name);
            }
            stays
        });
        for wanted in &config.certificates {
            // The configuration's resolver refuses dangling references.
            let Some(authority) = config.authority(&wanted.authority) else {
                continue;
            };
            if wards.contains_key(&wanted.name) {
                continue;
            }
            let teller = match tellers.get(&authority.name) {
                Some(teller) => Ok(Rc::clone(teller)),
                None => Keep::open(&authority.dir)
                    .map(|keep| Rc::new(Teller::new(authority.clone(), keep))),
            };
            let asked = Rc::new(Asked::default());
            let mut view = IssuanceView {
                name: wanted.name.clone(),
                authority: authority.name.clone(),
                directory: authority.directory.clone(),
                hosts: wanted.hosts.clone(),
                challenge: authority.challenge.as_str().to_owned(),
                state: WAITING.to_owned(),
                ..IssuanceView::default()
            };
            let task = match teller {
                Ok(teller) => {
                    tellers.insert(authority.name.clone(), Rc::clone(&teller));
                    let office = Rc::clone(self);
                    let flights =
                        preflight::go_on(Rc::clone(self), wanted.clone(), authority.clone());
                    let care = Care::new(office, teller, wanted.clone(), Rc::clone(&asked), view);
                    tokio::task::spawn_local(async move {
                        tokio::join!(care.go_on(), flights);
                    })
                }
                Err(error) => {
                    view.error = Some(format!(
                        "nothing can be kept in {}: {error}; it is tried again at a reload",
                        authority.dir.display()
                    ));
                    view.error_at = Some(self.clock.now());
                    view.failures = 1;
                    self.put_up(view);
                    tokio::task::spawn_local(std::future::pending())
                }
            };
            wards.insert(
                wanted.name.clone(),
                Ward {
                    wanted: wanted.clone(),
                    authority: authority.clone(),
                    asked,
                    task,
                },
            );
        }
        self.publish();
    }

    pub(super) fn put_up(&self, view: IssuanceView) {
        self.views.borrow_mut().insert(view.name.clone(), view);
        self.publish();
    }

    /// What the last pre-flight of this certificate found.
    pub(super) fn flown(&self, name: &str) -> Vec<PreflightView> {
        self.flown.borrow().get(name).cloned().unwrap_or_default()
    }

    /// Keeps what a pre-flight found. One whose certificate is gone meanwhile is forgotten.
    pub(super) fn land(&self, name: &str, found: Vec<PreflightView>) {
        if self.views.borrow().contains_key(name) {
            self.flown.borrow_mut().insert(name.to_owned(), found);
        }
        self.publish();
    }

    /// Looks for somebody who asks whether an authority would find what it looks for.
    fn fly(
        self: &Rc<Self>,
        wards: &BTreeMap<String, Ward>,
        name: String,
        reply: oneshot::Sender<Result<Vec<PreflightView>, PreflightRefused>>,
    ) {
        let refused = match wards.get(&name) {
            None => PreflightRefused::Unknown {
                known: known(wards),
                name,
            },
            Some(Ward { authority, .. }) if authority.challenge != Challenge::Http => {
                PreflightRefused::OtherChallenge {
                    name,
                    challenge: authority.challenge.as_str(),
                }
            }
            Some(Ward {
                wanted, authority, ..
            }) => {
                let (office, wanted) = (Rc::clone(self), wanted.clone());
                let authority = authority.clone();
                tokio::task::spawn_local(async move {
                    let found =
                        preflight::fly(&office, &wanted, &authority, preflight::Asked::ByHand)
                            .await;
                    // Whoever asked may have given up waiting.
                    drop(reply.send(Ok(found)));
                });
                return;
            }
        };
        drop(reply.send(Err(refused)));
    }

    fn publish(&self) {
        let views = self.views.borrow();
        let order = self.order.borrow();
        let listed = order.iter().filter_map(|name| {
            let mut view = views.get(name)?.clone();
            view.preflights = self.flown(name);
            Some(view)
        });
        self.show.send_replace(listed.collect());
    }
}

/// The certificates that there are, in words.
fn known(wards: &BTreeMap<String, Ward>) -> String {
    let known: Vec<&str> = wards.keys().map(String::as_str).collect();
    if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    }
}

fn renew(wards: &BTreeMap<String, Ward>, name: &str) -> Result<(), RenewRefused> {
    let Some(ward) = wards.get(name) else {
        return Err(RenewRefused::Unknown {
            name: name.to_owned(),
            known: known(wards),
        });
    };
    if ward.asked.busy.get() {
        let text = format!("`{name}` is being issued already");
        return Err(RenewRefused::Busy(text));
    }
    if let Some(why) = &*ward.asked.spent.borrow() {
        return Err(RenewRefused::Busy(why.clone()));
    }
    ward.asked.now.set(true);
    ward.asked.wake.notify_one();
    Ok(())
}
