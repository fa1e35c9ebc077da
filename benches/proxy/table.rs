//! The results as a Markdown table.

use std::fmt::{self, Write as _};

use super::meter::Sample;
use super::peer::Peer;

/// One row per scenario; the first peer is the one the others are compared with.
pub(crate) struct Table {
    names: Vec<String>,
    rows: Vec<String>,
}

impl Table {
    pub(crate) fn new(peers: &[Peer]) -> Self {
        Self {
            names: peers.iter().map(|peer| peer.name.clone()).collect(),
            rows: Vec::new(),
        }
    }

    /// Samples by round, then by peer.
    pub(crate) fn add(&mut self, scenario: &str, rounds: &[Vec<Sample>]) {
        let mut row = format!("| {scenario} |");
        for peer in 0..self.names.len() {
            let of_peer = |figure: fn(&Sample) -> f64| -> Spread {
                rounds.iter().map(|round| figure(&round[peer])).collect()
            };
            let (cpu, rate) = (
                of_peer(|sample| sample.cpu_us),
                of_peer(|sample| sample.rate),
            );
            write!(row, " {:.1} ({:.0}/s) |", cpu.median(), rate.median()).unwrap();
        }
        for peer in 1..self.names.len() {
            let ratio = |round: &Vec<Sample>| round[0].cpu_us / round[peer].cpu_us;
            let ratios: Spread = rounds.iter().map(ratio).collect();
            write!(
                row,
                " **{:.2}** ({:.2}-{:.2}) |",
                ratios.median(),
                ratios.0[0],
                ratios.0[ratios.0.len() - 1]
            )
            .unwrap();
        }
        self.rows.push(row);
    }

    pub(crate) fn last(&self) -> &str {
        self.rows.last().map_or("", String::as_str)
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| CPU µs per request (requests/s) |")?;
        for name in &self.names {
            write!(f, " {name} |")?;
        }
        for name in &self.names[1..] {
            write!(f, " ratio to {name} |")?;
        }
        writeln!(f, "\n|{}", "---|".repeat(self.names.len() * 2))?;
        for row in &self.rows {
            writeln!(f, "{row}")?;
        }
        Ok(())
    }
}

/// Figures in rising order; never empty.
struct Spread(Vec<f64>);

impl Spread {
    fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }
}

impl FromIterator<f64> for Spread {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_unstable_by(f64::total_cmp);
        Self(figures)
    }
}
