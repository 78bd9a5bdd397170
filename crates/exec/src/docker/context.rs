//! What the sessions of one engine share.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use longshore_core::{Error, ErrorKind, Random};

use super::{
    Cleanup, Stub, api::Api, lifeline::Lifelines, looks::Looks, starts::Starts, stub::Placements,
};
use crate::cleanup::{CleanupReport, GatewayLife, Marker};

/// What a session needs to know of its backend.
#[derive(Clone, Debug)]
pub(super) struct Context {
    pub(super) api: Arc<Api>,
    pub(super) shared: Arc<Shared>,
    pub(super) settings: Settings,
    pub(super) starts: Starts,
}

/// What the embedder chose.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) cleanup: Cleanup,
    pub(super) stub: Option<Stub>,
    /// An image with a shell.
    pub(super) sidecar_image: Option<String>,
    pub(super) life: GatewayLife,
    pub(super) listener: Listener,
}

/// Whoever is told of each cleanup.
#[derive(Clone, Default)]
pub(super) struct Listener(pub(super) Option<Arc<Hear>>);

type Hear = dyn Fn(&CleanupReport) + Send + Sync;

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Listener"
        } else {
            "nobody"
        })
    }
}

/// What is known from one session to the next.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) placements: Placements,
    pub(super) lifelines: Lifelines,
    pub(super) looks: Looks,
    /// Whether the engine's process table shows environments, once that was seen.
    pub(super) sight: OnceLock<bool>,
    /// Set once the engine has said that it takes no files at all.
    stubless: OnceLock<()>,
}

impl Settings {
    pub(super) fn new(random: &dyn Random) -> Self {
        Self {
            cleanup: Cleanup::default(),
            stub: None,
            sidecar_image: None,
            life: GatewayLife::unnamed(random),
            listener: Listener::default(),
        }
    }
}

impl Context {
    /// For a session whose request says this of its cleanup.
    pub(super) fn under(&self, cleanup: Option<Cleanup>) -> Self {
        let mut context = self.clone();
        if let Some(cleanup) = cleanup {
            context.settings.cleanup = cleanup;
        }
        context
    }

    /// A marker for a new session.
    pub(super) fn mark(&self) -> Option<Marker> {
        let settings = &self.settings;
        Marker::new(
            settings.life.identity(),
            settings.cleanup,
            &*self.api.random,
        )
    }

    /// Tells whoever listens, and says aloud what is not as it should be.
    pub(super) fn report(&self, report: &CleanupReport) {
        if report.is_clean() {
            tracing::debug!(session = %report.session, took = ?report.took, "{report}");
        } else if report.left.is_empty() {
            tracing::info!(session = %report.session, rungs = ?report.rungs, "{report}");
        } else {
            tracing::warn!(session = %report.session, rungs = ?report.rungs, "{report}");
        }
        if let Some(listener) = &self.settings.listener.0 {
            listener(report);
        }
    }
}

impl Shared {
    /// Whether this engine takes no stub, whatever the container.
    pub(super) fn refuses_stubs(&self) -> bool {
        self.stubless.get().is_some()
    }

    /// The stub could not be placed. An engine that does not know how is not asked again.
    pub(super) fn stub_refused(&self, error: &Error) {
        if error.kind() == ErrorKind::Unsupported {
            let _ = self.stubless.set(());
        }
    }
}
