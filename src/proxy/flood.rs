//! HTTP/2 frames that cost us work and a client nothing, by budget.
//!
//! h2 bounds by itself what grows with a client's frames: streams that are reset before they were begun, `CONTINUATION`, empty
//! `DATA`, compressed headers. It answers every `PING` and `SETTINGS`, reads every `PRIORITY`, and begins streams that are
//! reset at once (CVE-2023-44487) for as long as they come a few at a time. Honest clients do a little of that, and more beside
//! the bodies that they read and write and the requests that they wait for and give up; so each has a price, and what carries a request
//! pays some of it back: a client may go on for ever that resets a third of its streams.

use std::time::Duration;

use crate::clock::Tick;

/// Follows the frames of one connection (RFC 9113, 4.1), of which only the heads are looked at.
#[derive(Debug)]
pub(super) struct FrameBudget {
    /// Bytes that belong to what is known already.
    skip: u32,
    /// The beginning of a frame's head.
    head: [u8; HEAD],
    known: usize,
    left: u32,
    /// Since when the budget fills again.
    since: Option<Tick>,
    /// The streams from which on [`PATIENT`] was counted, the last first: those below the second are older than it.
    marks: [(u32, Tick); 2],
}

/// More frames than a client could have a reason to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flood;

/// Length, type, flags and stream.
const HEAD: usize = 9;
/// What a client begins with (RFC 9113, 3.4).
const PREFACE: u32 = 24;
/// What a young stream that is reset costs, and what one that is begun pays back.
const RESET: u32 = 6;
const BEGUN: u32 = 2;
/// Frames at once. Envoy's limits on frames that answer themselves are of this size.
const BURST: u32 = 1_000;
/// Further frames in a second.
const RATE: u64 = 100;
/// A stream that is reset after this long was waited for: it costs a frame.
const PATIENT: Duration = Duration::from_millis(500);

impl FrameBudget {
    pub(super) fn new() -> Self {
        Self {
            skip: PREFACE,
            head: [0; HEAD],
            known: 0,
            left: BURST,
            since: None,
            marks: [(0, Tick::default()); 2],
        }
    }

    /// Takes in what the client sent next. The clock is read only for frames that have a price.
    ///
    /// # Errors
    /// When its budget is spent.
    pub(super) fn take(&mut self, mut bytes: &[u8], now: impl Fn() -> Tick) -> Result<(), Flood> {
        loop {
            let belongs = bytes.len().min(self.skip as usize);
            bytes = bytes.get(belongs..).unwrap_or_default();
            self.skip -= u32::try_from(belongs).unwrap_or(self.skip);
            let wanted = bytes.len().min(HEAD - self.known);
            if wanted == 0 {
                return Ok(());
            }
            self.head[self.known..self.known + wanted].copy_from_slice(&bytes[..wanted]);
            self.known += wanted;
            bytes = &bytes[wanted..];
            if self.known == HEAD {
                self.known = 0;
                let [high, middle, low, kind, ..] = self.head;
                self.skip = u32::from_be_bytes([0, high, middle, low]);
                self.pay(kind, &now)?;
            }
        }
    }

    fn pay(&mut self, kind: u8, now: &impl Fn() -> Tick) -> Result<(), Flood> {
        const DATA: u8 = 0;
        const HEADERS: u8 = 1;
        const RST_STREAM: u8 = 3;
        const WINDOW_UPDATE: u8 = 8;
        const CONTINUATION: u8 = 9;
        match kind {
            HEADERS => {
                self.left = BURST.min(self.left + BEGUN);
                self.mark(now());
            }
            DATA if self.skip > 0 => self.left = BURST.min(self.left + 1),
            // Those that h2 has limits for; and a large download's are many.
            DATA | CONTINUATION | WINDOW_UPDATE => {}
            // PRIORITY, SETTINGS, PING, GOAWAY, a client's PUSH_PROMISE, and what nobody knows.
            kind => {
                let given_up = kind == RST_STREAM && self.stream() >= self.marks[1].0;
                let price = if given_up { RESET } else { 1 };
                let now = now();
                if self.left < price {
                    let since = self.since.replace(now).unwrap_or(now);
                    let waited = Duration::from_micros(now.micros_since(since));
                    let earned = waited.as_millis() as u64 * RATE / 1_000;
                    let earned = u32::try_from(earned).unwrap_or(BURST);
                    self.left = BURST.min(self.left.saturating_add(earned));
                } else if self.left == BURST || self.since.is_none() {
                    self.since = Some(now);
                }
                self.left = self.left.checked_sub(price).ok_or(Flood)?;
            }
        }
        Ok(())
    }
}

