//! The two text formats: Prometheus' of version 0.0.4, and OpenMetrics 1.0.
//!
//! They differ in little. OpenMetrics names a counter's family without `_total`, states units, writes bounds as floats,
//! can carry exemplars, and ends with a mark, so that half a page is no page.

use std::fmt::Write as _;

use super::page::{Histogram, Number, Page, exemplar_labels};
use crate::catalog::{Kind, Series};
use crate::model::{Exemplar, Timestamp};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Prometheus,
    OpenMetrics,
}

/// A page of text.
#[derive(Debug)]
pub(super) struct Text {
    page: String,
    dialect: Dialect,
    /// The series begun last.
    series: Option<&'static Series>,
}

impl Text {
    pub(super) fn with_capacity(dialect: Dialect, capacity: usize) -> Self {
        Self {
            page: String::with_capacity(capacity),
            dialect,
            series: None,
        }
    }

    /// The whole page.
    pub(super) fn finish(mut self) -> String {
        if self.dialect == Dialect::OpenMetrics {
            self.page.push_str("# EOF\n");
        }
        self.page
    }

    fn describe(&mut self, what: &str, name: &str, text: &str) {
        for part in ["# ", what, " ", name, " ", text, "\n"] {
            self.page.push_str(part);
        }
    }

    /// The name of a sample, with its labels.
    fn name(&mut self, suffix: &str, labels: &[&str], bound: Option<&str>) {
        let series = self.series.expect("a series was begun");
        debug_assert_eq!(
            series.labels.len(),
            labels.len(),
            "{}: one value per label",
            series.name
        );
        self.page.push_str(series.name);
        self.page.push_str(suffix);
        let mut before = '{';
        for (label, value) in series.labels.iter().zip(labels) {
            self.page.push(before);
            self.page.push_str(label.name);
            self.page.push_str("=\"");
            escape(&mut self.page, value);
            self.page.push('"');
            before = ',';
        }
        if let Some(bound) = bound {
            self.page.push(before);
            self.page.push_str("le=\"");
            self.page.push_str(bound);
            self.page.push('"');
            before = ',';
        }
        if before == ',' {
            self.page.push('}');
        }
        self.page.push(' ');
    }

    fn number(&mut self, number: Number) {
        match number {
            Number::Count(count) => self.page.push_str(itoa::Buffer::new().format(count)),
            Number::Level(level) => float(&mut self.page, level),
            Number::Millionths(millionths_) => millionths(&mut self.page, millionths_),
        }
    }

    /// OpenMetrics 1.0, "Exemplars".
    fn exemplar(&mut self, exemplar: &Exemplar) {
        self.page.push_str(" # {");
        let [trace, span] = exemplar_labels(exemplar);
        for (before, (name, value)) in [("", trace), (",", span)] {
            for part in [before, name, "=\"", &value, "\""] {
                self.page.push_str(part);
            }
        }
        self.page.push_str("} ");
        millionths(&mut self.page, exemplar.duration_us);
        self.page.push(' ');
        instant(&mut self.page, exemplar.at);
    }
}

impl Page for Text {
    fn begin(&mut self, series: &'static Series) {
        let family = match self.dialect {
            Dialect::Prometheus => series.name,
            Dialect::OpenMetrics => series.name.strip_suffix("_total").unwrap_or(series.name),
        };
        self.describe("HELP", family, series.help);
        self.describe("TYPE", family, series.kind.as_str());
        if self.dialect == Dialect::OpenMetrics
            && let Some(unit) = series.unit.suffix()
        {
            self.describe("UNIT", family, unit.trim_start_matches('_'));
        }
        self.series = Some(series);
    }

    fn sample(&mut self, labels: &[&str], value: impl Into<Number>) {
        self.name("", labels, None);
        self.number(value.into());
        self.page.push('\n');
    }

    fn histogram(&mut self, labels: &[&str], histogram: &Histogram<'_>) {
        debug_assert!(self.series.is_some_and(|it| it.kind == Kind::Histogram));
        let exemplars = histogram.by_bucket();
        let mut le = String::new();
        for (bucket, (bound, count)) in histogram.durations.cumulative().enumerate() {
            le.clear();
            match (bound, self.dialect) {
                (None, _) => le.push_str("+Inf"),
                (Some(micros), Dialect::Prometheus) => millionths(&mut le, micros),
                (Some(micros), Dialect::OpenMetrics) => canonical(&mut le, micros),
            }
            self.name("_bucket", labels, Some(&le));
            self.number(Number::Count(count));
            if self.dialect == Dialect::OpenMetrics
                && let Some(exemplar) = exemplars[bucket]
            {
                self.exemplar(exemplar);
            }
            self.page.push('\n');
        }
        self.name("_sum", labels, None);
        self.number(Number::Millionths(histogram.sum_us));
        self.page.push('\n');
        self.name("_count", labels, None);
        self.number(Number::Count(histogram.durations.count()));
        self.page.push('\n');
    }
}

/// A label's value between its quotes.
fn escape(page: &mut String, value: &str) {
    let mut rest = value;
    while let Some((plain, special)) = rest
        .find(['\\', '"', '\n'])
        .and_then(|place| rest.split_at_checked(place))
    {
        page.push_str(plain);
        let mut characters = special.chars();
        match characters.next() {
            Some('\n') => page.push_str("\\n"),
            Some(other) => page.extend(['\\', other]),
            None => {}
        }
        rest = characters.as_str();
    }
    page.push_str(rest);
}

