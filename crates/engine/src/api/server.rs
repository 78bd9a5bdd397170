use std::{
    convert::Infallible,
    fmt,
    path::Path,
    sync::{Arc, Weak},
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use longshore_core::{
    BoxByteStream, Clock, ClockExt, Connector, Engine, Error, ErrorKind, ExecBackend, Random,
    Result, Shutdown,
};
#[cfg(unix)]
use tokio::{net::UnixListener, sync::Semaphore};

use super::{exec::Execs, notes::Notes, router};
use crate::connect::ServiceConnector;

/// Docker's HTTP API (1.24 to 1.41) in front of any [`Engine`] and [`ExecBackend`], so that engines
/// without such an API get one: the stock `docker` client and everything else that speaks it.
///
/// What the traits can't do (building, networks, volumes, copying files) is refused with 501 and a
/// message, never pretended. Whoever reaches this API controls the engine: it authorises nobody, so
/// serve it in the same process or on a socket that only the right people can open.
///
/// Clones are the same API.
///
/// ```no_run
/// # async fn example(
/// #     engine: std::sync::Arc<dyn longshore_core::Engine>,
/// #     exec: std::sync::Arc<dyn longshore_core::ExecBackend>,
/// # ) -> longshore_core::Result<()> {
/// use std::sync::Arc;
///
/// use longshore_core::{OsRandom, Shutdown, SystemClock};
/// use longshore_engine::EngineApi;
///
/// let clock = Arc::new(SystemClock::new());
/// let api = EngineApi::new(engine, exec, clock, Arc::new(OsRandom));
/// let shutdown = Shutdown::new();
/// api.serve_unix("/run/example.sock".as_ref(), &shutdown).await?;
/// // docker -H unix:///run/example.sock ps
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct EngineApi(pub(super) Arc<Shared>);

impl EngineApi {
    /// An API that keeps its engine alive.
    pub fn new(
        engine: Arc<dyn Engine>,
        exec: Arc<dyn ExecBackend>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self::build(Hold::Strong(engine), Hold::Strong(exec), clock, random)
    }

    /// An API that does not keep its engine alive, for engines that own it and hand it out as
    /// their own connector. Once the engine is gone every request is answered with 503.
    pub fn weak(
        engine: Weak<dyn Engine>,
        exec: Weak<dyn ExecBackend>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self::build(Hold::Weak(engine), Hold::Weak(exec), clock, random)
    }

    fn build(
        engine: Hold<dyn Engine>,
        exec: Hold<dyn ExecBackend>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        Self(Arc::new(Shared {
            engine,
            exec,
            clock,
            random,
            execs: Execs::default(),
            notes: Notes::default(),
        }))
    }

    /// Serves one connection until it ends.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] when the client does not speak HTTP, [`ErrorKind::Closed`] when the
    /// connection breaks within a request.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection. Hijacked streams (attach, exec) have tasks of
    /// their own by then and go on.
    pub async fn serve_stream(&self, stream: BoxByteStream) -> Result<()> {
        let shared = Arc::clone(&self.0);
        let service = service_fn(move |request| {
            let shared = Arc::clone(&shared);
            async move { Ok::<_, Infallible>(router::answer(shared, request).await) }
        });
        http1::Builder::new()
            .half_close(true)
            .max_buf_size(BUFFER)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades()
            .await
            .map_err(|error| {
                let kind = if error.is_parse() {
                    ErrorKind::Protocol
                } else {
                    ErrorKind::Closed
                };
                Error::new(kind, "the connection to the client broke").with_source(error)
            })
    }

    /// In-memory streams to this API: what an engine without an API of its own gives as its
    /// [`connector`](Engine::connector).
    pub fn connector(&self) -> Arc<dyn Connector> {
        let api = self.clone();
        Arc::new(ServiceConnector::new("engine", move |stream| {
            let api = api.clone();
            async move {
                if let Err(error) = api.serve_stream(stream).await {
                    tracing::debug!(error = error.chain(), "an API connection ended");
                }
            }
        }))
    }

    /// Listens on a unix socket that only its owner can open (mode 0600), in a task of `shutdown`.
    /// At most 1024 connections are served at a time; more wait. The socket's file is removed when
    /// the task ends.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`] when somebody listens there or a file that is no socket is in
    /// the way; otherwise what the operating system says. A socket left behind by a dead process
    /// is replaced.
    #[cfg(unix)]
    pub async fn serve_unix(&self, path: &Path, shutdown: &Shutdown) -> Result<()> {
        let listener = listen(path, &self.0.random.hex(8)).await?;
        let api = self.clone();
        let path = path.to_owned();
        let connections = shutdown.clone();
        let requested = shutdown.requested();
        shutdown.spawn(async move {
            let accept = async {
                let places = Arc::new(Semaphore::new(MOST));
                while let Ok(place) = Arc::clone(&places).acquire_owned().await {
                    let Ok((stream, _)) = listener.accept().await else {
                        // Out of file descriptors, most likely: let others end first.
                        api.0.clock.sleep(PAUSE).await;
                        continue;
                    };
                    let api = api.clone();
                    connections.spawn_until(async move {
                        let _place = place;
                        if let Err(error) = api.serve_stream(Box::new(stream)).await {
                            tracing::debug!(error = error.chain(), "an API connection ended");
                        }
                    });
                }
            };
            tokio::select! {
                () = accept => {}
                () = requested => {}
            }
            let _ = std::fs::remove_file(&path);
        });
        Ok(())
    }
}

impl fmt::Debug for EngineApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.engine.get() {
            Ok(engine) => write!(f, "EngineApi({engine:?})"),
            Err(_) => f.write_str("EngineApi(gone)"),
        }
    }
}

