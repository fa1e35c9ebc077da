//! Which share of traces is looked at, and what spans are called.

/// A share of all traces, told by their ids: every place that knows the share picks the same traces.
///
/// The algorithm is that of OpenTelemetry's `TraceIdRatioBased` samplers: the lower half of the id, without its last
/// bit, is compared with the share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceShare(u64);

impl TraceShare {
    /// Every trace.
    pub const ALL: Self = Self(1 << 63);

    /// A share from 0 to 1; beyond it, the nearer end.
    pub fn new(share: f64) -> Self {
        let all = Self::ALL.0;
        Self(((share.clamp(0.0, 1.0) * all as f64) as u64).min(all))
    }

    /// Whether the trace whose id ends in these 64 bits belongs to it.
    pub const fn is_sampled(self, low: u64) -> bool {
        low >> 1 < self.0
    }
}

/// The span of a request's attempt at an upstream, made from the span of serving the request: a request is given one id
/// on its way, and the others need not be remembered.
///
/// One round of `SplitMix64` (Steele, Lea, Flood 2014), which maps no two ids to the same one; zero is no id.
pub const fn attempt_span(server: u64, ordinal: u8) -> u64 {
    let step = 0x9E37_79B9_7F4A_7C15_u64.wrapping_mul(ordinal as u64 + 1);
    let mixed = server.wrapping_add(step);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    let mixed = mixed ^ (mixed >> 31);
    if mixed == 0 { 1 } else { mixed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_takes_about_as_many_as_it_says() {
        for (share, least, most) in [(0.0, 0, 0), (0.1, 900, 1_100), (1.0, 10_000, 10_000)] {
            let share = TraceShare::new(share);
            let ids = (0..10_000_u64).map(|id| id.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            let taken = ids.filter(|id| share.is_sampled(*id)).count();
            assert!((least..=most).contains(&taken), "{taken}");
        }
        assert!(TraceShare::ALL.is_sampled(u64::MAX));
    }
}
