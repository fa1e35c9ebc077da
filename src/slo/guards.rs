//! What must be given beside a burn rate before an alert is believed: how few events, and how short a history, tell nothing.
//!
//! - **Few bad events.** A page needs 6 bad events in its long window and a ticket 5. At ten requests an hour one failure
//!   burns a 99.9 % budget 100 times too fast over the hour, and 1.4 times over three days: right by the formula, and no
//!   reason to wake anyone. At 50 requests a second the guard costs an eighth of a second. A probe's slots are seconds, and
//!   few: there a page needs three failed slots and a ticket two.
//! - **Little traffic.** A long window counts by its share of the traffic that is usual: with a tenth of the usual requests
//!   in it, ten times the factor must be exceeded, so that a row always stands for the share of the whole budget that it is
//!   meant for. A window with more than usual counts as it is. What is usual is the mean over the SLO's window; a service
//!   that is hardly used by night is judged mildly then, which is why it can be switched off.
//! - **Chance.** The ratio must be above the threshold with a confidence of 99.9 %, by Wilson's lower bound. Off unless
//!   asked for: at middling traffic it delays what is certain anyway.
//! - **Little history.** A long window of which less than half was measured counts what is missing as good, at the
//!   traffic that was seen (see [`burn::exceeds_young`](super::burn::exceeds_young)). So a fresh process pages on a total
//!   outage after 51.9 s, as an old one does, and not on the first failures it sees. Until then the alert is pending.
//!
//! A policy has them; the live engine, backtests and generated rules read the same.

use super::policy::Severity;
use crate::model::{MILLION, Sli, Slices, Slo, Vital, Worth};

/// What must be given beside a burn rate before an alert is believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guards {
    /// Bad events that a page needs in its long window; 0 switches the guard off.
    pub page_min_bad: u64,
    /// Bad events that a ticket needs in its long window; 0 switches the guard off.
    pub ticket_min_bad: u64,
    /// Whether a long window counts by its share of the usual traffic.
    pub volume_weight: bool,
    /// Whether the long window's ratio must be above the threshold by Wilson's lower bound.
    pub confidence: bool,
    /// Whether missing history counts as good while less than half of the long window was measured.
    pub young_history: bool,
}

impl Default for Guards {
    fn default() -> Self {
        Self {
            page_min_bad: 6,
            ticket_min_bad: 5,
            volume_weight: true,
            confidence: false,
            young_history: true,
        }
    }
}

impl Guards {
    /// No guards: the workbook's bare condition.
    pub const OFF: Self = Self {
        page_min_bad: 0,
        ticket_min_bad: 0,
        volume_weight: false,
        confidence: false,
        young_history: false,
    };

    /// The guards for an SLO. A probe's events are seconds and come in slots: what tells nothing is one or two failed slots,
    /// however long they are. Of seconds that nobody asks for, a page needs a minute and a ticket half of one; of
    /// configurations that were to be applied, three and two. Where events are slices of time, a page needs more than two bad ones and a ticket two; of
    /// slices that count by their share, bad shares that add up to two slices and to one. A composite's events count by their
    /// weights, and so do those that it needs; neither of these can be asked for certainty.
    #[must_use]
    pub fn of(self, slo: &Slo) -> Self {
        let (page, ticket) = match (slo.slices, slo.sli) {
            (
                None,
                Sli::Availability(_)
                | Sli::Latency { .. }
                | Sli::Connection
                | Sli::RateLimit
                | Sli::Vital(Vital::Handshake),
            ) => return self,
            (None, Sli::Composite(_)) => {
                // One bad event of the heaviest part is one.
                let weights = slo.parts.iter().map(|part| u64::from(part.weight));
                let heaviest = weights.max().unwrap_or(1);
                return Self {
                    page_min_bad: self.page_min_bad.saturating_mul(heaviest),
                    ticket_min_bad: self.ticket_min_bad.saturating_mul(heaviest),
                    confidence: false,
                    ..self
                };
            }
            (None, Sli::Probe { every }) => (3 * every.as_secs(), 2 * every.as_secs()),
            (None, Sli::Vital(Vital::Apply { .. })) => (3, 2),
            (None, Sli::Vital(Vital::Cpu { .. } | Vital::Memory { .. } | Vital::Health)) => {
                (60, 30)
            }
            (Some(Slices { worth, .. }), _) => match worth {
                Worth::Whole(_) => (3, 2),
                Worth::Share => (2 * MILLION, MILLION),
            },
        };
        // How sure one can be follows from how many events there were, which shares and weights do not tell.
        let is_counted = !slo.slices.is_some_and(|it| it.worth == Worth::Share);
        Self {
            page_min_bad: self.page_min_bad.min(1) * page,
            ticket_min_bad: self.ticket_min_bad.min(1) * ticket,
            confidence: self.confidence && is_counted,
            ..self
        }
    }

    /// Bad events that a row of this severity needs in its long window.
    pub const fn min_bad(self, severity: Severity) -> u64 {
        match severity {
            Severity::Page => self.page_min_bad,
            Severity::Ticket => self.ticket_min_bad,
        }
    }
}
