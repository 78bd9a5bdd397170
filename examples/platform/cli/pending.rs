use clap::{Args, Subcommand};

use super::{Asked, HostArg, examples::PENDING_EXAMPLES};

#[derive(Debug, Subcommand)]
#[command(after_help = PENDING_EXAMPLES)]
pub enum Pending {
    /// List what waits for room and why, what is being made, and what has ended lately.
    #[command(visible_alias = "list")]
    Ls {
        #[command(flatten)]
        host: HostArg,
        /// Print it as JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make and start a container as soon as a node can take it.
    // Without this, a DOCKER_HOST in the environment shows as a required `--host`.
    #[command(override_usage = "platform pending run [OPTIONS] <IMAGE> [COMMAND]...")]
    Run(PendingRun),
    /// Give up what waits, by its id, the beginning of it, or its name.
    #[command(visible_alias = "remove")]
    Rm {
        #[command(flatten)]
        host: HostArg,
        work: String,
    },
}

#[derive(Args, Debug)]
pub struct PendingRun {
    #[command(flatten)]
    pub host: HostArg,
    /// The container's name, held from now on.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// How long it waits at most, such as 30m. Default: as long as it takes.
    #[arg(long, value_name = "DURATION")]
    pub patience: Option<String>,
    /// What has more is tried first; above 0 it may need leave of its own.
    #[arg(
        long,
        default_value_t = 0,
        allow_hyphen_values = true,
        value_name = "N"
    )]
    pub priority: i32,
    /// Only make it.
    #[arg(long)]
    pub no_start: bool,
    #[command(flatten)]
    pub asked: Asked,
    pub image: String,
    /// The command and its arguments, if not the image's own.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}