impl FrameBudget {
    /// The stream of the frame at hand (RFC 9113, 4.1).
    fn stream(&self) -> u32 {
        let [.., a, b, c, d] = self.head;
        u32::from_be_bytes([a, b, c, d]) & (u32::MAX >> 1)
    }

    /// Remembers about when streams were begun; their numbers rise (RFC 9113, 5.1.1).
    fn mark(&mut self, now: Tick) {
        let [(_, since), _] = self.marks;
        if self.marks[0].0 == 0 || now.micros_since(since) >= PATIENT.as_micros() as u64 {
            self.marks = [(self.stream(), now), self.marks[0]];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, length: u8) -> Vec<u8> {
        let mut frame = vec![0, 0, length, kind, 0, 0, 0, 0, 1];
        frame.resize(HEAD + usize::from(length), b'x');
        frame
    }

    fn begun() -> FrameBudget {
        let mut budget = FrameBudget::new();
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
        assert_eq!(budget.take(preface, Tick::default), Ok(()));
        budget
    }

    /// How many frames of this kind pass in one instant.
    fn passing(budget: &mut FrameBudget, kind: u8, at: Tick) -> usize {
        let ping = frame(kind, 8);
        let frames = 0..10_000;
        let passing = frames.take_while(|_| budget.take(&ping, || at).is_ok());
        let count = passing.count();
        // What was left of the frame that was too much.
        if count < 10_000 {
            assert_eq!(budget.take(&ping[HEAD..], || at), Ok(()));
        }
        count
    }

    #[test]
    fn what_costs_only_us_runs_out_and_comes_back_slowly() {
        let second = |secs| Tick::default().plus(Duration::from_secs(secs));
        for kind in [2, 4, 6, 7, 99] {
            let mut budget = begun();
            assert_eq!(passing(&mut budget, kind, second(0)), 1_000, "{kind}");
            assert_eq!(passing(&mut budget, kind, second(1)), 100, "{kind}");
            assert_eq!(passing(&mut budget, kind, second(61)), 1_000, "{kind}");
        }
    }

    #[test]
    fn what_carries_a_request_is_never_too_much() {
        for kind in [0, 1, 8, 9] {
            assert_eq!(passing(&mut begun(), kind, Tick::default()), 10_000);
        }
        // Every third is given up by its client.
        let mut budget = begun();
        let three = [frame(1, 8), frame(1, 8), frame(1, 8), frame(3, 4)].concat();
        for _ in 0..10_000 {
            assert_eq!(budget.take(&three, Tick::default), Ok(()));
        }
        // All of them.
        let one = [frame(1, 8), frame(3, 4)].concat();
        let passing = (0..10_000).take_while(|_| budget.take(&one, Tick::default).is_ok());
        assert_eq!(passing.count(), 248);
        // A client that measures its bandwidth pings once for what it receives and sends.
        let mut budget = begun();
        let pair = [frame(6, 8), frame(0, 100)].concat();
        for _ in 0..10_000 {
            assert_eq!(budget.take(&pair, Tick::default), Ok(()));
        }
    }

    /// A proxy in front of us gives up a hundred requests a second while an upstream hangs.
    #[test]
    fn streams_that_were_waited_for_are_given_up_at_little_cost() {
        let of = |kind: u8, stream: u32| {
            let mut frame = frame(kind, 4);
            frame[5..9].copy_from_slice(&stream.to_be_bytes());
            frame
        };
        let mut budget = begun();
        for turn in 0..60_000_u32 {
            let now = Tick::default().plus(Duration::from_millis(u64::from(turn) * 10));
            assert_eq!(budget.take(&of(1, 2 * turn + 1), || now), Ok(()));
            if let Some(given_up) = turn.checked_sub(100) {
                assert_eq!(
                    budget.take(&of(3, 2 * given_up + 1), || now),
                    Ok(()),
                    "{turn}"
                );
            }
        }
    }

    #[test]
    fn it_does_not_matter_how_bytes_come_in_pieces() {
        let stream: Vec<u8> = (0..1_001).flat_map(|_| frame(6, 8)).collect();
        for piece in [1, 2, 7, 9, 16, 17, 4_096] {
            let mut budget = begun();
            let (all, last) = stream.split_at(1_000 * 17);
            for bytes in all.chunks(piece) {
                assert_eq!(budget.take(bytes, Tick::default), Ok(()), "{piece}");
            }
            let outcomes = last
                .chunks(piece)
                .map(|bytes| budget.take(bytes, Tick::default));
            assert_eq!(outcomes.filter(Result::is_err).count(), 1, "{piece}");
        }
    }
}
