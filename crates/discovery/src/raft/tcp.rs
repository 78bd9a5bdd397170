use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use async_trait::async_trait;
use longshore_core::{BoxByteStream, Endpoint, Error, Result};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream};

use super::{
    RaftTls,
    network::{RaftAccess, RaftIncoming, RaftNetwork, RaftPeer},
};

/// The network of a [`RaftKv`](crate::RaftKv) over TCP, with mutual TLS.
///
/// Without TLS only addresses of this machine's loopback are taken, unless it is allowed by name:
/// whoever reaches a member then reads and writes everything.
#[derive(Debug)]
pub struct RaftTcp {
    /// None for one that only dials.
    listener: Option<TcpListener>,
    members: BTreeMap<String, Endpoint>,
    tls: Option<RaftTls>,
}

/// Whether members may talk without TLS beyond this machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum RaftPlaintext {
    /// Only on loopback addresses.
    #[default]
    LoopbackOnly,
    /// Anywhere: the network itself has to keep others away.
    Anywhere,
}

impl RaftTcp {
    /// Dials these members and listens nowhere; for clients.
    ///
    /// # Errors
    /// No TLS, and an address that is not this machine's loopback.
    pub fn dialling(
        members: BTreeMap<String, Endpoint>,
        tls: Option<RaftTls>,
        plaintext: RaftPlaintext,
    ) -> Result<Self> {
        if tls.is_none() && plaintext == RaftPlaintext::LoopbackOnly {
            for (name, endpoint) in &members {
                if !is_loopback(endpoint.host()) {
                    return Err(not_secured(&format!("{name}={endpoint}")));
                }
            }
        }
        Ok(Self {
            listener: None,
            members,
            tls,
        })
    }

    /// Listens at `address`, and dials these members. Within a runtime of tokio.
    ///
    /// # Errors
    /// The address can't be listened at; no TLS, and an address that is not this machine's loopback.
    pub fn listen(
        address: &Endpoint,
        members: BTreeMap<String, Endpoint>,
        tls: Option<RaftTls>,
        plaintext: RaftPlaintext,
    ) -> Result<Self> {
        let is_open = tls.is_none() && plaintext == RaftPlaintext::LoopbackOnly;
        if is_open && !is_loopback(address.host()) {
            return Err(not_secured(&address.to_string()));
        }
        let mut network = Self::dialling(members, tls, plaintext)?;
        let message = || format!("cannot listen for managers at {address}");
        let listener = std::net::TcpListener::bind((address.host(), address.port()))
            .and_then(|listener| {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener)
            })
            .map_err(|error| Error::io(message(), error))?;
        network.listener = Some(listener);
        Ok(network)
    }
}

#[async_trait]
impl RaftNetwork for RaftTcp {
    async fn dial(&self, member: &str) -> Result<BoxByteStream> {
        let endpoint = self
            .members
            .get(member)
            .ok_or_else(|| Error::not_found(format!("the manager {member} has no address")))?;
        let (host, port) = (endpoint.host(), endpoint.port());
        let stream = TcpStream::connect((host, port)).await.map_err(|error| {
            let message = format!("cannot connect to the manager {member} at {endpoint}");
            Error::unavailable(message).with_source(error)
        })?;
        tune(&stream);
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some(tls) => tls.connect(stream, host).await,
        }
    }

    async fn accept(&self) -> Result<RaftIncoming> {
        let Some(listener) = &self.listener else {
            return Err(Error::closed("a client does not listen"));
        };
        let (stream, from) = listener
            .accept()
            .await
            .map_err(|error| Error::io("accepting a manager failed", error))?;
        tune(&stream);
        let tls = self.tls.clone();
        Ok(RaftIncoming::new(async move {
            match tls {
                None => Ok(RaftPeer::new(Box::new(stream), RaftAccess::Manager)),
                Some(tls) => tls.accept(stream, &from.to_string()).await,
            }
        }))
    }
}

/// A peer that is gone without a word is found within seconds. What can't be set is only slower.
fn tune(stream: &TcpStream) {
    let _ = stream.set_nodelay(true);
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new()
        .with_time(PATIENCE)
        .with_interval(PATIENCE / 2);
    let _ = socket.set_tcp_keepalive(&keepalive);
    #[cfg(target_os = "linux")]
    let _ = socket.set_tcp_user_timeout(Some(PATIENCE));
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || host
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn not_secured(what: &str) -> Error {
    Error::invalid(format!(
        "{what}: managers beyond this machine's loopback talk over TLS; give kv.cacertfile, \
         kv.certfile and kv.keyfile with a manager's certificate (or raft.plaintext=anywhere, where \
         the network itself keeps others away)"
    ))
}

const PATIENCE: Duration = Duration::from_secs(6);
