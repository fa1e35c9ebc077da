//! What a frame of the triage screen costs with 1,000 routes: taking the snapshot in, painting, comparing with the
//! frame before, and encoding. `cargo bench --bench frame`.

#[path = "../tests/screens/fixture.rs"]
mod fixture;

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use ratatui::layout::Size;
use vestibule::clock::{Clock as _, SystemClock};
use vestibule::net::address::Address;
use vestibule::snapshot::Snapshot;
use vestibule::tui::app::{Model, Msg, update};
use vestibule::tui::conn::{Feed, Link};
use vestibule::tui::out::Frames;
use vestibule::tui::theme::Theme;
use vestibule::tui::view;

const ROUTES: usize = 1_000;
const FRAMES: usize = 600;

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{ROUTES} routes, {FRAMES} frames, one second of data apart\n\
         {:>8}  {:>9}  {:>9}  {:>11}  {:>10}  {:>10}",
        "size", "p50", "p99", "first frame", "p50 bytes", "mean bytes"
    )?;
    let clock = SystemClock::new();
    for (width, height) in [(200, 60), (120, 36), (80, 24)] {
        let size = Size::new(width, height);
        let address = Address::Socket("/run/vestibule.sock".into());
        let mut model = Model::new(address, Theme::default(), size, clock.tick());
        let mut frames = Frames::new(size);
        let (mut times, mut bytes) = (Vec::new(), Vec::new());
        for second in 0..FRAMES {
            let snapshot = Arc::new(nth(second as u64));
            let from = clock.tick();
            let feed = Feed {
                snapshot: Some((snapshot, from)),
                link: Link::Live,
            };
            update(&mut model, Msg::Feed(feed), from);
            let frame = frames.frame(|buffer| view(&model, buffer))?;
            times.push(clock.tick().micros_since(from));
            bytes.push(frame.len());
        }
        let first = bytes.remove(0);
        times.sort_unstable();
        bytes.sort_unstable();
        let mean = bytes.iter().sum::<usize>() / bytes.len();
        writeln!(
            out,
            "{:>8}  {:>7}µs  {:>7}µs  {first:>11}  {:>10}  {mean:>10}",
            format!("{width}x{height}"),
            times[times.len() / 2],
            times[times.len() * 99 / 100],
            bytes[bytes.len() / 2],
        )?;
    }
    Ok(())
}

/// The snapshot of second `second`: rates waver, and every minute the hour moves on by one column.
fn nth(second: u64) -> Snapshot {
    let mut snapshot = fixture::later(&fixture::crowd(ROUTES), Duration::from_secs(second));
    let waver =
        |rate: f64, salt: u64| rate * (1.0 + ((second * 7 + salt * 13) % 17) as f64 / 400.0);
    let minutes = second / 60;
    let shift = |series: &mut vestibule::snapshot::Series| {
        series.start = series.start.plus(Duration::from_secs(minutes * 60));
        let by = minutes as usize % series.requests.len();
        series.requests.rotate_left(by);
        series.bad.rotate_left(by);
        series.p99_us.rotate_left(by);
    };
    shift(&mut snapshot.edge.series);
    let edge = &mut snapshot.edge.now;
    edge.rate_per_s = edge.rate_per_s.map(|rate| waver(rate, 1));
    for (salt, route) in (0..).zip(&mut snapshot.routes) {
        shift(&mut route.series);
        route.now.rate_per_s = route.now.rate_per_s.map(|rate| waver(rate, salt));
        route.now.p99_us = route
            .now
            .p99_us
            .map(|micros| waver(micros as f64, salt) as u64);
    }
    snapshot
}
