use std::sync::Arc;
use longshore_core::{OsRandom, Shutdown, SystemClock, WorkloadId};
use longshore_exec::{
    ScriptedExec, access::{AnybodyMay, StaticDirectory}, gateway::Gateway, session::SessionHub, web::EmbeddedPage,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let clock = Arc::new(SystemClock::new());
    let shutdown = Shutdown::new();
    // Yours: DockerExec or a process engine, and who may enter.
    let engine = ScriptedExec::new().with_workload(WorkloadId::new("web")?);
    let hub = SessionHub::new(clock.clone(), Arc::new(OsRandom), shutdown.clone());
    let directory = StaticDirectory::new().with_engine(Arc::new(engine));
    let gateway = Gateway::new(hub, Arc::new(directory), clock, shutdown)
        .with_access(Arc::new(AnybodyMay))
        .with_page(Arc::new(EmbeddedPage::load()?));
    let app = axum::Router::new().fallback(move |request: axum::extract::Request| async move {
        gateway.handle(request).await.map(axum::body::Body::new)
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    Ok(axum::serve(listener, app).await?)
}
