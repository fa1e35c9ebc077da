//! What authorities are shown, for all orders together.
//!
//! Whatever an order puts up is taken down again, however the order ends: by itself, by a reload that wants it no more, or
//! by the end of the process. Whoever ends in the middle cannot wait for that, so what is left is swept up by a task of its own.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use rustls::sign::CertifiedKey;
use tokio::sync::{Notify, mpsc, oneshot};

use super::hook::{Hook, Txt};
use super::issuer::Told;
use crate::net::challenge::Answers;

/// What authorities are shown by our listeners, and what is to be removed from the DNS.
#[derive(Debug)]
pub(super) struct Desk {
    answers: RefCell<Answers>,
    /// How often `answers` has changed.
    changes: Cell<u64>,
    /// Up to which change all who serve have it.
    published: Cell<u64>,
    /// Records whose order is gone. Bounded by the orders that are open, each of which leaves its own at most once.
    left: RefCell<VecDeque<(Hook, Txt)>>,
    /// There is something to sweep up.
    dropped: Notify,
    tell: mpsc::Sender<Told>,
}

impl Desk {
    pub(super) fn new(tell: mpsc::Sender<Told>) -> Self {
        Self {
            answers: RefCell::default(),
            changes: Cell::new(0),
            published: Cell::new(0),
            left: RefCell::default(),
            dropped: Notify::new(),
            tell,
        }
    }

    /// Hands something to those who serve, and waits until all of them have it. `false`: nobody is there any more.
    pub(super) async fn hand_over(&self, told: impl FnOnce(oneshot::Sender<()>) -> Told) -> bool {
        let (done, is_done) = oneshot::channel();
        self.tell.send(told(done)).await.is_ok() && is_done.await.is_ok()
    }

    pub(super) async fn say(&self, text: String) {
        // Who would have heard it is ending.
        drop(self.tell.send(Told::Happened(text)).await);
    }

    /// Has everything shown that is to be shown, and nothing else.
    async fn publish(&self) -> bool {
        let change = self.changes.get();
        let answers = Arc::new(self.answers.borrow().clone());
        let is_shown = self.hand_over(|done| Told::Answers { answers, done }).await;
        if is_shown {
            self.published.set(self.published.get().max(change));
        }
        is_shown
    }

    fn change(&self, what: impl FnOnce(&mut Answers)) {
        what(&mut self.answers.borrow_mut());
        self.changes.set(self.changes.get() + 1);
    }

    /// Takes down what orders have left that were given up, for ever.
    pub(super) async fn sweep(&self) {
        loop {
            self.dropped.notified().await;
            if self.published.get() != self.changes.get() {
                // If nobody serves any more, nothing is shown either.
                self.publish().await;
            }
            self.remove_left().await;
        }
    }

    /// Removes what orders have left in the DNS.
    pub(super) async fn remove_left(&self) {
        loop {
            // It stays there until it is done: whoever ends in the middle leaves it to the next one.
            let Some((hook, txt)) = self.left.borrow().front().cloned() else {
                return;
            };
            self.remove(&hook, &txt).await;
            self.left.borrow_mut().pop_front();
        }
    }

    async fn remove(&self, hook: &Hook, txt: &Txt) {
        if let Err(why) = hook.call("cleanup", txt).await {
            let what = format!(
                "the TXT record of {} could not be removed: hook cleanup: {why}",
                txt.name
            );
            self.say(what).await;
        }
    }
}

/// What one order has put up. Taken down at the latest when this is dropped.
#[derive(Debug)]
pub(super) struct Posted {
    desk: Rc<Desk>,
    http: Vec<String>,
    tls: Vec<(String, Arc<CertifiedKey>)>,
    dns: Vec<(Hook, Txt)>,
}

impl Posted {
    /// Nothing yet.
    pub(super) fn on(desk: &Rc<Desk>) -> Self {
        Self {
            desk: Rc::clone(desk),
            http: Vec::new(),
            tls: Vec::new(),
            dns: Vec::new(),
        }
    }

    /// A text at the path of `token`, once it is published.
    pub(super) fn put_http(&mut self, token: &str, text: &str) {
        self.http.push(token.to_owned());
        let text = Bytes::from(text.to_owned());
        self.desk.change(|answers| {
            answers.http.insert(token.to_owned(), text);
        });
    }

    /// A certificate for handshakes with `host`, once it is published.
    pub(super) fn put_tls(&mut self, host: &str, key: Arc<CertifiedKey>) {
        self.tls.push((host.to_owned(), Arc::clone(&key)));
        self.desk.change(|answers| {
            answers.tls.insert(host.to_owned(), key);
        });
    }

    /// A TXT record.
    pub(super) async fn put_dns(&mut self, hook: &Hook, txt: Txt) -> Result<(), String> {
        // Also one whose making failed, which may have been made halfway.
        self.dns.push((hook.clone(), txt.clone()));
        hook.call("present", &txt).await
    }

