//! The connector suite over every connector of this crate.

#![expect(clippy::unwrap_used, reason = "a test may fail this way")]

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use longshore_core::{BoxByteStream, Connector, testkit::connector::Harness};
use longshore_engine::{ServiceConnector, TcpConnector, UnixConnector, duplex_connector};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::{Mutex, mpsc},
};

struct Tcp {
    connector: Arc<TcpConnector>,
    listener: Mutex<Option<TcpListener>>,
}

impl Tcp {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = listener.local_addr().unwrap().into();
        Self {
            connector: Arc::new(TcpConnector::new(endpoint)),
            listener: Mutex::new(Some(listener)),
        }
    }
}

#[async_trait]
impl Harness for Tcp {
    fn connector(&self) -> Arc<dyn Connector> {
        self.connector.clone()
    }

    async fn accept(&self) -> BoxByteStream {
        let listener = self.listener.lock().await;
        Box::new(listener.as_ref().unwrap().accept().await.unwrap().0)
    }

    async fn go_down(&self) -> bool {
        self.listener.lock().await.take();
        true
    }

    async fn come_back(&self) {
        let endpoint = self.connector.endpoint();
        let address = (endpoint.host(), endpoint.port());
        *self.listener.lock().await = Some(TcpListener::bind(address).await.unwrap());
    }
}

struct Unix {
    folder: tempfile::TempDir,
    listener: Mutex<Option<UnixListener>>,
}

impl Unix {
    async fn new() -> Self {
        let this = Self {
            folder: tempfile::tempdir().unwrap(),
            listener: Mutex::new(None),
        };
        this.come_back().await;
        this
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("engine.sock")
    }
}

#[async_trait]
impl Harness for Unix {
    fn connector(&self) -> Arc<dyn Connector> {
        Arc::new(UnixConnector::new(self.path()))
    }

    async fn accept(&self) -> BoxByteStream {
        let listener = self.listener.lock().await;
        Box::new(listener.as_ref().unwrap().accept().await.unwrap().0)
    }

    /// The file stays, as after a crash.
    async fn go_down(&self) -> bool {
        self.listener.lock().await.take();
        true
    }

    async fn come_back(&self) {
        let _ = std::fs::remove_file(self.path());
        *self.listener.lock().await = Some(UnixListener::bind(self.path()).unwrap());
    }
}

/// Handlers pass their streams on.
struct Service {
    connector: Arc<ServiceConnector>,
    streams: Mutex<mpsc::UnboundedReceiver<BoxByteStream>>,
}

impl Service {
    fn new() -> Self {
        let (sender, streams) = mpsc::unbounded_channel();
        let connector = ServiceConnector::new("suite", move |stream| {
            let sender = sender.clone();
            async move { drop(sender.send(stream)) }
        });
        Self {
            connector: Arc::new(connector.with_buffer(4096)),
            streams: Mutex::new(streams),
        }
    }
}

#[async_trait]
impl Harness for Service {
    fn connector(&self) -> Arc<dyn Connector> {
        self.connector.clone()
    }

    async fn accept(&self) -> BoxByteStream {
        self.streams.lock().await.recv().await.unwrap()
    }

    async fn go_down(&self) -> bool {
        false
    }

    async fn come_back(&self) {}
}

/// A queue whose server may be gone.
struct Duplex {
    parts: Mutex<(Arc<ServiceConnector>, Option<mpsc::Receiver<BoxByteStream>>)>,
}

impl Duplex {
    fn new() -> Self {
        let (connector, streams) = duplex_connector("suite", 16);
        Self {
            parts: Mutex::new((Arc::new(connector), Some(streams))),
        }
    }
}

#[async_trait]
impl Harness for Duplex {
    fn connector(&self) -> Arc<dyn Connector> {
        self.parts.try_lock().unwrap().0.clone()
    }

    async fn accept(&self) -> BoxByteStream {
        // A short lock each time: `connector` is called in between.
        loop {
            let next = {
                let mut parts = self.parts.lock().await;
                parts.1.as_mut().unwrap().try_recv()
            };
            match next {
                Ok(stream) => return stream,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    }

    async fn go_down(&self) -> bool {
        self.parts.lock().await.1.take();
        true
    }

    async fn come_back(&self) {
        let (connector, streams) = duplex_connector("suite", 16);
        *self.parts.lock().await = (Arc::new(connector), Some(streams));
    }
}

mod tcp {
    use super::*;
    longshore_core::connector_suite!(live, Tcp::new().await);
}

mod unix {
    use super::*;
    longshore_core::connector_suite!(live, Unix::new().await);
}

mod service {
    use super::*;
    longshore_core::connector_suite!(paused, Service::new());
}

mod duplex {
    use super::*;
    longshore_core::connector_suite!(paused, Duplex::new());
}
