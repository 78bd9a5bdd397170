//! A web terminal into the containers of this machine's Docker engine: run it, and open
//! `http://127.0.0.1:8080/terminal/?target=NAME` for a container of that name.

use std::sync::Arc;

use longshore::{
    ExecBackend,
    core::{OsRandom, Shutdown, SystemClock},
    engine::UnixConnector,
    exec::{
        DockerExec,
        access::{AnybodyMay, StaticDirectory},
        gateway::Gateway,
        session::SessionHub,
        web::EmbeddedPage,
    },
};

/// Terminals into all containers of an engine: a router to serve, or to nest in one's own.
pub(crate) fn terminals(engine: Arc<dyn ExecBackend>) -> longshore::Result<axum::Router> {
    let clock = Arc::new(SystemClock::new());
    let shutdown = Shutdown::new();
    let hub = SessionHub::new(clock.clone(), Arc::new(OsRandom), shutdown.clone());
    let directory = StaticDirectory::new().with_engine(engine);
    let gateway = Gateway::new(hub, Arc::new(directory), clock, shutdown)
        // Whoever reaches the listener may enter: put your own access control here.
        .with_access(Arc::new(AnybodyMay))
        .with_page(Arc::new(EmbeddedPage::load()?));
    let handle = move |request: axum::extract::Request| async move {
        gateway.handle(request).await.map(axum::body::Body::new)
    };
    Ok(axum::Router::new().fallback(handle))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let socket = Arc::new(UnixConnector::new("/var/run/docker.sock"));
    let engine = DockerExec::new(socket, Arc::new(SystemClock::new()), Arc::new(OsRandom));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    Ok(axum::serve(listener, terminals(Arc::new(engine))?).await?)
}
