//! A configuration is read or refused with a report that can be printed; nothing in it panics, the lints included.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use vestibule::config;
use vestibule::model::Timestamp;

fuzz_target!(|text: &str| {
    let none = |_: &str| None;
    // A directory that cannot be: no file that the text names is there.
    let base = Path::new("/dev/null/none");
    let now = Timestamp::from_millis(1_767_225_600_000);
    if let Err(report) = config::parse_and_lint("fuzz.toml", text, base, &none, now) {
        assert!(!report.to_string().is_empty());
        assert!(!report.render(false).is_empty());
    }
});
