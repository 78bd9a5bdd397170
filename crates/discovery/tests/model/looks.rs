//! A watch over a store without a history: it looks, waits until something changes, and looks again.

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use futures::{StreamExt, stream};
use longshore_core::{KvEvent, KvStore, KvWatch, Result, Revision};
use longshore_discovery::MemoryKv;

use super::Connection;

pub(crate) fn stream(
    store: MemoryKv,
    prefix: &str,
    from: Revision,
    connection: Connection,
) -> KvWatch {
    let follower = Follower {
        store,
        prefix: prefix.to_owned(),
        from,
        known: None,
        at: from,
        due: VecDeque::new(),
        connection,
    };
    stream::unfold(follower, |mut follower| async move {
        let event = follower.next().await;
        Some((event, follower))
    })
    .boxed()
}

struct Follower {
    store: MemoryKv,
    prefix: String,
    from: Revision,
    /// What the last look saw; `None` before the first.
    known: Option<BTreeMap<String, Revision>>,
    at: Revision,
    due: VecDeque<KvEvent>,
    connection: Connection,
}

impl Follower {
    async fn next(&mut self) -> Result<KvEvent> {
        loop {
            if let Some(event) = self.due.pop_front() {
                return Ok(event);
            }
            if !self.connection.ready().await? && self.known.is_some() {
                let mut changes = self.store.watch(&self.prefix, Some(self.at));
                tokio::select! {
                    biased;
                    () = self.connection.changed() => continue,
                    _ = changes.next() => {}
                }
                // Long enough for a few steps to pass.
                tokio::time::sleep(BETWEEN).await;
            }
            self.look().await?;
        }
    }

    async fn look(&mut self) -> Result<()> {
        let range = self.store.range(&self.prefix, "", 1000).await?;
        let there = range.entries.iter();
        let there: BTreeMap<_, _> = there
            .map(|entry| (entry.key.clone(), entry.revision))
            .collect();
        match &self.known {
            None if range.revision != self.from => {
                self.due.push_back(KvEvent::Resync(range.revision));
            }
            None => {}
            Some(known) => {
                let mut written = range.entries;
                written.retain(|entry| known.get(&entry.key) != Some(&entry.revision));
                written.sort_by_key(|entry| entry.revision);
                self.due.extend(written.into_iter().map(KvEvent::Put));
                let gone = known.keys().filter(|key| !there.contains_key(*key));
                self.due.extend(gone.map(|key| KvEvent::Deleted {
                    key: key.clone(),
                    revision: range.revision,
                }));
            }
        }
        self.at = range.revision;
        self.known = Some(there);
        Ok(())
    }
}

const BETWEEN: Duration = Duration::from_millis(70);
