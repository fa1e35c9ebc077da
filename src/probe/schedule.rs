//! When probes run: a fixed phase, an open loop, and one outcome for every slot.
//!
//! Slot *k* of a probe lies at φ + k·I on the Unix clock, where I is its interval and φ follows from its name alone. So
//! a restart changes nothing, a hundred probes do not start in one burst, and everyone can say which slots there should
//! have been. Slots do not wait for one another: a probe that hangs for a minute costs a minute of slots, as it costs
//! users a minute, while a loop that waits for its own timeout would see half of that.
//!
//! A slot that cannot be run is missed, and says why. Missed slots are neither good nor bad: they lower the coverage,
//! which is published beside the ratio. What was run, what was missed and what was never due add up: the outcomes of a
//! span are as many as [`Schedule::between`] counts in it, whatever happened meanwhile.
//!
//! While its route is in trouble a probe may hurry: each of its intervals is then parted into equal ones, with a slot at the
//! beginning of each. What a slot counts for is its own length, so an interval weighs the same however it is parted, and
//! whoever hurries sees an outage sooner and not larger. A change of pace waits for the next whole interval: the slot that
//! began the one under way has been counted for all of it.
//!
//! Nothing here reads a clock or waits; the caller says what time it is.

use std::time::Duration;

use crate::clock::Tick;
use crate::model::{Missed, Timestamp};

/// When a probe's slots are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schedule {
    every_ms: u64,
    phase_ms: u64,
}

impl Schedule {
    /// The slots of the probe called `name`, `every` apart. Below a millisecond is one millisecond.
    pub fn new(name: &str, every: Duration) -> Self {
        let every_ms = u64::try_from(every.as_millis()).unwrap_or(u64::MAX).max(1);
        Self {
            every_ms,
            phase_ms: hash(name) % every_ms,
        }
    }

    /// The distance from slot to slot.
    pub const fn every(self) -> Duration {
        Duration::from_millis(self.every_ms)
    }

    /// The same with every interval parted into so many; its slots are among the new ones. None is the same as one.
    #[must_use]
    pub const fn parted(self, parts: u32) -> Self {
        let parts = if parts == 0 { 1 } else { parts as u64 };
        let every_ms = if self.every_ms < parts {
            1
        } else {
            self.every_ms / parts
        };
        Self {
            every_ms,
            phase_ms: self.phase_ms % every_ms,
        }
    }

    /// The first slot after `at`.
    pub const fn after(self, at: Timestamp) -> Timestamp {
        Timestamp::from_millis(self.instant(self.passed(at)))
    }

    /// The last slot at or before `at`; `None` before the first one there ever was.
    pub const fn at_or_before(self, at: Timestamp) -> Option<Timestamp> {
        match self.passed(at).checked_sub(1) {
            Some(k) => Some(Timestamp::from_millis(self.instant(k))),
            None => None,
        }
    }

    /// How many slots lie after `after`, up to and including `until`: ⌊(until−φ)÷I⌋ − ⌊(after−φ)÷I⌋.
    pub const fn between(self, after: Timestamp, until: Timestamp) -> u64 {
        self.passed(until).saturating_sub(self.passed(after))
    }

    /// How many slots there have been up to and including `at`.
    const fn passed(self, at: Timestamp) -> u64 {
        match at.as_millis().checked_sub(self.phase_ms) {
            Some(since) => since / self.every_ms + 1,
            None => 0,
        }
    }

    const fn instant(self, k: u64) -> u64 {
        k.saturating_mul(self.every_ms)
            .saturating_add(self.phase_ms)
    }
}

