use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use longshore::{
    core::Cleanup,
    exec::{
        WaitingStubs,
        record::{RecordLimits, Retention},
        session::{HubLimits, SessionOptions},
    },
};

use super::{Problems, positive};
use crate::cli::{SessionArgs, WhenRecordsAreFull};

/// Checked flags of exec sessions.
#[derive(Debug)]
pub struct SessionPlan {
    pub options: SessionOptions,
    pub limits: HubLimits,
    pub least_cleanup: Cleanup,
    pub sidecar_image: Option<String>,
    pub waiting: Option<WaitingStubs>,
    pub records: Option<(PathBuf, RecordLimits)>,
}

pub fn sessions(args: &SessionArgs, problems: &mut Problems) -> SessionPlan {
    let mut options = SessionOptions::default();
    let idle = limit("--exec-idle", &args.exec_idle);
    if let Some(idle) = problems.take(idle, None) {
        options = options.with_idle(idle);
    }
    let longest = limit("--exec-longest", &args.exec_longest);
    if let Some(longest) = problems.take(longest, None) {
        options = options.with_longest(longest);
    }
    if args.exec_moderated {
        options = options.with_moderation();
    }
    if args.exec_sessions == 0 {
        problems.add("--exec-sessions should be at least 1: with 0 nobody gets in");
    }
    let limits = HubLimits::default();
    let all = limits.sessions.max(args.exec_sessions);
    if args.exec_sidecar_image.as_deref() == Some("") {
        problems.add("--exec-sidecar-image is empty: expected the name of an image");
    }
    if args.exec_waiting > MOST_WAITING {
        problems.add(format!(
            "--exec-waiting should be at most {MOST_WAITING}: so many stubs wait on a node"
        ));
    }
    let waiting = NonZeroUsize::new(args.exec_waiting);
    let retention = match args.exec_records_when_full {
        WhenRecordsAreFull::RemoveOldest => Retention::RemoveOldest,
        WhenRecordsAreFull::Refuse => Retention::Keep,
    };
    let kept = RecordLimits::default().with_retention(retention);
    SessionPlan {
        options,
        limits: limits.with_sessions(all, args.exec_sessions),
        least_cleanup: args.exec_least_cleanup,
        sidecar_image: args.exec_sidecar_image.clone(),
        waiting: waiting.map(|count| WaitingStubs::default().with_per_container(count)),
        records: args.exec_records.clone().map(|folder| (folder, kept)),
    }
}

const MOST_WAITING: usize = 64;

fn limit(flag: &str, text: &str) -> Result<Option<Duration>, String> {
    match text {
        "none" => Ok(None),
        text => positive(flag, text)
            .map(Some)
            .map_err(|problem| format!("{problem}, or none for no limit")),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};

    fn plan(flags: &str) -> Result<SessionPlan, String> {
        let line = format!("platform manage nodes://a:1 {flags}");
        let cli =
            Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
        let Some(Command::Manage(args)) = cli.command else {
            panic!("{line}");
        };
        let mut problems = Problems::default();
        let plan = sessions(&args.sessions, &mut problems);
        problems.or(plan).map_err(|problems| problems.to_string())
    }

    #[test]
    fn sessions_are_bounded_unless_it_is_said_otherwise() {
        let plain = plan("").expect("all is well");
        let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));
        assert_eq!(plain.options.idle, hours(24));
        assert_eq!(plain.options.longest, hours(7 * 24));
        assert_eq!(plain.limits.per_user, 100);
        assert!(!plain.options.moderated);
        assert!(plain.records.is_none() && plain.sidecar_image.is_none());
        assert!(
            plan("--exec-moderated")
                .expect("all is well")
                .options
                .moderated
        );
        assert_eq!(plain.least_cleanup, Cleanup::Tree);
        let less = plan("--exec-least-cleanup none").expect("all is well");
        assert_eq!(less.least_cleanup, Cleanup::Nothing);
        assert_eq!(plain.waiting, None);
        let line = "--exec-idle none --exec-longest 90m --exec-sessions 20000 --exec-records /r \
                    --exec-sidecar-image busybox --exec-waiting 2";
        let other = plan(line).expect("all is well");
        assert_eq!(other.options.idle, None);
        assert_eq!(other.options.longest, Some(Duration::from_secs(5400)));
        assert_eq!(
            (other.limits.sessions, other.limits.per_user),
            (20_000, 20_000)
        );
        assert_eq!(other.sidecar_image.as_deref(), Some("busybox"));
        let two = NonZeroUsize::new(2).map(|two| WaitingStubs::default().with_per_container(two));
        assert_eq!(other.waiting, two);
        let (folder, limits) = other.records.expect("a folder was named");
        assert_eq!(folder, PathBuf::from("/r"));
        assert_eq!(limits.retention, Retention::RemoveOldest);
        let line = "--exec-records /r --exec-records-when-full refuse";
        let (_, limits) = plan(line).expect("all is well").records.expect("a folder");
        assert_eq!(limits.retention, Retention::Keep);
    }

    #[test]
    fn what_can_not_be_a_bound_is_refused_by_name() {
        for (flags, words) in [
            (
                "--exec-idle 0s",
                "--exec-idle should be a positive number, or none",
            ),
            ("--exec-longest soon", "invalid --exec-longest"),
            ("--exec-sessions 0", "--exec-sessions should be at least 1"),
            (
                "--exec-least-cleanup all",
                "expected tree, foreground or none",
            ),
            ("--exec-waiting 65", "--exec-waiting should be at most 64"),
            ("--exec-sidecar-image=", "--exec-sidecar-image is empty"),
            ("--exec-records-when-full refuse", "--exec-records <DIR>"),
        ] {
            let told = plan(flags).expect_err(flags);
            assert!(told.contains(words), "{flags}: {told}");
        }
    }
}
