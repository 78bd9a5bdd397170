//! The command line: Swarm's commands and flags where they exist, and longshore's own.

use clap::{Args, Parser, Subcommand};

/// A container platform out of longshore's parts.
///
/// Without a command it starts the embedded default: one process with a control plane and three
/// nodes behind tunnels, a small stack, and a Docker-compatible endpoint on a unix socket.
#[derive(Debug, Parser)]
#[command(name = "platform", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do; without it, start the embedded platform and stay up until Ctrl-C.
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub logging: Logging,
}

/// How much is logged, and how.
#[derive(Args, Debug)]
pub struct Logging {
    /// Log in detail; the same as `--log-level debug`.
    #[arg(long, global = true, env = "DEBUG", hide_env_values = true,
          value_parser = clap::builder::BoolishValueParser::new(),
          num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true",
          action = clap::ArgAction::Set)]
    pub debug: bool,
    /// debug, info, warn, error, fatal or panic. Beats `--debug`. The embedded platform starts
    /// with `error`, everything else with `info`.
    #[arg(long, short = 'l', global = true, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,
    /// Where logs go.
    #[arg(
        long,
        global = true,
        default_value = "stderr",
        value_name = "stderr|stdout"
    )]
    pub log_to: LogTo,
    /// How logs look.
    #[arg(long, global = true, default_value = "text", value_name = "text|json")]
    pub log_format: LogFormat,
    /// Accepted for compatibility with Swarm; nothing is experimental.
    #[arg(long, global = true, hide = true)]
    pub experimental: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogLevel {
    Debug,
    Info,
    Warn,
    Error,
    Fatal,
    Panic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogTo {
    Stderr,
    Stdout,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Do what the embedded platform does, show it, stop, and exit with 0 or 1.
    Demo,
    /// Make a cluster's token (needs a hosted discovery service; comes with a later release).
    #[command(visible_alias = "c")]
    Create,
    /// List the nodes that a discovery backend knows.
    #[command(visible_alias = "l", after_help = LIST_EXAMPLES)]
    List(List),
    /// Manage a cluster: the control plane with its Docker-compatible endpoint.
    #[command(visible_alias = "m", after_help = MANAGE_EXAMPLES)]
    Manage(Box<Manage>),
    /// Join a cluster: announce this node, or dial the control plane and lend it this node's engine.
    #[command(visible_alias = "j", after_help = JOIN_EXAMPLES)]
    Join(Join),
    /// Run a command in a container of the cluster.
    #[command(after_help = EXEC_EXAMPLES)]
    Exec(Exec),
    /// Say why a container is where it is, or why it can't be placed.
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(Explain),
    /// Make a certificate authority and certificates for planes, nodes and clients.
    #[command(subcommand, after_help = CERT_EXAMPLES)]
    Cert(Cert),
    /// The stack's own programs: a page and a gateway in front of the pages.
    #[command(hide = true)]
    Page(Page),
    #[command(hide = true)]
    Gateway(Gateway),
}

/// Where the cluster's nodes are found.
#[derive(Args, Debug)]
pub struct DiscoveryArgs {
    /// Discovery URL, such as `nodes://10.0.0.1:2375,10.0.0.2:2375` or `file:///etc/longshore/nodes`.
    #[arg(value_name = "DISCOVERY", env = "SWARM_DISCOVERY")]
    pub discovery: Option<String>,
    /// The same as the positional argument.
    #[arg(long = "discovery", value_name = "URL", conflicts_with = "discovery")]
    pub discovery_flag: Option<String>,
    /// Option of the discovery backend, as key=value; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub discovery_opt: Vec<String>,
}

impl DiscoveryArgs {
    pub fn url(&self) -> Option<&str> {
        self.discovery_flag.as_deref().or(self.discovery.as_deref())
    }
}

#[derive(Args, Debug)]
pub struct List {
    #[command(flatten)]
    pub discovery: DiscoveryArgs,
    /// How long to wait for the first list.
    #[arg(long, default_value = "10s", value_name = "DURATION")]
    pub timeout: String,
}

/// TLS files, as Docker and Swarm name them.
#[derive(Args, Debug, Default)]
pub struct TlsArgs {
    /// Use TLS, and verify nobody. Use --tlsverify instead wherever you can.
    #[arg(long)]
    pub tls: bool,
    /// Certificates of the authorities that are trusted.
    #[arg(long, value_name = "FILE")]
    pub tlscacert: Option<String>,
    /// Our certificate.
    #[arg(long, value_name = "FILE")]
    pub tlscert: Option<String>,
    /// Our key.
    #[arg(long, value_name = "FILE")]
    pub tlskey: Option<String>,
    /// Use TLS, and verify the other side.
    #[arg(long)]
    pub tlsverify: bool,
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
    /// Run as one of several managers (needs a key-value store).
    #[arg(long, visible_alias = "leader-election")]
    pub replication: bool,
    /// How long leadership lasts without renewal.
    #[arg(long, default_value = "20s", value_name = "DURATION")]
    pub replication_ttl: String,
    #[command(flatten)]
    pub tls: TlsArgs,
    /// Shortest time between refreshes of a node.
    #[arg(long, default_value = "30s", value_name = "DURATION")]
    pub engine_refresh_min_interval: String,
    /// Longest time between refreshes of a node.
    #[arg(long, default_value = "60s", value_name = "DURATION")]
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
    #[arg(long, default_value = "60s", value_name = "DURATION")]
    pub heartbeat: String,
    /// Allow web pages of other sites to call the endpoint.
    #[arg(long, visible_alias = "cors")]
    pub api_enable_cors: bool,
    /// Only `swarm` is known.
    #[arg(long, short = 'c', default_value = "swarm", value_name = "DRIVER")]
    pub cluster_driver: String,
    /// swarm.overcommit=0.05 or swarm.createretry=0; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub cluster_opt: Vec<String>,
    /// Re-read the nodes that a node filter names before a listing.
    #[arg(long)]
    pub refresh_on_node_filter: bool,
    /// Re-read all nodes when a name filter equals this.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub container_name_refresh_filter: String,
    /// Accept agents' tunnels here (needs --tlscacert, --tlscert, --tlskey).
    #[arg(long, value_name = "HOST:PORT")]
    pub tunnel: Option<String>,
    /// Keep the audit log in this file instead of in memory.
    #[arg(long, value_name = "FILE")]
    pub audit_log: Option<String>,
}

#[derive(Args, Debug)]
pub struct Join {
    #[command(flatten)]
    pub discovery: DiscoveryArgs,
    /// Address at which the managers reach this node's engine.
    #[arg(
        long,
        visible_alias = "addr",
        env = "SWARM_ADVERTISE",
        value_name = "HOST:PORT"
    )]
    pub advertise: Option<String>,
    /// Time between registrations.
    #[arg(long, default_value = "60s", value_name = "DURATION")]
    pub heartbeat: String,
    /// How long a registration lasts.
    #[arg(long, default_value = "180s", value_name = "DURATION")]
    pub ttl: String,
    /// Wait a random time up to this before the first registration.
    #[arg(long, default_value = "0s", value_name = "DURATION")]
    pub delay: String,
    /// Dial this control plane and lend it the engine, instead of being dialled. For nodes behind
    /// NAT. May be given several times.
    #[arg(long, value_name = "HOST:PORT")]
    pub tunnel: Vec<String>,
    /// The engine to lend: `unix:///path`, `tcp://host:port`, or `process` for plain processes.
    #[arg(
        long,
        default_value = "unix:///var/run/docker.sock",
        value_name = "URL"
    )]
    pub engine: String,
    /// The node's name; the default is the host's.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Label of the node, as key=value; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    #[command(flatten)]
    pub tls: TlsArgs,
}

