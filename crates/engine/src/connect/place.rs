use std::fmt;

/// Who is dialled and where, for errors: `the engine at tcp://10.0.0.1:2375`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) peer: &'static str,
    pub(super) address: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the {} at {}", self.peer, self.address)
    }
}

/// What is dialled unless somebody says otherwise.
pub(super) const ENGINE: &str = "engine";
