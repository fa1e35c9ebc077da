//! One SLO's events as cumulative counters at four resolutions.
//!
//! A window's sum is the difference of two counters, so it costs the same for five minutes as for thirty days: the
//! finest tier that still reaches back to the window's old edge gives the counter there.
//!
//! | tier | kept | windows it serves | error at the old edge |
//! | --- | --- | --- | --- |
//! | 1 s | 10 min | up to 10 min | none |
//! | 1 min | 6.5 h | up to 6 h | under a minute |
//! | 5 min | 75 h | up to 3 d | under five minutes |
//! | 1 h | as long as asked | the budget's window | under an hour |
//!
//! The error is always towards more history, never less: an edge between two counters reads the older one.
//!
//! A counter takes 24 bytes. Full, that is 1,893 of them (45 KB) for the finer tiers and 722 (17 KB) for 30 days of
//! hours: 1,000 SLOs with thirty days of history take about 63 MB, with 92 days of hours 98 MB. Tiers grow with the
//! history that there is: a fresh process starts from nothing.

use std::collections::VecDeque;

use super::STALL_S;
use crate::model::{Span, Tally, Window};

/// A stretch of history to refill a ring with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Point {
    /// The second it begins, since the Unix epoch.
    pub start_secs: u64,
    /// How many seconds of it were measured, from its start.
    pub width_s: u64,
    /// What was counted in it; zero says "measured, and nothing happened".
    pub tally: Tally,
}

/// One SLO's events over time.
///
/// The ring runs on an axis of its own that never goes back: when the wall clock does, the ring keeps counting where
/// it is and treats every later second as that much further on. What happened ten minutes ago stays ten minutes ago.
#[derive(Clone, Debug)]
pub struct TallyRing {
    /// From the finest to the coarsest.
    tiers: [Tier; 4],
    /// The second after the newest one, on the ring's axis; `None` before anything was measured.
    end: Option<u64>,
    /// The counter at `end`.
    total: Mark,
    /// What to add to a wall-clock second to get one on the ring's axis.
    shift: u64,
    /// Whether the newest second comes from the store rather than from this process.
    restored: bool,
    /// A second whose counter is kept exactly, however long ago it is, and the counter once it is reached.
    pinned: Option<(u64, Option<Mark>)>,
}

/// Width in seconds and number of counters of the tiers whose length does not depend on the longest window. One
/// counter more than the span needs, for the floor at the old edge.
const FINE_TIERS: [(u64, usize); 3] = [(1, 601), (60, 391), (300, 901)];
/// The width of the coarsest tier, in seconds.
const HOUR_S: u64 = 3_600;

impl TallyRing {
    /// An empty ring that can be summed over windows up to `longest`.
    pub fn new(longest: Window) -> Self {
        let hours = longest.as_secs().div_ceil(HOUR_S) as usize + 2;
        let [seconds, minutes, fives] = FINE_TIERS.map(|(width, most)| Tier::new(width, most));
        Self {
            tiers: [seconds, minutes, fives, Tier::new(HOUR_S, hours)],
            end: None,
            total: Mark::default(),
            shift: 0,
            restored: false,
            pinned: None,
        }
    }

    /// Keeps the counter at the beginning of `second` exactly, in place of the one that was kept so before: a window that
    /// begins there is then summed without an error at its old edge. One that has passed is known as finely as its tier
    /// tells.
    pub fn pin(&mut self, second: u64) {
        if self.pinned.is_some_and(|(pinned, _)| pinned == second) {
            return;
        }
        let at = second.saturating_add(self.shift);
        let mark = self
            .end
            .filter(|end| at <= *end)
            .map(|end| if at == end { self.total } else { self.at(at) });
        self.pinned = Some((second, mark));
    }

    /// The second that [`TallyRing::pin`] was last told.
    pub fn pinned(&self) -> Option<u64> {
        self.pinned.map(|(second, _)| second)
    }

