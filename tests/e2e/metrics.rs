//! The metrics page, taken apart.

use std::collections::BTreeMap;

/// A scrape of the metrics page.
#[derive(Debug)]
pub(crate) struct Metrics {
    pub(crate) page: String,
    /// Name, labels and value of each sample.
    samples: Vec<(String, BTreeMap<String, String>, u64)>,
}

/// What was counted: by `route good` or `route side/fault`, only what is not zero.
pub(crate) type Ledger = BTreeMap<String, u64>;

impl Metrics {
    pub(crate) fn parse(page: String) -> Self {
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let pairs = labels.trim_end_matches('}').split("\",");
            let pairs = pairs.filter_map(|pair| pair.split_once("=\""));
            let labels = pairs.map(|(name, value)| {
                let value = value.trim_end_matches('"');
                (name.to_owned(), value.to_owned())
            });
            let value: f64 = value.parse().expect("a value is a number");
            (name.to_owned(), labels.collect(), value as u64)
        };
        let samples = samples.map(sample).collect();
        Self { page, samples }
    }

    /// The sum of all samples of a series with these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let values = self.values(name, labels);
        assert!(
            !values.is_empty() || !labels.is_empty(),
            "there is a series {name}"
        );
        values.into_iter().sum()
    }

    /// The same of samples that must be there.
    pub(crate) fn count(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let values = self.values(name, labels);
        let page = &self.page;
        assert!(!values.is_empty(), "{name} {labels:?} is not on\n{page}");
        values.into_iter().sum()
    }

    fn values(&self, name: &str, labels: &[(&str, &str)]) -> Vec<u64> {
        let wanted = |found: &BTreeMap<String, String>| {
            let has = |(name, value): &(&str, &str)| found.get(*name).is_some_and(|v| v == value);
            labels.iter().all(has)
        };
        let named = self.samples.iter().filter(|(found, _, _)| found == name);
        let samples = named.filter(|(_, found, _)| wanted(found));
        samples.map(|(_, _, value)| *value).collect()
    }

    /// What was counted. Asserts that outcomes and faults agree.
    pub(crate) fn ledger(&self) -> Ledger {
        let mut ledger = Ledger::new();
        let mut sums = BTreeMap::new();
        for (name, labels, value) in &self.samples {
            let label = |name: &str| labels[name].as_str();
            match name.as_str() {
                "vestibule_requests_total" => {
                    let (route, outcome) = (label("route"), label("outcome"));
                    *sums.entry((route, outcome)).or_insert(0_i64) += value.cast_signed();
                    if outcome == "good" && *value > 0 {
                        ledger.insert(format!("{route} good"), *value);
                    }
                }
                "vestibule_faults_total" if *value > 0 => {
                    let (route, side) = (label("route"), label("side"));
                    ledger.insert(format!("{route} {side}/{}", label("fault")), *value);
                    let outcome = if side == "downstream" {
                        "excluded"
                    } else {
                        "bad"
                    };
                    *sums.entry((route, outcome)).or_insert(0) -= value.cast_signed();
                }
                _ => {}
            }
        }
        sums.retain(|(_, outcome), difference| *outcome != "good" && *difference != 0);
        assert!(sums.is_empty(), "outcomes and faults differ: {sums:?}");
        ledger
    }
}
