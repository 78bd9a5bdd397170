use std::{fmt, sync::Arc};

use longshore_core::{ServiceName, printable};

/// Whose work waits. Owners take turns, and each has its share of the queue.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Owner {
    /// The embedding program's own.
    Program,
    /// Somebody's, for whom the program or its endpoint acts.
    Named(Arc<str>),
    /// A stack's.
    Stack(ServiceName),
}

impl Owner {
    pub(crate) fn named(name: &str) -> Self {
        Self::Named(printable(name, LONGEST_NAME).into())
    }

    /// Its name, if it is somebody's.
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Self::Named(name) => Some(name),
            Self::Program | Self::Stack(_) => None,
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Program => f.write_str("the program itself"),
            Self::Named(name) => f.write_str(name),
            Self::Stack(name) => write!(f, "stack {name}"),
        }
    }
}

/// Distinguished names of certificates are long.
const LONGEST_NAME: usize = 1024;
