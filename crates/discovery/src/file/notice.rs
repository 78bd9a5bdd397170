//! Notifications of the operating system that the file may have changed.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::sync::Notify;

/// Tells when something happens to a file. The directory is watched, not the file: so the file may
/// be replaced, removed and made again.
pub(super) struct Notices {
    changed: Arc<Notify>,
    /// Watches for as long as it lives.
    _watcher: RecommendedWatcher,
}

impl Notices {
    /// `None` where the system can't tell; the reason is logged.
    pub(super) fn open(path: &Path) -> Option<Self> {
        match Self::try_open(path) {
            Ok(notices) => Some(notices),
            Err(error) => {
                tracing::debug!(
                    path = %path.display(), %error,
                    "changes of the discovery file are found by reading it now and then"
                );
                None
            }
        }
    }

    fn try_open(path: &Path) -> notify::Result<Self> {
        let changed = Arc::new(Notify::new());
        let name = path.file_name().map(PathBuf::from).unwrap_or_default();
        let tell = changed.clone();
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<Event>| match event {
                Ok(event) if !concerns(&event, &name) => {}
                // An error (an overflow, for example) may hide a change.
                Ok(_) | Err(_) => tell.notify_one(),
            })?;
        let directory = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        watcher.watch(directory, RecursiveMode::NonRecursive)?;
        Ok(Self {
            changed,
            _watcher: watcher,
        })
    }

    /// Waits for the next notice. Several since the last call count as one. Cancel safe.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

/// Reading the file is an event too, which must not lead to reading it again.
fn concerns(event: &Event, name: &Path) -> bool {
    let read_only = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => false,
        EventKind::Access(_) => true,
        _ => false,
    };
    let named = event
        .paths
        .iter()
        .any(|path| path.file_name() == Some(name.as_os_str()));
    !read_only && (named || event.paths.is_empty() || event.need_rescan())
}
