use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use longshore_core::{AuditEvent, AuditOutcome, AuditReceipt, AuditSink, Result};

use super::{
    AuditRecord,
    chain::{ChainCheck, Head},
};

/// An audit chain in memory: gone with the process. It keeps the last 10,000 records, or fewer when
/// they are large: about 16 MiB in all.
#[derive(Debug)]
pub struct MemoryAudit {
    inner: Mutex<Inner>,
    kept_bytes: usize,
}

impl Default for MemoryAudit {
    fn default() -> Self {
        Self {
            inner: Mutex::default(),
            kept_bytes: KEPT_BYTES,
        }
    }
}

#[derive(Debug, Default)]
struct Inner {
    head: Head,
    /// The end of what is no longer kept: what the oldest record follows.
    before: Head,
    records: VecDeque<AuditRecord>,
    bytes: usize,
}

impl MemoryAudit {
    /// An empty chain.
    pub fn new() -> Self {
        Self::default()
    }

    /// The records kept, oldest first. They are a whole chain, for
    /// [`verify_chain`](crate::verify_chain), as long as none was dropped; [`verify`](Self::verify)
    /// checks them also then.
    pub fn records(&self) -> Vec<AuditRecord> {
        self.lock().records.iter().cloned().collect()
    }

    /// Checks that the records kept follow each other and the ones that were dropped, and says how
    /// many there were in all. With the receipt of a record that is kept, also that it is that one.
    ///
    /// # Errors
    /// As [`verify_chain`](crate::verify_chain).
    pub fn verify(&self, receipt: Option<&AuditReceipt>) -> Result<u64> {
        let inner = self.lock();
        // What was dropped can be vouched for no more.
        let receipt = receipt.filter(|receipt| receipt.sequence >= inner.before.next);
        let mut check = ChainCheck::after(inner.before.clone(), receipt.cloned());
        for record in &inner.records {
            check.accept(record)?;
        }
        check.finish().map(|head| head.next)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl AuditSink for MemoryAudit {
    async fn record(&self, event: AuditEvent) -> Result<AuditReceipt> {
        let mut inner = self.lock();
        let record = inner.head.follow(event)?;
        inner.head.accept(&record)?;
        let receipt = record.receipt();
        inner.bytes += size(&record);
        inner.records.push_back(record);
        let too_large = |inner: &Inner| inner.bytes > self.kept_bytes && inner.records.len() > 1;
        while inner.records.len() > KEPT || too_large(&inner) {
            let Some(oldest) = inner.records.pop_front() else {
                break;
            };
            inner.bytes -= size(&oldest);
            inner.before = Head {
                next: oldest.sequence + 1,
                hash: oldest.hash,
            };
        }
        Ok(receipt)
    }
}

/// How much of memory a record holds, nearly.
fn size(record: &AuditRecord) -> usize {
    let event = &record.event;
    let outcome = match &event.outcome {
        AuditOutcome::Denied(text) | AuditOutcome::Failed(text) => text.len(),
        _ => 0,
    };
    let labels = event.target.labels.iter();
    let labels: usize = labels
        .map(|(key, value)| key.len() + value.len() + ENTRY)
        .sum();
    size_of::<AuditRecord>()
        + record.previous.len()
        + record.hash.len()
        + event.who.subject.len()
        + event.who.proof.len()
        + event.operation.len()
        + event.target.kind.len()
        + event.target.name.len()
        + event.node.as_ref().map_or(0, String::len)
        + outcome
        + labels
}

const KEPT: usize = 10_000;
const KEPT_BYTES: usize = 16 << 20;
/// What a map needs for an entry besides its bytes.
const ENTRY: usize = 64;

#[cfg(test)]
mod tests {
    use longshore_core::{Action, Identity, Target, Timestamp};

    use super::*;

    fn event(name: String, outcome: AuditOutcome) -> AuditEvent {
        AuditEvent::new(
            Timestamp::from_secs(1),
            Identity::new("alice", "tls"),
            Action::Write,
            "DELETE",
            Target::new("container", name),
            outcome,
        )
    }

    #[tokio::test]
    async fn large_records_are_kept_by_their_bytes() {
        let mut audit = MemoryAudit::new();
        audit.kept_bytes = 64 << 10;
        let long = "a".repeat(1000);
        for number in 0..100 {
            let outcome = AuditOutcome::Failed(long.clone());
            audit.record(event(long.clone(), outcome)).await.unwrap();
            let kept: usize = audit.records().iter().map(size).sum();
            assert!(kept <= audit.kept_bytes, "{kept} bytes after {number}");
        }
        assert!(audit.records().len() > 20);
        // One that is larger than all that may be kept is kept alone.
        let huge = event("a".repeat(audit.kept_bytes), AuditOutcome::Done);
        audit.record(huge).await.unwrap();
        assert_eq!(audit.records().len(), 1);
    }

    #[tokio::test]
    async fn a_trimmed_chain_can_be_checked() {
        let audit = MemoryAudit::new();
        let mut receipts = Vec::new();
        for _ in 0..KEPT + 5 {
            let event = event("web".to_owned(), AuditOutcome::Started);
            receipts.push(audit.record(event).await.unwrap());
        }
        assert_eq!(audit.records().len(), KEPT);
        let all = KEPT as u64 + 5;
        assert_eq!(audit.verify(None).unwrap(), all);
        assert_eq!(audit.verify(receipts.last()).unwrap(), all);
        assert_eq!(audit.verify(receipts.first()).unwrap(), all);
        let mut foreign = receipts[100].clone();
        foreign.hash = "0".repeat(64);
        audit.verify(Some(&foreign)).unwrap_err();
        audit.lock().records[3].event.operation = "GET".to_owned();
        audit.verify(None).unwrap_err();
    }
}
