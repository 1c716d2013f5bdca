//! Identifiers and counters. Each is a type of its own, so that none stands in for another.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A tenant's property: the owner of hostnames and origins.
    PropertyId(i64)
}
number! {
    /// One hostname of a property, as the API names it.
    HostnameId(i64)
}
number! {
    /// The position of a change in the control plane's state. Starts at 1, has no gaps that a
    /// reader could see, and never goes back within an [`Epoch`].
    Revision(u64)
}
number! {
    /// One history of revisions. A control plane that was restored from a backup starts a higher one.
    Epoch(u64)
}
