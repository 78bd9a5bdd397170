//! Opening the stores behind `etcd://`, `consul://`, `zk://` and `raft://`.

use std::sync::Arc;

use longshore_core::{Discovery, Error, KvStore, Result};

use crate::{
    DiscoveryOptions, DiscoveryUrl, KvDiscovery, KvDiscoveryOptions, Scheme, StoreOptions,
    StoreTls, store_url::StoreUrl,
};

pub(crate) fn open(url: &DiscoveryUrl, options: &DiscoveryOptions) -> Result<Arc<dyn Discovery>> {
    let (store, prefix) = connect(url, options)?;
    open_over(store, &prefix, options)
}

/// The nodes in a store that is open already, below a prefix: for a program that uses one store for
/// several things, as for discovery and an election.
///
/// # Errors
/// The prefix or the path (`kv.path`) can't be that of keys.
pub fn open_over(
    store: Arc<dyn KvStore>,
    prefix: &str,
    options: &DiscoveryOptions,
) -> Result<Arc<dyn Discovery>> {
    let mut layout = KvDiscoveryOptions::default()
        .with_prefix(prefix)
        .with_grace(options.heartbeat)
        .with_random(options.random.clone());
    if let Some(path) = options.value(PATH) {
        layout = layout.with_path(path);
    }
    Ok(Arc::new(KvDiscovery::new(
        store,
        options.clock.clone(),
        layout,
    )?))
}

/// Opens the key-value store of an `etcd://`, `consul://`, `zk://` or `raft://` URL itself, for what stands
/// beside the nodes: an election's lock, a platform's own state. Gives the prefix that the URL names
/// with it; keys under it are this cluster's.
///
/// Nothing is connected yet. A member of `raft://` listens from now on.
///
/// # Errors
/// The URL or an option is wrong, named; a member's address or directory can't be had; [`ErrorKind::Unsupported`](longshore_core::ErrorKind::Unsupported)
/// for a scheme without a store, and for a store that was left out of this build.
pub fn open_kv(url: &str, options: &DiscoveryOptions) -> Result<(Arc<dyn KvStore>, String)> {
    let url = DiscoveryUrl::parse(url)?;
    match url.scheme() {
        Scheme::Etcd | Scheme::Consul | Scheme::Zk | Scheme::Raft => connect(&url, options),
        other => Err(Error::unsupported(format!(
            "{other}:// has no key-value store behind it: etcd://, consul://, zk:// and raft:// do"
        ))),
    }
}

fn connect(url: &DiscoveryUrl, options: &DiscoveryOptions) -> Result<(Arc<dyn KvStore>, String)> {
    let scheme = url.scheme();
    if scheme == Scheme::Raft {
        return open_raft(url, options);
    }
    options.only(&KNOWN, scheme.as_str())?;
    let usual_port = match scheme {
        Scheme::Consul => 8500,
        Scheme::Zk => 2181,
        _ => 2379,
    };
    let place = StoreUrl::parse(url, usual_port)?;
    let mut reach = StoreOptions::new(place.endpoints, options.clock.clone())?
        .with_random(options.random.clone());
    if let Some([authority, certificate, key]) = tls_files(options)? {
        reach = reach.with_tls(StoreTls::from_files(authority, certificate, key)?);
    }
    if let Some(credentials) = place.credentials {
        reach = reach.with_credentials(credentials);
    }
    Ok((store(scheme, &reach)?, place.prefix))
}

fn store(scheme: Scheme, reach: &StoreOptions) -> Result<Arc<dyn KvStore>> {
    match scheme {
        #[cfg(feature = "etcd")]
        Scheme::Etcd => Ok(Arc::new(crate::EtcdKv::new(reach))),
        #[cfg(feature = "consul")]
        Scheme::Consul => Ok(Arc::new(crate::ConsulKv::new(reach)?)),
        #[cfg(feature = "zookeeper")]
        Scheme::Zk => Ok(Arc::new(crate::ZooKeeperKv::new(reach))),
        left_out => {
            // Used by those that are built.
            let _ = reach;
            Err(crate::open::left_out(left_out))
        }
    }
}

#[cfg(feature = "raft")]
fn open_raft(url: &DiscoveryUrl, options: &DiscoveryOptions) -> Result<(Arc<dyn KvStore>, String)> {
    let known = [PATH, TLS[0], TLS[1], TLS[2], crate::raft::PLAINTEXT];
    options.only(&known, "raft")?;
    crate::raft::open(url, options, tls_files(options)?)
}

#[cfg(not(feature = "raft"))]
fn open_raft(url: &DiscoveryUrl, _: &DiscoveryOptions) -> Result<(Arc<dyn KvStore>, String)> {
    Err(crate::open::left_out(url.scheme()))
}

/// All three files or none: some of them would be plaintext where TLS was meant (rule D10).
fn tls_files(options: &DiscoveryOptions) -> Result<Option<[&str; 3]>> {
    let files = TLS.map(|name| options.value(name).filter(|file| !file.is_empty()));
    match files {
        [Some(authority), Some(certificate), Some(key)] => Ok(Some([authority, certificate, key])),
        [None, None, None] => Ok(None),
        _ => {
            let missing: Vec<_> = TLS
                .iter()
                .zip(files)
                .filter(|(_, file)| file.is_none())
                .map(|(name, _)| *name)
                .collect();
            Err(Error::invalid(format!(
                "TLS to the store needs kv.cacertfile, kv.certfile and kv.keyfile together; missing: {}",
                missing.join(", ")
            )))
        }
    }
}

const PATH: &str = "kv.path";
const TLS: [&str; 3] = ["kv.cacertfile", "kv.certfile", "kv.keyfile"];
const KNOWN: [&str; 4] = [PATH, TLS[0], TLS[1], TLS[2]];
