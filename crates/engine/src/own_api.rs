//! The Docker-compatible API of the engines that have none of their own.

use std::sync::{Arc, Weak};

use longshore_core::{Clock, Connector, Engine, ExecBackend, Random};

/// In-memory streams to an API that does not keep its engine alive.
#[cfg(feature = "api")]
pub(crate) fn own_api<E: Engine + ExecBackend>(
    engine: Weak<E>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    name: &str,
) -> Arc<dyn Connector> {
    Arc::new(Named {
        name: name.to_owned(),
        api: crate::EngineApi::weak(engine.clone(), engine, clock, random).connector(),
    })
}

/// Without the feature `api` there is none: connecting says so.
#[cfg(not(feature = "api"))]
pub(crate) fn own_api<E: Engine + ExecBackend>(
    _: Weak<E>,
    _: Arc<dyn Clock>,
    _: Arc<dyn Random>,
    name: &str,
) -> Arc<dyn Connector> {
    Arc::new(Named(name.to_owned()))
}

#[cfg(feature = "api")]
#[derive(Debug)]
struct Named {
    name: String,
    api: Arc<dyn Connector>,
}

#[cfg(not(feature = "api"))]
#[derive(Debug)]
struct Named(String);

#[cfg(feature = "api")]
#[async_trait::async_trait]
impl Connector for Named {
    async fn connect(&self) -> longshore_core::Result<longshore_core::BoxByteStream> {
        self.api.connect().await
    }

    fn describe(&self) -> String {
        self.name.clone()
    }
}

#[cfg(not(feature = "api"))]
#[async_trait::async_trait]
impl Connector for Named {
    async fn connect(&self) -> longshore_core::Result<longshore_core::BoxByteStream> {
        Err(longshore_core::Error::unsupported(format!(
            "{} serves no API: longshore-engine was built without its feature \"api\"",
            self.0
        )))
    }

    fn describe(&self) -> String {
        self.0.clone()
    }
}