    /// Has it shown. `false`: nobody serves any more.
    pub(super) async fn publish(&self) -> bool {
        self.desk.publish().await
    }

    /// Takes it down, and waits until it is.
    pub(super) async fn withdraw(mut self) {
        if self.take_down() {
            self.desk.publish().await;
        }
        while let Some((hook, txt)) = self.dns.last() {
            self.desk.remove(hook, txt).await;
            self.dns.pop();
        }
    }

    /// Whether there was anything.
    fn take_down(&mut self) -> bool {
        let (http, tls) = (
            std::mem::take(&mut self.http),
            std::mem::take(&mut self.tls),
        );
        if http.is_empty() && tls.is_empty() {
            return false;
        }
        self.desk.change(|answers| {
            for token in &http {
                answers.http.remove(token);
            }
            for (host, key) in &tls {
                // Another order for the same host may have come since.
                if answers.tls.get(host).is_some_and(|it| Arc::ptr_eq(it, key)) {
                    answers.tls.remove(host);
                }
            }
        });
        true
    }
}

impl Drop for Posted {
    fn drop(&mut self) {
        self.take_down();
        self.desk.left.borrow_mut().extend(self.dns.drain(..));
        self.desk.dropped.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tokio::task::LocalSet;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    /// Runs `test` with a desk that is swept, and whoever serves.
    fn at_a_desk<F: Future<Output = ()>>(test: impl FnOnce(Rc<Desk>, mpsc::Receiver<Told>) -> F) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let (tell, told) = mpsc::channel(8);
        let desk = Rc::new(Desk::new(tell));
        LocalSet::new().block_on(&runtime, async {
            let swept = Rc::clone(&desk);
            tokio::task::spawn_local(async move { swept.sweep().await });
            tokio::time::timeout(PATIENCE, test(desk, told))
                .await
                .unwrap();
        });
    }

    /// The next answers that are to be shown: how many, and acknowledged.
    async fn shown(told: &mut mpsc::Receiver<Told>) -> usize {
        match told.recv().await.unwrap() {
            Told::Answers { answers, done } => {
                // Whoever waited may be gone.
                done.send(()).unwrap_or_default();
                answers.http.len() + answers.tls.len()
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_answer_of_an_order_that_is_given_up_is_taken_down_by_who_sweeps() {
        at_a_desk(|desk, mut told| async move {
            let order = {
                let desk = Rc::clone(&desk);
                tokio::task::spawn_local(async move {
                    let mut posted = Posted::on(&desk);
                    posted.put_http("token", "text");
                    assert!(posted.publish().await);
                    std::future::pending::<()>().await;
                })
            };
            assert_eq!(shown(&mut told).await, 1);
            order.abort();
            assert_eq!(shown(&mut told).await, 0);
        });
    }

    #[test]
    fn an_order_that_is_given_up_while_it_is_shown_is_not_shown_for_good() {
        at_a_desk(|desk, mut told| async move {
            let order = {
                let desk = Rc::clone(&desk);
                tokio::task::spawn_local(async move {
                    let mut posted = Posted::on(&desk);
                    posted.put_http("token", "text");
                    posted.publish().await;
                })
            };
            // Those who serve have not said yet that they have it.
            let Told::Answers { answers, done } = told.recv().await.unwrap() else {
                panic!("not what was expected");
            };
            assert_eq!(answers.http.len(), 1);
            order.abort();
            drop(done);
            assert_eq!(shown(&mut told).await, 0);
        });
    }

    #[test]
    fn a_record_of_an_order_that_is_given_up_is_removed_also_in_the_middle_of_removing_it() {
        let temp = tempfile::tempdir().unwrap();
        let program = temp.path().join("hook");
        let calls = temp.path().join("calls");
        // The first cleanup hangs.
        let script = format!(
            "echo \"$1 $2 $3\" >>{0}\n\
             [ \"$1\" = cleanup ] && [ $(grep -c cleanup {0}) = 1 ] && sleep 300\nexit 0\n",
            calls.display()
        );
        let hook = Hook::scripted(&program, &script);
        let txt = Txt {
            name: "_acme-challenge.shop.test".to_owned(),
            value: "v".to_owned(),
        };
        at_a_desk(|desk, _told| async move {
            let until = async |count: usize| loop {
                let made = fs::read_to_string(&calls).unwrap_or_default();
                if made.matches("cleanup _acme-challenge.shop.test v").count() == count {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            };
            let order = {
                let desk = Rc::clone(&desk);
                tokio::task::spawn_local(async move {
                    let mut posted = Posted::on(&desk);
                    posted.put_dns(&hook, txt).await.unwrap();
                    posted.withdraw().await;
                })
            };
            until(1).await;
            order.abort();
            until(2).await;
            while !desk.left.borrow().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
}