/// FNV-1a, finished by a mix (splitmix64's), because names that differ in their last letter must not lie side by side.
/// Fixed for all time: with another hash every probe's phase would jump.
const fn hash(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    let mut place = 0;
    while place < bytes.len() {
        hash = (hash ^ bytes[place] as u64).wrapping_mul(0x0100_0000_01b3);
        place += 1;
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// Runs of one probe that may be under way at once: as many as overlap when each takes its whole timeout, and one more.
pub const fn most_in_flight(every: Duration, timeout: Duration) -> usize {
    let every = if every.is_zero() {
        1
    } else {
        every.as_micros()
    };
    timeout.as_micros().div_ceil(every) as usize + 1
}

/// Into how many parts the intervals of a probe that hurries are parted: at most [`MOST_PARTS`], each of whole seconds,
/// since that is what a slot counts for. One: it cannot hurry.
pub const fn parts(every: Duration) -> u32 {
    let seconds = every.as_secs();
    let mut parts = MOST_PARTS;
    while parts > 1 && !(every.subsec_nanos() == 0 && seconds.is_multiple_of(parts as u64)) {
        parts -= 1;
    }
    parts
}

/// A probe that hurries is run at most so many times as often.
pub const MOST_PARTS: u32 = 6;

/// What is to be done about slots that are due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Run this slot now; it counts for [`Ledger::every`]. Whoever is told so answers with [`Ledger::ended`].
    Start(Timestamp),
    /// These slots are not run.
    Missed {
        /// The first of them.
        first: Timestamp,
        /// How many there are.
        slots: u64,
        /// From one to the next, and what each counts for.
        every: Duration,
        /// Why.
        why: Missed,
    },
}

/// What the rest of the process says about running a probe now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// Why the probe is not to be run now whatever else is so: it is switched off, or in maintenance.
    pub off: Option<Missed>,
    /// Too many probes are under way altogether.
    pub overloaded: bool,
    /// Time was skipped since the last look: the clock was set, or the machine slept.
    pub clock_jumped: bool,
}

/// Which slots of one probe have been decided, and how many are under way.
#[derive(Clone, Debug)]
pub struct Ledger {
    schedule: Schedule,
    /// Every slot up to and including this instant has been started or missed.
    decided: Timestamp,
    in_flight: usize,
    timeout: Duration,
    /// Into how many the interval under way is parted.
    parts: u32,
    /// The same of those that begin from now on.
    wanted: u32,
}

/// The longest delay of a start that still counts as being on time.
const MOST_LATE: Duration = Duration::from_secs(1);

impl Ledger {
    /// Slots after `from` are to be decided, of runs that take at most `timeout`.
    pub fn new(schedule: Schedule, timeout: Duration, from: Timestamp) -> Self {
        Self {
            schedule,
            decided: from,
            in_flight: 0,
            timeout,
            parts: 1,
            wanted: 1,
        }
    }

    /// Goes on at the pace of `other`, whose schedule is the same.
    #[must_use]
    pub const fn at_the_pace_of(self, other: &Self) -> Self {
        Self {
            parts: other.parts,
            wanted: other.wanted,
            ..self
        }
    }

    /// Has the intervals that begin from now on parted into so many; 1 is calm.
    pub const fn pace(&mut self, parts: u32) {
        self.wanted = if parts == 0 { 1 } else { parts };
    }

    /// When there is something to decide next. The next whole interval begins with a slot at any pace.
    pub fn next(&self) -> Timestamp {
        let parted = self.schedule.parted(self.parts).after(self.decided);
        parted.min(self.schedule.after(self.decided))
    }

    /// From one slot to the next at the pace of the interval under way.
    pub const fn every(&self) -> Duration {
        self.schedule.parted(self.parts).every()
    }

    /// Every slot up to and including this instant has been started or missed.
    pub const fn decided(&self) -> Timestamp {
        self.decided
    }

    /// The schedule.
    pub const fn schedule(&self) -> Schedule {
        self.schedule
    }

