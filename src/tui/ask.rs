//! Questions to the daemon beside the stream: what a screen needs and a snapshot does not carry.
//!
//! A screen says what it wants (`Asked`); an answer is kept with its question until another question of its
//! kind takes the place. What is wanted again too soon is not asked again, so a key held down costs one question.

use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::conn;
use crate::clock::Tick;
use crate::net::address::Address;
use crate::snapshot::{ProbeSlotView, Snapshot, Spending};

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// How the newest slots of this probe ended.
    Slots(String),
    /// What spent this SLO's budget.
    Spending(String),
    /// Everything as it was then, in seconds since the epoch.
    Past(u64),
}

/// What the daemon said.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// To [`Question::Slots`], newest first.
    Slots(Vec<ProbeSlotView>),
    /// To [`Question::Spending`].
    Spending(Spending),
    /// To [`Question::Past`].
    Past(Arc<Snapshot>),
}

/// How many slots a screen can show at most.
const SLOTS: u32 = 200;

impl Question {
    fn path(&self) -> String {
        match self {
            Self::Slots(probe) => format!("/v1/probes/{}/slots?limit={SLOTS}", escaped(probe)),
            Self::Spending(slo) => format!("/v1/slos/{}/spending", escaped(slo)),
            Self::Past(secs) => format!("/v1/snapshot?at={secs}"),
        }
    }
}

/// Asks the daemon at `address`.
///
/// # Errors
/// Why there is no answer, in words for people.
pub async fn ask(address: &Address, question: &Question) -> Result<Answer, String> {
    let bytes = conn::get(address, &question.path())
        .await
        .map_err(|error| error.to_string())?;
    match question {
        Question::Slots(_) => read(&bytes).map(Answer::Slots),
        Question::Spending(_) => read(&bytes).map(Answer::Spending),
        Question::Past(_) => read(&bytes).map(Answer::Past),
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes)
        .map_err(|error| format!("the daemon's answer cannot be read: {error}"))
}

/// A name as a piece of a path. Names are letters, digits and dashes; anything else cannot be one, and cannot ask for
/// anything else either.
fn escaped(name: &str) -> String {
    use std::fmt::Write as _;
    let mut path = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':') {
            path.push(char::from(byte));
        } else {
            write!(path, "%{byte:02X}").expect("a String takes all");
        }
    }
    path
}

/// The newest question of one kind, and what came of it.
#[derive(Clone, Debug)]
struct Kept<T> {
    /// What it was about.
    key: String,
    at: Tick,
    /// `None`: still on its way.
    answer: Option<Result<T, String>>,
}

/// What was asked, and what came of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asked {
    slots: Option<Kept<Vec<ProbeSlotView>>>,
    spending: Option<Kept<Spending>>,
}

/// An answer that is older is asked for again while it is looked at.
const FRESH: Duration = Duration::from_secs(15);

impl Asked {
    /// The question to ask now for a screen that wants the slots of `probe`.
    pub(crate) fn wants_slots(&mut self, probe: &str, now: Tick) -> Option<Question> {
        due(&mut self.slots, probe, now).then(|| Question::Slots(probe.to_owned()))
    }

    /// The question to ask now for a screen that wants to know what spent the budget of `slo`.
    pub(crate) fn wants_spending(&mut self, slo: &str, now: Tick) -> Option<Question> {
        due(&mut self.spending, slo, now).then(|| Question::Spending(slo.to_owned()))
    }

    /// Takes an answer in. One that nobody waits for any more is dropped.
    pub(crate) fn take(&mut self, question: &Question, answer: Result<Answer, String>) {
        match (question, answer) {
            (Question::Slots(key), Ok(Answer::Slots(slots))) => {
                put(&mut self.slots, key, Ok(slots));
            }
            (Question::Slots(key), Err(why)) => put(&mut self.slots, key, Err(why)),
            (Question::Spending(key), Ok(Answer::Spending(spending))) => {
                put(&mut self.spending, key, Ok(spending));
            }
            (Question::Spending(key), Err(why)) => put(&mut self.spending, key, Err(why)),
            // The past is the model's own, and no answer fits another kind of question.
            (Question::Slots(_) | Question::Spending(_) | Question::Past(_), _) => {}
        }
    }

    /// The slots of `probe`; `None` before there is an answer.
    pub(crate) fn slots(&self, probe: &str) -> Option<Result<&[ProbeSlotView], &str>> {
        let answer = known(self.slots.as_ref(), probe)?;
        Some(answer.as_ref().map(Vec::as_slice).map_err(String::as_str))
    }

    /// What spent the budget of `slo`; `None` before there is an answer.
    pub(crate) fn spending(&self, slo: &str) -> Option<Result<&Spending, &str>> {
        let answer = known(self.spending.as_ref(), slo)?;
        Some(answer.as_ref().map_err(String::as_str))
    }
}

fn due<T>(kept: &mut Option<Kept<T>>, key: &str, now: Tick) -> bool {
    match kept {
        Some(kept) if kept.key == key => {
            let old = Duration::from_micros(now.micros_since(kept.at)) >= FRESH;
            if old {
                // The old answer is shown until the new one is there.
                kept.at = now;
            }
            old
        }
        Some(_) | None => {
            *kept = Some(Kept {
                key: key.to_owned(),
                at: now,
                answer: None,
            });
            true
        }
    }
}

fn put<T>(kept: &mut Option<Kept<T>>, key: &str, answer: Result<T, String>) {
    if let Some(kept) = kept.as_mut().filter(|kept| kept.key == key) {
        kept.answer = Some(answer);
    }
}

fn known<'k, T>(kept: Option<&'k Kept<T>>, key: &str) -> Option<&'k Result<T, String>> {
    kept.filter(|kept| kept.key == key)?.answer.as_ref()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_asked_once_until_its_answer_is_old() {
        let mut asked = Asked::default();
        let at = |secs: u64| Tick::from_micros(secs * 1_000_000);
        assert_eq!(
            asked.wants_slots("a", at(0)),
            Some(Question::Slots("a".to_owned()))
        );
        assert_eq!(asked.wants_slots("a", at(1)), None);
        assert!(asked.slots("a").is_none(), "it is on its way");
        asked.take(
            &Question::Slots("a".to_owned()),
            Ok(Answer::Slots(Vec::new())),
        );
        assert!(asked.slots("a").is_some_and(|slots| slots.is_ok()));
        assert!(asked.wants_slots("a", at(20)).is_some());
        assert!(asked.slots("a").is_some(), "the old answer stays");
        assert!(asked.wants_slots("b", at(21)).is_some());
        asked.take(&Question::Slots("a".to_owned()), Err("late".to_owned()));
        assert!(asked.slots("b").is_none(), "an answer for a is none for b");
    }

    #[test]
    fn no_name_asks_for_anything_else() {
        let path = Question::Slots("../x?y z\r\n".to_owned()).path();
        assert_eq!(path, "/v1/probes/..%2Fx%3Fy%20z%0D%0A/slots?limit=200");
    }
}
