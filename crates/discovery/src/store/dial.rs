//! Opening a connection to one server of a store.

use std::time::Duration;

use async_trait::async_trait;
use longshore_core::{BoxByteStream, Connector, Endpoint, Error, Result};
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use super::tls::{Refusal, StoreTls};

/// TCP, with TLS where asked for.
#[derive(Clone, Debug)]
pub(crate) struct Dialer {
    endpoint: Endpoint,
    tls: Option<StoreTls>,
    refusal: Refusal,
}

impl Dialer {
    pub(crate) fn new(endpoint: Endpoint, tls: Option<StoreTls>) -> Self {
        Self {
            endpoint,
            tls,
            refusal: Refusal::default(),
        }
    }

    /// Why the server last refused us, once that is known.
    #[cfg(any(feature = "etcd", feature = "consul"))]
    pub(crate) fn refusal(&self) -> Refusal {
        self.refusal.clone()
    }
}

#[async_trait]
impl Connector for Dialer {
    async fn connect(&self) -> Result<BoxByteStream> {
        let (host, port) = (self.endpoint.host(), self.endpoint.port());
        let stream = TcpStream::connect((host, port)).await.map_err(|error| {
            let message = format!("cannot connect to the store {}", self.endpoint);
            // Whatever the system calls it (a name that is not known, a refused port): it may come.
            Error::unavailable(message).with_source(error)
        })?;
        // What can't be set is only slower; that is no reason to fail.
        let _ = stream.set_nodelay(true);
        let keepalive = TcpKeepalive::new()
            .with_time(Duration::from_secs(10))
            .with_interval(Duration::from_secs(5));
        let _ = SockRef::from(&stream).set_tcp_keepalive(&keepalive);
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some(tls) => tls.secure(stream, host, &self.refusal).await,
        }
    }

    fn describe(&self) -> String {
        self.endpoint.to_string()
    }
}
