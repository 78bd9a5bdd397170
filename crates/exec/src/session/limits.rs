use std::collections::HashMap;

use longshore_core::{Error, ErrorKind};

/// How many sessions there may be. One that has ended is kept for its grace time as long as nobody
/// needs its place; then the oldest goes, of the same user first.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct HubLimits {
    /// Of all users together. 10,000.
    pub sessions: usize,
    /// Of one user. 100.
    pub per_user: usize,
}

impl Default for HubLimits {
    fn default() -> Self {
        Self {
            sessions: 10_000,
            per_user: 100,
        }
    }
}

impl HubLimits {
    /// Sets how many sessions there may be, of all users and of one.
    #[must_use]
    pub fn with_sessions(mut self, all: usize, per_user: usize) -> Self {
        (self.sessions, self.per_user) = (all, per_user);
        self
    }
}

/// Why there is no room for another session.
#[derive(Clone, Copy, Debug)]
pub(super) enum Full {
    All(usize),
    User(usize),
}

impl From<Full> for Error {
    fn from(full: Full) -> Self {
        let what = match full {
            Full::All(has) => format!("there are {has} sessions already"),
            Full::User(has) => format!("this user has {has} sessions already"),
        };
        Self::new(ErrorKind::ResourceExhausted, what)
    }
}

/// Who has how many.
#[derive(Debug, Default)]
pub(super) struct Census {
    all: usize,
    users: HashMap<String, usize>,
}

impl Census {
    pub(super) fn enter(&mut self, user: &str, limits: &HubLimits) -> Result<(), Full> {
        let has = self.users.get(user).copied().unwrap_or_default();
        if has >= limits.per_user {
            return Err(Full::User(has));
        }
        if self.all >= limits.sessions {
            return Err(Full::All(self.all));
        }
        self.all += 1;
        *self.users.entry(user.to_owned()).or_default() += 1;
        Ok(())
    }

    pub(super) fn leave(&mut self, user: &str) {
        self.all = self.all.saturating_sub(1);
        if let Some(count) = self.users.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(user);
            }
        }
    }
}
