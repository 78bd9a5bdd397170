use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use longshore_core::{AuditEvent, AuditReceipt, AuditSink, Result};

use super::{AuditRecord, chain::Head};

/// An audit chain in memory: gone with the process. It keeps the last 10,000 records.
#[derive(Debug, Default)]
pub struct MemoryAudit {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    head: Head,
    records: std::collections::VecDeque<AuditRecord>,
}

impl MemoryAudit {
    /// An empty chain.
    pub fn new() -> Self {
        Self::default()
    }

    /// The records kept, oldest first.
    pub fn records(&self) -> Vec<AuditRecord> {
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.records.iter().cloned().collect()
    }
}

#[async_trait]
impl AuditSink for MemoryAudit {
    async fn record(&self, event: AuditEvent) -> Result<AuditReceipt> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let record = inner.head.follow(event)?;
        inner.head.accept(&record)?;
        let receipt = record.receipt();
        if inner.records.len() == KEPT {
            inner.records.pop_front();
        }
        inner.records.push_back(record);
        Ok(receipt)
    }
}

const KEPT: usize = 10_000;
