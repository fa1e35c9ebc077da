//! Which share of traces is looked at.

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
