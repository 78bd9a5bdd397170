//! The command line: Swarm's commands and flags where they exist, and longshore's own.

mod cert;
mod enter;
mod examples;
mod logging;
mod manage;
mod pending;
mod sessions;
mod stack;
mod store;

use clap::{Args, Parser, Subcommand};

use self::examples::{
    ATTACH_EXAMPLES, CERT_EXAMPLES, CP_EXAMPLES, ENTER_EXAMPLES, EXAMPLES, EXEC_EXAMPLES,
    EXPLAIN_EXAMPLES, JOIN_EXAMPLES, LIST_EXAMPLES, MANAGE_EXAMPLES, REPLAY_EXAMPLES,
    SIGNAL_EXAMPLES, WATCH_EXAMPLES,
};
pub use self::{
    cert::{Cert, CertRole},
    enter::{Attach, Connection, Cp, Enter, Line, Watch},
    logging::{LogFormat, LogLevel, LogTo, Logging},
    manage::{Manage, StubChoice},
    pending::{Pending, PendingRun},
    sessions::{End, Replay, SendSignal, SessionArgs, Sessions, WhenRecordsAreFull},
    stack::Stack,
    store::{Create, DiscoveryServer, Kv, KvStoreArgs},
};

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

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Do what the embedded platform does, show it, stop, and exit with 0 or 1.
    Demo,
    /// Make a cluster at a discovery service, and print its token.
    #[command(visible_alias = "c")]
    Create(Create),
    /// Host the discovery service behind `token://`.
    DiscoveryServer(DiscoveryServer),
    /// Look into a key-value store.
    #[command(subcommand)]
    Kv(Kv),
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
    // Without this, a DOCKER_HOST in the environment shows as a required `--host`.
    #[command(after_help = EXEC_EXAMPLES,
              override_usage = "platform exec [OPTIONS] <CONTAINER> <COMMAND>...")]
    Exec(Exec),
    /// Get into a container: a shell, or a command, as with ssh.
    #[command(after_help = ENTER_EXAMPLES,
              override_usage = "platform enter [OPTIONS] <CONTAINER> [-- COMMAND...]")]
    Enter(Enter),
    /// Look on at a container's own process, and type to it if it reads.
    #[command(after_help = ATTACH_EXAMPLES, override_usage = "platform attach [OPTIONS] <CONTAINER>")]
    Attach(Attach),
    /// Look on at a session that somebody else has, or approve its input.
    #[command(after_help = WATCH_EXAMPLES, override_usage = "platform watch [OPTIONS] <SESSION>")]
    Watch(Watch),
    /// Copy a file or folder into a container, or out of one.
    #[command(after_help = CP_EXAMPLES,
              override_usage = "platform cp [OPTIONS] <CONTAINER>:<PATH> <LOCAL>\n       platform cp [OPTIONS] <LOCAL> <CONTAINER>:<PATH>\n       platform cp [OPTIONS] <CONTAINER>:<PATH> -\n       platform cp [OPTIONS] - <CONTAINER>:<PATH>")]
    Cp(Cp),
    /// List exec sessions, the newest first: who is or was where, what runs, and how it ended. Those that
    /// go on, and, where they are recorded, those that were.
    Sessions(Sessions),
    /// Show a recorded session again, in its own time or faster, or write it to a file.
    #[command(after_help = REPLAY_EXAMPLES, override_usage = "platform replay [OPTIONS] <SESSION>")]
    Replay(Replay),
    /// Send a signal to what runs in a session.
    #[command(after_help = SIGNAL_EXAMPLES,
              override_usage = "platform signal [OPTIONS] <SESSION> <SIGNAL>")]
    Signal(SendSignal),
    /// End a session, and what runs in it.
    #[command(override_usage = "platform end [OPTIONS] <SESSION>")]
    End(End),
    /// Say why a container is where it is, or why it can't be placed.
    #[command(after_help = EXPLAIN_EXAMPLES,
              override_usage = "platform explain [OPTIONS] <CONTAINER>\n       platform explain [OPTIONS] --image <IMAGE>")]
    Explain(Explain),
    /// Deploy, list and remove stacks: services that the cluster keeps running.
    #[command(subcommand)]
    Stack(Stack),
    /// Queue containers that wait for room, list and give up what waits.
    #[command(subcommand)]
    Pending(Pending),
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
    /// Schemes: nodes (may be left out), file, etcd, consul, zk, raft, dns, gossip, token.
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
    #[arg(
        long,
        default_value = "10s",
        allow_hyphen_values = true,
        value_name = "DURATION"
    )]
    pub timeout: String,
}

