use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use longshore_core::{
    Backoff, ClockExt, Error, ErrorKind, Expect, KvEntry, KvEvent, KvStore, PutOptions, Result,
    Revision, ServiceName, TransactionOp,
};
use serde::{Deserialize, Serialize};
use tokio::sync::RwLock;

use super::{StackSpec, fence::Fence};
use crate::plane::Inner;

/// What is desired, in a key-value store that outlives the process and that several managers share.
///
/// One key holds one stack. A write counts once the store has it; what every manager acts on is what
/// it read from there, in the order of the store's revisions, so all come to the same.
///
/// Among several managers the one that leads writes, under its fencing token; a manager without an
/// election writes as it is.
#[derive(Debug)]
pub(crate) struct Desired {
    store: Arc<dyn KvStore>,
    prefix: String,
    fence: Fence,
    /// The newest that was read of each stack.
    seen: Mutex<BTreeMap<ServiceName, Revision>>,
    /// Held for writing while all is read, so that no write of our own falls between.
    reading: RwLock<()>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Record {
    stack: StackSpec,
    #[serde(default)]
    removing: bool,
}

impl Desired {
    /// Keeps stacks under `prefix`, which ends with a slash then.
    pub(crate) fn new(store: Arc<dyn KvStore>, prefix: &str) -> Self {
        let prefix = prefix.trim_end_matches('/');
        Self {
            store,
            fence: Fence::new(format!("{prefix}/stacks-token")),
            prefix: format!("{prefix}/stacks/"),
            seen: Mutex::default(),
            reading: RwLock::default(),
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn seen(&self) -> MutexGuard<'_, BTreeMap<ServiceName, Revision>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn put(&self, inner: &Inner, record: &Record, expect: Expect) -> Result<KvEntry> {
        let key = self.key(record.stack.name.as_str());
        let value = serde_json::to_vec(record)
            .map_err(|error| Error::invalid(format!("the stack can't be written: {error}")))?;
        let (size, most) = (value.len(), self.store.capabilities().largest_value);
        if size > most {
            return Err(Error::invalid(format!(
                "stack {} takes {size} bytes, and {} holds at most {most} in one value: split it",
                record.stack.name,
                self.store.describe()
            )));
        }
        let value = bytes::Bytes::from(value);
        let options = PutOptions::default().with_expect(expect);
        let step = TransactionOp::put(key.clone(), value.clone(), options);
        let revision = self.write(inner, &step).await?;
        Ok(KvEntry::new(key, value, revision))
    }

    async fn write(&self, inner: &Inner, step: &TransactionOp) -> Result<Revision> {
        let token = inner.token()?;
        within(inner, async {
            match token {
                Some(token) => self.fence.write(&*self.store, token, step).await,
                None => self.unfenced(step).await,
            }
        })
        .await
    }

    async fn unfenced(&self, step: &TransactionOp) -> Result<Revision> {
        match step {
            TransactionOp::Put {
                key,
                value,
                options,
            } => self.store.put(key, value.clone(), *options).await,
            TransactionOp::Delete { key, expect } => {
                self.store.delete(key, *expect).await?;
                Ok(Revision::default())
            }
            _ => Err(Error::internal("a stack is put or deleted")),
        }
    }

    /// Shuts out the leaders before this token, as soon as the store can be reached: until then it is
    /// tried again and again.
    pub(crate) async fn raise(&self, inner: &Inner, token: u64) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LAST_PAUSE);
        while let Err(error) = within(inner, self.fence.raise(&*self.store, token)).await {
            tracing::warn!(token, error = %error.chain(), "older leaders are not shut out of the store yet");
            if error.kind() == ErrorKind::Stale {
                return;
            }
            inner.clock.sleep(backoff.next_delay(&*inner.random)).await;
        }
    }

    /// Whether the store can refuse the writes of older leaders.
    pub(crate) fn can_fence(&self) -> Result<()> {
        if self.store.capabilities().transactions {
            return Ok(());
        }
        let store = self.store.describe();
        Err(Error::unsupported(format!(
            "{store} has no transactions, so it can't refuse the writes of a manager that no longer \
             leads: keep the stacks of several managers in another store"
        )))
    }

    /// Stores a stack, whatever was there.
    pub(crate) async fn deploy(&self, inner: &Inner, stack: StackSpec) -> Result<()> {
        let record = Record {
            stack,
            removing: false,
        };
        let _turn = self.reading.read().await;
        let entry = self.put(inner, &record, Expect::Any).await?;
        self.take(inner, &entry);
        Ok(())
    }

