use std::sync::Arc;
use longshore_exec::{gateway::Gateway, web::EmbeddedPage};

fn terminals(gateway: Gateway) -> longshore_core::Result<axum::Router> {
    let gateway = gateway.with_page(Arc::new(EmbeddedPage::load()?));
    let handle = move |request: axum::extract::Request| async move {
        gateway.handle(request).await.map(axum::body::Body::new)
    };
    Ok(axum::Router::new().fallback(handle))
}