    /// Decides every slot up to `now`: at most one start, and it is always the last. Each slot is decided once, also
    /// when `now` goes back.
    pub fn due(&mut self, now: Timestamp, around: Circumstances) -> Vec<Due> {
        let mut due = Vec::with_capacity(2);
        let skipped = around.off.unwrap_or(if around.clock_jumped {
            Missed::Clock
        } else {
            Missed::Late
        });
        let next = self.schedule.after(self.decided);
        if now >= next {
            due.extend(self.rest_before(next, skipped));
            self.parts = self.wanted;
        }
        let (schedule, every) = (self.schedule.parted(self.parts), self.every());
        let slots = schedule.between(self.decided, now);
        let Some(last) = schedule.at_or_before(now).filter(|_| slots > 0) else {
            return due;
        };
        let first = schedule.after(self.decided);
        self.decided = last;
        // Half an interval later the next slot is nearer than this one.
        let tolerance = MOST_LATE.min(every / 2);
        let why = if around.off.is_some() || now.since(last) > tolerance {
            Some(skipped)
        } else if self.in_flight >= most_in_flight(every, self.timeout) {
            Some(Missed::Overlap)
        } else if around.overloaded {
            Some(Missed::Overload)
        } else {
            None
        };
        let earlier = slots - u64::from(why != Some(skipped));
        if earlier > 0 {
            due.push(Due::Missed {
                first,
                slots: earlier,
                every,
                why: skipped,
            });
        }
        match why {
            Some(why) if why == skipped => {}
            Some(why) => due.push(Due::Missed {
                first: last,
                slots: 1,
                every,
                why,
            }),
            None => {
                self.in_flight += 1;
                due.push(Due::Start(last));
            }
        }
        due
    }

    /// What is left of the interval under way when the next one, at `next`, has begun: it cannot be run any more.
    fn rest_before(&mut self, next: Timestamp, why: Missed) -> Option<Due> {
        let end = Timestamp::from_millis(next.as_millis().saturating_sub(1));
        let schedule = self.schedule.parted(self.parts);
        let (first, slots) = (
            schedule.after(self.decided),
            schedule.between(self.decided, end),
        );
        self.decided = self.decided.max(end);
        (slots > 0).then_some(Due::Missed {
            first,
            slots,
            every: schedule.every(),
            why,
        })
    }

    /// A run that was started has ended.
    pub const fn ended(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// Runs under way.
    pub const fn in_flight(&self) -> usize {
        self.in_flight
    }
}

/// The slots after `last`, the last one on record, that passed while this process was not there, up to and including
/// `now`: the first of them, how many, and the distance between them. When the last one was `every` long because the probe
/// hurried, what was left of its interval comes first, to its end: whoever takes over begins with a whole interval.
pub fn slots_while_down(
    schedule: Schedule,
    (last, every): (Timestamp, Duration),
    now: Timestamp,
) -> Vec<(Timestamp, u64, Duration)> {
    let next = schedule.after(last);
    let end = Timestamp::from_millis(next.as_millis().saturating_sub(1));
    let whole = schedule.every().as_millis();
    // Anything else was another probe's by the same name.
    let is_part =
        !every.is_zero() && every < schedule.every() && whole.is_multiple_of(every.as_millis());
    let hurried = if is_part {
        schedule.parted(u32::try_from(whole / every.as_millis()).unwrap_or(1))
    } else {
        schedule
    };
    let rest = hurried.between(last, end);
    let slots = schedule.between(last, now);
    let spans = [
        (hurried.after(last), rest, hurried.every()),
        (next, slots, schedule.every()),
    ];
    spans
        .into_iter()
        .filter(|(_, slots, _)| *slots > 0)
        .collect()
}

/// The time that schedules go by: the wall clock's, but never backwards.
///
/// A wall clock that is set back is not followed, or slots would be run twice; one that is set forward is, and the slots
/// between are missed.
#[derive(Clone, Copy, Debug)]
pub struct ScheduleTime {
    wall: Timestamp,
    tick: Tick,
}

/// A wall clock further ahead than this of what has passed was set, rather than adjusted.
const JUMP: Duration = Duration::from_secs(1);

impl ScheduleTime {
    /// Begins at `wall`.
    pub const fn new(wall: Timestamp, tick: Tick) -> Self {
        Self { wall, tick }
    }

