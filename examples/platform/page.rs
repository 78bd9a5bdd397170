//! The stack's own programs: the page is the service with replicas, the gateway depends on it.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, body::Body, extract::State, http::StatusCode, routing::get};
use longshore::{
    core::{
        SystemClock,
        http::{HttpClient, empty_body, read_body},
    },
    engine::TcpConnector,
};
use tokio::{net::TcpListener, signal::unix::SignalKind};

use crate::{
    Failure,
    cli::{Gateway, Page},
    say::say,
};

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| "?".to_owned())
}

/// Serves one page on a free loopback port, and leaves the address for the gateway.
pub async fn page(args: Page) -> Result<(), Failure> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (instance, node) = (variable("LONGSHORE_INSTANCE"), variable("LONGSHORE_NODE"));
    let entry = args.registry.join(format!("{instance}@{node}"));
    std::fs::write(&entry, address.to_string())?;
    say(format_args!("serving on http://{address}"))?;
    let text = format!("hello from {instance} on {node}\n");
    let app = Router::new().route("/", get(async move || text));
    axum::serve(listener, app)
        .with_graceful_shutdown(terminated())
        .await?;
    std::fs::remove_file(&entry)?;
    Ok(())
}

#[derive(Clone)]
struct Pages {
    registry: Arc<PathBuf>,
    next: Arc<AtomicUsize>,
}

/// Passes each request to the next page that answers.
pub async fn gateway(args: Gateway) -> Result<(), Failure> {
    let listener = bind(args.listen).await?;
    say(format_args!("gateway on http://{}", listener.local_addr()?))?;
    let pages = Pages {
        registry: Arc::new(args.registry),
        next: Arc::default(),
    };
    let app = Router::new().route("/", get(forward)).with_state(pages);
    axum::serve(listener, app)
        .with_graceful_shutdown(terminated())
        .await?;
    Ok(())
}

/// A gateway that moved may find its port still held by the one that is being stopped.
async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    let mut tries = 0;
    loop {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && tries < 50 => {
                tries += 1;
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
            result => return Ok(result?),
        }
    }
}

async fn forward(State(pages): State<Pages>) -> (StatusCode, Body) {
    let addresses = match addresses(&pages.registry) {
        Ok(addresses) if !addresses.is_empty() => addresses,
        _ => {
            return (
                StatusCode::SERVICE_UNAVAILABLE,
                Body::from("no page is up\n"),
            );
        }
    };
    let first = pages.next.fetch_add(1, Ordering::Relaxed);
    for offset in 0..addresses.len() {
        let address = addresses[(first + offset) % addresses.len()];
        if let Ok(text) = fetch(address).await {
            return (StatusCode::OK, Body::from(text));
        }
    }
    (StatusCode::BAD_GATEWAY, Body::from("no page answers\n"))
}

fn addresses(registry: &Path) -> std::io::Result<Vec<SocketAddr>> {
    let mut addresses: Vec<SocketAddr> = std::fs::read_dir(registry)?
        .filter_map(|entry| {
            std::fs::read_to_string(entry.ok()?.path())
                .ok()?
                .parse()
                .ok()
        })
        .collect();
    addresses.sort_unstable();
    Ok(addresses)
}

async fn fetch(address: SocketAddr) -> longshore::Result<bytes::Bytes> {
    let clock = Arc::new(SystemClock::new());
    let client = HttpClient::new(Arc::new(TcpConnector::new(address.into())), clock);
    let request = http::Request::get("/")
        .body(empty_body())
        .expect("a fixed request is valid");
    read_body(client.send(request).await?.into_body(), 64 * 1024).await
}

async fn terminated() {
    if let Ok(mut signal) = tokio::signal::unix::signal(SignalKind::terminate()) {
        signal.recv().await;
    }
}
