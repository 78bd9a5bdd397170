use std::{path::PathBuf, sync::Arc};

use longshore_core::{Clock, Error, OsRandom, Random, Result, printable};

use super::RaftTimes;

/// One member of a [`RaftKv`](crate::RaftKv).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RaftOptions {
    /// Where waiting and leases take their time from.
    pub clock: Arc<dyn Clock>,
    /// Where the jitter of elections and retries comes from.
    pub random: Arc<dyn Random>,
    /// Where the log and the state are kept. Without one nothing survives the process, and a member
    /// that starts again needs all others to be there.
    pub directory: Option<PathBuf>,
    /// How patient the members are; the same on all.
    pub times: RaftTimes,
    me: usize,
    names: Vec<String>,
}

impl RaftOptions {
    /// The member `me` of these, in memory.
    ///
    /// # Errors
    /// The names are not one, three, five or seven; a name is empty, double or has other characters
    /// than letters, digits, `-`, `_` and `.`; or `me` is none of them.
    pub fn new<S: AsRef<str>>(
        me: &str,
        names: impl IntoIterator<Item = S>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self> {
        let names = check_names(names)?;
        let me = names.iter().position(|name| name == me).ok_or_else(|| {
            Error::invalid(format!(
                "{} is none of the managers {}",
                printable(me, LONGEST_NAME),
                names.join(", ")
            ))
        })?;
        Ok(Self {
            clock,
            random: Arc::new(OsRandom),
            directory: None,
            times: RaftTimes::default(),
            me,
            names,
        })
    }

    /// Keeps the log and the state in this directory; it is made where it is missing.
    #[must_use]
    pub fn with_directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.directory = Some(directory.into());
        self
    }

    /// Sets how patient the members are.
    #[must_use]
    pub fn with_times(mut self, times: RaftTimes) -> Self {
        self.times = times;
        self
    }

    /// Sets where jitter comes from.
    #[must_use]
    pub fn with_random(mut self, random: Arc<dyn Random>) -> Self {
        self.random = random;
        self
    }

    /// The name of this member.
    pub fn name(&self) -> &str {
        &self.names[self.me]
    }

    /// The names of all, sorted.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub(super) fn index(&self) -> usize {
        self.me
    }
}

/// The names of a cluster's members, sorted.
pub(super) fn check_names<S: AsRef<str>>(
    names: impl IntoIterator<Item = S>,
) -> Result<Vec<String>> {
    let mut names: Vec<String> = names
        .into_iter()
        .take(100)
        .map(|name| name.as_ref().to_owned())
        .collect();
    names.sort_unstable();
    let count = names.len();
    if !matches!(count, 1 | 3 | 5 | 7) {
        let why = match count {
            0 => "there is none",
            2 | 4 | 6 => {
                "an even number stands no more failures than one less, and needs one more to agree"
            }
            _ => "more than seven only make every change slower",
        };
        return Err(Error::invalid(format!(
            "{count} managers: 3 or 5 replicate a store among themselves (1 for development); {why}"
        )));
    }
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    for name in &names {
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(is_good) {
            return Err(Error::invalid(format!(
                "the manager's name {:?} has to be 1 to {LONGEST_NAME} letters, digits, -, _ or .",
                printable(name, LONGEST_NAME)
            )));
        }
    }
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::invalid(format!(
            "the manager {} is in the list twice",
            pair[0]
        )));
    }
    Ok(names)
}

pub(super) const LONGEST_NAME: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_many_managers_there_may_be() {
        let names = ["g", "f", "e", "d", "c", "b", "a", "h", "i"];
        for count in 0..=names.len() {
            let checked = check_names(&names[..count]);
            assert_eq!(checked.is_ok(), [1, 3, 5, 7].contains(&count), "{count}");
        }
        assert_eq!(check_names(&names[4..7]).unwrap(), ["a", "b", "c"]);
    }

    #[test]
    fn bad_names_are_refused() {
        for names in [
            ["a", "b", "a"],
            ["a", "b", ""],
            ["a", "b", "c,d"],
            ["a", "b", "ü"],
        ] {
            assert!(check_names(names).is_err(), "{names:?}");
        }
    }
}
