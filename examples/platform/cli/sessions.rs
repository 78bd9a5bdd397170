use std::path::PathBuf;

use clap::{Args, ValueEnum};
use longshore::core::Cleanup;

use super::HostArg;

#[derive(Args, Debug)]
pub struct Sessions {
    #[command(flatten)]
    pub host: HostArg,
    /// The newest so many; the server gives at most 1,000.
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub limit: u32,
    /// Print it as JSON.
    #[arg(long)]
    pub json: bool,
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