/// Millionths of one, exactly: `0.25`, `10`, `0.000001`.
fn millionths(page: &mut String, number: u64) {
    let (whole, fraction) = (number / 1_000_000, number % 1_000_000);
    page.push_str(itoa::Buffer::new().format(whole));
    if fraction > 0 {
        write(page, format_args!(".{fraction:06}"));
        page.truncate(page.trim_end_matches('0').len());
    }
}

/// The same as OpenMetrics wants a bound, so that it is the same text from everyone: a float, with `.0` if need be and an
/// exponent below a ten-thousandth (OpenMetrics 1.0, "Considerations: Canonical Numbers").
fn canonical(page: &mut String, number: u64) {
    if (1..100).contains(&number) {
        let float = number as f64 / 1e6;
        let text = format!("{float:e}");
        let (digits, exponent) = text.split_once("e-").unwrap_or((&text, "0"));
        return write(page, format_args!("{digits}e-{exponent:0>2}"));
    }
    millionths(page, number);
    if number.is_multiple_of(1_000_000) {
        page.push_str(".0");
    }
}

fn float(page: &mut String, number: f64) {
    if number.is_infinite() {
        page.push_str(if number > 0.0 { "+Inf" } else { "-Inf" });
    } else {
        write(page, format_args!("{number}"));
    }
}

/// Seconds since the epoch, to the millisecond.
fn instant(page: &mut String, at: Timestamp) {
    let millis = at.as_millis();
    write(
        page,
        format_args!("{}.{:03}", millis / 1_000, millis % 1_000),
    );
}

fn write(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text)
        .expect("writing to a string cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog;
    use crate::model::Durations;

    fn text(dialect: Dialect) -> Text {
        Text::with_capacity(dialect, 0)
    }

    #[test]
    fn millionths_are_written_exactly() {
        for (number, exact, bound) in [
            (5_000, "0.005", "0.005"),
            (10_000_000, "10", "10.0"),
            (1, "0.000001", "1e-06"),
            (12, "0.000012", "1.2e-05"),
            (100, "0.0001", "0.0001"),
            (2_500_000, "2.5", "2.5"),
            (0, "0", "0.0"),
        ] {
            let (mut plain, mut floating) = (String::new(), String::new());
            millionths(&mut plain, number);
            canonical(&mut floating, number);
            assert_eq!((&*plain, &*floating), (exact, bound));
        }
    }

    #[test]
    fn a_label_value_cannot_break_out_of_its_quotes() {
        let mut page = text(Dialect::Prometheus);
        page.series = Some(&catalog::RETRIES);
        page.sample(&["a\"} 1\n\\ü"], 0_u64);
        assert_eq!(
            page.finish(),
            "vestibule_upstream_retries_total{route=\"a\\\"} 1\\n\\\\ü\"} 0\n"
        );
    }

    #[test]
    fn openmetrics_names_a_counter_without_total_states_units_and_ends() {
        let mut page = text(Dialect::OpenMetrics);
        page.one(&catalog::PROCESS_CPU, 1.5);
        assert_eq!(
            page.finish(),
            "# HELP process_cpu_seconds CPU time used by this process.\n\
             # TYPE process_cpu_seconds counter\n\
             # UNIT process_cpu_seconds seconds\n\
             process_cpu_seconds_total 1.5\n# EOF\n"
        );
    }

    #[test]
    fn a_histogram_is_cumulative_and_shows_exemplars_where_they_belong() {
        let mut durations = Durations::default();
        durations.know(300_000);
        for micros in [1, 4_000, 260_000, 400_000, 11_000_000] {
            durations.record(micros);
        }
        let exemplar = Exemplar {
            at: Timestamp::from_millis(1_795_420_960_023),
            duration_us: 400_000,
            trace_id: 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736,
            span_id: 0x00f0_67aa_0ba9_02b7,
        };
        let histogram = Histogram {
            durations: &durations,
            sum_us: 11_664_001,
            exponential: None,
            exemplars: &[exemplar],
        };
        let page = |dialect| {
            let mut page = text(dialect);
            page.series = Some(&catalog::DURATION);
            page.histogram(&["r"], &histogram);
            page.finish()
        };
        let told = " # {trace_id=\"4bf92f3577b34da6a3ce929d0e0e4736\",span_id=\"00f067aa0ba902b7\"} 0.4 1795420960.023";
        let wanted = |one: &str, ten: &str, told: &str, end: &str| {
            let bucket = |le: &str, count: u64, told: &str| {
                format!(
                    "vestibule_request_duration_seconds_bucket{{route=\"r\",le=\"{le}\"}} {count}{told}\n"
                )
            };
            let mut page = String::new();
            for le in ["0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25"] {
                page += &bucket(le, 2, "");
            }
            page += &bucket("0.3", 3, "");
            page += &bucket("0.5", 4, told);
            for le in [
                "0.75",
                one,
                "2.5",
                if one == "1" { "5" } else { "5.0" },
                "7.5",
                ten,
            ] {
                page += &bucket(le, 4, "");
            }
            page += &bucket("+Inf", 5, "");
            page + "vestibule_request_duration_seconds_sum{route=\"r\"} 11.664001\n\
                    vestibule_request_duration_seconds_count{route=\"r\"} 5\n"
                + end
        };
        assert_eq!(page(Dialect::Prometheus), wanted("1", "10", "", ""));
        assert_eq!(
            page(Dialect::OpenMetrics),
            wanted("1.0", "10.0", told, "# EOF\n")
        );
    }
}
