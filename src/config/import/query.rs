//! What a query of another tool asks for, as far as it can be recognised.
//!
//! A query is not run and not translated: Vestibule counts requests itself. It is recognised by the labels that exporters
//! of HTTP traffic have in common: a bound `le` of a histogram's buckets is a latency, a status an availability.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::time::Duration;

use regex::Regex;

use super::marks::{LONGEST_UNDER, SHORTEST_UNDER};
use crate::model::Sli;

/// A selector of a histogram's buckets: its name, and the value of its `le`.
static BUCKET: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"([A-Za-z_:][A-Za-z0-9_:]*)\s*\{[^}]*\ble\s*=~?\s*["']([^"']*)["']"#)
        .expect("the pattern is valid")
});

/// A matcher of a label that holds how a request ended.
static STATUS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r#"(?x) [{,]\s*
        (?: [a-z_]*status(?:_code|_class)? | [a-z_]*code(?:_class)? | class | outcome | error_type )
        \s* (?: =~ | !~ | != | = ) \s* ["']"#,
    )
    .expect("the pattern is valid")
});

/// A series that only counts what failed.
static FAILED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"\b[a-z_:]*(?:request|req|rq|response|http)[a-z_:]*(?:error|fail|5xx)[a-z0-9_:]*\s*[\[{]",
    )
    .expect("the pattern is valid")
});

/// The indicator that `queries` together are, or why there is none.
pub(super) fn recognise(queries: &[&str]) -> Result<Sli, String> {
    let mut bounds = BTreeSet::new();
    for query in queries {
        for found in BUCKET.captures_iter(query) {
            let (name, bound) = (&found[1], &found[2]);
            // As Prometheus 2 or 3 writes it: `1(\.0)?`.
            let bound = bound.replace("(\\\\.0)?", "").replace("(\\.0)?", "");
            if bound.contains("Inf") {
                continue;
            }
            bounds.insert(duration(name, &bound)?);
        }
    }
    match bounds.len() {
        0 => {}
        1 => {
            let under = bounds.pop_first().unwrap_or_default();
            if under < SHORTEST_UNDER || under > LONGEST_UNDER {
                return Err(format!(
                    "a bound of {} lies outside what Vestibule compares: 1ms to 10m",
                    humantime::format_duration(under)
                ));
            }
            return Ok(Sli::Latency { under });
        }
        _ => return Err("its query has several bounds of a histogram".to_owned()),
    }
    let tells = |query: &&str| STATUS.is_match(query) || FAILED.is_match(query);
    if queries.iter().any(tells) {
        Ok(Sli::AVAILABILITY)
    } else {
        Err("its query asks neither how requests ended nor how long they took".to_owned())
    }
}

/// A bound of the buckets of `name`.
fn duration(name: &str, bound: &str) -> Result<Duration, String> {
    let number: f64 = bound
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite() && *number > 0.0)
        .ok_or_else(|| format!("`{bound}` is not a bound of a histogram"))?;
    let milliseconds = ["milliseconds", "_ms_", "_msec", "rq_time"];
    let seconds = if milliseconds.iter().any(|word| name.contains(word)) {
        number / 1_000.0
    } else if name.contains("seconds") {
        number
    } else {
        return Err(format!("the unit of `{name}` is not in its name"));
    };
    // Beyond a day it is refused by the caller; the cast cannot overflow there.
    let micros = (seconds.min(86_400.0) * 1_000_000.0).round();
    Ok(Duration::from_micros(micros as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_of_common_exporters_are_recognised() {
        let latency = |ms| Sli::Latency {
            under: Duration::from_millis(ms),
        };
        for (query, sli) in [
            (
                "sum(rate(http_requests_total{job=\"a\",code=~\"(5..|429)\"}[{{.window}}]))",
                Sli::AVAILABILITY,
            ),
            (
                "sum(rate(nginx_ingress_controller_requests{ingress=\"a\",status!~\"5..\"}[5m]))",
                Sli::AVAILABILITY,
            ),
            (
                "sum(rate(envoy_cluster_upstream_rq_xx{envoy_response_code_class=\"5\"}[5m]))",
                Sli::AVAILABILITY,
            ),
            (
                "sum(rate(haproxy_backend_http_responses_total{code=\"5xx\"}[5m]))",
                Sli::AVAILABILITY,
            ),
            (
                "sum(rate(http_request_errors_total[5m]))",
                Sli::AVAILABILITY,
            ),
            (
                "sum(rate(traefik_service_request_duration_seconds_bucket{service=\"a\",le=\"0.3\"}[5m]))",
                latency(300),
            ),
            (
                "sum(rate(http_request_duration_seconds_bucket{le=~\"1(\\.0)?\"}[5m]))",
                latency(1_000),
            ),
            (
                "sum(rate(x_seconds_bucket{le=\"+Inf\"}[5m])) - sum(rate(x_seconds_bucket{le='2.5'}[5m]))",
                latency(2_500),
            ),
            (
                "rate(envoy_http_downstream_rq_time_bucket{le=\"250\"}[5m])",
                latency(250),
            ),
        ] {
            assert_eq!(recognise(&[query]), Ok(sli), "{query}");
        }
    }

    #[test]
    fn what_is_not_recognised_says_why() {
        for (query, why) in [
            ("sum(rate(jobs_total[5m]))", "neither how requests ended"),
            ("", "neither how requests ended"),
            ("latency_bucket{le=\"0.1\"}", "unit of `latency_bucket`"),
            ("a_seconds_bucket{le=\"x\"}", "`x` is not a bound"),
            ("a_seconds_bucket{le=\"-1\"}", "`-1` is not a bound"),
            ("a_seconds_bucket{le=\"1e300\"}", "lies outside"),
            ("a_seconds_bucket{le=\"0.00001\"}", "lies outside"),
            (
                "a_seconds_bucket{le=\"1\"} + a_seconds_bucket{le=\"2\"}",
                "several bounds",
            ),
        ] {
            let error = recognise(&[query]).unwrap_err();
            assert!(error.contains(why), "{query}: {error}");
        }
    }
}
