//! When a certificate is to be renewed.
//!
//! The authority's word goes first (RFC 9773), then the configuration's, then a share of the life. Whatever they say is held
//! within the certificate's life, and away from its beginning: renewal loops come from rules that are true of a certificate
//! on the day it is issued, because it is short-lived, was dated back, or the window is another certificate's.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::model::{CertificateFacts, Timestamp};

/// The certificate in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// The first instant of its life.
    pub not_before: Timestamp,
    /// The first instant after its life.
    pub ends: Timestamp,
    /// When it was issued to us: often later than its life began, since authorities date back.
    pub issued_at: Timestamp,
}

impl Held {
    /// What `facts` say of one that was issued at `issued_at`.
    pub const fn new(facts: &CertificateFacts, issued_at: Timestamp) -> Self {
        Self {
            not_before: facts.not_before,
            ends: Timestamp::from_millis(facts.not_after.as_millis() + 1_000),
            issued_at,
        }
    }

    const fn lifetime_ms(&self) -> u64 {
        let (from, to) = (self.not_before.as_millis(), self.ends.as_millis());
        to.saturating_sub(from)
    }

    /// Since when it could be used, and for how long from then.
    fn use_ms(&self) -> (u64, u64) {
        let from = self.not_before.max(self.issued_at).min(self.ends);
        (from.as_millis(), self.ends.as_millis() - from.as_millis())
    }
}

/// When an authority wants a certificate to be renewed (RFC 9773, 4.2), and when we will.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The certificate that it is about, as in [`id`].
    pub id: String,
    /// From when.
    pub start: Timestamp,
    /// Until when.
    pub end: Timestamp,
    /// A moment in it, drawn once and kept.
    pub at: Timestamp,
    /// Whether it is another one than the first that was given for this certificate: something has happened.
    pub moved: bool,
    /// A page that says why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explanation: Option<String>,
}

impl Window {
    /// What the authority's answer makes of what is known. `roll` is uniform in 0..1. `None`: the answer is none (RFC 9773,
    /// 4.2: the end must be after the start), and what is known stays.
    pub fn told(
        known: Option<&Self>,
        id: &str,
        (start, end): (Timestamp, Timestamp),
        explanation: Option<String>,
        roll: f64,
    ) -> Option<Self> {
        if end <= start {
            return None;
        }
        let known = known.filter(|known| known.id == id);
        if let Some(same) = known.filter(|known| (known.start, known.end) == (start, end)) {
            return Some(Self {
                explanation,
                ..same.clone()
            });
        }
        let width = end.as_millis() - start.as_millis();
        let into = ((width as f64 * roll) as u64).min(width);
        Some(Self {
            id: id.to_owned(),
            start,
            end,
            at: Timestamp::from_millis(start.as_millis() + into),
            moved: known.is_some(),
            explanation,
        })
    }
}

/// How a certificate is called when renewal information is asked for (RFC 9773, 4.1). `None`: it does not say which key
/// signed it, so it has no such name.
pub fn id(facts: &CertificateFacts) -> Option<String> {
    let text = |hex: &str| Some(base64_url(&bytes(hex)?));
    let key = facts.authority_key.as_deref()?;
    Some(format!("{}.{}", text(key)?, text(&facts.serial)?))
}

pub(super) fn base64_url(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digit = |c: &u8| char::from(*c).to_digit(16);
    hex.as_bytes()
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
            _ => None,
        })
        .collect()
}

/// On whose word a certificate is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Word {
    /// The authority's.
    Authority,
    /// The configuration's.
    Configured,
    /// A share of its life: a third is left, or half of one below ten days.
    Share,
    /// Nearly nothing is left, whatever anybody says.
    Last,
}

impl Word {
    /// In a few words, for people.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Authority => "the authority's window",
            Self::Configured => "renew_before",
            Self::Share => "a share of its life",
            Self::Last => "a twentieth of its life is left",
        }
    }
}

