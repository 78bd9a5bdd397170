//! Opening the store behind a `raft://` URL: as one of its members, or as a client.

use std::sync::Arc;

use longshore_core::{Error, KvStore, Result};

use super::{RaftClient, RaftKv, RaftOptions, RaftPlaintext, RaftTcp, RaftTls, url::RaftUrl};
use crate::{DiscoveryOptions, DiscoveryUrl};

/// # Errors
/// The URL or an option is wrong; the member's address or directory can't be had.
pub(crate) fn open(
    url: &DiscoveryUrl,
    options: &DiscoveryOptions,
    tls_files: Option<[&str; 3]>,
) -> Result<(Arc<dyn KvStore>, String)> {
    let url = RaftUrl::parse(url)?;
    let clock = options.clock.clone();
    let tls = match tls_files {
        None => None,
        Some([authority, certificate, key]) => Some(RaftTls::from_files(
            authority,
            certificate,
            key,
            clock.clone(),
        )?),
    };
    let plaintext = match options.value(PLAINTEXT) {
        None => RaftPlaintext::LoopbackOnly,
        Some("anywhere") => RaftPlaintext::Anywhere,
        Some(_) => {
            return Err(Error::invalid(
                "raft.plaintext is `anywhere`, or not given at all",
            ));
        }
    };
    let names: Vec<String> = url.members.keys().cloned().collect();
    let store: Arc<dyn KvStore> = match url.member {
        None => {
            let network = RaftTcp::dialling(url.members, tls, plaintext)?;
            Arc::new(RaftClient::new(&names, Arc::new(network), clock)?)
        }
        Some(own) => {
            let network = RaftTcp::listen(&own.listen, url.members, tls, plaintext)?;
            let member = RaftOptions::new(&own.name, &names, clock)?
                .with_directory(own.directory)
                .with_random(options.random.clone());
            Arc::new(RaftKv::start(member, Arc::new(network))?)
        }
    };
    Ok((store, url.prefix))
}

pub(crate) const PLAINTEXT: &str = "raft.plaintext";
