use clap::{Args, Subcommand};

use super::examples::{CREATE_EXAMPLES, KV_EXAMPLES, SERVER_EXAMPLES};

#[derive(Args, Debug)]
#[command(after_help = CREATE_EXAMPLES)]
pub struct Create {
    /// The discovery service, as `https://host/path`.
    #[arg(long, value_name = "URL", env = "LONGSHORE_DISCOVERY_SERVICE")]
    pub service: Option<String>,
    /// Certificate of the authority that the service's certificate is from.
    #[arg(long, value_name = "FILE")]
    pub cacert: Option<String>,
    /// Swarm's `create` takes none, and has words of its own for that.
    #[arg(hide = true, value_name = "NOTHING")]
    pub surplus: Vec<String>,
}

#[derive(Args, Debug)]
#[command(after_help = SERVER_EXAMPLES)]
pub struct DiscoveryServer {
    /// Where to listen, in plain HTTP.
    #[arg(long, default_value = "127.0.0.1:7171", value_name = "HOST:PORT")]
    pub listen: String,
    /// Keep the clusters in this file instead of in memory.
    #[arg(long, value_name = "FILE")]
    pub store: Option<String>,
}

/// A key-value store by its URL.
#[derive(Args, Debug)]
pub struct KvStoreArgs {
    /// `etcd://host:2379/prefix`, `consul://…`, `zk://…`, `raft://a=host:port,…/prefix`, or
    /// `redb:///path/to/file`. Keys are below the prefix.
    #[arg(value_name = "STORE")]
    pub store: String,
    /// Option of the store, as key=value: kv.cacertfile, kv.certfile and kv.keyfile with a file
    /// each, raft.plaintext=anywhere; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    pub store_opt: Vec<String>,
}

#[derive(Debug, Subcommand)]
#[command(after_help = KV_EXAMPLES)]
pub enum Kv {
    /// Print the value of a key.
    Get {
        #[command(flatten)]
        store: KvStoreArgs,
        key: String,
    },
    /// Write a key.
    Put {
        #[command(flatten)]
        store: KvStoreArgs,
        key: String,
        value: String,
    },
    /// Delete a key.
    Rm {
        #[command(flatten)]
        store: KvStoreArgs,
        key: String,
    },
    /// List keys with revisions and values.
    Ls {
        #[command(flatten)]
        store: KvStoreArgs,
        /// Only keys that begin so.
        #[arg(default_value = "")]
        prefix: String,
    },
    /// Follow changes until Ctrl-C.
    Watch {
        #[command(flatten)]
        store: KvStoreArgs,
        /// Only keys that begin so.
        #[arg(default_value = "")]
        prefix: String,
    },
}
