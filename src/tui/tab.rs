//! The screens that have a digit.

/// A screen that has a digit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Tab {
    /// What is wrong, since when, what changed, who pays.
    #[default]
    Triage,
    /// Every route.
    Routes,
    /// What was promised and what is left of it.
    Slos,
    /// Endpoints, and this process.
    Upstreams,
    /// The view from outside.
    Probes,
    /// When certificates end.
    Certs,
    /// Everything that happened, on one axis of time.
    Changes,
    /// What fires, and what to do.
    Alerts,
    /// A day and a month in a few lines.
    Exec,
}

impl Tab {
    /// Every one, in the order of the digits.
    pub const ALL: [Self; 9] = [
        Self::Triage,
        Self::Routes,
        Self::Slos,
        Self::Upstreams,
        Self::Probes,
        Self::Certs,
        Self::Changes,
        Self::Alerts,
        Self::Exec,
    ];

    /// Its place in [`Tab::ALL`].
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// Its key.
    pub const fn digit(self) -> char {
        match self {
            Self::Triage => '1',
            Self::Routes => '2',
            Self::Slos => '3',
            Self::Upstreams => '4',
            Self::Probes => '5',
            Self::Certs => '6',
            Self::Changes => '7',
            Self::Alerts => '8',
            Self::Exec => '0',
        }
    }

    /// Its title.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Triage => "Triage",
            Self::Routes => "Routes",
            Self::Slos => "SLO",
            Self::Upstreams => "Upstreams",
            Self::Probes => "Probes",
            Self::Certs => "Certs",
            Self::Changes => "Changes",
            Self::Alerts => "Alerts",
            Self::Exec => "Exec",
        }
    }

    /// Its title where there is little space.
    pub(crate) const fn short(self) -> &'static str {
        match self {
            Self::Triage => "Tri",
            Self::Routes => "Rt",
            Self::Slos => "SLO",
            Self::Upstreams => "Up",
            Self::Probes => "Prb",
            Self::Certs => "Crt",
            Self::Changes => "Chg",
            Self::Alerts => "Alr",
            Self::Exec => "Exec",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_digits_are_each_ones_own() {
        let mut digits: Vec<char> = Tab::ALL.iter().map(|tab| tab.digit()).collect();
        digits.sort_unstable();
        digits.dedup();
        assert_eq!(digits.len(), Tab::ALL.len());
        for (place, tab) in Tab::ALL.into_iter().enumerate() {
            assert_eq!(tab.index(), place);
        }
    }
}
