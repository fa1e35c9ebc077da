//! States as a shape and a word. Colour only repeats them.

use super::theme::Role;
use crate::slo::alert::AlertState;
use crate::slo::state::SloState;
use crate::snapshot::Standing;
use crate::triage::{Level, Locus, Strength};

/// A state as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) shape: &'static str,
    pub(crate) word: &'static str,
    pub(crate) role: Role,
}

impl Status {
    const fn new(shape: &'static str, word: &'static str, role: Role) -> Self {
        Self { shape, word, role }
    }

    /// `■ CRIT`.
    pub(crate) fn text(self) -> String {
        format!("{} {}", self.shape, self.word)
    }

    pub(crate) const OK: Self = Self::new("●", "OK", Role::Text);
    pub(crate) const NONE: Self = Self::new("○", "NONE", Role::Muted);
    pub(crate) const WARN: Self = Self::new("▲", "WARN", Role::Warn);
    pub(crate) const CRIT: Self = Self::new("■", "CRIT", Role::Crit);
    pub(crate) const FAIL: Self = Self::new("■", "FAIL", Role::Crit);
    pub(crate) const EJECTED: Self = Self::new("◐", "EJECTED", Role::Warn);
    pub(crate) const PAST: Self = Self::new("◂", "PAST", Role::Accent);
    pub(crate) const PAUSED: Self = Self::new("‖", "PAUSED", Role::Muted);
    pub(crate) const LATE: Self = Self::new("○", "LATE", Role::Warn);
    pub(crate) const EXPIRED: Self = Self::new("■", "EXPIRED", Role::Crit);
    pub(crate) const MISMATCH: Self = Self::new("■", "MISMATCH", Role::Crit);
    pub(crate) const MET: Self = Self::new("●", "MET", Role::Text);
    pub(crate) const MISSED: Self = Self::new("■", "MISSED", Role::Crit);
    pub(crate) const STALE: Self = Self::new("◌", "STALE", Role::Warn);
    pub(crate) const HELD: Self = Self::new("‖", "HELD", Role::Accent);
}

/// Every state a screen can show, for the legend.
pub(crate) const LEGEND: [Status; 22] = [
    Status::OK,
    Status::NONE,
    Status::new("○", "NO DATA", Role::Muted),
    Status::new("◌", "WARMING", Role::Muted),
    Status::WARN,
    Status::new("▲", "RISING", Role::Warn),
    Status::new("▲", "LOW", Role::Warn),
    Status::new("▲", "PENDING", Role::Warn),
    Status::new("▼", "RECOVERING", Role::Warn),
    Status::CRIT,
    Status::FAIL,
    Status::new("■", "FIRING", Role::Crit),
    Status::EJECTED,
    Status::MISMATCH,
    Status::EXPIRED,
    Status::MET,
    Status::MISSED,
    Status::LATE,
    Status::PAUSED,
    Status::STALE,
    Status::PAST,
    Status::HELD,
];

pub(crate) const fn standing(standing: Standing) -> Status {
    match standing {
        Standing::Ok => Status::OK,
        Standing::None => Status::NONE,
        Standing::Warn => Status::WARN,
        Standing::Crit => Status::CRIT,
    }
}

/// The verdict's badge.
pub(crate) const fn level(level: Level) -> Status {
    match level {
        Level::Ok => Status::new("●", "OK", Role::Strong),
        Level::Unknown => Status::new("○", "UNKNOWN", Role::Strong),
        Level::Warn => Status::new("▲", "WARN", Role::WarnBadge),
        Level::Crit => Status::new("■", "CRIT", Role::CritBadge),
    }
}

pub(crate) const fn slo(state: SloState) -> Status {
    match state {
        SloState::Ok => Status::OK,
        SloState::NoData => Status::new("○", "NO DATA", Role::Muted),
        SloState::Warming => Status::new("◌", "WARMING", Role::Muted),
        SloState::Recovering => Status::new("▼", "RECOVERING", Role::Warn),
        SloState::Low => Status::new("▲", "LOW", Role::Warn),
        SloState::Rising => Status::new("▲", "RISING", Role::Warn),
        SloState::Critical => Status::new("■", "CRITICAL", Role::Crit),
    }
}

pub(crate) const fn alert(state: AlertState) -> Status {
    match state {
        AlertState::Inactive => Status::new("○", "INACTIVE", Role::Muted),
        AlertState::Pending => Status::new("▲", "PENDING", Role::Warn),
        AlertState::Firing => Status::new("■", "FIRING", Role::Crit),
        AlertState::Resolved => Status::new("▼", "RESOLVED", Role::Muted),
    }
}

/// Whose fault, and whose not: the first thing asked at night.
pub(crate) const fn locus(locus: Locus) -> &'static str {
    match locus {
        Locus::None => "nobody's fault",
        Locus::Edge => "EDGE, not upstream",
        Locus::Upstream => "UPSTREAM, not edge",
        Locus::Client => "CLIENT, not edge",
        Locus::Network => "NETWORK, not edge",
        Locus::Certificate => "CERTIFICATE",
        Locus::Unknown => "side UNKNOWN",
    }
}

pub(crate) const fn strength(strength: Strength) -> &'static str {
    match strength {
        Strength::Weak => "SUSPECT weak",
        Strength::Strong => "SUSPECT strong",
    }
}
