//! A store in memory behind a connection that can be cut. A watch goes on where it was, as every
//! client's must; when the store has forgotten that by then, it says so. Without a history, a watch
//! looks at what is there from time to time and tells the difference, as with Consul and ZooKeeper.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, stream};
use longshore_core::{
    Error, Expect, KvCapabilities, KvEntry, KvEvent, KvRange, KvStore, KvWatch, Lease, LeaseId,
    PutOptions, Result, Revision, TransactionOp,
};
use longshore_discovery::MemoryKv;
use tokio::sync::watch;

#[path = "looks.rs"]
mod looks;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Link {
    reachable: bool,
    cuts: u64,
}

#[derive(Clone, Debug)]
pub struct CutOff {
    store: MemoryKv,
    link: Arc<watch::Sender<Link>>,
    history: bool,
}

impl CutOff {
    pub fn new(store: MemoryKv) -> Self {
        let link = Link {
            reachable: true,
            cuts: 0,
        };
        let link = Arc::new(watch::Sender::new(link));
        Self {
            store,
            link,
            history: true,
        }
    }

    pub fn without_history(mut self) -> Self {
        self.history = false;
        self
    }

    pub fn set_reachable(&self, reachable: bool) {
        self.link.send_modify(|link| {
            link.reachable = reachable;
            link.cuts += u64::from(!reachable);
        });
    }

    fn reach(&self) -> Result<&MemoryKv> {
        match self.link.borrow().reachable {
            true => Ok(&self.store),
            false => Err(cut()),
        }
    }
}

fn cut() -> Error {
    Error::unavailable("the connection is cut")
}

#[async_trait]
impl KvStore for CutOff {
    fn capabilities(&self) -> KvCapabilities {
        match self.history {
            true => self.store.capabilities(),
            false => self.store.capabilities().without_history(),
        }
    }

    fn describe(&self) -> String {
        self.store.describe()
    }

    async fn get(&self, key: &str) -> Result<Option<KvEntry>> {
        self.reach()?.get(key).await
    }

    async fn put(&self, key: &str, value: Bytes, options: PutOptions) -> Result<Revision> {
        self.reach()?.put(key, value, options).await
    }

    async fn delete(&self, key: &str, expect: Expect) -> Result<bool> {
        self.reach()?.delete(key, expect).await
    }

    async fn range(&self, prefix: &str, after: &str, limit: usize) -> Result<KvRange> {
        let read = self.reach()?.range(prefix, after, limit).await;
        if !self.history {
            // Things happen between a reading and a watch's next look.
            tokio::time::sleep(ON_THE_WAY).await;
        }
        read
    }

    async fn transact(&self, steps: Vec<TransactionOp>) -> Result<Revision> {
        self.reach()?.transact(steps).await
    }

    async fn grant(&self, ttl: Duration) -> Result<Lease> {
        self.reach()?.grant(ttl).await
    }

    async fn keep_alive(&self, lease: LeaseId) -> Result<()> {
        self.reach()?.keep_alive(lease).await
    }

    async fn revoke(&self, lease: LeaseId) -> Result<()> {
        self.reach()?.revoke(lease).await
    }

    fn watch(&self, prefix: &str, from: Option<Revision>) -> KvWatch {
        let behind = from.expect("these watches begin at a revision");
        let connection = Connection {
            link: self.link.subscribe(),
            cuts: self.link.borrow().cuts,
            told: false,
        };
        if !self.history {
            return looks::stream(self.store.clone(), prefix, behind, connection);
        }
        let follower = Follower {
            store: self.store.clone(),
            prefix: prefix.to_owned(),
            behind,
            connection,
            watch: None,
        };
        stream::unfold(follower, |mut follower| async move {
            let event = follower.next().await;
            Some((event, follower))
        })
        .boxed()
    }
}

/// What a watch knows of the link.
struct Connection {
    link: watch::Receiver<Link>,
    cuts: u64,
    /// Whether the present outage was told.
    told: bool,
}

impl Connection {
    /// Whether the connection is another one than the last time; waits while there is none.
    ///
    /// # Errors
    /// It was cut: told once per outage.
    async fn ready(&mut self) -> Result<bool> {
        let mut anew = false;
        loop {
            let link = *self.link.borrow_and_update();
            if link.cuts != self.cuts {
                self.cuts = link.cuts;
                anew = true;
                if !std::mem::replace(&mut self.told, true) {
                    return Err(cut());
                }
            }
            if link.reachable {
                let outage = std::mem::take(&mut self.told);
                return Ok(anew || outage);
            }
            let _ = self.link.changed().await;
        }
    }

    async fn changed(&mut self) {
        let _ = self.link.changed().await;
    }
}

struct Follower {
    store: MemoryKv,
    prefix: String,
    behind: Revision,
    connection: Connection,
    watch: Option<KvWatch>,
}

impl Follower {
    async fn next(&mut self) -> Result<KvEvent> {
        loop {
            if self.connection.ready().await? {
                self.watch = None;
            }
            let open = || self.store.watch(&self.prefix, Some(self.behind));
            let watch = self.watch.get_or_insert_with(open);
            let event = tokio::select! {
                biased;
                () = self.connection.changed() => continue,
                event = watch.next() => event.expect("a watch does not end"),
            };
            self.behind = match &event {
                Ok(KvEvent::Put(entry)) => entry.revision,
                Ok(KvEvent::Deleted { revision, .. } | KvEvent::Resync(revision)) => *revision,
                _ => self.behind,
            };
            return event;
        }
    }
}

const ON_THE_WAY: Duration = Duration::from_millis(50);
