//! What a frame may cost: bytes to the terminal and allocations, which are the same on every machine.

use std::sync::Arc;

use ratatui::layout::Size;
use vestibule::clock::Tick;
use vestibule::net::address::Address;
use vestibule::tui::app::{Model, Msg, update};
use vestibule::tui::conn::{Feed, Link};
use vestibule::tui::keys::Key;
use vestibule::tui::out::Frames;
use vestibule::tui::tab::Tab;
use vestibule::tui::theme::Theme;
use vestibule::tui::view;

use crate::fixture;

/// What was spent on frames of one screen.
struct Spent {
    first_bytes: usize,
    mean_bytes: usize,
    /// The most of any frame but the first.
    most_allocations: u64,
    most_allocated: u64,
}

/// So many frames, a second of data apart.
fn spent(tab: Tab, routes: usize, frames_wanted: u64, (width, height): (u16, u16)) -> Spent {
    let size = Size::new(width, height);
    let address = Address::Socket("/run/vestibule.sock".into());
    let mut now = Tick::from_micros(1_000_000_000);
    let mut model = Model::new(address, Theme::default(), size, now);
    update(&mut model, Msg::Key(Key::Char(tab.digit())), now);
    let mut frames = Frames::new(size);
    let (mut bytes, mut allocations, mut allocated) = (Vec::new(), Vec::new(), Vec::new());
    let base = fixture::crowd(routes);
    for second in 0..frames_wanted {
        let snapshot = Arc::new(fixture::second(&base, second));
        now = now.plus(std::time::Duration::from_secs(1));
        let feed = Feed {
            snapshot: Some((snapshot, now)),
            link: Link::Live,
        };
        update(&mut model, Msg::Feed(feed), now);
        let mut length = 0;
        let counted = allocation_counter::measure(|| {
            let frame = frames.frame(|buffer| view(&model, buffer));
            length = frame.map_or(0, |frame| frame.len());
        });
        bytes.push(length);
        allocations.push(counted.count_total);
        allocated.push(counted.bytes_total);
    }
    let first_bytes = bytes.remove(0);
    Spent {
        first_bytes,
        mean_bytes: bytes.iter().sum::<usize>() / bytes.len(),
        most_allocations: allocations.split_off(1).into_iter().max().unwrap_or(0),
        most_allocated: allocated.split_off(1).into_iter().max().unwrap_or(0),
    }
}

/// Size, bytes of the first frame, mean bytes of the others, allocations and allocated bytes of any frame.
type Budget = ((u16, u16), usize, usize, u64, u64);

const BUDGETS: [Budget; 3] = [
    ((200, 60), 25_000, 4_000, 6_000, 700_000),
    ((120, 36), 12_000, 2_000, 4_000, 400_000),
    ((80, 24), 6_000, 1_000, 3_000, 300_000),
];

#[test]
fn frames_stay_within_their_budgets() {
    for (size, first, mean, allocations, allocated) in BUDGETS {
        for tab in Tab::ALL {
            // Other screens have nothing to do with how many routes there are.
            let routes = match tab {
                Tab::Triage | Tab::Routes => 1_000,
                _ => 20,
            };
            let spent = spent(tab, routes, 61, size);
            let told = format!(
                "{tab:?} {size:?}: first {} B, mean {} B, {} allocations of {} B",
                spent.first_bytes, spent.mean_bytes, spent.most_allocations, spent.most_allocated
            );
            assert!(spent.first_bytes <= first, "{told}");
            assert!(spent.mean_bytes <= mean, "{told}");
            assert!(spent.most_allocations <= allocations, "{told}");
            assert!(spent.most_allocated <= allocated, "{told}");
        }
    }
}

#[test]
fn ten_times_the_routes_make_no_larger_frame() {
    for tab in [Tab::Triage, Tab::Routes] {
        let [few, many] = [1_000, 10_000].map(|routes| spent(tab, routes, 4, (120, 36)));
        assert!(many.mean_bytes <= few.mean_bytes + 200);
        assert!(
            many.most_allocations <= few.most_allocations + 50,
            "{tab:?}: {} and {}",
            few.most_allocations,
            many.most_allocations
        );
    }
}