#[derive(Args, Debug)]
pub struct HostArg {
    /// The endpoint: `unix:///path` or `tcp://host:port`. Default: the embedded platform's socket.
    #[arg(long, short = 'H', env = "DOCKER_HOST", value_name = "URL")]
    pub host: Option<String>,
    #[command(flatten)]
    pub tls: TlsArgs,
}

#[derive(Args, Debug)]
pub struct Exec {
    #[command(flatten)]
    pub host: HostArg,
    /// Keep the input open.
    #[arg(long, short = 'i')]
    pub interactive: bool,
    /// On a terminal.
    #[arg(long, short = 't')]
    pub tty: bool,
    /// `NAME=value` added to the environment; may be given several times.
    #[arg(long, short = 'e', value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// Container by name, id or id prefix.
    pub container: String,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

#[derive(Args, Debug)]
pub struct Explain {
    #[command(flatten)]
    pub host: HostArg,
    /// A container of the cluster, by name, id or id prefix.
    #[arg(required_unless_present = "image")]
    pub container: Option<String>,
    /// Explain where a container of this image would go instead.
    #[arg(long, conflicts_with = "container")]
    pub image: Option<String>,
    /// With --image: `constraint:…`, `affinity:…` or NAME=value; may be given several times.
    #[arg(long, short = 'e', value_name = "EXPR")]
    pub env: Vec<String>,
    /// With --image: memory asked for, such as 512m.
    #[arg(long, short = 'm', value_name = "SIZE")]
    pub memory: Option<String>,
    /// With --image: CPUs asked for, such as 1.5.
    #[arg(long, value_name = "N")]
    pub cpus: Option<String>,
    /// With --image: published port, host:container.
    #[arg(long, short = 'p', value_name = "PORTS")]
    pub publish: Vec<String>,
    /// Print the explanation as JSON.
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub enum Cert {
    /// Make a certificate authority: ca.pem and ca-key.pem in DIR.
    Init {
        /// The folder; it is made if missing.
        dir: String,
    },
    /// Issue cert.pem and key.pem, with ca.pem beside them, for a plane, a node or a client.
    Issue {
        /// Folder of the authority.
        #[arg(long, value_name = "DIR")]
        ca: String,
        /// The identity, such as `plane`, `node-1` or `alice`.
        #[arg(long)]
        name: String,
        /// As what its holder comes: a node dials a plane's tunnel and may not call endpoints, a
        /// manager serves both and may call other managers, a client may only call endpoints.
        #[arg(long, default_value = "node", value_name = "node|manager|client")]
        role: CertRole,
        /// Host name or address that others dial it at; may be given several times.
        #[arg(long, value_name = "HOST")]
        san: Vec<String>,
        /// How long it is valid.
        #[arg(long, default_value = "24h", value_name = "DURATION")]
        validity: String,
        /// Folder to write to.
        #[arg(long, value_name = "DIR")]
        out: String,
    },
}

/// As what the holder of a certificate comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum CertRole {
    Node,
    Manager,
    Client,
}

#[derive(Args, Debug)]
pub struct Page {
    /// Folder in which the page leaves its address for the gateway.
    #[arg(long)]
    pub registry: std::path::PathBuf,
}

#[derive(Args, Debug)]
pub struct Gateway {
    /// Folder in which the pages leave their addresses.
    #[arg(long)]
    pub registry: std::path::PathBuf,
    /// Where to listen.
    #[arg(long)]
    pub listen: std::net::SocketAddr,
}

const EXAMPLES: &str = "\
Examples:
  platform                                   start the embedded platform, stop it with Ctrl-C
  platform demo                              show the same and exit
  platform manage --discovery file:///etc/longshore/nodes -H unix:///run/longshore.sock
  docker -H unix:///run/longshore.sock run -d -e constraint:zone==eu nginx
  platform explain -H unix:///run/longshore.sock web-1";

const LIST_EXAMPLES: &str = "\
Examples:
  platform list nodes://10.0.0.[10:12]:2375
  platform list --timeout 2s file:///etc/longshore/nodes";

const MANAGE_EXAMPLES: &str = "\
Examples:
  platform manage --discovery file:///etc/longshore/nodes -H unix:///run/longshore.sock
  platform manage nodes://10.0.0.1:2375,10.0.0.2:2375 --strategy binpack
  platform manage --tunnel 0.0.0.0:7443 --tlscacert ca.pem --tlscert cert.pem --tlskey key.pem \\
      -H unix:///run/longshore.sock

The file holds one host:port a line; ranges such as 10.0.0.[1:9]:2375 expand, # begins a comment.";

const JOIN_EXAMPLES: &str = "\
Examples:
  platform join --tunnel plane.example:7443 --tlscacert ca.pem --tlscert cert.pem --tlskey key.pem
  platform join --tunnel plane.example:7443 --label zone=eu --engine unix:///run/docker.sock …
  platform join --advertise 10.0.0.7:2375 etcd://store:2379/cluster   (stores come with a later release)";

const EXEC_EXAMPLES: &str = "\
Examples:
  platform exec -H unix:///run/longshore.sock web-1 date
  platform exec -it web-1 sh";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  platform explain web-1
  platform explain --image nginx -e constraint:zone==eu -m 2g -p 80:80";

const CERT_EXAMPLES: &str = "\
Examples:
  platform cert init ca
  platform cert issue --ca ca --role manager --name plane --san plane.example --san 10.0.0.1 --out plane
  platform cert issue --ca ca --name node-1 --out node-1
  platform cert issue --ca ca --role client --name alice --out alice";