const DAY_MS: u64 = 86_400_000;
/// For an order that goes wrong once or twice.
const ORDER_MS: u64 = 10_000;
const SHORT_MS: u64 = 10 * DAY_MS;

/// When `held` is to be renewed, and on whose word. `window` is heeded only if it is that of this certificate, `id`.
pub fn due(
    held: &Held,
    id: Option<&str>,
    window: Option<&Window>,
    renew_before: Option<Duration>,
) -> (Timestamp, Word) {
    let (from, usable) = held.use_ms();
    let ends = held.ends.as_millis();
    // Never so late that a few failures are its end. An order takes seconds, which the shortest lives can hardly spare.
    let last = ends - (usable / 20).max(ORDER_MS.min(usable / 3));
    let window = window.filter(|window| id == Some(window.id.as_str()));
    let (at, word) = if let Some(window) = window {
        // A window that has begun at issuance is a mistake, until it is given anew.
        let floor = if window.moved { 0 } else { from + usable / 50 };
        (window.at.as_millis().max(floor), Word::Authority)
    } else {
        let lifetime = held.lifetime_ms();
        let share = lifetime / if lifetime < SHORT_MS { 2 } else { 3 };
        let (before, word) = renew_before.map_or((share, Word::Share), |before| {
            let before = u64::try_from(before.as_millis()).unwrap_or(u64::MAX);
            (before, Word::Configured)
        });
        // A third of what could be used of it goes by in any case.
        (ends.saturating_sub(before).max(from + usable / 3), word)
    };
    if at > last {
        (Timestamp::from_millis(last), Word::Last)
    } else {
        (Timestamp::from_millis(at), word)
    }
}

/// How long to wait after `failures` attempts in a row came to nothing. Doubles from a minute to six hours; for short lives
/// it is a share of them. `roll` in 0..1 spreads it by a tenth, since an authority that was away is asked by everybody.
pub fn pause(failures: u32, lifetime_ms: Option<u64>, roll: f64) -> Duration {
    let (first, most) = match lifetime_ms {
        Some(life) => (
            (life / 60).clamp(1_000, 60_000),
            (life / 10).clamp(1_000, 6 * 3_600_000),
        ),
        None => (60_000, 6 * 3_600_000),
    };
    let doubled = first.saturating_mul(1 << failures.saturating_sub(1).min(20));
    let spread = 0.9 + 0.2 * roll.clamp(0.0, 1.0);
    Duration::from_millis((doubled.min(most) as f64 * spread) as u64)
}

