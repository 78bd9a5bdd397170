//! Listeners: where the endpoint can be reached, and by whom.

mod address;
mod connection;
mod endless;
mod hosts;
#[cfg(feature = "tls")]
mod refusal;
mod slots;
mod tap;
#[cfg(feature = "tls")]
mod tls;
mod unix;

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::body::Body as AxumBody;
use http::{Request, Response};
use longshore_core::{Clock, ClockExt, Error, ErrorKind, OsRandom, Result, Shutdown};
#[cfg(target_os = "linux")]
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tower_service::Service;

pub use self::address::ListenAddress;
#[cfg(feature = "tls")]
pub use self::tls::{TlsFiles, TlsReload};
use self::{connection::Accepted, slots::Slots, unix::SocketFile};
pub(super) use self::{hosts::Hosts, tap::TapState};

/// How to listen.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ListenOptions {
    /// Certificates, for TCP.
    #[cfg(feature = "tls")]
    pub tls: Option<TlsFiles>,
    /// Whether TCP without TLS may be reached from other machines (`--insecure-plaintext`). Whoever
    /// can connect then owns every node.
    pub insecure_plaintext: bool,
    /// Names that clients on TCP without TLS may call this endpoint by, besides a loopback name and
    /// the address it listens at. Any other name may be a web page's.
    pub allowed_hosts: Vec<String>,
    /// A group that may use a unix socket besides its owner.
    pub group: Option<u32>,
    /// How many connections are served at a time. Beyond that, one that waits for a request is closed
    /// for a new one; when all are being answered, more wait in the kernel's queue.
    pub max_connections: usize,
    /// How many of them may be in their TLS handshake; beyond that the oldest is closed.
    pub max_handshakes: usize,
    /// How many of them may wait for a request; beyond that the one that waited longest is closed.
    pub max_idle: usize,
    /// How many may come from one address (of IPv6, one network of 64 bits), on TCP.
    pub max_per_peer: usize,
    /// How long a request head may take to arrive, TLS handshake apart.
    pub head_limit: Duration,
    /// How long a TLS handshake may take.
    pub handshake_limit: Duration,
    /// How long a connection may be idle between two requests.
    pub idle_limit: Duration,
    /// How large a request head may be.
    pub head_bytes: usize,
    /// How long requests that are being answered may go on after a shutdown was asked for. Those
    /// that would go on for ever (events, followed logs, stats, waits) end at once.
    pub drain_limit: Duration,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            #[cfg(feature = "tls")]
            tls: None,
            insecure_plaintext: false,
            allowed_hosts: Vec::new(),
            group: None,
            max_connections: 4096,
            max_handshakes: 512,
            max_idle: 1024,
            max_per_peer: 1024,
            head_limit: Duration::from_secs(15),
            handshake_limit: Duration::from_secs(10),
            idle_limit: Duration::from_secs(600),
            head_bytes: 64 * 1024,
            drain_limit: Duration::from_secs(10),
        }
    }
}

impl ListenOptions {
    /// Serves TCP with TLS.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn with_tls(mut self, files: TlsFiles) -> Self {
        self.tls = Some(files);
        self
    }

    /// Lets TCP without TLS be reached from other machines.
    #[must_use]
    pub fn with_insecure_plaintext(mut self) -> Self {
        self.insecure_plaintext = true;
        self
    }

    /// Adds a name that clients on TCP without TLS may call this endpoint by, without a port.
    #[must_use]
    pub fn with_allowed_host(mut self, name: impl Into<String>) -> Self {
        self.allowed_hosts.push(name.into());
        self
    }

    /// Lets a group use a unix socket besides its owner.
    #[must_use]
    pub fn with_group(mut self, group: u32) -> Self {
        self.group = Some(group);
        self
    }

    /// Sets how many connections are served at a time.
    #[must_use]
    pub fn with_max_connections(mut self, count: usize) -> Self {
        self.max_connections = count;
        self
    }

    /// Sets how many connections may be in their TLS handshake.
    #[must_use]
    pub fn with_max_handshakes(mut self, count: usize) -> Self {
        self.max_handshakes = count;
        self
    }

    /// Sets how many connections may wait for a request.
    #[must_use]
    pub fn with_max_idle(mut self, count: usize) -> Self {
        self.max_idle = count;
        self
    }

    /// Sets how many connections may come from one address, on TCP.
    #[must_use]
    pub fn with_max_per_peer(mut self, count: usize) -> Self {
        self.max_per_peer = count;
        self
    }

    /// Sets how long a request head may take to arrive.
    #[must_use]
    pub fn with_head_limit(mut self, limit: Duration) -> Self {
        self.head_limit = limit;
        self
    }

    /// Sets how long a connection may be idle between two requests.
    #[must_use]
    pub fn with_idle_limit(mut self, limit: Duration) -> Self {
        self.idle_limit = limit;
        self
    }

    /// Sets how long requests may go on after a shutdown was asked for.
    #[must_use]
    pub fn with_drain_limit(mut self, limit: Duration) -> Self {
        self.drain_limit = limit;
        self
    }
}

