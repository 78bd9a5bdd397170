use std::sync::Arc;

use longshore_core::{Discovery, Error, Result};

use crate::{DiscoveryOptions, DiscoveryUrl, Scheme, StaticDiscovery};

/// Opens the backend that a discovery URL names.
///
/// `etcd://`, `consul://` and `zk://` have the form
/// `scheme://[user:password@]host:port[,host:port…][/prefix]` and take the options `kv.path`,
/// `kv.cacertfile`, `kv.certfile` and `kv.keyfile`. For Consul the password is the ACL token.
///
/// `raft://` has the form
/// `raft://name=host:port,name=host:port,name=host:port[/prefix]?self=name&dir=/path[&listen=host:port]`
/// for a manager, and the same without `?…` for a client; it takes the same options, and
/// `raft.plaintext=anywhere`. A process opens a member once: share it by [`open_kv`](crate::open_kv)
/// and [`open_over`](crate::open_over).
///
/// Nothing is read or connected yet: an unreadable file shows in the first
/// [`list`](Discovery::list), so that a cluster can wait for what comes later.
///
/// ```
/// # use std::sync::Arc;
/// # use longshore_core::SystemClock;
/// use longshore_discovery::{DiscoveryOptions, open};
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
/// # runtime.block_on(async {
/// let options = DiscoveryOptions::new(Arc::new(SystemClock::new()));
/// let discovery = open("10.0.0.[1:3]:2375", &options)?;
/// assert_eq!(discovery.list().await?.nodes.len(), 3);
/// # Ok::<(), longshore_core::Error>(())
/// # }).unwrap();
/// ```
///
/// # Errors
/// The URL or an option is wrong, named; or [`ErrorKind::Unsupported`], when this build has no such
/// backend.
///
/// [`ErrorKind::Unsupported`]: longshore_core::ErrorKind::Unsupported
pub fn open(url: &str, options: &DiscoveryOptions) -> Result<Arc<dyn Discovery>> {
    let url = DiscoveryUrl::parse(url)?;
    match url.scheme() {
        Scheme::Nodes => {
            options.only(&[], "nodes")?;
            Ok(Arc::new(StaticDiscovery::parse(url.rest())?))
        }
        Scheme::File => open_file(&url, options),
        #[cfg(feature = "stores")]
        Scheme::Etcd | Scheme::Consul | Scheme::Zk | Scheme::Raft => {
            crate::open_store::open(&url, options)
        }
        #[cfg(not(feature = "stores"))]
        scheme @ (Scheme::Etcd | Scheme::Consul | Scheme::Zk | Scheme::Raft) => {
            Err(left_out(scheme))
        }
        Scheme::Dns => open_dns(&url, options),
        Scheme::Gossip => open_gossip(&url, options),
        Scheme::Token => open_token(&url, options),
    }
}

#[cfg(feature = "file")]
fn open_file(url: &DiscoveryUrl, options: &DiscoveryOptions) -> Result<Arc<dyn Discovery>> {
    options.only(&[], "file")?;
    if url.rest().is_empty() {
        return Err(Error::invalid(
            "file:// names no file; expected for example file:///etc/nodes",
        ));
    }
    let files = crate::FileOptions::default()
        .with_interval(options.heartbeat)
        .with_grace(options.heartbeat);
    let clock = options.clock.clone();
    Ok(Arc::new(crate::FileDiscovery::new(
        url.rest(),
        clock,
        files,
    )))
}

#[cfg(not(feature = "file"))]
fn open_file(_: &DiscoveryUrl, _: &DiscoveryOptions) -> Result<Arc<dyn Discovery>> {
    Err(left_out(Scheme::File))
}

/// This build has no such backend; what would have to be asked for.
pub(crate) fn left_out(scheme: Scheme) -> Error {
    let feature = match scheme {
        Scheme::Zk => "zookeeper",
        other => other.as_str(),
    };
    Error::unsupported(format!(
        "the discovery backend {scheme} was left out: build with the feature `{feature}`"
    ))
}

#[cfg(feature = "token")]
fn open_token(url: &DiscoveryUrl, options: &DiscoveryOptions) -> Result<Arc<dyn Discovery>> {
    Ok(Arc::new(crate::TokenDiscovery::open(url, options)?))
}

#[cfg(not(feature = "token"))]
fn open_token(_: &DiscoveryUrl, _: &DiscoveryOptions) -> Result<Arc<dyn Discovery>> {
    Err(left_out(Scheme::Token))
}

#[cfg(feature = "gossip")]
fn open_gossip(url: &DiscoveryUrl, options: &DiscoveryOptions) -> Result<Arc<dyn Discovery>> {
    let read = crate::GossipOptions::read(url, options)?;
    Ok(Arc::new(crate::GossipDiscovery::new(
        read,
        options.clock.clone(),
    )?))
}

#[cfg(not(feature = "gossip"))]
fn open_gossip(_: &DiscoveryUrl, _: &DiscoveryOptions) -> Result<Arc<dyn Discovery>> {
    Err(left_out(Scheme::Gossip))
}

#[cfg(feature = "dns")]
fn open_dns(url: &DiscoveryUrl, options: &DiscoveryOptions) -> Result<Arc<dyn Discovery>> {
    Ok(Arc::new(crate::DnsDiscovery::open(url, options)?))
}

#[cfg(not(feature = "dns"))]
fn open_dns(_: &DiscoveryUrl, _: &DiscoveryOptions) -> Result<Arc<dyn Discovery>> {
    Err(left_out(Scheme::Dns))
}