/// When to ask again when to renew: after what the authority says (RFC 9773, 4.3), not within a minute, and not after a day
/// or `at_most`.
pub fn ask_again(said: Option<Duration>, at_most: Duration) -> Duration {
    const LEAST: Duration = Duration::from_secs(60);
    const MOST: Duration = Duration::from_secs(86_400);
    /// What the RFC advises after an answer that makes no sense.
    const UNSAID: Duration = Duration::from_secs(6 * 3_600);
    said.unwrap_or(UNSAID).clamp(LEAST, MOST).min(at_most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::cert::acme::budget;

    const T0: u64 = 1_700_000_000_000;

    fn held(life_ms: u64, back_ms: u64) -> Held {
        Held {
            not_before: Timestamp::from_millis(T0 - back_ms),
            ends: Timestamp::from_millis(T0 - back_ms + life_ms),
            issued_at: Timestamp::from_millis(T0),
        }
    }

    fn window(id: &str, from: i64, to: i64) -> Option<Window> {
        let at = |ms: i64| Timestamp::from_millis((T0 as i64 + ms) as u64);
        Window::told(None, id, (at(from), at(to)), None, 0.5)
    }

    #[test]
    fn a_certificate_is_called_as_in_the_rfc() {
        // RFC 9773, 4.1.
        let facts = CertificateFacts {
            serial: "0087654321".to_owned(),
            authority_key: Some("69885b6b87464041e1b37b847ba0ae2cde01c8d4".to_owned()),
            ..CertificateFacts::default()
        };
        let name = "aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE";
        assert_eq!(id(&facts).as_deref(), Some(name));
        let anonymous = CertificateFacts {
            authority_key: None,
            ..facts
        };
        assert_eq!(id(&anonymous), None);
    }

    #[test]
    fn a_third_of_a_long_life_and_half_of_a_short_one_is_left_at_renewal() {
        for (life_ms, left_ms) in [
            (90 * DAY_MS, 30 * DAY_MS),
            (6 * DAY_MS, 3 * DAY_MS),
            (60_000, 30_000),
        ] {
            let (at, word) = due(&held(life_ms, 0), None, None, None);
            assert_eq!(T0 + life_ms - at.as_millis(), left_ms);
            assert_eq!(word, Word::Share);
        }
        let asked = Some(Duration::from_millis(7 * DAY_MS));
        let (at, word) = due(&held(90 * DAY_MS, 0), None, None, asked);
        assert_eq!(T0 + 83 * DAY_MS, at.as_millis());
        assert_eq!(word, Word::Configured);
    }

    #[test]
    fn the_authoritys_window_goes_first_if_it_is_that_of_the_certificate() {
        let held = held(90 * DAY_MS, 0);
        let day = DAY_MS as i64;
        let told = window("mine", 40 * day, 42 * day);
        let due_at = |id| due(&held, Some(id), told.as_ref(), None);
        let at = Timestamp::from_millis(T0 + 41 * DAY_MS);
        assert_eq!(due_at("mine"), (at, Word::Authority));
        assert_eq!(due_at("another").1, Word::Share);
        // It cannot delay a renewal until nothing is left.
        let late = window("mine", 89 * day, 90 * day);
        let (at, word) = due(&held, Some("mine"), late.as_ref(), None);
        assert_eq!(T0 + 90 * DAY_MS - at.as_millis(), 90 * DAY_MS / 20);
        assert_eq!(word, Word::Last);
    }

    #[test]
    fn a_window_of_the_past_is_doubted_when_it_comes_first_and_heeded_when_it_moved_there() {
        let held = held(90 * DAY_MS, 0);
        let day = DAY_MS as i64;
        let past = window("mine", -2 * day, -day);
        let (at, _) = due(&held, Some("mine"), past.as_ref(), None);
        assert_eq!(at.as_millis(), T0 + 90 * DAY_MS / 50);
        let first = window("mine", 40 * day, 42 * day).unwrap();
        let span = past.map(|it| (it.start, it.end)).unwrap();
        let moved = Window::told(Some(&first), "mine", span, None, 0.5).unwrap();
        assert!(moved.moved);
        let (at, _) = due(&held, Some("mine"), Some(&moved), None);
        assert!(at.as_millis() < T0);
    }

    #[test]
    fn the_moment_in_a_window_is_drawn_once() {
        let first = window("mine", 0, 1_000).unwrap();
        let span = (first.start, first.end);
        let again = Window::told(Some(&first), "mine", span, None, 0.9).unwrap();
        assert_eq!((again.at, again.moved), (first.at, false));
        let other = Window::told(Some(&first), "next", span, None, 0.9).unwrap();
        assert_eq!((other.at.as_millis(), other.moved), (T0 + 900, false));
        let none = (first.end, first.start);
        assert_eq!(Window::told(Some(&first), "mine", none, None, 0.9), None);
    }

    #[test]
    fn pauses_double_from_a_minute_to_six_hours_and_are_short_for_short_lives() {
        let secs = |failures, life| pause(failures, life, 0.5).as_secs();
        let long = Some(90 * DAY_MS);
        let pauses: Vec<_> = (1..=11).map(|failures| secs(failures, long)).collect();
        assert_eq!(pauses[..4], [60, 120, 240, 480]);
        assert_eq!(pauses[9..], [6 * 3_600, 6 * 3_600]);
        assert_eq!(
            [1, 2, 3, 4, 5].map(|it| secs(it, Some(60_000))),
            [1, 2, 4, 6, 6]
        );
        assert_eq!(secs(u32::MAX, None), 6 * 3_600);
    }

    #[test]
    fn an_authority_is_asked_again_as_it_says_within_reason() {
        let day = Duration::from_secs(86_400);
        let secs = |said: Option<u64>| ask_again(said.map(Duration::from_secs), day).as_secs();
        assert_eq!(secs(Some(0)), 60);
        assert_eq!(secs(Some(7_200)), 7_200);
        assert_eq!(secs(Some(u64::MAX)), 86_400);
        assert_eq!(secs(None), 6 * 3_600);
        let second = Duration::from_secs(1);
        assert_eq!(ask_again(Some(day), second), second);
    }

    /// Renews as decided for a while; gives how often, and for how long there was no valid certificate.
    fn run(
        life: u64,
        back: u64,
        before: Option<Duration>,
        window_of: impl Fn(u64) -> Option<(i64, i64, bool)>,
        until: u64,
    ) -> (u64, u64) {
        let (mut now, mut count, mut dark, mut valid_until) = (T0, 0_u64, 0_u64, T0);
        let mut issued: Vec<Timestamp> = Vec::new();
        while now < T0 + until && count < 20_000 {
            budget::tidy(Timestamp::from_millis(now), &mut issued);
            if let budget::Left::NoneBefore(at) =
                budget::left(Timestamp::from_millis(now), &issued, Some(life))
            {
                assert!(at.as_millis() > now);
                now = at.as_millis();
                continue;
            }
            dark += now.saturating_sub(valid_until);
            count += 1;
            issued.push(Timestamp::from_millis(now));
            let shift = now - T0;
            let mut held = held(life, back);
            held.not_before = Timestamp::from_millis(held.not_before.as_millis() + shift);
            held.ends = Timestamp::from_millis(held.ends.as_millis() + shift);
            held.issued_at = Timestamp::from_millis(now);
            valid_until = held.ends.as_millis();
            let told = window_of(count).and_then(|(from, to, moved)| {
                let at = |ms: i64| Timestamp::from_millis((now as i64 + ms).max(0) as u64);
                let told = Window::told(None, "mine", (at(from), at(to)), None, 0.5)?;
                Some(Window { moved, ..told })
            });
            let (at, _) = due(&held, Some("mine"), told.as_ref(), before);
            now = at.as_millis().max(now);
        }
        (count, dark)
    }

    proptest! {
        /// For any life from ten seconds to ten years, any wish and any dating back: no more renewals than thirds of what
        /// can be used of the certificates, and never a moment without one.
        #[test]
        fn no_rule_loops(
            life in prop_oneof![10_000_u64..3_600_000, 3_600_000_u64..864_000_000, 864_000_000_u64..315_360_000_000],
            back in 0_u64..3_600_000_u64,
            before in proptest::option::of(0_u64..400_000_000_000),
        ) {
            // One that is over when it comes is refused elsewhere.
            let back = back.min(life * 9 / 10);
            let usable = life - back;
            let before = before.map(Duration::from_millis);
            let (count, dark) = run(life, back, before, |_| None, usable * 30);
            prop_assert!(count <= 91, "{count} of {life} dated back by {back}");
            // Where dating back leaves so little that the budget ends first, it ends first.
            if DAY_MS / (usable / 3) < budget::a_day(life) {
                prop_assert_eq!(dark, 0);
            }
        }

        /// Whatever windows an authority gives, moved ones too: never more than the budget.
        #[test]
        fn no_window_loops(
            life in 10_000_u64..315_360_000_000,
            from in -1_000_000_000_i64..1_000_000_000,
            width in 1_i64..1_000_000_000,
            moved in any::<bool>(),
        ) {
            let (count, _) = run(life, 0, None, |_| Some((from, from + width, moved)), DAY_MS);
            prop_assert!(count <= budget::a_day(life));
            if !moved && from < 0 {
                prop_assert!(count <= 51.max(DAY_MS / (life / 50) + 1));
            }
        }
    }
}
