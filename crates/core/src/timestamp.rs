use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::Error;

/// A point in time: microseconds since the Unix epoch.
///
/// One type serves for deadlines and for records. A [`Clock`](crate::Clock) never lets it run
/// backwards within a process; between machines it is only comparable within their skew, and
/// nothing in longshore orders events of different nodes by it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(u64);

impl Timestamp {
    /// The Unix epoch.
    pub const ZERO: Self = Self(0);

    /// From microseconds since the epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// From seconds since the epoch.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Whole seconds since the epoch.
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Later by `duration`, saturating.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(micros))
    }

    /// Earlier by `duration`, not before the epoch.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Self(self.0.saturating_sub(micros))
    }

    /// Time passed since `earlier`; zero if that lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }

    /// Reads RFC 3339, for example `2026-11-21T10:00:00.5Z`. Times before the epoch (Docker's
    /// `0001-01-01T00:00:00Z` for "never") read as `None`.
    ///
    /// # Errors
    /// The text is not in that form.
    pub fn parse_rfc3339(text: &str) -> crate::Result<Option<Self>> {
        let parsed = OffsetDateTime::parse(text, &Rfc3339).map_err(|error| {
            Error::invalid(format!("invalid time {text:?}: expected RFC 3339")).with_source(error)
        })?;
        let micros = parsed.unix_timestamp_nanos() / 1000;
        Ok(u64::try_from(micros).ok().map(Self))
    }
}

/// RFC 3339 in UTC.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1000)
            .ok()
            .and_then(|moment| moment.format(&Rfc3339).ok());
        match text {
            Some(text) => f.pad(&text),
            None => write!(f, "{}us", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_print_and_parse() {
        let at = Timestamp::from_micros(1_795_000_000_500_000);
        assert_eq!(Timestamp::parse_rfc3339(&at.to_string()).unwrap(), Some(at));
        assert_eq!(
            Timestamp::parse_rfc3339("0001-01-01T00:00:00Z").unwrap(),
            None
        );
        assert!(Timestamp::parse_rfc3339("yesterday").is_err());
    }

    #[test]
    fn arithmetic_saturates() {
        let at = Timestamp::from_secs(1);
        assert_eq!(at.before(Duration::from_secs(5)), Timestamp::ZERO);
        assert_eq!(at.since(Timestamp::from_secs(2)), Duration::ZERO);
        assert_eq!(at.after(Duration::MAX), Timestamp::from_micros(u64::MAX));
    }
}
