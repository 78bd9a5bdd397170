use std::path::PathBuf;

use clap::{Args, ValueEnum};
use longshore::core::Cleanup;

use super::HostArg;

#[derive(Args, Debug)]
pub struct Sessions {
    #[command(flatten)]
    pub host: HostArg,
    /// Only those that go on.
    #[arg(long)]
    pub live: bool,
    /// Of those that are recorded the newest so many; the server gives at most 1,000.
    #[arg(
        long,
        default_value_t = 20,
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub limit: u32,
    /// Print it as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Args, Debug)]
pub struct Replay {
    #[command(flatten)]
    pub host: HostArg,
    /// How many times as fast as it was, from 0.01 to 1000.
    #[arg(long, default_value = "1", value_name = "FACTOR", value_parser = speed)]
    pub speed: f64,
    /// The longest pause, in seconds of the recording: what is longer is shortened to that.
    #[arg(long, value_name = "SECONDS", value_parser = idle)]
    pub max_idle: Option<f64>,
    /// Write it to this file as asciicast instead; - is the standard output. The file must not be there.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["speed", "max_idle"])]
    pub to: Option<PathBuf>,
    /// The session's whole id; `platform sessions` lists those that are recorded.
    pub session: String,
}

fn speed(text: &str) -> Result<f64, String> {
    within(text, 0.01, 1000.0)
}

fn idle(text: &str) -> Result<f64, String> {
    within(text, 0.01, 86_400.0)
}

fn within(text: &str, least: f64, most: f64) -> Result<f64, String> {
    let number = text.parse().ok().filter(|it| (least..=most).contains(it));
    number.ok_or_else(|| format!("expected a number from {least} to {most}"))
}

#[derive(Args, Debug)]
pub struct SendSignal {
    #[command(flatten)]
    pub host: HostArg,
    /// The session's id, or its beginning; `platform sessions --live` lists them.
    pub session: String,
    /// Which: a name such as TERM, HUP or USR1, or a number.
    pub signal: String,
}

#[derive(Args, Debug)]
pub struct End {
    #[command(flatten)]
    pub host: HostArg,
    /// What its client is told; it is on the audit record, too.
    #[arg(long, value_name = "TEXT")]
    pub why: Option<String>,
    /// The session's id, or its beginning; `platform sessions --live` lists them.
    pub session: String,
}

/// What exec sessions through this manager may take, and what is kept of them: those of the exec
/// gateway (enter, attach, the web terminal), not docker exec, docker attach and platform exec.
#[derive(Args, Debug)]
#[command(next_help_heading = "Exec sessions")]
pub struct SessionArgs {
    /// Image, on the nodes already, with sh, tr, grep, sleep and kill in it, for containers without a
    /// shell where there is no stub: one of it stands beside such a container during sessions there and
    /// for a minute after them, in its process namespace, as root with SYS_PTRACE, KILL and DAC_OVERRIDE,
    /// without a network. It delivers signals, and ends what sessions leave behind.
    #[arg(long, value_name = "IMAGE")]
    pub exec_sidecar_image: Option<String>,
    /// How many stubs wait in each container that somebody was let into in the last five minutes, so
    /// that the next session there begins at once instead of being started by the engine; 0: none.
    /// Each is a process of about a megabyte in the container. 64 wait on a node at most. It needs a
    /// stub: see --exec-stub.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub exec_waiting: usize,
    /// Ends a session in which nothing came in or out for so long; `none`: never.
    #[arg(long, default_value = "24h", value_name = "DURATION|none")]
    pub exec_idle: String,
    /// Ends a session after so long in all; `none`: never.
    #[arg(long, default_value = "7d", value_name = "DURATION|none")]
    pub exec_longest: String,
    /// What is typed in a session waits until somebody else, who may enter it, looks on with platform
    /// watch --approve. People whom the control plane knows by the same name can't approve for each other.
    #[arg(long)]
    pub exec_moderated: bool,
    /// The least that `enter --cleanup` may ask for: what a session's processes may leave behind when it
    /// ends. `tree`: nothing; `foreground`: what is in the background; `none`: everything. Whoever may
    /// enter may then leave such processes in the container; nobody ends them but the container's end.
    #[arg(
        long,
        default_value_t = Cleanup::Tree,
        value_name = "tree|foreground|none"
    )]
    pub exec_least_cleanup: Cleanup,
    /// How many sessions one user may have at a time. A user is who a connection proves: a user of
    /// this machine, a certificate's name.
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub exec_sessions: usize,
    /// Records the output of every session of the exec gateway in this folder, which is made if missing:
    /// of enter, attach, the web terminal, LAIN's, Kubernetes' and ttyd's clients. docker exec, docker
    /// attach and platform exec go through the Docker API, and are neither recorded nor bounded. The
    /// records are served: the list at /api/sessions, a replay at /api/sessions/ID/replay. Whatever a
    /// session shows is in them, secrets too. A session that can't be recorded is ended, also when its
    /// own record reaches 256 MiB. One manager uses a folder at a time. Without it nothing is recorded.
    #[arg(long, value_name = "DIR")]
    pub exec_records: Option<PathBuf>,
    /// What happens when all records together reach 16 GiB, or 10,000 sessions.
    #[arg(
        long,
        value_enum,
        default_value_t,
        value_name = "WHAT",
        requires = "exec_records"
    )]
    pub exec_records_when_full: WhenRecordsAreFull,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum WhenRecordsAreFull {
    /// The records of the sessions that ended first are removed.
    #[default]
    RemoveOldest,
    /// No session is opened any more, until there is room.
    Refuse,
}
