//! Dense keys for things that configuration names.
//!
//! A key is given once per name for the life of the process, so it survives a reload and indexes flat tables. Names
//! live in the configuration, the store's dictionaries and the snapshot, never on the request path.

use serde::{Deserialize, Serialize};

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// The key as an index into a table.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}

key! {
    /// A route. [`RouteKey::NONE`] stands for requests that no route matched.
    RouteKey
}
key! {
    /// A service-level objective.
    SloKey
}
key! {
    /// One address of one upstream.
    EndpointKey
}

impl RouteKey {
    /// Requests that matched no route, or could not be read far enough to be routed. Always key 0, named `none`.
    pub const NONE: Self = Self(0);
}