/// TLS files, as Docker and Swarm name them.
#[derive(Args, Debug, Default)]
pub struct TlsArgs {
    /// Use TLS, and verify nobody. Use --tlsverify instead wherever you can.
    #[arg(long, help_heading = "TLS")]
    pub tls: bool,
    /// Certificates of the authorities that are trusted.
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    pub tlscacert: Option<String>,
    /// Our certificate.
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    pub tlscert: Option<String>,
    /// Our key.
    #[arg(long, value_name = "FILE", help_heading = "TLS")]
    pub tlskey: Option<String>,
    /// Use TLS, and verify the other side. With `manage` this holds for both sides of it: clients of
    /// the endpoint need a certificate of --tlscacert, and engines that are dialled need one, too.
    #[arg(long, help_heading = "TLS")]
    pub tlsverify: bool,
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
    #[arg(
        long,
        default_value = "60s",
        allow_hyphen_values = true,
        value_name = "DURATION"
    )]
    pub heartbeat: String,
    /// How long a registration lasts.
    #[arg(
        long,
        default_value = "180s",
        allow_hyphen_values = true,
        value_name = "DURATION"
    )]
    pub ttl: String,
    /// Wait a random time up to this before the first registration.
    #[arg(
        long,
        default_value = "0s",
        allow_hyphen_values = true,
        value_name = "DURATION"
    )]
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
    /// What the host is called, and the name of its process engine. Behind a tunnel the node is known
    /// by its certificate's name (`platform cert issue --name`).
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// Label of the node, as key=value; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    /// Where the agent of a tunnel keeps which leader of several managers was the newest, so that
    /// it refuses older ones after a restart, too. A directory of this node's own. Default: in
    /// memory.
    #[arg(long, value_name = "DIR", requires = "tunnel")]
    pub state: Option<std::path::PathBuf>,
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
    /// `NAME=value` added to the environment; of a NAME alone, its value here; where it has none, Docker
    /// unsets it. May be given several times.
    #[arg(long, short = 'e', value_name = "NAME[=VALUE]", value_parser = enter::variable)]
    pub env: Vec<String>,
    /// Container by name, id or id prefix.
    pub container: String,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// What a container of an image asks of a node.
#[derive(Args, Debug)]
#[command(next_help_heading = "Asked of a node")]
pub struct Asked {
    /// `constraint:…`, `affinity:…` or NAME=value; may be given several times.
    #[arg(long, short = 'e', value_name = "EXPR")]
    pub env: Vec<String>,
    /// Memory, such as 512m.
    #[arg(long, short = 'm', value_name = "SIZE")]
    pub memory: Option<String>,
    /// CPUs, such as 1.5.
    #[arg(long, value_name = "N")]
    pub cpus: Option<String>,
    /// Published port, host:container; may be given several times.
    #[arg(long, short = 'p', value_name = "PORTS")]
    pub publish: Vec<String>,
    /// GPUs: all, a number, or device=ID,ID.
    #[arg(long, value_name = "GPUS")]
    pub gpus: Option<String>,
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
    #[command(flatten)]
    pub asked: Asked,
    /// With --image: as if there were a node like cpu=4,memory=8GiB,label=zone=eu, too.
    #[arg(long, value_name = "NODE", conflicts_with = "container")]
    pub with_node: Vec<String>,
    /// With --image: as if it did not ask for constraint:zone==eu, affinity:…, ports,
    /// resources or devices.
    #[arg(long, value_name = "DEMAND", conflicts_with = "container")]
    pub without: Vec<String>,
    /// Print the explanation as JSON.
    #[arg(long)]
    pub json: bool,
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
