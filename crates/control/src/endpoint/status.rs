//! The `Status` column of `docker ps`, told again from times as they pass.

use std::time::Duration;

use longshore_core::{Timestamp, Workload, WorkloadDetail, WorkloadState};

/// A text and until when it stays true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Status {
    pub(super) text: String,
    pub(super) valid_until: Timestamp,
}

impl Status {
    fn fixed(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            valid_until: Timestamp::from_micros(u64::MAX),
        }
    }
}

/// What Docker would say of the workload now.
pub(super) fn status(workload: &Workload, now: Timestamp) -> Status {
    let Some(detail) = &workload.detail else {
        return Status::fixed(native_status(workload));
    };
    match workload.state {
        WorkloadState::Running | WorkloadState::Paused => running(workload, detail, now),
        WorkloadState::Restarting => ended("Restarting", detail, now),
        WorkloadState::Removing => Status::fixed("Removal In Progress"),
        WorkloadState::Dead => Status::fixed("Dead"),
        WorkloadState::Created => Status::fixed("Created"),
        _ if detail.finished.is_none() => Status::fixed(""),
        _ => ended("Exited", detail, now),
    }
}

fn running(workload: &Workload, detail: &WorkloadDetail, now: Timestamp) -> Status {
    let Some(started) = detail.started else {
        return Status::fixed(native_status(workload));
    };
    let (age, valid_until) = age(started, now);
    let text = if workload.state == WorkloadState::Paused {
        format!("Up {age} (Paused)")
    } else {
        match detail.health.as_str() {
            "" | "none" => format!("Up {age}"),
            "starting" => format!("Up {age} (health: starting)"),
            health => format!("Up {age} ({health})"),
        }
    };
    Status { text, valid_until }
}

fn ended(word: &str, detail: &WorkloadDetail, now: Timestamp) -> Status {
    let code = detail.exit.as_ref().and_then(|exit| exit.code);
    let code = code.map_or_else(|| "?".to_owned(), |code| code.to_string());
    match detail.finished {
        Some(finished) => {
            let (age, valid_until) = age(finished, now);
            Status {
                text: format!("{word} ({code}) {age} ago"),
                valid_until,
            }
        }
        None => Status::fixed(format!("{word} ({code})")),
    }
}

/// What the engine said when it was listed: all there is without an inspection.
fn native_status(workload: &Workload) -> String {
    let native = workload.native.as_deref();
    match native.and_then(|native| native.get("Status")?.as_str()) {
        Some(status) => status.to_owned(),
        None => match workload.state {
            WorkloadState::Running => "Up".to_owned(),
            WorkloadState::Paused => "Up (Paused)".to_owned(),
            WorkloadState::Created => "Created".to_owned(),
            state => {
                let word = state.as_str();
                word[..1].to_ascii_uppercase() + &word[1..]
            }
        },
    }
}

/// A span in Docker's words, and when the words change.
fn age(from: Timestamp, now: Timestamp) -> (String, Timestamp) {
    let passed = now.since(from);
    let (text, changes_at) = human(passed.as_secs());
    (text, from.after(Duration::from_secs(changes_at)))
}

/// Docker's units with its rounding, and the second from which the text is another one.
fn human(seconds: u64) -> (String, u64) {
    let minutes = seconds / 60;
    let hours = (seconds + HOUR / 2) / HOUR;
    let hour_at = |hours: u64| hours * HOUR - HOUR / 2;
    match (seconds, minutes, hours) {
        (0, ..) => ("Less than a second".to_owned(), 1),
        (1, ..) => ("1 second".to_owned(), 2),
        (..60, ..) => (format!("{seconds} seconds"), seconds + 1),
        (_, 1, _) => ("About a minute".to_owned(), 120),
        (_, ..60, _) => (format!("{minutes} minutes"), (minutes + 1) * 60),
        (_, _, 1) => ("About an hour".to_owned(), hour_at(2)),
        (_, _, ..48) => (format!("{hours} hours"), hour_at(hours + 1)),
        (_, _, ..336) => (format!("{} days", hours / 24), hour_at(hours + 1)),
        (_, _, ..1440) => (format!("{} weeks", hours / 24 / 7), hour_at(hours + 1)),
        (_, _, ..8760) => (format!("{} months", hours / 24 / 30), hour_at(hours + 1)),
        // Cut, not rounded: half an hour before the first year it reads "0 years", as Docker's does.
        _ => {
            let years = seconds / YEAR;
            (format!("{years} years"), (years + 1) * YEAR)
        }
    }
}

const HOUR: u64 = 3600;
const YEAR: u64 = 365 * 24 * HOUR;

#[cfg(test)]
mod tests {
    use longshore_core::{ExitStatus, WorkloadId};
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(seconds: u64, text: &str) {
        assert_eq!(human(seconds).0, text, "{seconds} s");
    }

    #[test]
    fn spans_read_as_docker_writes_them() {
        check(0, "Less than a second");
        check(1, "1 second");
        check(59, "59 seconds");
        check(60, "About a minute");
        check(119, "About a minute");
        check(120, "2 minutes");
        check(59 * 60 + 59, "59 minutes");
        check(3600, "About an hour");
        check(90 * 60, "2 hours");
        check(47 * 3600, "47 hours");
        check(48 * 3600, "2 days");
        check(13 * 24 * 3600, "13 days");
        check(14 * 24 * 3600, "2 weeks");
        check(60 * 24 * 3600, "2 months");
        check(365 * 24 * 3600 - 1800, "0 years");
        check(2 * 365 * 24 * 3600, "2 years");
    }

    fn workload(state: WorkloadState, detail: impl FnOnce(&mut WorkloadDetail)) -> Workload {
        let mut workload = Workload::new(WorkloadId::new("a").unwrap());
        workload.state = state;
        let mut given = WorkloadDetail::default();
        detail(&mut given);
        workload.detail = Some(given);
        workload
    }

    #[test]
    fn every_state_has_its_words() {
        let at = Timestamp::from_secs(1000);
        let say = |workload: &Workload| status(workload, Timestamp::from_secs(1300)).text;
        let mut up = workload(WorkloadState::Running, |detail| detail.started = Some(at));
        assert_eq!(say(&up), "Up 5 minutes");
        up.detail.as_mut().unwrap().health = "starting".into();
        assert_eq!(say(&up), "Up 5 minutes (health: starting)");
        up.state = WorkloadState::Paused;
        assert_eq!(say(&up), "Up 5 minutes (Paused)");
        let gone = workload(WorkloadState::Exited, |detail| {
            detail.finished = Some(at);
            detail.exit = Some(ExitStatus::exited(137));
        });
        assert_eq!(say(&gone), "Exited (137) 5 minutes ago");
        assert_eq!(say(&workload(WorkloadState::Created, |_| ())), "Created");
    }

    proptest! {
        /// The text is the same until the moment given, and that moment lies ahead.
        #[test]
        fn a_text_stays_true_until_it_says(seconds in 0u64..200_000_000) {
            let (text, until) = human(seconds);
            prop_assert!(until > seconds);
            prop_assert_eq!(human(until - 1).0, text);
        }
    }
}
