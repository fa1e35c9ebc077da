//! A route that grows slower by the day is told as a ticket, and wakes nobody.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use vestibule::clock::{Clock, ManualClock, SystemClock};
use vestibule::model::{Counts, Latency, Timestamp};
use vestibule::store::{self, MinuteBatch, RouteMinute};

use crate::harness::{Home, PATIENCE, of, stdout};
use crate::origin::Origin;

const HOUR_S: u64 = 3_600;
/// A week, the day before it, and some hours so that the last ones have been put together.
const HOURS: u64 = 9 * 24;

/// Nine days in `state` that end now: of two routes, one takes 5 % longer each day of the last three.
fn history(state: &Path) {
    let end = SystemClock::new().now().as_secs() / HOUR_S;
    let clock = Arc::new(ManualClock::new(Timestamp::from_secs(
        (end - HOURS) * HOUR_S,
    )));
    let opened = store::open(&store::Config::new(state.to_owned()), clock.clone())
        .expect("a history can be begun");
    for hour in end - HOURS..=end {
        let grown = (hour + 72).saturating_sub(end) as f64 / 24.0;
        let took = |days: f64| {
            let p95 = 200_000.0 * 1.05_f64.powf(days);
            let mut latency = Latency::new();
            latency.record_many(20_000, 900);
            latency.record_many(p95 as u64, 100);
            latency
        };
        let route = |id: &str, latency| RouteMinute {
            route: id.to_owned(),
            counts: Counts {
                good: 1_000,
                ..Counts::default()
            },
            latency: Some(latency),
            ..RouteMinute::default()
        };
        let batch = MinuteBatch {
            minute: hour * 60,
            routes: vec![route("grows", took(grown)), route("stays", took(0.0))],
            slos: Vec::new(),
        };
        opened.writer.minute(batch).expect("it is taken");
        opened
            .writer
            .flush(Duration::from_secs(30))
            .expect("it is written");
        clock.advance(Duration::from_secs(HOUR_S));
    }
    opened
        .writer
        .close(Duration::from_secs(30))
        .expect("it is written");
}

#[test]
fn a_route_that_grows_slower_by_the_day_is_a_ticket_and_no_page() {
    let origin = Origin::ok();
    let home = Home::new(&format!(
        "proxy.workers = 1\n\
         [[listener]]\nname = 'http'\naddress = '127.0.0.1:0'\n\
         [[upstream]]\nname = 'u'\nendpoints = ['{}']\n\
         [[route]]\nid = 'grows'\npath = '/a'\nupstream = 'u'\n\
         [[route]]\nid = 'stays'\npath = '/b'\nupstream = 'u'\n",
        origin.url()
    ));
    history(&home.state());
    let daemon = home.run();
    let alerts = daemon.until("the ticket", PATIENCE * 3, |snapshot| {
        let alerts = snapshot["alerts"].clone();
        (alerts.as_array().map(Vec::len) > Some(0)).then_some(alerts)
    });
    let alert = of(&alerts, "id", "slowdown:grows");
    assert_eq!(alerts.as_array().map(Vec::len), Some(1), "{alerts}");
    assert_eq!(alert["kind"], "slowdown", "{alert}");
    assert_eq!(alert["severity"], "ticket", "{alert}");
    assert_eq!(alert["state"], "firing", "{alert}");
    let text = alert["text"].as_str().unwrap_or_default();
    assert!(
        text.starts_with(
            "grows grows slower by the day: 95% of its requests took 201ms four days ago, 2"
        ),
        "{text}"
    );
    let said = stdout(&home.vestibule(&["status"]));
    assert!(said.contains("grows slower by the day"), "{said}");
    assert!(said.contains("look for what has grown since"), "{said}");
    assert!(daemon.stop().success());
}