    /// Stores that nothing of a stack shall be there.
    pub(crate) async fn remove(&self, inner: &Inner, name: &str) -> Result<()> {
        let _turn = self.reading.read().await;
        let mut tries = 0;
        loop {
            let entry = within(inner, self.store.get(&self.key(name))).await?;
            let entry = entry.ok_or_else(|| super::machine::no_stack(name))?;
            let mut record = read(&entry)?;
            if record.stack.name.as_str() != name {
                return Err(super::machine::no_stack(name));
            }
            record.removing = true;
            let expect = Expect::Revision(entry.revision);
            match self.put(inner, &record, expect).await {
                Ok(entry) => {
                    self.take(inner, &entry);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Conflict && tries < MAX_TRIES => {
                    tries += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Deletes a stack that is being removed and has no instance left, unless it was changed since.
    pub(crate) async fn forget(&self, inner: &Inner, name: &ServiceName) {
        let Some(revision) = self.seen().get(name).copied() else {
            return;
        };
        let step = TransactionOp::delete(self.key(name.as_str()), Expect::Revision(revision));
        if let Err(error) = self.write(inner, &step).await
            && error.kind() != ErrorKind::Conflict
        {
            // It is gone over again with the next comparison.
            tracing::warn!(stack = %name, error = %error.chain(), "a removed stack stays in the store");
        }
    }

    /// Follows the store until dropped.
    pub(crate) async fn follow(&self, inner: &Inner) {
        let mut backoff = Backoff::new(FIRST_PAUSE, LAST_PAUSE);
        loop {
            if let Err(error) = self.read_and_watch(inner, &mut backoff).await {
                tracing::error!(
                    store = %self.store.describe(), error = %error.chain(),
                    "the desired stacks can't be read; those that are known still hold"
                );
            }
            let pause = backoff.next_delay(&*inner.random);
            inner.clock.sleep(pause).await;
        }
    }

    /// Reads all stacks, then every change. Ends where all has to be read again.
    async fn read_and_watch(&self, inner: &Inner, backoff: &mut Backoff) -> Result<()> {
        let from = self.read_all(inner).await?;
        backoff.reset();
        let mut changes = self.store.watch(&self.prefix, Some(from));
        while let Some(change) = changes.next().await {
            match change {
                Ok(KvEvent::Put(entry)) => self.take(inner, &entry),
                Ok(KvEvent::Deleted { key, revision }) => self.dropped(inner, &key, revision),
                Ok(_) => return Ok(()),
                Err(error) => tracing::warn!(
                    store = %self.store.describe(), error = %error.chain(),
                    "changes of the desired stacks come late"
                ),
            }
        }
        Ok(())
    }

    async fn read_all(&self, inner: &Inner) -> Result<Revision> {
        let _turn = self.reading.write().await;
        let (mut after, mut from, mut entries) = (String::new(), None, Vec::new());
        loop {
            let page = within(inner, self.store.range(&self.prefix, &after, PAGE)).await?;
            // What changes while later pages are read is told by the watch.
            let from = *from.get_or_insert(page.revision);
            entries.extend(page.entries);
            if entries.len() > MAX_STACKS {
                return Err(Error::new(
                    ErrorKind::ResourceExhausted,
                    format!(
                        "there are more than {MAX_STACKS} keys under {}: something else writes there",
                        self.prefix
                    ),
                ));
            }
            match entries.last() {
                Some(last) if page.more && last.key > after => after.clone_from(&last.key),
                _ if page.more => {
                    return Err(Error::protocol(
                        "the store says that there is more, and gives none",
                    ));
                }
                _ => {
                    self.replace(inner, &entries);
                    return Ok(from);
                }
            }
        }
    }

    /// The store's whole content: numbers begin anew, and what is not in it is not desired.
    fn replace(&self, inner: &Inner, entries: &[KvEntry]) {
        let gone: Vec<ServiceName> = {
            let mut seen = self.seen();
            let known: BTreeSet<&str> = entries
                .iter()
                .map(|entry| self.name_of(&entry.key))
                .collect();
            let gone = seen.keys().filter(|name| !known.contains(name.as_str()));
            let gone = gone.cloned().collect();
            seen.clear();
            gone
        };
        for name in gone {
            tracing::info!(stack = %name, "no longer desired");
            inner.stacks().drop_stack(name.as_str());
        }
        for entry in entries {
            self.take(inner, entry);
        }
    }

    fn name_of<'a>(&self, key: &'a str) -> &'a str {
        key.strip_prefix(&self.prefix).unwrap_or(key)
    }

    /// Desires what an entry says, unless something newer was read.
    fn take(&self, inner: &Inner, entry: &KvEntry) {
        let name = self.name_of(&entry.key);
        let record = match read(entry) {
            Ok(record) if record.stack.name.as_str() == name => record,
            Ok(record) => {
                let other = record.stack.name;
                tracing::error!(
                    key = entry.key,
                    "ignored: it holds a stack of another name, {other}"
                );
                return;
            }
            Err(error) => {
                tracing::error!(key = entry.key, error = %error.chain(), "ignored: what was desired before still is");
                return;
            }
        };
        let mut seen = self.seen();
        if seen.len() >= MAX_STACKS && !seen.contains_key(&record.stack.name) {
            tracing::error!(
                key = entry.key,
                "ignored: there are {MAX_STACKS} stacks already"
            );
            return;
        }
        let newest = seen.entry(record.stack.name.clone()).or_default();
        if entry.revision <= *newest {
            return;
        }
        let mut stacks = inner.stacks();
        match stacks.desire(record.stack, record.removing) {
            Ok(()) => *newest = entry.revision,
            Err(error) => tracing::error!(key = entry.key, error = %error.chain(), "ignored"),
        }
        drop((stacks, seen));
        inner.changed.notify_one();
    }

    fn dropped(&self, inner: &Inner, key: &str, revision: Revision) {
        let name = self.name_of(key);
        let mut seen = self.seen();
        if seen.get(name).is_some_and(|newest| *newest < revision) {
            seen.remove(name);
            inner.stacks().drop_stack(name);
            drop(seen);
            inner.changed.notify_one();
        }
    }
}

fn read(entry: &KvEntry) -> Result<Record> {
    serde_json::from_slice(&entry.value)
        .map_err(|error| Error::protocol(format!("{} does not hold a stack: {error}", entry.key)))
}

async fn within<T: Send>(inner: &Inner, call: impl Future<Output = Result<T>> + Send) -> Result<T> {
    let limit = inner.options.call_timeout;
    inner
        .clock
        .timeout(limit, "the store of the desired stacks", call)
        .await?
}

const MAX_TRIES: u32 = 8;
const PAGE: usize = 100;
/// Every manager holds all of them.
const MAX_STACKS: usize = 10_000;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(15);
