//! The audit rules of longshore-core, held by both sinks.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use async_trait::async_trait;
use longshore_control::{FileAudit, MemoryAudit};
use longshore_core::{AuditSink, testkit::audit::Harness};

struct InMemory;

#[async_trait]
impl Harness for InMemory {
    async fn fresh(&self) -> Arc<dyn AuditSink> {
        Arc::new(MemoryAudit::new())
    }
}

mod memory {
    longshore_core::audit_suite!(paused, super::InMemory);
}

/// Logs in a directory of their own, `log-0`, `log-1` and so on; the last one is reopened.
struct InFiles {
    dir: tempfile::TempDir,
    made: std::sync::atomic::AtomicUsize,
}

impl InFiles {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            made: 0.into(),
        }
    }

    fn path(&self, number: usize) -> std::path::PathBuf {
        self.dir.path().join(format!("log-{number}"))
    }
}

#[async_trait]
impl Harness for InFiles {
    async fn fresh(&self) -> Arc<dyn AuditSink> {
        let number = self.made.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Arc::new(FileAudit::open(self.path(number)).unwrap())
    }

    async fn reopened(&self, sink: Arc<dyn AuditSink>) -> Option<Arc<dyn AuditSink>> {
        drop(sink);
        let last = self.made.load(std::sync::atomic::Ordering::Relaxed) - 1;
        Some(Arc::new(FileAudit::open(self.path(last)).unwrap()))
    }
}

mod file {
    longshore_core::audit_suite!(live, super::InFiles::new());
}
