//! One try at an upstream, and what to remember of several.

use super::{Fault, Side};

/// One try at an endpoint. A request has none, one, or several when it is sent elsewhere or once more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempt<E> {
    /// The endpoint that was tried.
    pub endpoint: E,
    /// How many were made before it for the same request.
    pub ordinal: u8,
    /// When it began, in microseconds since the request's head; at most [`u32::MAX`].
    pub began_us: u32,
    /// When it ended likewise; `None`: with the request.
    pub ended_us: Option<u32>,
    /// The status that the endpoint answered; `None` when it did not.
    pub status: Option<u16>,
    /// Why it failed, if the upstream is to blame. One that was given up because its client left has not failed.
    pub fault: Option<Fault>,
}

/// The attempts of one request, in memory that is there already.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attempts<E> {
    kept: [Attempt<E>; MAX_ATTEMPTS],
    made: u8,
}

/// Attempts remembered of one request. Of more, the first ones and the last are.
pub const MAX_ATTEMPTS: usize = 6;

impl<E: Copy + Default> Attempts<E> {
    /// An attempt begins.
    pub fn begin(&mut self, endpoint: E, began_us: u64) {
        let place = usize::from(self.made).min(MAX_ATTEMPTS - 1);
        self.kept[place] = Attempt {
            endpoint,
            ordinal: self.made,
            began_us: clamped(began_us),
            ..Attempt::default()
        };
        self.made = self.made.saturating_add(1);
    }

    /// The attempt under way has an answer.
    pub fn answered(&mut self, status: u16) {
        if let Some(last) = self.last_mut() {
            last.status = Some(status);
        }
    }

    /// The attempt under way is over without a whole answer, before the request is.
    pub fn failed(&mut self, fault: Fault, ended_us: u64) {
        if let Some(last) = self.last_mut() {
            last.ended_us = Some(clamped(ended_us));
            last.blame(fault);
        }
    }

    /// The attempt under way is over before the request is, whatever it was answered.
    pub fn ended(&mut self, ended_us: u64) {
        if let Some(last) = self.last_mut() {
            last.ended_us.get_or_insert(clamped(ended_us));
        }
    }

    /// The request ends, and with it an attempt that is still under way.
    pub fn end(&mut self, fault: Option<Fault>) {
        if let Some(last) = self.last_mut()
            && let (None, Some(fault)) = (last.ended_us, fault)
        {
            last.blame(fault);
        }
    }

    /// How many were made.
    pub fn made(&self) -> u8 {
        self.made
    }

    /// The endpoint tried last.
    pub fn last(&self) -> Option<E> {
        self.as_slice().last().map(|last| last.endpoint)
    }

    /// Those that are remembered, in order.
    pub fn as_slice(&self) -> &[Attempt<E>] {
        &self.kept[..usize::from(self.made).min(MAX_ATTEMPTS)]
    }

    /// The same with endpoints called otherwise.
    pub fn map<F: Copy + Default>(&self, name: impl Fn(E) -> F) -> Attempts<F> {
        let mut kept = [Attempt::default(); MAX_ATTEMPTS];
        for (named, attempt) in kept.iter_mut().zip(self.as_slice()) {
            let Attempt {
                endpoint,
                ordinal,
                began_us,
                ended_us,
                status,
                fault,
            } = *attempt;
            *named = Attempt {
                endpoint: name(endpoint),
                ordinal,
                began_us,
                ended_us,
                status,
                fault,
            };
        }
        Attempts {
            kept,
            made: self.made,
        }
    }

    fn last_mut(&mut self) -> Option<&mut Attempt<E>> {
        let count = usize::from(self.made).min(MAX_ATTEMPTS);
        self.kept[..count].last_mut()
    }
}

impl<E> Attempt<E> {
    /// A passed-on 5xx is said by the status.
    fn blame(&mut self, fault: Fault) {
        let told = fault.side() == Side::Upstream && fault != Fault::UpstreamStatus;
        self.fault = told.then_some(fault);
    }
}

fn clamped(micros: u64) -> u32 {
    // The largest number is left to say that there is none, where attempts are written down.
    u32::try_from(micros).unwrap_or(u32::MAX).min(u32::MAX - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_told_apart_and_only_upstreams_are_blamed() {
        let mut attempts = Attempts::default();
        attempts.failed(Fault::ConnectRefused, 1);
        attempts.end(Some(Fault::NoEndpoint));
        assert!(attempts.as_slice().is_empty());
        attempts.begin('a', 10);
        attempts.failed(Fault::ConnectRefused, 30);
        attempts.begin('b', 30);
        attempts.answered(200);
        attempts.end(Some(Fault::ClientDisconnect));
        let [first, second] = attempts.as_slice() else {
            panic!("{attempts:?}")
        };
        assert_eq!(
            (
                first.endpoint,
                first.ordinal,
                first.began_us,
                first.ended_us
            ),
            ('a', 0, 10, Some(30))
        );
        assert_eq!(first.fault, Some(Fault::ConnectRefused));
        assert_eq!(
            (second.ordinal, second.status, second.ended_us),
            (1, Some(200), None)
        );
        assert_eq!(second.fault, None);
    }

    #[test]
    fn an_answer_cut_short_is_the_last_attempts_fault_and_a_passed_on_5xx_is_its_status() {
        for (fault, wanted) in [
            (Fault::UpstreamReset, Some(Fault::UpstreamReset)),
            (Fault::UpstreamStatus, None),
            (Fault::Drained, None),
        ] {
            let mut attempts = Attempts::default();
            attempts.begin(1, 0);
            attempts.answered(500);
            attempts.end(Some(fault));
            assert_eq!(attempts.as_slice()[0].fault, wanted);
        }
    }

    #[test]
    fn an_answer_that_is_not_wanted_ends_its_attempt_without_more_blame() {
        let mut attempts = Attempts::default();
        attempts.begin(1, 0);
        attempts.answered(503);
        attempts.ended(40);
        attempts.begin(2, 50);
        attempts.end(Some(Fault::UpstreamReset));
        let [first, second] = attempts.as_slice() else {
            panic!("{attempts:?}")
        };
        assert_eq!((first.ended_us, first.status), (Some(40), Some(503)));
        assert_eq!(first.fault, None);
        assert_eq!(second.fault, Some(Fault::UpstreamReset));
    }

    #[test]
    fn of_very_many_the_first_and_the_last_are_remembered() {
        let mut attempts = Attempts::default();
        for endpoint in 0..1_000 {
            attempts.begin(endpoint, endpoint);
        }
        assert_eq!((attempts.made(), attempts.last()), (255, Some(999)));
        let named = attempts.map(|endpoint| endpoint + 1);
        let endpoints = named.as_slice().iter().map(|attempt| attempt.endpoint);
        assert_eq!(endpoints.collect::<Vec<_>>(), [1, 2, 3, 4, 5, 1_000]);
    }
}
