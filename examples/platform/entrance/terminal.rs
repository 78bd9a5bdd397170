//! The web terminal, where the program was built with the feature `web`.

use longshore::exec::gateway::Gateway;

/// Served below `/terminal/`. Who asks is proven by the connection, for the page as for everybody.
#[cfg(feature = "web")]
pub fn with_page(gateway: Gateway) -> Gateway {
    match longshore::exec::web::EmbeddedPage::load() {
        Ok(page) => {
            tracing::info!("a web terminal is served below /terminal/");
            gateway.with_page(std::sync::Arc::new(page))
        }
        Err(error) => {
            tracing::warn!(error = error.chain(), "there is no web terminal");
            gateway
        }
    }
}

#[cfg(not(feature = "web"))]
pub fn with_page(gateway: Gateway) -> Gateway {
    gateway
}
