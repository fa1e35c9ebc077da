//! What a frame of the triage screen costs with 1,000 and with 10,000 routes: taking the snapshot in, painting, comparing with the
//! frame before, and encoding. `cargo bench --bench frame`.

#[path = "../tests/screens/fixture.rs"]
mod fixture;

use std::io::{self, Write as _};
use std::sync::Arc;

use ratatui::layout::Size;
use vestibule::clock::{Clock as _, SystemClock};
use vestibule::net::address::Address;
use vestibule::tui::app::{Model, Msg, update};
use vestibule::tui::conn::{Feed, Link};
use vestibule::tui::out::Frames;
use vestibule::tui::theme::Theme;
use vestibule::tui::view;

const ROUTES: [usize; 2] = [1_000, 10_000];
const FRAMES: usize = 300;

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "{FRAMES} frames, one second of data apart\n\
         {:>7}  {:>8}  {:>9}  {:>9}  {:>11}  {:>10}  {:>10}",
        "routes", "size", "p50", "p99", "first frame", "p50 bytes", "mean bytes"
    )?;
    for routes in ROUTES {
        for size in [(200, 60), (120, 36), (80, 24)] {
            measure(&mut out, routes, size)?;
        }
    }
    Ok(())
}

fn measure(out: &mut impl io::Write, routes: usize, (width, height): (u16, u16)) -> io::Result<()> {
    let clock = SystemClock::new();
    let size = Size::new(width, height);
    let address = Address::Socket("/run/vestibule.sock".into());
    let mut model = Model::new(address, Theme::default(), size, clock.tick());
    let mut frames = Frames::new(size);
    let (mut times, mut bytes) = (Vec::new(), Vec::new());
    let base = fixture::crowd(routes);
    for second in 0..FRAMES {
        let snapshot = Arc::new(fixture::second(&base, second as u64));
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
        "{routes:>7}  {:>8}  {:>7}µs  {:>7}µs  {first:>11}  {:>10}  {mean:>10}",
        format!("{width}x{height}"),
        times[times.len() / 2],
        times[times.len() * 99 / 100],
        bytes[bytes.len() / 2],
    )
}
