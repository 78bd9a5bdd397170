use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use longshore_core::{
    Backoff, Carrier, ClockExt, Endpoint, Error, OsRandom, PendingCarrier, Result, TunnelListener,
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::{
    TlsTransport,
    admission::{Admission, Place},
    explain::explain,
    handshake, socket,
};
use crate::mux::Side;

pub(super) struct TlsListener {
    tcp: TcpListener,
    local: Endpoint,
    transport: TlsTransport,
    admission: Admission,
}

impl TlsListener {
    pub(super) async fn bind(at: &Endpoint, transport: TlsTransport) -> Result<Self> {
        let tcp = if at.host().is_empty() {
            // All interfaces, of both families where the machine has both.
            match TcpListener::bind(("::", at.port())).await {
                Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
                    TcpListener::bind(("0.0.0.0", at.port())).await
                }
                bound => bound,
            }
        } else {
            TcpListener::bind((at.host(), at.port())).await
        };
        let tcp = tcp.map_err(|error| Error::io(format!("cannot listen: {error}"), error))?;
        let address = tcp
            .local_addr()
            .map_err(|error| Error::io("cannot find out the port", error))?;
        let local = Endpoint::new(at.host(), address.port())?;
        let options = &transport.options;
        let admission = Admission::new(options.max_handshakes, options.max_handshakes_per_address);
        Ok(Self {
            tcp,
            local,
            transport,
            admission,
        })
    }
}

#[async_trait]
impl TunnelListener for TlsListener {
    fn local(&self) -> Endpoint {
        self.local.clone()
    }

    async fn accept(&self) -> Result<Box<dyn PendingCarrier>> {
        let mut backoff = Backoff::new(Duration::from_millis(5), Duration::from_secs(1));
        loop {
            // Nothing waits between the accept and the return, so no connection can be lost.
            match self.tcp.accept().await {
                Ok((tcp, address)) => match self.admission.admit(address.ip()) {
                    Some(place) => {
                        let transport = self.transport.clone();
                        return Ok(Box::new(TlsPending {
                            tcp,
                            address,
                            place,
                            transport,
                        }));
                    }
                    None => tracing::debug!(%address, "too many unfinished handshakes: closed"),
                },
                // The peer left between its connection and the accept.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset
                    ) => {}
                // Out of descriptors or memory: trying at once would spin.
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection, waiting");
                    self.transport
                        .clock
                        .sleep(backoff.next_delay(&OsRandom))
                        .await;
                }
            }
        }
    }
}

impl fmt::Debug for TlsListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsListener")
            .field("local", &self.local)
            .finish_non_exhaustive()
    }
}

struct TlsPending {
    tcp: TcpStream,
    address: SocketAddr,
    place: Place,
    transport: TlsTransport,
}

impl TlsPending {
    async fn shake_hands(self) -> Result<Arc<dyn Carrier>> {
        let Self {
            tcp,
            address,
            place,
            transport,
        } = self;
        let (clock, options) = (&transport.clock, &transport.options);
        socket::prepare(&tcp).map_err(|error| Error::io("cannot set up the socket", error))?;
        let deadline = clock.now().after(options.handshake_timeout);
        // Who says nothing gives its place back sooner than who is slow.
        let patience = options.first_byte_timeout.min(options.handshake_timeout);
        clock
            .timeout(patience, "the first byte", tcp.peek(&mut [0; 1]))
            .await?
            .map_err(explain)?;
        let acceptor = TlsAcceptor::from(Arc::clone(&transport.current().server));
        let stream = clock
            .timeout(
                options.handshake_timeout,
                "the TLS handshake",
                acceptor.accept(tcp),
            )
            .await?
            .map_err(explain)?;
        let (_, session) = stream.get_ref();
        let peer = handshake::peer(session.alpn_protocol(), session.peer_certificates())?
            .with_address(address.into());
        let done = handshake::Done {
            peer,
            deadline,
            side: Side::Listener,
        };
        let carrier = done.into_carrier(stream, options, clock).await;
        drop(place);
        carrier
    }
}

#[async_trait]
impl PendingCarrier for TlsPending {
    fn remote(&self) -> Option<Endpoint> {
        Some(self.address.into())
    }

    async fn handshake(self: Box<Self>) -> Result<Arc<dyn Carrier>> {
        let address = self.address;
        self.shake_hands().await.map_err(|error| {
            error
                .with_backend("tls")
                .with_operation("tunnel.handshake")
                .with_context("peer", address)
        })
    }
}

impl fmt::Debug for TlsPending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsPending")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}
