use std::time::Duration;

use longshore_core::{Timestamp, Workload, WorkloadState};

/// A span of time in Docker's words.
pub(super) fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    let minutes = seconds / 60;
    let hours = (seconds + 1800) / 3600;
    match () {
        () if seconds < 1 => "Less than a second".to_owned(),
        () if seconds == 1 => "1 second".to_owned(),
        () if seconds < 60 => format!("{seconds} seconds"),
        () if minutes == 1 => "About a minute".to_owned(),
        () if minutes < 60 => format!("{minutes} minutes"),
        () if hours == 1 => "About an hour".to_owned(),
        () if hours < 48 => format!("{hours} hours"),
        () if hours < 24 * 14 => format!("{} days", hours / 24),
        () if hours < 24 * 60 => format!("{} weeks", hours / 24 / 7),
        () if hours < 24 * 365 * 2 => format!("{} months", hours / 24 / 30),
        () => format!("{} years", hours / 24 / 365),
    }
}

/// The state in Docker's words: `Up 5 minutes`, `Exited (0) 3 seconds ago`.
pub(super) fn status(workload: &Workload, now: Timestamp) -> String {
    let detail = workload.detail.as_ref();
    let since = |at: Option<Timestamp>| span(now.since(at.unwrap_or(now)));
    let started = since(detail.and_then(|detail| detail.started));
    let finished = since(detail.and_then(|detail| detail.finished));
    let code = detail
        .and_then(|detail| detail.exit.as_ref()?.code)
        .map_or_else(|| "?".to_owned(), |code| code.to_string());
    match workload.state {
        WorkloadState::Created => "Created".to_owned(),
        WorkloadState::Running => match detail.map(|detail| detail.health.as_str()) {
            None | Some("") => format!("Up {started}"),
            Some("starting") => format!("Up {started} (health: starting)"),
            Some(health) => format!("Up {started} ({health})"),
        },
        WorkloadState::Paused => format!("Up {started} (Paused)"),
        WorkloadState::Restarting => format!("Restarting ({code}) {finished} ago"),
        WorkloadState::Removing => "Removal In Progress".to_owned(),
        WorkloadState::Dead => "Dead".to_owned(),
        _ => format!("Exited ({code}) {finished} ago"),
    }
}

/// A time as Docker prints it; "never" is the year 1.
pub(super) fn time(at: Option<Timestamp>) -> String {
    at.map_or_else(|| NEVER.to_owned(), |at| at.to_string())
}

pub(super) const NEVER: &str = "0001-01-01T00:00:00Z";

#[cfg(test)]
mod tests {
    use longshore_core::{ExitStatus, WorkloadDetail, WorkloadId};

    use super::*;

    #[test]
    fn spans_read_like_dockers() {
        for (seconds, words) in [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (60, "About a minute"),
            (3599, "59 minutes"),
            (3600, "About an hour"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"),
            (20 * 86_400, "2 weeks"),
            (90 * 86_400, "3 months"),
            (800 * 86_400, "2 years"),
        ] {
            assert_eq!(span(Duration::from_secs(seconds)), words);
        }
    }

    #[test]
    fn states_read_like_dockers() {
        let now = Timestamp::from_secs(1000);
        let mut workload = Workload::new(WorkloadId::new("a").unwrap());
        assert_eq!(status(&workload, now), "Created");
        let mut detail = WorkloadDetail::default();
        detail.started = Some(Timestamp::from_secs(700));
        detail.finished = Some(Timestamp::from_secs(997));
        detail.exit = Some(ExitStatus::exited(7));
        workload.detail = Some(detail);
        workload.state = WorkloadState::Running;
        assert_eq!(status(&workload, now), "Up 5 minutes");
        workload.state = WorkloadState::Exited;
        assert_eq!(status(&workload, now), "Exited (7) 3 seconds ago");
    }
}