/// A bound address. A unix socket has mode 0600 (0660 with a group) from the first moment and is
/// removed when this is dropped.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    address: String,
    options: ListenOptions,
    /// On TCP without TLS.
    hosts: Option<Hosts>,
    #[cfg(feature = "tls")]
    acceptor: Option<tls::Acceptor>,
}

#[derive(Debug)]
enum Socket {
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "removes the file on drop")] SocketFile,
    ),
    Tcp(TcpListener),
}

impl Listener {
    /// Binds an address. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// TCP without TLS on an address that other machines can reach is refused, unless the options
    /// allow it. An address in use, a unix socket that another process serves, unreadable or
    /// mismatching TLS files: the message says which.
    pub async fn bind(address: &ListenAddress, options: ListenOptions) -> Result<Self> {
        #[cfg(feature = "tls")]
        let acceptor = match (&options.tls, address) {
            (Some(files), ListenAddress::Tcp(_)) => Some(tls::Acceptor::new(files)?),
            _ => None,
        };
        #[cfg(feature = "tls")]
        let has_tls = acceptor.is_some();
        #[cfg(not(feature = "tls"))]
        let has_tls = false;
        if !has_tls && !address.is_local() {
            if !options.insecure_plaintext {
                return Err(Error::invalid(format!(
                    "refusing to serve {address} without TLS: whoever can connect owns every \
                     node. Use --tlsverify with certificates, listen on 127.0.0.1 or a unix \
                     socket, or allow it explicitly (--insecure-plaintext)"
                )));
            }
            tracing::warn!(%address, "serving without TLS: whoever can connect owns every node");
        } else if !has_tls && matches!(address, ListenAddress::Tcp(_)) {
            tracing::warn!(
                %address,
                "serving TCP without TLS: any local user of this machine may command the cluster"
            );
        }
        let hosts = match address {
            ListenAddress::Tcp(endpoint) if !has_tls => {
                Some(Hosts::new(endpoint.host(), &options.allowed_hosts))
            }
            _ => None,
        };
        let (socket, bound) = match address {
            ListenAddress::Unix(path) => {
                let (listener, file) = unix::bind(path, options.group, &OsRandom).await?;
                (Socket::Unix(listener, file), address.to_string())
            }
            ListenAddress::Tcp(endpoint) => {
                let host = match endpoint.host() {
                    "" => "0.0.0.0",
                    host => host,
                };
                let listener = TcpListener::bind((host, endpoint.port()))
                    .await
                    .map_err(|error| bind_error(address, error))?;
                let bound = listener.local_addr().map_or_else(
                    |_| address.to_string(),
                    |bound: SocketAddr| format!("tcp://{bound}"),
                );
                (Socket::Tcp(listener), bound)
            }
        };
        Ok(Self {
            socket,
            address: bound,
            options,
            hosts,
            #[cfg(feature = "tls")]
            acceptor,
        })
    }

    /// Where it listens, with the port that was chosen for port 0.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Whether its connections begin with a TLS handshake.
    fn handshakes(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.acceptor.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }

    /// The handle by which its certificates are read again; `None` without TLS.
    #[cfg(feature = "tls")]
    pub fn tls(&self) -> Option<TlsReload> {
        self.acceptor.as_ref().map(tls::Acceptor::reload)
    }

