use std::{collections::HashMap, time::Duration};

use longshore_core::{Error, ErrorKind, Identity};

/// How many sessions there may be, and what those of one user may take together. A user is an
/// [`Identity`]: the same name, proven in another way, is somebody else. What a single session may
/// take is in [`SessionOptions`](super::SessionOptions); both hold.
///
/// A session that has ended is kept for its grace time as long as nobody needs its place; then the
/// oldest goes, of the same user first.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct HubLimits {
    /// Of all users together. 10,000.
    pub sessions: usize,
    /// Of one user. 100.
    pub per_user: usize,
    /// Bytes of output a second that all sessions of a user may send together, to all who look at
    /// them, with bursts of one second. Each session has an equal share for the asking, so that the
    /// echo of one does not wait behind the flood of another; what some don't use the others may.
    /// `None`.
    pub user_bandwidth: Option<u64>,
    /// How long the sessions of a user may run, all added up. When it is used up they end with
    /// [`MaxDuration`](super::EndReason::MaxDuration), and the user opens no others until the next
    /// period. `None`.
    pub user_time: Option<UserTime>,
    /// Ends all sessions of a user when nothing came in or out of any of them for so long, with
    /// [`Idle`](super::EndReason::Idle). `None`.
    pub user_idle: Option<Duration>,
}

/// So much time within each period. Two sessions at once use it up twice as fast.
///
/// A user's period begins with his first session and is over when its length has passed; the next
/// begins with the next session, or right behind it if some go on. What is used is remembered for
/// the users with sessions and 10,000 others, those who used least being forgotten first; it does not
/// outlive the hub.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserTime {
    /// How long sessions may run.
    pub time: Duration,
    /// Within so long.
    pub every: Duration,
}

impl Default for HubLimits {
    fn default() -> Self {
        Self {
            sessions: 10_000,
            per_user: 100,
            user_bandwidth: None,
            user_time: None,
            user_idle: None,
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

    /// Sets the bytes of output a second of all sessions of a user, at least 1 KiB.
    #[must_use]
    pub fn with_user_bandwidth(mut self, bytes_per_second: u64) -> Self {
        self.user_bandwidth = Some(bytes_per_second.max(1024));
        self
    }

    /// Sets how long the sessions of a user may run together within each period, which has at least
    /// a second.
    #[must_use]
    pub fn with_user_time(mut self, time: Duration, every: Duration) -> Self {
        let every = every.max(Duration::from_secs(1));
        self.user_time = Some(UserTime { time, every });
        self
    }

    /// Ends all sessions of a user when nothing happens in any of them for so long.
    #[must_use]
    pub fn with_user_idle(mut self, idle: Duration) -> Self {
        self.user_idle = Some(idle);
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
    users: HashMap<Identity, usize>,
}

impl Census {
    pub(super) fn enter(&mut self, user: &Identity, limits: &HubLimits) -> Result<(), Full> {
        let has = self.users.get(user).copied().unwrap_or_default();
        if has >= limits.per_user {
            return Err(Full::User(has));
        }
        if self.all >= limits.sessions {
            return Err(Full::All(self.all));
        }
        self.all += 1;
        *self.users.entry(user.clone()).or_default() += 1;
        Ok(())
    }

    pub(super) fn leave(&mut self, user: &Identity) {
        self.all = self.all.saturating_sub(1);
        if let Some(count) = self.users.get_mut(user) {
            *count -= 1;
            if *count == 0 {
                self.users.remove(user);
            }
        }
    }
}
