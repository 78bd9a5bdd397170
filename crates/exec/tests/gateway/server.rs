//! A gateway in memory.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use longshore_core::{
    BoxByteStream, Clock, ClockExt, Connector, Error, ExecBackend, OsRandom, Result, Shutdown,
    SystemClock, WorkloadId,
};
use longshore_exec::{
    access::{AnybodyMay, Directory, StaticDirectory},
    client::{ClientOptions, RemoteExec},
    gateway::{Gateway, GatewayOptions},
    session::{HubLimits, SessionHub},
};
use tokio::task::AbortHandle;

use crate::programs;

pub(crate) fn id(text: &str) -> WorkloadId {
    WorkloadId::new(text).unwrap()
}

/// A gateway, dialled through pipes that can be cut.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) gateway: Gateway,
    pub(crate) hub: SessionHub,
    pub(crate) shutdown: Shutdown,
    pub(crate) clock: Arc<dyn Clock>,
    wires: Mutex<Vec<AbortHandle>>,
    dialled: AtomicUsize,
    is_away: AtomicBool,
}

impl Server {
    /// With everybody let in.
    pub(crate) fn open(directory: impl Directory, options: GatewayOptions) -> Arc<Self> {
        Self::new(directory, options, |gateway| {
            gateway.with_access(Arc::new(AnybodyMay))
        })
    }

    pub(crate) fn new(
        directory: impl Directory,
        options: GatewayOptions,
        configure: impl FnOnce(Gateway) -> Gateway,
    ) -> Arc<Self> {
        Self::with_hub(directory, options, |hub| hub, configure)
    }

    pub(crate) fn with_hub(
        directory: impl Directory,
        options: GatewayOptions,
        change: impl FnOnce(SessionHub) -> SessionHub,
        configure: impl FnOnce(Gateway) -> Gateway,
    ) -> Arc<Self> {
        let clock = Arc::new(SystemClock::new());
        let shutdown = Shutdown::new();
        let hub = SessionHub::new(clock.clone(), Arc::new(OsRandom), shutdown.clone())
            .with_limits(HubLimits::default());
        let hub = change(hub);
        let gateway = Gateway::new(
            hub.clone(),
            Arc::new(directory),
            clock.clone(),
            shutdown.clone(),
        )
        .with_options(options);
        Arc::new(Self {
            gateway: configure(gateway),
            hub,
            shutdown,
            clock,
            wires: Mutex::default(),
            dialled: AtomicUsize::new(0),
            is_away: AtomicBool::new(false),
        })
    }

    /// Over one engine.
    pub(crate) fn over(backend: Arc<dyn ExecBackend>) -> Arc<Self> {
        Self::open(
            StaticDirectory::new().with_engine(backend),
            GatewayOptions::default(),
        )
    }

    /// Over the programs of the suites, in a container `web`.
    pub(crate) fn scripted() -> Arc<Self> {
        Self::over(Arc::new(programs::scripted().with_workload(id("web"))))
    }

    pub(crate) fn client(self: &Arc<Self>) -> RemoteExec {
        RemoteExec::new(
            Arc::new(Wire(Arc::clone(self))),
            ClientOptions::default(),
            Arc::clone(&self.clock),
            Arc::new(OsRandom),
        )
    }

    /// The same gateway by ways that are cut for themselves.
    pub(crate) fn beside(&self) -> Self {
        Self {
            gateway: self.gateway.clone(),
            hub: self.hub.clone(),
            shutdown: self.shutdown.clone(),
            clock: Arc::clone(&self.clock),
            wires: Mutex::default(),
            dialled: AtomicUsize::new(0),
            is_away: AtomicBool::new(false),
        }
    }

    /// A raw connection.
    pub(crate) fn dial(&self) -> BoxByteStream {
        self.dial_through(64 << 10)
    }

    /// A raw connection over a way that holds so many bytes twice.
    pub(crate) fn dial_through(&self, buffer: usize) -> BoxByteStream {
        let (near, mut middle) = tokio::io::duplex(buffer);
        let (mut through, far) = tokio::io::duplex(buffer);
        let gateway = self.gateway.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let gateway = gateway.clone();
                async move { Ok::<_, Infallible>(gateway.handle(request).await) }
            });
            let connection = http1::Builder::new().serve_connection(TokioIo::new(far), service);
            let _ = connection.with_upgrades().await;
        });
        let wire = tokio::spawn(async move {
            let _ = tokio::io::copy_bidirectional(&mut middle, &mut through).await;
        });
        self.wires.lock().unwrap().push(wire.abort_handle());
        self.dialled.fetch_add(1, Ordering::Relaxed);
        Box::new(near)
    }

    /// Cuts every connection; says whether there was one.
    pub(crate) fn cut(&self) -> bool {
        let mut any = false;
        for wire in self.wires.lock().unwrap().drain(..) {
            any |= !wire.is_finished();
            wire.abort();
        }
        any
    }

    /// Cuts every connection, and takes none for a while.
    pub(crate) async fn cut_for(&self, time: std::time::Duration) {
        self.is_away.store(true, Ordering::Relaxed);
        assert!(self.cut());
        self.clock.sleep(time).await;
        self.is_away.store(false, Ordering::Relaxed);
    }

    pub(crate) fn dialled(&self) -> usize {
        self.dialled.load(Ordering::Relaxed)
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Wire(pub(crate) Arc<Server>);

#[async_trait]
impl Connector for Wire {
    async fn connect(&self) -> Result<BoxByteStream> {
        if self.0.is_away.load(Ordering::Relaxed) {
            return Err(Error::unavailable("the gateway is away"));
        }
        Ok(self.0.dial())
    }

    fn describe(&self) -> String {
        "memory://gateway".to_owned()
    }
}