    async fn accept(&self) -> io::Result<Accepted> {
        Ok(match &self.socket {
            Socket::Unix(listener, _) => Accepted::Unix(listener.accept().await?.0),
            Socket::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                prepare(&stream);
                Accepted::Tcp(stream, peer)
            }
        })
    }
}

/// Small writes leave at once, and little that was not sent waits in the kernel: what a client is told
/// last must not come behind megabytes on a slow link.
fn prepare(stream: &TcpStream) {
    // Only the pace depends on them.
    let _ = stream.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(NOTSENT_LOWAT);
}

fn bind_error(address: &ListenAddress, error: io::Error) -> Error {
    let taken = error.kind() == io::ErrorKind::AddrInUse && address.to_string().contains(":2375");
    let hint = if taken {
        ": is Docker already running on this machine? Try using a different port"
    } else {
        ""
    };
    Error::io(format!("listen {address}: {error}{hint}"), error)
}

/// Serves an [`EndpointService`](super::EndpointService), or a router with routes of one's own, on a
/// listener until a shutdown is asked for; then requests that are being
/// answered have [`ListenOptions::drain_limit`] to end, and what has no end of its own, such as a
/// stream of events, ends at once.
///
/// # Errors
/// The listener itself broke. Connections that fail don't end it.
///
/// # Cancel safety
/// Dropping the future stops listening; connections go on until the shutdown.
pub async fn serve<A>(
    listener: Listener,
    app: A,
    clock: Arc<dyn Clock>,
    shutdown: Shutdown,
) -> Result<()>
where
    A: Service<Request<AxumBody>, Response = Response<AxumBody>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    A::Future: Send,
{
    #[cfg(feature = "tls")]
    let acceptor = {
        let acceptor = listener.acceptor.clone();
        acceptor.map(|it| it.judging_by(Arc::clone(&clock)))
    };
    let slots = Slots::new(&listener.options, Arc::clone(&clock));
    let mut failures = 0;
    loop {
        tokio::select! {
            () = shutdown.requested() => return Ok(()),
            () = slots.room() => {}
        }
        let accepted = tokio::select! {
            () = shutdown.requested() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok(stream) => {
                failures = 0;
                stream
            }
            Err(error) => {
                // Out of descriptors, or the peer left in the queue: neither is the listener's end.
                failures += 1;
                tracing::warn!(%error, address = listener.address, "a connection was not accepted");
                if failures >= MAX_FAILURES {
                    return Err(Error::new(
                        ErrorKind::Unavailable,
                        format!("cannot accept connections on {}", listener.address),
                    )
                    .with_source(error));
                }
                clock.sleep(PAUSE).await;
                continue;
            }
        };
        let Some(slot) = slots.enter(stream.peer(), listener.handshakes()) else {
            continue;
        };
        let connection = connection::Connection {
            app: app.clone(),
            clock: Arc::clone(&clock),
            options: listener.options.clone(),
            shutdown: shutdown.clone(),
            hosts: listener.hosts.clone(),
            #[cfg(feature = "tls")]
            slots: Arc::clone(&slots),
            #[cfg(feature = "tls")]
            acceptor: acceptor.clone(),
        };
        shutdown.spawn(async move {
            connection.serve(stream, slot).await;
        });
    }
}

const MAX_FAILURES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);
#[cfg(target_os = "linux")]
const NOTSENT_LOWAT: u32 = 32 * 1024;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn little_waits_unsent_in_the_kernel() {
        let address = "tcp://127.0.0.1:0".parse().unwrap();
        let listener = Listener::bind(&address, ListenOptions::default()).await;
        let listener = listener.unwrap();
        let port = listener.address().rsplit(':').next().unwrap();
        let client = TcpStream::connect(format!("127.0.0.1:{port}")).await;
        let Accepted::Tcp(accepted, _) = listener.accept().await.unwrap() else {
            panic!("no TCP");
        };
        let socket = SockRef::from(&accepted);
        assert_eq!(socket.tcp_notsent_lowat().unwrap(), NOTSENT_LOWAT);
        assert!(socket.tcp_nodelay().unwrap());
        drop(client);
    }
}
