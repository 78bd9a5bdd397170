use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use longshore_core::{BoxByteStream, Endpoint, Error, ErrorKind, NodeId, Result};
use tokio::sync::{mpsc, oneshot};

/// Where [`MemoryTransport`](super::MemoryTransport)s meet. Clones are the same network.
#[derive(Clone)]
pub struct MemoryNetwork(Arc<Inner>);

struct Inner {
    listeners: Mutex<Listeners>,
    connect: Box<dyn Fn() -> (BoxByteStream, BoxByteStream) + Send + Sync>,
}

#[derive(Default)]
struct Listeners {
    at: BTreeMap<Endpoint, mpsc::Sender<Arrival>>,
    last_port: u16,
}

/// A connection that waits for its handshake.
pub(super) struct Arrival {
    pub(super) io: BoxByteStream,
    pub(super) dialer: NodeId,
    /// Tells the dialler who the listener is.
    pub(super) introduce: oneshot::Sender<NodeId>,
}

/// An address held by a listener; free again when it is dropped.
pub(super) struct Claim {
    network: MemoryNetwork,
    at: Endpoint,
}

impl MemoryNetwork {
    /// A network without delay or faults.
    pub fn new() -> Self {
        Self::with_connections(|| {
            let (near, far) = tokio::io::duplex(BUFFER);
            (Box::new(near), Box::new(far))
        })
    }

    /// A network whose connections are made by `connect`, which gives the dialler's end and the
    /// listener's: for example over the testkit's lossy link.
    pub fn with_connections<F>(connect: F) -> Self
    where
        F: Fn() -> (BoxByteStream, BoxByteStream) + Send + Sync + 'static,
    {
        Self(Arc::new(Inner {
            listeners: Mutex::default(),
            connect: Box::new(connect),
        }))
    }

    pub(super) fn connection(&self) -> (BoxByteStream, BoxByteStream) {
        (self.0.connect)()
    }

    pub(super) fn claim(&self, asked: &Endpoint) -> Result<(Claim, mpsc::Receiver<Arrival>)> {
        let mut listeners = self.lock();
        let at = if asked.port() == 0 {
            listeners.free(asked)?
        } else {
            asked.clone()
        };
        if listeners.at.contains_key(&at) {
            return Err(
                Error::new(ErrorKind::AlreadyExists, "the address is in use")
                    .with_backend("memory")
                    .with_operation("tunnel.listen")
                    .with_context("address", &at),
            );
        }
        let (sender, receiver) = mpsc::channel(BACKLOG);
        listeners.at.insert(at.clone(), sender);
        drop(listeners);
        Ok((
            Claim {
                network: self.clone(),
                at,
            },
            receiver,
        ))
    }

    pub(super) fn find(&self, at: &Endpoint) -> Result<mpsc::Sender<Arrival>> {
        self.lock().at.get(at).cloned().ok_or_else(|| nobody(at))
    }

    fn lock(&self) -> MutexGuard<'_, Listeners> {
        self.0
            .listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for MemoryNetwork {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryNetwork")
            .field("listeners", &self.lock().at.keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Listeners {
    fn free(&mut self, asked: &Endpoint) -> Result<Endpoint> {
        for _ in 0..u16::MAX {
            self.last_port = self.last_port.checked_add(1).unwrap_or(1);
            let at = Endpoint::new(asked.host(), self.last_port)?;
            if !self.at.contains_key(&at) {
                return Ok(at);
            }
        }
        Err(Error::new(ErrorKind::ResourceExhausted, "no port is free"))
    }
}

impl Claim {
    pub(super) fn at(&self) -> &Endpoint {
        &self.at
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.network.lock().at.remove(&self.at);
    }
}

pub(super) fn nobody(at: &Endpoint) -> Error {
    Error::unavailable("nobody listens at the address")
        .with_backend("memory")
        .with_operation("tunnel.dial")
        .with_context("address", at)
}

/// How many connections wait for a listener before diallers do.
const BACKLOG: usize = 128;
/// How much is under way in each direction.
const BUFFER: usize = 64 * 1024;
