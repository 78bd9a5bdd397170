//! A reference sink passes the audit suite: the smallest chain that the rules allow.
#![cfg(feature = "testkit")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use longshore_core::{
    AuditEvent, AuditReceipt, AuditSink, Error, Result, SystemClock,
    decorate::{LayerExt, Timeout, Traced},
    testkit::audit::Harness,
};
use sha2::{Digest, Sha256};

/// SHA-256 over the hash before and the record as JSON, which keeps fields apart.
#[derive(Clone, Debug, Default)]
struct Reference(Arc<Mutex<Vec<AuditReceipt>>>);

#[async_trait]
impl AuditSink for Reference {
    async fn record(&self, event: AuditEvent) -> Result<AuditReceipt> {
        let json = serde_json::to_vec(&event)
            .map_err(|error| Error::internal("a record is not JSON").with_source(error))?;
        let mut log = self.0.lock().unwrap();
        let before = log
            .last()
            .map(|receipt| receipt.hash.clone())
            .unwrap_or_default();
        let hash = Sha256::new()
            .chain_update(before)
            .chain_update(json)
            .finalize();
        let receipt = AuditReceipt {
            sequence: log.len() as u64,
            hash: hash.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        log.push(receipt.clone());
        Ok(receipt)
    }
}

struct Plain;

#[async_trait]
impl Harness for Plain {
    async fn fresh(&self) -> Arc<dyn AuditSink> {
        Arc::new(Reference::default())
    }

    async fn reopened(&self, sink: Arc<dyn AuditSink>) -> Option<Arc<dyn AuditSink>> {
        // The log lives in memory: whoever still holds it holds the reopened one.
        Some(sink)
    }
}

/// Under decorators that are transparent to a healthy sink.
struct Decorated;

#[async_trait]
impl Harness for Decorated {
    async fn fresh(&self) -> Arc<dyn AuditSink> {
        let clock = Arc::new(SystemClock::new());
        let limited = Timeout::new(clock.clone(), std::time::Duration::from_secs(5))
            .wrap(Arc::new(Reference::default()));
        Traced::new(clock).wrap(limited)
    }
}

mod reference {
    use super::*;
    longshore_core::audit_suite!(paused, Plain);
}

mod reference_live {
    use super::*;
    longshore_core::audit_suite!(live, Plain);
}

mod decorated {
    use super::*;
    longshore_core::audit_suite!(paused, Decorated);
}