/// What all requests share.
pub(super) struct Shared {
    engine: Hold<dyn Engine>,
    exec: Hold<dyn ExecBackend>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
    pub(super) execs: Execs,
    pub(super) notes: Notes,
}

impl Shared {
    pub(super) fn engine(&self) -> Result<Arc<dyn Engine>> {
        self.engine.get()
    }

    pub(super) fn exec(&self) -> Result<Arc<dyn ExecBackend>> {
        self.exec.get()
    }
}

enum Hold<T: ?Sized> {
    Strong(Arc<T>),
    Weak(Weak<T>),
}

impl<T: ?Sized> Hold<T> {
    fn get(&self) -> Result<Arc<T>> {
        match self {
            Self::Strong(held) => Some(Arc::clone(held)),
            Self::Weak(held) => held.upgrade(),
        }
        .ok_or_else(|| Error::unavailable("the engine was shut down").with_retryable(false))
    }
}

#[cfg(unix)]
async fn listen(path: &Path, unique: &str) -> Result<UnixListener> {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};

    let failed = |error| Error::io(format!("cannot listen on unix://{}", path.display()), error);
    if let Ok(found) = std::fs::symlink_metadata(path) {
        let taken = |reason| {
            Error::new(
                ErrorKind::AlreadyExists,
                format!("cannot listen on unix://{}: {reason}", path.display()),
            )
        };
        if !found.file_type().is_socket() {
            return Err(taken("a file that is no socket is in the way"));
        }
        if tokio::net::UnixStream::connect(path).await.is_ok() {
            return Err(taken("somebody listens there already"));
        }
        std::fs::remove_file(path).map_err(failed)?;
    }
    // Made under another name in a folder of our own, so that nobody can connect before the mode
    // is set.
    let folder = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let private = folder.join(format!(".{name}.{unique}"));
    std::fs::create_dir(&private).map_err(failed)?;
    let made = (|| {
        std::fs::set_permissions(&private, std::fs::Permissions::from_mode(0o700))?;
        let early = private.join("s");
        let listener = UnixListener::bind(&early)?;
        std::fs::set_permissions(&early, std::fs::Permissions::from_mode(0o600))?;
        std::fs::rename(&early, path)?;
        Ok(listener)
    })();
    let _ = std::fs::remove_dir_all(&private);
    made.map_err(failed)
}

const BUFFER: usize = 64 * 1024;
const MOST: usize = 1024;
const PAUSE: Duration = Duration::from_millis(100);
