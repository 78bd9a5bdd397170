use std::{path::PathBuf, str::FromStr};

use clap::Args;

use super::{DiscoveryArgs, SessionArgs, TlsArgs};

/// Where the stub for exec sessions comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StubChoice {
    Auto,
    None,
    File(PathBuf),
}

impl FromStr for StubChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("expected a file, auto or none".to_owned()),
            "auto" => Ok(Self::Auto),
            "none" => Ok(Self::None),
            file => Ok(Self::File(file.into())),
        }
    }
}

#[derive(Args, Debug)]
pub struct Manage {
    #[command(flatten)]
    pub discovery: DiscoveryArgs,
    /// How nodes are ranked: spread, binpack or random.
    #[arg(long, default_value = "spread")]
    pub strategy: String,
    /// Filter to use; several replace the default list and its order
    /// (health, port, containerslots, dependency, affinity, constraint, whitelist).
    #[arg(long, short = 'f', value_name = "NAME")]
    pub filter: Vec<String>,
    /// Address to listen on: `unix:///path` or `tcp://host:port`; may be given several times.
    #[arg(
        long,
        short = 'H',
        env = "SWARM_HOST",
        value_delimiter = ',',
        default_value = "tcp://127.0.0.1:2375",
        value_name = "URL"
    )]
    pub host: Vec<String>,
    /// Address at which other managers reach this one.
    #[arg(long, visible_alias = "addr", value_name = "HOST:PORT")]
    pub advertise: Option<String>,
    /// Run as one of several managers (needs a key-value store; raft:// is one without
    /// a server).
    #[arg(long, visible_alias = "leader-election")]
    pub replication: bool,
    /// How long leadership lasts without renewal.
    #[arg(
        long,
        default_value = "20s",
        allow_hyphen_values = true,
        value_name = "DURATION"
    )]
    pub replication_ttl: String,
    /// How long a request waits for a primary while nobody leads, before it is refused.
    #[arg(long, default_value = "30s", value_name = "DURATION")]
    pub replication_timeout: String,
    /// DANGEROUS: serve TCP without TLS to other machines. Whoever can connect owns every node: they
    /// can run anything as root there.
    #[arg(long)]
    pub insecure_plaintext: bool,
    /// Name by which clients may call the endpoint on TCP without TLS, besides localhost and the
    /// address it listens at, and web pages the exec gateway; may be given several times.
    #[arg(long, value_name = "HOST")]
    pub allowed_host: Vec<String>,
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Shortest time between refreshes of a node.
    #[arg(
        long,
        default_value = "30s",
        allow_hyphen_values = true,
        value_name = "DURATION"
    )]
    pub engine_refresh_min_interval: String,
    /// Longest time between refreshes of a node.
    #[arg(
        long,
        default_value = "60s",
        allow_hyphen_values = true,
        value_name = "DURATION"
    )]
    pub engine_refresh_max_interval: String,
    /// So many failures make a node unhealthy.
    #[arg(
        long,
        default_value_t = 3,
        allow_negative_numbers = true,
        value_name = "N"
    )]
    pub engine_failure_retry: i64,
    /// Old name of --engine-failure-retry.
    #[arg(long, hide = true, default_value_t = 3)]
    pub engine_refresh_retry: i64,
    /// Time between reads of the discovery backend where it does not tell of changes.
    #[arg(
        long,
        default_value = "60s",
        allow_hyphen_values = true,
        value_name = "DURATION"
    )]
    pub heartbeat: String,
    /// Allow web pages of other sites to call the endpoint.
    #[arg(long, visible_alias = "cors")]
    pub api_enable_cors: bool,
    /// Only `swarm` is known.
    #[arg(long, short = 'c', default_value = "swarm", value_name = "DRIVER")]
    pub cluster_driver: String,
    /// swarm.overcommit=0.05, swarm.createretry=0, longshore.accounting=all (also: running, so that
    /// stopped containers take no processors and no memory) or longshore.stacks=store (also: memory);
    /// may be given several times. Stacks are kept in the key-value store of the discovery, if it has
    /// one, so that they outlive this program and all managers know them: whoever can write there
    /// commands the cluster, and whoever can read there sees the stacks' environment variables.
    #[arg(long, value_name = "KEY=VALUE")]
    pub cluster_opt: Vec<String>,
    /// Accepted for compatibility with Swarm: listings are always current, because the engines'
    /// events are followed.
    #[arg(long)]
    pub refresh_on_node_filter: bool,
    /// Accepted for compatibility with Swarm, as --refresh-on-node-filter.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub container_name_refresh_filter: String,
    /// Accept agents' tunnels here (needs --tlscacert, --tlscert, --tlskey).
    #[arg(long, value_name = "HOST:PORT")]
    pub tunnel: Option<String>,
    /// The stub for exec sessions: a small program that owns a session inside its container, ends
    /// whatever the session leaves behind, delivers signals, and helps out where an image has no
    /// shell. A file, built by `cargo xtask stub` for the nodes' architecture; `auto`:
    /// longshore-exec-stub beside this program or in /usr/lib/longshore, if it is there; or `none`.
    /// Without it, and where it can't run, a shell in the container does what a shell can; where there
    /// is none, see --exec-sidecar-image. The log says which it is, and why.
    #[arg(
        long,
        default_value = "auto",
        value_name = "FILE|auto|none",
        help_heading = "Exec sessions"
    )]
    pub exec_stub: StubChoice,
    /// Folder of this manager's own; it is made if missing. What is in it outlives the program: a
    /// random word, by which exec sessions of an earlier life are known (--exec-gateway auto). One
    /// manager uses it at a time: another that is started with it is refused.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Name by which this manager knows exec sessions of its earlier life again: when it starts, and
    /// whenever a node comes, it ends what they left behind in containers, because it was killed or
    /// its machine stopped. `auto`: the random word in the folder that --state names, together with
    /// this machine's id, --advertise and --host, so that a copy of the folder elsewhere is another
    /// name; without --state nothing is looked for. `none`: nothing is looked for. A NAME of your own
    /// is for managers that keep no files, and must be of one manager alone: DANGEROUS otherwise, as
    /// two managers of the same name end each other's live sessions. Sessions of other names are
    /// never touched.
    #[arg(
        long,
        default_value = "auto",
        value_name = "auto|none|NAME",
        help_heading = "Exec sessions",
        value_parser = clap::builder::NonEmptyStringValueParser::new()
    )]
    pub exec_gateway: String,
    /// A file of `docker login` (config.json) under a name, for stacks whose services say
    /// `"registry_credentials": "NAME"`. It is read at every pull and never stored or shown; every
    /// manager needs it. May be given several times.
    #[arg(long, value_name = "NAME=FILE")]
    pub registry_config: Vec<String>,
    /// Keep the audit log in this file instead of in memory.
    #[arg(long, value_name = "FILE")]
    pub audit_log: Option<String>,
    // The last one: what follows a heading stands below it.
    #[command(flatten)]
    pub sessions: SessionArgs,
}