    /// The time now, and whether some was skipped since the last call.
    pub fn read(&mut self, wall: Timestamp, tick: Tick) -> (Timestamp, bool) {
        let passed = Duration::from_micros(tick.micros_since(self.tick));
        let expected = self.wall.plus(passed);
        if wall >= expected {
            let jumped = wall.since(expected) > JUMP;
            *self = Self::new(wall, tick);
            (wall, jumped)
        } else {
            // The anchor stays, so that no fraction of a millisecond is lost at each look.
            (expected, false)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: fn(u64) -> Timestamp = Timestamp::from_millis;

    #[test]
    fn a_phase_is_fixed_for_all_time() {
        for (name, every_s, first_after_epoch_ms) in [
            ("checkout", 60, 11_076),
            ("checkout", 5, 1_076),
            ("web", 60, 51_667),
        ] {
            let schedule = Schedule::new(name, Duration::from_secs(every_s));
            let first = MS(schedule.phase_ms);
            assert_eq!(first.as_millis(), first_after_epoch_ms, "{name}");
            assert_eq!(schedule.at_or_before(first), Some(first));
            assert_eq!(schedule.after(first), first.plus(schedule.every()));
        }
    }

    #[test]
    fn a_thousand_probes_do_not_start_in_a_burst() {
        let mut seconds = [0_u32; 60];
        for number in 0..1_000 {
            let schedule = Schedule::new(&format!("probe-{number}"), Duration::from_secs(60));
            seconds[(schedule.phase_ms / 1_000) as usize] += 1;
        }
        // 16.7 on average; 40 would be six standard deviations away.
        assert!(
            seconds.iter().all(|count| (2..40).contains(count)),
            "{seconds:?}"
        );
    }

    #[test]
    fn a_hanging_probe_costs_as_many_slots_as_the_outage_is_long() {
        // 60 s of black hole in 600 s, every 5 s, 10 s timeout: 10 %, not the 5.26 % of a loop that waits.
        let (every, timeout) = (Duration::from_secs(5), Duration::from_secs(10));
        let mut ledger = Ledger::new(Schedule::new("x", every), timeout, MS(1_000_000));
        let (mut ok, mut bad, mut running) = (0, 0, Vec::new());
        for second in 1_000..1_600 {
            running.retain(|end| {
                let over = *end <= second;
                if over {
                    ledger.ended();
                }
                !over
            });
            for due in ledger.due(MS(second * 1_000 + 999), Circumstances::default()) {
                match due {
                    Due::Start(slot) => {
                        let hangs = (1_200_000..1_260_000).contains(&slot.as_millis());
                        *(if hangs { &mut bad } else { &mut ok }) += 1;
                        running.push(second + if hangs { 10 } else { 1 });
                    }
                    missed @ Due::Missed { .. } => panic!("{missed:?}"),
                }
            }
        }
        assert_eq!((ok, bad), (108, 12));
    }

    #[test]
    fn a_process_killed_for_half_a_minute_accounts_for_every_slot_and_begins_without_a_burst() {
        let (begins, dies, is_back, ends) = (1_000_000, 1_060_000, 1_090_000, 1_150_000);
        for every in [1, 2, 5, 7, 30, 45, 60] {
            for name in ["front", "cart", "search", "a", "b", "c"] {
                let schedule = Schedule::new(name, Duration::from_secs(every));
                let mut decided = Vec::new();
                let mut starts_at_once = 0;
                let mut live = |from: u64, to: u64, decided: &mut Vec<Timestamp>| {
                    let mut ledger = Ledger::new(schedule, Duration::from_secs(1), MS(from));
                    for now in (from + 100..=to).step_by(100) {
                        let due = ledger.due(MS(now), Circumstances::default());
                        if now == from + 100 {
                            starts_at_once = due.len();
                        }
                        for due in due {
                            match due {
                                Due::Start(slot) => decided.push(slot),
                                missed @ Due::Missed { .. } => panic!("{missed:?}"),
                            }
                            ledger.ended();
                        }
                    }
                };
                live(begins, dies, &mut decided);
                // What is known of the last life is its last record; without one, nothing was ever due.
                if let Some(last) = decided.last().copied() {
                    for (first, slots, apart) in
                        slots_while_down(schedule, (last, schedule.every()), MS(is_back))
                    {
                        assert_eq!(apart, schedule.every());
                        decided.extend((0..slots).map(|it| first.plus(apart * it as u32)));
                    }
                }
                live(is_back, ends, &mut decided);
                let what = format!("{name} every {every} s");
                assert!(starts_at_once <= 1, "{what}: no burst");
                assert!(decided.is_sorted_by(|a, b| a < b), "{what}: each once");
                // ⌊(t₂ − φ) ÷ I⌋ − ⌊(t₁ − φ) ÷ I⌋
                let first = decided.first().copied().unwrap_or(MS(begins));
                let expected = schedule.between(MS(begins), MS(ends));
                assert_eq!(decided.len() as u64, expected, "{what}, from {first}");
            }
        }
    }

    #[test]
    fn a_slot_that_cannot_be_run_says_why() {
        let schedule = Schedule::new("x", Duration::from_secs(10));
        let start = schedule.after(MS(1_000_000_000));
        let before = MS(start.as_millis() - 1);
        let (calm, second) = (Circumstances::default(), Duration::from_secs(1));
        for (what, around, busy, delay, why) in [
            ("on time", calm, 0, Duration::ZERO, None),
            ("a little late", calm, 0, second, None),
            ("too late", calm, 0, second * 2, Some(Missed::Late)),
            (
                "its own runs hang",
                calm,
                2,
                Duration::ZERO,
                Some(Missed::Overlap),
            ),
            (
                "others take all there is",
                Circumstances {
                    overloaded: true,
                    ..calm
                },
                0,
                Duration::ZERO,
                Some(Missed::Overload),
            ),
            (
                "switched off",
                Circumstances {
                    off: Some(Missed::Paused),
                    overloaded: true,
                    ..calm
                },
                2,
                second * 9,
                Some(Missed::Paused),
            ),
            (
                "in maintenance",
                Circumstances {
                    off: Some(Missed::Maintenance),
                    ..calm
                },
                2,
                Duration::ZERO,
                Some(Missed::Maintenance),
            ),
            (
                "the clock was set forward",
                Circumstances {
                    clock_jumped: true,
                    ..calm
                },
                0,
                second * 2,
                Some(Missed::Clock),
            ),
        ] {
            let mut ledger = Ledger::new(schedule, Duration::from_secs(9), before);
            ledger.in_flight = busy;
            let expected = match why {
                None => Due::Start(start),
                Some(why) => Due::Missed {
                    first: start,
                    slots: 1,
                    every: schedule.every(),
                    why,
                },
            };
            assert_eq!(ledger.due(start.plus(delay), around), [expected], "{what}");
            assert_eq!(ledger.due(start.plus(delay), around), [], "{what}: once");
        }
    }

    #[test]
    fn time_is_not_relived_when_the_clock_is_set_back() {
        let mut time = ScheduleTime::new(MS(10_000), Tick::default());
        let tick = |ms: u64| Tick::from_micros(ms * 1_000);
        for (wall, passed, now, jumped) in [
            (10_500, 500, 10_500, false),
            (4_000, 1_000, 11_000, false),
            (4_500, 1_500, 11_500, false),
            (11_900, 1_600, 11_900, false),
            (60_000, 1_700, 60_000, true),
            (60_100, 1_800, 60_100, false),
        ] {
            assert_eq!(time.read(MS(wall), tick(passed)), (MS(now), jumped));
        }
    }

    proptest! {
        /// Whatever the pauses between looks, however the clock goes, whatever hangs: every slot of the span has one
        /// outcome, in order, and never more runs are under way than may be.
        #[test]
        fn outcomes_add_up_to_the_slots_of_the_span(
            name in "[a-z]{1,8}",
            every_ms in 1_u64..5_000,
            timeout_ms in 1_u64..20_000,
            steps in prop::collection::vec(
                (-3_000_i64..9_000, any::<bool>(), any::<bool>(), any::<bool>(), 0_usize..3), 1..60),
        ) {
            let schedule = Schedule::new(&name, Duration::from_millis(every_ms));
            let from = MS(1_000_000);
            let mut ledger = Ledger::new(schedule, Duration::from_millis(timeout_ms), from);
            let (mut now, mut latest, mut outcomes, mut expected_next) = (from, from, 0, schedule.after(from));
            for (step, paused, overloaded, clock_jumped, ended) in steps {
                now = MS(now.as_millis().saturating_add_signed(step));
                latest = latest.max(now);
                for _ in 0..ended.min(ledger.in_flight()) {
                    ledger.ended();
                }
                let off = paused.then_some(Missed::Paused);
                let around = Circumstances { off, overloaded, clock_jumped };
                let due = ledger.due(now, around);
                let starts = due.iter().filter(|due| matches!(due, Due::Start(_))).count();
                prop_assert!(starts <= 1, "no burst");
                for due in due {
                    let (first, slots) = match due {
                        Due::Start(slot) => (slot, 1),
                        Due::Missed { first, slots, .. } => (first, slots),
                    };
                    prop_assert_eq!(first, expected_next, "in order, without a hole");
                    expected_next = first.plus(schedule.every() * slots as u32);
                    outcomes += slots;
                }
                prop_assert!(ledger.in_flight() <= most_in_flight(schedule.every(), Duration::from_millis(timeout_ms)));
            }
            prop_assert_eq!(outcomes, schedule.between(from, latest));
        }

        /// A process that is killed and started again accounts for every slot, and runs none twice.
        #[test]
        fn a_restart_neither_repeats_nor_forgets_a_slot(
            name in "[a-z]{1,8}",
            every_ms in 1_u64..5_000,
            lived_ms in 0_u64..60_000,
            down_ms in 0_u64..60_000,
            lives_ms in 0_u64..60_000,
        ) {
            let schedule = Schedule::new(&name, Duration::from_millis(every_ms));
            let (born, calm) = (MS(5_000_000), Circumstances::default());
            let mut on_record = Vec::new();
            let mut live = |from: Timestamp, until: Timestamp| {
                let mut ledger = Ledger::new(schedule, Duration::from_millis(every_ms), from);
                while ledger.next() <= until {
                    for due in ledger.due(ledger.next(), calm) {
                        let Due::Start(slot) = due else { panic!("{due:?}") };
                        on_record.push((slot, 1, schedule.every()));
                        ledger.ended();
                    }
                }
            };
            let died = born.plus(Duration::from_millis(lived_ms));
            let reborn = died.plus(Duration::from_millis(down_ms));
            let end = reborn.plus(Duration::from_millis(lives_ms));
            live(born, died);
            live(reborn, end);
            let last = schedule.at_or_before(died).filter(|slot| *slot > born).unwrap_or(born);
            on_record.extend(slots_while_down(schedule, (last, schedule.every()), reborn));
            on_record.sort_unstable();
            let total: u64 = on_record.iter().map(|(_, slots, _)| slots).sum();
            prop_assert_eq!(total, schedule.between(born, end));
            let mut next = schedule.after(born);
            for (slot, slots, every) in on_record {
                prop_assert_eq!(slot, next);
                next = slot.plus(every * slots as u32);
            }
        }

        /// However often a probe changes its pace, is late or is killed: its slots follow one another without a hole or an
        /// overlap, so that whole intervals weigh what they last, and what fails weighs as long as it fails.
        #[test]
        fn a_change_of_pace_changes_no_weight(
            name in "[a-z]{1,8}",
            every_s in 1_u64..90,
            steps in prop::collection::vec((0_u64..200_000, any::<bool>(), any::<bool>()), 1..80),
        ) {
            let every = Duration::from_secs(every_s);
            let schedule = Schedule::new(&name, every);
            let born = MS(1_000_000);
            let mut ledger = Ledger::new(schedule, every, born);
            let (mut now, mut expected, mut last) = (born, schedule.after(born), None);
            for (step, hurries, killed) in steps {
                now = now.plus(Duration::from_millis(step));
                let mut seen = Vec::new();
                if let Some(last) = last.filter(|_| killed) {
                    seen = slots_while_down(schedule, last, now);
                    ledger = Ledger::new(schedule, every, now);
                }
                ledger.pace(if hurries { parts(every) } else { 1 });
                for due in ledger.due(now, Circumstances::default()) {
                    seen.push(match due {
                        Due::Start(slot) => (slot, 1, ledger.every()),
                        Due::Missed { first, slots, every, .. } => (first, slots, every),
                    });
                }
                for (first, slots, length) in seen {
                    prop_assert_eq!(first, expected, "no hole and no overlap");
                    prop_assert_eq!(length.subsec_nanos(), 0, "it counts whole seconds");
                    expected = first.plus(length * slots as u32);
                    last = Some((first.plus(length * (slots - 1) as u32), length));
                }
            }
        }
    }
}