    /// Says that the process is measuring in second `now_secs`. Called once a second, traffic or not.
    ///
    /// The first call begins the history. A jump ahead of more than ten seconds leaves a gap that is not covered; a
    /// jump back shifts the ring's axis (see [`TallyRing`]).
    pub fn advance(&mut self, now_secs: u64) {
        // The last second of time has no second after it.
        let now_secs = now_secs.min(u64::MAX - 1);
        let Some(end) = self.end else {
            self.begin(now_secs);
            self.extend(now_secs + 1, Fill::MEASURED);
            return;
        };
        let head = end.saturating_sub(1);
        let mut now = now_secs.saturating_add(self.shift).min(u64::MAX - 1);
        if now < head {
            self.shift = head - now_secs;
            now = head;
        }
        if now < end {
            return;
        }
        if now - head > STALL_S || self.restored {
            self.extend(now, Fill::Gap);
        }
        self.extend(now + 1, Fill::MEASURED);
        self.restored = false;
    }

    /// Counts `tally` in second `second`: the newest one, or up to ten minutes late. A second that is later than the
    /// newest advances the ring to it; one that is older than ten minutes is counted in the oldest second that is
    /// still kept apart, so that nothing counted is lost.
    pub fn add(&mut self, second: u64, tally: Tally) {
        if self
            .end
            .is_none_or(|end| second.saturating_add(self.shift) >= end)
        {
            self.advance(second);
        }
        let head = self.end.unwrap_or_default().saturating_sub(1);
        let oldest = self.tiers[0].first.min(head);
        let at = second.saturating_add(self.shift).clamp(oldest, head);
        for tier in &mut self.tiers {
            tier.add_after(at, tally);
        }
        if let Some((second, Some(mark))) = &mut self.pinned
            && second.saturating_add(self.shift) > at
        {
            mark.tally += tally;
        }
        self.total.tally += tally;
    }

    /// What happened in the `window` that ends with second `now_secs`.
    pub fn over(&self, window: Window, now_secs: u64) -> Span {
        let Some(end) = self.end else {
            return Span::default();
        };
        let until = now_secs
            .saturating_add(self.shift)
            .saturating_add(1)
            .min(end);
        let newest = if until == end {
            self.total
        } else {
            self.at(until)
        };
        let oldest = self.at(until.saturating_sub(window.as_secs()));
        Span {
            tally: newest.tally - oldest.tally,
            covered_s: newest
                .covered_s
                .saturating_sub(oldest.covered_s)
                .min(window.as_secs()),
        }
    }

    /// Replaces everything by `points` from the store, oldest first, as it stands at `now_secs`.
    ///
    /// Seconds that no point covers count as not measured, so an idle minute needs its point of zeros. Give hours for
    /// what is old and minutes for what is recent, and let them meet: a point that begins before the previous one
    /// ended is left out, for its events would be counted twice. What begins at or after `now_secs` is left out too.
    pub fn restore(&mut self, points: impl IntoIterator<Item = Point>, now_secs: u64) {
        for tier in &mut self.tiers {
            tier.marks.clear();
        }
        (self.end, self.total, self.shift) = (None, Mark::default(), 0);
        if let Some((_, mark)) = &mut self.pinned {
            *mark = None;
        }
        for point in points {
            let until = point.start_secs.saturating_add(point.width_s).min(now_secs);
            if point.start_secs >= until || self.end.is_some_and(|end| point.start_secs < end) {
                continue;
            }
            if self.end.is_none() {
                self.begin(point.start_secs);
            }
            let coarsest = self.tiers.len() - 1;
            for tier in &mut self.tiers[..coarsest] {
                if tier.width < point.width_s {
                    // It knows more about time than the point does: it starts anew where the point ends, and whoever
                    // asks for an earlier second is answered by a coarser tier.
                    tier.restart(until);
                }
            }
            self.extend(point.start_secs, Fill::Gap);
            self.extend(until, Fill::Measured(point.tally));
        }
        self.restored = self.end.is_some();
    }

