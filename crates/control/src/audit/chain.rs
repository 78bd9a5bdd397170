use longshore_core::{AuditEvent, AuditReceipt, Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One link of the chain, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AuditRecord {
    /// Its number, from 0 without gaps.
    pub sequence: u64,
    /// The hash of the record before; 64 zeros for the first.
    pub previous: String,
    /// What happened.
    pub event: AuditEvent,
    /// SHA-256 over the canonical JSON of the three fields above, lower-case hexadecimal.
    pub hash: String,
}

impl AuditRecord {
    /// What the sink answered when it took the record.
    pub fn receipt(&self) -> AuditReceipt {
        AuditReceipt {
            sequence: self.sequence,
            hash: self.hash.clone(),
        }
    }
}

/// The end of a chain: what the next record is tied to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) next: u64,
    pub(super) hash: String,
}

impl Default for Head {
    fn default() -> Self {
        Self {
            next: 0,
            hash: "0".repeat(64),
        }
    }
}

impl Head {
    /// The record that follows. The head stays: it moves when the record is safe.
    pub(super) fn follow(&self, event: AuditEvent) -> Result<AuditRecord> {
        Ok(AuditRecord {
            sequence: self.next,
            previous: self.hash.clone(),
            hash: hash(self.next, &self.hash, &event)?,
            event,
        })
    }

    /// Checks that a record follows and moves on to it.
    pub(super) fn accept(&mut self, record: &AuditRecord) -> Result<()> {
        let broken = |reason: String| {
            Error::new(
                ErrorKind::Protocol,
                format!("the audit log is broken at record {}: {reason}", self.next),
            )
        };
        if record.sequence != self.next {
            return Err(broken(format!(
                "found number {}, so records were removed, added or reordered",
                record.sequence
            )));
        }
        if record.previous != self.hash {
            return Err(broken(
                "it does not follow the record before, so that one was changed or replaced"
                    .to_owned(),
            ));
        }
        if record.hash != hash(record.sequence, &record.previous, &record.event)? {
            return Err(broken("its content was changed".to_owned()));
        }
        self.next += 1;
        self.hash.clone_from(&record.hash);
        Ok(())
    }
}

/// Checks a chain from its first record, and says how many records it has. Give the receipt of a
/// record known to exist, kept outside of the log, to find out that the end was cut off.
///
/// # Errors
/// [`ErrorKind::Protocol`], naming the first record that was changed, removed, added or reordered;
/// or that the receipted record is missing or another.
pub fn verify_chain<'a, I>(records: I, receipt: Option<&AuditReceipt>) -> Result<u64>
where
    I: IntoIterator<Item = &'a AuditRecord>,
{
    let mut check = ChainCheck::new(receipt.cloned());
    for record in records {
        check.accept(record)?;
    }
    check.finish().map(|head| head.next)
}

/// [`verify_chain`] record by record.
#[derive(Debug)]
pub(super) struct ChainCheck {
    head: Head,
    receipt: Option<AuditReceipt>,
}

impl ChainCheck {
    pub(super) fn new(receipt: Option<AuditReceipt>) -> Self {
        Self::after(Head::default(), receipt)
    }

    /// Of a chain whose beginning is no longer there.
    pub(super) fn after(head: Head, receipt: Option<AuditReceipt>) -> Self {
        Self { head, receipt }
    }

    pub(super) fn accept(&mut self, record: &AuditRecord) -> Result<()> {
        self.head.accept(record)?;
        if let Some(receipt) = self
            .receipt
            .take_if(|receipt| receipt.sequence == record.sequence)
            && receipt.hash != record.hash
        {
            return Err(Error::new(
                ErrorKind::Protocol,
                format!(
                    "the audit log was rewritten: record {} is not the one that was receipted",
                    record.sequence
                ),
            ));
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Head> {
        match self.receipt {
            None => Ok(self.head),
            Some(receipt) => Err(Error::new(
                ErrorKind::Protocol,
                format!(
                    "the audit log was cut: record {} was receipted, the log ends before record {}",
                    receipt.sequence, self.head.next
                ),
            )),
        }
    }
}

/// Canonical JSON: no spaces, keys in order of their bytes, on every level.
fn hash(sequence: u64, previous: &str, event: &AuditEvent) -> Result<String> {
    use std::fmt::Write;
    let failed = |error: serde_json::Error| {
        Error::internal("an audit record can't be written as JSON").with_source(error)
    };
    let event = serde_json::to_value(event).map_err(failed)?;
    let mut text = String::new();
    canonical(
        &serde_json::json!({"sequence": sequence, "previous": previous, "event": event}),
        &mut text,
    );
    let digest = Sha256::digest(text.as_bytes());
    Ok(digest
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            let _ = write!(hex, "{byte:02x}");
            hex
        }))
}

/// Independent of whether `serde_json` keeps the order of keys (its `preserve_order` feature can be
/// turned on by any crate of the build).
fn canonical(value: &serde_json::Value, text: &mut String) {
    use serde_json::Value;
    match value {
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by_key(|(key, _)| key.as_str());
            text.push('{');
            for (index, (key, value)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                canonical(item, text);
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}
