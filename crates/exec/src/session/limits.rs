use std::collections::HashMap;

use longshore_core::{Error, ErrorKind, Result};

/// How many sessions there may be.
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

/// Who has how many.
#[derive(Debug, Default)]
pub(super) struct Census {
    all: usize,
    users: HashMap<String, usize>,
}

impl Census {
    pub(super) fn enter(&mut self, user: &str, limits: &HubLimits) -> Result<()> {
        let full = |what: String| Err(Error::new(ErrorKind::ResourceExhausted, what));
        if self.all >= limits.sessions {
            return full(format!("there are {} sessions already", self.all));
        }
        let has = self.users.get(user).copied().unwrap_or_default();
        if has >= limits.per_user {
            return full(format!("this user has {has} sessions already"));
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