    /// The last ten minutes by the second, oldest first: (second on the wall clock, its events). Seconds without an
    /// event are left out.
    pub fn seconds(&self) -> impl Iterator<Item = (u64, Tally)> + '_ {
        self.steps(&self.tiers[0])
    }

    /// The last hours by the minute, oldest first: (first second on the wall clock, its events). Minutes without an
    /// event are left out; the newest one may still go on.
    pub fn minutes(&self) -> impl Iterator<Item = (u64, Tally)> + '_ {
        self.steps(&self.tiers[1])
    }

    fn steps<'a>(&'a self, tier: &'a Tier) -> impl Iterator<Item = (u64, Tally)> + 'a {
        let ends = tier.marks.iter().skip(1).chain([&self.total]);
        tier.marks
            .iter()
            .zip(ends)
            .zip((tier.first..).map(|step| step * tier.width))
            .map(|((from, to), start)| (start.saturating_sub(self.shift), to.tally - from.tally))
            .filter(|(_, tally)| tally.valid() > 0)
    }

    /// Begins the history, still empty, at `start`.
    fn begin(&mut self, start: u64) {
        for tier in &mut self.tiers {
            tier.begin(start);
        }
        if let Some((second, mark)) = &mut self.pinned
            && second.saturating_add(self.shift) <= start
        {
            *mark = Some(Mark::default());
        }
        self.end = Some(start);
    }

    /// Moves the end of history to `until`, setting every counter on the way.
    fn extend(&mut self, until: u64, fill: Fill) {
        let Some(from) = self.end.filter(|end| *end < until) else {
            return;
        };
        let base = self.total;
        for tier in &mut self.tiers {
            tier.extend(until, |start| fill.mark(base, from, until, start));
        }
        if let Some((second, mark @ None)) = &mut self.pinned {
            let at = second.saturating_add(self.shift);
            if at <= until {
                *mark = Some(fill.mark(base, from, until, at.max(from)));
            }
        }
        self.total = fill.mark(base, from, until, until);
        self.end = Some(until);
    }

    /// The counter at the beginning of second `start`, from the finest tier that reaches it.
    fn at(&self, start: u64) -> Mark {
        if let Some((second, Some(mark))) = self.pinned
            && second.saturating_add(self.shift) == start
        {
            return mark;
        }
        self.tiers
            .iter()
            .find_map(|tier| tier.at(start))
            .or_else(|| self.tiers.last()?.marks.front().copied())
            .unwrap_or_default()
    }
}

/// A cumulative counter: everything before some second.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    tally: Tally,
    covered_s: u64,
}

/// What a stretch of seconds that is being appended holds.
#[derive(Clone, Copy, Debug)]
enum Fill {
    /// Nothing was measured.
    Gap,
    /// Measured, with these events spread evenly.
    Measured(Tally),
}

impl Fill {
    /// Measured, and nothing happened so far.
    const MEASURED: Self = Self::Measured(Tally { good: 0, bad: 0 });

    /// The counter at `start`, where this lies in `from..until` and the counter at `from` is `base`.
    fn mark(self, base: Mark, from: u64, until: u64, start: u64) -> Mark {
        match self {
            Self::Gap => base,
            Self::Measured(tally) => {
                let (part, whole) = (start - from, until - from);
                let share =
                    |count: u64| (u128::from(count) * u128::from(part) / u128::from(whole)) as u64;
                Mark {
                    tally: base.tally
                        + Tally {
                            good: share(tally.good),
                            bad: share(tally.bad),
                        },
                    covered_s: base.covered_s.saturating_add(part),
                }
            }
        }
    }
}

/// Counters at every multiple of `width` seconds from `first * width` on, up to the end of history.
#[derive(Clone, Debug)]
struct Tier {
    width: u64,
    most: usize,
    first: u64,
    marks: VecDeque<Mark>,
}

impl Tier {
    fn new(width: u64, most: usize) -> Self {
        Self {
            width,
            most,
            first: 0,
            marks: VecDeque::new(),
        }
    }

    /// The history begins at `start`: nothing was before, so the step that holds it begins with zero.
    fn begin(&mut self, start: u64) {
        self.first = start / self.width;
        self.marks.clear();
        if !start.is_multiple_of(self.width) {
            self.marks.push_back(Mark::default());
        }
    }

