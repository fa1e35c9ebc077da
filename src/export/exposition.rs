//! The metrics page, in the format that its reader prefers.
//!
//! One walk over the snapshot says what is on the page, and each format writes it in its own way: no two pages of one
//! moment can differ in more than their format can say.

use super::otlp::Measured;

#[cfg(test)]
mod messages;
mod negotiate;
mod page;
mod protobuf;
mod series;
mod text;
mod wire;

pub use negotiate::{Format, Negotiated};

use protobuf::Messages;
use text::{Dialect, Text};

/// The metrics page.
pub fn render(format: Format, measured: &Measured) -> Vec<u8> {
    let capacity = FEW + measured.snapshot.totals.routes.len() * PER_ROUTE;
    match format {
        Format::Text => text(Dialect::Prometheus, capacity, measured),
        Format::OpenMetrics => text(Dialect::OpenMetrics, capacity, measured),
        Format::Protobuf => {
            let mut page = Messages::with_capacity(capacity);
            series::write(&mut page, measured);
            page.finish()
        }
    }
}

fn text(dialect: Dialect, capacity: usize, measured: &Measured) -> Vec<u8> {
    let mut page = Text::with_capacity(dialect, capacity);
    series::write(&mut page, measured);
    page.finish().into_bytes()
}

/// What a page holds whatever the configuration, and with each route and its SLOs, about, in bytes.
const FEW: usize = 32 * 1024;
const PER_ROUTE: usize = 8 * 1024;
