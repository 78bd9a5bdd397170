use std::{convert::Infallible, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use longshore_core::{Clock, ClockExt, Shutdown};
use tokio::{net::TcpListener, sync::Semaphore};

use super::TokenService;

/// Serves the service alone, in plain HTTP, until the shutdown: for a network that is trusted, or
/// behind a proxy that speaks TLS.
///
/// At most 4,096 connections; one that does not send a request's head within 10 s is closed.
///
/// # Cancel safety
/// Dropping the future stops listening; open connections end with the shutdown.
pub async fn serve(
    listener: TcpListener,
    service: TokenService,
    clock: Arc<dyn Clock>,
    shutdown: Shutdown,
) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let connections = Shutdown::child(&shutdown);
    let accept = async {
        loop {
            // Nobody ever closes the semaphore.
            let Ok(permit) = room.clone().acquire_owned().await else {
                return;
            };
            let Ok((stream, _)) = listener.accept().await else {
                // Out of file handles, say: others may end meanwhile.
                clock.sleep(Duration::from_millis(100)).await;
                continue;
            };
            let service = service.clone();
            connections.spawn_until(async move {
                let answer = service_fn(move |request| {
                    let service = service.clone();
                    async move { Ok::<_, Infallible>(service.handle(request).await) }
                });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(PATIENCE)
                    .max_headers(64)
                    .max_buf_size(16 << 10)
                    .serve_connection(TokioIo::new(stream), answer);
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "a connection to the token service ended");
                }
                drop(permit);
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = shutdown.requested() => {}
    }
    connections.trigger();
}

const MOST_CONNECTIONS: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(10);