    /// Forgets everything before `start`.
    fn restart(&mut self, start: u64) {
        self.first = start.div_ceil(self.width);
        self.marks.clear();
    }

    /// Sets the counters up to, and without, `until`.
    fn extend(&mut self, until: u64, mark: impl Fn(u64) -> Mark) {
        let next = self.first + self.marks.len() as u64;
        let last = until.div_ceil(self.width);
        // A jump longer than the tier: only what will be kept is set, whatever the jump's length.
        let from = next.max(last.saturating_sub(self.most as u64));
        if from > next {
            self.marks.clear();
            self.first = from;
        }
        for step in from..last {
            if self.marks.len() == self.most {
                self.marks.pop_front();
                self.first += 1;
            }
            self.marks.push_back(mark(step * self.width));
        }
    }

    /// Counts something that happened at `second` after later counters were set.
    fn add_after(&mut self, second: u64, tally: Tally) {
        let later = (second / self.width + 1).saturating_sub(self.first) as usize;
        for mark in self.marks.iter_mut().skip(later) {
            mark.tally += tally;
        }
    }

    /// The counter at the beginning of the step that holds `start`; `None` when this tier does not reach it.
    fn at(&self, start: u64) -> Option<Mark> {
        let place = (start / self.width).checked_sub(self.first)?;
        self.marks.get(usize::try_from(place).ok()?).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn tally(good: u64, bad: u64) -> Tally {
        Tally { good, bad }
    }

    fn ring() -> TallyRing {
        TallyRing::new(Window::days(30))
    }

    /// A ring that has measured every second of `from..=to`, with `each` in every one.
    fn steady(from: u64, to: u64, each: Tally) -> TallyRing {
        let mut ring = ring();
        for second in from..=to {
            ring.add(second, each);
        }
        ring
    }

    /// The oldest second a window may read, as the table of tiers promises.
    fn step_of(window: Window) -> u64 {
        match window.as_secs() {
            ..=600 => 1,
            601..=23_400 => 60,
            23_401..=270_000 => 300,
            _ => 3_600,
        }
    }

    #[test]
    fn nothing_measured_is_nothing_covered() {
        assert_eq!(ring().over(Window::minutes(5), 1_000), Span::default());
    }

    #[test]
    fn the_first_second_is_covered_and_counted() {
        let mut ring = ring();
        ring.add(1_000, tally(3, 1));
        assert_eq!(
            ring.over(Window::days(30), 1_000),
            Span {
                tally: tally(3, 1),
                covered_s: 1
            }
        );
    }

    #[test]
    fn idle_seconds_are_covered() {
        let mut ring = ring();
        for second in 100..400 {
            ring.advance(second);
        }
        assert_eq!(
            ring.over(Window::minutes(5), 399),
            Span {
                tally: Tally::default(),
                covered_s: 300
            }
        );
    }

    #[test]
    fn a_late_second_is_placed_where_it_happened() {
        let mut ring = steady(0, 700, tally(1, 0));
        ring.add(400, tally(0, 7));
        assert_eq!(ring.over(Window::from_secs(300), 700).tally, tally(300, 0));
        assert_eq!(ring.over(Window::from_secs(301), 700).tally, tally(301, 7));
    }

    #[test]
    fn a_second_older_than_ten_minutes_is_not_lost() {
        let mut ring = steady(0, 2_000, tally(1, 0));
        ring.add(3, tally(0, 7));
        assert_eq!(ring.over(Window::hours(1), 2_000).tally, tally(2_001, 7));
        assert_eq!(ring.over(Window::minutes(5), 2_000).tally, tally(300, 0));
    }

    #[test]
    fn a_jump_ahead_leaves_a_gap_that_is_not_covered() {
        let mut ring = steady(0, 99, tally(1, 0));
        ring.add(299, tally(5, 0));
        let span = ring.over(Window::minutes(5), 299);
        assert_eq!((span.tally, span.covered_s), (tally(105, 0), 101));
    }

    #[test]
    fn a_stall_of_a_few_seconds_is_covered() {
        let mut ring = steady(0, 99, tally(1, 0));
        ring.add(105, tally(6, 0));
        assert_eq!(ring.over(Window::minutes(5), 105).covered_s, 106);
    }

    #[test]
    fn a_jump_to_the_end_of_time_neither_hangs_nor_panics() {
        let mut ring = steady(0, 99, tally(1, 0));
        ring.add(u64::MAX, tally(5, 0));
        ring.advance(u64::MAX);
        assert_eq!(ring.over(Window::minutes(5), u64::MAX).tally, tally(5, 0));
    }

    #[test]
    fn a_clock_set_back_neither_hides_nor_repeats_what_was_counted() {
        let mut ring = steady(10_000, 10_299, tally(1, 1));
        for second in 6_400..6_500 {
            ring.advance(second);
            ring.add(second, tally(1, 0));
        }
        let span = ring.over(Window::hours(1), 6_499);
        assert_eq!(span.tally, tally(400, 300));
        // The first second after the step is counted in the last one before it.
        assert_eq!(span.covered_s, 399);
        let recent = ring.over(Window::from_secs(99), 6_499);
        assert_eq!(recent.tally, tally(99, 0));
    }

    #[test]
    fn minutes_and_seconds_tell_when_things_happened() {
        let mut ring = steady(60, 659, tally(1, 0));
        ring.add(130, tally(0, 2));
        assert!(ring.seconds().any(|step| step == (130, tally(1, 2))));
        assert_eq!(ring.seconds().count(), 600);
        assert_eq!(ring.minutes().nth(1), Some((120, tally(60, 2))));
    }

    #[test]
    fn restored_minutes_give_the_sums_that_were_stored() {
        let points = (0..180).map(|minute| Point {
            start_secs: 3_600 + minute * 60,
            width_s: 60,
            tally: tally(minute, 1),
        });
        let mut ring = ring();
        let now = 3_600 + 180 * 60 + 20;
        ring.restore(points, now);
        ring.advance(now);
        let span = ring.over(Window::hours(1), now);
        // The old edge lies inside minute 120, which is taken whole.
        assert_eq!(span.tally, tally((120..180).sum(), 60));
        // Twenty seconds passed between the last point and the start.
        assert_eq!(span.covered_s, 3_600);
        assert_eq!(
            ring.over(Window::minutes(5), now).tally,
            tally(175 + 176 + 177 + 178 + 179, 5)
        );
    }

    #[test]
    fn restored_hours_serve_the_long_windows() {
        let hours = (0..24).map(|hour| Point {
            start_secs: hour * 3_600,
            width_s: 3_600,
            tally: tally(10, 1),
        });
        let minutes = (0..60).map(|minute| Point {
            start_secs: 24 * 3_600 + minute * 60,
            width_s: 60,
            tally: tally(1, 0),
        });
        let mut ring = ring();
        let now = 25 * 3_600;
        ring.restore(hours.chain(minutes), now);
        ring.advance(now);
        let span = ring.over(Window::days(30), now);
        assert_eq!(
            (span.tally, span.covered_s),
            (tally(300, 24), 25 * 3_600 + 1)
        );
        assert_eq!(ring.over(Window::hours(1), now).tally, tally(60, 0));
    }

    #[test]
    fn overlapping_and_future_points_are_not_counted_twice() {
        let point = |start_secs, width_s, good| Point {
            start_secs,
            width_s,
            tally: tally(good, 0),
        };
        let mut ring = ring();
        ring.restore(
            [
                point(0, 3_600, 100),
                point(1_800, 60, 7),
                point(3_600, 60, 5),
                point(7_200, 60, 3),
            ],
            3_630,
        );
        ring.advance(3_630);
        let span = ring.over(Window::days(1), 3_630);
        assert_eq!((span.tally, span.covered_s), (tally(105, 0), 3_631));
    }

    #[test]
    fn time_between_the_store_and_the_start_is_a_gap_however_short() {
        let mut ring = ring();
        ring.restore(
            [Point {
                start_secs: 0,
                width_s: 60,
                tally: tally(60, 0),
            }],
            65,
        );
        ring.advance(65);
        assert_eq!(ring.over(Window::minutes(5), 65).covered_s, 61);
    }

    /// Seconds of traffic: how far each is from the one before, its events, and how late it is told.
    fn traffic() -> impl Strategy<Value = Vec<(u64, u64, u64, u64)>> {
        let step = prop_oneof![9 => 1_u64..3, 1 => 20_u64..4_000];
        prop::collection::vec((step, 0_u64..50, 0_u64..50, 0_u64..3), 1..400)
    }

    proptest! {
        #[test]
        fn a_window_sums_to_what_a_recount_gives(
            traffic in traffic(),
            window in prop_oneof![1_u32..601, 601_u32..23_400, 23_400_u32..270_000, 270_000_u32..2_592_000],
        ) {
            let window = Window::from_secs(window);
            let (mut ring, mut events, mut now) = (ring(), Vec::new(), 1_000_000_u64);
            let mut covered = Vec::new();
            for (step, good, bad, late) in traffic {
                if step > STALL_S || covered.is_empty() {
                    covered.push(now + step);
                } else {
                    covered.extend(now + 1..=now + step);
                }
                now += step;
                ring.advance(now);
                let second = now - late.min(covered.len() as u64 - 1);
                ring.add(second, tally(good, bad));
                events.push((second, tally(good, bad)));
            }
            let oldest = (now + 1).saturating_sub(window.as_secs());
            let recount = |from: u64| {
                events
                    .iter()
                    .filter(|(second, _)| *second >= from)
                    .fold(Tally::default(), |sum, (_, tally)| sum + *tally)
            };
            let span = ring.over(window, now);
            let floor = oldest - oldest % step_of(window);
            let least = recount(oldest);
            let most = recount(floor);
            prop_assert!(least.good <= span.tally.good && span.tally.good <= most.good);
            prop_assert!(least.bad <= span.tally.bad && span.tally.bad <= most.bad);
            let measured = |from: u64| covered.iter().filter(|second| **second >= from).count() as u64;
            prop_assert!(measured(oldest) <= span.covered_s);
            prop_assert!(span.covered_s <= measured(floor).min(window.as_secs()).max(measured(oldest)));
        }

        #[test]
        fn a_restart_gives_the_same_sums(
            minutes in prop::collection::vec((0_u64..500, 0_u64..50), 1..600),
            window in prop_oneof![Just(30_u32), Just(60), Just(120), Just(360), Just(1_440)],
        ) {
            let start = 1_200_000_u64;
            let mut lived = ring();
            for (place, (good, bad)) in minutes.iter().enumerate() {
                let minute = start + place as u64 * 60;
                for second in minute..minute + 60 {
                    lived.advance(second);
                }
                lived.add(minute + 30, tally(*good, *bad));
            }
            let now = start + minutes.len() as u64 * 60;
            let mut restored = ring();
            restored.restore(
                minutes.iter().enumerate().map(|(place, (good, bad))| Point {
                    start_secs: start + place as u64 * 60,
                    width_s: 60,
                    tally: tally(*good, *bad),
                }),
                now,
            );
            lived.advance(now);
            restored.advance(now);
            for later in [now, now + 59, now + 60, now + 1_000] {
                lived.advance(later);
                restored.advance(later);
                let window = Window::minutes(window);
                prop_assert_eq!(lived.over(window, later), restored.over(window, later));
            }
        }

        #[test]
        fn no_order_of_times_panics_or_invents_events(
            steps in prop::collection::vec((any::<bool>(), prop_oneof![0_u64..5_000, any::<u64>(), u64::MAX - 90..=u64::MAX], 0_u64..9), 1..80),
        ) {
            let (mut ring, mut sum) = (ring(), 0);
            for (add, second, good) in steps {
                if add {
                    ring.add(second, tally(good, 0));
                    sum += good;
                } else {
                    ring.advance(second);
                }
                for window in [Window::minutes(5), Window::hours(6), Window::days(30)] {
                    prop_assert!(ring.over(window, second).tally.good <= sum);
                }
            }
        }
    }
}
