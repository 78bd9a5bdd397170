use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use longshore_core::{
    Error, ErrorKind, Expect, KvCapabilities, KvEntry, KvRange, KvStore, KvWatch, Lease, LeaseId,
    PutOptions, Result, Revision, TransactionOp,
};

use crate::{kv_step, store::StoreOptions};

mod client;
mod failure;
mod lines;
mod watch;
mod wire;

use client::Client;
use wire::{Compare, RequestOp};

/// A [`KvStore`] on etcd 3.4 and later. Clones share its connections.
///
/// # Protocol
/// The JSON gateway that every etcd serves on its client port (`/v3/…`, documented with etcd as
/// "gRPC gateway"), over HTTP/1.1. The usual client crate speaks gRPC and needs `protoc` and a code
/// generator wherever it is built; the gateway needs neither. Inside etcd it is one more step, from
/// JSON to gRPC, so etcd works more for each request; a registration is two commits to its disk, and
/// a watch one long answer with a line per event.
///
/// # What it holds
/// Reads are linearizable. A condition and its write are one transaction. Leases are etcd's own
/// (whole seconds, rounded up; etcd lengthens those under about two). A watch resumes behind the
/// last complete revision that it told; what etcd has compacted, or a cluster that was wiped and
/// begun anew, is told as [`KvEvent::Resync`](longshore_core::KvEvent::Resync). An idle watch asks
/// every five seconds whether its cluster still has a majority.
#[derive(Clone, Debug)]
pub struct EtcdKv {
    client: Arc<Client>,
}

impl EtcdKv {
    /// A client of this cluster. Nothing is connected yet.
    pub fn new(options: &StoreOptions) -> Self {
        Self {
            client: Arc::new(Client::new(options)),
        }
    }
}

#[async_trait]
impl KvStore for EtcdKv {
    fn capabilities(&self) -> KvCapabilities {
        capabilities()
    }

    fn describe(&self) -> String {
        self.client.describe().to_owned()
    }

    async fn get(&self, key: &str) -> Result<Option<KvEntry>> {
        let request = wire::Range {
            key: wire::encode(key),
            ..wire::Range::default()
        };
        let answer = self.client.range(&request).await?;
        let entry = answer.kvs.into_iter().next();
        entry.map(wire::KeyValue::into_entry).transpose()
    }

    async fn put(&self, key: &str, value: Bytes, options: PutOptions) -> Result<Revision> {
        let step = TransactionOp::put(key, value, options);
        let steps = vec![step];
        if options.expect != Expect::Any {
            return Ok(self.apply(steps).await?.0);
        }
        // Without a condition a plain put does, which costs etcd less than a transaction.
        kv_step::check(&steps, &capabilities())?;
        let [TransactionOp::Put { value, .. }] = steps.as_slice() else {
            return Err(Error::internal("a put that is none"));
        };
        let lease = options.lease.map(id_of).transpose()?;
        let request = wire::Put::new(wire::encode(key), wire::encode(value), lease);
        let answer: wire::HeaderOnly = self.client.write("/v3/kv/put", &request).await?;
        Ok(Revision(answer.header.revision))
    }

    async fn delete(&self, key: &str, expect: Expect) -> Result<bool> {
        let step = TransactionOp::delete(key, expect);
        Ok(self.apply(vec![step]).await?.1 > 0)
    }

    async fn range(&self, prefix: &str, after: &str, limit: usize) -> Result<KvRange> {
        let start = match after >= prefix && !after.is_empty() {
            true => format!("{after}\0"),
            // The empty key is etcd's word for the very first.
            false if prefix.is_empty() => "\0".to_owned(),
            false => prefix.to_owned(),
        };
        let request = wire::Range {
            key: wire::encode(start),
            range_end: wire::end_of(prefix),
            limit: limit as u64,
            ..wire::Range::default()
        };
        let answer = self.client.range(&request).await?;
        let entries: Result<Vec<_>> = answer
            .kvs
            .into_iter()
            .map(wire::KeyValue::into_entry)
            .collect();
        Ok(KvRange::new(
            entries?,
            Revision(answer.header.revision),
            answer.more,
        ))
    }

    async fn transact(&self, steps: Vec<TransactionOp>) -> Result<Revision> {
        Ok(self.apply(steps).await?.0)
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease> {
        if ttl.is_zero() {
            return Err(Error::invalid("a lease needs a time to live above zero"));
        }
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let request = wire::Grant { ttl: seconds };
        let answer: wire::GrantAnswer = self.client.write("/v3/lease/grant", &request).await?;
        match answer.error.as_deref() {
            None | Some("") => Ok(Lease::new(
                LeaseId(answer.id.into()),
                Duration::from_secs(answer.ttl),
            )),
            Some(error) => Err(Error::unavailable(format!("etcd grants no lease: {error}"))),
        }
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<()> {
        let request = wire::LeaseRef { id: id_of(lease)? };
        let answer: wire::Streamed<wire::KeepAliveAnswer> =
            self.client.read("/v3/lease/keepalive", &request).await?;
        match answer.into_result()?.ttl {
            0 => Err(failure::ended(lease)),
            _ => Ok(()),
        }
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        let request = wire::LeaseRef { id: id_of(lease)? };
        let done: Result<wire::HeaderOnly> = self.client.read("/v3/lease/revoke", &request).await;
        match done {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn watch(&self, prefix: &str, from: Option<Revision>) -> KvWatch {
        watch::stream(self.client.clone(), prefix.to_owned(), from)
    }
}

impl EtcdKv {
    /// The revision, and how many keys were deleted.
    async fn apply(&self, steps: Vec<TransactionOp>) -> Result<(Revision, u64)> {
        kv_step::check(&steps, &capabilities())?;
        let mut request = wire::Transaction::default();
        for step in steps {
            let (key, expect) = (wire::encode(kv_step::key(&step)), kv_step::expect(&step));
            request.compare.extend(Compare::of(&key, expect));
            request.success.push(match step {
                TransactionOp::Put { value, options, .. } => {
                    let lease = options.lease.map(id_of).transpose()?;
                    RequestOp::RequestPut(wire::Put::new(key, wire::encode(value), lease))
                }
                TransactionOp::Delete { .. } => RequestOp::RequestDeleteRange { key },
                TransactionOp::Check { .. } => continue,
                _ => return Err(Error::unsupported("a step that this store does not know")),
            });
        }
        let answer: wire::TransactionAnswer = self.client.write("/v3/kv/txn", &request).await?;
        if !answer.succeeded {
            return Err(Error::new(
                ErrorKind::Conflict,
                "a key is not as expected: read it again",
            )
            .with_backend("etcd"));
        }
        let deleted = answer
            .responses
            .iter()
            .filter_map(|response| response.deleted.as_ref())
            .map(|deleted| deleted.deleted)
            .sum();
        Ok((Revision(answer.header.revision), deleted))
    }
}

fn id_of(lease: LeaseId) -> Result<u64> {
    u64::try_from(lease.0).map_err(|_| failure::ended(lease))
}

fn capabilities() -> KvCapabilities {
    KvCapabilities::durable(Duration::from_secs(1))
}
