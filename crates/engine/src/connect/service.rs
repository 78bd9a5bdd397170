use std::{fmt, sync::Arc};

use async_trait::async_trait;
use longshore_core::{BoxByteStream, BoxFuture, Connector, Error, Result};

/// A connector to a service in the same process: each connect gives one end of an in-memory pipe,
/// the handler gets the other. Nothing listens anywhere.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> longshore_core::Result<()> {
/// use longshore_core::Connector;
/// use longshore_engine::ServiceConnector;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// let echo = ServiceConnector::new("echo", |stream| async move {
///     let (mut read, mut write) = tokio::io::split(stream);
///     let _ = tokio::io::copy(&mut read, &mut write).await;
///     let _ = write.shutdown().await;
/// });
/// let mut stream = echo.connect().await?;
/// stream.write_all(b"hello").await.unwrap();
/// stream.shutdown().await.unwrap();
/// let mut answer = String::new();
/// stream.read_to_string(&mut answer).await.unwrap();
/// assert_eq!(answer, "hello");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct ServiceConnector {
    name: String,
    handler: Arc<dyn Fn(BoxByteStream) -> Result<BoxFuture<'static, ()>> + Send + Sync>,
    buffer: usize,
}

impl ServiceConnector {
    /// A service that takes every stream. `name` is for people: `describe` says `memory://name`.
    pub fn new<H, F>(name: impl Into<String>, handler: H) -> Self
    where
        H: Fn(BoxByteStream) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self::fallible(name, move |stream| Ok(handler(stream)))
    }

    /// A service that may refuse a stream; its error is the connect's.
    pub fn fallible<H, F>(name: impl Into<String>, handler: H) -> Self
    where
        H: Fn(BoxByteStream) -> Result<F> + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        Self {
            name: name.into(),
            handler: Arc::new(move |stream| {
                let served = handler(stream)?;
                Ok(Box::pin(served) as BoxFuture<'static, ()>)
            }),
            buffer: BUFFER,
        }
    }

    /// How many bytes each direction holds before the writer waits; 64 KiB if not set.
    #[must_use]
    pub fn with_buffer(mut self, bytes: usize) -> Self {
        self.buffer = bytes.max(1);
        self
    }
}

#[async_trait]
impl Connector for ServiceConnector {
    /// The handler runs in a task of its own, which ends when the handler does.
    async fn connect(&self) -> Result<BoxByteStream> {
        let (near, far) = tokio::io::duplex(self.buffer);
        tokio::spawn((self.handler)(Box::new(far))?);
        Ok(Box::new(near))
    }

    fn describe(&self) -> String {
        format!("memory://{}", self.name)
    }
}

impl fmt::Debug for ServiceConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceConnector({})", self.name)
    }
}

/// A connector and the queue on which the far ends of its streams arrive, for a server that accepts
/// in a loop. At most `backlog` streams wait to be accepted; more are refused.
pub fn duplex_connector(
    name: impl Into<String>,
    backlog: usize,
) -> (ServiceConnector, tokio::sync::mpsc::Receiver<BoxByteStream>) {
    let name = name.into();
    let (sender, receiver) = tokio::sync::mpsc::channel(backlog.max(1));
    let place = name.clone();
    let connector = ServiceConnector::fallible(name, move |stream| {
        sender
            .try_send(stream)
            .map(|()| std::future::ready(()))
            .map_err(|refused| {
                let reason = match refused {
                    tokio::sync::mpsc::error::TrySendError::Full(_) => "too many streams wait",
                    tokio::sync::mpsc::error::TrySendError::Closed(_) => "nobody accepts",
                };
                Error::unavailable(format!(
                    "cannot connect to the engine at memory://{place}: {reason}"
                ))
            })
    });
    (connector, receiver)
}

const BUFFER: usize = 64 * 1024;
